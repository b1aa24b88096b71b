use super::*;
use proptest::prelude::*;

mod cutouts;

const WINDOW: u64 = 128 << 10;
const MIB: u64 = 1 << 20;
const PACE: Pace = Pace { latency: 0.03, bandwidth: 600e6 };

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
    let decision = planner.on_read(range, false, &PACE);
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
fn the_first_read_walks_all_headers_in_fewer_rounds_than_headers() {
    let (headers, size) = images(9, 16);
    let mut planner = Planner::new(size, true, None, 64 * MIB);
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
    let mut planner = Planner::new(size, true, None, 64 * MIB);
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
    let mut planner = Planner::new(size, true, None, 64 * MIB);
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
fn who_reads_short_headers_by_buffers_is_led_further_each_time() {
    let (headers, size) = images(100, 4);
    let mut planner = Planner::new(size, true, None, 64 * MIB);
    let reads = headers.iter().map(|(offset, _)| *offset..offset + (20 << 10));
    let leads = reads.filter(|range| read(&mut planner, &headers, range.clone()).0.len() > 1).count();
    assert!(leads <= 10, "led {leads} times along {} headers", headers.len());
}

#[test]
fn a_header_that_could_not_be_fetched_is_asked_for_again() {
    let (headers, size) = images(3, 4);
    let mut planner = Planner::new(size, true, None, MIB);
    planner.on_read(0..4096, false, &PACE);
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
    let decision = Planner::new(size, true, None, MIB).on_read(tail.clone(), false, &PACE);
    assert!(decision.demand.end == size && size - decision.demand.start >= TAIL);
    assert_eq!(decision.ahead, [Planned { range: 0..HEAD, origin: Origin::Chain }]);
    assert_eq!(Planner::new(size, false, None, MIB).on_read(tail, false, &PACE).ahead, []);
}

#[test]
fn small_files_come_whole() {
    let decision = Planner::new(100_000, true, None, MIB).on_read(90_000..95_000, false, &PACE);
    assert_eq!((decision.demand, decision.ahead.len()), (0..100_000, 0));
}

#[test]
fn a_reader_of_one_data_unit_is_not_led_into_the_next() {
    let (headers, size) = images(3, 32);
    let mut planner = Planner::new(size, true, None, 64 * MIB);
    read(&mut planner, &headers, 0..16 << 10);
    let end = headers[2].0;
    let (mut at, mut fetched) = (headers[1].0 + 2880, Vec::new());
    while at < end {
        fetched.extend(read(&mut planner, &headers, at..at + WINDOW).0);
        at += WINDOW;
    }
    let furthest = fetched.iter().map(|r| r.end).max().unwrap();
    assert!(furthest <= at + BLOCK, "led to {furthest}, the unit ends at {end}");
}

#[test]
fn a_reader_that_crosses_headers_is_led_across_the_next() {
    let (headers, size) = images(4, 8);
    let mut planner = Planner::new(size, true, None, 64 * MIB);
    let mut led = 0;
    for at in (0..headers[2].0 + 4 * MIB).step_by(WINDOW as usize) {
        led = led.max(read(&mut planner, &headers, at..at + WINDOW).0.iter().map(|r| r.end).max().unwrap());
    }
    assert!(led > headers[3].0 + MIB, "led to {led}, the next header is at {}", headers[3].0);
}

#[test]
fn random_reads_fetch_what_they_read() {
    let (headers, size) = images(1, 512);
    let mut planner = Planner::new(size, true, None, 64 * MIB);
    read(&mut planner, &headers, 0..16 << 10);
    let mut fetched = 0;
    for n in 0..1000u64 {
        let at = MIB + xxhash_rust::xxh3::xxh3_64(&n.to_le_bytes()) % (500 * MIB) / 4096 * 4096;
        fetched += bytes(&read(&mut planner, &headers, at..at + 4096).0);
    }
    assert!(fetched <= 1000 * 2 * BLOCK, "{fetched} bytes for 1,000 reads of 4 KiB");
}

/// An HDU: how many more cards than it needs, and what its data are.
#[derive(Clone, Debug)]
enum Unit {
    /// NAXIS1 first; `scaled` data have to be computed.
    Image { extra: usize, axes: Vec<u64>, scaled: bool },
    /// Tiles of `tile` bytes in a grid.
    Tiles { columns: u64, rows: u64, tile: u64 },
}

fn unit() -> impl Strategy<Value = Unit> {
    let axes = prop_oneof![
        proptest::collection::vec(1u64..3_000, 0..4),
        (1u64..60_000, 1u64..5_000).prop_map(|(x, y)| vec![x, y]),
        (1u64..600_000, 1u64..200, 1u64..300).prop_map(|(x, y, z)| vec![x, y, z]),
    ];
    prop_oneof![
        4 => (0usize..120, axes, any::<bool>()).prop_map(|(extra, axes, scaled)| Unit::Image { extra, axes, scaled }),
        1 => (1u64..60, 1u64..300, 1u64..300_000).prop_map(|(columns, rows, tile)| Unit::Tiles { columns, rows, tile }),
    ]
}

/// A product, and what is wrong with it: it is cut short, has noise or a header in the middle, or is nothing but noise.
#[derive(Clone, Debug)]
struct Recipe {
    units: Vec<Unit>,
    place: f64,
    noise: Vec<u8>,
    damage: u8,
}

fn recipe() -> impl Strategy<Value = Recipe> {
    let noise = proptest::collection::vec(any::<u8>(), 1..400);
    (proptest::collection::vec(unit(), 1..12), 0.0..1.0f64, noise, 0..8u8)
        .prop_map(|(units, place, noise, damage)| Recipe { units, place, noise, damage })
}

/// The file, as `images` gives it.
fn made(Recipe { units, place, noise, damage }: &Recipe) -> (Vec<(u64, Vec<u8>)>, u64) {
    let (mut headers, mut size) = product_of(units);
    let at = (place * size as f64) as u64;
    match damage {
        0 => size = at.max(1),
        1 => headers.push((at, noise.clone())),
        2 => headers.push((at, headers[0].1.clone())),
        3 => headers = vec![(0, noise.clone())],
        _ => {}
    }
    (headers, size)
}

fn product_of(units: &[Unit]) -> (Vec<(u64, Vec<u8>)>, u64) {
    let (mut headers, mut at) = (Vec::new(), 0);
    for unit in units {
        let first = if at == 0 { "SIMPLE  = T" } else { "XTENSION= 'IMAGE   '" };
        let (lines, table, data) = match unit {
            Unit::Image { extra, axes, scaled } => {
                let mut lines = vec![first.to_owned(), "BITPIX  = 16".into(), format!("NAXIS   = {}", axes.len())];
                lines.extend(axes.iter().zip(1..).map(|(axis, n)| format!("NAXIS{n}  = {axis}")));
                lines.extend(scaled.then(|| "BZERO   = 32768".to_owned()));
                lines.extend((0..*extra).map(|n| format!("K{n:<7}= {n}")));
                let pixels: u64 = if axes.is_empty() { 0 } else { axes.iter().product() };
                (lines, Vec::new(), 2 * pixels)
            }
            Unit::Tiles { columns, rows, tile } => {
                let count = columns * rows;
                let descriptor = |n: u64| [*tile as u32, (n * tile) as u32].map(u32::to_be_bytes).concat();
                let lines = [
                    "XTENSION= 'BINTABLE'".to_owned(),
                    "BITPIX  = 8".into(),
                    "NAXIS   = 2".into(),
                    "NAXIS1  = 8".into(),
                    format!("NAXIS2  = {count}"),
                    format!("PCOUNT  = {}", count * tile),
                    "GCOUNT  = 1".into(),
                    "TFIELDS = 1".into(),
                    "TTYPE1  = 'COMPRESSED_DATA'".into(),
                    "TFORM1  = '1PB'".into(),
                    "ZIMAGE  = T".into(),
                    "ZBITPIX = 16".into(),
                    "ZNAXIS  = 2".into(),
                    format!("ZNAXIS1 = {}", columns * 100),
                    format!("ZNAXIS2 = {}", rows * 100),
                    "ZTILE1  = 100".into(),
                    "ZTILE2  = 100".into(),
                ];
                (lines.to_vec(), (0..count).flat_map(descriptor).collect(), count * (8 + tile))
            }
        };
        let mut header = cards(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        let data = header.len() as u64 + data;
        header.extend(table);
        headers.push((at, header));
        at += data.div_ceil(2880) * 2880;
    }
    (headers, at)
}

/// What programs do with a file: places and lengths are fractions of the file, or of its rows.
#[derive(Clone, Debug)]
enum Use {
    Sequential {
        at: f64,
        length: u64,
        count: u64,
    },
    /// With a stride of so many bytes, or of a length of the data there if there is one.
    Strided {
        at: f64,
        stride: u64,
        axis: usize,
        width: u64,
        count: u64,
        backwards: bool,
    },
    /// Of rows in the planes of a cube.
    Planes {
        at: f64,
        width: u64,
        rows: u64,
        planes: u64,
    },
    Random {
        seed: u64,
        count: u64,
    },
    Headers,
    Whole {
        hdu: usize,
    },
}

fn uses() -> impl Strategy<Value = Vec<Use>> {
    let count = 1u64..100;
    let sequential = (0.0..1.0f64, 1u64..1 << 20, count.clone());
    let strided = (0.0..1.0f64, 1u64..1 << 22, 0usize..4, 1u64..1 << 18, count.clone(), any::<bool>());
    let one = prop_oneof![
        sequential.prop_map(|(at, length, count)| Use::Sequential { at, length, count }),
        strided.prop_map(|(at, stride, axis, width, count, backwards)| Use::Strided {
            at,
            stride,
            axis,
            width,
            count,
            backwards
        }),
        (0.0..0.5f64, 1u64..1 << 19, 2u64..40, 2u64..20).prop_map(|(at, width, rows, planes)| Use::Planes {
            at,
            width,
            rows,
            planes
        }),
        (any::<u64>(), count).prop_map(|(seed, count)| Use::Random { seed, count }),
        Just(Use::Headers),
        (0usize..12).prop_map(|hdu| Use::Whole { hdu }),
    ];
    proptest::collection::vec(one, 1..6)
}

fn random(seed: u64, n: u64) -> u64 {
    xxhash_rust::xxh3::xxh3_64(&[seed, n].map(u64::to_le_bytes).concat())
}

/// The READs of a use, as the kernel sends them: whole pages, at most 128 KiB.
fn reads_of(what: &Use, layout: &Layout, size: u64) -> Vec<Range<u64>> {
    let place = |at: f64| ((at * size as f64) as u64).min(size - 1);
    let span = |from: u64, length: u64| from..from.saturating_add(length).min(size);
    let spans: Vec<_> = match what {
        Use::Sequential { at, length, count } => {
            (0..*count).map(|n| span(place(*at).saturating_add(n * length), *length)).collect()
        }
        Use::Strided { at, stride, axis, width, count, backwards } => {
            let lengths = layout.hdu_at(place(*at)).map(|hdu| grid(hdu, layout.file_size).strides).unwrap_or_default();
            let stride = lengths.get(*axis).unwrap_or(stride);
            let along = |n: u64| match backwards {
                true => place(*at).checked_sub(n * stride),
                false => place(*at).checked_add(n * stride),
            };
            (0..*count).filter_map(along).map(|at| span(at, *width)).collect()
        }
        Use::Planes { at, width, rows, planes } => {
            let lengths = layout.hdu_at(place(*at)).map(|hdu| grid(hdu, layout.file_size).strides).unwrap_or_default();
            let (row, plane) = (lengths.first().unwrap_or(&MIB), lengths.last().unwrap_or(&MIB));
            let places = (0..*planes).flat_map(|n| (0..*rows).map(move |m| n * plane + m * row));
            places.map(|along| span(place(*at).saturating_add(along), *width)).collect()
        }
        Use::Random { seed, count } => (0..*count).map(|n| span(random(*seed, n) % size, 1)).collect(),
        Use::Headers => layout.hdus.iter().map(|hdu| span(hdu.header_offset, 2880)).collect(),
        Use::Whole { hdu } => {
            let unit = layout.hdus.get(*hdu).map(|hdu| span(hdu.data_offset, hdu.data_len.min(64 * MIB)));
            unit.into_iter().collect()
        }
    };
    let windows = |span: Range<u64>| {
        let (from, to) = (span.start / PAGE * PAGE, (span.end.div_ceil(PAGE) * PAGE).min(size));
        (from..to).step_by(WINDOW as usize).map(move |at| at..(at + WINDOW).min(to))
    };
    spans.into_iter().filter(|span| span.start < span.end).flat_map(windows).take(1000).collect()
}

/// What has been fetched of a file: ranges by their start, none of which touch.
#[derive(Default)]
struct Fetched(std::collections::BTreeMap<u64, u64>);

impl Fetched {
    fn has(&self, range: &Range<u64>) -> bool {
        self.0.range(..=range.start).next_back().is_some_and(|(_, end)| *end >= range.end)
    }

    /// Adds a range; returns how many bytes of it are new.
    fn add(&mut self, range: &Range<u64>) -> u64 {
        let (mut start, mut end, mut known) = (range.start, range.end, 0);
        while let Some((from, to)) = self.0.range(..=end).next_back().map(|(from, to)| (*from, *to)) {
            if to < start {
                break;
            }
            known += to.min(range.end).saturating_sub(from.max(range.start));
            self.0.remove(&from);
            (start, end) = (start.min(from), end.max(to));
        }
        self.0.insert(start, end);
        range.end - range.start - known
    }
}

/// What one decision may cost beside twice the lead of a stream: a batch of rows or tiles, and windows in which
/// headers are.
const A_BATCH: u64 = 96 * MIB;
const MAX_RANGES: usize = 1_200;

fn check(planned: &[Planned], size: u64, max_ahead: u64) -> Result<(), TestCaseError> {
    let mut bytes = 0;
    for Planned { range: Range { start, end }, .. } in planned {
        prop_assert!(start < end && *end <= size, "{start}..{end} of {size}");
        prop_assert!(start % PAGE == 0 && (end % PAGE == 0 || *end == size), "{start}..{end} of {size}");
        bytes += end - start;
    }
    prop_assert!(bytes <= 2 * max_ahead + A_BATCH, "{bytes} bytes in {} ranges", planned.len());
    prop_assert!(planned.len() <= MAX_RANGES, "{} ranges", planned.len());
    Ok(())
}

/// Has a planner follow reads, with all that it asks for. Returns how many bytes were fetched.
fn follow(
    planner: &mut Planner,
    (headers, size): &(Vec<(u64, Vec<u8>)>, u64),
    reads: &[Range<u64>],
    fetched: &mut Fetched,
) -> Result<u64, TestCaseError> {
    let mut total = 0;
    for read in reads {
        let held = fetched.has(read);
        let Decision { demand, ahead, .. } = planner.on_read(read.clone(), held, &PACE);
        prop_assert!(demand.start <= read.start && read.end <= demand.end && demand.end <= *size);
        prop_assert!(demand.end - demand.start <= read.end - read.start + 2 * BLOCK + HEAD + TAIL + WHOLE_FILE);
        let mut planned = ahead;
        if !held {
            total += fetched.add(&demand);
        }
        let mut rounds = 0;
        loop {
            check(&planned, *size, planner.max_ahead)?;
            total += planned.iter().map(|planned| fetched.add(&planned.range)).sum::<u64>();
            let of = |wanted: &Range<u64>| fetched.has(wanted).then(|| content(headers, wanted));
            planned = planner.on_arrival(of, &PACE);
            rounds += 1;
            if planned.is_empty() {
                break;
            }
            prop_assert!(rounds < 100, "no end of rounds");
        }
    }
    Ok(total)
}

proptest! {
    #[test]
    fn plans_are_blocks_within_the_file_and_bounded(
        size in 1u64..1 << 36,
        reads in proptest::collection::vec((0.0..1.0f64, 1u64..1 << 20), 1..100),
        noise in proptest::collection::vec(any::<u8>(), 3000),
    ) {
        let mut planner = Planner::new(size, true, None, 16 * MIB);
        for (place, length) in reads {
            let start = ((place * size as f64) as u64).min(size - 1);
            let range = start..(start + length).min(size);
            let decision = planner.on_read(range.clone(), false, &PACE);
            prop_assert!(decision.demand.start <= range.start && decision.demand.end >= range.end);
            prop_assert!(decision.demand.end - decision.demand.start <= length + 2 * BLOCK + HEAD + TAIL + WHOLE_FILE);
            let arrived = planner.on_arrival(|r| Some(noise[..noise.len().min((r.end - r.start) as usize)].to_vec().into()), &PACE);
            for planned in decision.ahead.iter().chain(&arrived) {
                let Range { start, end } = planned.range;
                prop_assert!(start < end && end <= size && start % PAGE == 0 && (end % PAGE == 0 || end == size));
                // A stream may stand a little beyond what was planned for it; what lies between is planned as well.
                prop_assert!(end - start <= 18 * MIB);
            }
        }
    }

    #[test]
    fn every_decision_is_within_its_budget(recipe in recipe(), uses in uses(), max_ahead in prop_oneof![Just(8 * MIB), Just(64 * MIB)]) {
        let file = made(&recipe);
        let (headers, size) = &file;
        let mut chain = crate::fits::Chain::new(*size);
        while let crate::fits::Need::Bytes { offset, len } = chain.need() {
            if !chain.feed(offset, &content(headers, &(offset..offset + len))) {
                break;
            }
        }
        let layout = chain.into_layout();
        let sibling = Sibling { layout: std::sync::Arc::new(layout.clone()), reach: layout.hdus.len() / 2 };
        for sibling in [None, Some(sibling)] {
            let mut planner = Planner::new(*size, true, sibling, max_ahead);
            check(&planner.on_expected(), *size, max_ahead)?;
            let mut fetched = Fetched::default();
            for what in &uses {
                follow(&mut planner, &file, &reads_of(what, &layout, *size), &mut fetched)?;
            }
        }
    }

    #[test]
    fn pages_at_random_cost_little_in_any_file(recipe in recipe(), seed: u64, count in 1u64..300) {
        // One page of a tile stands for a cutout around it, whatever comes next.
        let is_image = |unit: &Unit| matches!(unit, Unit::Image { .. });
        let units: Vec<_> = recipe.units.iter().filter(|unit| is_image(unit)).cloned().collect();
        prop_assume!(!units.is_empty());
        let file = made(&Recipe { units, ..recipe });
        let mut planner = Planner::new(file.1, true, None, 64 * MIB);
        let reads = reads_of(&Use::Random { seed, count }, planner.layout(), file.1);
        let bytes = follow(&mut planner, &file, &reads, &mut Fetched::default())?;
        // Now and then one of the first pages lies in the rows that were fetched with another, by chance, and seems
        // to go on there: some leads of 64 MiB.
        prop_assert!(bytes <= 2 * count * WINDOW + 256 * MIB, "{bytes} bytes for {count} pages");
    }
}
