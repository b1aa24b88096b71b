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
fn map(strides: &mut Strides, grid: &Grid, pace: &Pace, places: impl Iterator<Item = u64>, width: u64) -> (usize, u64) {
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

/// Every other row of an image, whole.
#[test]
fn wide_rows_are_fetched_whole() {
    let (mut strides, row) = (Strides::default(), 326_816);
    let (reads, fetched) = map(&mut strides, &grid(&[row]), &REGION, rows(0, 2 * row, 170), row);
    assert!(reads < 400, "{reads} READs that wait for 170 rows");
    assert!(fetched < 2 * 170 * row, "{fetched} bytes");
}

#[test]
fn a_reader_that_reads_on_is_in_no_pattern() {
    let (mut strides, plane) = (Strides::default(), 12_564_608);
    let grid = Grid { has_short_rows: true, ..grid(&[plane]) };
    for n in 0..3 {
        let at = DATA.start + n * plane;
        strides.advance(&(at..at + PAGE), 0, &grid, &HOME);
    }
    let start = DATA.start + 3 * plane;
    let mut reads = (start..start + plane).step_by(128 << 10).map(|at| at..at + (128 << 10));
    let first = reads.next().unwrap();
    assert!(strides.advance(&first, 0, &grid, &HOME).is_some(), "it begins like one");
    let followed = reads.filter(|read| strides.advance(read, 0, &grid, &HOME).is_some()).count();
    assert!(followed <= 2, "{followed} READs of a plane were taken for a row");
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
