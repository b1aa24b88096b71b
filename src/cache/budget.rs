//! One byte budget for all data that a mount holds in memory.
//!
//! Prefetching may use the budget up to a reserve; demand reads may use all of it and wait for their turn. A demand
//! read is answered and its memory returned without any further memory being needed, so waiting always ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::pieces::Pieces;
use crate::metrics::Metrics;

/// Semaphores count in units of this many bytes, so that a budget of any size fits their counter.
const UNIT: u64 = 4096;

/// The share of the budget that only demand reads may use: an eighth.
pub const RESERVE_DIVISOR: u64 = 8;

/// A bound on bytes in memory, shared by all files of a mount.
#[derive(Debug)]
pub struct Budget {
    total: u64,
    units: Arc<Semaphore>,
    metrics: Arc<Metrics>,
    /// Bytes that demand reads wait for.
    awaited: AtomicU64,
    pieces: Arc<Pieces>,
}

/// Memory taken from a [`Budget`]; dropping it returns the memory.
#[derive(Debug)]
pub struct Permit {
    units: OwnedSemaphorePermit,
    metrics: Arc<Metrics>,
    pieces: Arc<Pieces>,
}

impl Permit {
    /// The memory that what arrives is written to.
    pub(super) fn pieces(&self) -> &Arc<Pieces> {
        &self.pieces
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.metrics.memory_used.sub(self.units.num_permits() as u64 * UNIT);
    }
}

impl Budget {
    /// A budget of `total` bytes, whose use is shown in `metrics`.
    pub fn new(total: u64, metrics: Arc<Metrics>) -> Arc<Self> {
        let units = usize::try_from(total / UNIT).unwrap_or(usize::MAX).clamp(1, Semaphore::MAX_PERMITS);
        metrics.memory_budget.set(units as u64 * UNIT);
        Arc::new(Self {
            pieces: Arc::default(),
            total: units as u64 * UNIT,
            units: Arc::new(Semaphore::new(units)),
            metrics,
            awaited: AtomicU64::new(0),
        })
    }

    /// The whole budget in bytes.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Bytes in use now.
    pub fn used(&self) -> u64 {
        self.total - self.units.available_permits() as u64 * UNIT
    }

    /// Takes `bytes` for prefetching, or nothing if that would touch the reserve of the demand reads.
    pub fn try_prefetch(&self, bytes: u64) -> Option<Permit> {
        let reserve = self.total / RESERVE_DIVISOR;
        if self.used() + bytes > self.total - reserve {
            return None;
        }
        let permit = self.units.clone().try_acquire_many_owned(self.units_for(bytes)).ok()?;
        Some(self.granted(permit))
    }

    /// Takes `bytes` for a demand read, waiting for memory if need be. A read larger than the budget takes all of it.
    pub async fn demand(&self, bytes: u64) -> Permit {
        let units = self.units_for(bytes);
        let permit = match self.units.clone().try_acquire_many_owned(units) {
            Ok(permit) => Some(permit),
            Err(_) => {
                let awaited = u64::from(units) * UNIT;
                self.awaited.fetch_add(awaited, Ordering::SeqCst);
                let permit = self.units.clone().acquire_many_owned(units).await.ok();
                self.awaited.fetch_sub(awaited, Ordering::SeqCst);
                permit
            }
        };
        match permit {
            Some(permit) => self.granted(permit),
            // The semaphore is never closed. If it were, there would be no memory to grant, ever.
            None => std::future::pending().await,
        }
    }

    /// Bytes that reads wait for: so much of what can be fetched again is to be dropped.
    pub fn awaited(&self) -> u64 {
        self.awaited.load(Ordering::SeqCst)
    }

    fn units_for(&self, bytes: u64) -> u32 {
        u32::try_from(bytes.min(self.total).div_ceil(UNIT)).unwrap_or(u32::MAX)
    }

    fn granted(&self, units: OwnedSemaphorePermit) -> Permit {
        self.metrics.memory_used.add(units.num_permits() as u64 * UNIT);
        Permit { units, metrics: self.metrics.clone(), pieces: self.pieces.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(total: u64) -> Arc<Budget> {
        Budget::new(total, Arc::new(Metrics::new()))
    }

    #[tokio::test]
    async fn prefetch_leaves_the_reserve_to_demand() {
        let budget = budget(8 << 20);
        let all = budget.try_prefetch(7 << 20).expect("seven eighths are for everyone");
        assert!(budget.try_prefetch(4096).is_none());
        let demand = budget.demand(1 << 20).await;
        assert_eq!(budget.used(), 8 << 20);
        drop((all, demand));
        assert_eq!((budget.used(), budget.metrics.memory_used.get()), (0, 0));
        assert_eq!(budget.metrics.memory_used.peak(), 8 << 20);
    }

    #[tokio::test]
    async fn a_read_larger_than_the_budget_still_gets_its_turn() {
        let budget = budget(64 << 10);
        drop(budget.demand(10 << 20).await);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn a_waiting_demand_shows() {
        let budget = budget(64 << 10);
        let held = budget.demand(64 << 10).await;
        let waiting = tokio::spawn({
            let budget = budget.clone();
            async move { drop(budget.demand(4096).await) }
        });
        while budget.awaited() == 0 {
            tokio::task::yield_now().await;
        }
        drop(held);
        waiting.await.unwrap();
        assert_eq!(budget.awaited(), 0);
    }
}
