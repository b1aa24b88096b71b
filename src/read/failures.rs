//! GETs of a file that failed a moment ago.
//!
//! A GET fails after all its repetitions, up to a minute after it was sent. The kernel then asks for the page once more
//! before it tells the program, and READs of the pages beside it wait in line. All of them are told of the failure, unless
//! memory or the disk has their bytes.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::store::StoreError;

/// How long a failure counts, if the file is not opened anew: long enough for the READs that waited for the same bytes.
const COUNTS: Duration = Duration::from_secs(2);

/// So many are remembered, the last ones.
const MAX_FAILURES: usize = 64;

/// The last failures, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Failures(VecDeque<(Instant, Range<u64>, StoreError)>);

impl Failures {
    /// A GET of a range has failed. Counts if the store was asked as often as it may be.
    pub fn note(&mut self, range: Range<u64>, error: &StoreError, now: Instant) {
        if error.kind.is_transient() {
            self.0.truncate(MAX_FAILURES - 1);
            self.0.push_front((now, range, error.clone()));
        }
    }

    /// A program opens the file anew: the store is to be asked anew.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The last failure of some of a range, if that counts.
    pub fn of(&self, range: &Range<u64>, now: Instant) -> Option<StoreError> {
        let counting = self.0.iter().take_while(|(at, _, _)| now.saturating_duration_since(*at) < COUNTS);
        let overlaps = |failed: &Range<u64>| failed.start < range.end && range.start < failed.end;
        counting.filter(|(_, failed, _)| overlaps(failed)).map(|(_, _, error)| error.clone()).next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ErrorKind;

    #[test]
    fn a_failure_counts_where_it_was_and_for_a_while() {
        let (mut failures, now) = (Failures::default(), Instant::now());
        failures.note(100..200, &StoreError::new(ErrorKind::Timeout, "late"), now);
        failures.note(500..600, &StoreError::new(ErrorKind::Cancelled, "not wanted"), now);
        let is_failed = |range: Range<u64>, at| failures.of(&range, at).is_some();
        assert!(is_failed(199..300, now) && is_failed(0..1000, now + COUNTS / 2));
        assert!(!is_failed(200..300, now) && !is_failed(500..600, now) && !is_failed(0..1000, now + COUNTS));
    }

    #[test]
    fn few_are_remembered() {
        let (mut failures, now) = (Failures::default(), Instant::now());
        for at in 0..1000 {
            failures.note(at..at + 1, &StoreError::new(ErrorKind::Server, "503"), now);
        }
        assert_eq!(failures.0.len(), MAX_FAILURES);
        assert!(failures.of(&(999..1000), now).is_some() && failures.of(&(0..1), now).is_none());
    }
}
