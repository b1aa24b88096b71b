//! How fast the network is, measured while it is used: what fetching costs in time is decided from this.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Before anything was measured: an object store in the same region.
const FIRST: Pace = Pace { latency: 0.03, bandwidth: 100e6 };

/// Nothing is believed to be faster than this, in bytes per second: memory is not the network.
const MAX_BANDWIDTH: f64 = 1e9;

/// A measurement counts from so many bytes on; fewer arrive in one piece, which takes no time to be measured.
const MIN_SAMPLE: u64 = 32 << 10;

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
#[derive(Debug, Default)]
pub(super) struct PaceMeter {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    pace: Pace,
    measured: bool,
    /// Bodies that are arriving.
    active: usize,
    /// Since when at least one is, or since the last measurement.
    since: Option<Instant>,
    bytes: u64,
}

/// A body that is arriving.
#[derive(Debug)]
pub(super) struct Receiving(Arc<PaceMeter>);

impl PaceMeter {
    /// The pace now.
    pub fn pace(&self) -> Pace {
        self.state.lock().pace
    }

    /// The first byte of an answer has come after so long; its body follows.
    pub fn answered(self: &Arc<Self>, after: Duration) -> Receiving {
        let mut state = self.state.lock();
        let latency = after.as_secs_f64();
        let weight = if state.measured { WEIGHT } else { 1.0 };
        state.pace.latency += (latency - state.pace.latency) * weight;
        state.measured = true;
        if state.active == 0 {
            (state.since, state.bytes) = (Some(Instant::now()), 0);
        }
        state.active += 1;
        Receiving(self.clone())
    }
}

impl Receiving {
    /// Bytes that have arrived since the first of them.
    pub fn received(&self, bytes: u64) {
        self.0.state.lock().bytes += bytes;
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.active -= 1;
        let Some(since) = state.since else { return };
        if state.bytes >= MIN_SAMPLE {
            let measured = state.bytes as f64 / since.elapsed().as_secs_f64().max(1e-6);
            let measured = measured.min(MAX_BANDWIDTH);
            state.pace.bandwidth += (measured - state.pace.bandwidth) * WEIGHT;
            (state.since, state.bytes) = (Some(Instant::now()), 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_network_shows_after_a_few_transfers() {
        let meter = Arc::new(PaceMeter::default());
        for _ in 0..8 {
            let body = meter.answered(Duration::from_millis(100));
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
