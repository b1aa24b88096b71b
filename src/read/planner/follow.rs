//! Which pattern a read of data belongs to, and what comes next in it.
//!
//! The patterns that know most of the data are asked first: tiles and heaps of tables by their descriptors, rows and planes
//! by the shape of the image. Where none of them has foreseen a read, ascents and streams decide on readahead, with what
//! the place of the read says ([`place`](super::super::place)).

use std::ops::Range;

use super::{Decision, Given, Planner};
use crate::cache::Origin;
use crate::fits::{Hdu, HduKind};
use crate::metrics::Pace;
use crate::read::compressed::{Followed, MAX_EAGER_TABLE};
use crate::read::heap::{InHeap, Readahead};
use crate::read::place::{SHOWING, grid, is_plane, is_start, is_tail, near};
use crate::read::planned::Planned;
use crate::read::stream::{Advance, UNIT_START};
use crate::read::stride::{LONG_ROW, PAGE, Row, is_sparse};

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

impl Planner {
    /// Finds the pattern that a read of data belongs to, and plans what comes next in it. Tells whether the read was
    /// expected.
    pub(super) fn follow_data(
        &mut self,
        range: Range<u64>,
        given: Given,
        pace: &Pace,
        decision: &mut Decision,
    ) -> bool {
        let Given { held, unseen } = given;
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
            if !dense && let Some(ranges) = self.strides.advance(&range, unseen, &grid, pace) {
                self.plan_rows(ranges, decision);
                return true;
            }
            let is_new = unseen == 0 && !self.streams.continues(&range) && !is_start(hdu, range.start);
            if is_new
                && range.end - range.start <= PAGE
                && is_plane(hdu)
                && self.has_sparse_rows(hdu, pace)
                && let Some(ranges) = self.strides.guess(&range, hdu.row_len(), &grid)
            {
                // The row may go on in the next page or come from the one before: not asked for once more, and as
                // demand it is not pushed, so that the READ tells.
                let around = range.start.saturating_sub(PAGE).max(hdu.data_offset)..(range.end + PAGE).min(self.size);
                decision.demand = self.blocks(around);
                self.plan_rows(ranges, decision);
            } else if is_new && let Some(rows) = self.strides.repeat(&range, &grid) {
                self.plan_rows(rows, decision);
                return false;
            }
        }
        if !self.streams.continues(&range) && self.follow_ascent(&range, pace, decision) {
            return true;
        }
        let near = match pace.is_open() {
            true if !std::mem::replace(&mut self.has_shown, true) => SHOWING,
            _ if self.streams.is_cautious() => 0,
            _ => near(pace),
        };
        let first = hdu.map_or(0, |hdu| self.first_step(&hdu, &range, pace)).max(near);
        let is_expected = self.streams.continues(&range);
        self.streams.bound(self.max_ahead(pace));
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
        match self.compressed.follow(hdu, range, held, pace, self.max_ahead(pace)) {
            None => return false,
            Some(Followed::Table(table)) => {
                // A long one is on its way, and the reader waits for no more than it has asked for.
                let is_short = table.end - table.start <= MAX_EAGER_TABLE;
                let table = if is_short { self.blocks(table) } else { decision.demand.clone() };
                decision.demand = decision.demand.start.min(table.start)..decision.demand.end.max(table.end);
            }
            Some(Followed::Heap(ahead)) => decision.ahead.extend(self.plan_readahead(ahead)),
        }
        true
    }

    /// Whether a read in a heap of arrays has readahead; plans that, and what comes with it.
    fn follow_arrays(&mut self, hdu: &Hdu, range: &Range<u64>, pace: &Pace, decision: &mut Decision) -> bool {
        if is_tail(range, self.size) {
            return false;
        }
        let max_ahead = self.max_ahead(pace);
        let Some(InHeap { rows, ahead }) = self.arrays.follow(hdu, range, pace, max_ahead) else { return false };
        let rows = rows.map(|rows| Planned { range: self.blocks(rows), origin: Origin::Predicted });
        decision.ahead.extend(rows);
        let Some(ahead) = ahead else { return false };
        decision.ahead.extend(self.plan_readahead(ahead));
        true
    }

    /// Whether a read is one of several that ascend, and plans what lies between those to come: within the data unit, unless
    /// they have come from another one.
    fn follow_ascent(&mut self, range: &Range<u64>, pace: &Pace, decision: &mut Decision) -> bool {
        let ahead = self.ascent.advance(range, pace, self.max_ahead(pace));
        let unit = self.unit_at(range.start);
        let end = if unit.contains(&self.ascent.start()) { unit.end } else { self.size };
        let ahead = ahead.map(|ahead| ahead.start..ahead.end.min(end)).filter(|ahead| ahead.start < ahead.end);
        decision.ahead.extend(ahead.map(|ahead| Planned { range: self.blocks(ahead), origin: Origin::Sequential }));
        self.ascent.has_readahead()
    }

    fn plan_readahead(&mut self, ahead: Readahead) -> Vec<Planned> {
        match ahead {
            Readahead::Pieces(pieces) => self.pieces(pieces),
            Readahead::Run(run) => {
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

    /// Pieces of a pattern, adjacent ones joined, up to the bound on readahead.
    pub(super) fn pieces(&mut self, mut ranges: Vec<Range<u64>>) -> Vec<Planned> {
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
    /// and surely if its values have to be computed, if the block is compressed, or if they read much at once; one in the
    /// middle of an image cuts some rows out.
    fn first_step(&mut self, hdu: &Hdu, read: &Range<u64>, pace: &Pace) -> u64 {
        let from_start = is_start(hdu, read.start);
        let packed = matches!(&hdu.kind, HduKind::AsdfBlock { compression: Some(_), .. });
        let computed = hdu.is_scaled() || hdu.table.as_ref().is_some_and(|table| table.has_logical);
        let whole = self.reads_units || read.end - read.start >= LARGE_READ;
        let rows = hdu.row_len() < LONG_ROW / 2 && !self.has_sparse_rows(hdu, pace);
        match from_start && !self.streams.is_cautious() {
            true if self.reads_units || packed => hdu.data_span.min(self.max_ahead(pace)),
            true if whole => hdu.data_span.min(8 * LARGE_STEP),
            true if computed => 8 * UNIT_START,
            true => UNIT_START,
            false if read.end - read.start >= LARGE_READ => LARGE_STEP,
            // More than a page is asked for by programs that know what they want.
            false if !self.streams.is_cautious() && rows && read.end - read.start <= PAGE => SOME_ROWS * hdu.row_len(),
            false => 0,
        }
    }

    /// Lets the streams take note of a read of data, and plans the next step if one is due.
    pub(super) fn follow_stream(&mut self, range: Range<u64>, held: bool, first: u64, decision: &mut Decision) {
        let Advance { step, abandoned } = self.streams.advance(&range, held, first);
        decision.abandoned = abandoned;
        let Some(step) = step else { return };
        let (from, to) = self.bounds(&step.stream);
        let range = step.range.start.max(from)..step.range.end.min(to);
        if range.start < range.end {
            let range = self.blocks(range);
            self.streams.note_planned(step.id, &range);
            for gap in self.regions.not_bought(&range) {
                decision.ahead.push(Planned { range: self.blocks(gap), origin: Origin::Sequential });
            }
        }
    }

    /// Where readahead of a stream that has read `read` may be: within the data unit where it stands, or to the end of the file
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
}
