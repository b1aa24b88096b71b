//! Places that ascend: rows of a table here and there, points of an image in the order of their rows.
//!
//! The next place cannot be predicted, but what lies between two of them may take less time to transfer than the wait for
//! the next one.

use std::ops::Range;

use crate::metrics::Pace;

/// So many places in ascending order show that more follow: two of them are one distance, which may be chance.
const PROOF: u32 = 3;

/// What lies between two places takes so many times less to transfer than a round trip, on average: places in no order
/// ascend for a while, too, and are further apart.
const MIN_GAIN: u64 = 4;

/// The first window of an ascent holds so many of the places to come, the next ones twice as much as the last.
const FIRST_WINDOW: u64 = 4;

/// A reader of places in ascending order with distances between them that take less time than a round trip.
#[derive(Clone, Debug, Default)]
pub(super) struct Ascent {
    /// Where the ascent began, and the last read.
    start: u64,
    last: Range<u64>,
    places: u32,
    /// The mean distance of the places before any window, in bytes.
    distance: u64,
    window: u64,
    /// All from the first window up to here was planned.
    planned: u64,
}

impl Ascent {
    /// Whether anything was read.
    pub fn has_begun(&self) -> bool {
        self.places > 0
    }

    /// Whether several places were read.
    pub fn has_places(&self) -> bool {
        self.places > 1
    }

    /// Whether there is readahead for its reader.
    pub fn has_readahead(&self) -> bool {
        self.window > 0
    }

    /// Where it began.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Takes note of a read; what to fetch ahead.
    pub fn advance(&mut self, read: &Range<u64>, pace: &Pace, max_ahead: u64) -> Option<Range<u64>> {
        let worth = (pace.latency * pace.bandwidth) as u64;
        let goes_on = self.places > 0
            && read.start >= self.last.start
            && read.start <= self.last.end.max(self.planned).saturating_add(worth);
        if !goes_on {
            *self = Self { start: read.start, last: read.clone(), places: 1, ..Self::default() };
            return None;
        }
        if read.start > self.last.end {
            self.places += 1;
        }
        self.last = self.last.start.max(read.start)..self.last.end.max(read.end);
        if self.places < PROOF {
            return None;
        }
        if self.window == 0 {
            self.distance = (read.start - self.start) / u64::from(self.places - 1);
            if self.distance > worth / MIN_GAIN {
                return None;
            }
        }
        // Half a window ahead, so that the next one arrives while this one is read.
        if read.end + self.window / 2 < self.planned {
            return None;
        }
        self.window = (2 * self.window).max(FIRST_WINDOW * self.distance).min(max_ahead);
        let from = self.planned.max(read.end);
        self.planned = (read.end + self.window).max(from);
        Some(from..self.planned)
    }

    /// `range` was planned and will not be fetched.
    pub fn cut(&mut self, range: &Range<u64>) {
        if range.start < self.planned {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PACE: Pace = Pace::measured(0.03, 600e6);
    const MIB: u64 = 1 << 20;

    /// Reads pages at these places; what was planned in all, and how often a page was not among that.
    fn walk(places: impl IntoIterator<Item = u64>) -> (u64, usize) {
        let (mut ascent, mut planned, mut missed) = (Ascent::default(), 0..0, 0);
        let mut bytes = 0;
        for at in places {
            missed += usize::from(!planned.contains(&at));
            if let Some(ahead) = ascent.advance(&(at..at + 4096), &PACE, 64 * MIB) {
                bytes += ahead.end - ahead.start;
                planned = if planned.is_empty() { ahead } else { planned.start..ahead.end };
            }
        }
        (bytes, missed)
    }

    #[test]
    fn places_that_ascend_get_readahead_that_grows_with_the_way() {
        let distance = |n: u64| 1_000_000 + n * 7_919 % 500_000;
        let places =
            |count: u64| (0..count).scan(10_000_000, move |at, n| Some(std::mem::replace(at, *at + distance(n))));
        let (bytes, missed) = walk(places(200));
        assert!(missed <= 4 && bytes < 3 * 250_000_000, "{missed} missed, {bytes} bytes");
        assert_eq!(walk(places(2)), (0, 2));
        let (little, _) = walk(places(3));
        assert!(little <= 6_000_000, "{little} bytes after three places");
    }

    fn ascend(ascent: &mut Ascent, at: u64) -> Option<Range<u64>> {
        ascent.advance(&(at..at + 8192), &PACE, 64 * MIB)
    }

    #[test]
    fn three_places_in_ascending_order_open_a_window_that_doubles() {
        let mut ascent = Ascent::default();
        assert_eq!(ascend(&mut ascent, 0), None);
        assert_eq!(ascend(&mut ascent, 300 << 10), None);
        let first = ascend(&mut ascent, 650 << 10).expect("a window");
        let length = |range: &Range<u64>| range.end - range.start;
        assert_eq!(length(&first), 4 * (325 << 10));
        assert_eq!(ascend(&mut ascent, first.start), None);
        let second = ascend(&mut ascent, first.end - 20_000).expect("the next window");
        assert!(second.start == first.end && length(&second) > length(&first), "{second:?}");
    }

    #[test]
    fn places_far_apart_or_in_no_order_open_no_window() {
        for places in [[100, 200, 300, 400], [40, 30, 20, 10], [40, 41, 10, 11]] {
            let mut ascent = Ascent::default();
            assert!(places.iter().all(|place| ascend(&mut ascent, place * MIB).is_none()), "{places:?}");
        }
    }

    proptest! {
        #[test]
        fn windows_are_bounded_and_never_twice(max_ahead in 1u64..1 << 26, reads in proptest::collection::vec((0u64..1 << 27, 1u64..1 << 20), 1..200)) {
            let mut ascent = Ascent::default();
            for (start, length) in reads {
                let planned = ascent.planned;
                let Some(window) = ascent.advance(&(start..start + length), &PACE, max_ahead) else { continue };
                prop_assert!(window.start >= planned && window.start <= window.end);
                prop_assert!(window.end - window.start <= max_ahead);
            }
        }
    }
}
