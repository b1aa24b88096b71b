//! One reader that touches data at equal distances: which row a read belongs to, and which rows to fetch next.

use std::ops::Range;

/// The unit of the page cache, in bytes, and all that the kernel is allowed to read ahead: a fault asks for the page that
/// was touched and nothing else. Reading ahead is the planner's part, which knows better, and is told what was touched.
pub const PAGE: u64 = 4096;

/// The first batch of rows; each further one is twice as large as all before it, up to a bound.
pub(super) const FIRST_BATCH: u64 = 64;
const MAX_BATCH: u64 = 1024;

/// A batch is at most this many bytes.
pub(super) const MAX_BATCH_BYTES: u64 = 32 << 20;

/// How far from its place a touch may be: the page of a fault, and one more if a row spans two of them.
pub(super) const TOLERANCE: i64 = 2 * PAGE as i64;

#[derive(Clone, Debug)]
pub(super) struct Walk {
    /// The first touch, and the distance to the next, which is negative for a reader that goes backwards.
    pub first: i64,
    pub stride: i64,
    /// Bytes of a row that were touched, from its first page on.
    pub width: u64,
    /// The row that was touched last, and the furthest one.
    pub row: u64,
    pub reach: u64,
    /// Rows planned so far, and how many to plan first.
    pub planned: u64,
    pub batch: u64,
    /// The distance of planes in which the same rows are read, and how many of them to plan ahead.
    pub plane: i64,
    pub planes: u64,
    /// Nothing but the first row was touched so far.
    pub is_guess: bool,
    /// It has the shape of one that was read elsewhere.
    pub is_repeat: bool,
    pub touched: u64,
}

/// A row to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its pages.
    pub range: Range<u64>,
    /// It is left to be asked for, so that the READ shows how far the reader has come.
    pub is_probe: bool,
}

impl Walk {
    /// Rows of so many bytes, of which nothing is planned.
    pub fn new(first: i64, stride: i64, width: u64) -> Self {
        let (row, planned, batch, plane, planes) = (0, 0, FIRST_BATCH, 0, 0);
        Self {
            first,
            stride,
            width,
            row,
            reach: 0,
            planned,
            batch,
            plane,
            planes,
            is_guess: false,
            is_repeat: false,
            touched: 0,
        }
    }

    /// Which row a read belongs to, if any: one of those planned, or soon after them.
    pub fn row_of(&self, read: &Range<u64>) -> Option<u64> {
        let from_first = read.start as i64 - self.first;
        let row = (from_first + self.stride.signum() * TOLERANCE / 2).checked_div(self.stride)?;
        let row = u64::try_from(row).ok().filter(|row| *row <= self.planned.max(1) + 1)?;
        let within = from_first - row as i64 * self.stride;
        (-TOLERANCE..self.width as i64 + TOLERANCE).contains(&within).then_some(row)
    }

    /// The rows to fetch after a read: none while enough of them are planned.
    pub fn extend(&mut self, read: &Range<u64>, widest: u64) -> Option<Range<u64>> {
        let row = self.row_of(read)?;
        self.reach = self.reach.max(row);
        if self.is_guess {
            // The first row tells which pages a row spans.
            let end = (self.first + self.width as i64).max(read.end as i64);
            self.first = self.first.min(read.start as i64);
            let width = (end - self.first).unsigned_abs();
            return Some(if width > self.width { self.widen(row, width) } else { 0..0 });
        }
        let last = std::mem::replace(&mut self.row, row);
        let wanted = (read.end as i64 - self.first - row as i64 * self.stride).unsigned_abs();
        if wanted > self.width + PAGE && self.planned > 0 {
            // A touch that does not go forward may be there by chance.
            if row < last || row > self.planned {
                return Some(0..0);
            }
            let width = (wanted + wanted / 2).next_multiple_of(PAGE).min(widest);
            return Some(if width > self.width { self.widen(row, width) } else { 0..0 });
        }
        if row + 1 < self.planned {
            return Some(0..0);
        }
        // The rest of this row is wanted as well, unless it is planned.
        let begin = self.planned.max(row);
        let size = if self.planned < self.batch { self.batch } else { 2 * self.planned };
        self.planned = begin + size.min(batch_of(self.width) / (self.planes + 1)).max(1);
        Some(begin..self.planned)
    }

    /// Rows are wider than was thought: what is planned behind `row` is planned again.
    fn widen(&mut self, row: u64, width: u64) -> Range<u64> {
        self.width = width;
        self.planned = self.planned.min(row + 1 + batch_of(width));
        self.planes = self.planes.min(planes_of(self.planned, width));
        row + 1..self.planned
    }

    /// The pages of rows, in this plane and those ahead. The second, third, fifth, ninth row and so on are probes, as far as
    /// they lie apart from their neighbours.
    pub fn rows(&self, rows: Range<u64>, data: &Range<u64>) -> Vec<Row> {
        let place = |row: u64, plane: u64| {
            let along = self.stride.checked_mul(i64::try_from(row).ok()?)?;
            let across = self.plane.checked_mul(i64::try_from(plane).ok()?)?;
            u64::try_from(self.first.checked_add(along)?.checked_add(across)?).ok()
        };
        let pages = |at: u64| {
            let start = at.max(data.start) / PAGE * PAGE;
            let end = (at + self.width).next_multiple_of(PAGE);
            start..end.min(data.end.next_multiple_of(PAGE))
        };
        let are_apart = self.stride.unsigned_abs() >= self.width + 2 * PAGE;
        let is_probe = |row: u64, plane: u64| are_apart && plane == 0 && row.is_power_of_two();
        // The first row of this plane has been read; those ahead begin with theirs.
        let rows_ahead = if rows.start <= 1 { 0..rows.end } else { rows.clone() };
        let rows_of = |plane: u64| if plane == 0 { rows.clone() } else { rows_ahead.clone() };
        let places = (0..=self.planes).flat_map(|plane| rows_of(plane).map(move |row| (row, plane)));
        let rows = places
            .filter_map(|(row, plane)| Some(Row { range: pages(place(row, plane)?), is_probe: is_probe(row, plane) }));
        rows.filter(|row| row.range.start < row.range.end).collect()
    }
}

/// So many rows of this width make a batch.
fn batch_of(width: u64) -> u64 {
    MAX_BATCH.min(MAX_BATCH_BYTES / (width + PAGE)).max(1)
}

/// So many planes ahead, with so many rows of this width each, make a batch together with the first.
pub(super) fn planes_of(rows: u64, width: u64) -> u64 {
    (batch_of(width) / rows.max(1)).saturating_sub(1)
}
