//! Parts of regions that are to be fetched, a few at a time.
//!
//! A region may have gigabytes. If all of it were requested at once, other prefetching would wait behind it, and memory would
//! be reserved long before it is used. So only as much is in flight as keeps the network busy, and each part that arrives
//! lets the next one begin.

use std::collections::VecDeque;
use std::ops::Range;

use super::parts::MAX_PART;
use crate::metrics::Pace;

/// So many times what the network transfers in a round trip is in flight: less would leave it idle when several parts end
/// at the same time.
const ROUND_TRIPS: f64 = 3.0;

/// At least so many parts are in flight, whatever was measured.
const MIN_PARTS: u64 = 2;

/// What is left of the regions of a file, in order, and what is in flight of them, in bytes.
#[derive(Debug, Default)]
pub struct Backlog {
    parts: VecDeque<Range<u64>>,
    in_flight: u64,
}

impl Backlog {
    /// Adds parts of at most [`MAX_PART`] bytes.
    pub fn add(&mut self, parts: impl Iterator<Item = Range<u64>>) {
        self.parts.extend(parts);
    }

    /// Whether some of the regions is in flight or waits for its turn.
    pub fn is_busy(&self) -> bool {
        self.in_flight > 0 || !self.parts.is_empty()
    }

    /// The next part, if it is time for it.
    pub fn next(&mut self, pace: &Pace) -> Option<Range<u64>> {
        let enough = (ROUND_TRIPS * pace.latency * pace.bandwidth) as u64;
        if self.in_flight >= enough.max(MIN_PARTS * MAX_PART) {
            return None;
        }
        self.parts.pop_front()
    }

    /// So many bytes are requested.
    pub fn begin(&mut self, bytes: u64) {
        self.in_flight += bytes;
    }

    /// So many bytes have arrived, or will not.
    pub fn end(&mut self, bytes: u64) {
        self.in_flight = self.in_flight.saturating_sub(bytes);
    }

    /// What is left is not wanted any more: returns it.
    pub fn clear(&mut self) -> VecDeque<Range<u64>> {
        std::mem::take(&mut self.parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_much_is_in_flight_as_the_network_takes() {
        let mut backlog = Backlog::default();
        backlog.add((0..100).map(|n| n * MAX_PART..(n + 1) * MAX_PART));
        let begin = |backlog: &mut Backlog, pace: &Pace| {
            std::iter::from_fn(|| backlog.next(pace).inspect(|part| backlog.begin(part.end - part.start))).count()
        };
        let (region, home) = (Pace::measured(0.03, 600e6), Pace::measured(0.1, 12e6));
        assert_eq!(begin(&mut backlog, &home), 2);
        assert_eq!(begin(&mut backlog, &region), 11);
        backlog.end(MAX_PART);
        assert_eq!(begin(&mut backlog, &region), 1);
        assert_eq!(backlog.clear().len(), 86);
        assert_eq!(backlog.next(&home), None);
    }
}
