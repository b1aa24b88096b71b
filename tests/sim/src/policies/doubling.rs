//! Windows that double as long as a reader goes on: Mountpoint for Amazon S3 (`mountpoint-s3-fs/src/prefetch.rs`, as of
//! 1.x: first 1 MiB and 128 KiB, factor 2, seeks of 16 MiB forward and 1 MiB back within a window).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;

use crate::network::GetId;
use crate::run::{Event, Mount, ReadId, World};

const FIRST: u64 = (1 << 20) + (128 << 10);
const LARGEST: u64 = 64 << 20;
const FORWARD: u64 = 16 << 20;
const BACK: u64 = 1 << 20;
/// Requests are cut into parts of this size.
const PART: u64 = 8 << 20;

/// One reader of one file: threads have handles of their own.
#[derive(Default)]
struct Handle {
    parts: VecDeque<Part>,
    /// Where the next read is, if the reader goes on.
    next: u64,
    window: u64,
}

struct Part {
    range: Range<u64>,
    get: GetId,
    /// READs that wait for it.
    awaited: usize,
}

#[derive(Default)]
pub(super) struct Doubling {
    handles: BTreeMap<(usize, usize), Handle>,
    /// How many parts READs still wait for.
    missing: HashMap<ReadId, usize>,
    /// How often each file is open.
    opens: HashMap<usize, usize>,
}

/// A part has come as far as a READ needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reached {
    read: ReadId,
    get: GetId,
}

impl Mount for Doubling {
    type Token = Reached;

    fn has_readahead(&self) -> bool {
        true
    }

    fn open(&mut self, _world: &mut World<Reached>, file: usize, _thread: usize) -> bool {
        *self.opens.entry(file).or_default() += 1;
        true
    }

    fn close(&mut self, world: &mut World<Reached>, file: usize) {
        let opens = self.opens.entry(file).or_default();
        *opens = opens.saturating_sub(1);
        if *opens == 0 {
            for (_, handle) in self.handles.iter_mut().filter(|((of, _), _)| *of == file) {
                handle.begin(world, 0);
            }
        }
    }

    fn read(&mut self, world: &mut World<Reached>, read: ReadId) {
        let (file, range, thread) = {
            let read = world.read(read);
            (read.file, read.range.clone(), read.thread)
        };
        let size = world.files[file].size;
        let handle = self.handles.entry((file, thread)).or_default();
        if !handle.goes_on(&range) {
            handle.begin(world, range.start);
        }
        handle.next = handle.next.max(range.end);
        handle.extend(world, &range, size);
        handle.forget(world);
        let mut missing = 0;
        for part in handle.parts.iter_mut().filter(|p| p.range.start < range.end && p.range.end > range.start) {
            let bytes = range.end.min(part.range.end) - part.range.start;
            if world.network.arrived(part.get) < bytes {
                missing += 1;
                part.awaited += 1;
                world.network.when(part.get, bytes, Event::Mount(Reached { read, get: part.get }));
            }
        }
        match missing {
            0 => world.answer(read),
            _ => drop(self.missing.insert(read, missing)),
        }
    }

    fn on(&mut self, world: &mut World<Reached>, Reached { read, get }: Reached) {
        let (file, thread) = (world.read(read).file, world.read(read).thread);
        if let Some(handle) = self.handles.get_mut(&(file, thread))
            && let Some(part) = handle.parts.iter_mut().find(|part| part.get == get)
        {
            part.awaited -= 1;
        }
        let missing = self.missing.entry(read).or_default();
        *missing -= 1;
        if *missing == 0 {
            self.missing.remove(&read);
            world.answer(read);
        }
    }
}

impl Handle {
    fn goes_on(&self, range: &Range<u64>) -> bool {
        let Some(first) = self.parts.front() else { return false };
        range.start >= first.range.start && range.start + BACK >= self.next && range.start <= self.next + FORWARD
    }

    fn begin(&mut self, world: &mut World<Reached>, at: u64) {
        for part in self.parts.drain(..).filter(|part| part.awaited == 0) {
            world.network.cancel(part.get);
        }
        (self.next, self.window) = (at, 0);
    }

    /// Asks for what the read needs and, when half of the window was read, for the next one.
    fn extend(&mut self, world: &mut World<Reached>, read: &Range<u64>, size: u64) {
        let requested = self.parts.back().map_or(read.start, |part| part.range.end);
        if self.window > 0 && requested >= read.end && requested.saturating_sub(read.end) > self.window / 2 {
            return;
        }
        self.window = if self.window == 0 { FIRST } else { (2 * self.window).min(LARGEST) };
        let end = (read.end.max(requested) + self.window).min(size).max(read.end);
        let end = if self.parts.is_empty() { (read.start + FIRST).max(read.end).min(size) } else { end };
        let mut at = requested;
        while at < end {
            let range = at..end.min(at + PART);
            let get = world.network.get(range.end - range.start, None, None);
            at = range.end;
            self.parts.push_back(Part { range, get, awaited: 0 });
        }
    }

    /// What is further back than a seek may go is dropped.
    fn forget(&mut self, world: &mut World<Reached>) {
        while let Some(part) = self.parts.front()
            && part.range.end + BACK < self.next
            && part.awaited == 0
        {
            world.network.cancel(part.get);
            self.parts.pop_front();
        }
    }
}
