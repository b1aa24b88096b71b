//! The restart points of a gzip file, and its size: what one pass over it finds, and what reading it at random needs.
//!
//! There is a point every [`SPAN`] plain bytes or so, where a block begins; in a file with so many that they would take
//! too much, at every second of these places, or every fourth. What is between two points is a *span*, which is
//! decompressed from its start. The windows of all points are compressed, one after the other.

use std::ops::Range;

use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::inflate::decompress_to_vec_with_limit;
use serde::{Deserialize, Serialize};

use super::inflate::{Restart, WINDOW};

/// Plain bytes between two points: they are decompressed in some milliseconds, less than a request takes.
pub const SPAN: u64 = 1 << 20;

/// There may be so many compressed bytes for each plain one between two points: empty blocks give nothing.
const MAX_COMPRESSED: u64 = 4;

/// More points than these are thinned out: their table is a note in the cache on disk, of at most 256 KiB.
const MAX_POINTS: usize = 2048;

/// Half of the size of a window that is worth compressing well is saved by the fastest levels, too.
const LEVEL: u8 = 2;

/// The size of a file of `compressed` bytes is at most this: a match of 258 bytes takes two bits (RFC 1951).
pub fn most_plain(compressed: u64) -> u64 {
    compressed.saturating_mul(1032).min(i64::MAX as u64)
}

/// Where decompressing can begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Point {
    plain: u64,
    compressed: u64,
    bits: u8,
    buffer: u8,
    /// Where its window ends among the windows. It begins where that of the point before it ends.
    window_end: u64,
}

/// Restart points and size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    points: Vec<Point>,
    /// Compressed bytes of the file.
    compressed: u64,
    /// Plain bytes that were verified.
    size: u64,
}

/// A part of a file that is decompressed from its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its number.
    pub number: usize,
    /// Its plain bytes.
    pub plain: Range<u64>,
    /// The compressed bytes that it takes.
    pub compressed: Range<u64>,
    /// Where it begins.
    pub restart: Restart,
    /// Where its window is among the windows.
    pub window: Range<u64>,
}

impl Index {
    /// Plain bytes that can be read.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How much memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        self.points.len() * size_of::<Point>()
    }

    /// The length of all windows.
    pub fn windows(&self) -> u64 {
        self.points.last().map_or(0, |last| last.window_end)
    }

    /// Whether it can be one of a file of so many bytes.
    pub fn is_sound(&self, compressed: u64) -> bool {
        let is_ascending = |pair: &[Point]| {
            let [a, b] = pair else { return true };
            let window = b.window_end.checked_sub(a.window_end);
            a.plain <= b.plain && a.compressed < b.compressed && window.is_some()
        };
        let fits = |point: &Point| point.plain <= self.size && point.compressed <= compressed && point.bits < 8;
        self.compressed == compressed
            && self.size <= most_plain(compressed)
            && self.points.first().is_some_and(|first| first.plain == 0 && first.window_end == 0)
            && self.points.windows(2).all(is_ascending)
            && self.points.iter().all(fits)
    }

    /// The span that has the plain byte at `offset`; none beyond the size.
    pub fn span(&self, offset: u64) -> Option<Span> {
        if offset >= self.size {
            return None;
        }
        let number = self.points.partition_point(|point| point.plain <= offset).checked_sub(1)?;
        let point = &self.points[number];
        let next = self.points.get(number + 1);
        let window_start = number.checked_sub(1).map_or(0, |before| self.points[before].window_end);
        Some(Span {
            number,
            plain: point.plain..next.map_or(self.size, |next| next.plain),
            compressed: point.compressed..next.map_or(self.compressed, |next| next.compressed),
            restart: Restart {
                plain: point.plain,
                compressed: point.compressed,
                bits: point.bits,
                buffer: point.buffer,
            },
            window: window_start..point.window_end,
        })
    }
}

/// A window as it was; none if these bytes are no window.
pub fn open_window(packed: &[u8]) -> Option<Vec<u8>> {
    match packed {
        [] => Some(Vec::new()),
        packed => decompress_to_vec_with_limit(packed, WINDOW).ok(),
    }
}

/// The points of a file through which a pass goes.
#[derive(Debug)]
pub struct Builder {
    points: Vec<(Restart, Vec<u8>)>,
    span: u64,
    /// What the windows take, and how much they may.
    windows: usize,
    max_windows: usize,
}

impl Builder {
    /// No points yet. There is to be one every `span` plain bytes, and their windows may take so many bytes.
    pub fn new(span: u64, max_windows: usize) -> Self {
        Self { points: Vec::new(), span, windows: 0, max_windows }
    }

    /// Whether a point is due.
    pub fn wants(&self, restart: &Restart) -> bool {
        let far = |last: &(Restart, _)| self.is_far(&last.0, restart);
        self.points.last().is_none_or(far)
    }

    fn is_far(&self, from: &Restart, to: &Restart) -> bool {
        to.plain - from.plain >= self.span || to.compressed - from.compressed >= self.span * MAX_COMPRESSED
    }

    /// A point, and the plain bytes before it.
    pub fn add(&mut self, restart: Restart, window: &[u8]) {
        let packed = if window.is_empty() { Vec::new() } else { compress_to_vec(window, LEVEL) };
        self.windows += packed.len();
        self.points.push((restart, packed));
        while self.points.len() > 1 && (self.points.len() > MAX_POINTS || self.windows > self.max_windows) {
            self.thin_out();
        }
    }

    fn thin_out(&mut self) {
        self.span *= 2;
        let mut kept: Vec<(Restart, Vec<u8>)> = Vec::with_capacity(self.points.len() / 2 + 1);
        for point in std::mem::take(&mut self.points) {
            if kept.last().is_none_or(|last| self.is_far(&last.0, &point.0)) {
                kept.push(point);
            }
        }
        self.windows = kept.iter().map(|(_, window)| window.len()).sum();
        self.points = kept;
    }

    /// The index of a file of `compressed` bytes, of which `size` plain bytes were verified; and the windows.
    pub fn finish(self, compressed: u64, size: u64) -> (Index, Vec<u8>) {
        let (mut points, mut windows) = (Vec::new(), Vec::new());
        for (restart, window) in self.points.into_iter().take_while(|(restart, _)| restart.plain <= size) {
            windows.extend(window);
            let Restart { plain, compressed, bits, buffer } = restart;
            points.push(Point { plain, compressed, bits, buffer, window_end: windows.len() as u64 });
        }
        (Index { points, compressed, size }, windows)
    }
}
