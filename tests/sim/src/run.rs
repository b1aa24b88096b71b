//! Plays a program on a mount: threads that read, the page cache, and READs of the kernel, in virtual time.
//!
//! A thread goes through its operations. What the page cache has costs nothing; the first page that it lacks is a READ,
//! for which the thread waits. What a READ was answered with is in the page cache from then on.

use std::collections::VecDeque;
use std::ops::Range;

use crate::file::File;
use crate::kernel::{Readahead, TRANSFER};
use crate::network::{Network, Profile};
use crate::pages::{PAGE, Pages};
use crate::programs::{Op, Program};

/// What a READ costs beside its bytes, in seconds: to the daemon and back, on a machine of two cores.
pub const READ: f64 = 30e-6;

/// Names a READ.
pub type ReadId = usize;

/// What may read the files of a case.
pub trait Mount {
    /// What it is told by the network.
    type Token: Copy;

    /// Whether the kernel may read ahead by itself.
    fn has_readahead(&self) -> bool;

    /// A file is looked up: what comes along is sent.
    fn look_up(&mut self, _world: &mut World<Self::Token>, _file: usize) {}

    /// A thread opens a file. False if it has to wait: [`World::opened`] ends that.
    fn open(&mut self, _world: &mut World<Self::Token>, _file: usize, _thread: usize) -> bool {
        true
    }

    /// A READ of the kernel, to be answered some time.
    fn read(&mut self, world: &mut World<Self::Token>, read: ReadId);

    /// A READ was answered, and its bytes are in the page cache.
    fn answered(&mut self, _world: &mut World<Self::Token>, _read: ReadId) {}

    /// A thread closes a file.
    fn close(&mut self, _world: &mut World<Self::Token>, _file: usize) {}

    /// What was asked for has happened.
    fn on(&mut self, world: &mut World<Self::Token>, token: Self::Token);
}

/// A READ of the kernel.
#[derive(Clone, Debug)]
pub struct Read {
    /// The file.
    pub file: usize,
    /// Whole pages, but for the end of the file.
    pub range: Range<u64>,
    /// The thread that caused it.
    pub thread: usize,
    /// When it was sent, in seconds since the start.
    pub sent: f64,
    waiting: Vec<usize>,
}

/// What happens.
#[derive(Clone, Copy, Debug)]
pub enum Event<T> {
    /// A thread goes on.
    Thread(usize),
    /// The answer of a READ is with the kernel.
    Answered(ReadId),
    /// Something of the mount.
    Mount(T),
}

/// The machine and the network.
#[derive(Debug)]
pub struct World<'a, T> {
    /// The network, and the clock.
    pub network: Network<Event<T>>,
    /// The files.
    pub files: &'a [File],
    /// What the page cache has of each.
    pub pages: Vec<Pages>,
    reads: Vec<Read>,
    /// READs without an answer, for each file.
    unanswered: Vec<Vec<ReadId>>,
}

impl<T: Copy> World<'_, T> {
    /// Seconds since the start.
    pub fn now(&self) -> f64 {
        self.network.now()
    }

    /// A READ.
    pub fn read(&self, read: ReadId) -> &Read {
        &self.reads[read]
    }

    /// The bytes of a READ are there: the kernel has them in a moment.
    pub fn answer(&mut self, read: ReadId) {
        self.network.after(READ, Event::Answered(read));
    }

    /// A thread has waited for its open long enough.
    pub fn opened(&mut self, thread: usize) {
        self.network.after(0.0, Event::Thread(thread));
    }

    /// Puts pages into the page cache, but for those under a READ without an answer.
    pub fn push(&mut self, file: usize, range: &Range<u64>) {
        let mut held: Vec<_> = self.unanswered[file].iter().map(|read| self.reads[*read].range.clone()).collect();
        held.retain(|read| read.start < range.end && read.end > range.start);
        held.sort_by_key(|read| read.start);
        let mut at = range.start;
        for read in held {
            if read.start > at {
                self.pages[file].insert(&(at..read.start));
            }
            at = at.max(read.end.next_multiple_of(PAGE));
        }
        if at < range.end {
            self.pages[file].insert(&(at..range.end));
        }
    }
}

/// How a program went.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Seconds, from the first look-up to the end of the last thread. Infinite if it was stopped.
    pub seconds: f64,
    /// GETs.
    pub requests: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// READs of the kernel.
    pub reads: u64,
    /// Seconds in which at least one thread waited, for a READ that was not answered at once or for an open.
    pub waited: f64,
}

/// A thread of a program.
#[derive(Debug)]
struct Thread {
    op: usize,
    /// How far it has come in its operation.
    at: u64,
    readahead: Vec<Readahead>,
    /// It waits for its open.
    opens: bool,
}

/// A program on a mount.
struct Run<'a, M: Mount> {
    world: World<'a, M::Token>,
    mount: M,
    program: &'a Program,
    threads: Vec<Thread>,
    runnable: VecDeque<usize>,
    running: usize,
    waiting: usize,
    since: f64,
    waited: f64,
}

/// Plays a program; it is stopped after `limit` seconds. Returns the mount as well, for what it has noted.
pub fn run<M: Mount>(mount: M, files: &[File], program: &Program, profile: Profile, limit: f64) -> (Outcome, M) {
    let world = World {
        network: Network::new(profile),
        files,
        pages: files.iter().map(|file| Pages::new(file.size)).collect(),
        reads: Vec::new(),
        unanswered: vec![Vec::new(); files.len()],
    };
    let threads = program.threads.iter();
    let threads: Vec<_> = threads
        .map(|_| Thread { op: 0, at: 0, readahead: vec![Readahead::default(); files.len()], opens: false })
        .collect();
    let (runnable, running) = ((0..threads.len()).collect(), threads.len());
    let run = Run { world, mount, program, threads, runnable, running, waiting: 0, since: 0.0, waited: 0.0 };
    run.play(limit)
}

impl<M: Mount> Run<'_, M> {
    fn play(mut self, limit: f64) -> (Outcome, M) {
        loop {
            while let Some(thread) = self.runnable.pop_front() {
                self.go_on(thread);
            }
            if self.running == 0 || self.world.now() > limit {
                break;
            }
            match self.world.network.go_on() {
                None => panic!("a mount has left a read without an answer"),
                Some(Event::Thread(thread)) => {
                    if std::mem::replace(&mut self.threads[thread].opens, false) {
                        self.end_waits(1);
                    }
                    self.runnable.push_back(thread);
                }
                Some(Event::Answered(read)) => self.answered(read),
                Some(Event::Mount(token)) => self.mount.on(&mut self.world, token),
            }
        }
        let seconds = if self.running == 0 { self.world.now() } else { f64::INFINITY };
        // A program that was stopped has closed nothing.
        for file in 0..self.world.files.len() {
            self.threads.iter().for_each(|_| self.mount.close(&mut self.world, file));
        }
        let network = &self.world.network;
        let (requests, bytes) = (network.requests(), network.transferred());
        let outcome = Outcome { seconds, requests, bytes, reads: self.world.reads.len() as u64, waited: self.waited };
        (outcome, self.mount)
    }

    /// A thread goes on until it has to wait.
    fn go_on(&mut self, id: usize) {
        loop {
            let thread = &mut self.threads[id];
            let Some(op) = self.program.threads[id].get(thread.op) else {
                self.running -= 1;
                return;
            };
            match op {
                Op::LookUp(file) => {
                    thread.op += 1;
                    self.mount.look_up(&mut self.world, *file);
                    // A LIST is a request like any other, but that all mounts send it.
                    let seconds = self.world.network.profile().latency;
                    return self.world.network.after(seconds, Event::Thread(id));
                }
                Op::Open(file) => {
                    thread.op += 1;
                    if !self.mount.open(&mut self.world, *file, id) {
                        self.begin_wait();
                        self.threads[id].opens = true;
                        return;
                    }
                }
                Op::Close(file) => {
                    thread.op += 1;
                    self.mount.close(&mut self.world, *file);
                }
                Op::Think(seconds) => {
                    thread.op += 1;
                    return self.world.network.after(*seconds, Event::Thread(id));
                }
                Op::Map(file, range) => {
                    if self.touch(id, *file, range.clone(), true) {
                        return;
                    }
                }
                Op::Read(file, range) => {
                    if self.touch(id, *file, range.clone(), false) {
                        return;
                    }
                }
            }
        }
    }

    /// Goes on in a range that a thread reads. True if it has to wait.
    fn touch(&mut self, id: usize, file: usize, range: Range<u64>, map: bool) -> bool {
        let thread = &mut self.threads[id];
        let at = thread.at.max(range.start);
        let missing = self.world.pages[file].first_missing(&(at..range.end));
        if self.mount.has_readahead() {
            // A page that is under way has its mark as well.
            let passed = at..missing.map_or(range.end, |page| page + 1);
            let size = self.world.files[file].size;
            while let Some(window) = self.threads[id].readahead[file].passed(&passed, size) {
                self.read_missing(id, file, &window);
            }
        }
        let Some(missing) = missing else {
            let thread = &mut self.threads[id];
            (thread.op, thread.at) = (thread.op + 1, 0);
            if self.program.think > 0.0 {
                self.world.network.after(self.program.think, Event::Thread(id));
            }
            return self.program.think > 0.0;
        };
        self.threads[id].at = missing;
        let read = match self.under_way(file, missing) {
            Some(read) => read,
            None => {
                let wanted = self.wanted(id, file, missing..range.end, map);
                self.send(id, file, wanted)
            }
        };
        self.wait(id, read);
        true
    }

    /// The READ that has the page with the byte `offset`, if one is under way.
    fn under_way(&self, file: usize, offset: u64) -> Option<ReadId> {
        let reads = &self.world.unanswered[file];
        let page = offset / PAGE * PAGE;
        reads.iter().copied().find(|read| self.world.reads[*read].range.contains(&page))
    }

    /// What the kernel asks for when the first page of `rest` is missing.
    fn wanted(&mut self, id: usize, file: usize, rest: Range<u64>, map: bool) -> Range<u64> {
        let size = self.world.files[file].size;
        let first = rest.start / PAGE * PAGE;
        let asked = if map { first..first + PAGE } else { first..rest.end.next_multiple_of(PAGE) };
        let window = match self.mount.has_readahead() {
            true => self.threads[id].readahead[file].missed(&asked, map, size),
            false => asked.start..asked.end.min(asked.start + TRANSFER),
        };
        self.free(file, first, window.start..window.end.min(size))
    }

    /// What around the page at `first` is neither in the page cache nor under way.
    fn free(&self, file: usize, first: u64, window: Range<u64>) -> Range<u64> {
        let is_free = |page: u64| !self.world.pages[file].has(page) && self.under_way(file, page).is_none();
        let mut start = first;
        while start >= window.start + PAGE && is_free(start - PAGE) {
            start -= PAGE;
        }
        let mut end = first + PAGE;
        while end < window.end && is_free(end) {
            end += PAGE;
        }
        start..end.min(self.world.files[file].size)
    }

    /// Reads ahead what of a window is missing; no thread waits for it.
    fn read_missing(&mut self, id: usize, file: usize, window: &Range<u64>) {
        let Some(first) = self.world.pages[file].first_missing(window) else { return };
        if self.under_way(file, first).is_none() {
            let range = self.free(file, first / PAGE * PAGE, first..window.end);
            self.send(id, file, range);
        }
    }

    fn send(&mut self, thread: usize, file: usize, range: Range<u64>) -> ReadId {
        let read = self.world.reads.len();
        let sent = self.world.now();
        self.world.reads.push(Read { file, range, thread, sent, waiting: Vec::new() });
        self.world.unanswered[file].push(read);
        self.mount.read(&mut self.world, read);
        read
    }

    fn wait(&mut self, thread: usize, read: ReadId) {
        self.world.reads[read].waiting.push(thread);
        self.begin_wait();
    }

    fn begin_wait(&mut self) {
        if self.waiting == 0 {
            self.since = self.world.now();
        }
        self.waiting += 1;
    }

    /// So many threads wait no more. A thread that is answered at once has not waited.
    fn end_waits(&mut self, count: usize) {
        self.waiting -= count;
        let waited = self.world.now() - self.since;
        if self.waiting == 0 && count > 0 && waited > 1.5 * READ {
            self.waited += waited;
        }
    }

    fn answered(&mut self, id: ReadId) {
        let Read { file, range, .. } = self.world.reads[id].clone();
        self.world.unanswered[file].retain(|read| *read != id);
        self.world.pages[file].insert(&range);
        self.mount.answered(&mut self.world, id);
        let woken = std::mem::take(&mut self.world.reads[id].waiting);
        self.end_waits(woken.len());
        self.runnable.extend(woken);
    }
}
