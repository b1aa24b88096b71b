//! Where pages of a listing begin, so that those whose entries were dropped can be asked for again. Pure.

/// So many are kept; then every other one is dropped, and every other one of those to come left out. Between two of them
/// pages are asked for one after the other.
const MAX_MARKS: usize = 4096;

/// Longer continuation tokens are not kept, in bytes: those of S3 have some hundred.
const MAX_TOKEN: usize = 1024;

/// Where a page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The position of its first entry.
    pub position: usize,
    /// Its continuation token; the first page has none.
    pub token: Option<Box<str>>,
}

/// The pages of a listing, or every so-many-th of them, in order.
#[derive(Debug)]
pub struct Marks {
    kept: Vec<Mark>,
    pages: usize,
    step: usize,
}

impl Default for Marks {
    fn default() -> Self {
        Self { kept: vec![Mark { position: 0, token: None }], pages: 1, step: 1 }
    }
}

impl Marks {
    /// The page that follows begins at a position.
    pub fn add(&mut self, position: usize, token: &str) {
        if self.kept.len() == MAX_MARKS {
            let mut is_kept = false;
            self.kept.retain(|_| {
                is_kept = !is_kept;
                is_kept
            });
            self.step *= 2;
        }
        if self.pages.is_multiple_of(self.step) && token.len() <= MAX_TOKEN {
            self.kept.push(Mark { position, token: Some(token.into()) });
        }
        self.pages += 1;
    }

    /// The last page that begins at or before a position.
    pub fn before(&self, position: usize) -> Mark {
        let index = self.kept.partition_point(|mark| mark.position <= position).saturating_sub(1);
        self.kept.get(index).cloned().unwrap_or(Mark { position: 0, token: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_of_many_pages_are_kept_and_each_position_is_behind_one() {
        let mut marks = Marks::default();
        (1..10 * MAX_MARKS).for_each(|n| marks.add(n * 1000, &n.to_string()));
        marks.add(10 * MAX_MARKS * 1000, &"x".repeat(MAX_TOKEN + 1));
        assert!(marks.kept.len() <= MAX_MARKS);
        for position in (0..10_000 * MAX_MARKS).step_by(77_777) {
            let mark = marks.before(position);
            assert!(mark.position <= position && position - mark.position <= 16_000, "{position}: {mark:?}");
            assert_eq!(mark.token.as_deref().map_or(0, |token| token.parse().unwrap()) * 1000, mark.position);
        }
    }
}
