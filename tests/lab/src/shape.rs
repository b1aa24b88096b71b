//! The model of the network: latency before the first byte, and rates per connection and of the whole server.
//!
//! Rates are kept by a schedule. Each chunk is due when it would have arrived at the given rate; lateness is made up
//! for, idleness is not saved up.

use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};

/// What is delayed and how much is let through. The default is no shaping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// From the arrival of a request to the first byte of its response.
    pub ttfb: Duration,
    /// Bytes per second of one connection.
    pub per_connection: Option<u64>,
    /// Bytes per second of all connections together.
    pub total: Option<u64>,
    /// Added to the first response of each connection, for its handshakes.
    pub connect: Duration,
}

impl Shape {
    /// Latency alone.
    pub fn latency(ttfb: Duration) -> Shape {
        Shape { ttfb, ..Shape::default() }
    }

    /// Megabytes (10^6 bytes) per second in the unit of the rates.
    pub fn mbps(megabytes: f64) -> u64 {
        (megabytes * 1e6) as u64
    }
}

/// Lateness that is made up for: above the scheduling noise of a busy machine, below what a reader would notice as a
/// burst (2 MB at 100 MB/s).
const SLACK: Duration = Duration::from_millis(20);
/// Timers of the runtime fire half a millisecond to two late. A wait for a first byte is asked for shorter by the
/// least of that, so that latency is never less than it says; one for a chunk by the mean, so that rates come out.
const TIMER_LAG: Duration = Duration::from_micros(450);
const TIMER_LAG_MEAN: Duration = Duration::from_micros(1100);

/// When the next chunk of one stream of bytes is due.
#[derive(Debug)]
pub(crate) struct Schedule {
    due: Instant,
}

impl Schedule {
    pub(crate) fn new() -> Schedule {
        Schedule { due: Instant::now() }
    }

    /// Forgets lateness: what was idle before now gives no credit.
    fn restart(&mut self) {
        self.due = self.due.max(Instant::now());
    }

    /// Adds a chunk; returns when its last byte is through.
    fn add(&mut self, bytes: usize, rate: u64) -> Instant {
        let earliest = Instant::now().checked_sub(SLACK).unwrap_or(self.due);
        self.due = self.due.max(earliest) + Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
        self.due
    }
}

/// The shape in force and the schedule that all connections share.
#[derive(Debug)]
pub(crate) struct Shaper {
    shape: RwLock<Shape>,
    total: Mutex<Schedule>,
}

impl Shaper {
    pub(crate) fn new(shape: Shape) -> Shaper {
        Shaper { shape: RwLock::new(shape), total: Mutex::new(Schedule::new()) }
    }

    pub(crate) fn set(&self, shape: Shape) {
        *self.shape.write() = shape;
    }

    pub(crate) fn get(&self) -> Shape {
        *self.shape.read()
    }

    /// Begins a response on a connection.
    pub(crate) fn begin(&self, connection: &Mutex<Schedule>) {
        connection.lock().restart();
    }

    /// How much to send at once: small enough that a rate is smooth, large enough that it costs little.
    pub(crate) fn chunk(&self) -> usize {
        let shape = self.get();
        match shape.per_connection.into_iter().chain(shape.total).min() {
            None => 1 << 20,
            // About a millisecond, which is what the timers resolve.
            Some(rate) => (rate / 1000).next_power_of_two().clamp(4 << 10, 128 << 10) as usize,
        }
    }

    /// Waits until a chunk of this size may be sent.
    pub(crate) async fn pace(&self, connection: &Mutex<Schedule>, bytes: usize) {
        let shape = self.get();
        let own = shape.per_connection.map(|rate| connection.lock().add(bytes, rate));
        let all = shape.total.map(|rate| self.total.lock().add(bytes, rate));
        if let Some(due) = own.into_iter().chain(all).max() {
            sleep(due, TIMER_LAG_MEAN).await;
        }
    }
}

/// Waits until then, and hardly longer.
pub(crate) async fn sleep_until(due: Instant) {
    sleep(due, TIMER_LAG).await;
}

async fn sleep(due: Instant, lag: Duration) {
    let Some(due) = due.checked_sub(lag) else { return };
    if due > Instant::now() {
        tokio::time::sleep_until(due.into()).await;
    }
}
