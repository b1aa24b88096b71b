//! The metrics at one moment, as `status --json` prints them.
//!
//! Field names are a contract: they are documented in `docs/metrics.md`, and the test below compares that table with
//! what is serialised.

use serde::{Deserialize, Serialize};

use super::{CountersSnapshot, ErrorsSnapshot, FailingSource, Metrics, Quantiles, SkippedSnapshot, WaitsSnapshot};

/// Everything that `status` shows of a mount.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The version of the program.
    pub version: String,
    /// The process that serves the mount.
    pub pid: u32,
    /// Seconds since the metrics were made.
    pub uptime_seconds: f64,
    /// URLs of the sources, the first wins. Set by the caller.
    pub sources: Vec<String>,
    /// The time that they are shown as of, in UTC; none if it is now. Set by the caller.
    #[serde(default)]
    pub at: Option<String>,
    /// Those of them that do not answer. Set by the caller.
    #[serde(default)]
    pub failing_sources: Vec<FailingSource>,
    /// Where the mount is. Set by the caller.
    pub mountpoint: String,
    /// Requests to the store, each attempt.
    pub requests: RequestsSnapshot,
    /// Failed attempts, by what failed.
    pub errors: ErrorsSnapshot,
    /// What requests may come to. Set by the caller.
    #[serde(default)]
    pub budget: BudgetSnapshot,
    /// The plain counters.
    #[serde(flatten)]
    pub counters: CountersSnapshot,
    /// GETs that may be hedged now.
    pub hedge_budget: u64,
    /// `bytes_fetched` over `bytes_delivered`; none before the first delivered byte.
    pub ratio: Option<f64>,
    /// Time to first byte by kind of request.
    pub latency: LatencySnapshot,
    /// How READ requests were answered.
    pub cache: CacheSnapshot,
    /// What programs have waited for.
    #[serde(default)]
    pub waits: WaitsSnapshot,
    /// The cache on disk. Set by the caller.
    pub disk: DiskSnapshot,
    /// Memory for data in flight.
    pub memory: MemorySnapshot,
    /// Requests whose answer is not complete.
    pub in_flight: u64,
    /// Inodes known to the kernel.
    pub inodes: u64,
    /// Open file handles.
    pub open_files: u64,
    /// Keys that cannot be a path.
    pub skipped_keys: SkippedSnapshot,
    /// Keys of entries of listings that make no sense.
    #[serde(default)]
    pub bad_entries: SkippedSnapshot,
}

/// What the requests of a mount may come to, and have come to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BudgetSnapshot {
    /// Bytes of files that may be fetched; none without a bound.
    pub bytes_limit: Option<u64>,
    /// Those that were asked for; 0 without a bound on bytes or requests.
    pub bytes_spent: u64,
    /// Requests that may be sent; none without a bound.
    pub requests_limit: Option<u64>,
    /// Those that were; 0 without a bound on bytes or requests.
    pub requests_spent: u64,
}

/// Numbers of requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RequestsSnapshot {
    /// LIST.
    pub list: u64,
    /// HEAD.
    pub head: u64,
    /// GET.
    pub get: u64,
    /// Their sum.
    pub total: u64,
}

/// Times to first byte.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencySnapshot {
    /// LIST.
    pub list: Quantiles,
    /// HEAD.
    pub head: Quantiles,
    /// GET.
    pub get: Quantiles,
}

/// How READ requests were answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CacheSnapshot {
    /// Without a fetch.
    pub hits: u64,
    /// After waiting for a fetch.
    pub misses: u64,
}

/// The cache on disk.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DiskSnapshot {
    /// Where it is; none without one.
    pub directory: Option<String>,
    /// Whether its disk does not answer: nothing is read from it, nor written to it.
    #[serde(default)]
    pub off: bool,
    /// The most that it may take, in bytes.
    pub quota_bytes: u64,
    /// What it takes, by all that use it, in bytes; none if that is being counted.
    pub used_bytes: Option<u64>,
    /// Fetched, and still to be written to it.
    #[serde(default)]
    pub waiting_bytes: u64,
}

/// Memory for data in flight, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MemorySnapshot {
    /// The most that may be used.
    pub budget_bytes: u64,
    /// In use now.
    pub used_bytes: u64,
    /// The most that was in use.
    pub peak_bytes: u64,
}

impl Metrics {
    /// The values now. `sources`, `failing_sources`, `mountpoint` and `disk` are empty: the caller knows them.
    pub fn snapshot(&self) -> Snapshot {
        let counters = self.counters.snapshot();
        let (list, head, get) = (self.list.count.get(), self.head.count.get(), self.get.count.get());
        Snapshot {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_seconds: self.started.elapsed().as_secs_f64(),
            sources: Vec::new(),
            at: None,
            failing_sources: Vec::new(),
            mountpoint: String::new(),
            requests: RequestsSnapshot { list, head, get, total: list + head + get },
            errors: self.errors.snapshot(),
            budget: BudgetSnapshot::default(),
            hedge_budget: self.hedge_budget.get(),
            ratio: ratio(counters.bytes_fetched, counters.bytes_delivered),
            counters,
            latency: LatencySnapshot {
                list: self.list.latency.quantiles(),
                head: self.head.latency.quantiles(),
                get: self.get.latency.quantiles(),
            },
            cache: CacheSnapshot { hits: self.cache_hits.get(), misses: self.cache_misses.get() },
            waits: self.waits.snapshot(),
            disk: DiskSnapshot::default(),
            memory: MemorySnapshot {
                budget_bytes: self.memory_budget.get(),
                used_bytes: self.memory_used.get(),
                peak_bytes: self.memory_used.peak(),
            },
            in_flight: self.in_flight.get(),
            inodes: self.inodes.get(),
            open_files: self.open_files.get(),
            skipped_keys: self.skipped.snapshot(),
            bad_entries: self.bad_entries.snapshot(),
        }
    }
}

fn ratio(fetched: u64, delivered: u64) -> Option<f64> {
    (delivered > 0).then(|| fetched as f64 / delivered as f64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    /// The dotted names of all leaves.
    fn names(prefix: &str, value: &Value, into: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let dotted = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                    names(&dotted, value, into);
                }
            }
            _ => {
                into.insert(prefix.to_owned());
            }
        }
    }

    #[test]
    fn the_documented_names_are_the_serialised_names() {
        let mut serialised = BTreeSet::new();
        names("", &serde_json::to_value(Metrics::new().snapshot()).unwrap(), &mut serialised);
        let documented: BTreeSet<String> = include_str!("../../docs/metrics.md")
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
            .map(str::to_owned)
            .collect();
        assert_eq!(documented, serialised);
    }

    #[test]
    fn a_snapshot_survives_json() {
        let metrics = Metrics::new();
        metrics.reads.inc();
        metrics.bytes_fetched.add(30);
        metrics.bytes_delivered.add(20);
        metrics.errors.throttled.inc();
        metrics.memory_used.add(7);
        metrics.memory_used.sub(3);
        let snapshot = metrics.snapshot();
        assert_eq!(snapshot.ratio, Some(1.5));
        assert_eq!(snapshot.errors, ErrorsSnapshot { throttled: 1, ..Default::default() });
        assert_eq!((snapshot.memory.used_bytes, snapshot.memory.peak_bytes), (4, 7));
        let json = serde_json::to_string(&snapshot).unwrap();
        assert_eq!(serde_json::from_str::<Snapshot>(&json).unwrap(), snapshot);
    }
}
