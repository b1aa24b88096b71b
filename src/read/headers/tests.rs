//! Walks through generated files in virtual time: what is planned in a round is there in the next.

use super::*;
use proptest::prelude::*;

const REGION: Pace = Pace { latency: 0.03, bandwidth: 600e6 };
const UNMEASURED: Pace = Pace { latency: 0.03, bandwidth: 100e6 };
const HOME: Pace = Pace { latency: 0.1, bandwidth: 12e6 };

const BLOCK: u64 = 2880;
const MIB: u64 = 1 << 20;

/// A file that takes the memory of what is in it beside zeros.
#[derive(Clone, Default)]
struct File {
    size: u64,
    /// Offsets of headers, and of what else is not zero.
    extents: Vec<(u64, Vec<u8>)>,
    headers: Vec<Range<u64>>,
}

fn cards<S: AsRef<str>>(lines: &[S]) -> Vec<u8> {
    let lines = lines.iter().map(AsRef::as_ref).chain(["END"]);
    let mut header: Vec<u8> = lines.flat_map(|line| format!("{line:<80}").into_bytes()).collect();
    header.resize(header.len().next_multiple_of(BLOCK as usize), b' ');
    header
}

/// The header of an image of so many bytes, some blocks longer than it need be.
fn image(bytes: u64, more: u64) -> Vec<u8> {
    let mut lines: Vec<String> = ["XTENSION= 'IMAGE   '", "BITPIX  = 8", "NAXIS   = 1"].map(str::to_owned).into();
    lines.extend([format!("NAXIS1  = {bytes}"), "PCOUNT  = 0".into(), "GCOUNT  = 1".into()]);
    lines.extend((0..36 * more).map(|n| format!("{:<8}= {n}", format!("K{n}"))));
    cards(&lines)
}

impl File {
    /// Images of so many bytes behind a primary HDU without data, whose header has these cards besides.
    fn with_cards(lengths: &[u64], more: &[String]) -> Self {
        let mut file = Self::default();
        let first = ["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 0"].map(str::to_owned);
        file.add(cards(&[&first[..], more].concat()), 0);
        lengths.iter().for_each(|bytes| file.add(image(*bytes, 1), *bytes));
        file
    }

    fn images(lengths: &[u64]) -> Self {
        Self::with_cards(lengths, &[])
    }

    fn add(&mut self, header: Vec<u8>, data: u64) {
        let at = self.size;
        self.headers.push(at..at + header.len() as u64);
        self.size = (at + header.len() as u64 + data).next_multiple_of(BLOCK);
        self.extents.push((at, header));
    }

    /// The same with other bytes somewhere.
    fn with(mut self, at: u64, bytes: Vec<u8>) -> Self {
        self.extents.push((at, bytes));
        self
    }

    fn content(&self, range: &Range<u64>) -> Bytes {
        let mut bytes = vec![0; (range.end - range.start) as usize];
        for (start, extent) in &self.extents {
            let (from, to) = (range.start.max(*start), range.end.min(start + extent.len() as u64));
            if from < to {
                let there = &extent[(from - start) as usize..(to - start) as usize];
                bytes[(from - range.start) as usize..(to - range.start) as usize].copy_from_slice(there);
            }
        }
        bytes.into()
    }
}

/// What a walk of a program through the headers of a file has cost.
#[derive(Debug, Default, PartialEq)]
struct Cost {
    rounds: usize,
    gets: usize,
    bytes: u64,
}

impl Cost {
    fn seconds(&self, pace: &Pace) -> f64 {
        self.rounds as f64 * pace.latency + self.bytes as f64 / pace.bandwidth
    }
}

/// A program that reads headers of a file, and what has arrived of it.
struct Reading<'a> {
    file: &'a File,
    headers: Headers,
    pace: Pace,
    /// Sorted and disjoint.
    held: Vec<Range<u64>>,
    coming: Vec<Range<u64>>,
    cost: Cost,
}

impl<'a> Reading<'a> {
    fn of(file: &'a File, pace: Pace) -> Self {
        let headers = Headers::new(file.size, None);
        let mut reading =
            Self { file, headers, pace, held: Vec::new(), coming: Vec::new(), cost: Cost::default() };
        reading.ask(vec![Planned { range: 0..HEAD.min(file.size), origin: Origin::Chain }]);
        reading
    }

    /// What is not held or coming of these is asked for.
    fn ask(&mut self, planned: Vec<Planned>) {
        for Planned { range, .. } in planned {
            assert!(range.start < range.end && range.end <= self.file.size, "{range:?} of {}", self.file.size);
            let mut at = range.start;
            let mut known: Vec<_> = self.held.iter().chain(&self.coming).cloned().collect();
            known.sort_by_key(|known| known.start);
            for known in known.into_iter().filter(|known| known.end > range.start && known.start < range.end) {
                self.get(at..known.start.max(at));
                at = at.max(known.end);
            }
            self.get(at.min(range.end)..range.end);
        }
    }

    fn get(&mut self, range: Range<u64>) {
        if !range.is_empty() {
            self.cost.gets += (range.end - range.start).div_ceil(MIB) as usize;
            self.cost.bytes += range.end - range.start;
            self.coming.push(range);
        }
    }

    /// A round: all that was asked for arrives.
    fn round(&mut self) {
        self.cost.rounds += 1;
        self.held.append(&mut self.coming);
        self.held.sort_by_key(|range| range.start);
        self.held = self.held.drain(..).fold(Vec::new(), |mut joined: Vec<Range<u64>>, range| {
            match joined.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => joined.push(range),
            }
            joined
        });
        let (held, file) = (self.held.clone(), self.file);
        let show = |wanted: &Range<u64>| is_held(&held, wanted).then(|| file.content(wanted));
        self.headers.walk(show);
        let planned = self.headers.pursue(&self.pace);
        self.ask(planned);
    }

    /// Reads a range as a program does, which waits for it.
    fn read(&mut self, range: Range<u64>) {
        let range = range.start / PAGE * PAGE..range.end.next_multiple_of(PAGE).min(self.file.size);
        self.headers.note_reader(&range);
        let planned = self.headers.pursue(&self.pace);
        self.ask(vec![Planned { range: range.clone(), origin: Origin::Demand }]);
        self.ask(planned);
        while !is_held(&self.held, &range) {
            self.round();
        }
    }

    /// Reads the headers up to number `n`, by a buffer of 16 KiB.
    fn reads_headers(&mut self, n: usize) -> &mut Self {
        for header in &self.file.headers[..=n] {
            self.read(header.start..(header.start + (16 << 10)).min(self.file.size));
        }
        self
    }

    /// All that was asked for arrives, until nothing more is.
    fn comes_to_rest(&mut self) -> &mut Self {
        while !self.coming.is_empty() {
            self.round();
        }
        self
    }
}

fn is_held(held: &[Range<u64>], range: &Range<u64>) -> bool {
    held.iter().any(|held| held.start <= range.start && range.end <= held.end)
}

/// The cost of reading all headers of a file.
fn listing(file: &File, pace: Pace) -> Cost {
    let mut reading = Reading::of(file, pace);
    reading.reads_headers(file.headers.len() - 1);
    assert_eq!(reading.headers.layout().hdus.len(), file.headers.len());
    std::mem::take(&mut reading.cost)
}

/// Numbers from 0 to 1 without a pattern.
fn noise(seed: u64) -> impl Iterator<Item = f64> {
    (0u64..).map(move |n| xxhash_rust::xxh3::xxh3_64_with_seed(&n.to_le_bytes(), seed) as f64 / u64::MAX as f64)
}

/// So many lengths from `least` to `most`.
fn lengths(seed: u64, count: usize, least: u64, most: u64) -> Vec<u64> {
    noise(seed).take(count).map(|x| least + (x * (most - least) as f64) as u64).collect()
}

#[test]
#[ignore]
fn survey() {
    let kinds: Vec<(&str, Vec<u64>)> = vec![
        ("equal 4M", vec![4 * MIB; 99]),
        ("3% 8.7M x62", lengths(1, 62, 8_450_000, 8_970_000)),
        ("25% 4M", lengths(2, 99, 3 * MIB, 5 * MIB)),
        ("0.3-2M", lengths(3, 99, 300_000, 2_000_000)),
        ("1-8M", lengths(4, 99, MIB, 8 * MIB)),
        ("0.1-20M", noise(5).take(99).map(|x| (100_000.0 * 200f64.powf(x)) as u64).collect()),
        ("turns", (0..99).map(|n| [4, 4, 2][n % 3] * MIB).collect()),
        ("three sizes", noise(6).take(99).map(|x| [3, 4, 6][(x * 3.0) as usize] * MIB).collect()),
        ("1000 x 43K", vec![43_000; 1000]),
        ("1000 x 30-60K", lengths(7, 1000, 30_000, 60_000)),
        ("1000 x 200K", lengths(8, 1000, 100_000, 300_000)),
    ];
    for (name, lengths) in kinds {
        let file = File::images(&lengths);
        for (network, pace) in [("unmeasured", UNMEASURED), ("region", REGION), ("home", HOME)] {
            let cost = listing(&file, pace);
            println!(
                "{name:>16} {network:>10}: {:3} rounds {:4} gets {:6.1} MB {:.2} s (one by one {:.2} s, whole {:.2} s)",
                cost.rounds,
                cost.gets,
                cost.bytes as f64 / 1e6,
                cost.seconds(&pace),
                lengths.len() as f64 * pace.latency,
                file.size as f64 / pace.bandwidth
            );
        }
    }
}
