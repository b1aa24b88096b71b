//! What comes with the first touch of an image, at a high latency.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

const HOME: Pace = Pace::measured(0.1, 12e6);

/// A file with one HDU of 4-byte elements, NAXIS1 first, behind an empty primary HDU; its planner has seen the headers.
fn opened(extension: &str, axes: &[u64]) -> (Planner, Hdu) {
    let primary = cards(&["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 0"]);
    let bitpix: i64 = if extension == "IMAGE" { -32 } else { 8 };
    let mut lines =
        vec![format!("XTENSION= '{extension:8}'"), format!("BITPIX  = {bitpix}"), format!("NAXIS   = {}", axes.len())];
    lines.extend(axes.iter().zip(1..).map(|(axis, n)| format!("NAXIS{n}  = {axis}")));
    lines.extend(["PCOUNT  = 0".to_owned(), "GCOUNT  = 1".to_owned()]);
    if extension == "BINTABLE" {
        lines.extend(["TFIELDS = 1".to_owned(), format!("TFORM1  = '{}E'", axes[0] / 4)]);
    }
    let header = cards(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    let start = primary.len() as u64;
    let data = axes.iter().product::<u64>() * bitpix.unsigned_abs() / 8;
    let size = start + header.len() as u64 + data.div_ceil(2880) * 2880;
    let mut planner = Planner::new(size, true, None, 64 * MIB, u64::MAX);
    read(&mut planner, &[(0, primary), (start, header)], 0..PAGE);
    let hdu = planner.layout().hdus[1].clone();
    (planner, hdu)
}

/// Touches the page at `offset` of the data: what comes with it, and was decided from distances.
fn touch(planner: &mut Planner, hdu: &Hdu, offset: u64) -> Vec<Range<u64>> {
    let page = (hdu.data_offset + offset) / PAGE * PAGE;
    let decision = planner.on_read(page..page + PAGE, Given::default(), &HOME);
    let is_row = |p: &Planned| matches!(p.origin, Origin::Strided | Origin::Probe);
    decision.ahead.into_iter().filter(is_row).map(|p| p.range).collect()
}

/// Copies `rows` pieces of `width` bytes from a map, the last page of each first, as `memcpy` does. Returns how many
/// times the reader waited, and what was fetched.
fn copy(planner: &mut Planner, hdu: &Hdu, offset: u64, rows: u64, width: u64) -> (usize, u64) {
    let (mut cached, mut held, mut rounds) = (BTreeSet::new(), BTreeSet::new(), 0);
    for row in 0..rows {
        let at = hdu.data_offset + offset + row * hdu.row_len();
        for page in (at / PAGE..(at + width).div_ceil(PAGE)).rev() {
            if cached.contains(&page) {
                continue;
            }
            // What a read is answered from is in the page cache only once it was asked for.
            let was_held = held.contains(&page);
            rounds += usize::from(!was_held);
            let decision = planner.on_read(page * PAGE..(page + 1) * PAGE, Given { held: was_held, unseen: 0 }, &HOME);
            held.extend(decision.demand.start / PAGE..decision.demand.end.div_ceil(PAGE));
            cached.extend(decision.ahead.iter().flat_map(|p| p.range.start / PAGE..p.range.end.div_ceil(PAGE)));
        }
    }
    held.extend(cached);
    (rounds, held.len() as u64 * PAGE)
}

#[test]
fn the_first_touch_of_an_image_brings_some_rows_along() {
    let (mut planner, hdu) = opened("IMAGE", &[5500, 6000]);
    let ranges = touch(&mut planner, &hdu, 3000 * 22_000 + 10_000);
    for row in 1..16 {
        let at = hdu.data_offset + (3000 + row) * 22_000 + 10_000;
        assert!(ranges.iter().any(|r| r.contains(&at)), "row {row} was not fetched");
    }
    assert!(bytes(&ranges) <= 160 << 10, "{} bytes", bytes(&ranges));
}

#[test]
fn neither_cubes_nor_tables_nor_the_start_of_an_image_are_taken_for_cutouts() {
    let (mut planner, hdu) = opened("IMAGE", &[5500, 600, 10]);
    assert_eq!(touch(&mut planner, &hdu, 300 * 22_000), []);
    let (mut planner, hdu) = opened("BINTABLE", &[22_000, 6000]);
    assert_eq!(touch(&mut planner, &hdu, 3000 * 22_000), []);
    let (mut planner, hdu) = opened("IMAGE", &[5500, 6000]);
    assert_eq!(touch(&mut planner, &hdu, 0), []);
    let (mut planner, hdu) = opened("IMAGE", &[5500, 6000, 1]);
    assert_ne!(touch(&mut planner, &hdu, 300 * 22_000), []);
}

#[test]
fn after_rows_that_were_not_wanted_no_more_are_guessed() {
    let (mut planner, hdu) = opened("IMAGE", &[5500, 6000]);
    assert_ne!(touch(&mut planner, &hdu, 3000 * 22_000), []);
    assert_eq!(touch(&mut planner, &hdu, 1001 * 22_000), []);
    planner.on_closed();
    assert_eq!(touch(&mut planner, &hdu, 4003 * 22_000), []);
}

#[test]
fn one_cutout_after_the_other_is_guessed() {
    let (mut planner, hdu) = opened("IMAGE", &[5500, 6000]);
    for n in 0..5 {
        let (rounds, _) = copy(&mut planner, &hdu, (500 + 1003 * n) * 22_000 + 3000 * n, 40, 400);
        assert!(rounds <= 4, "{rounds} rounds in cutout {n}");
    }
}

#[test]
fn a_reader_of_adjacent_pages_is_no_cutout() {
    let (mut planner, hdu) = opened("IMAGE", &[5500, 6000]);
    let ahead = |planner: &mut Planner, n: u64| touch(planner, &hdu, 3000 * 22_000 + n * PAGE);
    assert_ne!(ahead(&mut planner, 0), []);
    let later: u64 = (1..40).map(|n| bytes(&ahead(&mut planner, n))).sum();
    assert!(later <= 256 << 10, "{later} bytes");
}

#[test]
fn a_cutout_takes_three_rounds_wherever_its_rows_meet_pages() {
    for column in (0..5000).step_by(97) {
        let (mut planner, hdu) = opened("IMAGE", &[5500, 6000]);
        let (rounds, fetched) = copy(&mut planner, &hdu, 3000 * 22_000 + 4 * column, 400, 1600);
        assert!(rounds <= 3, "{rounds} rounds from column {column}");
        assert!(fetched <= 5 * MIB + 512 * 1024, "{fetched} bytes from column {column}");
    }
}

/// What has arrived is read without the planner's knowledge, so the reads of a program that reads all may be a row apart as well.
#[test]
fn a_program_that_has_read_whole_rows_makes_no_cutout() {
    let (mut planner, hdu) = opened("IMAGE", &[4_222, 4_225]);
    let row = hdu.row_len();
    for page in 0..3 * row / PAGE {
        assert_eq!(touch(&mut planner, &hdu, page * PAGE), [], "page {page}");
    }
    for n in 4..10 {
        assert_eq!(touch(&mut planner, &hdu, n * row), [], "row {n}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Regression: the pages that the pusher leaves to be asked for were taken for rows of a cutout, where rows are long.
    #[test]
    fn an_image_that_is_mapped_and_read_whole_has_no_rows_fetched_by_themselves(
        row in 1_000u64..100_000,
        arrived_late in proptest::collection::vec(0u64..40, 64),
    ) {
        let (mut planner, hdu) = opened("IMAGE", &[row, (64 * MIB / 4 / row).max(2)]);
        let end = hdu.data_offset + hdu.data_len;
        let (mut parts, mut page, mut missing) = (BTreeMap::new(), PAGE.max(hdu.data_offset / PAGE * PAGE), 0);
        while page < end {
            let part_of = |parts: &BTreeMap<u64, u64>, at: u64| {
                parts.range(..=at).next_back().filter(|(_, end)| at < **end).map(|(start, end)| *start..*end)
            };
            let unseen = part_of(&parts, page - 1).map_or(0, |part| page.saturating_sub(part.start + PAGE));
            let held = part_of(&parts, page).is_some();
            missing += usize::from(!held);
            let given = Given { held, unseen };
            let Decision { ahead, .. } = planner.on_read(page..(page + PAGE).min(end), given, &HOME);
            for Planned { range, origin } in ahead {
                prop_assert!(!matches!(origin, Origin::Strided | Origin::Probe), "{origin:?} {range:?} at {page}");
                if origin == Origin::Sequential {
                    parts.extend(crate::read::parts(range, page, (512 << 10, 4 << 20)).map(|part| (part.start, part.end)));
                }
            }
            // The page cache has the rest of the part, but for some pages that the reader comes to before they arrive.
            let late = arrived_late[(page / PAGE % 64) as usize] * PAGE;
            page = match part_of(&parts, page) {
                Some(part) if page + PAGE > part.start + late => part.end.max(page + PAGE),
                _ => page + PAGE,
            };
        }
        prop_assert!(missing < 40, "{missing} READs were not foreseen");
    }
}
