//! Slots: how many fetches run at once ahead of the programs, and in which order they begin.
//!
//! A fetch that a program waits for needs none. Small GETs have slots of their own, since they wait for the network only;
//! reading from disk has a few.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::parts::MIN_PART;
use crate::cache::{Origin, Segment};
use crate::metrics::Pace;

/// Prefetching GETs at once, in the region of the bucket and at most. Eight connections of 90 MB/s fill what two cores can
/// take; twice that many hide the time to first byte of the next ones. Where that takes longer more of them do, if the line
/// takes their bytes.
const FEWEST_SLOTS: usize = 16;
const MOST_SLOTS: usize = 48;
/// Small prefetching GETs at once. They wait for the network only, so more of them fit.
pub const SMALL_SLOTS: usize = 128;
/// Prefetching GETs of up to so many bytes are small.
pub const SMALL: u64 = 128 << 10;

/// Segments that are read from disk at once: it is kept busy, and they come in the order in which readers want them.
const DISK_SLOTS: usize = 2;

/// How many prefetching GETs run at once, beside small ones and those that a program waits for: as many as hide the time
/// to first byte, and no more than bring what the line takes in that time in the parts that streams begin with.
pub fn prefetch_slots(pace: &Pace) -> usize {
    let by_latency = FEWEST_SLOTS as f64 * pace.latency / Pace::default().latency;
    let by_bandwidth = pace.bandwidth * pace.latency / MIN_PART as f64;
    (by_latency.min(by_bandwidth) as usize).clamp(FEWEST_SLOTS, MOST_SLOTS)
}

/// The right to fetch ahead, when it is granted.
pub(super) type Slot = BoxFuture<'static, Option<OwnedSemaphorePermit>>;

/// The places of a segment in the queues for slots, where it needs any.
pub(super) struct Turns {
    /// To read from disk what is there of it, up to the first page that is not.
    pub disk: Option<Slot>,
    /// To fetch what is not, until the end of the segment.
    pub network: Option<Slot>,
}

/// The slots of a mount.
#[derive(Debug)]
pub(super) struct Slots {
    large: LargeSlots,
    small: Arc<Semaphore>,
    disk: Arc<Semaphore>,
}

/// All of them free.
impl Default for Slots {
    fn default() -> Self {
        Self {
            large: LargeSlots::default(),
            small: Arc::new(Semaphore::new(SMALL_SLOTS)),
            disk: Arc::new(Semaphore::new(DISK_SLOTS)),
        }
    }
}

impl Slots {
    /// The places of a segment of a source of this pace. What a program waits for needs no slots, and what is small none
    /// for the disk.
    pub fn queue(&self, segment: &Segment, has_disk: bool, pace: &Pace) -> Turns {
        let is_ahead = segment.origin() != Origin::Demand;
        let reads_disk = has_disk && segment.len() > SMALL;
        Turns {
            disk: (is_ahead && reads_disk).then(|| queue(&self.disk)),
            network: is_ahead.then(|| self.queue_for_network(segment, pace)),
        }
    }

    /// A place in the queue for the network.
    pub fn queue_for_network(&self, segment: &Segment, pace: &Pace) -> Slot {
        let large = || self.large.for_pace(pace);
        queue(if segment.len() <= SMALL { &self.small } else { large() })
    }
}

/// Slots for GETs that are not small: as many as the pace of the network calls for.
#[derive(Debug)]
struct LargeSlots {
    slots: Arc<Semaphore>,
    count: Mutex<usize>,
}

impl Default for LargeSlots {
    fn default() -> Self {
        Self { slots: Arc::new(Semaphore::new(FEWEST_SLOTS)), count: Mutex::new(FEWEST_SLOTS) }
    }
}

impl LargeSlots {
    /// The slots, as many as are called for now; more only while those beyond are in use.
    fn for_pace(&self, pace: &Pace) -> &Arc<Semaphore> {
        let (wanted, mut count) = (prefetch_slots(pace), self.count.lock());
        if *count < wanted {
            self.slots.add_permits(wanted - *count);
            *count = wanted;
        } else {
            *count -= self.slots.forget_permits(*count - wanted);
        }
        &self.slots
    }
}

/// A place in the queue for slots, in the order of the calls: tasks begin in any order, and what the reader comes to last
/// must not be fetched first.
fn queue(slots: &Arc<Semaphore>) -> Slot {
    let mut slot: Slot = Box::pin(slots.clone().acquire_owned().map(std::result::Result::ok));
    match (&mut slot).now_or_never() {
        Some(granted) => Box::pin(std::future::ready(granted)),
        None => slot,
    }
}

/// Waits for a slot, unless a program waits for the segment by now.
pub(super) async fn wait_for(slot: Slot, segment: &Segment) -> Option<OwnedSemaphorePermit> {
    tokio::select! {
        slot = slot => slot,
        () = segment.wanted() => None,
    }
}
