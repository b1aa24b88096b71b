//! Readers that touch data at equal distances: rows of a cutout, planes of a cube, one column of wide rows.
//!
//! A page fault shows the page that was touched and nothing of the intent; two of them one row apart show a cutout,
//! because the header tells how long a row is. The rest of the pattern is fetched as many small ranges at once,
//! in batches that grow with what was confirmed. Distances that no header explains count after three touches. Where
//! rows are sparse, the first touch in the middle of an image has some rows fetched with it, until that was in vain.

use std::collections::VecDeque;
use std::ops::Range;

use crate::metrics::Pace;

/// The unit of the page cache, in bytes, and all that the kernel is allowed to read ahead: a fault asks for the page that
/// was touched and nothing else. Reading ahead is the planner's part, which knows better, and is told what was touched.
pub const PAGE: u64 = 4096;

/// Rows this long are fetched by ranges whatever the network: the span would be several times what is needed.
pub const LONG_ROW: u64 = 64 << 10;

/// Shorter rows than this are not worth telling apart: they touch every fourth page.
pub const SHORT_ROW: u64 = 16 << 10;

/// How many walks are followed, and how many touches are remembered to find new ones.
const MAX_WALKS: usize = 8;
const MAX_TOUCHES: usize = 12;

/// The first batch of rows; each further one is twice as large as all before it, up to a bound.
const FIRST_BATCH: u64 = 64;
const MAX_BATCH: u64 = 1024;

/// So many rows come with the first touch of an image, two pages of each: 128 KiB, as much as the kernel would read by
/// itself. If they were wanted, the next batch is as large as the second of other walks.
const GUESSED: u64 = 16;
const AFTER_GUESS: u64 = 2 * FIRST_BATCH;

/// The first batch of wide rows takes at most a quarter of what a round trip transfers, but may have this many bytes.
const FIRST_SHARE: u64 = 4;
const MIN_FIRST_BYTES: u64 = 1 << 20;

/// Reads with more than this between them are not one piece.
const MAX_SLACK: u64 = 1 << 20;

/// A batch is at most this many bytes.
const MAX_BATCH_BYTES: u64 = 32 << 20;

/// Rows may turn out to be wider than they began: up to this, or a row of the image where that is longer, within a share of
/// a batch.
const MAX_WIDTH: u64 = 256 << 10;
const WIDEST_SHARE: u64 = 8;

/// A walk is repeated elsewhere if it had at most so many bytes, and dropped when so many more repetitions were in vain
/// than were right.
const MAX_REPEATED: u64 = 8 << 20;
const MAX_WRONG: u32 = 2;

/// How far from its place a touch may be: the page of a fault, and one more if a row spans two of them.
const TOLERANCE: i64 = 2 * PAGE as i64;

/// Where a pattern may be and which distances its data suggest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grid {
    /// The data.
    pub data: Range<u64>,
    /// Bytes of a row, of a plane, of a cube and so on.
    pub strides: Vec<u64>,
    /// There are rows that are too short to be among these.
    pub has_short_rows: bool,
}

impl Grid {
    /// How far apart reads may be that are one piece of a pattern: where rows are read with what lies between them, some
    /// rows of a plane are.
    fn slack(&self, pace: &Pace) -> u64 {
        match self.strides.iter().position(|stride| is_sparse(*stride, PAGE, pace)) {
            Some(level) if level > 0 || self.has_short_rows => (self.strides[level] / 4).min(MAX_SLACK),
            _ => 0,
        }
    }

    /// How wide a row of a pattern may be.
    fn widest(&self) -> u64 {
        let row = self.strides.first().filter(|_| !self.has_short_rows);
        row.map_or(0, |row| row.next_multiple_of(PAGE) + PAGE).clamp(MAX_WIDTH, MAX_BATCH_BYTES / WIDEST_SHARE)
    }
}

#[derive(Clone, Debug)]
struct Walk {
    /// The first touch, and the distance to the next, which is negative for a reader that goes backwards.
    first: i64,
    stride: i64,
    /// Bytes of a row that were touched, from its first page on.
    width: u64,
    /// The row that was touched last, and the furthest one.
    row: u64,
    reach: u64,
    /// Rows planned so far, and how many to plan first.
    planned: u64,
    batch: u64,
    /// The distance of planes in which the same rows are read, and how many of them to plan ahead.
    plane: i64,
    planes: u64,
    /// Nothing but the first row was touched so far.
    is_guess: bool,
    /// It has the shape of one that was read elsewhere.
    is_repeat: bool,
    touched: u64,
}

/// The strided readers of one object.
#[derive(Debug, Default)]
pub struct Strides {
    walks: Vec<Walk>,
    /// What was read in one go, the last first.
    touches: VecDeque<Range<u64>>,
    /// How many of the last bytes of that were read without leaving any out.
    run: u64,
    /// Rows that were fetched speculatively were not read: no more of that.
    misled: bool,
    /// How often the last walk was repeated at a place that was touched next: in vain, and rightly.
    repeats: Repeats,
    ticks: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Repeats {
    wrong: u32,
    right: u32,
    /// The last one was not confirmed yet.
    is_open: bool,
}

/// A row to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its pages.
    pub range: Range<u64>,
    /// It is left to be asked for, so that the READ shows how far the reader has come.
    pub is_probe: bool,
}

impl Strides {
    /// Takes note of a read, before which so many bytes may have been read `unseen`. Returns the rows (whole pages, within
    /// the data) to fetch if it belongs to a pattern, and none if it does not.
    pub fn advance(&mut self, read: &Range<u64>, unseen: u64, grid: &Grid, pace: &Pace) -> Option<Vec<Row>> {
        self.ticks += 1;
        self.judge(read);
        let slack = grid.slack(pace).max(unseen);
        let found = self.walks.iter().rposition(|walk| walk.row_of(read).is_some());
        let index = found.or_else(|| self.recognise(read, slack, grid, pace));
        self.note(read, unseen, slack);
        let (index, widest) = (index?, grid.widest());
        if self.run > widest {
            // It reads on and on: that is not a row of a pattern.
            self.walks.swap_remove(index);
            return None;
        }
        let walk = &mut self.walks[index];
        walk.touched = self.ticks;
        let rows = walk.extend(read, widest)?;
        if walk.is_repeat && walk.reach > 0 && std::mem::take(&mut self.repeats.is_open) {
            self.repeats.right += 1;
        }
        Some(walk.rows(rows, &grid.data))
    }

    /// A read that belongs to no pattern, after one that did: programs cut the same shape out at another place. Returns the
    /// rows to fetch, as many as were read of the last walk. None once that was mostly in vain.
    pub fn repeat(&mut self, read: &Range<u64>, grid: &Grid) -> Option<Vec<Row>> {
        let last = self.walks.iter().filter(|walk| walk.reach > 0 && !walk.is_guess).max_by_key(|walk| walk.touched)?;
        let rows = (last.reach + 1).next_power_of_two();
        if !grid.data.contains(&read.start) || rows * last.width > MAX_REPEATED {
            return None;
        }
        let walk = Walk {
            batch: rows,
            is_repeat: true,
            touched: self.ticks,
            ..Walk::new(read.start as i64, last.stride, last.width.max(read.end - read.start))
        };
        self.repeats.wrong += u32::from(std::mem::take(&mut self.repeats.is_open));
        if self.repeats.wrong > self.repeats.right + MAX_WRONG {
            return None;
        }
        self.repeats.is_open = true;
        let index = self.follow(walk)?;
        let walk = &mut self.walks[index];
        let rows = walk.extend(read, grid.widest())?;
        Some(walk.rows(rows, &grid.data))
    }

    /// `range` will not be fetched after all: the rows from there on are to be planned again.
    pub fn cut(&mut self, range: &Range<u64>) {
        for walk in &mut self.walks {
            if let Some(row) = walk.row_of(range) {
                walk.planned = walk.planned.min(row.max(1));
            }
        }
    }

    /// Forgets all patterns.
    pub fn clear(&mut self) {
        let repeats = Repeats { is_open: false, ..self.repeats };
        *self = Self { misled: self.misled, repeats, ..Self::default() };
    }

    /// The first touch in the middle of an image, which belongs to no pattern: the rows that a cutout would want next,
    /// fetched speculatively.
    /// None if they have been fetched in vain before.
    pub fn guess(&mut self, read: &Range<u64>, row: u64, grid: &Grid) -> Option<Vec<Row>> {
        let stride = i64::try_from(row).ok().filter(|_| !self.misled)?;
        let walk = Walk {
            planned: GUESSED,
            batch: AFTER_GUESS,
            is_guess: true,
            touched: self.ticks,
            ..Walk::new(read.start as i64, stride, PAGE)
        };
        let rows = walk.rows(1..GUESSED, &grid.data);
        self.follow(walk)?;
        Some(rows)
    }

    /// Whether a read is what was guessed, if anything was. A row that was not read itself shows nothing yet; a row of which
    /// more is read than the pages around the touch is not that of a cutout.
    fn judge(&mut self, read: &Range<u64>) {
        let Some(index) = self.walks.iter().position(|walk| walk.is_guess) else { return };
        let walk = &mut self.walks[index];
        match walk.row_of(read) {
            Some(0) if read.start as i64 - walk.first <= PAGE as i64 => {}
            Some(row) if row > 0 => walk.is_guess = false,
            _ => {
                self.walks.swap_remove(index);
                self.misled = true;
            }
        }
    }

    /// Remembers a read, as a part of the one that it goes on from.
    fn note(&mut self, read: &Range<u64>, unseen: u64, slack: u64) {
        let last = self.touches.front().map(|last| last.end);
        self.run = match last.filter(|last| (*last..=last + unseen).contains(&read.start)) {
            Some(last) => self.run + (read.end - last),
            None => read.end - read.start,
        };
        match self.touches.front_mut() {
            Some(last) if (last.end..=last.end + slack).contains(&read.start) => last.end = read.end,
            _ => self.touches.push_front(read.clone()),
        }
        self.touches.truncate(MAX_TOUCHES);
    }

    /// A new walk that ends, so far, with this read.
    fn recognise(&mut self, read: &Range<u64>, slack: u64, grid: &Grid, pace: &Pace) -> Option<usize> {
        if self.touches.front().is_some_and(|last| (last.end..=last.end + slack).contains(&read.start)) {
            return None;
        }
        let walk = self.next_plane(read, grid).or_else(|| {
            let earlier = || self.touches.iter().filter(|before| grid.data.contains(&before.start));
            let known = earlier().find_map(|before| Some((before, explained(distance(before, read), grid)?)));
            let (before, stride) = known.or_else(|| self.repeated(read, grid))?;
            let (first, width) = (before.start as i64, (before.end - before.start).min(MAX_BATCH_BYTES));
            let most = ((pace.latency * pace.bandwidth) as u64 / FIRST_SHARE).max(MIN_FIRST_BYTES);
            let walk = Walk { batch: FIRST_BATCH.min(most / width.max(1)).max(1), ..Walk::new(first, stride, width) };
            is_sparse(stride.unsigned_abs(), width, pace).then_some(walk)
        })?;
        self.follow(walk)
    }

    /// One more walk, for the one that was not touched for the longest time.
    fn follow(&mut self, walk: Walk) -> Option<usize> {
        if self.walks.len() >= MAX_WALKS {
            let oldest = (0..self.walks.len()).min_by_key(|index| self.walks[*index].touched)?;
            self.walks.swap_remove(oldest);
        }
        self.walks.push(walk);
        Some(self.walks.len() - 1)
    }

    /// The distance of this read from the last one, if that was as far from the one before.
    fn repeated(&self, read: &Range<u64>, grid: &Grid) -> Option<(&Range<u64>, i64)> {
        let (before, first) = (self.touches.front()?, self.touches.get(1)?);
        let stride = distance(before, read);
        let again = is_near(stride, distance(first, before)) && stride.unsigned_abs() >= LONG_ROW;
        let inside = grid.data.contains(&before.start) && grid.data.contains(&first.start);
        Some((before, snapped(stride, grid))).filter(|_| again && inside)
    }

    /// The rows of a walk again, one or some planes further on: all of them at once, since their number is known, and
    /// those of further planes the more often they were wanted.
    fn next_plane(&self, read: &Range<u64>, grid: &Grid) -> Option<Walk> {
        self.walks.iter().rev().find_map(|walk| {
            let distance = read.start as i64 - walk.first;
            let extent = walk.stride.unsigned_abs() * walk.planned.max(2);
            let steps = (1..=walk.planes as i64 + 1).map(|steps| steps * distance.signum());
            let is_step = |plane: i64| {
                steps.clone().any(|steps| steps.checked_mul(plane).is_some_and(|place| is_near(distance, place)))
            };
            let plane = grid.strides.iter().find(|plane| **plane > extent && is_step(**plane as i64))?;
            let plane = *plane as i64 * distance.signum();
            let planes = (4 * walk.planes + 3).min(planes_of(walk.planned, walk.width));
            Some(Walk {
                first: read.start as i64,
                row: 0,
                reach: 0,
                planned: 0,
                batch: walk.planned,
                plane,
                planes,
                ..*walk
            })
        })
    }
}

impl Walk {
    /// Rows of so many bytes, of which nothing is planned.
    fn new(first: i64, stride: i64, width: u64) -> Self {
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
    fn row_of(&self, read: &Range<u64>) -> Option<u64> {
        let from_first = read.start as i64 - self.first;
        let row = (from_first + self.stride.signum() * TOLERANCE / 2).checked_div(self.stride)?;
        let row = u64::try_from(row).ok().filter(|row| *row <= self.planned.max(1) + 1)?;
        let within = from_first - row as i64 * self.stride;
        (-TOLERANCE..self.width as i64 + TOLERANCE).contains(&within).then_some(row)
    }

    /// The rows to fetch after a read: none while enough of them are planned.
    fn extend(&mut self, read: &Range<u64>, widest: u64) -> Option<Range<u64>> {
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
    fn rows(&self, rows: Range<u64>, data: &Range<u64>) -> Vec<Row> {
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
fn planes_of(rows: u64, width: u64) -> u64 {
    (batch_of(width) / rows.max(1)).saturating_sub(1)
}

fn distance(from: &Range<u64>, to: &Range<u64>) -> i64 {
    to.start as i64 - from.start as i64
}

/// The stride of the data that is the distance of two reads.
fn explained(distance: i64, grid: &Grid) -> Option<i64> {
    let stride = grid.strides.iter().find(|stride| is_near(distance.abs(), **stride as i64));
    stride.map(|stride| *stride as i64 * distance.signum())
}

/// A distance, as a multiple of a stride of the data if it is near one.
fn snapped(distance: i64, grid: &Grid) -> i64 {
    let multiple = |stride: &u64| {
        let stride = i64::try_from(*stride).ok().filter(|stride| *stride >= SHORT_ROW as i64)?;
        let times = (distance.abs() + stride / 2) / stride;
        (times > 0 && is_near(distance.abs(), times * stride)).then_some(times * stride * distance.signum())
    };
    grid.strides.iter().rev().find_map(multiple).unwrap_or(distance)
}

fn is_near(a: i64, b: i64) -> bool {
    (a - b).abs() < TOLERANCE
}

/// Whether pieces of `width` bytes at a distance of `stride` are better fetched one by one than with what lies between.
pub fn is_sparse(stride: u64, width: u64, pace: &Pace) -> bool {
    let width = width + PAGE;
    stride >= LONG_ROW.max(4 * width)
        || (stride >= SHORT_ROW && stride > width && pace.is_worth_a_request(stride - width))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const REGION: Pace = Pace::measured(0.03, 600e6);
    const HOME: Pace = Pace::measured(0.1, 12e6);
    const DATA: Range<u64> = 11_520..11_520 + (1 << 32);

    fn grid(strides: &[u64]) -> Grid {
        Grid { data: DATA, strides: strides.to_vec(), has_short_rows: false }
    }

    /// A reader that touches `width` bytes at each of the given places through a map of which nothing is cached but what was
    /// read or planned: the READs of what was not, and all that was fetched.
    fn map(
        strides: &mut Strides,
        grid: &Grid,
        pace: &Pace,
        places: impl Iterator<Item = u64>,
        width: u64,
    ) -> (usize, u64) {
        let (mut cached, mut held) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
        let (mut reads, mut fetched) = (0, 0);
        for place in places {
            for page in place / PAGE..(place + width).div_ceil(PAGE) {
                if !cached.insert(page) {
                    continue;
                }
                if held.insert(page) {
                    reads += 1;
                    fetched += PAGE;
                }
                let planned = strides.advance(&(page * PAGE..(page + 1) * PAGE), 0, grid, pace).unwrap_or_default();
                for Row { range, is_probe } in planned {
                    for page in range.start / PAGE..range.end.div_ceil(PAGE) {
                        fetched += if held.insert(page) { PAGE } else { 0 };
                        // Probes are asked for, and are there at once.
                        cached.extend((!is_probe).then_some(page));
                    }
                }
            }
        }
        (reads, fetched)
    }

    fn rows(first: u64, stride: u64, count: u64) -> impl Iterator<Item = u64> {
        (0..count).map(move |row| DATA.start + first + row * stride)
    }

    #[test]
    fn a_cutout_of_long_rows_takes_few_reads_and_few_bytes() {
        let (row, count) = (160_000, 400);
        let (reads, fetched) =
            map(&mut Strides::default(), &grid(&[row]), &REGION, rows(800_080_000, row, count), 1600);
        assert!(reads <= 12, "{reads} reads");
        assert!(fetched <= 12 << 20, "{fetched} bytes of a span of 64 MB");
    }

    #[test]
    fn planes_of_a_cube_are_one_pattern() {
        let (row, plane) = (80_000, 80_000 * 1000);
        let mut strides = Strides::default();
        let places = (0..6).flat_map(|n| rows(4_000_000 + n * plane, row, 30));
        let (reads, fetched) = map(&mut strides, &grid(&[row, plane]), &REGION, places, 400);
        assert!(reads <= 12, "{reads} reads for six planes of 30 rows");
        assert!(fetched <= 12 << 20, "{fetched} bytes");
    }

    #[test]
    fn rows_wider_than_they_seemed_are_widened() {
        let (row, count) = (1_000_000, 200);
        let (reads, _) = map(&mut Strides::default(), &grid(&[row]), &REGION, rows(5_000_000, row, count), 60_000);
        assert!(reads <= 50, "{reads} reads for 200 rows of 60 KB");
    }

    #[test]
    fn a_slanted_cutout_is_followed() {
        let (row, count) = (1_000_000, 400);
        let slanted = rows(500_100_000, row + 400, count);
        let (reads, _) = map(&mut Strides::default(), &grid(&[row]), &REGION, slanted, 8_000);
        assert!(reads <= 14, "{reads} reads for {count} rows");
    }

    #[test]
    fn a_column_that_goes_backwards_is_followed() {
        let row = 200_000;
        let places: Vec<_> = rows(0, row, 100).collect();
        let (reads, _) = map(&mut Strides::default(), &grid(&[row]), &REGION, places.into_iter().rev(), 8);
        assert!(reads <= 8, "{reads} reads");
    }

    #[test]
    fn short_rows_are_fetched_apart_only_where_bytes_are_dear() {
        let row = 22_000;
        let (reads, _) = map(&mut Strides::default(), &grid(&[row]), &REGION, rows(66_000_000, row, 400), 1600);
        assert!(reads > 400, "streams are better there: {reads} reads");
        let (reads, fetched) = map(&mut Strides::default(), &grid(&[row]), &HOME, rows(66_000_000, row, 400), 1600);
        assert!(reads < 20 && fetched < 5 << 20, "{reads} reads, {fetched} bytes of a span of 8.8 MB");
    }

    #[test]
    fn rows_that_could_not_be_fetched_are_planned_again() {
        let mut strides = Strides::default();
        let read = |row: u64| (10 + row * 40) * PAGE..(11 + row * 40) * PAGE;
        strides.advance(&read(0), 0, &grid(&[40 * PAGE]), &REGION);
        let planned = strides.advance(&read(1), 0, &grid(&[40 * PAGE]), &REGION).unwrap();
        strides.cut(&planned.iter().find(|row| row.range.start == read(10).start).unwrap().range);
        let again = strides.advance(&read(10), 0, &grid(&[40 * PAGE]), &REGION).unwrap();
        assert!(again.iter().any(|row| row.range.start == read(11).start));
    }

    #[test]
    fn equal_distances_count_without_geometry_after_three() {
        let mut strides = Strides::default();
        let read = |n: u64| n * 300_000 / PAGE * PAGE + 12_288..n * 300_000 / PAGE * PAGE + 16_384;
        assert_eq!(strides.advance(&read(1), 0, &grid(&[]), &REGION), None);
        assert_eq!(strides.advance(&read(2), 0, &grid(&[]), &REGION), None);
        let planned = strides.advance(&read(3), 0, &grid(&[]), &REGION).expect("three touches");
        assert!(planned.iter().any(|row| row.range.contains(&read(4).start)));
    }

    #[test]
    fn the_shape_of_a_cutout_is_repeated_at_the_next_place() {
        let (row, grid) = (80_000, grid(&[80_000]));
        let mut strides = Strides::default();
        let page = |place: u64| place / PAGE * PAGE..place / PAGE * PAGE + PAGE;
        for place in rows(8_000_000, row, 20) {
            strides.advance(&page(place), 0, &grid, &REGION);
        }
        let next: Vec<_> = rows(90_040_000, row, 20).collect();
        assert_eq!(strides.advance(&page(next[0]), 0, &grid, &REGION), None);
        let planned = strides.repeat(&page(next[0]), &grid).expect("the same shape");
        let has = |place: &u64| planned.iter().any(|row| row.range.contains(place));
        assert!(next[1..].iter().all(has) && planned.len() <= 32, "{} rows", planned.len());
        assert!(planned.iter().filter(|row| row.is_probe).count() <= 5);
    }

    #[test]
    fn a_shape_that_is_not_repeated_is_dropped() {
        let grid = grid(&[80_000]);
        let mut strides = Strides::default();
        let page = |place: u64| place / PAGE * PAGE..place / PAGE * PAGE + PAGE;
        for place in rows(8_000_000, 80_000, 20) {
            strides.advance(&page(place), 0, &grid, &REGION);
        }
        let random = (1..50u64).map(|n| page(DATA.start + n * 16_037_111));
        let repeated = random
            .filter(|read| strides.advance(read, 0, &grid, &REGION).is_none() && strides.repeat(read, &grid).is_some());
        assert!(repeated.count() <= 4);
    }

    proptest! {
        #[test]
        fn plans_are_pages_of_the_data_and_bounded(
            reads in proptest::collection::vec((0u64..1 << 33, 1u64..1 << 17), 1..200),
            lengths in proptest::collection::vec(1u64..1 << 30, 0..4),
        ) {
            let (mut strides, grid) = (Strides::default(), grid(&lengths));
            for (start, length) in reads {
                let read = start / PAGE * PAGE..(start + length).next_multiple_of(PAGE);
                let planned = strides.advance(&read, 0, &grid, &HOME).unwrap_or_default();
                let bytes: u64 = planned.iter().map(|row| row.range.end - row.range.start).sum();
                prop_assert!(bytes <= 4 * MAX_BATCH_BYTES, "{} bytes", bytes);
                for Row { range, .. } in planned {
                    prop_assert!(range.start < range.end && range.start % PAGE == 0 && range.end % PAGE == 0);
                    prop_assert!(range.end > DATA.start && range.start < DATA.end);
                }
            }
        }
    }
}
