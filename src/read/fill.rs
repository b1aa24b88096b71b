//! Where the bytes of a segment come from: the cache on disk as far as it has them, the store for the rest.
//!
//! Who has read a file before mostly reads the same of it again. So as long as all that programs ask for is on disk,
//! nothing is fetched ahead that is not: whether they go elsewhere this time shows with the first byte that is missing.
//!
//! What is missing of a segment is fetched by one GET, from the first missing page to the last. What is between them and
//! on disk is fetched again: a second round trip would take longer.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt;
use futures::future::BoxFuture;
use tokio::sync::OwnedSemaphorePermit;

use super::file::FileState;
use super::reader::Reader;
use super::stride::PAGE;
use crate::cache::disk::{CachedObject, Claim, DiskCache, Fetched, PIECE};
use crate::cache::{BLOCK, Origin, Segment, SegmentMap, blocks_around};
use crate::store::{ErrorKind, Result, StoreError};
use crate::trace::Fetching;

/// Data of a stream are given to the kernel as they arrive, in pieces of at least so many bytes.
pub const PUSH: u64 = 256 << 10;

/// Who has read this share of a file from disk is likely to read as much again: it is worth reading all of it to check it.
const CHECK_SHARE: u64 = 8;

/// How often what is missing is looked for anew, because what was there has been given up meanwhile.
const LOOKS: usize = 3;

/// The right to fetch ahead, when it is granted.
pub(super) type Slot = BoxFuture<'static, Option<OwnedSemaphorePermit>>;

/// The places of a segment in the queues for slots, where it needs any.
pub(super) struct Slots {
    /// To read from disk what is there of it, up to the first page that is not.
    pub disk: Option<Slot>,
    /// To fetch what is not, until the end of the segment.
    pub network: Option<Slot>,
}

/// A range that came from the store, and the right to fetch it that others wait for.
pub(super) struct Downloaded {
    object: Arc<CachedObject>,
    range: Range<u64>,
    claim: Option<Claim>,
}

/// A segment that is being filled.
struct Filling<'a, 'b> {
    reader: &'a Reader,
    file: &'a Arc<FileState>,
    segment: &'a Arc<Segment>,
    /// Waited for where it is first needed.
    network: Option<Slot>,
    granted: Option<OwnedSemaphorePermit>,
    noted: &'a mut Fetching<'b>,
    /// How far the kernel has been given it.
    pushed: u64,
}

impl Reader {
    /// Fills a segment. Returns what of it is to be kept on disk.
    pub(super) async fn fill(
        &self,
        file: &Arc<FileState>,
        segment: &Arc<Segment>,
        slots: Slots,
        noted: &mut Fetching<'_>,
    ) -> Result<Vec<Downloaded>> {
        let (Slots { disk, network }, pushed) = (slots, segment.range().start);
        let mut filling = Filling { reader: self, file, segment, network, granted: None, noted, pushed };
        let downloaded = match self.cached(file).await {
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

    /// The cache on disk, and the files of an object version in it. None while the disk does not answer.
    pub(super) async fn cached(&self, file: &Arc<FileState>) -> Option<(&Arc<DiskCache>, Arc<CachedObject>)> {
        let cache = self.config.disk.as_ref().filter(|cache| !cache.is_off())?;
        if let Some(held) = file.held() {
            return Some((cache, held));
        }
        let object = cache.object(file.object().identity()).await?;
        if file.hold(&object) {
            cache.count_open(&object);
        }
        Some((cache, object))
    }

    /// A program has closed the file. If it has read a good part of it from disk, the kernel may read it by itself the next
    /// time, once it was checked.
    pub(super) fn check_for_kernel(&self, file: &FileState) {
        if file.read_from_disk() >= file.object().size() / CHECK_SHARE
            && let Some(cache) = &self.config.disk
            && let Some(object) = file.held()
        {
            let _in_runtime = self.config.runtime.enter();
            cache.check(&file.object().identity(), object);
        }
    }

    /// Has what came from the store written to disk. The walk along the headers has been there: it knows what is worth
    /// keeping longest.
    pub(super) fn keep(&self, file: &FileState, segment: &Arc<Segment>, downloaded: Vec<Downloaded>) {
        let Some(cache) = self.config.disk.as_ref().filter(|_| !downloaded.is_empty()) else { return };
        let ahead_of_readers = matches!(segment.origin(), Origin::Chain | Origin::Predicted) && !file.is_open();
        let headers = match ahead_of_readers {
            true => Vec::from([segment.range()]),
            false => file.core.lock().planner.headers_in(&segment.range()),
        };
        for Downloaded { object, range, claim } in downloaded {
            cache.keep(Fetched { object, segment: segment.clone(), range, headers: headers.clone(), claim });
        }
    }

    /// Whether a part that would be fetched ahead is better left where it is. Says no while the file's place on disk is not
    /// open yet; it is looked at again before a request is sent.
    pub(super) fn is_needless(&self, file: &FileState, part: &Range<u64>) -> bool {
        let lacks = |object: &CachedObject| object.missing_at_once(part).is_ok_and(|missing| missing.is_some());
        file.held().is_some_and(|object| is_remembered(file, &object) && lacks(&object))
    }

    /// Whether what a file is led by comes from disk: what is not there is left where it is.
    pub(super) fn is_from_disk(&self, file: &FileState) -> bool {
        file.held().is_some_and(|object| is_remembered(file, &object))
    }

    /// A program asks for `range` now. As long as it matters, sees to it that memory can tell what is on disk of that and
    /// the blocks around it.
    pub(super) async fn look_on_disk(&self, file: &FileState, range: &Range<u64>) {
        if file.has_all_so_far()
            && let Some(cache) = &self.config.disk
            && let Some(object) = file.held()
            && !file.core.lock().segments.gaps(range).is_empty()
        {
            cache.has(&object, &blocks_around(range, object.size())).await;
        }
    }

    /// What to fetch for `read`, of which memory lacks some: `demand`, which is that read rounded or extended. But only the
    /// pages that it lacks if the disk has nothing else, or if nothing around them is held: to read a block takes half as
    /// long again, and who reads here and there has no use for it. Notes it if the disk has not even those pages,
    /// before anything is fetched ahead.
    pub(super) fn demanded(
        &self,
        file: &FileState,
        segments: &SegmentMap,
        read: &Range<u64>,
        demand: Range<u64>,
    ) -> Range<u64> {
        let Some(object) = file.held().filter(|_| file.has_all_so_far()) else { return demand };
        let gaps = segments.gaps(read);
        let (Some(first), Some(last)) = (gaps.first(), gaps.last()) else { return demand };
        let pages = first.start / PAGE * PAGE..last.end.next_multiple_of(PAGE).min(object.size());
        let lacks = |range: &Range<u64>| object.missing_at_once(range).map(|missing| missing.is_some());
        // What the disk has to be waited for shows when it is fetched.
        if gaps.iter().any(|gap| lacks(gap).unwrap_or(false)) {
            file.note_missed();
            return demand;
        }
        let around = pages.start.saturating_sub(BLOCK)..pages.end + BLOCK;
        let alone = demand == blocks_around(read, object.size()) && segments.among(&around).next().is_none();
        let pages_will_do = alone || lacks(&demand).unwrap_or(false);
        if pages_will_do && lacks(&pages).is_ok_and(|lacks| !lacks) { pages } else { demand }
    }

    /// A file was opened: what memory holds of it, and the disk has given up since, or never had the time to take, is
    /// kept again. Reads of it would not come to know.
    pub(super) fn keep_held(self: &Arc<Self>, file: &Arc<FileState>) {
        if self.config.disk.is_none() {
            return;
        }
        let held: Vec<_> = file.core.lock().segments.iter().filter(|s| s.is_complete()).cloned().collect();
        if held.is_empty() {
            return;
        }
        let (reader, file) = (self.clone(), file.clone());
        self.config.runtime.spawn(async move {
            let Some((cache, object)) = reader.cached(&file).await else { return };
            for segment in held {
                if cache.has(&object, &segment.range()).await {
                    continue;
                }
                let downloaded = Downloaded { object: object.clone(), range: segment.range(), claim: None };
                reader.keep(&file, &segment, Vec::from([downloaded]));
            }
        });
    }

    /// Has the head of a file written to disk that came along with its look-up.
    pub(super) async fn keep_head(&self, file: &Arc<FileState>, segment: &Arc<Segment>) {
        file.note_missed();
        if let Some((_, object)) = self.cached(file).await {
            self.keep(file, segment, Vec::from([Downloaded { object, range: segment.range(), claim: None }]));
        }
    }
}

/// Whether a file was read before, and all that programs have asked for since it was opened was on disk.
fn is_remembered(file: &FileState, object: &CachedObject) -> bool {
    let head = 0..PAGE.min(object.size());
    let has_head = || object.missing_at_once(&head).is_ok_and(|missing| missing.is_none());
    file.has_all_so_far() && has_head()
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
                return Err(StoreError::new(ErrorKind::Cancelled, "not on disk, and nobody has asked for it yet"));
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
            self.network = Some(self.reader.network_slot(self.file, self.segment));
        }
        at
    }

    /// Whether a part that is not on disk is better left there, as [`Reader::is_needless`] has it. The disk may be asked.
    async fn is_needless(&mut self, cache: &DiskCache, object: &Arc<CachedObject>) -> bool {
        let ahead = self.segment.origin() != Origin::Demand && self.file.has_all_so_far();
        ahead && cache.has(object, &(0..PAGE.min(object.size()))).await
    }

    /// Copies from the disk as far as it has the bytes; returns up to where.
    async fn copy(&mut self, cache: &DiskCache, object: &Arc<CachedObject>, range: Range<u64>) -> u64 {
        let mut at = range.start;
        while at < range.end {
            let piece = at..range.end.min(at + PIECE);
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
            self.reader.pusher.push(self.file, self.segment, self.pushed..arrived.end);
            self.pushed = arrived.end;
        }
    }
}

/// Waits for a slot, unless a program waits for the segment by now.
async fn wait_for(slot: Slot, segment: &Segment) -> Option<OwnedSemaphorePermit> {
    tokio::select! {
        slot = slot => slot,
        () = segment.wanted() => None,
    }
}
