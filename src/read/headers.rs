//! The walk along the headers of one file, ahead of its readers.
//!
//! Each header tells where the next one is, so walking costs a round trip per HDU unless the places of the headers are
//! guessed. Guesses come from a file of the same class, from the repetition inside the file, or, where the HDUs differ
//! a little in size (compressed images), from windows in which the headers must lie. A guess counts only when the walk
//! comes to it along proven offsets ([`Chain`]); a wrong one costs its bytes.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::planner::Planned;
use super::stride::PAGE;
use crate::cache::Origin;
use crate::fits::{Chain, Hdu, Layout, Need};
use crate::metrics::Pace;

/// The first read of a file fetches this much of its head: the primary header and the first extension header of
/// nearly every archive product (the longest common ones, HST drizzled images, take 49 KB together).
pub(super) const HEAD: u64 = 64 << 10;

/// A header that is fetched ahead is assumed to have this many bytes or fewer: three FITS blocks (FITS Standard 4.0,
/// section 3.1), which covers all but primary headers and long tables.
pub(super) const HEADER_GUESS: u64 = 3 * 2880;

/// A program that reads a header reads on by up to so many bytes: a buffer of the size that the file system advises
/// (`st_blksize`), and a page.
const READ_ON: u64 = (16 << 10) + PAGE;

/// The walk goes at least this many HDUs ahead of the last one that a program touched: all of a JWST or HST product.
const MIN_LOOKAHEAD: usize = 10;

/// The walk never goes further ahead than this: 64 GETs of 16-32 KiB are what one burst of small requests may cost.
const MAX_LOOKAHEAD: usize = 64;

/// So many further headers are guessed at first (the other planes of a JWST product), and at most.
const FIRST_GUESSES: usize = 4;
const MAX_GUESSES: usize = 64;

/// A guess begins so much earlier: headers that are some blocks shorter than others move those behind them.
const READ_BEFORE: u64 = 3 * 2880;

/// What is left of a file behind a header is fetched at once up to this size: the small extensions at the end of a
/// product (tables of headers, ASDF) are as many round trips otherwise.
const MAX_REST: u64 = 1 << 20;

/// Windows around uncertain headers: the widest, and how many HDUs are guessed through at most.
const MAX_WINDOW: u64 = 4 << 20;
const MAX_WINDOWS: usize = 8;

/// How many of the last HDUs tell how much the sizes vary.
const SAMPLES: usize = 16;

/// A window reaches further than the HDUs so far have varied by this factor.
const MARGIN: f64 = 1.3;

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
    /// What the walk asked for last, so that it asks once.
    pursued: Option<u64>,
    lookahead: usize,
    /// The HDU furthest into the file that a program touched.
    touched: usize,
    /// A program has read a header that did not come with the head of the file: it goes from one to the next.
    is_followed: bool,
    /// The read that went furthest: further than the walk has come where the header is read that it waits for.
    furthest: Range<u64>,
    guesses: usize,
}

impl Headers {
    pub fn new(size: u64, sibling: Option<Sibling>) -> Self {
        Self {
            size,
            chain: Chain::new(size),
            sibling,
            pursued: None,
            lookahead: MIN_LOOKAHEAD,
            touched: 0,
            is_followed: false,
            furthest: 0..0,
            guesses: FIRST_GUESSES,
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
        let leading = sibling.layout.hdus.iter().take_while(|hdu| hdu.header_offset < HEAD);
        let head = 0..leading.map(|hdu| hdu.data_offset + READ_ON).max().unwrap_or(HEAD).min(self.size);
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
        let layout = self.chain.layout_so_far();
        if let Some(hdu) = layout.hdu_at(read.end.saturating_sub(1))
            && hdu.index > self.touched
        {
            // A buffer's read of a short header goes on into the data.
            if hdu.header_offset < read.end && hdu.data_offset > read.start {
                self.lookahead = (self.lookahead + self.lookahead / 2).min(MAX_LOOKAHEAD);
                self.is_followed |= hdu.header_offset >= HEAD;
            }
            self.touched = hdu.index;
        }
    }

    /// Walks on along the headers that `held` can show.
    pub fn walk(&mut self, held: impl Fn(&Range<u64>) -> Option<Bytes>) {
        let known = self.layout().hdus.len();
        while let Need::Bytes { offset, len } = self.chain.need() {
            let wanted = offset..(offset + len).min(self.size);
            let start = offset..(offset + HEADER_GUESS).min(self.size);
            let page = offset..((offset + 1).next_multiple_of(PAGE)).min(self.size);
            let Some(bytes) = held(&wanted).or_else(|| held(&start)).or_else(|| held(&page)) else { break };
            if !self.chain.feed(offset, &bytes) {
                break;
            }
        }
        if self.layout().hdus.len() > known {
            self.note_touch(&self.furthest.clone());
        }
        if self.layout().hdus.len() > known + 1 {
            self.guesses = (self.guesses * 4).min(MAX_GUESSES);
        }
    }

    /// The next header and those places where further headers may be, unless they were asked for already. Nothing while
    /// enough headers are known ahead of the reader: half of those that will be fetched then.
    pub fn pursue(&mut self, pace: &Pace) -> Vec<Planned> {
        let Need::Bytes { offset, len } = self.chain.need() else { return Vec::new() };
        let known = self.layout().hdus.len();
        let (enough, last) = self.wanted();
        let head_is_coming = offset == 0;
        if head_is_coming || known > enough || self.pursued == Some(offset) {
            return Vec::new();
        }
        self.pursued = Some(offset);
        let next = self.with_rest(offset..(offset + len.max(READ_ON)).min(self.size));
        let many = if self.chain.is_sure() { MAX_GUESSES } else { self.guesses };
        let guesses = self.guess(offset, (last - known).min(many), pace);
        planned(std::iter::once(next), self.size, Origin::Chain)
            .chain(planned(guesses.into_iter(), self.size, Origin::Predicted))
            .collect()
    }

    /// A header in `range` could not be fetched and may be asked for again.
    pub fn on_denied(&mut self, range: &Range<u64>) {
        if self.pursued.is_some_and(|header| range.contains(&header)) {
            self.pursued = None;
        }
    }

    /// Whether a read is one of a header: it begins in one, or where the walk knows that one is. Or a program's buffer is
    /// filled where one begins, from the data before it on.
    pub fn covers(&self, read: &Range<u64>) -> bool {
        self.has_header_at(read.start) || (read.end - read.start <= READ_ON && self.touches(read))
    }

    fn has_header_at(&self, offset: u64) -> bool {
        let pending = matches!(self.chain.need(), Need::Bytes { offset: header, len } if (header..header + len).contains(&offset));
        pending || self.layout().in_header(offset)
    }

    /// Whether `range` has bytes of a header: those are kept for whoever opens the file again.
    pub fn touches(&self, range: &Range<u64>) -> bool {
        let hdus = &self.layout().hdus;
        let first = hdus.partition_point(|hdu| hdu.data_offset <= range.start);
        hdus.get(first).is_some_and(|hdu| hdu.header_offset < range.end)
    }

    /// Up to which HDU headers should be known, and the last one whose header is worth fetching if they are not: where
    /// programs looked in files of this class, or ahead of the reader where it has gone further or none is known.
    fn wanted(&self) -> (usize, usize) {
        match &self.sibling {
            Some(sibling) if self.touched <= sibling.reach => (sibling.reach, sibling.reach),
            _ => (self.touched + self.lookahead / 2, self.touched + self.lookahead),
        }
    }

    /// Where up to `n` headers after the one at `offset` may be.
    fn guess(&self, offset: u64, n: usize, pace: &Pace) -> Vec<Range<u64>> {
        if let Some((mean, deviation)) = self.varies() {
            let windows = if self.is_followed { n.min(MAX_WINDOWS) } else { 0 };
            return self.windows(offset, windows, (mean, deviation), pace);
        }
        let exact = self.by_sibling(offset, n).unwrap_or_else(|| self.chain.predict(n));
        // What was fetched at the exact places of a file that was like this one so far need not be guessed around.
        let before = if self.is_like_sibling(offset) { 0 } else { READ_BEFORE };
        let around = |at: u64| at.saturating_sub(before).max(offset)..(at + READ_ON).min(self.size);
        exact.into_iter().map(|at| self.with_rest(around(at))).collect()
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

    /// The places of the headers if HDUs have the sizes of those of a sibling.
    fn by_sibling(&self, offset: u64, n: usize) -> Option<Vec<u64>> {
        let known = self.layout().hdus.len();
        let likely = self.sibling.as_ref()?.layout.hdus.get(known..)?;
        let sizes = likely.iter().map(|hdu| hdu.end() - hdu.header_offset);
        let places = sizes.scan(offset, |at, size| {
            *at = at.saturating_add(size);
            Some(*at)
        });
        Some(places.take_while(|at| *at < self.size).take(n).collect())
    }

    /// The mean length of the last HDUs with data and how far their data may be from it, in bytes, if they differ.
    fn varies(&self) -> Option<(f64, f64)> {
        let hdus = self.layout().hdus.iter().skip(1).rev().filter(|hdu| hdu.data_span > 0).take(SAMPLES);
        let (lengths, spans): (Vec<f64>, Vec<f64>) =
            hdus.map(|hdu| ((hdu.end() - hdu.header_offset) as f64, hdu.data_span as f64)).unzip();
        let count = spans.len().max(1) as f64;
        let mean = spans.iter().sum::<f64>() / count;
        // Few samples understate the range: two of them show half of their distance, on average a third of the range.
        let deviation = spans.iter().map(|span| (span - mean).abs()).fold(0.0, f64::max) * (1.0 + 2.0 / count);
        let similar = deviation > 0.0 && deviation < mean / 4.0;
        similar.then(|| (lengths.iter().sum::<f64>() / count, deviation))
    }

    /// Windows that hold the headers after the one at `offset`, as many as make the walk fastest: each lets it go an
    /// HDU further without waiting, and takes time itself. The deviations of consecutive HDUs add up like steps of a
    /// random walk.
    fn windows(&self, offset: u64, n: usize, (mean, deviation): (f64, f64), pace: &Pace) -> Vec<Range<u64>> {
        let window = |k: usize| {
            let middle = offset as f64 + k as f64 * mean;
            let half = (deviation * MARGIN * (k as f64).sqrt()).min(MAX_WINDOW as f64 / 2.0);
            let range = (middle - half) as u64..((middle + half) as u64).saturating_add(HEADER_GUESS);
            range.start.min(self.size)..range.end.min(self.size)
        };
        let windows: Vec<_> = (1..=n).map(window).filter(|window| !window.is_empty()).collect();
        let speed = |count: usize| {
            let bytes: u64 = windows[..count].iter().map(|w| w.end - w.start).sum();
            (count + 1) as f64 / pace.seconds(bytes)
        };
        let best = (0..=windows.len()).max_by(|a, b| speed(*a).total_cmp(&speed(*b))).unwrap_or(0);
        windows[..best].to_vec()
    }
}

/// The whole pages of ranges, neighbours joined.
fn planned(ranges: impl Iterator<Item = Range<u64>>, size: u64, origin: Origin) -> impl Iterator<Item = Planned> {
    let mut ranges: Vec<_> = ranges.collect();
    ranges.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        let range = range.start / PAGE * PAGE..range.end.next_multiple_of(PAGE).min(size);
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined.into_iter().filter(|range| range.start < range.end).map(move |range| Planned { range, origin })
}
