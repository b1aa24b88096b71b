//! The kernel's page cache of one file: which pages it has.

use std::ops::Range;

/// Bytes of a page.
pub const PAGE: u64 = 4096;

/// A set of pages.
#[derive(Clone, Debug)]
pub struct Pages {
    words: Vec<u64>,
    pages: u64,
}

impl Pages {
    /// No page of a file of `size` bytes.
    pub fn new(size: u64) -> Self {
        let pages = size.div_ceil(PAGE);
        Self { words: vec![0; pages.div_ceil(64) as usize], pages }
    }

    /// Adds the pages that have some of `range`.
    pub fn insert(&mut self, range: &Range<u64>) {
        let (mut at, end) = (range.start / PAGE, range.end.div_ceil(PAGE).min(self.pages));
        while at < end {
            let (word, bit) = ((at / 64) as usize, at % 64);
            let count = (64 - bit).min(end - at);
            self.words[word] |= (u64::MAX >> (64 - count)) << bit;
            at += count;
        }
    }

    /// Whether the page with the byte `offset` is there.
    pub fn has(&self, offset: u64) -> bool {
        let page = offset / PAGE;
        self.words.get((page / 64) as usize).is_some_and(|word| word >> (page % 64) & 1 == 1)
    }

    /// The first byte of `range` that is in a page that is missing.
    pub fn first_missing(&self, range: &Range<u64>) -> Option<u64> {
        self.first(range, |word| !word)
    }

    /// The first byte of `range` that is in a page that is there.
    pub fn first_present(&self, range: &Range<u64>) -> Option<u64> {
        self.first(range, |word| word)
    }

    /// How many pages there are.
    pub fn count(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// How many runs of neighbouring pages there are.
    pub fn runs(&self) -> u64 {
        let begins = |before: u64, word: u64| u64::from((word & !(word << 1 | before >> 63)).count_ones());
        let first = self.words.first().map_or(0, |word| begins(0, *word));
        first + self.words.windows(2).map(|pair| begins(pair[0], pair[1])).sum::<u64>()
    }

    fn first(&self, range: &Range<u64>, wanted: impl Fn(u64) -> u64) -> Option<u64> {
        let (mut at, end) = (range.start / PAGE, range.end.div_ceil(PAGE).min(self.pages));
        while at < end {
            let rest = wanted(self.words[(at / 64) as usize]) >> (at % 64);
            if rest != 0 {
                at += u64::from(rest.trailing_zeros());
                return (at < end).then_some((at * PAGE).max(range.start));
            }
            at = (at / 64 + 1) * 64;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_found_and_counted() {
        let mut pages = Pages::new(1000 * PAGE);
        assert_eq!(pages.first_missing(&(5..100)), Some(5));
        pages.insert(&(0..1));
        pages.insert(&(3 * PAGE..200 * PAGE + 1));
        assert_eq!(pages.first_missing(&(5..2 * PAGE)), Some(PAGE));
        assert_eq!(pages.first_missing(&(4 * PAGE + 7..1000 * PAGE)), Some(201 * PAGE));
        assert_eq!(pages.first_missing(&(4 * PAGE..201 * PAGE)), None);
        assert_eq!(pages.first_present(&(PAGE..1000 * PAGE)), Some(3 * PAGE));
        assert_eq!((pages.count(), pages.runs()), (199, 2));
        assert!(pages.has(200 * PAGE) && !pages.has(201 * PAGE));
    }
}
