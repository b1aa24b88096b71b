//! Speculative walks: where HDUs differ in length, so that no place of a header can be predicted, several walks
//! begin further into the file.
//!
//! Each fetches a window in which a header is likely to begin, looks at the block boundaries in it (FITS Standard 4.0,
//! 3.1) for the first card of an extension, and goes on from there, a header a round, up to where the next one began.
//! None of it counts for the layout: the proven walk takes the headers that are held when it comes to them along offsets of
//! its own. A walk that began in data that look like a header costs its bytes, and is dropped when the proven one passes it.
//!
//! How many there are is a matter of time: another one saves rounds where there are most headers between two walks, and
//! its window takes time to arrive. Windows are bounded by waiting: they never have more bytes than would arrive in the time
//! that the program would have waited so far, going from header to header without them.

use std::ops::Range;

use bytes::Bytes;

use super::step::{READ_ON, step};
use crate::fits::header::{BLOCK_LEN, is_extension_start};
use crate::fits::{Chain, Hdu, Need};
use crate::metrics::Pace;

/// A byte in a window counts for so many: others use the network too, a window may have to be continued, and the program may
/// end before it comes there. With 4 listings take about a tenth less time, with 8 two thirds of the bytes (simulated,
/// see the tests).
const PRICE: f64 = 6.0;

/// All windows of a file together have at most this share of its bytes, since listing a file must not transfer most of it.
/// The bound grows by as much again after each so many rounds.
const FILE_SHARE: u64 = 8;
const ROUNDS: u64 = 8;

/// For each header that a program has followed, walks begin up to so many HDUs further: it may end long before the file
/// does.
const HORIZON: u64 = 64;

/// At most so many walks at a time, which bounds memory and requests.
const MAX_WALKS: usize = 48;

/// How many of the last HDUs tell how much their lengths vary.
const SAMPLES: usize = 64;

/// A window reaches further than the HDUs so far have varied by this factor.
const MARGIN: f64 = 1.3;

/// Where a header may be anywhere, windows are as long as this share of an HDU: half of them hold one, and the others are
/// continued. Shorter ones would save bytes and take more rounds.
const SHARE: f64 = 0.5;

/// No window is shorter, in bytes: a request that large takes not much longer than the smallest.
const MIN_WINDOW: u64 = 256 << 10;

/// A walk looks for its first header in so many times the length of an HDU, no further.
const MAX_SEARCH: f64 = 3.0;

/// After so many headers in a window that no other one follows, it is full of data that look like headers.
const MAX_LOOKALIKES: usize = 4;

/// So much of a window is looked through at once, in bytes: whole blocks, in no more memory than a segment's piece.
const STRETCH: u64 = 44 * BLOCK_LEN;

/// How long HDUs are, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lengths {
    /// On average.
    pub mean: f64,
    /// How far one may be from that.
    pub deviation: f64,
    /// How many of them tell that.
    pub count: f64,
}

impl Lengths {
    /// Those of HDUs, the last ones first, if there are two or more.
    pub fn of<'a>(hdus: impl Iterator<Item = &'a Hdu>) -> Option<Self> {
        let length = |hdu: &Hdu| hdu.end().saturating_sub(hdu.header_offset) as f64;
        let lengths: Vec<f64> = hdus.take(SAMPLES).map(length).collect();
        if lengths.len() < 2 {
            return None;
        }
        let count = lengths.len() as f64;
        let mean = lengths.iter().sum::<f64>() / count;
        // Few samples understate the range: two of them show half of their distance, on average a third of the range.
        let furthest = lengths.iter().map(|length| (length - mean).abs()).fold(0.0, f64::max);
        Some(Self { mean, deviation: furthest * (1.0 + 2.0 / count), count })
    }

    /// How far the header after so many HDUs may be from where it is on average. The deviations of consecutive HDUs add up
    /// like steps of a random walk; the error of the average grows with their number.
    fn spread(&self, hdus: f64) -> f64 {
        MARGIN * self.deviation * (hdus + hdus * hdus / self.count).sqrt()
    }
}

/// What a program's way along the headers is worth.
#[derive(Clone, Copy, Debug)]
pub(super) struct Purpose {
    /// Headers that the program has read, those that came with the head of the file not counted.
    pub followed: u64,
    /// How often the walk had to wait for the next header.
    pub rounds: u64,
    /// How long HDUs are.
    pub lengths: Lengths,
    /// The network.
    pub pace: Pace,
}

impl Purpose {
    /// Bytes that arrive in the time of a round.
    fn round(&self) -> f64 {
        self.pace.latency * self.pace.bandwidth
    }
}

/// The speculative walks in one file, in the order of the file.
#[derive(Debug, Default)]
pub(super) struct Walks {
    walks: Vec<Walk>,
    /// Bytes of all windows so far.
    spent: u64,
}

/// A walk that begins in the middle.
#[derive(Debug)]
struct Walk {
    /// Where the first header was found, or where the first window begins.
    start: u64,
    /// What is left to look through of the windows so far; whole blocks.
    unseen: Range<u64>,
    /// No window goes beyond.
    bound: u64,
    /// The walk from the header that was found.
    chain: Option<Chain>,
    /// The header that was asked for last.
    asked: Option<u64>,
    /// How often what looked like a header was not followed by one.
    lookalikes: usize,
}

/// What lies between two walks: from where the first one is to where the second one began.
struct Gap {
    range: Range<u64>,
    /// Headers begin at both ends.
    is_closed: bool,
    /// So many rounds it takes to walk through: a header in each.
    headers: f64,
    /// Into so many it is cut by walks that begin in it.
    pieces: u32,
}

impl Gap {
    /// How many rounds it takes, including the one in which the windows come.
    fn rounds(&self) -> f64 {
        if self.pieces == 1 { self.headers } else { 1.0 + self.headers / f64::from(self.pieces) }
    }
}

/// Cuts gaps into pieces, always those that take longest, as far as that makes the walk faster, and by a round at least:
/// estimates change a little with each header that arrives. There are `left` bytes for windows.
fn share_out(gaps: &mut [Gap], purpose: &Purpose, left: u64, walks: usize) {
    let longest = |gaps: &[Gap]| (0..gaps.len()).max_by(|a, b| gaps[*a].rounds().total_cmp(&gaps[*b].rounds()));
    let Some(first) = longest(gaps) else { return };
    let (mut bytes, mut least) = (0.0, (gaps[first].rounds() - 1.0) * purpose.round());
    let mut best: Vec<u32> = gaps.iter().map(|gap| gap.pieces).collect();
    for _ in 0..=walks {
        let Some(longest) = longest(gaps) else { return };
        let time = gaps[longest].rounds() * purpose.round() + PRICE * bytes;
        if time < least {
            least = time;
            best = gaps.iter().map(|gap| gap.pieces).collect();
        }
        bytes += typical_window(&gaps[longest], &purpose.lengths);
        if bytes > left as f64 {
            break;
        }
        gaps[longest].pieces += 1;
    }
    gaps.iter_mut().zip(best).for_each(|(gap, pieces)| gap.pieces = pieces);
}

impl Walks {
    /// The HDUs that were found so far.
    pub fn hdus(&self) -> impl Iterator<Item = &Hdu> {
        self.walks.iter().filter_map(|walk| walk.chain.as_ref()).flat_map(|chain| &chain.layout_so_far().hdus)
    }

    /// Looks through what has arrived, and walks on. The proven walk stands at `front`.
    pub fn look(&mut self, size: u64, front: u64, held: &impl Fn(&Range<u64>) -> Option<Bytes>) {
        self.walks.iter_mut().for_each(|walk| walk.look(size, held));
        self.walks.retain(|walk| walk.is_ahead_of(front));
        // A walk that looks for its first header where another has been is of no use.
        let ends: Vec<u64> = self.walks.iter().map(|walk| walk.front().unwrap_or(0)).collect();
        let mut before = 0;
        let mut ends = ends.into_iter();
        self.walks.retain(|walk| {
            let passed = walk.chain.is_none() && walk.unseen.start <= before;
            before = before.max(ends.next().unwrap_or(0));
            !passed
        });
    }

    /// The next header of each walk, unless it was asked for already.
    pub fn steps(&mut self, size: u64) -> Vec<Range<u64>> {
        let starts: Vec<u64> = self.walks.iter().skip(1).map(|walk| walk.start).chain([size]).collect();
        let next = |(walk, bound): (&mut Walk, u64)| {
            let Need::Bytes { offset, len } = walk.chain.as_ref()?.need() else { return None };
            let is_new = offset < bound && walk.asked.replace(offset) != Some(offset);
            is_new.then(|| offset..offset.saturating_add(len.max(READ_ON)).min(size))
        };
        self.walks.iter_mut().zip(starts).filter_map(next).collect()
    }

    /// Windows to continue the walks that have found no header yet, and for new ones where there are too many headers
    /// between two of them. The proven walk stands at `front`.
    pub fn windows(&mut self, size: u64, front: u64, purpose: &Purpose) -> Vec<Range<u64>> {
        let earned = (purpose.round() * purpose.followed as f64) as u64;
        let allowed = earned.min(size / FILE_SHARE / ROUNDS * (ROUNDS + purpose.rounds));
        let granted = allowed.saturating_sub(self.spent);
        let mut left = granted;
        let mut windows = Vec::new();
        let chunk = ((SHARE * purpose.lengths.mean) as u64).max(MIN_WINDOW).next_multiple_of(BLOCK_LEN);
        self.walks.retain_mut(|walk| {
            if !walk.has_looked_in_vain() {
                return true;
            }
            let window = walk.unseen.end..(walk.unseen.end + chunk).min(walk.bound);
            let bytes = window.end.saturating_sub(window.start);
            if bytes == 0 || bytes > left {
                return false;
            }
            left -= bytes;
            walk.unseen.end = window.end;
            windows.push(window);
            true
        });
        // Half of those that look for a header will have to look on.
        let reserve = chunk * self.walks.iter().filter(|walk| walk.chain.is_none()).count() as u64 / 2;
        let kept = reserve.min(left);
        left -= kept;
        windows.extend(self.begin(size, front, purpose, &mut left));
        self.spent += granted - left - kept;
        windows
    }

    /// Begins walks where that saves time, with `left` bytes for windows. Returns those.
    fn begin(&mut self, size: u64, front: u64, purpose: &Purpose, left: &mut u64) -> Vec<Range<u64>> {
        let lengths = &purpose.lengths;
        let reach = (lengths.mean * (HORIZON * purpose.followed) as f64) as u64;
        let mut gaps = self.gaps(size, front, front.saturating_add(reach).min(size), lengths.mean);
        share_out(&mut gaps, purpose, *left, MAX_WALKS.saturating_sub(self.walks.len()));
        let mut windows = Vec::new();
        for gap in gaps {
            let places = (1..gap.pieces).map(|n| f64::from(n) / f64::from(gap.pieces));
            for window in places.map(|share| window(&gap, share, lengths)) {
                let bytes = window.end.saturating_sub(window.start);
                if bytes == 0 || bytes > *left {
                    continue;
                }
                *left -= bytes;
                let bound = window.start.saturating_add((MAX_SEARCH * lengths.mean) as u64).next_multiple_of(BLOCK_LEN);
                let bound = bound.clamp(window.end, gap.range.end.max(window.end));
                windows.push(window.clone());
                self.walks.push(Walk {
                    start: window.start,
                    unseen: window,
                    bound,
                    chain: None,
                    asked: None,
                    lookalikes: 0,
                });
            }
        }
        self.walks.sort_by_key(|walk| walk.start);
        windows
    }

    /// The gaps between the walks, the proven one first, up to `end`, in HDUs of a length of `mean` bytes.
    fn gaps(&self, size: u64, front: u64, end: u64, mean: f64) -> Vec<Gap> {
        let mut gaps = Vec::new();
        let (mut at, mut is_header) = (front, true);
        let mut add = |at: u64, is_header: bool, to: u64, is_known: bool| {
            if at < to {
                let waits = if is_header { 0.0 } else { 1.0 };
                let headers = (to - at) as f64 / mean + waits;
                gaps.push(Gap { range: at..to, is_closed: is_header && is_known, headers, pieces: 1 });
            }
        };
        for walk in self.walks.iter().filter(|walk| walk.start < end) {
            add(at, is_header, walk.start, walk.chain.is_some());
            at = walk.front().unwrap_or(walk.unseen.end);
            is_header = walk.chain.is_some();
        }
        add(at, is_header, end, end == size);
        gaps
    }

    /// A window or a header in `range` could not be fetched.
    pub fn on_denied(&mut self, range: &Range<u64>) {
        let overlaps = |unseen: &Range<u64>| unseen.start < range.end && range.start < unseen.end;
        self.walks.retain(|walk| walk.chain.is_some() || !overlaps(&walk.unseen));
        let denied = |walk: &&mut Walk| walk.asked.is_some_and(|header| range.contains(&header));
        self.walks.iter_mut().filter(denied).for_each(|walk| walk.asked = None);
    }
}

impl Walk {
    /// Where it waits for a header, or where the file ends for it; none before it has found its first one.
    fn front(&self) -> Option<u64> {
        let chain = self.chain.as_ref()?;
        match chain.need() {
            Need::Bytes { offset, .. } => Some(offset),
            Need::Done => Some(chain.layout_so_far().file_size),
        }
    }

    /// Whether there is something in it for a proven walk that stands at `front`.
    fn is_ahead_of(&self, front: u64) -> bool {
        match &self.chain {
            None => self.unseen.start > front,
            Some(chain) => {
                let ends = self.front().is_some_and(|end| end > front);
                ends && (self.start >= front || chain.layout_so_far().hdus.iter().any(|hdu| hdu.header_offset == front))
            }
        }
    }

    /// Whether it has been through all of its windows without a header.
    fn has_looked_in_vain(&self) -> bool {
        self.chain.is_none() && self.unseen.is_empty()
    }

    /// Looks through what has arrived of the window, or walks on. Where data look like a header they are not followed by
    /// another one.
    fn look(&mut self, size: u64, held: &impl Fn(&Range<u64>) -> Option<Bytes>) {
        loop {
            if let Some(chain) = &mut self.chain {
                while step(chain, held) {}
                let layout = chain.layout_so_far();
                let has_ended = chain.need() == Need::Done && !layout.tail.is_clean();
                if !has_ended || layout.hdus.len() > 1 {
                    return;
                }
                self.chain = None;
                self.lookalikes += 1;
                if self.lookalikes >= MAX_LOOKALIKES {
                    self.unseen.start = self.unseen.end;
                    self.bound = self.unseen.end;
                }
            }
            let stretch = self.unseen.start..self.unseen.end.min(self.unseen.start + STRETCH);
            let Some(bytes) = Some(&stretch).filter(|stretch| !stretch.is_empty()).and_then(held) else { return };
            let found = bytes.chunks(BLOCK_LEN as usize).position(is_extension_start);
            match found {
                None => self.unseen.start = stretch.end,
                Some(block) => {
                    self.start = stretch.start + block as u64 * BLOCK_LEN;
                    self.unseen.start = (self.start + BLOCK_LEN).min(self.unseen.end);
                    self.chain = Some(Chain::beginning_at(size, self.start));
                }
            }
        }
    }
}

/// The window for a header in a gap, at this share of it. Where it ends with a header, and there is no doubt how many there
/// are in it, that is one more place to count from.
fn window(gap: &Gap, share: f64, lengths: &Lengths) -> Range<u64> {
    let bytes = (gap.range.end - gap.range.start) as f64;
    let count = (bytes / lengths.mean).round().max(1.0);
    let is_counted = gap.is_closed && lengths.spread(count) < lengths.mean / 2.0;
    let before = (share * count).round();
    let (length, steps) = match is_counted {
        true => (bytes / count, before * (count - before) / count),
        false => (lengths.mean, before),
    };
    let half = if is_counted { MARGIN * lengths.deviation * steps.sqrt() } else { lengths.spread(steps) };
    let middle = gap.range.start as f64 + before * length;
    let chunk = (SHARE * lengths.mean).max(MIN_WINDOW as f64);
    let (from, to) = match 2.0 * half < chunk {
        true => (middle - half, middle + half + READ_ON as f64),
        false => (middle, middle + chunk),
    };
    let blocks = |at: f64| (at.max(0.0) as u64) / BLOCK_LEN * BLOCK_LEN;
    blocks(from).max(gap.range.start)..blocks(to) + BLOCK_LEN
}

/// How many bytes it takes to find a header in a gap, about.
fn typical_window(gap: &Gap, lengths: &Lengths) -> f64 {
    let middle = window(gap, 0.5, lengths);
    // Where half of them hold no header, half of those do not in the next.
    let bytes = (middle.end - middle.start) as f64;
    let is_anywhere = bytes >= SHARE * lengths.mean;
    if is_anywhere { bytes * (1.0 + SHARE) } else { bytes }
}
