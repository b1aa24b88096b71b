//! The walk along the headers of one file, ahead of its readers.
//!
//! Each header tells where the next one is, so walking costs a round trip per HDU unless the places of the headers are
//! guessed. Guesses come from an index in the file, from a file of the same class, or from the repetition inside the file;
//! how many are made depends on how often they were right. Where HDUs differ in length, further walks begin at headers
//! that are found in the middle of the file ([`walks`]). Where HDUs are so short that leaving out their data saves
//! nothing, all of the file is fetched that far.
//!
//! A guess counts only when the walk comes to it along proven offsets ([`Chain`]); a wrong one costs its bytes.

mod step;
mod walks;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::planned::Planned;
use super::stride::PAGE;
use crate::cache::Origin;
use crate::fits::{Chain, Hdu, Layout, Need};
use crate::metrics::Pace;
pub(super) use step::HEADER_GUESS;
use step::{READ_ON, step};
use walks::{Lengths, Purpose, Walks};

/// The first read of a file fetches this much of its head: the primary header and the first extension header of
/// nearly every archive product (the longest common ones, HST drizzled images, take 49 KB together).
pub(super) const HEAD: u64 = 64 << 10;

/// Programs in C read from multiples of this on (`BUFSIZ` of glibc, which `fseek` aligns to), in bytes.
const BUFFER: u64 = 8 << 10;

/// The walk goes at least this many HDUs ahead of the last one that a program touched: all of a JWST or HST product.
const MIN_LOOKAHEAD: usize = 10;

/// The walk never goes further ahead than this: 64 GETs of 16-32 KiB are what one burst of small requests may cost.
const MAX_LOOKAHEAD: usize = 64;

/// HDUs shorter than this, in bytes, are fetched whole rather than looked for: some times what is fetched of a header.
const SHORT_HDU: u64 = 4 * READ_ON;

/// Where short HDUs are fetched whole, so many are planned ahead at most; mostly their bytes are the bound.
const MAX_RUN: usize = 10_000;

/// So many further headers are guessed at first (all HDUs of a JWST product), and at most. Each place that was
/// predicted rightly, guessed or not, doubles them; the second wrong one and those after it leave a sixteenth.
const FIRST_GUESSES: usize = 7;
const MAX_GUESSES: usize = 64;
const GUESSES_LEFT: usize = 16;

/// A guess begins so much earlier: headers that are some blocks shorter than others move those behind them.
const READ_BEFORE: u64 = 3 * 2880;

/// What is left of a file behind a header is fetched at once up to this size: the small extensions at the end of a
/// product (tables of headers, ASDF) are as many round trips otherwise.
const MAX_REST: u64 = 1 << 20;

/// What a file of the same class has shown: where headers are likely to be, and how far programs look at them.
#[derive(Clone, Debug)]
pub struct Sibling {
    /// The HDUs of that file.
    pub layout: Arc<Layout>,
    /// The last HDU that programs have touched in files of the class.
    pub reach: usize,
}

/// The headers of one object version.
#[derive(Debug)]
pub(super) struct Headers {
    size: u64,
    chain: Chain,
    sibling: Option<Sibling>,
    index: Index,
    /// What the walk asked for last, so that it asks once.
    pursued: Option<u64>,
    lookahead: usize,
    /// How often the walk had to ask for the next header, which takes a round each.
    rounds: u64,
    /// The HDU furthest into the file that a program touched.
    touched: usize,
    /// How many headers that did not come with the head of the file a program has read: it goes from one to the next.
    followed: u64,
    /// The last read was that of a header: no data have been read since.
    is_at_headers: bool,
    /// The read that went furthest: further than the walk has come where the header is read that it waits for.
    furthest: Range<u64>,
    /// How many headers are guessed at a time.
    guesses: usize,
    /// How often the place of a header was predicted wrongly since many were guessed.
    surprises: usize,
    walks: Walks,
}

/// What is known of the index that some files have of their HDUs.
#[derive(Debug)]
enum Index {
    /// The primary header has not said that there is one.
    Unheard,
    /// It is on its way.
    Asked,
    /// These are the headers, if it is right.
    Known(Vec<Range<u64>>),
    /// It could not be had, or it is wrong.
    Useless,
}

impl Headers {
    pub fn new(size: u64, sibling: Option<Sibling>) -> Self {
        Self {
            size,
            chain: Chain::new(size),
            sibling,
            index: Index::Unheard,
            pursued: None,
            lookahead: MIN_LOOKAHEAD,
            rounds: 0,
            touched: 0,
            followed: 0,
            is_at_headers: false,
            furthest: 0..0,
            guesses: FIRST_GUESSES,
            surprises: 0,
            walks: Walks::default(),
        }
    }

    /// What files of the class have shown by now, if nothing is known of this one yet.
    pub fn recall(&mut self, sibling: Option<Sibling>) {
        if self.layout().hdus.is_empty() && sibling.is_some() {
            self.sibling = sibling;
        }
    }

    /// The HDUs that are to be expected where a file of the class had them: all of them in a file of the same size. Otherwise
    /// those up to the first with data, which are longer or shorter by as much as the file is.
    pub fn expected(&self) -> Vec<Hdu> {
        let Some(Sibling { layout, .. }) = &self.sibling else { return Vec::new() };
        let moves = layout.hdus.iter().position(|hdu| hdu.data_span > 0).filter(|_| layout.file_size != self.size);
        let count = moves.map_or(layout.hdus.len(), |first| first + 1);
        let mut expected: Vec<Hdu> = layout.hdus.iter().take(count).skip(self.layout().hdus.len()).cloned().collect();
        if let (Some(_), Some(last)) = (moves, expected.last_mut()) {
            last.data_len = last.data_len.saturating_add(self.size).saturating_sub(layout.file_size);
        }
        expected
    }

    /// The layout as far as the walk has come.
    pub fn layout(&self) -> &Layout {
        self.chain.layout_so_far()
    }

    /// The HDU furthest into the file that a program touched.
    pub fn touched(&self) -> usize {
        self.touched
    }

    /// What to fetch of a file that is about to be read: its head first, then the headers that a file of the same
    /// class and size had where programs looked at them.
    pub fn first(&self) -> Vec<Planned> {
        let Some(sibling) = self.sibling.as_ref().filter(|s| s.layout.file_size == self.size) else {
            return planned(std::iter::once(0..HEAD.min(self.size)), self.size, Origin::Chain).collect();
        };
        let in_head = sibling.layout.hdus.iter().take_while(|hdu| hdu.header_offset < HEAD);
        let head = 0..in_head.map(|hdu| hdu.data_offset + READ_ON).max().unwrap_or(HEAD).min(self.size);
        let known = sibling.layout.hdus.iter().take((sibling.reach + 1).min(MAX_LOOKAHEAD));
        let headers = known.map(|hdu| hdu.header_offset..hdu.data_offset.max(hdu.header_offset + READ_ON));
        planned(std::iter::once(head).chain(headers), self.size, Origin::Predicted).collect()
    }

    /// Notes where a reader is among the HDUs; the further it walks, the further the chain is walked ahead of it. What
    /// counts is the last byte: the page in which a header begins mostly begins with the data before it.
    pub fn note_reader(&mut self, read: &Range<u64>) {
        if read.end > self.furthest.end {
            self.furthest = read.clone();
        }
        self.note_touch(read);
    }

    fn note_touch(&mut self, read: &Range<u64>) {
        let Some(hdu) = self.chain.layout_so_far().hdu_at(read.end.saturating_sub(1)) else { return };
        // A buffer's read of a short header goes on into the data.
        let is_header = hdu.header_offset < read.end && hdu.data_offset > read.start;
        if is_header || read.start >= hdu.data_offset.saturating_add(READ_ON) {
            self.is_at_headers = is_header;
        }
        if hdu.index > self.touched {
            if is_header {
                self.lookahead = (self.lookahead + self.lookahead / 2).min(MAX_RUN);
                self.followed += u64::from(hdu.header_offset >= HEAD);
            }
            self.touched = hdu.index;
        }
    }

    /// Walks on along the headers that `held` can show.
    pub fn walk(&mut self, held: impl Fn(&Range<u64>) -> Option<Bytes>) {
        let known = self.layout().hdus.len();
        while let Need::Bytes { offset, .. } = self.chain.need() {
            let count = self.layout().hdus.len();
            let predicted = self.places(offset, 1).first().copied();
            if !step(&mut self.chain, &held) {
                break;
            }
            if let Some(hdu) = self.chain.layout_so_far().hdus.get(count) {
                let end = hdu.end();
                self.judge(predicted, end);
            }
        }
        if self.layout().hdus.len() > known {
            self.note_touch(&self.furthest.clone());
        }
        self.read_index(&held);
        if let Need::Bytes { offset, .. } = self.chain.need() {
            self.walks.look(self.size, offset, &held);
        }
    }

    /// An HDU ends at `end`; the next header was `predicted` to begin there, or elsewhere.
    fn judge(&mut self, predicted: Option<u64>, end: u64) {
        let Some(at) = predicted.filter(|_| end < self.size) else { return };
        let is_right = at.saturating_sub(READ_BEFORE) <= end && end < at + READ_ON - HEADER_GUESS;
        self.surprises = match is_right {
            true if self.guesses >= FIRST_GUESSES => 0,
            true => self.surprises,
            false => self.surprises + 1,
        };
        self.guesses = match is_right {
            true if self.guesses == 0 => 1,
            true => (2 * self.guesses).min(MAX_GUESSES),
            // One HDU that is unlike the others, such as the context image of a mosaic, says little of those behind it.
            false if self.surprises == 1 => (self.guesses / GUESSES_LEFT).max(FIRST_GUESSES),
            false => self.guesses / GUESSES_LEFT,
        };
        if let Index::Known(headers) = &self.index
            && !headers.iter().any(|header| header.start == end)
        {
            self.index = Index::Useless;
        }
    }

    /// Takes the index of the file if it has come, and lets the walk ask anew.
    fn read_index(&mut self, held: &impl Fn(&Range<u64>) -> Option<Bytes>) {
        if let (Index::Asked, Some(place)) = (&self.index, self.chain.index())
            && let Some(table) = held(&place.table)
        {
            self.index = place.headers(&table).map_or(Index::Useless, Index::Known);
            self.pursued = None;
        }
    }

    /// What the walk needs next, and what is worth fetching along with it: most urgent first, nothing that was asked for
    /// already.
    pub fn pursue(&mut self, pace: &Pace) -> Vec<Planned> {
        let index = planned(self.ask_for_index().into_iter(), self.size, Origin::Predicted);
        let mut ahead: Vec<_> = index.collect();
        ahead.extend(self.pursue_next(pace));
        ahead.extend(planned(self.pursue_elsewhere(pace).into_iter(), self.size, Origin::Predicted));
        ahead
    }

    /// The index of the file, with the table before it that its readers want as well.
    fn ask_for_index(&mut self) -> Vec<Range<u64>> {
        let (Index::Unheard, Some(place)) = (&self.index, self.chain.index()) else { return Vec::new() };
        let tree = place.tree.clone().filter(|tree| tree.end - tree.start <= MAX_REST);
        let ranges = std::iter::once(place.table.clone()).chain(tree).collect();
        self.index = Index::Asked;
        ranges
    }

    /// The next header and those places where further headers may be. Nothing while enough headers are known ahead of the
    /// reader: half of those that will be fetched then.
    fn pursue_next(&mut self, pace: &Pace) -> Vec<Planned> {
        let Need::Bytes { offset, len } = self.chain.need() else { return Vec::new() };
        let known = self.layout().hdus.len();
        let head_is_coming = offset == 0;
        if head_is_coming || self.pursued == Some(offset) {
            return Vec::new();
        }
        let run = self.run(pace);
        let (enough, last) = self.wanted(if run.is_some() { MAX_RUN } else { MAX_LOOKAHEAD });
        if known > enough {
            return Vec::new();
        }
        self.pursued = Some(offset);
        self.rounds += 1;
        let (count, next) = (last - known, offset..offset.saturating_add(len.max(READ_ON)).min(self.size));
        if let Some(length) = run {
            let most = (pace.latency * pace.bandwidth) as u64;
            let all = (length.saturating_mul(count as u64 + 1)).min(most).max(next.end - next.start);
            let run = self.with_rest(offset..offset.saturating_add(all).min(self.size));
            return planned(std::iter::once(run), self.size, Origin::Chain).collect();
        }
        let next = self.with_rest(next);
        let guesses = self.guess(offset, count);
        planned(std::iter::once(next), self.size, Origin::Chain)
            .chain(planned(guesses.into_iter(), self.size, Origin::Predicted))
            .collect()
    }

    /// The length of HDUs, in bytes, if a program goes from one to the next and they are so short that all of them take
    /// less time to fetch than it takes to ask for each header, or than their headers take together with those places
    /// where none is.
    fn run(&self, pace: &Pace) -> Option<u64> {
        let is_walked = self.followed > 0 && !self.chain.is_sure();
        let mean = self.lengths().filter(|_| is_walked)?.mean as u64;
        let is_short = !pace.is_worth_a_request(mean) || (self.is_irregular() && mean < SHORT_HDU);
        is_short.then_some(mean)
    }

    /// How long HDUs are, the primary one not counted.
    fn lengths(&self) -> Option<Lengths> {
        Lengths::of(self.layout().hdus.iter().skip(1).rev().chain(self.walks.hdus()))
    }

    /// Whether the places of headers cannot be told in advance.
    fn is_irregular(&self) -> bool {
        self.guesses <= 1
            && self.surprises >= 2
            && !self.chain.is_sure()
            && !matches!(self.index, Index::Asked | Index::Known(_))
    }

    /// What walks that begin further into the file need, where a program goes from header to header. More of them begin
    /// only where the places of headers cannot be told.
    fn pursue_elsewhere(&mut self, pace: &Pace) -> Vec<Range<u64>> {
        let Need::Bytes { offset, .. } = self.chain.need() else { return Vec::new() };
        if !self.is_at_headers || self.followed == 0 || self.run(pace).is_some() {
            return Vec::new();
        }
        let mut ranges = self.walks.steps(self.size);
        if let Some(lengths) = self.lengths().filter(|_| self.is_irregular()) {
            let purpose = Purpose { followed: self.followed, rounds: self.rounds, lengths, pace: *pace };
            ranges.extend(self.walks.windows(self.size, offset, &purpose));
        }
        ranges
    }

    /// A header in `range` could not be fetched and may be asked for again.
    pub fn on_denied(&mut self, range: &Range<u64>) {
        if self.pursued.is_some_and(|header| range.contains(&header)) {
            self.pursued = None;
        }
        self.walks.on_denied(range);
        if let (Index::Asked, Some(place)) = (&self.index, self.chain.index())
            && place.table.start < range.end
            && range.start < place.table.end
        {
            self.index = Index::Useless;
        }
    }

    /// Whether a read is one of a header: it begins in one, or where the walk knows that one is. Or a program's buffer is
    /// filled where one begins, from the data before it on.
    pub fn covers(&self, read: &Range<u64>) -> bool {
        let is_pending = |read: &Range<u64>| match self.chain.need() {
            // The page or buffer in which it begins, not one of data that ends in it.
            Need::Bytes { offset, .. } => [PAGE, BUFFER].iter().any(|unit| read.start == offset / unit * unit),
            _ => false,
        };
        let is_short = read.end - read.start <= READ_ON;
        self.has_header_at(read.start) || (is_short && (self.touches(read) || is_pending(read)))
    }

    fn has_header_at(&self, offset: u64) -> bool {
        let pending = matches!(self.chain.need(), Need::Bytes { offset: header, len } if (header..header + len).contains(&offset));
        pending || self.layout().in_header(offset)
    }

    /// Whether the walk has yet to come to `end`.
    pub fn is_before(&self, end: u64) -> bool {
        matches!(self.chain.need(), Need::Bytes { offset, .. } if offset < end)
    }

    /// Whether `range` has bytes of a header: those are kept for the next program that opens the file.
    pub fn touches(&self, range: &Range<u64>) -> bool {
        let hdus = &self.layout().hdus;
        let first = hdus.partition_point(|hdu| hdu.data_offset <= range.start);
        hdus.get(first).is_some_and(|hdu| hdu.header_offset < range.end)
    }

    /// Up to which HDU headers should be known, and the last one whose header is worth fetching if they are not: where
    /// programs looked in files of this class, or up to `most` ahead of the reader where it has gone further or none is
    /// known.
    fn wanted(&self, most: usize) -> (usize, usize) {
        let lookahead = self.lookahead.min(most);
        match &self.sibling {
            Some(sibling) if self.touched <= sibling.reach => (sibling.reach, sibling.reach),
            _ => (self.touched + lookahead / 2, self.touched + lookahead),
        }
    }

    /// Where up to `n` headers after the one at `offset` may be.
    fn guess(&self, offset: u64, n: usize) -> Vec<Range<u64>> {
        let many = match self.index {
            // What it says is worth the round.
            Index::Asked => 0,
            Index::Known(_) => MAX_GUESSES,
            _ if self.chain.is_sure() => MAX_GUESSES,
            _ => self.guesses,
        };
        // What was fetched at the exact places of a file that was like this one so far need not be guessed around.
        let is_exact = self.is_like_sibling(offset) || matches!(self.index, Index::Known(_));
        let before = if is_exact { 0 } else { READ_BEFORE };
        let around = |at: u64| at.saturating_sub(before).max(offset)..(at + READ_ON).min(self.size);
        self.places(offset, n.min(many)).into_iter().map(|at| self.with_rest(around(at))).collect()
    }

    /// Where the `n` headers after the one at `offset` are by the index, by a sibling, or by the repetition in the file.
    fn places(&self, offset: u64, n: usize) -> Vec<u64> {
        if let Index::Known(headers) = &self.index {
            return headers.iter().map(|header| header.start).filter(|at| *at > offset).take(n).collect();
        }
        self.by_sibling(offset, n).unwrap_or_else(|| self.chain.predict(n))
    }

    /// A range with what is left of the file behind it, if that is little.
    fn with_rest(&self, range: Range<u64>) -> Range<u64> {
        let end = if range.start + MAX_REST >= self.size { self.size } else { range.end };
        range.start..end
    }

    /// Whether a file of the same class and size had a header at `offset`, after as many others.
    fn is_like_sibling(&self, offset: u64) -> bool {
        let known = self.layout().hdus.len();
        let sibling = self.sibling.as_ref().filter(|sibling| sibling.layout.file_size == self.size);
        sibling.and_then(|s| s.layout.hdus.get(known)).is_some_and(|hdu| hdu.header_offset == offset)
    }

    /// The places of the headers if HDUs have the lengths of those of a sibling, as the last one had.
    fn by_sibling(&self, offset: u64, n: usize) -> Option<Vec<u64>> {
        let length = |hdu: &Hdu| hdu.end().saturating_sub(hdu.header_offset);
        let (own, theirs) = (&self.layout().hdus, &self.sibling.as_ref()?.layout.hdus);
        let likely = theirs.get(own.len()..)?;
        let last = own.iter().zip(theirs.iter()).skip(1).last();
        if last.is_some_and(|(own, theirs)| length(own).abs_diff(length(theirs)) > READ_BEFORE) {
            return None;
        }
        let places = likely.iter().map(length).scan(offset, |at, length| {
            *at = at.saturating_add(length);
            Some(*at)
        });
        Some(places.take_while(|at| *at < self.size).take(n).collect())
    }
}

/// The whole pages of ranges, from the buffer on in which they begin. Those that are closer to each other than a request
/// for a header is long are joined.
fn planned(ranges: impl Iterator<Item = Range<u64>>, size: u64, origin: Origin) -> impl Iterator<Item = Planned> {
    let mut ranges: Vec<_> = ranges.collect();
    ranges.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        let range = range.start / BUFFER * BUFFER..range.end.next_multiple_of(PAGE).min(size);
        match joined.last_mut() {
            Some(last) if range.start <= last.end + READ_ON => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined.into_iter().filter(|range| range.start < range.end).map(move |range| Planned { range, origin })
}

#[cfg(test)]
mod tests;
