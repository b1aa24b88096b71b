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

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::ascent::Ascent;
use super::compressed::{Compressed, Expected, Followed, MAX_EAGER_TABLE, MAX_READERS};
use super::headers::{HEAD, HEADER_GUESS, Headers, Sibling};
use super::heap::{Arrays, InHeap};
use super::regions::{Regions, Wait};
use super::replay::{Replay, Script};
use super::stream::{Advance, Streams, UNIT_START};
use super::stride::{Grid, LONG_ROW, PAGE, Row, SHORT_ROW, Strides, is_sparse};
use super::tiles::{Lead, descriptors};
use crate::cache::{BLOCK, Origin, blocks_around};
use crate::fits::{Hdu, HduKind, Layout};
use crate::metrics::{Cause, Pace};

/// A read in the last blocks of a file fetches this much of its tail: the ASDF extension of JWST products, which a
/// program that reads the last header wants whole.
const TAIL: u64 = 64 << 10;

/// Files up to this size are fetched whole: the bytes cost less time than a second round trip.
const WHOLE_FILE: u64 = 256 << 10;

/// A stream has crossed a header when it has read so much beyond it, which is more than the kernel asks for at once.
const BEYOND_HEADER: u64 = 128 << 10;

/// The kernel asks for so much at once where a program reads at least as much into memory of its own.
const LARGE_READ: u64 = 128 << 10;

/// The kernel asks for no more at once, so the rest of such a read follows: a megabyte is what programs and libraries that
/// read much at a time mostly take, from the middle of a page to that of another.
const LARGE_STEP: u64 = (1 << 20) + PAGE;

/// The first step of a reader in the middle of an image: so many rows.
const SOME_ROWS: u64 = 16;

/// A reader that has left nothing out of so many rows wants them whole.
const WHOLE_ROWS: u64 = 2;

/// A reader whose first read of a data unit is this near to its start is taken to begin there.
const NEAR_START: u64 = 32 << 10;

/// A read that nothing has foreseen brings what is transferred in this share of a round trip: a sixteenth. But not less
/// than what saves a program a wait that reads on by a few pages, nor more than is bearable for many single pages.
const SHARE_NEAR: u64 = 16;
const MIN_NEAR: u64 = 64 << 10;
const MAX_NEAR: u64 = 80 << 10;

/// A range to fetch before it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Bytes of the object; whole pages.
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
    /// What was fetched, and where programs have waited.
    regions: Regions,
    replay: Replay,
}

impl Planner {
    /// A planner for an object of `size` bytes. `named_fits` says that its name is that of a FITS file, `sibling` what
    /// a file of the same class has shown; `max_ahead` is how many bytes a sequential reader may be led by. Regions in which
    /// programs have waited long enough are fetched whole if they have at most `max_region` bytes.
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

    /// Whether what other files have shown is replayed, or was, and no program has read and closed the file since.
    pub(super) fn is_replaying(&self) -> bool {
        self.replay.has_begun()
    }

    /// What was read of the file, if anything shows it.
    pub(super) fn observed(&self) -> Option<Script> {
        let shows = self.replay.has_reads() || self.replay.has_begun();
        shows.then(|| self.replay.observed(self.layout()))
    }

    /// A program reads `range` (not empty, within the file); `held` says that all of it is held or on its way.
    pub fn on_read(&mut self, range: Range<u64>, held: bool, pace: &Pace) -> Decision {
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
        } else if self.follow_data(range.clone(), held, pace, &mut decision) {
            Cause::Expected
        } else {
            Cause::Unforeseen
        };
        decision.ahead.extend(self.plan_expected(expected));
        self.note_planned(&mut decision.ahead);
        if !held {
            self.regions.note_missing(&range);
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
        self.headers.walk(&held);
        let mut ahead = self.pursue(pace);
        let touched = self.headers.touched();
        let hdus = &self.headers.layout().hdus;
        let expected = self.compressed.on_arrival(hdus, touched, held, pace, self.max_ahead);
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
        let hdus = &self.headers.layout().hdus;
        match self.headers.layout().hdu_at(range.end - 1).filter(|_| !is_tail(range, self.size)) {
            Some(hdu) => self.compressed.note(hdu, hdus, range, held, pace, self.max_ahead),
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

    /// A planned range could not be fetched: the reader is led no further than its start, and a header in it may be
    /// asked for again.
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

    /// What a stream was to be led by in a planned range is left for later.
    pub fn leads_no_further(&mut self, range: &Range<u64>) {
        self.regions.note_missing(range);
        self.streams.cut(range);
        self.compressed.leads_no_further(range);
        self.arrays.cut(range);
        self.ascent.cut(range);
    }

    /// No program has the file open: nobody is led any more.
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

    /// Finds the pattern that a read of data belongs to, and plans what comes next in it. Tells whether the read was
    /// expected.
    fn follow_data(&mut self, range: Range<u64>, held: bool, pace: &Pace, decision: &mut Decision) -> bool {
        let hdu = self.layout().hdu_at(range.start).cloned();
        if let Some(hdu) = &hdu {
            let is_followed =
                self.follow_tiles(hdu, &range, held, pace, decision) || self.follow_arrays(hdu, &range, pace, decision);
            if is_followed {
                return true;
            }
            // Where rows are worth fetching one by one, even those that a stream would take along: unless it reads all
            // of them, as some in a row have shown.
            let reads_all = self.streams.reads_all(&range, WHOLE_ROWS * hdu.row_len());
            let dense = self.streams.continues(&range) && (reads_all || !self.has_sparse_rows(hdu, pace));
            let grid = grid(hdu, self.size);
            if !dense && let Some(ranges) = self.strides.advance(&range, &grid, pace) {
                self.plan_rows(ranges, decision);
                return true;
            }
            let one_page = range.end - range.start <= PAGE;
            if !dense
                && one_page
                && is_plane(hdu)
                && !is_start(hdu, range.start)
                && self.has_sparse_rows(hdu, pace)
                && let Some(ranges) = self.strides.guess(&range, hdu.row_len(), &grid)
            {
                // The row may go on in the next page or come from the one before: not asked for once more, and as
                // demand it is not pushed, so that the READ tells.
                let around = range.start.saturating_sub(PAGE).max(hdu.data_offset)..(range.end + PAGE).min(self.size);
                decision.demand = self.blocks(around);
                self.plan_rows(ranges, decision);
            } else if !dense
                && !is_start(hdu, range.start)
                && !self.streams.continues(&range)
                && let Some(rows) = self.strides.repeat(&range, &grid)
            {
                self.plan_rows(rows, decision);
                return false;
            }
        }
        if !self.streams.continues(&range) && self.follow_ascent(&range, pace, decision) {
            return true;
        }
        let near = if self.streams.is_cautious() { 0 } else { near(pace) };
        let first = hdu.map_or(0, |hdu| self.first_step(&hdu, &range, pace)).max(near);
        let is_expected = self.streams.continues(&range);
        self.follow_stream(range, held, first, decision);
        is_expected
    }

    /// Whether a read is one of tiles or their table, and plans what comes with it.
    fn follow_tiles(
        &mut self,
        hdu: &Hdu,
        range: &Range<u64>,
        held: bool,
        pace: &Pace,
        decision: &mut Decision,
    ) -> bool {
        let is_other = range.end - range.start >= LARGE_READ || self.streams.continues(range);
        if (is_other && !self.compressed.follows(hdu)) || is_tail(range, self.size) {
            return false;
        }
        match self.compressed.follow(hdu, range, held, pace, self.max_ahead) {
            None => return false,
            Some(Followed::Table(table)) => {
                // A long one is on its way, and the reader waits for no more than it has asked for.
                let is_short = table.end - table.start <= MAX_EAGER_TABLE;
                let table = if is_short { self.blocks(table) } else { decision.demand.clone() };
                decision.demand = decision.demand.start.min(table.start)..decision.demand.end.max(table.end);
            }
            Some(Followed::Heap(lead)) => decision.ahead.extend(self.plan_lead(lead)),
        }
        true
    }

    /// Whether a read is led in a heap of arrays, and plans what comes with it.
    fn follow_arrays(&mut self, hdu: &Hdu, range: &Range<u64>, pace: &Pace, decision: &mut Decision) -> bool {
        if is_tail(range, self.size) {
            return false;
        }
        let Some(InHeap { rows, lead }) = self.arrays.follow(hdu, range, pace, self.max_ahead) else { return false };
        let rows = rows.map(|rows| Planned { range: self.blocks(rows), origin: Origin::Predicted });
        decision.ahead.extend(rows);
        let is_led = lead.is_some();
        decision.ahead.extend(lead.map(|lead| self.plan_lead(lead)).unwrap_or_default());
        is_led
    }

    /// Whether a read is one of several that ascend, and plans what lies between those to come: within the data unit, unless
    /// they have come from another one.
    fn follow_ascent(&mut self, range: &Range<u64>, pace: &Pace, decision: &mut Decision) -> bool {
        let lead = self.ascent.advance(range, pace, self.max_ahead);
        let unit = self.unit_at(range.start);
        let end = if unit.contains(&self.ascent.start()) { unit.end } else { self.size };
        let lead = lead.map(|lead| lead.start..lead.end.min(end)).filter(|lead| lead.start < lead.end);
        decision.ahead.extend(lead.map(|lead| Planned { range: self.blocks(lead), origin: Origin::Sequential }));
        self.ascent.leads()
    }

    fn plan_lead(&mut self, lead: Lead) -> Vec<Planned> {
        match lead {
            Lead::Pieces(pieces) => self.pieces(pieces),
            Lead::Run(run) => {
                let run = run.map(|run| Planned { range: self.blocks(run), origin: Origin::Sequential });
                run.into_iter().collect()
            }
        }
    }

    /// Whether the rows of an HDU are better fetched one by one, decided when a program turns to it.
    fn has_sparse_rows(&mut self, hdu: &Hdu, pace: &Pace) -> bool {
        match self.sparse {
            Some((index, sparse)) if index == hdu.index => sparse,
            _ => self.sparse.insert((hdu.index, is_sparse(hdu.row_len(), PAGE, pace))).1,
        }
    }

    /// Rows of a pattern. Those that are probes are planned by themselves.
    fn plan_rows(&mut self, rows: Vec<Row>, decision: &mut Decision) {
        let (probes, others): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.is_probe);
        for Row { range, .. } in probes {
            let range = range.start..range.end.min(self.size);
            if range.start < range.end {
                decision.ahead.push(Planned { range, origin: Origin::Probe });
            }
        }
        decision.ahead.extend(self.pieces(others.into_iter().map(|row| row.range).collect()));
    }

    /// Pieces of a pattern, those that touch joined, as many as one reader may be led by.
    fn pieces(&mut self, mut ranges: Vec<Range<u64>>) -> Vec<Planned> {
        ranges.sort_by_key(|range| range.start);
        let mut joined: Vec<Range<u64>> = Vec::new();
        for range in ranges {
            let range = range.start..range.end.min(self.size);
            match joined.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => joined.push(range),
            }
        }
        joined.retain(|range| range.start < range.end);
        let (mut left, mut planned) = (self.max_ahead, Vec::new());
        for range in joined {
            let bytes = range.end - range.start;
            if bytes > left {
                self.strides.cut(&range);
                break;
            }
            left -= bytes;
            planned.push(Planned { range, origin: Origin::Strided });
        }
        planned
    }

    /// How much the place of a read says about what follows: readers that begin with a data unit mostly read all of it,
    /// and surely if its values have to be computed, if the block is compressed, or if they read much at once; one in the middle of an image cuts
    /// some rows out.
    fn first_step(&mut self, hdu: &Hdu, read: &Range<u64>, pace: &Pace) -> u64 {
        let from_start = is_start(hdu, read.start);
        let packed = matches!(&hdu.kind, HduKind::AsdfBlock { compression: Some(_), .. });
        let computed = hdu.is_scaled() || hdu.table.as_ref().is_some_and(|table| table.has_logical);
        let whole = self.reads_units || read.end - read.start >= LARGE_READ;
        let rows = hdu.row_len() < LONG_ROW / 2 && !self.has_sparse_rows(hdu, pace);
        match from_start && !self.streams.is_cautious() {
            true if self.reads_units || packed => hdu.data_span.min(self.max_ahead),
            true if whole => hdu.data_span.min(8 * LARGE_STEP),
            true if computed => 8 * UNIT_START,
            true => UNIT_START,
            false if read.end - read.start >= LARGE_READ => LARGE_STEP,
            // More than a page is asked for by programs that know what they want.
            false if !self.streams.is_cautious() && rows && read.end - read.start <= PAGE => SOME_ROWS * hdu.row_len(),
            false => 0,
        }
    }

    /// Lets the streams take note of a read of data, and leads its reader if it goes on.
    fn follow_stream(&mut self, range: Range<u64>, held: bool, first: u64, decision: &mut Decision) {
        let Advance { lead, abandoned } = self.streams.advance(&range, held, first);
        decision.abandoned = abandoned;
        let Some(lead) = lead else { return };
        let (from, to) = self.bounds(&lead.stream);
        let range = lead.range.start.max(from)..lead.range.end.min(to);
        if range.start < range.end {
            let range = self.blocks(range);
            self.streams.led(lead.id, &range);
            decision.ahead.push(Planned { range, origin: Origin::Sequential });
        }
    }

    /// How far a stream that has read `read` may be led: within the data unit where it stands, or to the end of the file
    /// once it has crossed a header, by more than a single READ may.
    fn bounds(&mut self, read: &Range<u64>) -> (u64, u64) {
        let layout = self.headers.layout();
        let stands = read.end.saturating_sub(BEYOND_HEADER).max(read.start);
        let Some(here) = layout.hdu_at(stands) else { return (0, self.size) };
        let crossed = layout.hdu_at(read.start).is_some_and(|began| began.index < here.index);
        let begin = here.data_offset;
        let end = here.end().min(self.size);
        self.reads_units |= crossed;
        (begin, if crossed || self.reads_units { self.size } else { end })
    }

    /// The whole blocks that hold `range`, ending with the file.
    fn blocks(&self, range: Range<u64>) -> Range<u64> {
        blocks_around(&range, self.size)
    }
}

/// How much comes with a read that nothing has foreseen, in bytes: what lies behind it is the likeliest to be read next,
/// and takes a small part of the time that the read waits anyway.
fn near(pace: &Pace) -> u64 {
    match (pace.latency * pace.bandwidth) as u64 / SHARE_NEAR {
        // The disk answers at once.
        little if little < BLOCK => 0,
        bytes => bytes.clamp(MIN_NEAR, MAX_NEAR) / BLOCK * BLOCK,
    }
}

/// Whether a first read at `offset` begins with the data of an HDU: what came with the head of the file is in the page
/// cache, and is not asked for.
fn is_start(hdu: &Hdu, offset: u64) -> bool {
    let known = if hdu.data_offset < HEAD { HEAD } else { hdu.data_offset };
    offset < known + NEAR_START
}

/// Whether a read is one of the end of the file, with which cfitsio begins whatever is there.
fn is_tail(read: &Range<u64>, size: u64) -> bool {
    read.end == size && read.end - read.start <= 2 * PAGE
}

/// Whether an HDU is an image of two axes, which programs cut rows out of; of cubes they also want single pixels.
fn is_plane(hdu: &Hdu) -> bool {
    hdu.table.is_none() && hdu.shape.iter().filter(|axis| **axis > 1).count() == 2
}

/// The distances at which programs touch the data of an HDU: of rows, planes, cubes and so on, in bytes.
fn grid(hdu: &Hdu, size: u64) -> Grid {
    let axes = hdu.shape.iter().rev();
    let lengths = axes.scan(hdu.element_size(), |length, axis| {
        *length = length.saturating_mul(*axis);
        Some(*length)
    });
    let strides = lengths.filter(|length| *length >= SHORT_ROW && *length < hdu.data_len.min(size)).collect();
    let data = hdu.data_offset..hdu.data_offset.saturating_add(hdu.data_len);
    Grid { data, strides, has_short_rows: hdu.row_len() < SHORT_ROW }
}

#[cfg(test)]
mod tests;
