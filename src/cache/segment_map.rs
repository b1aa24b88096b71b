//! The segments of one object version: disjoint, ordered by offset.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::Segment;

/// The segments of one object. They never overlap: what one holds or awaits is not fetched again.
#[derive(Debug, Default)]
pub struct SegmentMap {
    by_start: BTreeMap<u64, Arc<Segment>>,
}

impl SegmentMap {
    /// The segments that hold or await some of `range`, in order of offset.
    pub fn overlapping(&self, range: &Range<u64>) -> Vec<Arc<Segment>> {
        self.among(range).cloned().collect()
    }

    /// The same, to look at.
    pub fn among(&self, range: &Range<u64>) -> impl Iterator<Item = &Arc<Segment>> {
        let (start, end) = (range.start, range.end);
        let first = self.by_start.range(..=start).next_back().map_or(start, |(start, _)| *start);
        self.by_start
            .range(first..end.max(first))
            .map(|(_, segment)| segment)
            .filter(move |segment| segment.range().end > start && segment.range().start < end)
    }

    /// The parts of `range` that no segment holds or awaits, in order.
    pub fn gaps(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        let mut gaps = Vec::new();
        let mut at = range.start;
        for segment in self.overlapping(range) {
            if segment.range().start > at {
                gaps.push(at..segment.range().start);
            }
            at = at.max(segment.range().end);
        }
        if at < range.end {
            gaps.push(at..range.end);
        }
        gaps
    }

    /// Adds a segment for a gap.
    pub fn insert(&mut self, segment: Arc<Segment>) {
        debug_assert!(self.overlapping(&segment.range()).is_empty(), "segments never overlap");
        self.by_start.insert(segment.range().start, segment);
    }

    /// Removes this very segment (not another one that took its place).
    pub fn remove(&mut self, segment: &Arc<Segment>) -> bool {
        match self.by_start.get(&segment.range().start) {
            Some(present) if Arc::ptr_eq(present, segment) => self.by_start.remove(&segment.range().start).is_some(),
            _ => false,
        }
    }

    /// All segments, in order of offset.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Segment>> {
        self.by_start.values()
    }

    /// The bytes `range`, if all of them have arrived.
    pub fn collect(&self, range: &Range<u64>) -> Option<Bytes> {
        let segments = self.overlapping(range);
        if let [only] = segments.as_slice() {
            return only.slice(range.clone());
        }
        let mut joined = BytesMut::with_capacity((range.end - range.start) as usize);
        for segment in segments {
            let start = range.start + joined.len() as u64;
            if segment.range().start > start {
                return None;
            }
            joined.extend_from_slice(&segment.slice(start..range.end.min(segment.range().end))?);
        }
        (joined.len() as u64 == range.end - range.start).then(|| joined.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Origin;
    use super::*;
    use proptest::prelude::*;

    fn map(ranges: &[Range<u64>]) -> SegmentMap {
        let mut map = SegmentMap::default();
        for range in ranges {
            let segment = Segment::new(range.clone(), Origin::Demand, None);
            segment.append(Bytes::from(range.clone().map(|i| i as u8).collect::<Vec<u8>>()));
            map.insert(Arc::new(segment));
        }
        map
    }

    proptest! {
        #[test]
        fn gaps_and_segments_tile_the_range(starts in proptest::collection::btree_set(0u64..40, 0..8), a in 0u64..400, len in 1u64..300) {
            let ranges: Vec<_> = starts.iter().map(|s| s * 10..s * 10 + 7).collect();
            let map = map(&ranges);
            let wanted = a..a + len;
            let gaps = map.gaps(&wanted);
            for offset in wanted.clone() {
                let held = ranges.iter().any(|r| r.contains(&offset));
                let gap = gaps.iter().any(|r| r.contains(&offset));
                prop_assert!(held != gap, "offset {} is held {} and missing {}", offset, held, gap);
            }
        }
    }

    #[test]
    fn collect_joins_neighbours_and_refuses_holes() {
        let map = map(&[0..10, 10..20, 25..30]);
        assert_eq!(&map.collect(&(5..15)).unwrap()[..], &[5, 6, 7, 8, 9, 10, 11, 12, 13, 14]);
        assert!(map.collect(&(15..26)).is_none());
        assert!(map.collect(&(26..31)).is_none());
        assert!(map.collect(&(40..41)).is_none());
    }
}
