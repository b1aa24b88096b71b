//! Fetching: the gaps in what is planned become segments, each a GET, as far as there is memory and as slots allow.

use std::ops::Range;
use std::sync::Arc;

use futures::FutureExt;

use super::Reader;
use crate::cache::disk::BUFFER_SIZE;
use crate::cache::{BLOCK, Origin, Segment};
use crate::read::Planned;
use crate::read::file::{Core, FileState};
use crate::read::on_disk::{Downloaded, is_from_disk, is_needless};
use crate::read::parts::{MAX_PART, MIN_PART, parts};
use crate::read::slots::{SMALL, Turns};
use crate::store::{ErrorKind, Result, StoreError};
use crate::trace::Fetching;

/// Parts of a stream that comes from disk, forwards, begin at most this many bytes ahead of the reader: the disk answers
/// at once, and what it gives goes into memory that was used shortly before.
const DISK_AHEAD: u64 = 8 << 20;

impl Reader {
    /// Runs a fetch, here as far as it need not wait. The rest of it is a task.
    pub(super) fn begin(&self, fetch: impl Future<Output = ()> + Send + 'static) {
        let mut fetch = Box::pin(fetch);
        if fetch.as_mut().now_or_never().is_none() {
            self.config.runtime.spawn(fetch);
        }
    }

    /// Starts what the planner wants fetched ahead, as far as memory allows. `reader` is where the reader is, if a read asks
    /// for this.
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
        let from_disk = is_from_disk(file);
        let sizes = if from_disk { (BUFFER_SIZE, BUFFER_SIZE) } else { (MIN_PART, MAX_PART) };
        for Planned { range, origin } in planned {
            // Only of a stream it is known that the reader comes from where it is.
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
                    core.planner.postpone(&(part.start..range.end));
                    break;
                }
                if is_needless(file, &part) {
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
                let permit = if is_needless(file, &gap) { None } else { self.idle.make_room(bytes, file, core) };
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
        let turns = self.slots.queue(&segment, self.disk().is_some(), &file.pace());
        self.clone().fetch(file.clone(), segment, turns)
    }

    /// The life of a segment: memory, a slot, the transfer, and what follows from its end.
    async fn fetch(self: Arc<Self>, file: Arc<FileState>, segment: Arc<Segment>, turns: Turns) {
        let unfinished = Unfinished { file: &file, segment: &segment };
        let mut noted = self.journal.fetching(file.ino(), segment.range(), segment.origin());
        let outcome = tokio::select! {
            outcome = self.transfer(&file, &segment, turns, &mut noted) => outcome,
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
                self.on_disk.keep(&file, &segment, downloaded);
            }
            Err(error) => {
                std::mem::forget(unfinished);
                file.fail(&segment, error);
            }
        }
        self.ended(&file, &segment);
    }

    async fn transfer(
        &self,
        file: &Arc<FileState>,
        segment: &Arc<Segment>,
        turns: Turns,
        noted: &mut Fetching<'_>,
    ) -> Result<Vec<Downloaded>> {
        let bytes = segment.range().end - segment.range().start;
        if segment.needs_memory() {
            // What is idle is looked at after the wait has begun: what becomes idle later sees the wait.
            let relieved = async { self.idle.relieve() };
            let (permit, ()) = futures::join!(self.config.budget.demand(bytes), relieved);
            segment.grant(permit);
        }
        self.filler.fill(file, segment, turns, noted).await
    }
}

/// A fetch that has not come to its end. Dropped in the middle, by a panic, it must not leave its readers waiting.
struct Unfinished<'a> {
    file: &'a FileState,
    segment: &'a Arc<Segment>,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.file.fail(self.segment, StoreError::new(ErrorKind::Cancelled, "the fetch ended by a bug of fitsfs"));
    }
}
