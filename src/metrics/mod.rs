//! Every number that `fitsfs status` shows, named in one place.
//!
//! [`Metrics`] is made once, shared by `Arc` and updated where things happen; [`Snapshot`] is its value at one moment,
//! with field names that do not change. A new counter is one line in a list of `counters!` and one row in
//! `docs/metrics.md`; a test holds the two together. Nothing runs periodically.

mod health;
mod pace;
mod primitives;
mod skipped;
mod snapshot;
mod waits;

use std::time::Instant;

pub use health::{FailingSource, Health};
pub use pace::{Measured, Pace, PaceMeter};
pub use primitives::{Counter, Gauge, GaugeGuard, Latency, Quantiles};
pub use skipped::{SkippedKeys, SkippedSnapshot};
pub use snapshot::{
    BudgetSnapshot, CacheSnapshot, DiskSnapshot, LatencySnapshot, MemorySnapshot, RequestsSnapshot, Snapshot,
};
pub use waits::{Cause, WaitSnapshot, Waits, WaitsSnapshot};

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

/// Declares a set of counters, and its value at one moment with the same field names.
macro_rules! counters {
    (
        $(#[$set_doc:meta])* $set:ident, $(#[$snapshot_doc:meta])* $snapshot:ident:
        $($(#[$doc:meta])* $name:ident,)*
    ) => {
        $(#[$set_doc])*
        #[derive(Debug, Default)]
        pub struct $set {
            $($(#[$doc])* pub $name: Counter,)*
        }

        $(#[$snapshot_doc])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        pub struct $snapshot {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl $set {
            fn snapshot(&self) -> $snapshot {
                $snapshot { $($name: self.$name.get(),)* }
            }
        }
    };
}

counters! {
    /// The plain counters.
    Counters,
    /// The plain counters at one moment; flattened into [`Snapshot`].
    CountersSnapshot:
    /// Requests that were repeated after a transient error.
    retries,
    /// GETs that were sent a second time because they took far longer than usual.
    hedged_requests,
    /// Hedged GETs whose second request was answered first.
    hedges_won,
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
    /// Pushes that were cancelled under memory pressure or because their page was being read.
    dropped_pushes,
    /// Bytes fetched before anything asked for them.
    prefetched_bytes,
    /// Bytes read from the cache on disk, checked.
    disk_bytes_read,
    /// Bytes written to the cache on disk that it did not have.
    disk_bytes_written,
    /// Bytes that this mount has evicted from the cache on disk, to make room.
    disk_evicted_bytes,
    /// Bytes that were fetched and could not be written to the cache on disk: it was full, slow or broken.
    disk_dropped_bytes,
    /// Opens of files that the kernel then read from the cache on disk by itself.
    passthrough_opens,
    /// Pages of 4 KiB in the cache on disk that did not match their checksums, and were fetched again.
    disk_damaged_pages,
}

counters! {
    /// Failed attempts, by what failed.
    ErrorCounters,
    /// Failed attempts at one moment.
    ErrorsSnapshot:
    /// 404: no such key or bucket.
    not_found,
    /// 403.
    access_denied,
    /// No credentials, or they expired and could not be refreshed.
    credentials,
    /// The object was replaced while it was in use.
    version_changed,
    /// The object is in an archive tier.
    archived,
    /// 429 or 503: the store asked for patience.
    throttled,
    /// Other 5xx.
    server,
    /// No answer, or no further byte, in time.
    timeout,
    /// The connection could not be made or broke.
    network,
    /// An answer that is not what was asked for.
    bad_response,
    /// A request that the store calls wrong, or a configuration that cannot work.
    invalid,
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
    /// Failed attempts, retried or not.
    pub errors: ErrorCounters,
    /// GETs that may be hedged now: what is left of the budget of extra requests.
    pub hedge_budget: Gauge,
    /// READ requests answered from memory or disk.
    pub cache_hits: Counter,
    /// READ requests that waited for a fetch.
    pub cache_misses: Counter,
    /// What they have waited for, and how long.
    pub waits: Waits,
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
    /// Keys of entries of listings that make no sense.
    pub bad_entries: SkippedKeys,
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
            errors: ErrorCounters::default(),
            hedge_budget: Gauge::default(),
            cache_hits: Counter::default(),
            cache_misses: Counter::default(),
            waits: Waits::default(),
            memory_budget: Gauge::default(),
            memory_used: Gauge::default(),
            in_flight: Gauge::default(),
            inodes: Gauge::default(),
            open_files: Gauge::default(),
            skipped: SkippedKeys::default(),
            bad_entries: SkippedKeys::default(),
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
}
