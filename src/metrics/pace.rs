//! How fast the network is, measured while it is used: what fetching costs in time is decided from this.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Before anything was measured: an object store in the same region, which serves seven connections of 90 MB/s.
const FIRST: Pace = Pace { is_guess: true, ..Pace::measured(0.03, 600e6) };

/// Nothing is believed to be faster than this, in bytes per second: memory is not the network.
const MAX_BANDWIDTH: f64 = 1e9;

/// A measurement counts from so many bytes on, of one answer or of several: fewer arrive in one piece, or faster than
/// the next ones would, out of what the line has taken in while it was idle.
const MIN_SAMPLE: u64 = 768 << 10;

/// Small bodies show how many requests the processors manage, and not what the network does. A measurement counts if it
/// is below this share of that, so that the network was the limit; or if it was faster than what was known.
const SHARE_OF_PROCESSORS: f64 = 0.5;

/// The weight of a new measurement against all before it, and of one that is slower than those: fewer connections may have
/// been in use, or the processors were busy.
const WEIGHT: f64 = 0.3;
const WEIGHT_SLOWER: f64 = 0.15;

/// With fewer connections in use than this, on average, a measurement shows what a connection can do, not the network.
const FEW_CONNECTIONS: f64 = 3.0;

/// So many connections fill the network in the region of a bucket, where each is limited by the store. The higher the latency,
/// the likelier is a line that one connection fills.
const CONNECTIONS: f64 = 7.0;

/// A latency so many times that in the region of a bucket is one to a home, or between data centres.
const FAR: f64 = 2.0;

/// Connections that each bring at least this share of what one alone does are not limited by the line.
const UNLIMITED: f64 = 0.75;

/// A connection that brings so many bytes per second is limited by the store, as those of S3 are, and shows nothing of the
/// line: it may fill as many as in the region.
const LIMITED: f64 = 80e6;

/// What a request costs beside its bytes, in seconds: processor time of both ends.
const REQUEST: f64 = 0.4e-3;

/// Latency and bandwidth as they are now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Seconds from a request to the first byte of its answer.
    pub latency: f64,
    /// Bytes per second of all connections together, as many as were in use.
    pub bandwidth: f64,
    /// No connection has shown yet what it brings.
    is_guess: bool,
}

impl Default for Pace {
    fn default() -> Self {
        FIRST
    }
}

impl Pace {
    /// A network that is known: seconds to the first byte, bytes per second.
    pub const fn measured(latency: f64, bandwidth: f64) -> Self {
        Self { latency, bandwidth, is_guess: false }
    }

    /// Whether leaving out `spared` bytes between two ranges is worth a request of its own.
    pub fn is_worth_a_request(&self, spared: u64) -> bool {
        spared as f64 / self.bandwidth > REQUEST
    }

    /// Whether it is open what the line is: at such a latency one to a home, or between data centres.
    pub fn is_open(&self) -> bool {
        self.is_guess && self.latency > FAR * FIRST.latency
    }

    /// Seconds until `bytes` have arrived that are asked for now.
    pub fn seconds(&self, bytes: u64) -> f64 {
        self.latency + bytes as f64 / self.bandwidth
    }
}

/// Measures the pace of all transfers from a source together.
#[derive(Clone, Debug, Default)]
pub struct PaceMeter {
    measured: Arc<Mutex<Measured>>,
}

/// What was measured so far: pure, told the time, so that a simulation measures as a mount does.
#[derive(Debug, Default)]
pub struct Measured {
    pace: Pace,
    /// Whether anything was measured yet: latency, bandwidth. The first measurement replaces the guess.
    known: (bool, bool),
    /// Bytes per second of one connection, once that was measured.
    connection: Option<f64>,
    /// Bodies that are arriving.
    active: usize,
    /// Since when at least one is, as far as that is not in `busy`.
    since: Option<Instant>,
    /// What has arrived since the last measurement, in how many bodies, and the time that it took.
    bytes: u64,
    bodies: u64,
    busy: Duration,
    /// The time that all bodies took together, up to `counted`.
    together: f64,
    counted: Option<Instant>,
}

/// A body that is arriving.
#[derive(Debug)]
pub struct Receiving {
    measured: Arc<Mutex<Measured>>,
    begun: bool,
}

impl PaceMeter {
    /// The pace now.
    pub fn pace(&self) -> Pace {
        self.measured.lock().pace()
    }

    /// The first byte of an answer has come after so long; its body follows.
    pub fn answered(&self, after: Duration) -> Receiving {
        self.measured.lock().answered(after, Instant::now());
        Receiving { measured: self.measured.clone(), begun: false }
    }
}

impl Measured {
    /// The pace now. Until the bandwidth was measured, a high latency is taken to come with a low bandwidth: 54 MB/s at
    /// 100 ms, between lines to homes and those between data centres.
    pub fn pace(&self) -> Pace {
        let near = FIRST.latency / self.pace.latency.max(FIRST.latency);
        let bandwidth = match self.connection {
            _ if self.known.1 => self.pace.bandwidth,
            Some(connection) => {
                let limited = (connection / LIMITED).min(1.0);
                connection * CONNECTIONS.powf(near.max(limited))
            }
            None => FIRST.bandwidth * near.powi(2),
        };
        Pace { bandwidth, is_guess: !self.known.1 && self.connection.is_none(), ..self.pace }
    }

    /// The first byte of an answer has come `after` its request, `now`; its body follows.
    pub fn answered(&mut self, after: Duration, now: Instant) {
        let latency = after.as_secs_f64();
        let weight = if std::mem::replace(&mut self.known.0, true) { WEIGHT } else { 1.0 };
        self.pace.latency += (latency - self.pace.latency) * weight;
        self.count(now);
        self.active += 1;
        self.since.get_or_insert(now);
    }

    /// Bytes have arrived, of any body; but for those that came with the head of an answer, in no time that was
    /// measured.
    pub fn received(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// A body has come to its end, or was cancelled, `now`.
    pub fn ended(&mut self, now: Instant) {
        self.count(now);
        self.active -= 1;
        self.bodies += 1;
        if let Some(since) = self.since.take() {
            self.busy += now.duration_since(since);
        }
        self.since = (self.active > 0).then_some(now);
        if self.bytes >= MIN_SAMPLE {
            self.learn();
            (self.bytes, self.bodies, self.busy, self.together) = (0, 0, Duration::ZERO, 0.0);
        }
    }

    /// Counts the time since the last change for each body that was arriving.
    fn count(&mut self, now: Instant) {
        let since = self.counted.replace(now).unwrap_or(now);
        self.together += now.duration_since(since).as_secs_f64() * self.active as f64;
    }

    /// Learns from what has arrived since the last time.
    fn learn(&mut self) {
        let busy = self.busy.as_secs_f64().max(1e-6);
        let measured = (self.bytes as f64 / busy).min(MAX_BANDWIDTH);
        let processors = self.bytes as f64 / (self.bodies.max(1) as f64 * REQUEST);
        if measured >= SHARE_OF_PROCESSORS * processors && measured <= self.pace().bandwidth {
            return;
        }
        let connections = self.together / busy;
        let connection = measured / connections.max(1.0);
        // Where each of several brings as much as one alone does, the line takes more of them. Near the bucket they are as
        // many as the processors can serve, and what those take is what counts.
        let is_far = self.pace.latency > FAR * FIRST.latency;
        let is_unlimited = connection >= UNLIMITED * self.connection.unwrap_or(LIMITED);
        let has_room = is_far && is_unlimited && connections < CONNECTIONS;
        if (has_room || connections < FEW_CONNECTIONS) && (!self.known.1 || measured <= self.pace().bandwidth) {
            let known = self.connection.get_or_insert(connection);
            *known += (connection - *known) * WEIGHT;
            return;
        }
        let weight = if measured < self.pace.bandwidth { WEIGHT_SLOWER } else { WEIGHT };
        let weight = if std::mem::replace(&mut self.known.1, true) { weight } else { 1.0 };
        self.pace.bandwidth += (measured - self.pace.bandwidth) * weight;
    }
}

impl Receiving {
    /// Bytes have arrived. The first of them came with the head of the answer.
    pub fn received(&mut self, bytes: u64) {
        if std::mem::replace(&mut self.begun, true) {
            self.measured.lock().received(bytes);
        }
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        self.measured.lock().ended(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_network_shows_after_a_few_transfers() {
        let meter = PaceMeter::default();
        for _ in 0..16 {
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
    fn many_small_bodies_do_not_make_a_fast_network_a_slow_one() {
        let (mut measured, mut now) = (Measured::default(), Instant::now());
        let mut transfer = |measured: &mut Measured, bytes: u64, seconds: f64| {
            measured.answered(Duration::from_millis(30), now);
            measured.received(bytes);
            now += Duration::from_secs_f64(seconds);
            measured.ended(now);
        };
        (0..20).for_each(|_| transfer(&mut measured, 1 << 20, 2e-3));
        let fast = measured.pace().bandwidth;
        (0..2000).for_each(|_| transfer(&mut measured, 8 << 10, 0.4e-3));
        assert_eq!(measured.pace().bandwidth, fast);
    }

    /// Transfers of so many bodies at a time, of 1 MiB each.
    fn transfers(measured: &mut Measured, now: &mut Instant, count: u32, latency: u64, bandwidth: f64) {
        (0..count).for_each(|_| measured.answered(Duration::from_millis(latency), *now));
        *now += Duration::from_secs_f64(f64::from(count) * f64::from(1 << 20) / bandwidth);
        (0..count).for_each(|_| measured.received(1 << 20));
        (0..count).for_each(|_| measured.ended(*now));
    }

    #[test]
    fn one_connection_tells_of_the_network_by_its_latency() {
        let (mut region, mut home, mut now) = (Measured::default(), Measured::default(), Instant::now());
        transfers(&mut region, &mut now, 1, 30, 90e6);
        transfers(&mut home, &mut now, 1, 100, 12e6);
        assert!((500e6..700e6).contains(&region.pace().bandwidth), "{:?}", region.pace());
        assert!((12e6..30e6).contains(&home.pace().bandwidth), "{:?}", home.pace());
        let mut slow = Measured::default();
        assert!(!slow.pace().is_open());
        slow.answered(Duration::from_millis(100), now);
        slow.ended(now);
        assert!(slow.pace().is_open() && slow.pace().bandwidth < 60e6, "{:?}", slow.pace());
        transfers(&mut slow, &mut now, 1, 100, 90e6);
        assert!(!slow.pace().is_open() && slow.pace().bandwidth > 400e6, "{:?}", slow.pace());
    }

    #[test]
    fn a_few_connections_that_the_line_does_not_limit_show_no_slower_line() {
        let (mut measured, mut now) = (Measured::default(), Instant::now());
        transfers(&mut measured, &mut now, 4, 100, 360e6);
        assert!(measured.pace().bandwidth > 500e6, "four of 90 MB/s: {:?}", measured.pace());
        (0..10).for_each(|_| transfers(&mut measured, &mut now, 8, 100, 600e6));
        (0..10).for_each(|_| transfers(&mut measured, &mut now, 4, 100, 360e6));
        assert!(measured.pace().bandwidth > 500e6, "{:?}", measured.pace());
        // These share what there is.
        (0..20).for_each(|_| transfers(&mut measured, &mut now, 4, 100, 120e6));
        assert!(measured.pace().bandwidth < 300e6, "{:?}", measured.pace());
    }

    #[test]
    fn a_line_that_becomes_slow_shows() {
        let (mut measured, mut now) = (Measured::default(), Instant::now());
        (0..10).for_each(|_| transfers(&mut measured, &mut now, 8, 30, 600e6));
        assert!(measured.pace().bandwidth > 500e6);
        (0..40).for_each(|_| transfers(&mut measured, &mut now, 8, 30, 12e6));
        assert!(measured.pace().bandwidth < 30e6, "{:?}", measured.pace());
    }

    #[test]
    fn small_gaps_are_fetched_along_where_bytes_are_cheap() {
        let (region, home) = (Pace::measured(0.03, 600e6), Pace::measured(0.1, 12e6));
        assert!(!region.is_worth_a_request(16 << 10));
        assert!(home.is_worth_a_request(16 << 10));
    }
}
