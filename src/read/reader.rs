//! Turns reads into range GETs: one outstanding fetch per byte, within one budget, and no wait but for one's own bytes.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use moka::Entry;
use moka::ops::compute::Op;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::classes::{Classes, Recalled};
use super::file::{Core, FileState};
use super::fill::{Downloaded, Slot, Slots};
use super::idle::Idle;
use super::parts::{MAX_PART, MIN_PART, parts};
use super::replay::PIECE as PIECE_BETWEEN;
use super::stride::PAGE;
use super::{Planned, Planner, Pusher, Wait};
use crate::cache::disk::{DiskCache, PIECE};
use crate::cache::names::Notes;
use crate::cache::{BLOCK, Budget, Origin, Segment, blocks_around};
use crate::fits;
use crate::metrics::{Cause, Metrics};
use crate::store::{ErrorKind, ObjectMeta, Result, Store, StoreError};
use crate::trace::{Fetching, FileFacts, Journal, Trace};

/// Prefetching GETs at once. Eight connections of 90 MB/s fill what two cores can take; twice that many hide the time
/// to first byte of the next ones. Small ones wait for the network only, so more of them fit. Reads that a program
/// waits for are not counted.
pub const PREFETCH_SLOTS: usize = 16;
/// Small prefetching GETs at once.
pub const SMALL_SLOTS: usize = 128;
/// Prefetching GETs of up to so many bytes are small.
pub const SMALL: u64 = 128 << 10;

/// Segments that are read from disk at once: it is kept busy, and they come in the order in which readers want them.
const DISK_SLOTS: usize = 2;

/// Parts of a stream that comes from disk, forwards, begin at most this many bytes ahead of the reader: the disk answers
/// at once, and what it gives goes into memory that was used shortly before.
const DISK_AHEAD: u64 = 8 << 20;

/// What a read waits for the disk, in seconds, about. Reading what lies behind it takes as long again.
const DISK_LATENCY: f64 = 1e-4;

/// How often a read starts over because a fetch that it shared was given up by others.
const MAX_JOINS: usize = 4;

/// The kernel may drop what it was given ahead of the reader, so a segment stays in memory until a reader is this far
/// beyond it (its readahead goes back and forth by as much); looked for as far back as a lead can have gone.
pub const LEFT_BEHIND: u64 = 256 << 10;
/// How far back half of that search goes, in bytes: as far as a reader is led at most.
pub const MAX_LEFT_BEHIND: u64 = 64 << 20;

/// How long an open waits for the head of the file, which the program reads next anyway, and for the kernel to be given
/// it: some times what that takes.
pub const HEAD_PATIENCE: Duration = Duration::from_millis(300);
const PUSH_PATIENCE: Duration = Duration::from_millis(2);

/// What is replayed of a file before it is opened may take this share of the memory: a sixteenth, and of the one after it
/// half of that, a third, and so on. Of 32 files that is a quarter.
const FORESEEN_SHARE: u64 = 16;

/// What is learnt of classes is written down so long after it was: of a loop through many files not with each of them.
const NOTING_DELAY: Duration = Duration::from_secs(2);

/// What is remembered of files (planner, layout), open or not, in bytes: of some 10,000 usual ones.
const MAX_REMEMBERED: u64 = 32 << 20;

/// What a [`Reader`] is made of.
#[derive(Debug)]
pub struct ReaderConfig {
    /// Where the bytes are.
    pub store: Arc<dyn Store>,
    /// What was fetched before, if it is kept on disk.
    pub disk: Option<Arc<DiskCache>>,
    /// The bound on bytes in memory.
    pub budget: Arc<Budget>,
    /// How many bytes one reader may be led by.
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
    pub(super) pusher: Pusher,
    slots: Arc<Semaphore>,
    small_slots: Arc<Semaphore>,
    disk_slots: Arc<Semaphore>,
    pub(super) idle: Arc<Idle>,
    classes: Classes,
    /// Where that is kept for the next mount.
    notes: OnceLock<Arc<Notes>>,
    /// Whether a task is going to write some of it down.
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
        let pusher = Pusher::new(config.metrics.clone(), journal.clone());
        Arc::new(Self {
            config,
            files: moka::sync::Cache::builder()
                .max_capacity(MAX_REMEMBERED)
                .weigher(|_, file: &Arc<FileState>| file.weight())
                .eviction_policy(moka::policy::EvictionPolicy::lru())
                .build(),
            pusher,
            slots: Arc::new(Semaphore::new(PREFETCH_SLOTS)),
            small_slots: Arc::new(Semaphore::new(SMALL_SLOTS)),
            disk_slots: Arc::new(Semaphore::new(DISK_SLOTS)),
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
        self.config.disk.as_ref()
    }

    /// Where to record what happens.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// What was recorded, with the layouts as far as they are known; `clear` forgets it. `place` says where an object
    /// is, in the mount and in the store.
    pub fn trace(&self, clear: bool, place: impl Fn(&ObjectMeta) -> (String, String)) -> Trace {
        self.journal.trace(clear, |ino| {
            let file = self.files.get(&ino)?;
            let (path, url) = place(file.object());
            Some(FileFacts::new(path, url, file.core.lock().planner.layout()))
        })
    }

    /// The state of an inode: the same for all who read it.
    pub fn file(&self, ino: u64, object: &Arc<ObjectMeta>) -> Arc<FileState> {
        self.files.get_with(ino, || {
            let named_fits = fits::is_fits_name(&object.key);
            let planner = Planner::new(object.size, named_fits, None, self.config.max_ahead, self.config.max_region);
            Arc::new(FileState::new(ino, object.clone(), planner))
        })
    }

    /// Keeps what is learnt of classes in `notes`, where that of mounts before may be. Once.
    pub fn note_in(&self, notes: Arc<Notes>) {
        // A second call would be a fault without consequence.
        let _ = self.notes.set(notes);
    }

    /// What was noted of the class of a file comes into memory, unless it is there.
    pub async fn acquaint(&self, key: &str) {
        let Some(notes) = self.notes.get().cloned() else { return };
        let Some(class) = self.classes.unknown(key) else { return };
        let read = class.clone();
        let note = tokio::task::spawn_blocking(move || notes.read(&read)).await.ok().flatten();
        self.classes.restore(&class, note);
    }

    /// Has what was learnt of classes written down in a while.
    fn note_soon(self: &Arc<Self>) {
        if self.notes.get().is_none() || self.is_noting.swap(true, Ordering::SeqCst) {
            return;
        }
        let reader = self.clone();
        self.spawn(async move {
            tokio::time::sleep(NOTING_DELAY).await;
            reader.is_noting.store(false, Ordering::SeqCst);
            // It ends before the mount does, or is done again there.
            let _ = tokio::task::spawn_blocking(move || reader.note_down()).await;
        });
    }

    /// Writes down what was learnt of classes. May wait for the disk.
    pub fn note_down(&self) {
        let Some(notes) = self.notes.get() else { return };
        self.classes.take_unwritten().into_iter().for_each(|(class, note)| notes.write(&class, note));
    }

    /// A program opens the file: fetches what it will read first, and what was read of others of its class. Waits for
    /// nothing.
    pub fn opening(self: &Arc<Self>, file: &Arc<FileState>) {
        if let Some(before) = self.classes.opened(file) {
            let core = before.core.lock();
            // Programs open the next file before they let go of the last. Or they did not read that at all.
            if before.is_open() || core.planner.is_replaying() {
                self.classes.learn(&before.object().key, &core.planner, before.is_open());
            }
        }
        self.expect(file, self.config.max_ahead);
    }

    /// A program will open the file, after `place - 1` others: fetches the same, the less the later it comes.
    pub fn foresee(self: &Arc<Self>, file: &Arc<FileState>, place: u64) {
        let most = self.config.budget.total() / FORESEEN_SHARE / place.max(1);
        if file.foreseen() || file.core.lock().planner.is_cut_short() {
            self.expect(file, most.min(self.config.max_ahead));
        }
    }

    /// Runs something of this mount.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.config.runtime.spawn(task);
    }

    fn expect(self: &Arc<Self>, file: &Arc<FileState>, max_replay: u64) {
        let Recalled { sibling, script } = self.classes.recall(&file.object().key, file.object().size);
        let mut core = file.core.lock();
        let replayed = core.planner.recall(sibling, script, max_replay, &self.config.metrics.pace.pace());
        let mut planned = core.planner.on_expected();
        planned.extend(replayed);
        self.fetch_ahead(file, &mut core, planned, None);
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
        self.keep_held(file);
        self.served_after_all(file, direct).await;
    }

    /// The same for a file that is open already, since the kernel did not take it.
    pub async fn served_after_all(self: &Arc<Self>, file: &Arc<FileState>, direct: bool) {
        self.opening(file);
        self.push_replayed(file);
        self.walk(file, None);
        // What is on disk decides what is fetched ahead, from the first read on.
        self.cached(file).await;
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
                // Some look at the first bytes, which came with the open, and open the file once more to read it.
                if file.is_asked() {
                    self.classes.learn(&file.object().key, &core.planner, false);
                }
                file.weigh(core.planner.layout());
            }
            self.files.entry(file.ino()).and_compute_with(|entry| match entry.map(Entry::into_value) {
                Some(known) if std::ptr::eq(Arc::as_ptr(&known), file) => Op::Put(known),
                _ => Op::Nop,
            });
            self.check_for_kernel(file);
            file.close();
            self.journal.closed(file.ino());
            self.idle.trim_closed();
            self.note_soon();
        }
    }

    /// No program has any file open.
    pub fn rest(&self) {
        if let Some(disk) = self.config.disk.clone() {
            self.config.runtime.spawn(async move { disk.rest().await });
        }
    }

    /// The bytes `range` (not empty, within the file) of a file.
    pub async fn read(self: &Arc<Self>, file: &Arc<FileState>, range: Range<u64>) -> Result<Bytes> {
        let (mut joins, mut cause) = (0, Cause::Unforeseen);
        let from = self.began.elapsed();
        file.note_asked();
        self.look_on_disk(file, &range).await;
        loop {
            let (segments, seen) = self.cover(file, &range, joins == 0);
            cause = if joins == 0 { seen } else { cause };
            match await_bytes(segments, &range).await {
                Ok((bytes, fetched)) => {
                    let metrics = &self.config.metrics;
                    if fetched {
                        metrics.cache_misses.inc();
                        self.waited(file, &range, from, cause);
                    } else {
                        metrics.cache_hits.inc()
                    }
                    return Ok(bytes);
                }
                // A fetch for a program's own read has had all the retries that it deserves.
                Err((error, origin)) if joins < MAX_JOINS && error.kind.is_transient() && origin != Origin::Demand => {
                    joins += 1
                }
                Err((error, _)) => return Err(error),
            }
        }
    }

    /// A READ had to wait for the store.
    fn waited(self: &Arc<Self>, file: &Arc<FileState>, range: &Range<u64>, from: Duration, cause: Cause) {
        let to = self.began.elapsed();
        self.config.metrics.waits.note(&file.object().key, cause, to.saturating_sub(from));
        let mut core = file.core.lock();
        let wait = Wait { from, to, cause, is_buying: core.bought.is_busy() };
        let bought = core.planner.on_waited(range, &wait, &self.config.metrics.pace.pace());
        self.fetch_ahead(file, &mut core, bought, None);
    }

    /// The map of a FITS or ASDF file, walking its header chain to the end.
    pub async fn layout(self: &Arc<Self>, file: &Arc<FileState>) -> Result<fits::Layout> {
        let size = file.object().size;
        let mut chain = fits::Chain::new(size);
        while let fits::Need::Bytes { offset, len } = chain.need() {
            let range = offset..(offset + len).min(size);
            let bytes = self.read(file, range).await?;
            chain.feed(offset, &bytes);
        }
        Ok(chain.into_layout())
    }

    /// Segments that hold or await all of `range`; fetches what is missing, and what the planner says on top. Tells whether
    /// the planner had expected it.
    fn cover(self: &Arc<Self>, file: &Arc<FileState>, range: &Range<u64>, first: bool) -> (Vec<Arc<Segment>>, Cause) {
        let mut core = file.core.lock();
        let held = core.segments.gaps(range).is_empty();
        let mut demand = blocks_around(range, file.object().size);
        let (mut ahead, mut cause) = (Vec::new(), Cause::Unforeseen);
        if first {
            let mut pace = self.config.metrics.pace.pace();
            if self.is_from_disk(file) {
                pace.latency = DISK_LATENCY;
            }
            let decision = core.planner.on_read(range.clone(), held, &pace);
            tracing::trace!(key = file.object().key, ?range, ?decision, "read");
            demand = decision.demand;
            (ahead, cause) = (decision.ahead, decision.cause);
            self.abandon(&mut core, &decision.abandoned);
            forget_passed(&mut core, range.start);
        }
        if !held {
            demand = self.demanded(file, &core.segments, range, demand);
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

    /// Runs a fetch, here as far as it need not wait. The rest of it is a task.
    fn begin(&self, fetch: impl Future<Output = ()> + Send + 'static) {
        let mut fetch = Box::pin(fetch);
        if fetch.as_mut().now_or_never().is_none() {
            self.config.runtime.spawn(fetch);
        }
    }

    /// Starts what the planner wants ahead of `reader`, if that is where one stands, as far as memory allows.
    fn fetch_ahead(
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
    fn fetch_bought(self: &Arc<Self>, file: &Arc<FileState>, core: &mut Core) {
        let pace = self.config.metrics.pace.pace();
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
    fn ended(self: &Arc<Self>, file: &Arc<FileState>, segment: &Segment) {
        if segment.origin() == Origin::Region {
            let mut core = file.core.lock();
            core.bought.end(segment.len());
            self.fetch_bought(file, &mut core);
        }
    }

    fn abandon(&self, core: &mut Core, ranges: &[Range<u64>]) {
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
    fn place(
        self: &Arc<Self>,
        file: &Arc<FileState>,
        core: &mut Core,
        segment: Segment,
    ) -> impl Future<Output = ()> + Send + use<> {
        let segment = Arc::new(segment);
        core.segments.insert(segment.clone());
        let slots = self.slots_for(&segment);
        self.clone().fetch(file.clone(), segment, slots)
    }

    /// What a program waits for needs no slots, and what is small none for the disk.
    fn slots_for(&self, segment: &Segment) -> Slots {
        let is_ahead = segment.origin() != Origin::Demand;
        let has_disk = self.config.disk.is_some() && segment.len() > SMALL;
        Slots {
            disk: (is_ahead && has_disk).then(|| queue(&self.disk_slots)),
            network: is_ahead.then(|| self.network_slot(segment)),
        }
    }

    pub(super) fn network_slot(&self, segment: &Segment) -> Slot {
        queue(if segment.len() <= SMALL { &self.small_slots } else { &self.slots })
    }

    /// The life of a segment: memory, a slot, the transfer, and what follows from its end.
    async fn fetch(self: Arc<Self>, file: Arc<FileState>, segment: Arc<Segment>, slots: Slots) {
        let unfinished = Unfinished { file: &file, segment: &segment };
        let mut noted = self.journal.fetching(file.ino(), segment.range(), segment.origin());
        let outcome = tokio::select! {
            outcome = self.transfer(&file, &segment, slots, &mut noted) => outcome,
            () = segment.cancelled() => {
                noted.cancelled();
                Err(StoreError::new(ErrorKind::Network, "the fetch was given up"))
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

    /// Goes on along the headers that are held, `segment` among them: reads may have had it taken from its place.
    pub(super) fn walk(self: &Arc<Self>, file: &Arc<FileState>, segment: Option<&Segment>) {
        let mut core = file.core.lock();
        let Core { planner, segments, .. } = &mut *core;
        let of_segment = |range: &Range<u64>| segment.and_then(|segment| segment.slice(range.clone()));
        let held = |range: &Range<u64>| of_segment(range).or_else(|| segments.collect(range));
        let planned = planner.on_arrival(held, &self.config.metrics.pace.pace());
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

    /// Gives the kernel what was replayed, but for a page now and then: by asking for it readers show that it was right. What
    /// is short they ask for altogether.
    fn push_between(&self, file: &Arc<FileState>, segment: &Arc<Segment>) {
        if segment.len() <= PIECE_BETWEEN || !file.wants_pushes() || segment.is_pushed() {
            return;
        }
        let Range { start, end } = segment.range();
        let pieces = (start..end).step_by(PIECE_BETWEEN as usize);
        let pieces = pieces.map(|at| at + PAGE..end.min(at + PIECE_BETWEEN)).filter(|piece| !piece.is_empty());
        pieces.for_each(|piece| self.pusher.push(file, segment, piece));
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
        self.file.give_up(self.segment, StoreError::new(ErrorKind::Network, "the fetch ended by a fault of fitsfs"));
    }
}

/// A reader has come to `position`: what the kernel was given and the reader has left behind is dropped. A reader that
/// comes by asks for some of each segment; one that nobody has asked for is led to another reader, further back.
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
async fn await_bytes(
    segments: Vec<Arc<Segment>>,
    range: &Range<u64>,
) -> std::result::Result<(Bytes, bool), (StoreError, Origin)> {
    let part = async |segment: Arc<Segment>| {
        let within = range.start.max(segment.range().start)..range.end.min(segment.range().end);
        let waits = segment.arrived().end < within.end;
        segment.wait_for(within.end).await.map_err(|error| (error, segment.origin()))?;
        let given_up = || (StoreError::new(ErrorKind::Network, "the fetch was given up"), segment.origin());
        Ok((segment.slice(within).ok_or_else(given_up)?, waits && segment.is_from_store()))
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
