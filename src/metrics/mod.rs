//! Every number that `fitsfs status` shows, named in one place.
//!
//! [`Metrics`] is made once, shared by `Arc` and updated where things happen; [`Snapshot`] is its value at one moment,
//! with field names that do not change. A new counter is one line in [`counters!`] and one row in `docs/metrics.md`; a
//! test holds the two together. Nothing runs periodically.

mod primitives;
mod skipped;
mod snapshot;

use std::time::Instant;

pub use primitives::{Counter, Gauge, GaugeGuard, Latency, Quantiles};
pub use skipped::{SkippedKeys, SkippedSnapshot};
pub use snapshot::{CacheSnapshot, LatencySnapshot, MemorySnapshot, RequestsSnapshot, Snapshot};

use crate::store::ErrorKind;

/// The kinds of request to a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// One page of keys.
    List,
    /// Attributes of one key.
    Head,
    /// A range of bytes.
    Get,
}

/// What is measured of each kind of request. Every attempt counts, retried or not.
#[derive(Debug, Default)]
pub struct RequestMetrics {
    /// Requests sent.
    pub count: Counter,
    /// From sending to the first byte of the answer.
    pub latency: Latency,
}

/// Declares the plain counters, in [`Counters`] and by the same names in the snapshot.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The plain counters.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: Counter,)*
        }

        /// The plain counters at one moment; flattened into [`Snapshot`].
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        pub struct CountersSnapshot {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            fn snapshot(&self) -> CountersSnapshot {
                CountersSnapshot { $($name: self.$name.get(),)* }
            }
        }
    };
}

counters! {
    /// Requests that were repeated after a transient error.
    retries,
    /// Bytes of object data received from the store.
    bytes_fetched,
    /// Bytes of object data answered to READ requests of the kernel.
    bytes_delivered,
    /// READ requests of the kernel.
    reads,
    /// Pieces of data stored into the kernel's page cache ahead of the reader.
    pushes,
    /// Bytes stored into the kernel's page cache ahead of the reader.
    pushed_bytes,
    /// Pushes given up under memory pressure or because their page was being read.
    dropped_pushes,
    /// Bytes fetched before anything asked for them.
    prefetched_bytes,
}

/// All instruments of one mount.
#[derive(Debug)]
pub struct Metrics {
    started: Instant,
    counters: Counters,
    /// LIST requests.
    pub list: RequestMetrics,
    /// HEAD requests.
    pub head: RequestMetrics,
    /// GET requests.
    pub get: RequestMetrics,
    errors: [Counter; ErrorKind::ALL.len()],
    /// READ requests answered from memory or disk.
    pub cache_hits: Counter,
    /// READ requests that waited for a fetch.
    pub cache_misses: Counter,
    /// The budget of memory for data in flight, in bytes.
    pub memory_budget: Gauge,
    /// How much of it is in use, in bytes.
    pub memory_used: Gauge,
    /// Requests whose answer is not complete.
    pub in_flight: Gauge,
    /// Inodes known to the kernel.
    pub inodes: Gauge,
    /// Open file handles.
    pub open_files: Gauge,
    /// Keys that cannot be a path.
    pub skipped: SkippedKeys,
}

/// The plain counters are used as if they were fields of `Metrics`: `metrics.reads.inc()`.
impl std::ops::Deref for Metrics {
    type Target = Counters;

    fn deref(&self) -> &Counters {
        &self.counters
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero; the uptime starts here.
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
            counters: Counters::default(),
            list: RequestMetrics::default(),
            head: RequestMetrics::default(),
            get: RequestMetrics::default(),
            errors: std::array::from_fn(|_| Counter::default()),
            cache_hits: Counter::default(),
            cache_misses: Counter::default(),
            memory_budget: Gauge::default(),
            memory_used: Gauge::default(),
            in_flight: Gauge::default(),
            inodes: Gauge::default(),
            open_files: Gauge::default(),
            skipped: SkippedKeys::default(),
        }
    }

    /// The instruments of a kind of request.
    pub fn request(&self, kind: RequestKind) -> &RequestMetrics {
        match kind {
            RequestKind::List => &self.list,
            RequestKind::Head => &self.head,
            RequestKind::Get => &self.get,
        }
    }

    /// Counts a failed attempt.
    pub fn error(&self, kind: ErrorKind) {
        // The discriminants are the positions in ALL; a test of the enum holds that.
        if let Some(counter) = self.errors.get(kind as usize) {
            counter.inc();
        }
    }
}
