//! The instruments: counters, gauges with a peak, latency histograms. All are updated through `&self`.
//!
//! Counters and gauges are single relaxed atomics: they say nothing about each other's order, which a status page does
//! not need.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn inc(&self) {
        self.add(1);
    }

    /// `n` more.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// The sum so far.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that goes up and down and remembers its highest value.
#[derive(Debug, Default)]
pub struct Gauge {
    value: AtomicU64,
    peak: AtomicU64,
}

impl Gauge {
    /// Raises the value by `n`.
    pub fn add(&self, n: u64) {
        let now = self.value.fetch_add(n, Relaxed).saturating_add(n);
        self.peak.fetch_max(now, Relaxed);
    }

    /// Lowers the value by `n`, at most to 0: a caller's miscount must not show as 2^64.
    pub fn sub(&self, n: u64) {
        let _ = self.value.fetch_update(Relaxed, Relaxed, |value| Some(value.saturating_sub(n)));
    }

    /// Replaces the value.
    pub fn set(&self, value: u64) {
        self.value.store(value, Relaxed);
        self.peak.fetch_max(value, Relaxed);
    }

    /// Adds one until the returned guard is dropped.
    pub fn enter(&self) -> GaugeGuard<'_> {
        self.add(1);
        GaugeGuard(self)
    }

    /// The value now.
    pub fn get(&self) -> u64 {
        self.value.load(Relaxed)
    }

    /// The highest value so far.
    pub fn peak(&self) -> u64 {
        self.peak.load(Relaxed)
    }
}

/// Takes one from its gauge when it is dropped.
#[derive(Debug)]
pub struct GaugeGuard<'a>(&'a Gauge);

impl Drop for GaugeGuard<'_> {
    fn drop(&mut self) {
        self.0.sub(1);
    }
}

/// The distribution of a duration, in microseconds from 1 us to 10 minutes with two significant digits: about 25 kB,
/// and finer than any latency that a network gives reproducibly.
#[derive(Debug)]
pub struct Latency(Mutex<Histogram<u64>>);

impl Latency {
    const MAX_US: u64 = 600_000_000;

    /// Records one duration; what is outside the range counts as its end.
    pub fn record(&self, elapsed: Duration) {
        let us = u64::try_from(elapsed.as_micros()).unwrap_or(Self::MAX_US).clamp(1, Self::MAX_US);
        self.0.lock().saturating_record(us);
    }

    /// The quantiles, in milliseconds.
    pub fn quantiles(&self) -> Quantiles {
        let histogram = self.0.lock();
        let ms = |us: u64| us as f64 / 1e3;
        Quantiles {
            p50_ms: ms(histogram.value_at_quantile(0.5)),
            p90_ms: ms(histogram.value_at_quantile(0.9)),
            p99_ms: ms(histogram.value_at_quantile(0.99)),
            max_ms: ms(histogram.max()),
        }
    }
}

impl Default for Latency {
    fn default() -> Self {
        // The bounds are constants that satisfy the constructor's rules; the fallback resizes itself.
        let histogram = Histogram::new_with_bounds(1, Self::MAX_US, 2).or_else(|_| Histogram::new(2));
        match histogram {
            Ok(histogram) => Self(Mutex::new(histogram)),
            Err(error) => unreachable!("a histogram of two digits is always possible: {error}"),
        }
    }
}

/// Quantiles of a latency, in milliseconds; all 0 before the first measurement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// Median.
    pub p50_ms: f64,
    /// 90th percentile.
    pub p90_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// The largest.
    pub max_ms: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_keeps_its_peak_and_never_underflows() {
        let gauge = Gauge::default();
        gauge.add(5);
        gauge.sub(7);
        assert_eq!((gauge.get(), gauge.peak()), (0, 5));
        {
            let _guard = gauge.enter();
            assert_eq!(gauge.get(), 1);
        }
        assert_eq!(gauge.get(), 0);
    }

    #[test]
    fn quantiles_are_milliseconds_within_one_percent() {
        let latency = Latency::default();
        (1..=100).for_each(|ms| latency.record(Duration::from_millis(ms)));
        let q = latency.quantiles();
        for (got, want) in [(q.p50_ms, 50.0), (q.p90_ms, 90.0), (q.p99_ms, 99.0), (q.max_ms, 100.0)] {
            assert!((got - want).abs() <= want * 0.01, "{got} is not about {want}");
        }
    }

    #[test]
    fn latencies_out_of_range_count_as_its_ends() {
        let latency = Latency::default();
        latency.record(Duration::ZERO);
        latency.record(Duration::from_secs(86_400));
        assert!(latency.quantiles().max_ms >= 600_000.0 * 0.99);
    }
}
