//! Heaps of binary tables that are read in their order, from the first byte on: tiles of an image that is decoded whole.
//!
//! A stream has to prove itself, a heap says how far it goes. So the first step may be as long as a round trip takes
//! to transfer, which costs no more time than the wait for it; the reader then earns the rest by coming along.

use std::ops::Range;

use crate::metrics::Pace;

/// The first step is at least this long, and at most: what one round trip transfers, which from a store in the same
/// region is up to four times as much. A reader that stops early has wasted no more.
const MIN_FIRST: u64 = 1 << 20;
const MAX_FIRST: u64 = 4 << 20;

/// A reader is led by this many times as much as it has come along: a quarter of what was fetched is read when the next
/// step is asked for, so that it arrives while the rest is read.
const GROWTH: u64 = 4;

/// The smallest step worth a request of its own, unless it is the last one.
const MIN_STEP: u64 = 512 << 10;

/// A read that begins so far beyond what was planned still goes on: empty arrays, and those in another order.
const SLACK: u64 = 64 << 10;

/// How many bytes arrive in the time that one waits for the first of them.
pub(super) fn one_round(pace: &Pace) -> u64 {
    ((pace.latency * pace.bandwidth) as u64).clamp(MIN_FIRST, MAX_FIRST)
}

/// A reader that began with the first byte of a heap.
#[derive(Clone, Debug)]
pub(super) struct Run {
    heap: Range<u64>,
    /// All up to here was read, as far as is seen.
    next: u64,
    /// All up to here was read or planned.
    planned: u64,
}

impl Run {
    /// Nothing of `heap` was read yet.
    pub fn new(heap: Range<u64>) -> Self {
        Self { next: heap.start, planned: heap.start, heap }
    }

    /// What to fetch before anything of the heap is read.
    pub fn first(&mut self, pace: &Pace, max_ahead: u64) -> Option<Range<u64>> {
        self.lead(one_round(pace).min(max_ahead))
    }

    /// Takes note of a read. None if it does not belong to the run; else what to fetch ahead, which may be nothing.
    pub fn advance(&mut self, read: &Range<u64>, pace: &Pace, max_ahead: u64) -> Option<Option<Range<u64>>> {
        let reached = self.planned.max(self.next);
        if read.end <= self.heap.start || read.start > reached.saturating_add(SLACK) || read.start >= self.heap.end {
            return None;
        }
        self.next = self.next.max(read.end.min(self.heap.end));
        let come = self.next - self.heap.start;
        let wanted = (GROWTH * come).max(one_round(pace)).min(come + max_ahead);
        Some(self.lead(wanted))
    }

    /// `range` will not be fetched.
    pub fn cut(&mut self, range: &Range<u64>) {
        if self.next <= range.start && range.start < self.planned {
            self.planned = range.start;
        }
    }

    /// Plans the first `length` bytes of the heap as far as they are not planned yet.
    fn lead(&mut self, length: u64) -> Option<Range<u64>> {
        let from = self.planned.max(self.next);
        let to = self.heap.start.saturating_add(length).min(self.heap.end);
        let is_worth_it = to >= from + MIN_STEP || (to > from && to == self.heap.end);
        is_worth_it.then(|| {
            self.planned = to;
            from..to
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;
    const PACE: Pace = Pace { latency: 0.03, bandwidth: 600e6 };

    #[test]
    fn what_a_round_trip_transfers_comes_with_the_first_touch() {
        let mut run = Run::new(10 * MIB..30 * MIB);
        let first = run.advance(&(10 * MIB..10 * MIB + 4096), &PACE, 64 * MIB);
        assert_eq!(first, Some(Some(10 * MIB + 4096..14 * MIB)));
        let far = Pace { latency: 0.1, bandwidth: 12e6 };
        let mut run = Run::new(10 * MIB..30 * MIB);
        assert_eq!(run.first(&far, 64 * MIB), Some(10 * MIB..10 * MIB + 1_200_000));
    }

    #[test]
    fn who_comes_along_never_reaches_the_end_of_what_was_planned() {
        let mut run = Run::new(0..100 * MIB);
        let mut planned = 0;
        // Parts of half a megabyte are seen when they are entered.
        for at in (0..100 * MIB).step_by(512 << 10) {
            assert!(at == 0 || planned >= (at + MIB).min(100 * MIB), "planned {planned} at {at}");
            let lead = run.advance(&(at..at + 4096), &PACE, 64 * MIB).expect("the run goes on");
            planned = lead.map_or(planned, |lead| lead.end);
        }
        assert_eq!(planned, 100 * MIB);
    }

    #[test]
    fn what_was_not_fetched_is_planned_again() {
        let mut run = Run::new(0..8 * MIB);
        assert_eq!(run.first(&PACE, 64 * MIB), Some(0..4 * MIB));
        run.cut(&(MIB..4 * MIB));
        assert_eq!(run.advance(&(0..4096), &PACE, 64 * MIB), Some(Some(MIB..4 * MIB)));
    }

    proptest! {
        #[test]
        fn leads_are_in_the_heap_bounded_and_never_twice(
            length in 1u64..1 << 32, max_ahead in 1u64..1 << 26, reads in proptest::collection::vec((0u64..1 << 33, 1u64..1 << 20), 1..100),
        ) {
            let heap = MIB..MIB + length;
            let mut run = Run::new(heap.clone());
            let mut planned = heap.start;
            for (start, length) in reads {
                let Some(Some(lead)) = run.advance(&(start..start + length), &PACE, max_ahead) else { continue };
                prop_assert!(lead.start >= planned && lead.start < lead.end && lead.end <= heap.end);
                prop_assert!(lead.end - lead.start <= max_ahead + MAX_FIRST);
                planned = lead.end;
            }
        }
    }
}
