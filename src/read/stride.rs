//! Readers that touch data at equal distances: rows of a cutout, planes of a cube, one column of wide rows.
//!
//! A page fault shows the page that was touched and nothing of the intent; two of them one row apart give a cutout
//! away, because the header tells how long a row is. The rest of the pattern is fetched as many small ranges at once,
//! in batches that grow with what was confirmed. Distances that no header explains count after three touches.

use std::collections::VecDeque;
use std::ops::Range;

use super::Pace;

/// The unit of the page cache and of a fault, in bytes.
pub const PAGE: u64 = 4096;

/// What the kernel may read ahead at once, which is also what it asks for around a page that is touched. Half of what
/// is usual: reading ahead is the planner's part, and a smaller window tells better what was touched and costs less.
pub const WINDOW: u64 = 64 << 10;

/// A fault asks for a window with the touched page in its middle.
pub const HALF_WINDOW: u64 = WINDOW / 2;

/// Rows this long are fetched by ranges whatever the network: the span would be several times what is needed.
const LONG_ROW: u64 = 64 << 10;

/// Shorter rows than this are not worth telling apart: they touch every fourth page.
pub const SHORT_ROW: u64 = 16 << 10;

/// How many walks are followed, and how many touches are remembered to find new ones.
const MAX_WALKS: usize = 8;
const MAX_TOUCHES: usize = 12;

/// The first batch of rows; each further one is as large as all before it, up to a bound.
const FIRST_BATCH: u64 = 32;
const MAX_BATCH: u64 = 1024;

/// A batch is at most this many bytes.
const MAX_BATCH_BYTES: u64 = 32 << 20;

/// What is fetched of a row beyond the touched page at first: a little where bytes are dear.
const NARROW: u64 = PAGE / 2;
const WIDE: u64 = 3 * PAGE;

/// Rows may turn out to be wider than they began, by so much at once.
const MAX_WIDTH: u64 = 128 << 10;

/// How far from its place a touch may be: the page of a fault, and one more if a row spans two of them.
const TOLERANCE: i64 = 2 * PAGE as i64;

/// A read of data, as far as it tells what a program touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touch {
    /// Where the touched bytes begin, to the page.
    pub at: u64,
    /// How many bytes were asked for from there on, if a program asked for them (no fault, which asks for a window).
    pub exact: Option<u64>,
    /// Whether pages right before `at` were asked for only as its window.
    pub skipped: bool,
}

impl Touch {
    /// What a READ tells: a fault asks for a window of 64 KiB around the touched page, less what is cached before it.
    pub fn of(read: &Range<u64>) -> Self {
        let length = read.end - read.start;
        match length > HALF_WINDOW {
            true => Self { at: read.end - HALF_WINDOW, exact: None, skipped: length < WINDOW },
            false => Self { at: read.start, exact: Some(length), skipped: false },
        }
    }
}

/// Where a pattern may be and which distances its data suggest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grid {
    /// The data.
    pub data: Range<u64>,
    /// Bytes of a row, of a plane, of a cube and so on.
    pub strides: Vec<u64>,
}

#[derive(Clone, Debug)]
struct Walk {
    /// The first touch, and the distance to the next, which is negative for a reader that goes backwards.
    first: i64,
    stride: i64,
    /// The touched bytes begin less than this behind `first`: a fault tells the page only, some of them tell more.
    play: u64,
    /// Bytes fetched of each row from where it may begin at the latest.
    width: u64,
    /// Rows planned so far, and how many to plan first.
    planned: u64,
    batch: u64,
    /// The distance of planes in which the same rows are read, and how many of them to plan ahead.
    plane: i64,
    planes: u64,
    touched: u64,
}

/// The strided readers of one object.
#[derive(Debug, Default)]
pub struct Strides {
    walks: Vec<Walk>,
    touches: VecDeque<Touch>,
    ticks: u64,
}

impl Strides {
    /// Takes note of a touch. Returns the ranges (whole pages, within the data) to fetch if it belongs to a pattern, and none
    /// if it does not.
    pub fn advance(&mut self, touch: Touch, grid: &Grid, pace: &Pace) -> Option<Vec<Range<u64>>> {
        self.ticks += 1;
        let found = self.walks.iter().rposition(|walk| walk.row_of(&touch).is_some());
        let index = found.or_else(|| self.recognise(&touch, grid, pace));
        if index.is_none() {
            self.touches.push_front(touch);
            self.touches.truncate(MAX_TOUCHES);
        }
        let walk = &mut self.walks[index?];
        walk.touched = self.ticks;
        let rows = walk.extend(&touch)?;
        Some(walk.ranges(rows, &grid.data))
    }

    /// Forgets all patterns.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// A new walk that ends, so far, with this touch.
    fn recognise(&mut self, touch: &Touch, grid: &Grid, pace: &Pace) -> Option<usize> {
        let walk = self.next_plane(touch, grid).or_else(|| {
            let earlier = || self.touches.iter().filter(|before| grid.data.contains(&before.at));
            let known = earlier().find_map(|before| Some((before, explained(distance(before, touch), grid)?)));
            let (before, stride) = known.or_else(|| self.repeated(touch, grid))?;
            let width = touch.exact.unwrap_or(if pace.is_worth_a_request(WIDE) { NARROW } else { WIDE });
            let first = before.at as i64;
            let walk = Walk { first, stride, play: PAGE, width, planned: 0, batch: FIRST_BATCH, plane: 0, planes: 0, touched: 0 };
            is_worth_ranges(stride.unsigned_abs(), touch, pace).then_some(walk)
        })?;
        if self.walks.len() >= MAX_WALKS {
            let oldest = (0..self.walks.len()).min_by_key(|index| self.walks[*index].touched)?;
            self.walks.swap_remove(oldest);
        }
        self.walks.push(walk);
        Some(self.walks.len() - 1)
    }

    /// The distance of this touch from the last one, if that was as far from the one before.
    fn repeated(&self, touch: &Touch, grid: &Grid) -> Option<(&Touch, i64)> {
        let (before, first) = (self.touches.front()?, self.touches.get(1)?);
        let distance = distance(before, touch);
        let again = is_near(distance, before.at as i64 - first.at as i64);
        let inside = grid.data.contains(&before.at) && grid.data.contains(&first.at);
        Some((before, snapped(distance, grid).filter(|_| again && inside)?))
    }

    /// The rows of a walk again, one or some planes further on: all of them at once, since their number is known, and
    /// those of further planes the more often they were wanted.
    fn next_plane(&self, touch: &Touch, grid: &Grid) -> Option<Walk> {
        self.walks.iter().rev().find_map(|walk| {
            let distance = touch.at as i64 - walk.first;
            let extent = walk.stride.unsigned_abs() * walk.planned.max(2);
            let steps = (1..=walk.planes as i64 + 1).map(|steps| steps * distance.signum());
            let is_step = |plane: i64| steps.clone().any(|steps| is_near(distance, steps * plane));
            let plane = grid.strides.iter().find(|plane| **plane > extent && is_step(**plane as i64))?;
            let plane = *plane as i64 * distance.signum();
            let planes = (2 * walk.planes + 1).min(MAX_BATCH / walk.planned.max(1));
            Some(Walk { first: touch.at as i64, play: PAGE, planned: 0, batch: walk.planned, plane, planes, ..*walk })
        })
    }
}

impl Walk {
    /// Which row a touch belongs to, if any: one of those planned, or soon after them.
    fn row_of(&self, touch: &Touch) -> Option<u64> {
        let from_first = touch.at as i64 - self.first;
        let row = (from_first + self.stride.signum() * TOLERANCE / 2).checked_div(self.stride)?;
        let row = u64::try_from(row).ok().filter(|row| *row <= self.planned + FIRST_BATCH)?;
        let within = from_first - row as i64 * self.stride;
        let reach = (self.width as i64 + TOLERANCE).max((self.stride.abs() / 8).min(MAX_WIDTH as i64));
        (-TOLERANCE..reach).contains(&within).then_some(row)
    }

    /// The rows to fetch after a touch: none while enough of them are planned.
    fn extend(&mut self, touch: &Touch) -> Option<Range<u64>> {
        let row = self.row_of(touch)?;
        let within = touch.at as i64 - self.first - row as i64 * self.stride;
        self.play = u64::try_from(within + PAGE as i64).map_or(self.play, |play| play.clamp(1, self.play));
        let beyond = within.unsigned_abs();
        let wanted = beyond + touch.exact.unwrap_or(PAGE);
        if wanted > self.width + 2 * PAGE {
            // Rows are wider than was thought: what is planned is planned again.
            self.width = (2 * wanted).min(self.stride.unsigned_abs() / 2).min(2 * MAX_WIDTH);
            return Some(row + 1..self.planned);
        }
        if row + 1 < self.planned {
            return Some(0..0);
        }
        let begin = self.planned.max(row + 1);
        let size = if self.planned == 0 { self.batch } else { self.planned };
        self.planned = begin + size.min(MAX_BATCH).min(MAX_BATCH_BYTES / (self.width + 2 * PAGE)).max(1);
        Some(begin..self.planned)
    }

    /// The pages of rows, in this plane and those ahead.
    fn ranges(&self, rows: Range<u64>, data: &Range<u64>) -> Vec<Range<u64>> {
        let place = |row: u64, plane: u64| {
            let along = self.stride.checked_mul(i64::try_from(row).ok()?)?;
            let across = self.plane.checked_mul(i64::try_from(plane).ok()?)?;
            u64::try_from(self.first.checked_add(along)?.checked_add(across)?).ok()
        };
        let pages = |at: u64| {
            let start = at.max(data.start) / PAGE * PAGE;
            let end = (at + self.play + self.width).div_ceil(PAGE) * PAGE;
            start..end.min(data.end.next_multiple_of(PAGE))
        };
        // The first row of this plane has been read; those ahead begin with theirs.
        let rows_ahead = if rows.start <= 1 { 0..rows.end } else { rows.clone() };
        let rows_of = |plane: u64| if plane == 0 { rows.clone() } else { rows_ahead.clone() };
        let places = (0..=self.planes).flat_map(|plane| rows_of(plane).map(move |row| (row, plane)));
        let ranges = places.filter_map(|(row, plane)| place(row, plane)).map(pages);
        ranges.filter(|range| range.start < range.end).collect()
    }
}

fn distance(from: &Touch, to: &Touch) -> i64 {
    to.at as i64 - from.at as i64
}

/// The stride of the data that is the distance of two touches.
fn explained(distance: i64, grid: &Grid) -> Option<i64> {
    let long = |stride: &&u64| **stride >= LONG_ROW && is_near(distance.abs(), **stride as i64);
    grid.strides.iter().find(long).map(|stride| *stride as i64 * distance.signum())
}

/// The stride of a distance that came twice: a multiple of a stride of the data if it is near one, and that stride
/// itself where the window of one fault covers the rows up to the next.
fn snapped(distance: i64, grid: &Grid) -> Option<i64> {
    if distance.unsigned_abs() < 2 * SHORT_ROW {
        return None;
    }
    let multiple = |stride: &u64| {
        let stride = i64::try_from(*stride).ok().filter(|stride| *stride >= SHORT_ROW as i64)?;
        let times = (distance.abs() + stride / 2) / stride;
        let hidden = distance.unsigned_abs() < WINDOW;
        let step = if hidden { stride } else { times * stride };
        (times > 0 && is_near(distance.abs(), times * stride)).then_some(step * distance.signum())
    };
    Some(grid.strides.iter().rev().find_map(multiple).unwrap_or(distance))
}

fn is_near(a: i64, b: i64) -> bool {
    (a - b).abs() < TOLERANCE
}

/// Whether pieces are better fetched one by one than with what lies between them.
fn is_worth_ranges(stride: u64, touch: &Touch, pace: &Pace) -> bool {
    let width = touch.exact.unwrap_or(NARROW) + 2 * PAGE;
    stride >= LONG_ROW.max(4 * width) || (touch.skipped && pace.is_worth_a_request(stride.saturating_sub(width)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const REGION: Pace = Pace { latency: 0.03, bandwidth: 600e6 };
    const HOME: Pace = Pace { latency: 0.1, bandwidth: 12e6 };
    const DATA: Range<u64> = 11_520..11_520 + (1 << 32);

    fn grid(strides: &[u64]) -> Grid {
        Grid { data: DATA, strides: strides.to_vec() }
    }

    /// A reader that touches `width` bytes at each of the given places through a map of which nothing is cached but
    /// what was read or planned: the READs that the kernel sends, and all that was fetched.
    fn map(strides: &mut Strides, grid: &Grid, pace: &Pace, places: impl Iterator<Item = u64>, width: u64) -> (usize, u64) {
        let (mut cached, mut reads, mut fetched) = (std::collections::BTreeSet::new(), 0, 0);
        for place in places {
            for page in place / PAGE..(place + width).div_ceil(PAGE) {
                if cached.contains(&page) {
                    continue;
                }
                let half = HALF_WINDOW / PAGE;
                let first = (page - half..page).rev().take_while(|p| !cached.contains(p)).last().unwrap_or(page);
                let read = first * PAGE..(page + half) * PAGE;
                reads += 1;
                let planned = strides.advance(Touch::of(&read), grid, pace).unwrap_or_default();
                for range in std::iter::once(read).chain(planned) {
                    let pages = range.start / PAGE..range.end.div_ceil(PAGE);
                    fetched += pages.filter(|page| cached.insert(*page)).count() as u64 * PAGE;
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
        let (reads, fetched) = map(&mut Strides::default(), &grid(&[row]), &REGION, rows(800_080_000, row, count), 1600);
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
        assert!(reads <= 60, "{reads} reads for 200 rows of 60 KB");
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
        let (reads, near) = map(&mut Strides::default(), &grid(&[row]), &REGION, rows(66_000_000, row, 400), 1600);
        assert!(reads > 150, "streams are better there: {reads} reads");
        let (reads, far) = map(&mut Strides::default(), &grid(&[row]), &HOME, rows(66_000_000, row, 400), 1600);
        assert!(reads < 20 && far < near / 4 * 3, "{reads} reads, {far} bytes of {near}");
    }

    #[test]
    fn equal_distances_count_without_geometry_after_three() {
        let mut strides = Strides::default();
        let touch = |n: u64| Touch { at: n * 300_000 / PAGE * PAGE + 12_288, exact: Some(4096), skipped: false };
        assert_eq!(strides.advance(touch(1), &grid(&[]), &REGION), None);
        assert_eq!(strides.advance(touch(2), &grid(&[]), &REGION), None);
        let planned = strides.advance(touch(3), &grid(&[]), &REGION).expect("three touches");
        assert!(planned.iter().any(|range| range.contains(&touch(4).at)));
    }

    proptest! {
        #[test]
        fn plans_are_pages_of_the_data_and_bounded(
            touches in proptest::collection::vec((0u64..1 << 33, proptest::option::of(1u64..1 << 17), any::<bool>()), 1..200),
            lengths in proptest::collection::vec(1u64..1 << 30, 0..4),
        ) {
            let (mut strides, grid) = (Strides::default(), grid(&lengths));
            for (at, exact, skipped) in touches {
                let touch = Touch { at: at / PAGE * PAGE, exact, skipped };
                let planned = strides.advance(touch, &grid, &HOME).unwrap_or_default();
                let bytes: u64 = planned.iter().map(|range| range.end - range.start).sum();
                prop_assert!(bytes <= 4 * MAX_BATCH_BYTES, "{} bytes", bytes);
                for range in planned {
                    prop_assert!(range.start < range.end && range.start % PAGE == 0 && range.end % PAGE == 0);
                    prop_assert!(range.end > DATA.start && range.start < DATA.end);
                }
            }
        }
    }
}
