//! What to fetch, decided from what a program reads: pure, no clock, no I/O.
//!
//! One planner per object version. Reads and header bytes go in, ranges come out:
//!
//! - the **head** of the file with its first read, and the last blocks with a read of the tail;
//! - the **header chain**: as header bytes arrive the walk goes on, a bounded number of HDUs ahead of the reader,
//!   also at the offsets where the next headers would be if the file repeats itself;
//! - **sequential** streams through data, extended geometrically and never past the data unit that they began in,
//!   until a reader has shown that it crosses header boundaries.
//!
//! Everything else is random access: exactly what was asked for, rounded to blocks. Ranges returned are whole blocks
//! (the last one ends with the file). They may overlap what is held or on its way; the caller fetches the gaps.

use std::ops::Range;

use bytes::Bytes;

use super::stream::{Advance, Streams};
use crate::cache::{BLOCK, Origin};
use crate::fits::{Chain, Need};

/// The first read of a file fetches this much of its head: the primary header and the first extension header of
/// nearly every archive product (the longest common ones, HST drizzled images, take 49 KB together).
const HEAD: u64 = 64 << 10;

/// A read in the last blocks of a file fetches this much of its tail: the ASDF extension of JWST products, which a
/// program that reads the last header wants whole.
const TAIL: u64 = 64 << 10;

/// Files up to this size are fetched whole: the bytes cost less time than a second round trip.
const WHOLE_FILE: u64 = 256 << 10;

/// A header that is fetched ahead is assumed to have this many bytes or fewer: three FITS blocks (FITS Standard 4.0,
/// section 3.1), which covers all but primary headers and long tables.
const HEADER_GUESS: u64 = 3 * 2880;

/// The walk goes at least this many HDUs ahead of the last one that a program touched: all of a JWST or HST product.
const MIN_LOOKAHEAD: usize = 10;

/// The walk never goes further ahead than this: 64 GETs of 16-32 KiB are what one burst of small requests may cost.
const MAX_LOOKAHEAD: usize = 64;

/// The widest guess: so many further headers are fetched where they would be if the HDUs repeat.
const MAX_GUESSES: usize = 16;

/// A range to fetch before it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Bytes of the object; whole blocks.
    pub range: Range<u64>,
    /// The decision behind it.
    pub origin: Origin,
}

/// What follows from a read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// What to fetch for the read itself: holds the bytes that were read, rounded or extended.
    pub demand: Range<u64>,
    /// What to fetch ahead, most urgent first.
    pub ahead: Vec<Planned>,
    /// What no reader is expected to want any more.
    pub abandoned: Vec<Range<u64>>,
}

/// The state of one object version.
#[derive(Debug)]
pub struct Planner {
    size: u64,
    named_fits: bool,
    started: bool,
    chain: Chain,
    /// What the walk asked for last, so that it asks once.
    pursued: Option<u64>,
    lookahead: usize,
    /// The HDU furthest into the file that a program touched.
    reader_hdu: usize,
    guesses: usize,
    streams: Streams,
}

impl Planner {
    /// A planner for an object of `size` bytes. `named_fits` says that its name is that of a FITS file; `max_ahead`
    /// is how many bytes a sequential reader may be led by.
    pub fn new(size: u64, named_fits: bool, max_ahead: u64) -> Self {
        Self {
            size,
            named_fits,
            started: false,
            chain: Chain::new(size),
            pursued: None,
            lookahead: MIN_LOOKAHEAD,
            reader_hdu: 0,
            guesses: 2,
            streams: Streams::new(max_ahead),
        }
    }

    /// A program reads `range` (not empty, within the file).
    pub fn on_read(&mut self, range: Range<u64>) -> Decision {
        let mut decision = Decision { demand: self.blocks(range.clone()), ..Decision::default() };
        if self.size <= WHOLE_FILE {
            decision.demand = 0..self.size;
            self.started = true;
            return decision;
        }
        if !self.started {
            self.started = true;
            self.plan_head(&range, &mut decision);
        }
        if range.start + TAIL >= self.size && range.end - range.start <= BLOCK {
            decision.demand.start = decision.demand.start.min(self.blocks(self.size - TAIL..self.size).start);
        }
        self.note_reader(&range);
        decision.ahead.extend(self.pursue_chain());
        if self.in_header(&range) {
            decision.demand.end = decision.demand.end.max(self.blocks(range.start..range.start + HEADER_GUESS).end);
        } else {
            self.follow_stream(range, &mut decision);
        }
        decision
    }

    /// Bytes have arrived: walks on along the headers that `held` can show, and says what the walk needs next.
    pub fn on_arrival(&mut self, held: impl Fn(&Range<u64>) -> Option<Bytes>) -> Vec<Planned> {
        let known = self.chain.layout_so_far().hdus.len();
        while let Need::Bytes { offset, len } = self.chain.need() {
            let wanted = offset..(offset + len).min(self.size);
            let block = self.blocks(offset..offset + 1);
            let Some(bytes) = held(&wanted).or_else(|| held(&(offset..block.end))) else { break };
            if !self.chain.feed(offset, &bytes) {
                break;
            }
        }
        if self.chain.layout_so_far().hdus.len() > known + 1 {
            self.guesses = (self.guesses * 2).min(MAX_GUESSES);
        }
        self.pursue_chain()
    }

    /// A planned range could not be fetched for lack of memory: the reader is led no further than its start.
    pub fn on_denied(&mut self, range: &Range<u64>) {
        self.streams.cut(range);
    }

    /// No program has the file open: what streams were led by is abandoned.
    pub fn on_closed(&mut self) -> Vec<Range<u64>> {
        self.streams.clear()
    }

    /// The first read: the head comes along, with the read itself where that is at the head.
    fn plan_head(&mut self, range: &Range<u64>, decision: &mut Decision) {
        let head = 0..HEAD.min(self.size);
        if range.start < head.end {
            decision.demand = 0..decision.demand.end.max(head.end);
        } else if self.named_fits {
            decision.ahead.push(Planned { range: head, origin: Origin::Chain });
        }
    }

    /// Where the reader is among the HDUs; the further it walks, the further the chain is walked ahead of it.
    fn note_reader(&mut self, range: &Range<u64>) {
        let layout = self.chain.layout_so_far();
        if let Some(hdu) = layout.hdu_at(range.start)
            && hdu.index > self.reader_hdu
        {
            if layout.in_header(range.start) {
                self.lookahead = (self.lookahead + self.lookahead / 2).min(MAX_LOOKAHEAD);
            }
            self.reader_hdu = hdu.index;
        }
    }

    /// The next header's blocks and those where further headers may be, unless they were asked for already.
    fn pursue_chain(&mut self) -> Vec<Planned> {
        let Need::Bytes { offset, len } = self.chain.need() else { return Vec::new() };
        let known = self.chain.layout_so_far().hdus.len();
        let head_is_coming = offset == 0;
        if head_is_coming || known > self.reader_hdu + self.lookahead || self.pursued == Some(offset) {
            return Vec::new();
        }
        self.pursued = Some(offset);
        let room = (self.reader_hdu + self.lookahead).saturating_sub(known).min(self.guesses);
        let guesses = self.chain.predict(room).into_iter().filter(|guess| guess + BLOCK <= self.size);
        std::iter::once(offset..(offset + len).min(self.size))
            .chain(guesses.map(|guess| guess..(guess + HEADER_GUESS).min(self.size)))
            .map(|range| Planned { range: self.blocks(range), origin: Origin::Chain })
            .collect()
    }

    /// Lets the streams take note of a read of data, and leads its reader if it goes forward.
    fn follow_stream(&mut self, range: Range<u64>, decision: &mut Decision) {
        let Advance { lead, abandoned } = self.streams.advance(&range);
        decision.abandoned = abandoned;
        if let Some(lead) = lead {
            let end = self.boundary(&lead.stream, lead.range.start).min(lead.range.end);
            let range = self.blocks(lead.range.start.min(end)..end);
            if range.start < range.end {
                self.streams.led(lead.id, range.end);
                decision.ahead.push(Planned { range, origin: Origin::Sequential });
            }
        }
    }

    /// How far a stream that has read `read` may be led from `at`: the end of its data unit, or of the file once it
    /// has crossed a header.
    fn boundary(&self, read: &Range<u64>, at: u64) -> u64 {
        let layout = self.chain.layout_so_far();
        let Some(here) = layout.hdu_at(at) else { return self.size };
        match layout.hdu_at(read.start) {
            Some(began) if began.index < here.index => self.size,
            _ => here.end().min(self.size),
        }
    }

    /// Whether a read begins in a header, or where the walk knows that one is.
    fn in_header(&self, range: &Range<u64>) -> bool {
        let pending = matches!(self.chain.need(), Need::Bytes { offset, len } if range.start < offset + len && range.start >= offset);
        pending || self.chain.layout_so_far().in_header(range.start)
    }

    /// The whole blocks that hold `range`, ending with the file.
    fn blocks(&self, range: Range<u64>) -> Range<u64> {
        range.start / BLOCK * BLOCK..(range.end.div_ceil(BLOCK) * BLOCK).min(self.size)
    }
}
