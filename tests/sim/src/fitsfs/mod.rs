//! fitsfs: the planner that is shipped, in a reader that does in virtual time what `src/read/reader.rs` does.
//!
//! What is left out: the cache on disk, errors and retries, and the wait of demand for memory. A change of the reader that
//! matters for speed has to be made here as well.

mod log;
mod segments;
mod sweep;

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fitsfs::cache::{Origin, RESERVE_DIVISOR};
use fitsfs::metrics::{Cause, Measured, Pace};
use fitsfs::mount::MAX_AHEAD;
use fitsfs::read::{
    Backlog, Given, HEAD, HEAD_PATIENCE, LEFT_BEHIND, MAX_KEPT, MAX_LEFT_BEHIND, MAX_LOOKS, MAX_PART, MIN_PART, PUSH,
    Planned, Planner, SENTINEL, SMALL, SMALL_SLOTS, Sibling, Wait, parts, prefetch_slots,
};

use crate::file::File;
use crate::network::{GetId, Profile};
use crate::pages::PAGE;
use crate::programs::Program;
use crate::run::{Event, Mount, Outcome, ReadId, World, run};
use segments::{Map, Segment, SegmentId, Slots, Stage};

use sweep::Sweep;

pub use log::Log;

/// The default budget of a mount, in bytes.
const BUDGET: u64 = 512 << 20;

/// The largest region that is bought, in bytes: half of a cache on disk that has room for everything here.
const MAX_REGION: u64 = 1 << 40;

/// The page cache takes so many bytes per second of one pusher, which runs a moment after it is called.
const STORE: f64 = 3e9;
const WAKE: f64 = 20e-6;

/// What comes with the head of an answer, in no time that is measured, in bytes.
const WITH_HEAD: f64 = 16e3;

/// When the kernel is given what arrives ahead of the reader.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pushed {
    Never,
    AsItArrives,
    WhenComplete,
}

/// The one place that says which fetches go to the kernel.
fn pushed(origin: Origin) -> Pushed {
    match origin {
        Origin::Demand | Origin::Chain | Origin::Predicted | Origin::Probe | Origin::Replayed => Pushed::Never,
        Origin::Sequential => Pushed::AsItArrives,
        _ => Pushed::WhenComplete,
    }
}

/// What a fitsfs is told.
#[derive(Clone, Copy, Debug)]
pub enum Token {
    /// The first byte of a segment has come.
    Begun(SegmentId),
    /// Its last one.
    Arrived(SegmentId),
    /// So much of it that the kernel may be given some.
    Piece(SegmentId),
    /// So much of it that a READ needs no more.
    Readable(SegmentId, ReadId),
    /// The kernel is given a part of it that ends here.
    Stored(SegmentId, u64, u64),
    /// An open has waited long enough.
    OpenPatience(usize),
}

/// One file.
struct State {
    planner: Planner,
    segments: Map,
    bought: Backlog,
    opens: usize,
    /// Until when the pusher is busy with it.
    pusher: f64,
    is_begun: bool,
    /// Threads whose open waits for the head, and which of its segments that is.
    opening: Vec<(usize, SegmentId)>,
}

/// A fitsfs.
pub struct Fitsfs {
    files: Vec<State>,
    segments: Vec<Segment>,
    taken: (usize, usize),
    queues: (VecDeque<SegmentId>, VecDeque<SegmentId>),
    used: u64,
    /// Completed segments, the oldest first.
    idle: VecDeque<SegmentId>,
    /// READs that wait: for how many segments, since when, and how they are seen.
    waiting: HashMap<ReadId, (usize, f64, Cause)>,
    measured: Measured,
    epoch: Instant,
    /// What the network had delivered when it was measured last.
    counted: f64,
    sent: HashMap<GetId, f64>,
    classes: HashMap<usize, Sibling>,
    sweep: Sweep,
    log: Option<Log>,
}

/// Plays a program on fitsfs, for so many seconds at most.
pub fn fitsfs(files: &[File], program: &Program, profile: Profile, limit: f64) -> Outcome {
    run(Fitsfs::new(files), files, program, profile, limit).0
}

/// The same, with all that was decided.
pub fn logged(files: &[File], program: &Program, profile: Profile, limit: f64) -> (Outcome, Log) {
    let mount = Fitsfs { log: Some(Log::default()), ..Fitsfs::new(files) };
    let (outcome, mount) = run(mount, files, program, profile, limit);
    (outcome, mount.log.unwrap_or_default())
}

impl Fitsfs {
    fn new(files: &[File]) -> Self {
        let of = |file: &File| State {
            planner: Planner::new(file.size, file.is_fits, None, MAX_AHEAD, MAX_REGION),
            bought: Backlog::default(),
            segments: Map::default(),
            opens: 0,
            pusher: 0.0,
            is_begun: false,
            opening: Vec::new(),
        };
        Self {
            files: files.iter().map(of).collect(),
            segments: Vec::new(),
            taken: (0, 0),
            queues: Default::default(),
            used: 0,
            idle: VecDeque::new(),
            waiting: HashMap::new(),
            measured: Measured::default(),
            epoch: Instant::now(),
            counted: 0.0,
            sent: HashMap::new(),
            classes: HashMap::new(),
            sweep: Sweep::default(),
            log: None,
        }
    }

    fn pace(&self) -> Pace {
        self.measured.pace()
    }

    fn time(&self, seconds: f64) -> Instant {
        self.epoch + Duration::from_secs_f64(seconds)
    }

    /// A file is read for the first time: what is known of its class by then counts. False if it was begun before.
    fn begin(&mut self, world: &World<Token>, file: usize) -> bool {
        if std::mem::replace(&mut self.files[file].is_begun, true) {
            return false;
        }
        let File { size, is_fits, class, .. } = world.files[file];
        let sibling = self.classes.get(&class).cloned();
        self.files[file].planner = Planner::new(size, is_fits, sibling, MAX_AHEAD, MAX_REGION);
        true
    }

    /// A file is about to be opened.
    fn expect(&mut self, world: &mut World<Token>, file: usize) {
        self.begin(world, file);
        let planned = self.files[file].planner.on_expected();
        self.note(world, file, "expected", &planned);
        self.fetch_ahead(world, file, planned, None);
    }

    /// Puts a segment in its place; its fetch begins as soon as it has a slot, if it needs one.
    fn place(&mut self, world: &mut World<Token>, file: usize, range: Range<u64>, origin: Origin) -> SegmentId {
        let ahead = origin != Origin::Demand;
        let kind = if range.end - range.start <= SMALL { Slots::Small } else { Slots::Large };
        let id = self.insert(file, range, origin, ahead.then_some(kind));
        if !ahead {
            self.send(world, id);
            return id;
        }
        self.slots(kind).1.push_back(id);
        self.begin_next(world, kind);
        id
    }

    fn insert(&mut self, file: usize, range: Range<u64>, origin: Origin, slot: Option<Slots>) -> SegmentId {
        let id = self.segments.len();
        self.used += range.end - range.start;
        self.files[file].segments.insert(&range, id);
        self.segments.push(Segment::new(file, range, origin, slot));
        id
    }

    fn slots(&mut self, kind: Slots) -> (&mut usize, &mut VecDeque<SegmentId>) {
        match kind {
            Slots::Large => (&mut self.taken.0, &mut self.queues.0),
            Slots::Small => (&mut self.taken.1, &mut self.queues.1),
        }
    }

    fn has_slot(&self, kind: Slots) -> bool {
        match kind {
            Slots::Large => self.taken.0 < prefetch_slots(&self.pace()),
            Slots::Small => self.taken.1 < SMALL_SLOTS,
        }
    }

    /// Gives free slots to those that have waited longest.
    fn begin_next(&mut self, world: &mut World<Token>, kind: Slots) {
        while self.has_slot(kind) {
            let Some(id) = self.slots(kind).1.pop_front() else { return };
            if self.segments[id].stage == Stage::Queued {
                *self.slots(kind).0 += 1;
                self.send(world, id);
            }
        }
    }

    /// Returns the slot of a segment that has one.
    fn release(&mut self, world: &mut World<Token>, id: SegmentId, was: Stage) {
        if let (Some(kind), Stage::Sent(_)) = (self.segments[id].slot.take(), was) {
            *self.slots(kind).0 -= 1;
            self.begin_next(world, kind);
        }
    }

    fn send(&mut self, world: &mut World<Token>, id: SegmentId) {
        let (begun, arrived) = (Event::Mount(Token::Begun(id)), Event::Mount(Token::Arrived(id)));
        let length = self.segments[id].len();
        let get = world.network.get(length, Some(begun), Some(arrived));
        self.sent.insert(get, world.now());
        self.segments[id].stage = Stage::Sent(get);
        if pushed(self.segments[id].origin) == Pushed::AsItArrives {
            for piece in (PUSH..length).step_by(PUSH as usize) {
                world.network.when(get, piece, Event::Mount(Token::Piece(id)));
            }
        }
    }

    /// Has READ `read` wait for what a segment lacks of it. False if it lacks nothing.
    fn await_bytes(&mut self, world: &mut World<Token>, id: SegmentId, read: ReadId) -> bool {
        let end = world.read(read).range.end.min(self.segments[id].range.end);
        let needed = self.segments[id].needed(end);
        if self.segments[id].filled(&world.network) >= needed {
            return false;
        }
        self.segments[id].waiters += 1;
        if self.segments[id].stage == Stage::Queued {
            // A program waits for it: it needs no slot any more.
            self.segments[id].slot = None;
            self.send(world, id);
        }
        if let Stage::Sent(get) = self.segments[id].stage {
            world.network.when(get, needed, Event::Mount(Token::Readable(id, read)));
        }
        true
    }

    /// Starts what the planner wants fetched ahead, as far as memory allows. `reader` is where the reader is, if a READ asks
    /// for this.
    fn fetch_ahead(&mut self, world: &mut World<Token>, file: usize, planned: Vec<Planned>, reader: Option<u64>) {
        let mut denied = false;
        for Planned { range, origin } in planned {
            let reader = reader.filter(|_| origin == Origin::Sequential).unwrap_or(range.start);
            let gaps = self.files[file].segments.gaps(&range);
            let parts: Vec<_> = gaps.into_iter().flat_map(|gap| parts(gap, reader, (MIN_PART, MAX_PART))).collect();
            if origin == Origin::Region {
                self.files[file].bought.add(parts.into_iter());
                continue;
            }
            for part in parts {
                denied = denied || !self.make_room(part.end - part.start);
                if denied {
                    self.files[file].planner.on_denied(&part);
                } else {
                    self.place(world, file, part, origin);
                }
            }
        }
        self.fetch_bought(world, file);
    }

    /// Fetches the next parts of the regions that were bought.
    fn fetch_bought(&mut self, world: &mut World<Token>, file: usize) {
        let pace = self.pace();
        while let Some(part) = self.files[file].bought.next(&pace) {
            for gap in self.files[file].segments.gaps(&part) {
                if self.make_room(gap.end - gap.start) {
                    self.files[file].bought.begin(gap.end - gap.start);
                    self.place(world, file, gap, Origin::Region);
                } else {
                    self.files[file].planner.on_denied(&gap);
                }
            }
        }
    }

    /// A part of a region has arrived, or will not.
    fn ended(&mut self, world: &mut World<Token>, id: SegmentId) {
        let segment = &self.segments[id];
        if segment.origin == Origin::Region {
            let (file, length) = (segment.file, segment.len());
            self.files[file].bought.end(length);
            self.fetch_bought(world, file);
        }
    }

    /// Drops old segments until `bytes` more may be fetched ahead. False if not enough is found.
    fn make_room(&mut self, bytes: u64) -> bool {
        for look in 0..MAX_LOOKS {
            if self.used + bytes <= BUDGET - BUDGET / RESERVE_DIVISOR {
                return true;
            }
            let Some(id) = self.idle.pop_front() else { return false };
            let segment = &self.segments[id];
            if segment.stage == Stage::Gone {
                continue;
            }
            let header = look >= MAX_LOOKS / 2 && !segment.origin.is_data_ahead();
            let is_known = segment.is_pushed || segment.is_delivered();
            if header || is_known || segment.origin == Origin::Demand {
                self.drop_segment(id);
            } else {
                self.idle.push_back(id);
            }
        }
        false
    }

    /// Takes a complete segment out of memory.
    fn drop_segment(&mut self, id: SegmentId) {
        let segment = &mut self.segments[id];
        if segment.stage != Stage::Gone {
            segment.stage = Stage::Gone;
            self.used -= segment.len();
            let (file, range) = (segment.file, segment.range.clone());
            self.files[file].segments.remove(&range, id);
        }
    }

    /// Cancels a fetch unless a READ waits for it, or all has arrived. True if it was cancelled.
    fn cancel(&mut self, world: &mut World<Token>, id: SegmentId) -> bool {
        let was = self.segments[id].stage;
        if self.segments[id].waiters > 0 || matches!(was, Stage::Complete | Stage::Gone) {
            return false;
        }
        if let Stage::Sent(get) = was {
            let has_begun = !self.sent.contains_key(&get);
            world.network.cancel(get);
            if has_begun {
                self.measure(world);
                self.measured.ended(self.time(world.now()));
            }
        }
        self.drop_segment(id);
        self.release(world, id, was);
        self.ended(world, id);
        true
    }

    /// What no reader will want is cancelled.
    fn abandon(&mut self, world: &mut World<Token>, file: usize, ranges: &[Range<u64>]) -> Vec<Range<u64>> {
        let mut cancelled = Vec::new();
        for id in ranges.iter().flat_map(|range| self.files[file].segments.overlapping(range)).collect::<Vec<_>>() {
            if self.segments[id].origin.is_data_ahead() && self.cancel(world, id) {
                cancelled.push(self.segments[id].range.clone());
            }
        }
        cancelled
    }

    fn keeps(&self, id: SegmentId) -> bool {
        let segment = &self.segments[id];
        segment.len() <= MAX_KEPT && self.files[segment.file].planner.has_headers(&segment.range)
    }

    /// A reader has come to `position`: what the kernel was given and the reader has left behind is dropped.
    fn forget_passed(&mut self, file: usize, position: u64) {
        let passed = position.saturating_sub(2 * MAX_LEFT_BEHIND)..position.saturating_sub(LEFT_BEHIND);
        for id in self.files[file].segments.overlapping(&passed) {
            let segment = &self.segments[id];
            let is_over = segment.is_pushed && !segment.delivered.is_empty() && segment.range.end <= passed.end;
            if is_over && !self.keeps(id) {
                self.drop_segment(id);
            }
        }
    }

    /// Goes on along the headers that are held.
    fn walk(&mut self, world: &mut World<Token>, file: usize) {
        let pace = self.pace();
        let State { planner, segments, .. } = &mut self.files[file];
        let all = &self.segments;
        let held = |range: &Range<u64>| -> Option<Bytes> {
            let mut at = range.start;
            for segment in segments.overlapping(range).into_iter().map(|id| &all[id]) {
                if segment.range.start > at {
                    return None;
                }
                at = segment.range.start + segment.filled(&world.network);
                if at < segment.range.end.min(range.end) {
                    return None;
                }
            }
            (at >= range.end).then(|| world.files[file].bytes(range))
        };
        let planned = planner.on_arrival(held, &pace);
        self.note(world, file, "walk", &planned);
        self.fetch_ahead(world, file, planned, None);
    }

    /// What has arrived since the last time is measured.
    fn measure(&mut self, world: &World<Token>) {
        let delivered = world.network.delivered();
        if delivered > self.counted {
            self.measured.received((delivered - self.counted) as u64);
            self.counted = delivered;
        }
    }

    /// Notes what was planned, if that is noted.
    fn note(&mut self, world: &World<Token>, file: usize, why: &str, planned: &[Planned]) {
        if let Some(log) = self.log.as_mut().filter(|_| !planned.is_empty()) {
            log.planned(world.now(), &world.files[file], why, planned, &self.measured.pace());
        }
    }

    /// Queues a part of a segment for the kernel.
    fn push(&mut self, world: &mut World<Token>, id: SegmentId, range: Range<u64>) {
        let state = &mut self.files[self.segments[id].file];
        state.pusher = state.pusher.max(world.now() + WAKE) + (range.end - range.start) as f64 / STORE;
        let after = state.pusher - world.now();
        world.network.after(after, Event::Mount(Token::Stored(id, range.start, range.end)));
    }

    /// Gives the kernel a part of a segment, but for what READs have had of its start.
    fn store(&mut self, world: &mut World<Token>, id: SegmentId, part: Range<u64>) {
        let segment = &mut self.segments[id];
        if segment.stage == Stage::Gone {
            return;
        }
        let size = world.files[segment.file].size;
        let mut start = part.start;
        for delivered in segment.delivered.iter().filter(|delivered| delivered.end > part.start) {
            if delivered.start <= start {
                start = start.max(delivered.end);
            }
        }
        let start = start.div_ceil(PAGE) * PAGE;
        let end = if part.end >= size { size } else { part.end / PAGE * PAGE };
        if start < end {
            world.push(segment.file, &(start..end));
        }
        segment.is_pushed |= part.end == segment.range.end;
        let (file, is_region) = (segment.file, segment.origin == Origin::Region);
        let is_over = segment.is_pushed && is_region;
        self.end_opens(world, file, |segment| segment == id);
        if is_over {
            self.drop_segment(id);
        }
    }

    /// Ends the waits of opens.
    fn end_opens(&mut self, world: &mut World<Token>, file: usize, of: impl Fn(SegmentId) -> bool) {
        let opening = &mut self.files[file].opening;
        opening.retain(|(thread, segment)| {
            if of(*segment) {
                world.opened(*thread);
            }
            !of(*segment)
        });
    }
}

impl Mount for Fitsfs {
    type Token = Token;

    fn has_readahead(&self) -> bool {
        false
    }

    fn look_up(&mut self, world: &mut World<Token>, file: usize) {
        if !self.begin(world, file) {
            return;
        }
        let File { size, is_fits, .. } = world.files[file];
        if is_fits {
            let range = 0..HEAD.min(size);
            let id = self.insert(file, range, Origin::Chain, None);
            self.send(world, id);
        }
    }

    fn open(&mut self, world: &mut World<Token>, file: usize, thread: usize) -> bool {
        self.files[file].opens += 1;
        for next in self.sweep.opened(file, self.files.len()) {
            self.expect(world, next);
        }
        self.expect(world, file);
        self.walk(world, file);
        let Some(head) = self.files[file].segments.overlapping(&(0..1)).first().copied() else { return true };
        let segment = &self.segments[head];
        if segment.origin == Origin::Demand || segment.is_pushed {
            return true;
        }
        self.files[file].opening.push((thread, head));
        world.network.after(HEAD_PATIENCE.as_secs_f64(), Event::Mount(Token::OpenPatience(thread)));
        if segment.is_complete() {
            self.push(world, head, self.segments[head].range.clone());
        }
        false
    }

    fn read(&mut self, world: &mut World<Token>, read: ReadId) {
        let (file, range) = (world.read(read).file, world.read(read).range.clone());
        let pace = self.pace();
        let state = &mut self.files[file];
        let held = state.segments.gaps(&range).is_empty();
        let before = state.segments.overlapping(&(range.start.saturating_sub(1)..range.start));
        let part = before.first().map(|id| &self.segments[*id]).filter(|part| part.origin == Origin::Sequential);
        let pushed = part.filter(|part| part.range.start + part.filled(&world.network) >= range.start);
        let unseen = pushed.map_or(0, |part| range.start.saturating_sub(part.range.start + SENTINEL));
        let decision = state.planner.on_read(range.clone(), Given { held, unseen }, &pace);
        if let Some(log) = &mut self.log {
            log.read(world.now(), &world.files[file], read, &range, held, &decision);
        }
        let cancelled = self.abandon(world, file, &decision.abandoned);
        self.forget_passed(file, range.start);
        let demand = if held { &range } else { &decision.demand };
        for gap in self.files[file].segments.gaps(demand) {
            if gap.start < range.end && gap.end > range.start {
                self.place(world, file, gap, Origin::Demand);
            }
        }
        let needed = self.files[file].segments.overlapping(&range);
        let missing = needed.into_iter().filter(|id| self.await_bytes(world, *id, read)).count();
        self.fetch_ahead(world, file, decision.ahead, Some(range.end));
        cancelled.iter().for_each(|range| self.files[file].planner.on_denied(range));
        match missing {
            0 => world.answer(read),
            _ => drop(self.waiting.insert(read, (missing, world.now(), decision.cause))),
        }
    }

    fn answered(&mut self, world: &mut World<Token>, read: ReadId) {
        let (file, range) = (world.read(read).file, world.read(read).range.clone());
        for id in self.files[file].segments.overlapping(&range) {
            let keep = self.keeps(id);
            let segment = &mut self.segments[id];
            if segment.deliver(&range) && segment.is_complete() && !keep {
                self.drop_segment(id);
            }
        }
    }

    fn close(&mut self, world: &mut World<Token>, file: usize) {
        let state = &mut self.files[file];
        let was_open = state.opens > 0;
        state.opens = state.opens.saturating_sub(1);
        if !was_open || state.opens > 0 {
            return;
        }
        let (layout, reach) = (state.planner.layout().clone(), state.planner.touched());
        if !layout.hdus.is_empty() {
            self.classes.insert(world.files[file].class, Sibling { layout: layout.into(), reach });
        }
        state.planner.on_closed();
        for part in state.bought.clear() {
            state.planner.on_denied(&part);
        }
        for id in state.segments.all() {
            if self.segments[id].origin.is_data_ahead() {
                match self.segments[id].is_complete() {
                    true => self.drop_segment(id),
                    false if self.cancel(world, id) => {
                        self.files[file].planner.on_denied(&self.segments[id].range.clone());
                    }
                    false => {}
                }
            }
        }
    }

    fn on(&mut self, world: &mut World<Token>, token: Token) {
        match token {
            Token::Begun(id) => self.begun(world, id),
            Token::Arrived(id) => self.arrived(world, id),
            Token::Piece(id) => {
                let segment = &mut self.segments[id];
                let end = segment.range.start + segment.filled(&world.network);
                let part = segment.pushed.max(segment.range.start + SENTINEL)..end;
                if end >= segment.pushed + PUSH {
                    segment.pushed = end;
                    self.push(world, id, part);
                }
            }
            Token::Readable(id, read) => {
                self.segments[id].waiters -= 1;
                self.readable(world, read);
            }
            Token::Stored(id, start, end) => self.store(world, id, start..end),
            Token::OpenPatience(thread) => {
                for file in 0..self.files.len() {
                    let waits = self.files[file].opening.iter().position(|(waiting, _)| *waiting == thread);
                    if let Some(index) = waits {
                        self.files[file].opening.remove(index);
                        world.opened(thread);
                    }
                }
            }
        }
    }
}

impl Fitsfs {
    fn begun(&mut self, world: &mut World<Token>, id: SegmentId) {
        let Stage::Sent(get) = self.segments[id].stage else { return };
        let after = world.now() - self.sent.remove(&get).unwrap_or(world.now());
        self.measure(world);
        self.measured.answered(Duration::from_secs_f64(after), self.time(world.now()));
        self.counted += WITH_HEAD.min(self.segments[id].len() as f64);
    }

    /// A segment is complete: the header walk goes on, and what no READ waits for goes to the kernel.
    fn arrived(&mut self, world: &mut World<Token>, id: SegmentId) {
        self.measure(world);
        self.measured.ended(self.time(world.now()));
        let was = std::mem::replace(&mut self.segments[id].stage, Stage::Complete);
        self.release(world, id, was);
        let (file, range, origin) = (self.segments[id].file, self.segments[id].range.clone(), self.segments[id].origin);
        if pushed(origin) == Pushed::AsItArrives {
            let start = self.segments[id].pushed.max(range.start + SENTINEL);
            self.push(world, id, start.min(range.end)..range.end);
        }
        if self.files[file].opens > 0 {
            self.walk(world, file);
        }
        self.idle.push_back(id);
        let is_awaited = self.files[file].opening.iter().any(|(_, head)| *head == id);
        if pushed(origin) == Pushed::WhenComplete || is_awaited {
            self.push(world, id, range);
        }
        self.ended(world, id);
    }

    /// A READ that had to wait has come closer to its bytes.
    fn readable(&mut self, world: &mut World<Token>, read: ReadId) {
        let Some((missing, since, cause)) = self.waiting.get_mut(&read) else { return };
        *missing -= 1;
        if *missing > 0 {
            return;
        }
        let (since, cause) = (*since, *cause);
        self.waiting.remove(&read);
        if let Some(log) = &mut self.log {
            log.waited(read, world.now() - since);
        }
        let (file, range) = (world.read(read).file, world.read(read).range.clone());
        let (from, to) = (Duration::from_secs_f64(since), Duration::from_secs_f64(world.now()));
        let pace = self.pace();
        let is_buying = self.files[file].bought.is_busy();
        let wait = Wait { from, to, cause, is_buying };
        let bought = self.files[file].planner.on_waited(&range, &wait, &pace);
        self.note(world, file, "wait", &bought);
        self.fetch_ahead(world, file, bought, None);
        world.answer(read);
    }
}
