//! How fast the network is, measured while it is used: what fetching costs in time is decided from this.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Before anything was measured: an object store in the same region.
const FIRST: Pace = Pace { latency: 0.03, bandwidth: 100e6 };

/// Nothing is believed to be faster than this, in bytes per second: memory is not the network.
const MAX_BANDWIDTH: f64 = 1e9;

/// A measurement counts from so many bytes on, of one answer or of several: fewer arrive in one piece, or faster than
/// the next ones would, out of what the line has taken in while it was idle.
const MIN_SAMPLE: u64 = 768 << 10;

/// The weight of a new measurement against all before it.
const WEIGHT: f64 = 0.3;

/// What a request costs beside its bytes, in seconds: processor time of both ends.
const REQUEST: f64 = 0.4e-3;

/// Latency and bandwidth as they are now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Seconds from a request to the first byte of its answer.
    pub latency: f64,
    /// Bytes per second of all connections together, as many as were in use.
    pub bandwidth: f64,
}

impl Default for Pace {
    fn default() -> Self {
        FIRST
    }
}

impl Pace {
    /// Whether leaving out `spared` bytes between two ranges is worth a request of its own.
    pub fn is_worth_a_request(&self, spared: u64) -> bool {
        spared as f64 / self.bandwidth > REQUEST
    }

    /// Seconds until `bytes` have arrived that are asked for now.
    pub fn seconds(&self, bytes: u64) -> f64 {
        self.latency + bytes as f64 / self.bandwidth
    }
}

/// Measures the pace of all transfers of a mount together.
#[derive(Clone, Debug, Default)]
pub struct PaceMeter {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    pace: Pace,
    /// Whether anything was measured yet: latency, bandwidth. The first measurement replaces the guess.
    measured: (bool, bool),
    /// Bodies that are arriving.
    active: usize,
    /// Since when at least one is, as far as that is not in `busy`.
    since: Option<Instant>,
    /// What has arrived since the last measurement, and the time that it took.
    bytes: u64,
    busy: Duration,
}

/// A body that is arriving.
#[derive(Debug)]
pub struct Receiving {
    state: Arc<Mutex<State>>,
    begun: bool,
}

impl PaceMeter {
    /// The pace now. A long way is taken for a narrow one until its bandwidth was measured.
    pub fn pace(&self) -> Pace {
        let state = self.state.lock();
        let far = (FIRST.latency / state.pace.latency.max(FIRST.latency)).powi(2);
        let guess = Pace { bandwidth: FIRST.bandwidth * far, ..state.pace };
        if state.measured.1 { state.pace } else { guess }
    }

    /// The first byte of an answer has come after so long; its body follows.
    pub fn answered(&self, after: Duration) -> Receiving {
        let mut state = self.state.lock();
        let latency = after.as_secs_f64();
        let weight = if std::mem::replace(&mut state.measured.0, true) { WEIGHT } else { 1.0 };
        state.pace.latency += (latency - state.pace.latency) * weight;
        state.active += 1;
        state.since.get_or_insert_with(Instant::now);
        Receiving { state: self.state.clone(), begun: false }
    }
}

impl Receiving {
    /// Bytes have arrived. The first of them came with the head of the answer, in no time that was measured.
    pub fn received(&mut self, bytes: u64) {
        if std::mem::replace(&mut self.begun, true) {
            self.state.lock().bytes += bytes;
        }
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        state.active -= 1;
        let now = Instant::now();
        if let Some(since) = state.since.take() {
            state.busy += now.duration_since(since);
        }
        state.since = (state.active > 0).then_some(now);
        if state.bytes >= MIN_SAMPLE {
            let measured = state.bytes as f64 / state.busy.as_secs_f64().max(1e-6);
            let weight = if std::mem::replace(&mut state.measured.1, true) { WEIGHT } else { 1.0 };
            state.pace.bandwidth += (measured.min(MAX_BANDWIDTH) - state.pace.bandwidth) * weight;
            (state.bytes, state.busy) = (0, Duration::ZERO);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_network_shows_after_a_few_transfers() {
        let meter = PaceMeter::default();
        for _ in 0..8 {
            let mut body = meter.answered(Duration::from_millis(100));
            body.received(4096);
            std::thread::sleep(Duration::from_millis(10));
            body.received(64 << 10);
        }
        let pace = meter.pace();
        assert!((0.09..0.11).contains(&pace.latency), "{pace:?}");
        assert!(pace.bandwidth < 20e6, "64 KiB in 10 ms: {pace:?}");
    }

    #[test]
    fn small_gaps_are_fetched_along_where_bytes_are_cheap() {
        let (region, home) = (Pace { latency: 0.03, bandwidth: 600e6 }, Pace { latency: 0.1, bandwidth: 12e6 });
        assert!(!region.is_worth_a_request(16 << 10));
        assert!(home.is_worth_a_request(16 << 10));
    }
}
