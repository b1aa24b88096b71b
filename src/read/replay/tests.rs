use proptest::prelude::*;

use super::*;
use crate::fits::Chain;
use crate::fits::testing::{IMAGE, SIMPLE, header_bytes};

const PACE: Pace = Pace::measured(0.03, 100e6);
const MIB: u64 = 1 << 20;

/// The layout of a file of images of bytes, of these numbers of columns and rows.
fn file(images: &[(u64, u64)]) -> Layout {
    let mut headers = vec![header_bytes(&[SIMPLE, "BITPIX  = 8", "NAXIS   = 0"])];
    headers.extend(images.iter().map(|(columns, rows)| {
        let axes = [format!("NAXIS1  = {columns}"), format!("NAXIS2  = {rows}")];
        header_bytes(&[IMAGE, "BITPIX  = 8", "NAXIS   = 2", &axes[0], &axes[1], "PCOUNT  = 0", "GCOUNT  = 1"])
    }));
    let data = std::iter::once(0).chain(images.iter().map(|(columns, rows)| (columns * rows).next_multiple_of(2880)));
    let size = headers.iter().map(|header| header.len() as u64).sum::<u64>() + data.clone().sum::<u64>();
    let (mut chain, mut at) = (Chain::new(size), 0);
    for (header, data) in headers.iter().zip(data) {
        chain.feed(at, header);
        at += header.len() as u64 + data;
    }
    chain.into_layout()
}

/// The pages of a row of an HDU, from a column on.
fn pages(layout: &Layout, hdu: usize, row: u64, column: u64, len: u64) -> Range<u64> {
    let at = layout.hdus[hdu].data_offset + row * layout.hdus[hdu].row_len() + column;
    at / PAGE * PAGE..(at + len).next_multiple_of(PAGE).min(layout.file_size)
}

/// What is replayed of a file.
fn begin(learnt: &Learnt, layout: &Layout) -> (Replay, Vec<Range<u64>>) {
    let mut replay = Replay::default();
    if let Some(script) = learnt.script() {
        replay.begin(script, 1 << 30, &PACE);
    }
    let planned = replay.pursue(layout.hdus.iter(), layout.file_size, &PACE);
    assert!(planned.iter().all(|planned| planned.origin == Origin::Replayed));
    (replay, planned.into_iter().map(|planned| planned.range).collect())
}

/// A program opens file number `n`, reads and closes it. Returns what was replayed.
fn read(learnt: &mut Learnt, n: u64, layout: &Layout, reads: &[Range<u64>]) -> Vec<Range<u64>> {
    let (mut replay, planned) = begin(learnt, layout);
    reads.iter().for_each(|range| replay.note_read(range, &[]));
    learnt.learn(n, &replay.observed(layout), false);
    planned
}

fn holds(planned: &[Range<u64>], read: &Range<u64>) -> bool {
    planned.iter().any(|range| range.start <= read.start && range.end >= read.end)
}

fn bytes(planned: &[Range<u64>]) -> u64 {
    planned.iter().map(|range| range.end - range.start).sum()
}

#[test]
fn what_was_read_of_a_file_is_fetched_of_the_next_one() {
    let layout = file(&[(100_000, 500), (100_000, 500)]);
    let rows: Vec<_> = (100..110).map(|row| pages(&layout, 2, row, 8_000, 400)).collect();
    let mut learnt = Learnt::default();
    assert!(read(&mut learnt, 1, &layout, &rows).is_empty());
    let planned = read(&mut learnt, 2, &layout, &rows);
    assert!(rows.iter().all(|row| holds(&planned, row)), "{planned:?}");
    assert!(bytes(&planned) <= bytes(&rows) + 10 * PAGE, "{planned:?}");
}

#[test]
fn the_same_columns_are_meant_where_rows_are_longer() {
    let (one, other) = (file(&[(40_000, 500), (40_000, 500)]), file(&[(7_000, 300), (60_000, 700)]));
    let mut learnt = Learnt::default();
    let rows = |layout: &Layout| (100..110).map(|row| pages(layout, 2, row, 8_000, 400)).collect::<Vec<_>>();
    read(&mut learnt, 1, &one, &rows(&one));
    let planned = read(&mut learnt, 2, &other, &rows(&other));
    assert!((100..110).all(|row| holds(&planned, &pages(&other, 2, row, 8_000, 400))), "{planned:?}");
    assert!(bytes(&planned) < 200_000, "{planned:?}");
}

#[test]
fn data_that_were_read_to_their_end_are_wherever_that_is() {
    let (one, other) = (file(&[(1_000, 800)]), file(&[(1_000, 1_900)]));
    let whole = |layout: &Layout| layout.hdus[1].data_offset / PAGE * PAGE..layout.file_size;
    let mut learnt = Learnt::default();
    read(&mut learnt, 1, &one, &[whole(&one)]);
    let planned = read(&mut learnt, 2, &other, &[whole(&other)]);
    assert!(holds(&planned, &whole(&other)), "{planned:?}");
}

#[test]
fn what_one_file_was_read_of_costs_no_more_than_a_round_and_what_two_were_64_mib() {
    let layout = file(&[(1 << 20, 100)]);
    let whole = Vec::from([pages(&layout, 1, 0, 0, layout.file_size)]);
    let mut learnt = Learnt::default();
    read(&mut learnt, 1, &layout, &whole);
    let once = bytes(&read(&mut learnt, 2, &layout, &whole));
    assert!(once > 2 * MIB && once <= 3 * MIB, "{once}");
    let again = bytes(&read(&mut learnt, 3, &layout, &whole));
    assert!(again > 60 * MIB && again <= MAX_BYTES + 2 * PAGE, "{again}");
}

#[test]
fn a_script_that_does_not_hold_is_the_last_until_files_are_read_alike() {
    let layout = file(&[(40_000, 500), (40_000, 500)]);
    let (here, there) = ([pages(&layout, 1, 70, 0, 400)], [pages(&layout, 2, 300, 900, 400)]);
    let mut learnt = Learnt::default();
    for (n, (reads, is_replayed)) in
        [(&here, false), (&here, true), (&there, true), (&there, false), (&there, true)].into_iter().enumerate()
    {
        let planned = read(&mut learnt, n as u64, &layout, reads);
        assert_eq!(!planned.is_empty(), is_replayed, "file {n}: {planned:?}");
    }
}

#[test]
fn a_program_that_only_looks_at_headers_ends_the_replay() {
    let layout = file(&[(40_000, 500)]);
    let data = [pages(&layout, 1, 70, 0, 400)];
    let mut learnt = Learnt::default();
    read(&mut learnt, 1, &layout, &data);
    assert!(!read(&mut learnt, 2, &layout, &[]).is_empty());
    assert!(read(&mut learnt, 3, &layout, &[]).is_empty());
}

#[test]
fn a_file_that_is_still_open_proves_what_it_was_read_of_and_nothing_else() {
    let layout = file(&[(40_000, 500), (40_000, 500)]);
    let (here, there) = ([pages(&layout, 1, 70, 0, 400)], [pages(&layout, 2, 300, 900, 400)]);
    let mut learnt = Learnt::default();
    read(&mut learnt, 1, &layout, &here);
    let so_far = |reads: &[Range<u64>]| {
        let mut replay = Replay::default();
        reads.iter().for_each(|range| replay.note_read(range, &[]));
        replay.observed(&layout)
    };
    learnt.learn(2, &so_far(&there), true);
    assert!(holds(&begin(&learnt, &layout).1, &here[0]), "the other file may still be read there");
    learnt.learn(2, &so_far(&[here[0].clone(), there[0].clone()]), true);
    let planned = begin(&learnt, &layout).1;
    assert!(holds(&planned, &here[0]) && holds(&planned, &there[0]), "{planned:?}");
}

#[test]
fn what_readers_found_in_the_page_cache_counts_up_to_the_last_page_that_they_asked_for() {
    let layout = file(&[(1 << 20, 64)]);
    let start = layout.hdus[1].data_offset.next_multiple_of(MIB);
    let mut replay = Replay::default();
    let ahead = Planned { range: start..start + 30 * MIB, origin: Origin::Sequential };
    replay.note_read(&(start..start + PAGE), &[ahead]);
    (1..10).for_each(|part| replay.note_read(&(start + part * MIB..start + part * MIB + PAGE), &[]));
    let mut learnt = Learnt::default();
    learnt.learn(1, &replay.observed(&layout), false);
    learnt.learn(2, &replay.observed(&layout), false);
    let planned = begin(&learnt, &layout).1;
    assert_eq!(planned.len(), 1, "{planned:?}");
    assert!((9 * MIB..14 * MIB).contains(&bytes(&planned)), "{planned:?}");
}

#[test]
fn a_file_that_is_opened_again_adds_to_what_was_read_of_it_and_is_not_replayed() {
    let layout = file(&[(40_000, 500), (40_000, 500)]);
    let (here, there) = (pages(&layout, 1, 70, 0, 400), pages(&layout, 2, 300, 900, 400));
    let (mut learnt, mut replay) = (Learnt::default(), Replay::default());
    for range in [&here, &there] {
        if let Some(script) = learnt.script() {
            replay.begin(script, 1 << 30, &PACE);
        }
        assert!(replay.pursue(layout.hdus.iter(), layout.file_size, &PACE).is_empty());
        replay.note_read(range, &[]);
        learnt.learn(1, &replay.observed(&layout), false);
        replay.close(&layout);
    }
    let planned = begin(&learnt, &layout).1;
    assert!(holds(&planned, &here) && holds(&planned, &there), "{planned:?}");
}

proptest! {
    #[test]
    fn any_script_is_replayed_in_any_file_as_pages_of_it_and_within_bounds(
        one in proptest::collection::vec((1u64..60_000, 1u64..400), 1..4),
        other in proptest::collection::vec((1u64..60_000, 1u64..400), 1..4),
        reads in proptest::collection::vec((0.0..1.0f64, 1u64..200_000), 0..60),
    ) {
        let (one, other) = (file(&one), file(&other));
        let place = |(at, len): &(f64, u64)| {
            let start = (at * one.file_size as f64) as u64 / PAGE * PAGE;
            start..(start + len).next_multiple_of(PAGE).min(one.file_size)
        };
        let reads: Vec<_> = reads.iter().map(place).filter(|range| range.start < range.end).collect();
        let mut learnt = Learnt::default();
        read(&mut learnt, 1, &one, &reads);
        read(&mut learnt, 2, &one, &reads);
        let planned = begin(&learnt, &one).1;
        for data in one.hdus.iter().map(|hdu| hdu.data_offset..hdu.data_offset + hdu.data_len) {
            for read in &reads {
                let wanted = read.start.max(data.start)..read.end.min(data.end);
                prop_assert!(wanted.is_empty() || holds(&planned, &wanted), "{wanted:?} of {planned:?}");
            }
        }
        let planned = begin(&learnt, &other).1;
        prop_assert!(planned.iter().all(|range| range.start % PAGE == 0 && range.start < range.end && range.end <= other.file_size));
        prop_assert!(bytes(&planned) <= MAX_BYTES + 1024 * PAGE);
    }
}
