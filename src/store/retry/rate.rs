//! Whether a body arrives, or only drips.
//!
//! Only the time counts in which a reader waits for a byte: the server is not to blame for a slow reader, or for a
//! machine that sleeps. Over a window of that time a body must bring some bytes. It may bring fewer where the whole
//! line is slow, so that it has about its share of what all bodies together bring; but then all together must bring some.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Longer than TCP takes to send a lost packet for the third time (1, 2 and 4 s).
pub(super) const WINDOW: Duration = Duration::from_secs(10);

/// The least in a window. The slowest line that is served, of 1 Mbit/s, gives each of the 144 GETs that may run ahead at
/// once 8.7 kB in that time; half of that, as shares are not even: a page.
const LEAST: u64 = 4096;

/// A body has about its share if it has this part of the mean.
const SHARE: u64 = 4;

/// All bodies that are waited for.
#[derive(Debug, Default)]
pub(super) struct Line {
    bytes: AtomicU64,
    bodies: AtomicUsize,
}

/// A wait for the next bytes of a body.
#[derive(Debug)]
pub(super) struct Waiting {
    line: Arc<Line>,
    since: Instant,
    bytes: u64,
}

/// What came in a wait.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Waited {
    time: Duration,
    /// Of all bodies, and how many those were.
    line: u64,
    bodies: u64,
}

/// The rate of one body.
#[derive(Debug, Default)]
pub(super) struct Rate {
    waited: Duration,
    bytes: u64,
    line: u64,
}

/// What is to be thought of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is not certain yet.
    Open,
    /// It arrives.
    Progress,
    /// It is not worth waiting for.
    TooSlow,
}

impl Line {
    /// A reader waits for a body.
    pub(super) fn wait(self: &Arc<Self>) -> Waiting {
        self.bodies.fetch_add(1, Ordering::Relaxed);
        Waiting { line: Arc::clone(self), since: Instant::now(), bytes: self.bytes.load(Ordering::Relaxed) }
    }
}

impl Waiting {
    /// These bytes have come.
    pub(super) fn end(&self, bytes: u64) -> Waited {
        let all = self.line.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let bodies = self.line.bodies.load(Ordering::Relaxed) as u64;
        Waited { time: self.since.elapsed(), line: all.wrapping_sub(self.bytes), bodies }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.line.bodies.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Rate {
    /// Bytes have come after a wait.
    pub(super) fn received(&mut self, bytes: u64, waited: Waited) -> Verdict {
        self.waited += waited.time;
        self.bytes += bytes;
        self.line += waited.line;
        let verdict = match self.bytes >= LEAST {
            true => Verdict::Progress,
            false if self.waited < WINDOW => return Verdict::Open,
            false if self.line >= LEAST && self.bytes * waited.bodies.max(1) * SHARE >= self.line => Verdict::Progress,
            false => Verdict::TooSlow,
        };
        *self = Self::default();
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of a body that brings so many bytes every second, when `bodies` together bring so many.
    fn verdict(bytes: u64, line: u64, bodies: u64) -> (Verdict, u32) {
        let mut rate = Rate::default();
        let waited = Waited { time: Duration::from_secs(1), line, bodies };
        let mut verdicts = std::iter::repeat_with(|| rate.received(bytes, waited)).zip(1..);
        verdicts.find(|(verdict, _)| *verdict != Verdict::Open).expect("there is always a next one")
    }

    #[test]
    fn a_drip_is_too_slow_and_a_slow_line_is_not() {
        assert_eq!(verdict(1, 1, 1), (Verdict::TooSlow, 10), "alone");
        assert_eq!(verdict(1, 16, 16), (Verdict::TooSlow, 10), "as all the others");
        assert_eq!(verdict(1, 1_000_000, 16), (Verdict::TooSlow, 10), "the others are fast");
        assert_eq!(verdict(125_000 / 16, 125_000, 16), (Verdict::Progress, 1), "1 Mbit/s");
        assert_eq!(verdict(125_000 / 144, 125_000, 144).0, Verdict::Progress, "by as many as there can be");
        assert_eq!(verdict(55, 8_000, 144), (Verdict::Progress, 10), "64 kbit/s");
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_time_counts_in_which_someone_waits() {
        let (line, mut rate) = (Arc::new(Line::default()), Rate::default());
        for _ in 0..100 {
            let waiting = line.wait();
            let waited = waiting.end(10);
            assert!(waited.time.is_zero());
            assert_eq!(rate.received(10, waited), Verdict::Open);
            drop(waiting);
            tokio::time::advance(Duration::from_secs(60)).await;
        }
        assert_eq!(line.bodies.load(Ordering::Relaxed), 0);
    }
}
