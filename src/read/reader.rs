//! Turns reads into range GETs: one fetch in flight per byte, within one budget. A read waits for its own bytes only.

mod fetching;
mod learning;

use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use moka::Entry;
use moka::ops::compute::Op;
use tokio::runtime::Handle;

use super::classes::Classes;
use super::file::{Core, FileState};
use super::fill::Filler;
use super::idle::Idle;
use super::on_disk::{OnDisk, demanded, is_from_disk};
use super::replay::REPLAY_PIECE;
use super::slots::Slots;
use super::stride::PAGE;
use super::{Given, Planner, Pusher, SENTINEL, Wait};
use crate::cache::disk::DiskCache;
use crate::cache::names::Notes;
use crate::cache::{Budget, Origin, Segment, SegmentMap, blocks_around};
use crate::fits;
use crate::metrics::{Cause, Metrics};
use crate::store::{ErrorKind, Object, Result, StoreError};
use crate::trace::{FileFacts, Journal, Trace};

/// What a read waits for the disk, in seconds, about. Reading what lies behind it takes as long again.
const DISK_LATENCY: f64 = 1e-4;

/// How often a read starts over because a fetch that it shared was cancelled by others.
const MAX_JOINS: usize = 4;

/// The kernel may drop what it was given ahead of the reader, so a segment stays in memory until a reader is this far
/// beyond it (its readahead goes back and forth by as much); looked for as far back as readahead can have gone.
pub const LEFT_BEHIND: u64 = 256 << 10;
/// How far back half of that search goes, in bytes: the longest readahead.
pub const MAX_LEFT_BEHIND: u64 = 64 << 20;

/// How long an open waits for the head of the file, which the program reads next anyway, and for that to be pushed into
/// the page cache: some times what each takes.
pub const HEAD_PATIENCE: Duration = Duration::from_millis(300);
const PUSH_PATIENCE: Duration = Duration::from_millis(2);

/// The walk for a layout ends after so many headers, each of which may take a request, and so many bytes of them: no
/// instrument writes as many HDUs.
const MAX_LAYOUT_READS: usize = 4096;
const MAX_LAYOUT_BYTES: u64 = 64 << 20;

/// What is remembered of files (planner, layout), open or not, as a share of what data may take: of some 10,000 usual ones
/// by default, and at least of some hundred, in bytes.
const REMEMBERED_DIVISOR: u64 = 16;
const MIN_REMEMBERED: u64 = 1 << 20;

/// What a [`Reader`] is made of.
#[derive(Debug)]
pub struct ReaderConfig {
    /// What was fetched before, if it is kept on disk.
    pub disk: Option<Arc<DiskCache>>,
    /// The bound on bytes in memory.
    pub budget: Arc<Budget>,
    /// How many bytes are read ahead of one reader at most.
    pub max_ahead: u64,
    /// Up to how many bytes a region is fetched whole because programs have waited in it.
    pub max_region: u64,
    /// Where to count.
    pub metrics: Arc<Metrics>,
    /// Where the fetches run.
    pub runtime: Handle,
}

/// Reads object versions.
#[derive(Debug)]
pub struct Reader {
    pub(super) config: ReaderConfig,
    files: moka::sync::Cache<u64, Arc<FileState>>,
    pub(super) on_disk: Arc<OnDisk>,
    filler: Filler,
    slots: Arc<Slots>,
    pusher: Arc<Pusher>,
    pub(super) idle: Arc<Idle>,
    classes: Classes,
    /// Where what is known of classes is kept for the next mount.
    notes: OnceLock<Arc<Notes>>,
    /// Whether a task is going to write some of that.
    is_noting: AtomicBool,
    pub(super) journal: Arc<Journal>,
    /// When it was made: what waits are counted from.
    began: Instant,
}

impl Reader {
    /// A reader with nothing in memory.
    pub fn new(config: ReaderConfig) -> Arc<Self> {
        let idle = Arc::new(Idle::new(config.budget.clone()));
        let journal = Arc::new(Journal::default());
        let pusher = Arc::new(Pusher::new(config.metrics.clone(), journal.clone()));
        let on_disk = Arc::new(OnDisk::new(config.disk.clone(), config.runtime.clone()));
        let slots: Arc<Slots> = Arc::default();
        let filler = Filler { on_disk: on_disk.clone(), slots: slots.clone(), pusher: pusher.clone() };
        let remembered = (config.budget.total() / REMEMBERED_DIVISOR).max(MIN_REMEMBERED);
        Arc::new(Self {
            config,
            files: moka::sync::Cache::builder()
                .max_capacity(remembered)
                .weigher(|_, file: &Arc<FileState>| file.weight())
                .eviction_policy(moka::policy::EvictionPolicy::lru())
                .build(),
            on_disk,
            filler,
            slots,
            pusher,
            idle,
            classes: Classes::default(),
            notes: OnceLock::new(),
            is_noting: AtomicBool::new(false),
            journal,
            began: Instant::now(),
        })
    }

    /// The pusher, to be started when there is a page cache to push into.
    pub fn pusher(&self) -> &Pusher {
        &self.pusher
    }

    /// The cache on disk.
    pub fn disk(&self) -> Option<&Arc<DiskCache>> {
        self.on_disk.cache()
    }

    /// Where to record what happens.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// What was recorded, with the layouts as far as they are known; `clear` forgets it. `place` says where the file of a
    /// path in the tree is.
    pub fn trace(&self, clear: bool, place: impl Fn(&str) -> String) -> Trace {
        self.journal.trace(clear, |ino| {
            let file = self.files.get(&ino)?;
            Some(FileFacts::new(place(file.path()), file.object().url(), file.core.lock().planner.layout()))
        })
    }

    /// The state of an inode: the same for all its readers.
    pub fn file(&self, ino: u64, path: &Arc<str>, object: &Object) -> Arc<FileState> {
        let fresh = || {
            let named_fits = fits::is_fits_name(path);
            let planner = Planner::new(object.size(), named_fits, None, self.config.max_ahead, self.config.max_region);
            Arc::new(FileState::new(ino, path.clone(), object.clone(), planner))
        };
        let known = self.files.get_with(ino, fresh);
        if known.path() == &**path && known.object().is_same(object) {
            return known;
        }
        // The number is a hash, and was that of another object until its inode was forgotten.
        let fresh = fresh();
        self.files.insert(ino, fresh.clone());
        fresh
    }

    /// Runs something of this mount.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.config.runtime.spawn(task);
    }

    /// A program opened a file that the kernel reads by itself.
    pub fn opened_in_kernel(&self, file: &Arc<FileState>, direct: bool) {
        if file.opened(direct) {
            self.journal.opened(file.ino());
        }
    }

    /// A program opened the file. Costs no request that it would not cost to read. Waits until the kernel has been given
    /// the head of the file, if that is on its way: what the kernel has, it need not ask for.
    pub async fn opened(self: &Arc<Self>, file: &Arc<FileState>, direct: bool) {
        self.opened_in_kernel(file, direct);
        file.core.lock().failures.clear();
        self.on_disk.keep_held(file);
        self.served_after_all(file, direct).await;
    }

    /// The same for a file that is open already, since the kernel did not take it.
    pub async fn served_after_all(self: &Arc<Self>, file: &Arc<FileState>, direct: bool) {
        self.opening(file);
        self.push_replayed(file);
        self.walk(file, None);
        // What is on disk decides what is fetched ahead, from the first read on.
        self.on_disk.files(file).await;
        let head = file.core.lock().segments.among(&(0..1)).next().cloned();
        let is_ahead = |head: &Arc<Segment>| head.origin() != Origin::Demand && !head.is_pushed() && !direct;
        let Some(head) = head.filter(is_ahead) else { return };
        // Whether it is in time or not, the reader gets the same bytes, or hears what is wrong.
        let there = tokio::time::timeout(HEAD_PATIENCE, head.wait_for(head.range().end)).await;
        if matches!(there, Ok(Ok(()))) {
            let _ = tokio::time::timeout(PUSH_PATIENCE, self.pusher.push_whole(file, &head)).await;
        }
    }

    /// A program closed the file.
    pub fn released(self: &Arc<Self>, file: &FileState, direct: bool) {
        if file.released(direct) {
            {
                let core = file.core.lock();
                // Some programs look at the first bytes, which came with the open, and open the file once more to read it.
                if file.is_asked() {
                    self.classes.learn(file.object().key(), &core.planner, false);
                }
                file.weigh(core.planner.layout());
            }
            self.files.entry(file.ino()).and_compute_with(|entry| match entry.map(Entry::into_value) {
                Some(known) if std::ptr::eq(Arc::as_ptr(&known), file) => Op::Put(known),
                _ => Op::Nop,
            });
            self.on_disk.check_for_kernel(file);
            file.close();
            self.journal.closed(file.ino());
            self.idle.trim_closed();
            self.note_soon();
        }
    }

    /// No program has any file open.
    pub fn rest(&self) {
        if let Some(disk) = self.disk().cloned() {
            self.config.runtime.spawn(async move { disk.rest().await });
        }
    }

    /// The bytes `range` (not empty, within the file) of a file.
    pub async fn read(self: &Arc<Self>, file: &Arc<FileState>, range: Range<u64>) -> Result<Bytes> {
        let from = self.began.elapsed();
        let (bytes, waited_for) = self.obtain(file, &range).await?;
        if let Some(cause) = waited_for {
            self.waited(file, &range, from, cause);
        }
        Ok(bytes)
    }

    /// The bytes, and as what they were waited for, if they had to come from the store.
    async fn obtain(self: &Arc<Self>, file: &Arc<FileState>, range: &Range<u64>) -> Result<(Bytes, Option<Cause>)> {
        let (mut joins, mut cause) = (0, Cause::Unforeseen);
        file.note_asked();
        self.on_disk.look(file, range).await;
        loop {
            let (segments, seen) = self.cover(file, range, joins == 0);
            cause = if joins == 0 { seen } else { cause };
            match await_bytes(segments, range).await {
                Ok((bytes, fetched)) => {
                    let metrics = &self.config.metrics;
                    if fetched {
                        metrics.cache_misses.inc()
                    } else {
                        metrics.cache_hits.inc()
                    }
                    return Ok((bytes, fetched.then_some(cause)));
                }
                // What failed was repeated as often as it may be, by the read that began it.
                Err(error) if error.kind == ErrorKind::Cancelled && joins < MAX_JOINS => joins += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// A READ had to wait for the store.
    fn waited(self: &Arc<Self>, file: &Arc<FileState>, range: &Range<u64>, from: Duration, cause: Cause) {
        let to = self.began.elapsed();
        self.config.metrics.waits.note(file.path(), cause, to.saturating_sub(from));
        self.journal.waited(file.ino(), range, cause, to.saturating_sub(from));
        let mut core = file.core.lock();
        let wait = Wait { from, to, cause, is_buying: core.bought.is_busy() };
        let bought = core.planner.on_waited(range, &wait, &file.pace());
        self.fetch_ahead(file, &mut core, bought, None);
    }

    /// The map of a FITS or ASDF file, walking its header chain to the end; none where that is too far.
    pub async fn layout(self: &Arc<Self>, file: &Arc<FileState>) -> Result<Option<fits::Layout>> {
        let size = file.object().size();
        let mut chain = fits::Chain::new(size);
        let _walk = Walk { reader: self, file };
        let (mut reads, mut read) = (0, 0);
        while let fits::Need::Bytes { offset, len } = chain.need() {
            (reads, read) = (reads + 1, read + len);
            if reads > MAX_LAYOUT_READS || read > MAX_LAYOUT_BYTES {
                return Ok(None);
            }
            let range = offset..(offset + len).min(size);
            // These waits do not count towards fetching a region: its data are not what is asked for.
            let (bytes, _) = self.obtain(file, &range).await?;
            chain.feed(offset, &bytes);
        }
        Ok(Some(chain.into_layout()))
    }

    /// Segments that hold or await all of `range`; fetches what is missing, and what the planner says on top. Tells whether
    /// the planner had expected it.
    fn cover(self: &Arc<Self>, file: &Arc<FileState>, range: &Range<u64>, first: bool) -> (Vec<Arc<Segment>>, Cause) {
        let mut core = file.core.lock();
        let held = core.segments.gaps(range).is_empty();
        let mut demand = blocks_around(range, file.object().size());
        let (mut ahead, mut cause) = (Vec::new(), Cause::Unforeseen);
        if first {
            let mut pace = file.pace();
            if is_from_disk(file) {
                pace.latency = DISK_LATENCY;
            }
            let given = Given { held, unseen: unseen_before(&core.segments, range.start) };
            let decision = core.planner.on_read(range.clone(), given, &pace);
            tracing::trace!(key = file.object().key(), ?range, ?decision, "read");
            demand = decision.demand;
            (ahead, cause) = (decision.ahead, decision.cause);
            self.abandon(&mut core, &decision.abandoned);
            forget_passed(&mut core, range.start);
        }
        if !held {
            demand = demanded(file, &core.segments, range, demand);
        }
        // What is on disk is there sooner than another thread is awake.
        let at_once = file.has_all_so_far() && file.held().is_some();
        let mut begun = Vec::new();
        let missing = core.segments.gaps(if held { range } else { &demand });
        for gap in missing.into_iter().filter(|gap| gap.start < range.end && gap.end > range.start) {
            let fetch = self.place(file, &mut core, Segment::new(gap, Origin::Demand, None));
            if at_once { begun.push(fetch) } else { drop(self.config.runtime.spawn(fetch)) }
        }
        let segments = core.segments.overlapping(range);
        self.fetch_ahead(file, &mut core, ahead, Some(range.end));
        drop(core);
        begun.into_iter().for_each(|fetch| self.begin(fetch));
        (segments, cause)
    }

    /// Goes on along the headers that are held, `segment` among them: reads may have had it taken from its place.
    pub(super) fn walk(self: &Arc<Self>, file: &Arc<FileState>, segment: Option<&Segment>) {
        let mut core = file.core.lock();
        let Core { planner, segments, .. } = &mut *core;
        let of_segment = |range: &Range<u64>| segment.and_then(|segment| segment.slice(range.clone()));
        let held = |range: &Range<u64>| of_segment(range).or_else(|| segments.collect(range));
        let planned = planner.on_arrival(held, &file.pace());
        self.fetch_ahead(file, &mut core, planned, None);
    }

    /// A segment is complete: the header walk goes on, and what no READ waits for goes to the kernel.
    fn arrived(self: &Arc<Self>, file: &Arc<FileState>, segment: &Arc<Segment>) {
        if file.is_read() {
            self.walk(file, Some(segment));
        }
        self.idle.add(file, segment);
        match segment.origin() {
            Origin::Strided | Origin::Region if file.wants_pushes() => drop(self.pusher.push_whole(file, segment)),
            Origin::Replayed if file.is_open() => self.push_between(file, segment),
            _ => {}
        }
    }

    /// The kernel is given what was replayed before the file was opened.
    fn push_replayed(&self, file: &Arc<FileState>) {
        let core = file.core.lock();
        let replayed = core.segments.iter().filter(|segment| segment.origin() == Origin::Replayed);
        let complete: Vec<_> = replayed.filter(|segment| segment.is_complete()).cloned().collect();
        drop(core);
        complete.iter().for_each(|segment| self.push_between(file, segment));
    }

    /// Pushes what was replayed, but for one page in each piece: READs that ask for these pages show that the replay was
    /// right. Short ranges are not pushed at all.
    fn push_between(&self, file: &Arc<FileState>, segment: &Arc<Segment>) {
        if segment.len() <= REPLAY_PIECE || !file.wants_pushes() || segment.is_pushed() {
            return;
        }
        let Range { start, end } = segment.range();
        let pieces = (start..end).step_by(REPLAY_PIECE as usize);
        let pieces = pieces.map(|at| at + PAGE..end.min(at + REPLAY_PIECE)).filter(|piece| !piece.is_empty());
        pieces.for_each(|piece| self.pusher.push(file, segment, piece));
    }
}

/// A walk along the headers of a file, for its layout. When it ends, for whatever reason, what is in flight of a file that
/// no program has open is cancelled.
struct Walk<'a> {
    reader: &'a Reader,
    file: &'a FileState,
}

impl Drop for Walk<'_> {
    fn drop(&mut self) {
        if !self.file.is_open() {
            let all = 0..self.file.object().size();
            let mut core = self.file.core.lock();
            core.bought.clear();
            self.reader.abandon(&mut core, std::slice::from_ref(&all));
        }
    }
}

/// How many bytes right before `position` were put into the page cache, but for the pages that are left to be asked for.
fn unseen_before(segments: &SegmentMap, position: u64) -> u64 {
    let before = segments.overlapping(&(position.saturating_sub(1)..position));
    let Some(part) = before.first().filter(|part| part.arrived().end >= position) else { return 0 };
    let asked_for = match part.origin() {
        Origin::Sequential => part.range().start,
        Origin::Replayed if part.len() > REPLAY_PIECE => {
            position - 1 - (position - 1 - part.range().start) % REPLAY_PIECE
        }
        _ => return 0,
    };
    position.saturating_sub(asked_for + SENTINEL)
}

/// A reader has come to `position`: what the kernel was given and the reader has left behind is dropped. A reader that
/// comes by asks for some of each segment; one that no READ has asked for is readahead of another reader, further back.
fn forget_passed(core: &mut Core, position: u64) {
    let passed = position.saturating_sub(2 * MAX_LEFT_BEHIND)..position.saturating_sub(LEFT_BEHIND);
    let is_over = |s: &&Arc<Segment>| s.is_pushed() && s.is_touched() && s.range().end <= passed.end && !core.keeps(s);
    let over: Vec<_> = core.segments.among(&passed).filter(is_over).cloned().collect();
    for segment in over {
        core.segments.remove(&segment);
    }
}

/// Waits for the bytes of `range` and joins them; tells whether some of them were waited for and came from the store.
/// Each segment is let go as soon as its bytes are there: a read that waits for memory holds none, or reads that each
/// hold what another one waits for would wait for ever.
async fn await_bytes(segments: Vec<Arc<Segment>>, range: &Range<u64>) -> Result<(Bytes, bool)> {
    let part = async |segment: Arc<Segment>| {
        let within = range.start.max(segment.range().start)..range.end.min(segment.range().end);
        let waits = segment.arrived().end < within.end;
        segment.wait_for(within.end).await?;
        let cancelled = || StoreError::new(ErrorKind::Cancelled, "the fetch was cancelled");
        Ok((segment.slice(within).ok_or_else(cancelled)?, waits && segment.is_from_store()))
    };
    let mut parts = futures::future::try_join_all(segments.into_iter().map(part)).await?;
    if parts.len() == 1 {
        return Ok(parts.remove(0));
    }
    let mut joined = BytesMut::with_capacity((range.end - range.start) as usize);
    parts.iter().for_each(|(part, _)| joined.extend_from_slice(part));
    Ok((joined.freeze(), parts.iter().any(|(_, fetched)| *fetched)))
}

#[cfg(test)]
mod tests;
