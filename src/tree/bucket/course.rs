//! Whether a listing gets on: each page must bring an entry, or at least lead to another place. Pure.
//!
//! A store that gives the same continuation token again, or tokens without end and no entries, would be asked for ever.

/// So many pages in a row without an entry are passed over. Stores have some where much was deleted lately: each may
/// stand for a thousand keys that were looked at.
const MAX_BARREN: usize = 100;

/// How far a listing has come.
#[derive(Debug, Default)]
pub struct Course {
    /// The token of the page that follows.
    token: Option<String>,
    /// Pages without an entry since the last one with.
    barren: usize,
}

impl Course {
    /// The token of the page that follows; none after the last one.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Takes note of a page with so many entries that were not there before. Tells why no other is to be asked for.
    pub fn go_on(&mut self, entries: usize, next: Option<String>) -> Result<(), String> {
        let stays = self.token.is_some() && self.token == next;
        self.barren = if entries > 0 { 0 } else { self.barren + 1 };
        self.token = next;
        match (entries, &self.token) {
            (0, Some(_)) if stays => Err("the store gave the same continuation token again, and no entry".to_owned()),
            (0, Some(_)) if self.barren >= MAX_BARREN => Err(format!("{MAX_BARREN} pages in a row had no entry")),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(n: usize) -> Option<String> {
        Some(n.to_string())
    }

    #[test]
    fn a_token_that_comes_again_without_an_entry_ends_it() {
        let mut course = Course::default();
        assert!(course.go_on(1000, token(1)).is_ok());
        assert!(course.go_on(1000, token(1)).is_ok(), "there were new entries");
        assert!(course.go_on(0, token(1)).is_err());
    }

    #[test]
    fn pages_without_entries_are_passed_over_up_to_a_bound() {
        let mut course = Course::default();
        assert!((1..MAX_BARREN).all(|n| course.go_on(0, token(n)).is_ok()));
        assert!(course.go_on(1, token(0)).is_ok());
        assert!((1..MAX_BARREN).all(|n| course.go_on(0, token(n)).is_ok()));
        assert!(course.go_on(0, token(MAX_BARREN)).is_err());
        assert!(course.go_on(0, None).is_ok(), "the end");
    }
}
