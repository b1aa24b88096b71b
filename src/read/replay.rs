//! Replay: what programs have read of the last files of a class is what they will read of the next one.
//!
//! While a file is open its reads are recorded ([`Record`]). When it is closed they are told in terms that hold for other
//! files of the class, too ([`Script`]): which HDU, which bytes of its data, which tiles of a compressed image. The class
//! compares the scripts of its last files ([`Learnt`]), and the next file is fetched along the script as soon as its places are
//! known ([`Replay`]): at once where a file of the same size has the same layout, otherwise with the headers.
//!
//! What is replayed is answered from memory and not pushed into the page cache, or only between the pages that show how
//! far a reader has come: each READ is seen, so that a script that does not hold shows with the first file that is read
//! otherwise. Then nothing is replayed until a file was read as the one before it.

use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::parts::MAX_PART;
use super::planned::Planned;
use super::ranges::Ranges;
use super::stride::PAGE;
use super::tiles::Tiles;
use crate::cache::Origin;
use crate::fits::{Hdu, Layout};
use crate::metrics::Pace;

/// Replayed ranges are pushed into the page cache in pieces of this size, each but for its first page; shorter ranges are
/// not. A READ that is answered from memory takes about 40 us: 64 MiB take 256 of them, and their transfer takes 0.1 s.
pub(super) const REPLAY_PIECE: u64 = 256 << 10;

/// Not more than this is replayed of a file. It takes longer to transfer than any number of rounds that are saved.
const MAX_BYTES: u64 = 64 << 20;

/// A program that reads at more places than this has a pattern of its own, which other files do not tell.
const MAX_SPANS: usize = 1024;

/// The tiles of so many compressed images are known at once: 1.6 MB each at most.
const MAX_TILED: usize = 16;

/// What a script says of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Proof {
    /// It was put into the page cache, and may have been read there.
    Pushed,
    /// It was read.
    Read,
    /// It was read in the file before as well.
    Again,
}

/// A part of a data unit that was read, in its [`Unit`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Span {
    start: u64,
    end: u64,
    /// It goes on to the end of the data, wherever that is.
    to_end: bool,
    proof: Proof,
    /// So much of it was asked for: the rest was in the page cache, and is between what was asked for or near it.
    asked: u64,
}

/// What spans count, with as many of it as make a row: where rows are longer or shorter, the same columns are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Unit {
    /// Bytes from the start of the data.
    Bytes { row: u64 },
    /// Tiles of a compressed image.
    Tiles { row: u64 },
}

/// What was read of the data of one HDU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    hdu: usize,
    unit: Unit,
    spans: Vec<Span>,
}

/// What was read of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Script {
    parts: Vec<Part>,
}

/// What the files of a class have shown.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Learnt {
    /// What stands for the last file.
    file: Option<u64>,
    #[serde(with = "shared")]
    last: Arc<Script>,
    before: Option<Before>,
    /// The last file was read otherwise than the one before it.
    wrong: bool,
}

/// What the file before the last one had read, and whether that was otherwise than the one before itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Before {
    #[serde(with = "shared")]
    script: Arc<Script>,
    wrong: bool,
}

/// What is read of a file while it is open.
#[derive(Debug, Default)]
struct Record {
    read: Ranges,
    /// Readahead of streams, and what was replayed: each with a page now and then that is not in the page cache.
    ahead: Ranges,
    replayed: Ranges,
    /// What was put whole into the page cache.
    pieces: Ranges,
}

/// The replay of one file.
#[derive(Debug, Default)]
pub(super) struct Replay {
    script: Arc<Script>,
    /// Where the data of each part were when it was planned.
    planned: Vec<Option<Range<u64>>>,
    /// So many bytes may still be fetched: of spans that were read in one file, and of all.
    left_once: u64,
    left: u64,
    most: u64,
    record: Record,
    /// What was read of the file while it was open before.
    earlier: Script,
    tiles: Vec<(usize, Arc<Tiles>)>,
    begun: bool,
}

impl Replay {
    /// A program is about to read the file, for the first time: what was read of others is to be fetched. Not of what was
    /// read before: the page cache has that.
    /// At most `most` bytes are, and more when it begins anew with a larger bound.
    pub fn begin(&mut self, script: Arc<Script>, most: u64, pace: &Pace) {
        let most = MAX_BYTES.min(most);
        let is_known = script == self.script && (most <= self.most || !self.is_cut_short());
        if !self.record.read.is_empty() || !self.earlier.parts.is_empty() || is_known {
            return;
        }
        self.planned = vec![None; script.parts.len()];
        (self.most, self.left) = (most, most);
        // One file says little: as many bytes as are transferred while a round of requests is waited for.
        self.left_once = ((pace.latency * pace.bandwidth) as u64).min(self.left);
        self.script = script;
        self.begun = true;
    }

    /// Whether there was more in the script than it might fetch.
    pub fn is_cut_short(&self) -> bool {
        self.begun && self.left == 0
    }

    /// Whether anything was to be replayed.
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// Whether anything was read.
    pub fn has_reads(&self) -> bool {
        !self.record.read.is_empty()
    }

    /// The HDUs whose tiles are to be fetched, and are not known yet.
    pub fn wants_tiles(&self) -> Vec<usize> {
        let wanted = self.script.parts.iter().filter(|part| matches!(part.unit, Unit::Tiles { .. }));
        wanted.map(|part| part.hdu).filter(|hdu| self.tiles_of(*hdu).is_none()).collect()
    }

    /// The tiles of an HDU are known.
    pub fn learn_tiles(&mut self, hdu: usize, tiles: Arc<Tiles>) {
        if self.tiles_of(hdu).is_none() && self.tiles.len() < MAX_TILED {
            self.tiles.push((hdu, tiles));
        }
    }

    fn tiles_of(&self, hdu: usize) -> Option<&Arc<Tiles>> {
        self.tiles.iter().find(|(index, _)| *index == hdu).map(|(_, tiles)| tiles)
    }

    /// What to fetch of the HDUs of `layout`, which may be those of another file; nothing twice at the same places.
    pub fn pursue<'a>(&mut self, hdus: impl Iterator<Item = &'a Hdu>, size: u64, pace: &Pace) -> Vec<Planned> {
        if self.left == 0 || self.script.parts.is_empty() {
            return Vec::new();
        }
        let script = self.script.clone();
        let mut ranges = Vec::new();
        for hdu in hdus {
            for (part, index) in script.parts.iter().zip(0..).filter(|(part, _)| part.hdu == hdu.index) {
                let tiles = self.tiles_of(hdu.index).cloned();
                let Some(spans) = part.places(hdu, tiles.as_deref()) else { continue };
                let place = hdu.data_offset..hdu.data_offset.saturating_add(hdu.data_len);
                if self.planned[index].replace(place.clone()) != Some(place) {
                    self.take(spans, size, &mut ranges);
                }
            }
        }
        joined(ranges, size, pace).inspect(|planned| self.record.replayed.insert(planned.range.clone())).collect()
    }

    /// Takes as much of spans as may be fetched.
    fn take(&mut self, spans: impl IntoIterator<Item = (Range<u64>, Proof)>, size: u64, ranges: &mut Vec<Range<u64>>) {
        for (range, proof) in spans {
            let allowed = if proof == Proof::Again { self.left } else { self.left_once.min(self.left) };
            // What was planned for where another file had it need not be planned again.
            let start = self.record.replayed.around(range.start).map_or(range.start, |known| known.end);
            let range = start..range.end.min(size).min(start.saturating_add(allowed));
            if range.start < range.end {
                let bytes = range.end - range.start;
                self.left -= bytes;
                self.left_once -= if proof == Proof::Again { 0 } else { bytes };
                ranges.push(range);
            }
        }
    }

    /// A program reads `range`, and `ahead` is fetched ahead of it.
    pub fn note_read(&mut self, range: &Range<u64>, ahead: &[Planned]) {
        self.record.read.insert(range.clone());
        for Planned { range, origin } in ahead {
            // What was replayed is not pushed: there READs tell.
            let pushed = self.record.replayed.gaps(range).into_iter();
            match origin {
                Origin::Sequential | Origin::Region => pushed.for_each(|range| self.record.ahead.insert(range)),
                Origin::Strided | Origin::Probe => pushed.for_each(|range| self.record.pieces.insert(range)),
                Origin::Demand | Origin::Chain | Origin::Predicted | Origin::Replayed => {}
            }
        }
    }

    /// What was read of the file so far, in terms of its layout.
    pub fn observed(&self, layout: &Layout) -> Script {
        let spans = self.record.spans();
        let parts = layout.hdus.iter().filter_map(|hdu| {
            let (from, to) = (hdu.data_offset, hdu.data_offset.saturating_add(hdu.data_len));
            let begin = spans.partition_point(|range| range.end <= from);
            let within = spans[begin..].iter().take_while(|range| range.start < to);
            let within = within.map(|range| range.start.max(from)..range.end.min(to));
            let asked = |range: Range<u64>| (self.record.asked(&range), range);
            Part::of(hdu, self.tiles_of(hdu.index), within.map(asked).collect())
        });
        self.earlier.clone().with(Script { parts: parts.collect() })
    }

    /// No program has the file open. What it was is remembered for when it is opened again.
    pub fn close(&mut self, layout: &Layout) {
        self.earlier = self.observed(layout);
        self.record = Record::default();
        self.tiles.clear();
        self.script = Arc::default();
        self.begun = false;
    }
}

impl Record {
    /// All that was read or may have been, in order.
    fn spans(&self) -> Vec<Range<u64>> {
        let mut all = self.read.clone();
        for (ahead, distance) in [(&self.ahead, MAX_PART), (&self.replayed, REPLAY_PIECE)] {
            // From one page that was asked for to the next the reader has come through the page cache.
            let mut reads = self.read.iter().peekable();
            while let Some(read) = reads.next() {
                let Some(ahead) = ahead.around(read.end - 1) else { continue };
                let next = reads.peek().map_or(ahead.end, |next| next.start.min(ahead.end));
                // Or it has stopped there, at the end of what was pushed together at most.
                let come = next.min(read.end.saturating_add(distance));
                if come > read.end {
                    all.insert(read.end..come);
                }
            }
        }
        self.pieces.iter().for_each(|range| all.insert(range));
        if all.len() > MAX_SPANS || self.read.is_full() {
            return Vec::new();
        }
        all.iter().collect()
    }

    /// How many bytes of a range were asked for.
    fn asked(&self, range: &Range<u64>) -> u64 {
        let missing: u64 = self.read.gaps(range).iter().map(|gap| gap.end - gap.start).sum();
        range.end - range.start - missing
    }
}

impl Part {
    /// What was read of an HDU, given the ranges of its data with how much was asked for of each; none if that is nothing.
    fn of(hdu: &Hdu, tiles: Option<&Arc<Tiles>>, ranges: Vec<(u64, Range<u64>)>) -> Option<Self> {
        let (unit, spans): (_, Vec<Span>) = match tiles {
            Some(tiles) => {
                let span = |(asked, range): (u64, Range<u64>)| {
                    let bytes = range.end - range.start;
                    Span::of_tiles(&tiles.within(&range), tiles.len(), asked as f64 / bytes.max(1) as f64)
                };
                (Unit::Tiles { row: tiles.columns }, ranges.into_iter().filter_map(span).collect())
            }
            None => {
                let span = |(asked, range): (u64, Range<u64>)| Span {
                    start: range.start - hdu.data_offset,
                    end: range.end - hdu.data_offset,
                    to_end: range.end - hdu.data_offset >= hdu.data_len,
                    proof: Proof::of(asked),
                    asked,
                };
                (Unit::Bytes { row: hdu.row_len() }, ranges.into_iter().map(span).collect())
            }
        };
        (!spans.is_empty()).then_some(Self { hdu: hdu.index, unit, spans })
    }

    /// Where this is in an HDU; none while its tiles are not known.
    fn places(&self, hdu: &Hdu, tiles: Option<&Tiles>) -> Option<Vec<(Range<u64>, Proof)>> {
        if let Unit::Bytes { .. } = self.unit {
            let spans = self.spans_by(Unit::Bytes { row: hdu.row_len() }, hdu.data_len);
            let absolute = |at: u64| hdu.data_offset.saturating_add(at);
            return Some(spans.iter().map(|span| (absolute(span.start)..absolute(span.end), span.proof)).collect());
        }
        let tiles = tiles?;
        let spans = self.spans_by(Unit::Tiles { row: tiles.columns }, tiles.len());
        let places = |span: &Span| tiles.ranges(span.start..span.end);
        Some(spans.iter().flat_map(|span| places(span).into_iter().map(|range| (range, span.proof))).collect())
    }

    /// The spans where rows have another length, and the data end elsewhere.
    fn spans_by(&self, unit: Unit, end: u64) -> Vec<Span> {
        let (from, to) = match (self.unit, unit) {
            (Unit::Bytes { row: from }, Unit::Bytes { row: to }) => (from, to),
            (Unit::Tiles { row: from }, Unit::Tiles { row: to }) => (from, to),
            _ => return Vec::new(),
        };
        let moved = |at: u64| match from == to || from == 0 || to == 0 {
            true => at,
            false => (at / from).saturating_mul(to).saturating_add((at % from).min(to - 1)),
        };
        let span = |span: &Span| {
            let last = moved(span.end.saturating_sub(1)).saturating_add(1);
            Span { start: moved(span.start), end: if span.to_end { end } else { last.min(end) }, ..*span }
        };
        self.spans.iter().map(span).filter(|span| span.start < span.end).collect()
    }
}

impl Proof {
    /// That of a span of which so much was asked for.
    fn of(asked: u64) -> Self {
        if asked > 0 { Self::Read } else { Self::Pushed }
    }
}

impl Span {
    /// Tiles, of whose bytes this share was asked for.
    fn of_tiles(tiles: &Range<u64>, count: u64, share: f64) -> Option<Self> {
        let Range { start, end } = *tiles;
        let asked = (share * end.saturating_sub(start) as f64).ceil() as u64;
        (start < end).then_some(Self { start, end, to_end: end >= count, proof: Proof::of(asked), asked })
    }
}

impl Script {
    /// With what else was read.
    fn with(mut self, other: Self) -> Self {
        for part in other.parts {
            match self.parts.iter_mut().find(|known| known.hdu == part.hdu && known.unit == part.unit) {
                Some(known) => known.spans = union(known.spans.iter().chain(&part.spans)),
                None => self.parts.push(part),
            }
        }
        self.parts.sort_by_key(|part| part.hdu);
        let spans: usize = self.parts.iter().map(|part| part.spans.len()).sum();
        if spans > MAX_SPANS { Self::default() } else { self }
    }

    /// How much of what was asked for `other` has read, too, from 0 to 1; none if nothing was.
    fn share_in(&self, other: &Self) -> Option<f64> {
        let (mut all, mut common) = (0.0, 0.0);
        for part in &self.parts {
            let others = other.parts.iter().filter(|known| known.hdu == part.hdu);
            let others: Vec<_> = others.flat_map(|known| known.spans_by(part.unit, u64::MAX)).collect();
            for span in &part.spans {
                all += span.asked as f64;
                common += span.asked as f64 * overlaps(span, &others) as f64 / (span.end - span.start) as f64;
            }
        }
        (all > 0.0).then(|| common / all)
    }

    /// The same, with what `before` has read as well as what is proven.
    fn proven_by(mut self, before: &Self) -> Self {
        for part in &mut self.parts {
            let others = before.parts.iter().filter(|known| known.hdu == part.hdu);
            let others: Vec<_> = others.flat_map(|known| known.spans_by(part.unit, u64::MAX)).collect();
            for span in part.spans.iter_mut().filter(|span| span.proof > Proof::Pushed) {
                let again = 2 * overlaps(span, &others) >= span.end - span.start;
                span.proof = if again { Proof::Again } else { Proof::Read };
            }
        }
        self
    }

    /// About how much memory it takes, in bytes.
    pub fn weight(&self) -> usize {
        self.parts.iter().map(|part| size_of::<Part>() + part.spans.len() * size_of::<Span>()).sum()
    }
}

/// How much of a span sorted others have.
fn overlaps(span: &Span, others: &[Span]) -> u64 {
    let common = |other: &Span| other.end.min(span.end).saturating_sub(other.start.max(span.start));
    others.iter().map(common).sum::<u64>().min(span.end - span.start)
}

/// Spans in order, those that meet joined.
fn union<'a>(spans: impl Iterator<Item = &'a Span>) -> Vec<Span> {
    let mut spans: Vec<_> = spans.cloned().collect();
    spans.sort_by_key(|span| span.start);
    let mut joined: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        match joined.last_mut() {
            Some(last) if span.start <= last.end => {
                last.end = last.end.max(span.end);
                last.to_end |= span.to_end;
                last.proof = last.proof.max(span.proof);
                last.asked = (last.asked + span.asked).min(last.end - last.start);
            }
            _ => joined.push(span),
        }
    }
    joined
}

/// Whole pages, joined where what lies between is not worth a request.
fn joined(mut ranges: Vec<Range<u64>>, size: u64, pace: &Pace) -> impl Iterator<Item = Planned> {
    ranges.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        let range = range.start / PAGE * PAGE..range.end.next_multiple_of(PAGE).min(size);
        match joined.last_mut() {
            Some(last) if range.start <= last.end || !pace.is_worth_a_request(range.start - last.end) => {
                last.end = last.end.max(range.end);
            }
            _ => joined.push(range),
        }
    }
    joined.into_iter().filter(|range| range.start < range.end).map(|range| Planned { range, origin: Origin::Replayed })
}

impl Learnt {
    /// A file was read as `observed` says. The same file again takes the place of what was said of it before. While it is
    /// open (`more_follows`), nothing is taken for missing.
    pub fn learn(&mut self, file: u64, observed: &Script, more_follows: bool) {
        let before = match &self.file {
            Some(last) if *last != file => Some(Before { script: self.last.clone(), wrong: self.wrong }),
            _ => self.before.clone(),
        };
        let Some(Before { script, wrong: was_wrong }) = &before else {
            (self.file, self.last) = (Some(file), Arc::new(observed.clone()));
            return;
        };
        // Where nothing was to be replayed, nothing is proven. Otherwise one of them may have read less: all of it where the
        // other has.
        let again = script.share_in(observed);
        if more_follows && again.is_some_and(|share| share < 0.5) {
            return;
        }
        let share = |again: f64| again.max(observed.share_in(script).unwrap_or(0.0));
        let wrong = again.map_or(*was_wrong, |again| share(again) < 0.5);
        let last = Arc::new(observed.clone().proven_by(script));
        *self = Self { file: Some(file), last, before, wrong };
    }

    /// Whether it is something that this program may have learnt: what comes from a disk may be anything.
    pub fn is_sound(&self) -> bool {
        let scripts = std::iter::once(&self.last).chain(self.before.iter().map(|before| &before.script));
        let spans = |script: &Arc<Script>| script.parts.iter().map(|part| part.spans.len()).sum::<usize>();
        let in_order = |part: &Part| part.spans.iter().all(|span| span.start < span.end);
        scripts.clone().all(|script| spans(script) <= MAX_SPANS && script.parts.iter().all(in_order))
    }

    /// How many of the last files are known: up to two.
    pub fn files(&self) -> usize {
        usize::from(self.file.is_some()) + usize::from(self.before.is_some())
    }

    /// What is to be replayed of the next file: nothing while the last ones were not read alike.
    pub fn script(&self) -> Option<Arc<Script>> {
        (!self.wrong && !self.last.parts.is_empty()).then(|| self.last.clone())
    }

    /// About how much memory it takes, in bytes.
    pub fn weight(&self) -> usize {
        self.last.weight() + self.before.as_ref().map_or(0, |before| before.script.weight())
    }
}

/// Scripts are shared in memory, and written down by themselves.
mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Script;

    pub fn serialize<S: Serializer>(script: &Arc<Script>, serializer: S) -> Result<S::Ok, S::Error> {
        script.as_ref().serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Script>, D::Error> {
        Script::deserialize(deserializer).map(Arc::new)
    }
}

#[cfg(test)]
mod tests;
