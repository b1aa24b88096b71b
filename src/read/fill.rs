//! Fills one segment: from the cache on disk as far as that has its bytes, from the store for the rest.
//!
//! What is missing of a segment is fetched by one GET, from the first missing page to the last. What is between them and
//! on disk is fetched again: a second round trip would take longer.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt;
use tokio::sync::OwnedSemaphorePermit;

use super::Pusher;
use super::file::FileState;
use super::on_disk::{Downloaded, OnDisk};
use super::slots::{Slot, Slots, Turns, wait_for};
use super::stride::PAGE;
use crate::cache::disk::{BUFFER_SIZE, CachedObject, DiskCache};
use crate::cache::{Origin, Segment};
use crate::store::{ErrorKind, Result, StoreError};
use crate::trace::Fetching;

/// Data of a stream are given to the kernel as they arrive, in pieces of at least so many bytes.
pub const PUSH: u64 = 256 << 10;

/// How often what is missing is looked for anew, because what was there has been evicted meanwhile.
const LOOKS: usize = 3;

/// Fills segments: where bytes come from, and where those of streams go.
#[derive(Debug)]
pub(super) struct Filler {
    pub on_disk: Arc<OnDisk>,
    pub slots: Arc<Slots>,
    pub pusher: Arc<Pusher>,
}

/// A segment that is being filled.
struct Filling<'a, 'b> {
    filler: &'a Filler,
    file: &'a Arc<FileState>,
    segment: &'a Arc<Segment>,
    /// Waited for where it is first needed.
    network: Option<Slot>,
    granted: Option<OwnedSemaphorePermit>,
    noted: &'a mut Fetching<'b>,
    /// How far the kernel has been given it.
    pushed: u64,
}

impl Filler {
    /// Fills a segment. Returns what of it is to be kept on disk.
    pub async fn fill(
        &self,
        file: &Arc<FileState>,
        segment: &Arc<Segment>,
        turns: Turns,
        noted: &mut Fetching<'_>,
    ) -> Result<Vec<Downloaded>> {
        let (Turns { disk, network }, pushed) = (turns, segment.range().start);
        let mut filling = Filling { filler: self, file, segment, network, granted: None, noted, pushed };
        let downloaded = match self.on_disk.files(file).await {
            Some((cache, object)) => filling.with_cache(cache, &object, disk).await?,
            None => {
                drop(disk);
                filling.download(segment.range()).await?;
                Vec::new()
            }
        };
        match segment.is_complete() {
            true => {
                filling.noted.done();
                Ok(downloaded)
            }
            false => Err(StoreError::new(ErrorKind::BadResponse, "the body ended before the range did")),
        }
    }
}

impl Filling<'_, '_> {
    async fn with_cache(
        &mut self,
        cache: &Arc<DiskCache>,
        object: &Arc<CachedObject>,
        turn: Option<Slot>,
    ) -> Result<Vec<Downloaded>> {
        let end = self.segment.range().end;
        let mut downloaded = Vec::new();
        let mut at = self.copy_in_turn(cache, object, turn).await;
        for _ in 0..LOOKS {
            if at == end {
                return Ok(downloaded);
            }
            let missing = cache.missing(object, &(at..end)).await;
            let (gap, claim) = missing.unwrap_or((end..end, None));
            at = self.copy(cache, object, at..gap.start).await;
            if at < end && self.is_needless(cache, object).await {
                self.noted.cancelled();
                return Err(StoreError::new(ErrorKind::Cancelled, "not on disk, and no program has asked for it yet"));
            }
            if at == gap.start && at < end {
                self.download(gap.clone()).await?;
                at = gap.end;
                downloaded.push(Downloaded { object: object.clone(), range: gap, claim });
                at = self.copy(cache, object, at..end).await;
            }
        }
        self.download(at..end).await?;
        Ok(downloaded)
    }

    /// Copies the segment from the disk as far as it has the bytes, when it is its turn; returns up to where. Meanwhile it
    /// has no place in the queue for the network, which others may need.
    async fn copy_in_turn(&mut self, cache: &Arc<DiskCache>, object: &Arc<CachedObject>, turn: Option<Slot>) -> u64 {
        let range = self.segment.range();
        let Some(turn) = turn else { return self.copy(cache, object, range).await };
        let first = range.start..range.end.min(range.start + PAGE);
        if object.missing_at_once(&first).is_ok_and(|missing| missing.is_some()) {
            return range.start;
        }
        self.network = None;
        let turn = wait_for(turn, self.segment).await;
        let at = self.copy(cache, object, range.clone()).await;
        drop(turn);
        if at < range.end {
            self.network = Some(self.filler.slots.queue_for_network(self.segment, &self.file.pace()));
        }
        at
    }

    /// Whether a part that is not on disk is better left in the store, as for [`is_needless`](super::on_disk::is_needless).
    /// The disk may be asked.
    async fn is_needless(&mut self, cache: &DiskCache, object: &Arc<CachedObject>) -> bool {
        let ahead = self.segment.origin() != Origin::Demand && self.file.has_all_so_far();
        ahead && cache.has(object, &(0..PAGE.min(object.size()))).await
    }

    /// Copies from the disk as far as it has the bytes; returns up to where.
    async fn copy(&mut self, cache: &DiskCache, object: &Arc<CachedObject>, range: Range<u64>) -> u64 {
        let mut at = range.start;
        while at < range.end {
            let piece = at..range.end.min(at + BUFFER_SIZE);
            let Some(bytes) = cache.read(object, piece.clone()).await else { break };
            self.file.note_from_disk(bytes.len());
            self.noted.found_on_disk(bytes.len());
            self.segment.append(bytes);
            at = piece.end;
            self.push();
        }
        at
    }

    /// Fetches a range from the store, if it is not empty, and if none of it failed a moment ago.
    async fn download(&mut self, range: Range<u64>) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        if let Some(error) = self.file.core.lock().failures.of(&range, Instant::now()) {
            return Err(error);
        }
        let received = self.receive(range.clone()).await;
        received.inspect_err(|error| self.file.core.lock().failures.note(range, error, Instant::now()))
    }

    async fn receive(&mut self, range: Range<u64>) -> Result<()> {
        self.segment.mark_from_store();
        self.file.note_missed();
        if let Some(slot) = self.network.take() {
            self.granted = wait_for(slot, self.segment).await;
        }
        let is_ahead = self.segment.origin() != Origin::Demand;
        if is_ahead && !self.file.object().source.store.allows_ahead(range.end - range.start) {
            self.noted.cancelled();
            // A program that waits for it asks for it in its own name.
            return Err(StoreError::new(ErrorKind::Cancelled, "what is left of the budget is for what is asked for"));
        }
        self.noted.sent();
        let mut body = self.file.object().get(range).await?;
        while let Some(chunk) = body.stream.next().await {
            let chunk = chunk?;
            self.noted.received(chunk.len());
            self.segment.append_copy(&chunk);
            drop(chunk);
            self.push();
        }
        Ok(())
    }

    /// Gives the kernel what has arrived of a stream, once it is worth it.
    fn push(&mut self) {
        let arrived = self.segment.arrived();
        let enough = arrived.end == self.segment.range().end || arrived.end >= self.pushed + PUSH;
        if self.segment.origin() == Origin::Sequential && self.file.wants_pushes() && enough {
            self.filler.pusher.push(self.file, self.segment, self.pushed..arrived.end);
            self.pushed = arrived.end;
        }
    }
}
