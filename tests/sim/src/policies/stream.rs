//! Streams from a touch on, kept: rclone with `--vfs-cache-mode full` (`vfs/vfscache/downloaders/downloaders.go` of 1.7x).
//!
//! A READ near where a stream stands waits for it; any other one begins a stream of its own, on a connection of its own,
//! of a chunk of 128 MiB. A stream reads on by a buffer of 16 MiB beyond what is asked for. What has arrived stays.

use std::ops::Range;

use crate::file::File;
use crate::network::GetId;
use crate::pages::{PAGE, Pages};
use crate::run::{Event, Mount, ReadId, World};

const CHUNK: u64 = 128 << 20;
const BUFFER: u64 = 16 << 20;
const WINDOW: u64 = 1 << 20;

struct Stream {
    start: u64,
    /// Where its chunk ends.
    end: u64,
    get: GetId,
}

struct Of {
    streams: Vec<Stream>,
    /// What streams that have come to their end have left.
    kept: Pages,
}

pub(super) struct Streams {
    files: Vec<Of>,
}

/// A READ may have its bytes, or some of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reached(ReadId);

impl Streams {
    pub(super) fn new(files: &[File]) -> Self {
        Self { files: files.iter().map(|file| Of { streams: Vec::new(), kept: Pages::new(file.size) }).collect() }
    }

    /// Answers a READ, or has it wait for the first byte that is missing and what follows.
    fn serve(&mut self, world: &mut World<Reached>, id: ReadId) {
        let (file, range) = (world.read(id).file, world.read(id).range.clone());
        let size = world.files[file].size;
        let of = &mut self.files[file];
        of.retire(world);
        let Some(missing) = of.missing(world, &range) else { return world.answer(id) };
        let stands = |s: &Stream, world: &World<Reached>| s.start + world.network.arrived(s.get);
        let near =
            of.streams.iter().position(|s| (s.start..s.end).contains(&missing) && missing <= stands(s, world) + WINDOW);
        let index = near.unwrap_or_else(|| {
            let end = (missing + CHUNK).min(size);
            let get = world.network.get(end.min(range.end + BUFFER) - missing, None, None);
            of.streams.push(Stream { start: missing, end, get });
            of.streams.len() - 1
        });
        let stream = &of.streams[index];
        let up_to = range.end.min(stream.end);
        world.network.lengthen(stream.get, stream.end.min(up_to + BUFFER) - stream.start);
        world.network.when(stream.get, up_to - stream.start, Event::Mount(Reached(id)));
    }
}

impl Of {
    /// The first byte of `range` that has not arrived.
    fn missing(&self, world: &World<Reached>, range: &Range<u64>) -> Option<u64> {
        let mut at = range.start;
        while at < range.end {
            let kept = self.kept.first_missing(&(at..range.end)).unwrap_or(range.end);
            let streams = self.streams.iter().map(|s| s.start..s.start + world.network.arrived(s.get));
            let next = streams.filter(|arrived| arrived.start <= at).map(|arrived| arrived.end).fold(kept, u64::max);
            if next <= at {
                return Some(at);
            }
            at = next;
        }
        None
    }

    /// Streams at the end of their chunk are streams no more.
    fn retire(&mut self, world: &World<Reached>) {
        let kept = &mut self.kept;
        self.streams.retain(|s| {
            let arrived = s.start + world.network.arrived(s.get);
            if arrived == s.end {
                kept.insert(&(s.start.next_multiple_of(PAGE).min(s.end)..s.end));
            }
            arrived < s.end
        });
    }
}

impl Mount for Streams {
    type Token = Reached;

    fn has_readahead(&self) -> bool {
        true
    }

    fn read(&mut self, world: &mut World<Reached>, read: ReadId) {
        self.serve(world, read);
    }

    fn on(&mut self, world: &mut World<Reached>, Reached(read): Reached) {
        self.serve(world, read);
    }
}
