//! Sets of bytes as ranges: what was read of a file.

use std::collections::BTreeMap;
use std::ops::Range;

/// So many ranges are told apart: 16 bytes each.
const MAX_RANGES: usize = 4096;

/// Disjoint ranges in order; what meets is one.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranges {
    by_start: BTreeMap<u64, u64>,
    full: bool,
}

impl Ranges {
    /// Adds a range. Once there are too many, those that meet none are left out.
    pub fn insert(&mut self, range: Range<u64>) {
        let Range { mut start, mut end } = range;
        if start >= end {
            return;
        }
        while let Some((first, last)) = self.by_start.range(..=end).next_back().map(|(first, last)| (*first, *last)) {
            if last < start {
                break;
            }
            self.by_start.remove(&first);
            (start, end) = (start.min(first), end.max(last));
        }
        match self.by_start.len() < MAX_RANGES {
            true => drop(self.by_start.insert(start, end)),
            false => self.full = true,
        }
    }

    /// Whether something was left out.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_start.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_start.len()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> {
        self.by_start.iter().map(|(start, end)| *start..*end)
    }

    /// The range that holds a byte.
    pub fn around(&self, offset: u64) -> Option<Range<u64>> {
        let (start, end) = self.by_start.range(..=offset).next_back()?;
        (offset < *end).then_some(*start..*end)
    }

    /// The parts of `range` that are in none.
    pub fn gaps(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        let (mut gaps, mut at) = (Vec::new(), range.start);
        let first = self.by_start.range(..=range.start).next_back().map_or(range.start, |(start, _)| *start);
        for (start, end) in self.by_start.range(first..range.end.max(first)) {
            if *start > at {
                gaps.push(at..*start);
            }
            at = at.max(*end);
        }
        if at < range.end {
            gaps.push(at..range.end);
        }
        gaps
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_are_the_bytes_that_were_inserted(inserted in proptest::collection::vec((0u64..300, 0u64..40), 0..30)) {
            let mut ranges = Ranges::default();
            inserted.iter().for_each(|(start, len)| ranges.insert(*start..start + len));
            let gaps = ranges.gaps(&(50..250));
            for byte in 0..400 {
                let is_in = inserted.iter().any(|(start, len)| (*start..start + len).contains(&byte));
                prop_assert_eq!(ranges.around(byte).is_some(), is_in);
                prop_assert_eq!(ranges.gaps(&(byte..byte + 1)).is_empty(), is_in);
                prop_assert_eq!(gaps.iter().any(|gap| gap.contains(&byte)), !is_in && (50..250).contains(&byte));
            }
            let all: Vec<_> = ranges.iter().collect();
            prop_assert!(all.windows(2).all(|pair| pair[0].end < pair[1].start));
            prop_assert_eq!(all.len(), ranges.len());
        }
    }

    #[test]
    fn too_many_ranges_are_noticed() {
        let mut ranges = Ranges::default();
        (0..=MAX_RANGES as u64).for_each(|n| ranges.insert(10 * n..10 * n + 1));
        assert!(ranges.is_full() && ranges.len() == MAX_RANGES);
    }
}
