//! Heaps of binary tables: tiles of compressed images, arrays of variable length.
//!
//! - A [`Run`] reads a heap in its order, from the first byte on. A stream has to prove itself, a heap says how far it
//!   goes. So the first step may be as long as a round trip takes to transfer, which costs no more time than the wait
//!   for it; the reader then earns the rest by coming along.
//! - [`Arrays`] follows it, and an [`Ascent`], in the heap of a table, and fetches the descriptors of all rows, so that a row costs one
//!   round trip instead of two.

use std::ops::Range;

use super::ascent::Ascent;
use crate::fits::Hdu;
use crate::metrics::Pace;

/// The first step is at least this long, and at most: what one round trip transfers, which from a store in the same
/// region is up to four times as much. A reader that stops early has wasted no more.
const MIN_FIRST: u64 = 1 << 20;
const MAX_FIRST: u64 = 4 << 20;

/// Readahead is this many times as much as the reader has come along: a quarter of what was fetched is read when the next
/// step is asked for, so that it arrives while the rest is read.
const GROWTH: u64 = 4;

/// The smallest step worth a request of its own, unless it is the last one.
const MIN_STEP: u64 = 512 << 10;

/// A read that begins so far beyond what was planned still goes on: empty arrays, and those in another order.
const SLACK: u64 = 64 << 10;

/// The first step of a reader that has touched the start of a heap once: it may want one row.
const ONE_TOUCH: u64 = 1 << 20;

/// A program that reads descriptors or a header reads on by so many bytes, into what is behind them.
const READ_ON: u64 = 16 << 10;

/// How many bytes arrive in the time that one waits for the first of them.
pub(super) fn one_round(pace: &Pace) -> u64 {
    ((pace.latency * pace.bandwidth) as u64).clamp(MIN_FIRST, MAX_FIRST)
}

/// What to fetch ahead of a reader of a heap.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Readahead {
    /// Tiles of a cutout: whole pages.
    Pieces(Vec<Range<u64>>),
    /// More of the heap, for a reader that goes through it, if it is not planned already.
    Run(Option<Range<u64>>),
}

/// A reader that began with the first byte of a heap.
#[derive(Clone, Debug)]
pub(super) struct Run {
    heap: Range<u64>,
    /// All up to here was read, as far as is seen.
    next: u64,
    /// All up to here was read or planned.
    planned: u64,
    /// Whether it is known that all is read.
    is_sure: bool,
}

impl Run {
    /// Nothing of `heap` was read yet, and all of it will be.
    pub fn new(heap: Range<u64>) -> Self {
        Self { next: heap.start, planned: heap.start, heap, is_sure: true }
    }

    /// Nothing of `heap` was read yet. The first read says little, the second is as good as certainty.
    pub fn likely(heap: Range<u64>) -> Self {
        Self { is_sure: false, ..Self::new(heap) }
    }

    /// `heap` was read up to `next`, and goes on to be read.
    pub fn read_up_to(next: u64, heap: Range<u64>) -> Self {
        Self { next, planned: next, ..Self::new(heap) }
    }

    /// What to fetch before anything of the heap is read.
    pub fn first(&mut self, pace: &Pace, max_ahead: u64) -> Option<Range<u64>> {
        self.plan_up_to(one_round(pace).min(max_ahead))
    }

    /// Takes note of a read. None if it does not belong to the run; else what to fetch ahead, which may be nothing.
    pub fn advance(&mut self, read: &Range<u64>, pace: &Pace, max_ahead: u64) -> Option<Option<Range<u64>>> {
        let reached = self.planned.max(self.next);
        if read.end <= self.heap.start || read.start > reached.saturating_add(SLACK) || read.start >= self.heap.end {
            return None;
        }
        self.next = self.next.max(read.end.min(self.heap.end));
        let come = self.next - self.heap.start;
        let first = if std::mem::replace(&mut self.is_sure, true) { one_round(pace) } else { ONE_TOUCH };
        let wanted = (GROWTH * come).max(first).min(come + max_ahead);
        Some(self.plan_up_to(wanted))
    }

    /// `range` will not be fetched.
    pub fn cut(&mut self, range: &Range<u64>) {
        if self.next <= range.start && range.start < self.planned {
            self.planned = range.start;
        }
    }

    /// Plans the first `length` bytes of the heap as far as they are not planned yet.
    fn plan_up_to(&mut self, length: u64) -> Option<Range<u64>> {
        let from = self.planned.max(self.next);
        let to = self.heap.start.saturating_add(length).min(self.heap.end);
        let is_worth_it = to >= from + MIN_STEP || (to > from && to == self.heap.end);
        is_worth_it.then(|| {
            self.planned = to;
            from..to
        })
    }
}

/// The arrays of variable length in the table that is read.
#[derive(Debug, Default)]
pub(super) struct Arrays {
    /// Which HDU.
    hdu: usize,
    run: Option<Run>,
    ascent: Ascent,
    /// The rows of the table were asked for.
    has_rows: bool,
}

/// What follows from a read of a heap.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct InHeap {
    /// The rows of the table, with the descriptors of all arrays.
    pub rows: Option<Range<u64>>,
    /// What is fetched ahead in the heap. None if the reader shows none of the orders known here.
    pub ahead: Option<Readahead>,
}

impl Arrays {
    /// What follows from a read of the data of `hdu`. None if it is not of a heap of arrays.
    pub fn follow(&mut self, hdu: &Hdu, read: &Range<u64>, pace: &Pace, max_ahead: u64) -> Option<InHeap> {
        let table = hdu.table.as_ref().filter(|table| table.tiles.is_none())?;
        let heap = table.heap.as_ref().map(|heap| heap.offset..heap.offset.saturating_add(heap.len))?;
        if read.end <= heap.start || read.start >= heap.end || read.end > hdu.end() {
            return None;
        }
        if self.hdu != hdu.index {
            *self = Self { hdu: hdu.index, ..Self::default() };
        }
        let is_start = self.run.is_none() && !self.ascent.has_begun() && read.start <= heap.start + READ_ON;
        if is_start {
            self.run = Some(Run::likely(heap.clone()));
        }
        if let Some(ahead) = self.run.as_mut().and_then(|run| run.advance(read, pace, max_ahead)) {
            return Some(InHeap { rows: None, ahead: Some(Readahead::Run(ahead)) });
        }
        let ahead = self.ascent.advance(read, pace, max_ahead);
        let ahead = ahead.map(|range| range.start..range.end.min(heap.end)).filter(|range| range.start < range.end);
        let bytes = heap.start.min(hdu.data_offset.saturating_add(hdu.row_len().saturating_mul(hdu.rows())));
        let rows = hdu.data_offset..bytes;
        let is_worth_it = self.ascent.has_places() && !self.has_rows && rows.end - rows.start <= one_round(pace);
        self.has_rows |= is_worth_it;
        let is_ascent = ahead.is_some() || self.ascent.has_readahead();
        Some(InHeap { rows: is_worth_it.then_some(rows), ahead: is_ascent.then_some(Readahead::Run(ahead)) })
    }

    /// `range` was planned and will not be fetched.
    pub fn cut(&mut self, range: &Range<u64>) {
        self.run.iter_mut().for_each(|run| run.cut(range));
        self.ascent.cut(range);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;
    const PACE: Pace = Pace::measured(0.03, 600e6);

    #[test]
    fn what_a_round_trip_transfers_comes_with_the_first_touch() {
        let mut run = Run::new(10 * MIB..30 * MIB);
        let first = run.advance(&(10 * MIB..10 * MIB + 4096), &PACE, 64 * MIB);
        assert_eq!(first, Some(Some(10 * MIB + 4096..14 * MIB)));
        let home = Pace::measured(0.1, 12e6);
        let mut run = Run::new(10 * MIB..30 * MIB);
        assert_eq!(run.first(&home, 64 * MIB), Some(10 * MIB..10 * MIB + 1_200_000));
    }

    #[test]
    fn a_reader_that_comes_along_never_reaches_the_end_of_readahead() {
        let mut run = Run::new(0..100 * MIB);
        let mut planned = 0;
        // Parts of half a megabyte are seen when they are entered.
        for at in (0..100 * MIB).step_by(512 << 10) {
            assert!(at == 0 || planned >= (at + MIB).min(100 * MIB), "planned {planned} at {at}");
            let ahead = run.advance(&(at..at + 4096), &PACE, 64 * MIB).expect("the run goes on");
            planned = ahead.map_or(planned, |ahead| ahead.end);
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
        fn readahead_is_in_the_heap_bounded_and_never_twice(
            length in 1u64..1 << 32, max_ahead in 1u64..1 << 26, reads in proptest::collection::vec((0u64..1 << 33, 1u64..1 << 20), 1..100),
        ) {
            let heap = MIB..MIB + length;
            let mut run = Run::new(heap.clone());
            let mut planned = heap.start;
            for (start, length) in reads {
                let Some(Some(ahead)) = run.advance(&(start..start + length), &PACE, max_ahead) else { continue };
                prop_assert!(ahead.start >= planned && ahead.start < ahead.end && ahead.end <= heap.end);
                prop_assert!(ahead.end - ahead.start <= max_ahead + MAX_FIRST);
                planned = ahead.end;
            }
        }
    }
}
