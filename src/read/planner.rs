//! What to fetch, decided from what a program reads: pure, no clock, no I/O.
//!
//! One planner per object version. Reads and header bytes go in, ranges come out:
//!
//! - the **head** of the file with its first read, and the last blocks with a read of the tail;
//! - the **header chain**: as header bytes arrive the walk goes on, a bounded number of HDUs ahead of the reader,
//!   also at the offsets where the next headers would be if the file repeats itself;
//! - **sequential** streams through data, extended geometrically and never past the data unit that they began in,
//!   until a reader has shown that it crosses header boundaries.
//!
//! Everything else is random access: exactly what was asked for, rounded to blocks. Ranges returned are whole blocks
//! (the last one ends with the file). They may overlap what is held or on its way; the caller fetches the gaps.

use std::ops::Range;

use bytes::Bytes;

use super::stream::{Advance, Streams};
use crate::cache::{BLOCK, Origin};
use crate::fits::{Chain, Need};

/// The first read of a file fetches this much of its head: the primary header and the first extension header of
/// nearly every archive product (the longest common ones, HST drizzled images, take 49 KB together).
pub(super) const HEAD: u64 = 64 << 10;

/// A read in the last blocks of a file fetches this much of its tail: the ASDF extension of JWST products, which a
/// program that reads the last header wants whole.
const TAIL: u64 = 64 << 10;

/// Files up to this size are fetched whole: the bytes cost less time than a second round trip.
const WHOLE_FILE: u64 = 256 << 10;

/// A header that is fetched ahead is assumed to have this many bytes or fewer: three FITS blocks (FITS Standard 4.0,
/// section 3.1), which covers all but primary headers and long tables.
const HEADER_GUESS: u64 = 3 * 2880;

/// What the kernel may have read ahead of the program: two windows of 128 KiB.
const READAHEAD: u64 = 256 << 10;

/// The walk goes at least this many HDUs ahead of the last one that a program touched: all of a JWST or HST product.
const MIN_LOOKAHEAD: usize = 10;

/// The walk never goes further ahead than this: 64 GETs of 16-32 KiB are what one burst of small requests may cost.
const MAX_LOOKAHEAD: usize = 64;

/// The widest guess: so many further headers are fetched where they would be if the HDUs repeat.
const MAX_GUESSES: usize = 16;

/// A range to fetch before it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Bytes of the object; whole blocks.
    pub range: Range<u64>,
    /// The decision behind it.
    pub origin: Origin,
}

/// What follows from a read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// What to fetch for the read itself: holds the bytes that were read, rounded or extended.
    pub demand: Range<u64>,
    /// What to fetch ahead, most urgent first.
    pub ahead: Vec<Planned>,
    /// What no reader is expected to want any more.
    pub abandoned: Vec<Range<u64>>,
}

/// The state of one object version.
#[derive(Debug)]
pub struct Planner {
    size: u64,
    named_fits: bool,
    started: bool,
    chain: Chain,
    /// What the walk asked for last, so that it asks once.
    pursued: Option<u64>,
    lookahead: usize,
    /// The HDU furthest into the file that a program touched.
    reader_hdu: usize,
    guesses: usize,
    streams: Streams,
}

impl Planner {
    /// A planner for an object of `size` bytes. `named_fits` says that its name is that of a FITS file; `max_ahead`
    /// is how many bytes a sequential reader may be led by.
    pub fn new(size: u64, named_fits: bool, max_ahead: u64) -> Self {
        Self {
            size,
            named_fits,
            started: false,
            chain: Chain::new(size),
            pursued: None,
            lookahead: MIN_LOOKAHEAD,
            reader_hdu: 0,
            guesses: 2,
            streams: Streams::new(max_ahead),
        }
    }

    /// A program reads `range` (not empty, within the file); `held` says that all of it is held or on its way.
    pub fn on_read(&mut self, range: Range<u64>, held: bool) -> Decision {
        let mut decision = Decision { demand: self.blocks(range.clone()), ..Decision::default() };
        if self.size <= WHOLE_FILE {
            decision.demand = 0..self.size;
            self.started = true;
            return decision;
        }
        if !self.started {
            self.started = true;
            self.plan_head(&range, &mut decision);
        }
        if range.start + TAIL >= self.size && range.end - range.start <= BLOCK {
            decision.demand.start = decision.demand.start.min(self.blocks(self.size - TAIL..self.size).start);
        }
        self.note_reader(&range);
        decision.ahead.extend(self.pursue_chain());
        if self.in_header(&range) {
            decision.demand.end = decision.demand.end.max(self.blocks(range.start..range.start + HEADER_GUESS).end);
        } else {
            self.follow_stream(range, held, &mut decision);
        }
        decision
    }

    /// Bytes have arrived: walks on along the headers that `held` can show, and says what the walk needs next.
    pub fn on_arrival(&mut self, held: impl Fn(&Range<u64>) -> Option<Bytes>) -> Vec<Planned> {
        let known = self.chain.layout_so_far().hdus.len();
        while let Need::Bytes { offset, len } = self.chain.need() {
            let wanted = offset..(offset + len).min(self.size);
            let block = self.blocks(offset..offset + 1);
            let Some(bytes) = held(&wanted).or_else(|| held(&(offset..block.end))) else { break };
            if !self.chain.feed(offset, &bytes) {
                break;
            }
        }
        if self.chain.layout_so_far().hdus.len() > known + 1 {
            self.guesses = (self.guesses * 2).min(MAX_GUESSES);
        }
        self.pursue_chain()
    }

    /// A planned range could not be fetched: the reader is led no further than its start, and a header in it may be
    /// asked for again.
    pub fn on_denied(&mut self, range: &Range<u64>) {
        self.streams.cut(range);
        if self.pursued.is_some_and(|header| range.contains(&header)) {
            self.pursued = None;
        }
    }

    /// No program has the file open: nobody is led any more.
    pub fn on_closed(&mut self) {
        self.streams.clear();
    }

    /// The first read: the head comes along, with the read itself where that is at the head.
    fn plan_head(&mut self, range: &Range<u64>, decision: &mut Decision) {
        let head = 0..HEAD.min(self.size);
        if range.start < head.end {
            decision.demand = 0..decision.demand.end.max(head.end);
        } else if self.named_fits {
            decision.ahead.push(Planned { range: head, origin: Origin::Chain });
        }
    }

    /// Where the reader is among the HDUs; the further it walks, the further the chain is walked ahead of it.
    fn note_reader(&mut self, range: &Range<u64>) {
        let layout = self.chain.layout_so_far();
        if let Some(hdu) = layout.hdu_at(range.start)
            && hdu.index > self.reader_hdu
        {
            if layout.in_header(range.start) {
                self.lookahead = (self.lookahead + self.lookahead / 2).min(MAX_LOOKAHEAD);
            }
            self.reader_hdu = hdu.index;
        }
    }

    /// The next header's blocks and those where further headers may be, unless they were asked for already.
    fn pursue_chain(&mut self) -> Vec<Planned> {
        let Need::Bytes { offset, len } = self.chain.need() else { return Vec::new() };
        let known = self.chain.layout_so_far().hdus.len();
        let head_is_coming = offset == 0;
        if head_is_coming || known > self.reader_hdu + self.lookahead || self.pursued == Some(offset) {
            return Vec::new();
        }
        self.pursued = Some(offset);
        let room = (self.reader_hdu + self.lookahead).saturating_sub(known).min(self.guesses);
        let guesses = self.chain.predict(room).into_iter().filter(|guess| guess + BLOCK <= self.size);
        std::iter::once(offset..(offset + len).min(self.size))
            .chain(guesses.map(|guess| guess..(guess + HEADER_GUESS).min(self.size)))
            .map(|range| Planned { range: self.blocks(range), origin: Origin::Chain })
            .collect()
    }

    /// Lets the streams take note of a read of data, and leads its reader if it goes forward.
    fn follow_stream(&mut self, range: Range<u64>, held: bool, decision: &mut Decision) {
        let Advance { lead, abandoned } = self.streams.advance(&range, held);
        decision.abandoned = abandoned;
        if let Some(lead) = lead {
            let end = self.boundary(&lead.stream).min(lead.range.end);
            if lead.range.start < end {
                let range = self.blocks(lead.range.start..end);
                self.streams.led(lead.id, range.end);
                decision.ahead.push(Planned { range, origin: Origin::Sequential });
            }
        }
    }

    /// How far a stream that has read `read` may be led: to the end of the data unit where it stands, or of the file
    /// once it has crossed a header. The kernel's readahead alone crosses one by a window or two.
    fn boundary(&self, read: &Range<u64>) -> u64 {
        let layout = self.chain.layout_so_far();
        let stands = read.end.saturating_sub(READAHEAD).max(read.start);
        let Some(here) = layout.hdu_at(stands) else { return self.size };
        match layout.hdu_at(read.start) {
            Some(began) if began.index < here.index => self.size,
            _ => here.end().min(self.size),
        }
    }

    /// Whether a read begins in a header, or where the walk knows that one is.
    fn in_header(&self, range: &Range<u64>) -> bool {
        let pending = matches!(self.chain.need(), Need::Bytes { offset, len } if range.start < offset + len && range.start >= offset);
        pending || self.chain.layout_so_far().in_header(range.start)
    }

    /// The whole blocks that hold `range`, ending with the file.
    fn blocks(&self, range: Range<u64>) -> Range<u64> {
        range.start / BLOCK * BLOCK..(range.end.div_ceil(BLOCK) * BLOCK).min(self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WINDOW: u64 = 128 << 10;
    const MIB: u64 = 1 << 20;

    fn cards(lines: &[&str]) -> Vec<u8> {
        let mut header: Vec<u8> =
            lines.iter().chain(&["END"]).flat_map(|line| format!("{line:<80}").into_bytes()).collect();
        header.resize(header.len().div_ceil(2880) * 2880, b' ');
        header
    }

    /// A file of images of `mib` MiB each, behind an empty primary HDU: its header bytes by offset, and its size.
    fn images(count: u64, mib: u64) -> (Vec<(u64, Vec<u8>)>, u64) {
        let primary = cards(&[
            "SIMPLE  =                    T",
            "BITPIX  =                    8",
            "NAXIS   =                    0",
        ]);
        let length = format!("NAXIS1  = {:>20}", mib * MIB);
        let image = cards(&[
            "XTENSION= 'IMAGE   '",
            "BITPIX  =                    8",
            "NAXIS   =                    1",
            &length,
        ]);
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
        let decision = planner.on_read(range, false);
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
            round = planner.on_arrival(held).into_iter().map(|p| p.range).collect();
        }
        (fetched, rounds)
    }

    fn bytes(ranges: &[Range<u64>]) -> u64 {
        ranges.iter().map(|r| r.end - r.start).sum()
    }

    #[test]
    fn the_first_read_walks_all_headers_in_fewer_rounds_than_headers() {
        let (headers, size) = images(9, 16);
        let mut planner = Planner::new(size, true, 64 * MIB);
        let (fetched, rounds) = read(&mut planner, &headers, 0..16 << 10);
        for (offset, _) in &headers {
            assert!(fetched.iter().any(|r| r.contains(offset)), "the header at {offset} was not fetched");
        }
        assert!(rounds <= 6, "{rounds} rounds for {} headers", headers.len());
        assert!(bytes(&fetched) < MIB, "{} bytes", bytes(&fetched));
    }

    #[test]
    fn a_long_chain_is_walked_as_far_as_the_reader_follows() {
        let (headers, size) = images(300, 1);
        let mut planner = Planner::new(size, true, 64 * MIB);
        let (first, _) = read(&mut planner, &headers, 0..16 << 10);
        assert!(bytes(&first) < 2 * MIB, "{} bytes before the reader has moved", bytes(&first));
        let mut rounds = 0;
        for (offset, _) in &headers[1..] {
            rounds += read(&mut planner, &headers, offset / 4096 * 4096..offset / 4096 * 4096 + 4096).1 - 1;
        }
        assert!(rounds < 60, "{rounds} rounds for 300 headers");
    }

    #[test]
    fn a_header_that_could_not_be_fetched_is_asked_for_again() {
        let (headers, size) = images(3, 4);
        let mut planner = Planner::new(size, true, MIB);
        planner.on_read(0..4096, false);
        let asked = planner.on_arrival(|wanted| (wanted.start < HEAD).then(|| content(&headers, wanted)));
        assert!(!asked.is_empty());
        assert_eq!(planner.on_arrival(|_| None), []);
        planner.on_denied(&asked[0].range);
        assert_eq!(planner.on_arrival(|_| None), asked);
    }

    #[test]
    fn a_read_of_the_tail_brings_the_head_along_in_files_named_fits() {
        let (_, size) = images(3, 4);
        let tail = size / 4096 * 4096..size;
        let decision = Planner::new(size, true, MIB).on_read(tail.clone(), false);
        assert!(decision.demand.end == size && size - decision.demand.start >= TAIL);
        assert_eq!(decision.ahead, [Planned { range: 0..HEAD, origin: Origin::Chain }]);
        assert_eq!(Planner::new(size, false, MIB).on_read(tail, false).ahead, []);
    }

    #[test]
    fn small_files_come_whole() {
        let decision = Planner::new(100_000, true, MIB).on_read(90_000..95_000, false);
        assert_eq!((decision.demand, decision.ahead.len()), (0..100_000, 0));
    }

    #[test]
    fn a_reader_of_one_data_unit_is_not_led_into_the_next() {
        let (headers, size) = images(3, 32);
        let mut planner = Planner::new(size, true, 64 * MIB);
        read(&mut planner, &headers, 0..16 << 10);
        let end = headers[2].0;
        let (mut at, mut fetched) = (headers[1].0 + 2880, Vec::new());
        while at < end + WINDOW {
            fetched.extend(read(&mut planner, &headers, at..at + WINDOW).0);
            at += WINDOW;
        }
        let furthest = fetched.iter().map(|r| r.end).max().unwrap();
        assert!(furthest <= at + BLOCK, "led to {furthest}, the unit ends at {end}");
    }

    #[test]
    fn a_reader_that_crosses_headers_is_led_across_the_next() {
        let (headers, size) = images(4, 8);
        let mut planner = Planner::new(size, true, 64 * MIB);
        let mut led = 0;
        for at in (0..headers[2].0 + 4 * MIB).step_by(WINDOW as usize) {
            led = led.max(read(&mut planner, &headers, at..at + WINDOW).0.iter().map(|r| r.end).max().unwrap());
        }
        assert!(led > headers[3].0 + MIB, "led to {led}, the next header is at {}", headers[3].0);
    }

    #[test]
    fn random_reads_fetch_what_they_read() {
        let (headers, size) = images(1, 512);
        let mut planner = Planner::new(size, true, 64 * MIB);
        read(&mut planner, &headers, 0..16 << 10);
        let mut fetched = 0;
        for n in 0..1000u64 {
            let at = MIB + n * 7_919 * 4096 % (500 * MIB);
            fetched += bytes(&read(&mut planner, &headers, at..at + 4096).0);
        }
        assert!(fetched <= 1000 * 2 * BLOCK, "{fetched} bytes for 1,000 reads of 4 KiB");
    }

    proptest! {
        #[test]
        fn plans_are_blocks_within_the_file_and_bounded(
            size in 1u64..1 << 36,
            reads in proptest::collection::vec((0.0..1.0f64, 1u64..1 << 20), 1..100),
            noise in proptest::collection::vec(any::<u8>(), 3000),
        ) {
            let mut planner = Planner::new(size, true, 16 * MIB);
            for (place, length) in reads {
                let start = ((place * size as f64) as u64).min(size - 1);
                let range = start..(start + length).min(size);
                let decision = planner.on_read(range.clone(), false);
                prop_assert!(decision.demand.start <= range.start && decision.demand.end >= range.end);
                prop_assert!(decision.demand.end - decision.demand.start <= length + 2 * BLOCK + HEAD + TAIL + WHOLE_FILE);
                let arrived = planner.on_arrival(|r| Some(noise[..noise.len().min((r.end - r.start) as usize)].to_vec().into()));
                for planned in decision.ahead.iter().chain(&arrived) {
                    let Range { start, end } = planned.range;
                    prop_assert!(start < end && end <= size && start % BLOCK == 0 && (end % BLOCK == 0 || end == size));
                    prop_assert!(end - start <= 16 * MIB + 2 * BLOCK);
                }
            }
        }
    }
}
