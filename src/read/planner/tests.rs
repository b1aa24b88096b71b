use std::time::Duration;

use super::*;
use proptest::prelude::*;

mod cutouts;
mod heaps;
mod properties;

const WINDOW: u64 = 128 << 10;
const MIB: u64 = 1 << 20;
const PACE: Pace = Pace::measured(0.03, 600e6);

fn cards(lines: &[&str]) -> Vec<u8> {
    let mut header: Vec<u8> =
        lines.iter().chain(&["END"]).flat_map(|line| format!("{line:<80}").into_bytes()).collect();
    header.resize(header.len().div_ceil(2880) * 2880, b' ');
    header
}

/// A file of images of `mib` MiB each, behind an empty primary HDU: its header bytes by offset, and its size.
fn images(count: u64, mib: u64) -> (Vec<(u64, Vec<u8>)>, u64) {
    let primary =
        cards(&["SIMPLE  =                    T", "BITPIX  =                    8", "NAXIS   =                    0"]);
    let length = format!("NAXIS1  = {:>20}", mib * MIB);
    let image =
        cards(&["XTENSION= 'IMAGE   '", "BITPIX  =                    8", "NAXIS   =                    1", &length]);
    let mut offset = primary.len() as u64;
    let mut headers = vec![(0, primary)];
    for _ in 0..count {
        headers.push((offset, image.clone()));
        offset += 2880 + (mib * MIB).div_ceil(2880) * 2880;
    }
    (headers, offset)
}

/// What the bytes of such a file are.
fn content(headers: &[(u64, Vec<u8>)], range: &Range<u64>) -> Bytes {
    let mut bytes = vec![0; (range.end - range.start) as usize];
    for (offset, header) in headers {
        for (at, byte) in (*offset..).zip(header).filter(|(at, _)| range.contains(at)) {
            bytes[(at - range.start) as usize] = *byte;
        }
    }
    bytes.into()
}

/// Reads `range` and lets everything arrive that is asked for, round after round. Returns what was fetched, and in
/// how many rounds.
fn read(planner: &mut Planner, headers: &[(u64, Vec<u8>)], range: Range<u64>) -> (Vec<Range<u64>>, usize) {
    let decision = planner.on_read(range, Given::default(), &PACE);
    let mut round: Vec<_> =
        std::iter::once(decision.demand).chain(decision.ahead.into_iter().map(|p| p.range)).collect();
    let (mut fetched, mut rounds) = (Vec::new(), 0);
    while !round.is_empty() {
        fetched.append(&mut round);
        rounds += 1;
        let held = |wanted: &Range<u64>| {
            let within = |r: &Range<u64>| r.start <= wanted.start && r.end >= wanted.end;
            fetched.iter().any(within).then(|| content(headers, wanted))
        };
        round = planner.on_arrival(held, &PACE).into_iter().map(|p| p.range).collect();
    }
    (fetched, rounds)
}

fn bytes(ranges: &[Range<u64>]) -> u64 {
    ranges.iter().map(|r| r.end - r.start).sum()
}

#[test]
fn what_a_region_has_brought_is_not_fetched_for_a_stream_again() {
    let size = 256 * MIB;
    let mut planner = Planner::new(size, false, None, 64 * MIB, 16 * MIB);
    let piece = |n: u64| n * WINDOW..(n + 1) * WINDOW;
    let mut planned_to = 0;
    for n in 0..4 {
        let ahead = planner.on_read(piece(n), Given::default(), &PACE).ahead;
        planned_to = ahead.iter().map(|planned| planned.range.end).fold(planned_to, u64::max);
    }
    assert!(planned_to > 2 * MIB, "{planned_to}");
    let bought: Vec<_> = (0..20)
        .flat_map(|n| {
            let (from, to) = (Duration::from_millis(100 * n), Duration::from_millis(100 * n + 30));
            let wait = Wait { from, to, cause: Cause::Unforeseen, is_buying: false };
            planner.on_waited(&(n * MIB / 2..n * MIB / 2 + 4096), &wait, &PACE)
        })
        .map(|planned| planned.range)
        .filter(|range| range.start >= planned_to)
        .collect();
    assert!(bytes(&bought) > 4 * MIB, "{bought:?}");
    // Where it was bought the kernel has it, and does not ask.
    let mut ahead = Vec::new();
    for n in (4..200).filter(|n| !bought.iter().any(|bought| bought.contains(&piece(*n).start))) {
        ahead.extend(planner.on_read(piece(n), Given::default(), &PACE).ahead);
    }
    let is_inside = |place: u64| bought.iter().any(|bought| bought.start <= place && place + 4096 <= bought.end);
    let mut pages = ahead.iter().flat_map(|planned| planned.range.clone().step_by(4096));
    assert_eq!(pages.find(|page| is_inside(*page)), None, "{bought:?} and {ahead:?}");
    assert!(ahead.iter().any(|planned| planned.range.start > bought[0].end), "the stream is read ahead behind it");
    // The kernel has dropped what it had been given.
    planner.on_read(bought[0].start..bought[0].start + 4096, Given::default(), &PACE);
    assert!(!planner.regions.not_bought(&bought[0]).is_empty());
}

#[test]
fn the_first_read_walks_all_headers_in_fewer_rounds_than_headers() {
    let (headers, size) = images(9, 16);
    let mut planner = Planner::new(size, true, None, 64 * MIB, u64::MAX);
    let (fetched, rounds) = read(&mut planner, &headers, 0..16 << 10);
    for (offset, _) in &headers {
        assert!(fetched.iter().any(|r| r.contains(offset)), "the header at {offset} was not fetched");
    }
    assert!(rounds <= 6, "{rounds} rounds for {} headers", headers.len());
    assert!(bytes(&fetched) < MIB, "{} bytes", bytes(&fetched));
}

/// A file of blocks of `mib` MiB each behind a tree of 100 KiB, with their index: as `images` gives it.
fn blocks(count: u64, mib: u64) -> (Vec<(u64, Vec<u8>)>, u64) {
    let lines = "key: a value of some length\n".repeat(3700);
    let tree = format!("#ASDF 1.0.0\n%YAML 1.1\n---\n{lines}...\n").into_bytes();
    let sizes = (mib * MIB).to_be_bytes().repeat(3);
    let header = [b"\xd3BLK\x00\x30".as_slice(), &[0; 8], &sizes, &[0; 16]].concat();
    let starts: Vec<u64> = (0..count).map(|n| tree.len() as u64 + n * (54 + mib * MIB)).collect();
    let entries: String = starts.iter().map(|start| format!("- {start}\n")).collect();
    let index = format!("#ASDF BLOCK INDEX\n%YAML 1.1\n---\n{entries}...\n").into_bytes();
    let end = tree.len() as u64 + count * (54 + mib * MIB);
    let size = end + index.len() as u64;
    let mut headers = vec![(0, tree)];
    headers.extend(starts.into_iter().map(|start| (start, header.clone())));
    headers.push((end, index));
    (headers, size)
}

#[test]
fn the_headers_of_all_blocks_come_in_one_round_behind_tree_and_index() {
    let (headers, size) = blocks(8, 16);
    let mut planner = Planner::new(size, true, None, 64 * MIB, u64::MAX);
    let (fetched, rounds) = read(&mut planner, &headers, 0..16 << 10);
    for (offset, _) in &headers {
        assert!(fetched.iter().any(|r| r.contains(offset)), "the header at {offset} was not fetched");
    }
    assert_eq!(rounds, 3);
    assert!(bytes(&fetched) < MIB, "{} bytes", bytes(&fetched));
    assert!(planner.layout().is_known());
}

#[test]
fn a_long_chain_is_walked_as_far_as_the_reader_follows() {
    let (headers, size) = images(300, 1);
    let mut planner = Planner::new(size, true, None, 64 * MIB, u64::MAX);
    let (first, _) = read(&mut planner, &headers, 0..16 << 10);
    assert!(bytes(&first) < 2 * MIB, "{} bytes before the reader has moved", bytes(&first));
    let mut rounds = 0;
    for (offset, _) in &headers[1..] {
        rounds += read(&mut planner, &headers, offset / 4096 * 4096..offset / 4096 * 4096 + 4096).1 - 1;
    }
    assert!(rounds < 60, "{rounds} rounds for 300 headers");
}

/// Regression: a program's buffer is larger than a short header, so that its reads end in the data behind it. They were
/// not taken for reads of headers, and a hundred of them took sixteen rounds.
#[test]
fn readahead_grows_with_each_short_header_that_is_read_by_buffers() {
    let (headers, size) = images(100, 4);
    let mut planner = Planner::new(size, true, None, 64 * MIB, u64::MAX);
    let reads = headers.iter().map(|(offset, _)| *offset..offset + (20 << 10));
    let steps = reads.filter(|range| read(&mut planner, &headers, range.clone()).0.len() > 1).count();
    assert!(steps <= 10, "readahead {steps} times along {} headers", headers.len());
}

#[test]
fn a_header_that_could_not_be_fetched_is_asked_for_again() {
    let (headers, size) = images(3, 4);
    let mut planner = Planner::new(size, true, None, MIB, u64::MAX);
    planner.on_read(0..4096, Given::default(), &PACE);
    let asked = planner.on_arrival(|wanted| (wanted.start < HEAD).then(|| content(&headers, wanted)), &PACE);
    assert!(!asked.is_empty());
    assert_eq!(planner.on_arrival(|_| None, &PACE), []);
    planner.on_denied(&asked[0].range);
    assert_eq!(planner.on_arrival(|_| None, &PACE), asked);
}

#[test]
fn a_read_of_the_tail_brings_the_head_along_in_files_named_fits() {
    let (_, size) = images(3, 4);
    let tail = size / 4096 * 4096..size;
    let decision = Planner::new(size, true, None, MIB, u64::MAX).on_read(tail.clone(), Given::default(), &PACE);
    assert!(decision.demand.end == size && size - decision.demand.start >= TAIL);
    assert_eq!(decision.ahead, [Planned { range: 0..HEAD, origin: Origin::Chain }]);
    assert_eq!(Planner::new(size, false, None, MIB, u64::MAX).on_read(tail, Given::default(), &PACE).ahead, []);
}

#[test]
fn small_files_come_whole() {
    let decision = Planner::new(100_000, true, None, MIB, u64::MAX).on_read(90_000..95_000, Given::default(), &PACE);
    assert_eq!((decision.demand, decision.ahead.len()), (0..100_000, 0));
}

#[test]
fn readahead_of_a_reader_of_one_data_unit_ends_with_it() {
    let (headers, size) = images(3, 32);
    let mut planner = Planner::new(size, true, None, 64 * MIB, u64::MAX);
    read(&mut planner, &headers, 0..16 << 10);
    let end = headers[2].0;
    let (mut at, mut fetched) = (headers[1].0 + 2880, Vec::new());
    while at < end {
        fetched.extend(read(&mut planner, &headers, at..at + WINDOW).0);
        at += WINDOW;
    }
    let furthest = fetched.iter().map(|r| r.end).max().unwrap();
    assert!(furthest <= at + BLOCK, "readahead up to {furthest}, the unit ends at {end}");
}

#[test]
fn readahead_of_a_reader_that_crosses_headers_crosses_the_next() {
    let (headers, size) = images(4, 8);
    let mut planner = Planner::new(size, true, None, 64 * MIB, u64::MAX);
    let mut planned_to = 0;
    for at in (0..headers[2].0 + 4 * MIB).step_by(WINDOW as usize) {
        planned_to =
            planned_to.max(read(&mut planner, &headers, at..at + WINDOW).0.iter().map(|r| r.end).max().unwrap());
    }
    assert!(planned_to > headers[3].0 + MIB, "readahead up to {planned_to}, the next header is at {}", headers[3].0);
}

#[test]
fn random_reads_fetch_what_they_read() {
    let (headers, size) = images(1, 512);
    let mut planner = Planner::new(size, true, None, 64 * MIB, u64::MAX);
    read(&mut planner, &headers, 0..16 << 10);
    let mut fetched = 0;
    for n in 0..1000u64 {
        let at = MIB + xxhash_rust::xxh3::xxh3_64(&n.to_le_bytes()) % (500 * MIB) / 4096 * 4096;
        fetched += bytes(&read(&mut planner, &headers, at..at + 4096).0);
    }
    assert!(fetched <= 1000 * 2 * BLOCK, "{fetched} bytes for 1,000 reads of 4 KiB");
}

/// Where the line is slow, megabytes ahead are as good as tens of them, and a reader of one plane of a cube leaves them all.
#[test]
fn readahead_goes_as_far_as_the_line_brings_in_a_few_round_trips() {
    let home = Pace::measured(0.1, 12e6);
    let beyond = |pace: &Pace| {
        let mut planner = Planner::new(512 * MIB, false, None, 64 * MIB, 16 * MIB);
        let reads = (0..320).map(|n| n * WINDOW..(n + 1) * WINDOW);
        let mut planned_to = 0;
        for read in reads {
            let given = Given { held: read.end <= planned_to, unseen: 0 };
            let ahead = planner.on_read(read, given, pace).ahead;
            planned_to = ahead.iter().map(|planned| planned.range.end).fold(planned_to, u64::max);
        }
        planned_to - 320 * WINDOW
    };
    assert!((4 * MIB..10 * MIB).contains(&beyond(&home)), "{}", beyond(&home));
    assert!(beyond(&PACE) > 20 * MIB, "{}", beyond(&PACE));
}
