//! What to fetch, decided from what a program reads: pure, no clock, no I/O.
//!
//! One planner per object version. Reads and header bytes go in, ranges come out:
//!
//! - the **head** of the file with its look-up or first read, with the headers that a file of the same class had, and
//!   the last blocks with a read of the tail;
//! - the **header chain** ([`Headers`]): as header bytes arrive the walk goes on, a bounded number of HDUs ahead of the
//!   reader, also at the offsets where the next headers are likely to be;
//! - **strided** walks ([`Strides`]): rows of a cutout, planes of a cube, by the geometry of the data unit;
//! - **tiles** of compressed images ([`Compressed`]), by their tables of descriptors, and of one image after the other;
//! - the **replay** ([`Replay`]) of what was read of the last files of the class;
//! - **sequential** streams ([`Streams`]) through data, extended geometrically and never past the data unit that they
//!   began in, until a reader has shown that it crosses header boundaries.
//!
//! Everything else is random access: exactly what was asked for, rounded to blocks. Ranges returned are whole pages,
//! mostly whole blocks (the last one ends with the file). They may overlap what is held or on its way; the caller
//! fetches the gaps.

mod follow;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::ascent::Ascent;
use super::compressed::{Compressed, Expected, MAX_READERS};
use super::headers::{HEAD, HEADER_GUESS, Headers, Sibling};
use super::heap::Arrays;
use super::place::is_tail;
use super::planned::Planned;
use super::regions::{Regions, Wait};
use super::replay::{Replay, Script};
use super::stream::Streams;
use super::stride::{PAGE, Strides};
use super::tiles::descriptors;
use crate::cache::{BLOCK, Origin, blocks_around};
use crate::fits::{Hdu, Layout};
use crate::metrics::{Cause, Pace};

/// A read in the last blocks of a file fetches this much of its tail: the ASDF extension of JWST products, which a
/// program that reads the last header wants whole.
const TAIL: u64 = 64 << 10;

/// Files up to this size are fetched whole: the bytes cost less time than a second round trip.
const WHOLE_FILE: u64 = 256 << 10;

/// A reader needs no more ahead of it than what arrives within so many round trips, and not less than so many bytes. Beyond
/// that it waits for the line, however far readahead goes, and where it ends all of that is wasted.
const ROUNDS_AHEAD: f64 = 3.0;
const MIN_AHEAD: u64 = 8 << 20;

/// What is there when a program reads.
#[derive(Clone, Copy, Debug, Default)]
pub struct Given {
    /// All that it reads is held or on its way.
    pub held: bool,
    /// So many bytes right before that were put into the page cache: whether programs have read those is not seen.
    pub unseen: u64,
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
    /// How the read is seen.
    pub cause: Cause,
}

/// The state of one object version.
#[derive(Debug)]
pub struct Planner {
    size: u64,
    named_fits: bool,
    started: bool,
    headers: Headers,
    streams: Streams,
    strides: Strides,
    compressed: Compressed,
    arrays: Arrays,
    ascent: Ascent,
    max_ahead: u64,
    /// The HDU that was read last, and whether its rows are worth fetching one by one: not both ways in turn.
    sparse: Option<(usize, bool)>,
    /// A data unit was read from its start to its end: the next one will be, too.
    reads_units: bool,
    /// A read has brought along what shows how much the line takes.
    has_shown: bool,
    /// What was fetched, and where programs have waited.
    regions: Regions,
    replay: Replay,
}

impl Planner {
    /// A planner for an object of `size` bytes. `named_fits` says that its name is that of a FITS file, `sibling` what
    /// a file of the same class has shown; `max_ahead` is how many bytes are read ahead of a sequential reader at most.
    /// Regions in which programs have waited long enough are fetched whole if they have at most `max_region` bytes.
    pub fn new(size: u64, named_fits: bool, sibling: Option<Sibling>, max_ahead: u64, max_region: u64) -> Self {
        Self {
            size,
            named_fits,
            started: false,
            headers: Headers::new(size, sibling),
            streams: Streams::new(max_ahead),
            strides: Strides::default(),
            compressed: Compressed::default(),
            arrays: Arrays::default(),
            ascent: Ascent::default(),
            max_ahead,
            sparse: None,
            reads_units: false,
            has_shown: false,
            regions: Regions::new(size, max_region),
            replay: Replay::default(),
        }
    }

    /// The layout as far as it is known.
    pub fn layout(&self) -> &Layout {
        self.headers.layout()
    }

    /// The HDU furthest into the file that a program touched.
    pub fn touched(&self) -> usize {
        self.headers.touched()
    }

    /// Whether `range` has header bytes, which are worth keeping.
    pub fn has_headers(&self, range: &Range<u64>) -> bool {
        self.headers.touches(range)
    }

    /// Whether the walk along the headers has yet to come to `offset`.
    pub fn is_before(&self, offset: u64) -> bool {
        self.headers.is_before(offset)
    }

    /// Where headers are within `range`, as far as they are known.
    pub fn headers_in(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        let hdus = &self.layout().hdus;
        let first = hdus.partition_point(|hdu| hdu.data_offset <= range.start);
        let within = hdus[first..].iter().take_while(|hdu| hdu.header_offset < range.end);
        within.map(|hdu| hdu.header_offset..hdu.data_offset).collect()
    }

    /// A program is about to read the file: what it will want first. Nothing if it was told already, or for files that
    /// are not named like FITS files.
    pub fn on_expected(&mut self) -> Vec<Planned> {
        if self.started || !self.named_fits {
            return Vec::new();
        }
        self.started = true;
        let mut planned = match self.size <= WHOLE_FILE {
            true => Vec::from([Planned { range: 0..self.size, origin: Origin::Chain }]),
            false => self.headers.first(),
        };
        self.note_planned(&mut planned);
        planned
    }

    /// What files of the class have shown by now, for a file that is about to be read: what else to fetch of it. Goes
    /// before [`Planner::on_expected`].
    /// At most `most` bytes are replayed.
    pub(super) fn recall(
        &mut self,
        sibling: Option<Sibling>,
        script: Option<Arc<Script>>,
        most: u64,
        pace: &Pace,
    ) -> Vec<Planned> {
        self.headers.recall(sibling);
        let Some(script) = script.filter(|_| self.size > WHOLE_FILE) else { return Vec::new() };
        self.replay.begin(script, most, pace);
        let wanted = self.replay.wants_tiles();
        let expected = self.headers.expected();
        let tables = expected.iter().filter(|hdu| wanted.contains(&hdu.index)).filter_map(descriptors);
        let tables = tables.map(|table| Planned { range: self.blocks(table), origin: Origin::Predicted });
        let mut ahead: Vec<_> = tables.filter(|planned| planned.range.start < planned.range.end).collect();
        ahead.extend(self.replay.pursue(expected.iter(), self.size, pace));
        ahead.extend(self.follow_replay(pace));
        self.note_planned(&mut ahead);
        ahead
    }

    /// What is to be replayed of the HDUs that are known by now.
    fn follow_replay(&mut self, pace: &Pace) -> Vec<Planned> {
        let wanted = self.replay.wants_tiles();
        let hdus = wanted.iter().take(MAX_READERS).filter_map(|index| self.layout().hdus.get(*index));
        let hdus: Vec<Hdu> = hdus.cloned().collect();
        let mut ahead: Vec<_> = hdus.iter().filter_map(|hdu| self.want_table(hdu)).collect();
        ahead.extend(self.replay.pursue(self.headers.layout().hdus.iter(), self.size, pace));
        ahead
    }

    /// Whether more would be replayed if it might.
    pub(super) fn is_cut_short(&self) -> bool {
        self.replay.is_cut_short()
    }

    /// What was read of the file, if anything shows it.
    pub(super) fn observed(&self) -> Option<Script> {
        let shows = self.replay.has_reads() || self.replay.has_begun();
        shows.then(|| self.replay.observed(self.layout()))
    }

    /// A program reads `range` (not empty, within the file).
    pub fn on_read(&mut self, range: Range<u64>, given: Given, pace: &Pace) -> Decision {
        let Given { held, .. } = given;
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
        self.headers.note_reader(&range);
        decision.ahead.extend(self.pursue(pace));
        let expected = self.expect_images(&range, held, pace);
        decision.cause = if self.headers.covers(&range) {
            decision.demand.end = decision.demand.end.max(self.blocks(range.start..range.start + HEADER_GUESS).end);
            Cause::Header
        } else if self.follow_data(range.clone(), given, pace, &mut decision) {
            Cause::Expected
        } else {
            Cause::Unforeseen
        };
        decision.ahead.extend(self.plan_expected(expected));
        self.note_planned(&mut decision.ahead);
        if !held {
            self.regions.note_dropped(&range);
            self.regions.note_fetched(&decision.demand);
            let rest = self.regions.rest(pace).into_iter().map(|range| self.region(range));
            decision.ahead.extend(rest);
        }
        self.replay.note_read(&range, &decision.ahead);
        decision
    }

    /// A READ that [`Planner::on_read`] was told of had to wait for the store: fetches the region around it, if the waits
    /// in that have earned it.
    pub fn on_waited(&mut self, range: &Range<u64>, wait: &Wait, pace: &Pace) -> Vec<Planned> {
        let unit = self.unit_at(range.start);
        let bought = self.regions.waited(range.start, &unit, wait, pace);
        bought.into_iter().map(|range| self.region(range)).collect()
    }

    /// A part of a region that was bought: its whole pages.
    fn region(&self, range: Range<u64>) -> Planned {
        let range = range.start / PAGE * PAGE..range.end.next_multiple_of(PAGE).min(self.size);
        Planned { range, origin: Origin::Region }
    }

    /// The data unit at `offset`; all of the file where none is known.
    fn unit_at(&self, offset: u64) -> Range<u64> {
        let hdu = self.layout().hdu_at(offset).filter(|hdu| offset >= hdu.data_offset);
        hdu.map_or(0..self.size, |hdu| hdu.data_offset..hdu.end().min(self.size))
    }

    /// Notes what is planned, without what a file that was cut short does not have.
    fn note_planned(&mut self, planned: &mut Vec<Planned>) {
        planned.retain(|planned| planned.range.start < planned.range.end);
        planned.iter().for_each(|planned| self.regions.note_fetched(&planned.range));
    }

    /// Bytes have arrived: walks on along the headers that `held` can show, and says what the walk needs next.
    pub fn on_arrival(&mut self, held: impl Fn(&Range<u64>) -> Option<Bytes>, pace: &Pace) -> Vec<Planned> {
        let max_ahead = self.max_ahead(pace);
        self.headers.walk(&held);
        let mut ahead = self.pursue(pace);
        let touched = self.headers.touched();
        let hdus = &self.headers.layout().hdus;
        let expected = self.compressed.on_arrival(hdus, touched, held, pace, max_ahead);
        self.compressed.known().for_each(|(hdu, tiles)| self.replay.learn_tiles(hdu, tiles));
        ahead.extend(self.plan_expected(expected));
        ahead.extend(self.follow_replay(pace));
        self.note_planned(&mut ahead);
        ahead
    }

    /// The next headers, with the table of descriptors behind the first of them if it has one like the last.
    fn pursue(&mut self, pace: &Pace) -> Vec<Planned> {
        let mut planned = self.headers.pursue(pace);
        for Planned { range, .. } in planned.iter_mut().filter(|planned| planned.origin == Origin::Chain) {
            self.compressed.with_table(&self.headers.layout().hdus, range, self.size);
            range.end = range.end.next_multiple_of(PAGE).min(self.size);
        }
        planned
    }

    /// What a program that reads `range` is likely to want of other compressed images.
    fn expect_images(&mut self, range: &Range<u64>, held: bool, pace: &Pace) -> Expected {
        let max_ahead = self.max_ahead(pace);
        let hdus = &self.headers.layout().hdus;
        match self.headers.layout().hdu_at(range.end - 1).filter(|_| !is_tail(range, self.size)) {
            Some(hdu) => self.compressed.note(hdu, hdus, range, held, pace, max_ahead),
            None => Expected::default(),
        }
    }

    /// The table of tile descriptors of an HDU, if it was not asked for yet.
    fn want_table(&mut self, hdu: &Hdu) -> Option<Planned> {
        let table = self.compressed.want(hdu)?;
        Some(Planned { range: self.blocks(table), origin: Origin::Predicted })
    }

    fn plan_expected(&mut self, expected: Expected) -> Vec<Planned> {
        let predicted = |range| Planned { range, origin: Origin::Predicted };
        let mut planned: Vec<_> = expected.tables.into_iter().map(|table| predicted(self.blocks(table))).collect();
        let mut pieces = self.pieces(expected.pieces);
        // What a READ asks for shows that it was right.
        pieces.iter_mut().take(1).for_each(|piece| piece.origin = Origin::Predicted);
        planned.extend(pieces);
        planned.extend(
            expected.runs.into_iter().map(|run| Planned { range: self.blocks(run), origin: Origin::Sequential }),
        );
        planned
    }

    /// A planned range could not be fetched: readahead ends at its start, and a header in it may be asked for again.
    pub fn on_denied(&mut self, range: &Range<u64>) {
        self.regions.note_missing(range);
        self.streams.cut(range);
        self.strides.cut(range);
        self.compressed.on_denied(range);
        self.arrays.cut(range);
        self.ascent.cut(range);
        self.headers.on_denied(range);
        self.started &= range.start > 0;
    }

    /// Readahead in a planned range is left for later.
    pub fn postpone(&mut self, range: &Range<u64>) {
        self.regions.note_missing(range);
        self.streams.cut(range);
        self.compressed.postpone(range);
        self.arrays.cut(range);
        self.ascent.cut(range);
    }

    /// No program has the file open: all readahead ends.
    pub fn on_closed(&mut self) {
        self.streams.clear();
        self.strides.clear();
        self.compressed = Compressed::default();
        self.arrays = Arrays::default();
        self.ascent = Ascent::default();
        self.replay.close(self.headers.layout());
    }

    /// The first read: the head comes along, with the read itself where that is at the head.
    fn plan_head(&mut self, range: &Range<u64>, decision: &mut Decision) {
        if range.start < HEAD {
            decision.demand = 0..decision.demand.end.max(HEAD);
        }
        if self.named_fits {
            decision.ahead.extend(self.headers.first());
        }
    }

    /// How many bytes are read ahead of a reader at most.
    fn max_ahead(&self, pace: &Pace) -> u64 {
        self.max_ahead.min(((pace.latency * pace.bandwidth * ROUNDS_AHEAD) as u64).max(MIN_AHEAD))
    }

    /// The whole blocks that hold `range`, ending with the file.
    fn blocks(&self, range: Range<u64>) -> Range<u64> {
        blocks_around(&range, self.size)
    }
}

#[cfg(test)]
mod tests;
