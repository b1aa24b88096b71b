//! Readers that touch data at equal distances: rows of a cutout, planes of a cube, one column of wide rows.
//!
//! A page fault shows the page that was touched and nothing of the intent; two of them one row apart show a cutout,
//! because the header tells how long a row is. The rest of the pattern is fetched as many small ranges at once,
//! in batches that grow with what was confirmed. Distances that no header explains count after three touches. Where
//! rows are sparse, the first touch in the middle of an image has some rows fetched with it, until that was in vain.

mod walk;

use std::collections::VecDeque;
use std::ops::Range;

use self::walk::{FIRST_BATCH, MAX_BATCH_BYTES, TOLERANCE, Walk, planes_of};
use crate::metrics::Pace;

pub use self::walk::{PAGE, Row};

/// Rows this long are fetched by ranges whatever the network: the span would be several times what is needed.
pub const LONG_ROW: u64 = 64 << 10;

/// Shorter rows than this are not worth telling apart: they touch every fourth page.
pub const SHORT_ROW: u64 = 16 << 10;

/// How many walks are followed, and how many touches are remembered to find new ones.
const MAX_WALKS: usize = 8;
const MAX_TOUCHES: usize = 12;

/// So many rows come with the first touch of an image, two pages of each: 128 KiB, as much as the kernel would read by
/// itself. If they were wanted, the next batch is as large as the second of other walks.
const GUESSED: u64 = 16;
const AFTER_GUESS: u64 = 2 * FIRST_BATCH;

/// The first batch of wide rows takes at most a quarter of what a round trip transfers, but may have this many bytes.
const FIRST_SHARE: u64 = 4;
const MIN_FIRST_BYTES: u64 = 1 << 20;

/// Reads with more than this between them are not one piece.
const MAX_SLACK: u64 = 1 << 20;

/// Rows may turn out to be wider than they began: up to this, or a row of the image where that is longer, within a share of
/// a batch.
const MAX_WIDTH: u64 = 256 << 10;
const WIDEST_SHARE: u64 = 8;

/// A walk is repeated elsewhere if it had at most so many bytes, and dropped when so many more repetitions were in vain
/// than were right.
const MAX_REPEATED: u64 = 8 << 20;
const MAX_WRONG: u32 = 2;

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
mod tests;
