//! Segments of one file, as `cache::SegmentMap` has them, without bytes: what a GET is for, and how far it has come.

use std::collections::BTreeMap;
use std::ops::Range;

use fitsfs::cache::{Origin, PIECE};

use crate::network::{GetId, Network};

/// Names a segment.
pub type SegmentId = usize;

/// Where a segment is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Waits for a slot.
    Queued,
    /// Its GET was sent.
    Sent(GetId),
    /// All bytes have arrived.
    Complete,
    /// It was cancelled, or dropped from memory.
    Gone,
}

/// One range of a file.
#[derive(Debug)]
pub struct Segment {
    pub file: usize,
    pub range: Range<u64>,
    pub origin: Origin,
    pub stage: Stage,
    /// Which slots it holds one of, or waits for.
    pub slot: Option<Slots>,
    /// READs that wait for it.
    pub waiters: usize,
    /// What READs were answered with: sorted, disjoint.
    pub delivered: Vec<Range<u64>>,
    /// The kernel was given all of it.
    pub is_pushed: bool,
    /// How far it was queued to be given to the kernel while it arrives.
    pub pushed: u64,
}

/// Which GETs wait for one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slots {
    Large,
    Small,
}

impl Segment {
    pub fn new(file: usize, range: Range<u64>, origin: Origin, slot: Option<Slots>) -> Self {
        let pushed = range.start;
        let delivered = Vec::new();
        Self { file, range, origin, stage: Stage::Queued, slot, waiters: 0, delivered, is_pushed: false, pushed }
    }

    pub fn len(&self) -> u64 {
        self.range.end - self.range.start
    }

    pub fn is_complete(&self) -> bool {
        self.stage == Stage::Complete
    }

    /// How many bytes are readable from its start on: whole pieces.
    pub fn filled<T: Copy>(&self, network: &Network<T>) -> u64 {
        match self.stage {
            Stage::Complete => self.len(),
            Stage::Sent(get) => match network.arrived(get) {
                arrived if arrived == self.len() => arrived,
                arrived => arrived / PIECE as u64 * PIECE as u64,
            },
            Stage::Queued | Stage::Gone => 0,
        }
    }

    pub fn is_delivered(&self) -> bool {
        self.delivered.first() == Some(&self.range)
    }

    /// How many bytes have to arrive so that those before the offset `end` are readable: whole pieces.
    pub fn needed(&self, end: u64) -> u64 {
        (end - self.range.start).next_multiple_of(PIECE as u64).min(self.len())
    }

    /// Notes what a READ was answered with. True once READs have had all of it.
    pub fn deliver(&mut self, read: &Range<u64>) -> bool {
        let range = read.start.max(self.range.start)..read.end.min(self.range.end);
        if range.is_empty() {
            return false;
        }
        self.delivered.push(range);
        self.delivered.sort_by_key(|range| range.start);
        let mut merged: Vec<Range<u64>> = Vec::with_capacity(self.delivered.len());
        for range in self.delivered.drain(..) {
            match merged.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => merged.push(range),
            }
        }
        self.delivered = merged;
        self.is_delivered()
    }
}

/// Segments of a file by place; they never overlap.
#[derive(Debug, Default)]
pub struct Map {
    by_start: BTreeMap<u64, (u64, SegmentId)>,
}

impl Map {
    /// Those that hold or await some of `range`, in order.
    pub fn overlapping(&self, range: &Range<u64>) -> Vec<SegmentId> {
        self.places(range).map(|(_, id)| id).collect()
    }

    /// The parts of `range` that no segment holds or awaits.
    pub fn gaps(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        let mut gaps = Vec::new();
        let mut at = range.start;
        for (place, _) in self.places(range) {
            if place.start > at {
                gaps.push(at..place.start);
            }
            at = at.max(place.end);
        }
        if at < range.end {
            gaps.push(at..range.end);
        }
        gaps
    }

    pub fn insert(&mut self, range: &Range<u64>, id: SegmentId) {
        debug_assert!(self.overlapping(range).is_empty(), "segments never overlap");
        self.by_start.insert(range.start, (range.end, id));
    }

    /// Removes this very segment.
    pub fn remove(&mut self, range: &Range<u64>, id: SegmentId) -> bool {
        let is_there = self.by_start.get(&range.start).is_some_and(|(_, present)| *present == id);
        is_there && self.by_start.remove(&range.start).is_some()
    }

    pub fn all(&self) -> Vec<SegmentId> {
        self.by_start.values().map(|(_, id)| *id).collect()
    }

    fn places(&self, range: &Range<u64>) -> impl Iterator<Item = (Range<u64>, SegmentId)> {
        let (start, end) = (range.start, range.end);
        let first = self.by_start.range(..=start).next_back().map_or(start, |(start, _)| *start);
        let within = self.by_start.range(first..end.max(first)).map(|(start, (end, id))| (*start..*end, *id));
        within.filter(move |(place, _)| place.end > start && place.start < end)
    }
}
