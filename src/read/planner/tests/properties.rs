//! Whatever is in a file and however it is read: plans stay within the file and their budgets.

use super::*;
use crate::read::place::grid;

/// An HDU: how many more cards than it needs, and what its data are.
#[derive(Clone, Debug)]
pub enum Unit {
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

pub fn product_of(units: &[Unit]) -> (Vec<(u64, Vec<u8>)>, u64) {
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
pub struct Fetched(std::collections::BTreeMap<u64, u64>);

impl Fetched {
    pub fn has(&self, range: &Range<u64>) -> bool {
        self.0.range(..=range.start).next_back().is_some_and(|(_, end)| *end >= range.end)
    }

    /// Adds a range; returns how many bytes of it are new.
    pub fn add(&mut self, range: &Range<u64>) -> u64 {
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

/// What one decision may cost beside twice the readahead of a stream: a batch of rows or tiles, and windows in which
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
        let Decision { demand, ahead, .. } = planner.on_read(read.clone(), Given { held, unseen: 0 }, &PACE);
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

/// Plays uses of a file, first with nothing known of its class, then with the layout of a file like it.
fn within_budget(recipe: &Recipe, uses: &[Use], max_ahead: u64) -> Result<(), TestCaseError> {
    let file = made(recipe);
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
        let mut planner = Planner::new(*size, true, sibling, max_ahead, u64::MAX);
        check(&planner.on_expected(), *size, max_ahead)?;
        let mut fetched = Fetched::default();
        for what in uses {
            follow(&mut planner, &file, &reads_of(what, &layout, *size), &mut fetched)?;
        }
    }
    Ok(())
}

/// Regression: pieces of a compressed image that the file does not have were planned, from their start back to its end.
#[test]
fn a_file_that_ends_within_a_compressed_image_has_no_tiles_behind_its_end() {
    let image = |extra, axes| Unit::Image { extra, axes, scaled: false };
    let tiles = |columns, rows, tile| Unit::Tiles { columns, rows, tile };
    let units =
        vec![image(0, vec![6411, 1582]), tiles(20, 6, 104_561), image(67, vec![48_532, 131]), tiles(2, 255, 132_405)];
    let recipe = Recipe { units, place: 0.199_316_509_350_108_22, noise: vec![0], damage: 0 };
    let uses = [
        Use::Random { seed: 4_806_389_834_353_209_534, count: 27 },
        Use::Planes { at: 0.0, width: 393_217, rows: 6, planes: 17 },
    ];
    within_budget(&recipe, &uses, 8 * MIB).unwrap();
}

proptest! {
    #[test]
    fn plans_are_blocks_within_the_file_and_bounded(
        size in 1u64..1 << 36,
        reads in proptest::collection::vec((0.0..1.0f64, 1u64..1 << 20), 1..100),
        noise in proptest::collection::vec(any::<u8>(), 3000),
    ) {
        let mut planner = Planner::new(size, true, None, 16 * MIB, u64::MAX);
        for (place, length) in reads {
            let start = ((place * size as f64) as u64).min(size - 1);
            let range = start..(start + length).min(size);
            let decision = planner.on_read(range.clone(), Given::default(), &PACE);
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
        within_budget(&recipe, &uses, max_ahead)?;
    }

    #[test]
    fn pages_at_random_cost_little_in_any_file(
        recipe in recipe(), seed: u64, count in 1u64..300, has_page_cache in prop_oneof![3 => Just(true), 1 => Just(false)],
    ) {
        // One page of a tile stands for a cutout around it, whatever comes next.
        let is_image = |unit: &Unit| matches!(unit, Unit::Image { .. });
        let units: Vec<_> = recipe.units.iter().filter(|unit| is_image(unit)).cloned().collect();
        prop_assume!(!units.is_empty());
        let file = made(&Recipe { units, ..recipe });
        let mut planner = Planner::new(file.1, true, None, 64 * MIB, u64::MAX);
        let (mut fetched, mut bytes) = (Fetched::default(), 0);
        for read in reads_of(&Use::Random { seed, count }, planner.layout(), file.1) {
            if !(has_page_cache && fetched.has(&read)) {
                bytes += follow(&mut planner, &file, &[read], &mut fetched)?;
            }
        }
        // Now and then a page lies where a pattern would go on, by chance. Where all of them are asked for (`O_DIRECT`), also
        // those that were fetched ahead, that happens in each step of readahead.
        let by_chance = if has_page_cache { 64 * MIB } else { 128 * MIB };
        prop_assert!(bytes <= 2 * count * WINDOW + by_chance, "{bytes} bytes for {count} pages");
    }
}
