//! Fetching: the gaps in what is planned become segments, each a GET, as far as there is memory and as slots allow.

use std::ops::Range;
use std::sync::Arc;

use futures::FutureExt;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::Reader;
use crate::cache::disk::PIECE;
use crate::cache::{BLOCK, Origin, Segment};
use crate::metrics::Pace;
use crate::read::Planned;
use crate::read::file::{Core, FileState};
use crate::read::fill::{Downloaded, Slot, Slots};
use crate::read::parts::{MAX_PART, MIN_PART, parts};
use crate::store::{ErrorKind, Result, StoreError};
use crate::trace::Fetching;

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
pub(super) const DISK_SLOTS: usize = 2;

/// Parts of a stream that comes from disk, forwards, begin at most this many bytes ahead of the reader: the disk answers
/// at once, and what it gives goes into memory that was used shortly before.
const DISK_AHEAD: u64 = 8 << 20;

/// How many prefetching GETs run at once, beside small ones and those that a program waits for: as many as hide the time
/// to first byte, and no more than bring what the line takes in that time in the parts that streams begin with.
pub fn prefetch_slots(pace: &Pace) -> usize {
    let by_latency = FEWEST_SLOTS as f64 * pace.latency / Pace::default().latency;
    let by_bandwidth = pace.bandwidth * pace.latency / MIN_PART as f64;
    (by_latency.min(by_bandwidth) as usize).clamp(FEWEST_SLOTS, MOST_SLOTS)
}

/// Slots for GETs that are not small: as many as the pace of the network calls for.
#[derive(Debug)]
pub(super) struct LargeSlots {
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

impl Reader {
    /// Runs a fetch, here as far as it need not wait. The rest of it is a task.
    pub(super) fn begin(&self, fetch: impl Future<Output = ()> + Send + 'static) {
        let mut fetch = Box::pin(fetch);
        if fetch.as_mut().now_or_never().is_none() {
            self.config.runtime.spawn(fetch);
        }
    }

    /// Starts what the planner wants ahead of `reader`, if that is where one stands, as far as memory allows.
    pub(super) fn fetch_ahead(
        self: &Arc<Self>,
        file: &Arc<FileState>,
        core: &mut Core,
        planned: Vec<Planned>,
        reader: Option<u64>,
    ) {
        if planned.is_empty() {
            return;
        }
        let mut denied = false;
        let from_disk = self.is_from_disk(file);
        let sizes = if from_disk { (PIECE, PIECE) } else { (MIN_PART, MAX_PART) };
        for Planned { range, origin } in planned {
            // Only a stream says that the reader comes from where it is.
            let stream = reader.filter(|_| origin == Origin::Sequential);
            let (reader, horizon) =
                (stream.unwrap_or(range.start), stream.filter(|_| from_disk).map(|at| at.saturating_add(DISK_AHEAD)));
            if origin == Origin::Region {
                core.bought.add(core.segments.gaps(&range).into_iter().flat_map(|gap| parts(gap, reader, sizes)));
                continue;
            }
            let gaps = core.segments.gaps(&range).into_iter();
            // A little that is missing at the edge of what was replayed is not worth a request before it is asked for.
            let is_replayed = core.segments.among(&range).any(|segment| segment.origin() == Origin::Replayed);
            let is_worth_it = |gap: &Range<u64>| !is_replayed || gap.end - gap.start >= BLOCK;
            for part in gaps.filter(is_worth_it).flat_map(|gap| parts(gap, reader, sizes)) {
                let bytes = part.end - part.start;
                if horizon.is_some_and(|horizon| part.start > horizon) {
                    core.planner.leads_no_further(&(part.start..range.end));
                    break;
                }
                if self.is_needless(file, &part) {
                    core.planner.on_denied(&part);
                    continue;
                }
                // Once there was no room, there is none for what is less urgent.
                let permit = if denied { None } else { self.idle.make_room(bytes, file, core) };
                let Some(permit) = permit else {
                    denied = true;
                    core.planner.on_denied(&part);
                    continue;
                };
                self.config.metrics.prefetched_bytes.add(bytes);
                self.config.runtime.spawn(self.place(file, core, Segment::new(part, origin, Some(permit))));
            }
        }
        self.fetch_bought(file, core);
    }

    /// Fetches the next parts of the regions that were bought, as many as keep the network busy.
    pub(super) fn fetch_bought(self: &Arc<Self>, file: &Arc<FileState>, core: &mut Core) {
        let pace = file.pace();
        while let Some(part) = core.bought.next(&pace) {
            for gap in core.segments.gaps(&part) {
                let bytes = gap.end - gap.start;
                let permit = if self.is_needless(file, &gap) { None } else { self.idle.make_room(bytes, file, core) };
                let Some(permit) = permit else {
                    core.planner.on_denied(&gap);
                    continue;
                };
                core.bought.begin(bytes);
                self.config.metrics.prefetched_bytes.add(bytes);
                self.config.runtime.spawn(self.place(file, core, Segment::new(gap, Origin::Region, Some(permit))));
            }
        }
    }

    /// A part of a region has arrived, or will not.
    pub(super) fn ended(self: &Arc<Self>, file: &Arc<FileState>, segment: &Segment) {
        if segment.origin() == Origin::Region {
            let mut core = file.core.lock();
            core.bought.end(segment.len());
            self.fetch_bought(file, &mut core);
        }
    }

    pub(super) fn abandon(&self, core: &mut Core, ranges: &[Range<u64>]) {
        for range in ranges {
            for segment in core.segments.overlapping(range) {
                // What is small is mostly on its way by now, and may be asked for again.
                if segment.origin().is_data_ahead() && segment.len() > SMALL && segment.cancel() {
                    core.segments.remove(&segment);
                }
            }
        }
    }

    /// Puts a segment in its place. Its fetch is to be run.
    pub(super) fn place(
        self: &Arc<Self>,
        file: &Arc<FileState>,
        core: &mut Core,
        segment: Segment,
    ) -> impl Future<Output = ()> + Send + use<> {
        let segment = Arc::new(segment);
        core.segments.insert(segment.clone());
        let slots = self.slots_for(file, &segment);
        self.clone().fetch(file.clone(), segment, slots)
    }

    /// What a program waits for needs no slots, and what is small none for the disk.
    fn slots_for(&self, file: &FileState, segment: &Segment) -> Slots {
        let is_ahead = segment.origin() != Origin::Demand;
        let has_disk = self.config.disk.is_some() && segment.len() > SMALL;
        Slots {
            disk: (is_ahead && has_disk).then(|| queue(&self.disk_slots)),
            network: is_ahead.then(|| self.network_slot(file, segment)),
        }
    }

    pub(in crate::read) fn network_slot(&self, file: &FileState, segment: &Segment) -> Slot {
        let large = || self.large_slots.for_pace(&file.pace());
        queue(if segment.len() <= SMALL { &self.small_slots } else { large() })
    }

    /// The life of a segment: memory, a slot, the transfer, and what follows from its end.
    async fn fetch(self: Arc<Self>, file: Arc<FileState>, segment: Arc<Segment>, slots: Slots) {
        let unfinished = Unfinished { file: &file, segment: &segment };
        let mut noted = self.journal.fetching(file.ino(), segment.range(), segment.origin());
        let outcome = tokio::select! {
            outcome = self.transfer(&file, &segment, slots, &mut noted) => outcome,
            () = segment.cancelled() => {
                noted.cancelled();
                Err(StoreError::new(ErrorKind::Cancelled, "the fetch was cancelled"))
            }
        };
        drop(noted);
        match outcome {
            Ok(downloaded) => {
                std::mem::forget(unfinished);
                self.arrived(&file, &segment);
                self.keep(&file, &segment, downloaded);
            }
            Err(error) => {
                std::mem::forget(unfinished);
                file.give_up(&segment, error);
            }
        }
        self.ended(&file, &segment);
    }

    async fn transfer(
        &self,
        file: &Arc<FileState>,
        segment: &Arc<Segment>,
        slots: Slots,
        noted: &mut Fetching<'_>,
    ) -> Result<Vec<Downloaded>> {
        let bytes = segment.range().end - segment.range().start;
        if segment.needs_memory() {
            // What is idle is looked at after the wait has begun: what becomes idle later sees that someone waits.
            let relieved = async { self.idle.relieve() };
            let (permit, ()) = futures::join!(self.config.budget.demand(bytes), relieved);
            segment.grant(permit);
        }
        self.fill(file, segment, slots, noted).await
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

/// A fetch that has not come to its end. Dropped in the middle, by a fault, it must not leave its readers waiting.
struct Unfinished<'a> {
    file: &'a FileState,
    segment: &'a Arc<Segment>,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.file.give_up(self.segment, StoreError::new(ErrorKind::Cancelled, "the fetch ended by a bug of fitsfs"));
    }
}
