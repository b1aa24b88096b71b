//! The horizontal axis of a picture: where in its file a byte is, so that a header of 3 KB and a data unit of 1 GB are
//! both to be seen.
//!
//! The file is cut into parts: the header and the data of each HDU, and what is not known to belong to any. The width of
//! a part grows with the fourth root of its length, and has a minimum; data that a program has read some of gets more.
//! Within a part, positions are linear in bytes.

use std::ops::Range;

use super::HduMark;
use super::summary::overlap;

/// The least width of a part in pixels, where there is room for it.
const MIN_WIDTH: f64 = 5.0;

/// The length that a part's is measured by: one FITS block.
const BLOCK_LEN: f64 = 2880.0;

/// Data of which this much was read, in bytes, or this share of it, is drawn so many times as wide. Less may be the
/// kernel's readahead, behind the end of a header.
const MUCH_READ: u64 = 512 << 10;
const SHARE_READ: u64 = 4;
const EMPHASIS: f64 = 3.0;

/// What a part of a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartKind {
    /// The header of this HDU.
    Header(usize),
    /// The data unit of this HDU, with its padding.
    Data(usize),
    /// Not known to belong to an HDU.
    Unknown,
}

/// A part of a file, and where it is drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// What it is.
    pub kind: PartKind,
    /// Its bytes.
    pub bytes: Range<u64>,
    /// Its left and right edge in pixels.
    pub x: Range<f64>,
}

/// Maps bytes of a file to pixels from 0 to a width: never backwards.
#[derive(Clone, Debug)]
pub struct Scale {
    parts: Vec<Part>,
    width: f64,
}

impl Scale {
    /// The scale of a file of `size` bytes with these HDUs, of which offsets that cannot be are left out. `read` is what
    /// programs have read of it: sorted ranges that are apart.
    pub fn new(size: u64, hdus: &[HduMark], read: &[Range<u64>], width: f64) -> Self {
        let pieces = pieces(size, hdus);
        let count = pieces.len() as f64;
        let weights: Vec<_> = pieces.iter().map(|(kind, bytes)| weight(*kind, bytes, read)).collect();
        let total: f64 = weights.iter().sum();
        let least = MIN_WIDTH.min(width / 2.0 / count);
        let mut at = 0.0;
        let parts = pieces.into_iter().zip(weights).map(|((kind, bytes), weight)| {
            let wide = least + (width - least * count) * weight / total;
            let x = at..(at + wide).min(width);
            at = x.end;
            Part { kind, bytes, x }
        });
        Self { parts: parts.collect(), width }
    }

    /// The parts in the order of the file: without gaps, none empty.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Where a byte begins, in pixels.
    pub fn position(&self, offset: u64) -> f64 {
        let index = self.parts.partition_point(|part| part.bytes.end <= offset);
        let Some(part) = self.parts.get(index) else { return if self.parts.is_empty() { 0.0 } else { self.width } };
        let share = (offset - part.bytes.start) as f64 / (part.bytes.end - part.bytes.start) as f64;
        part.x.start + (part.x.end - part.x.start) * share
    }
}

/// How wide a part is to be in relation to others.
fn weight(kind: PartKind, bytes: &Range<u64>, read: &[Range<u64>]) -> f64 {
    let length = bytes.end - bytes.start;
    // Only what comes to lie in the part is looked at: there are as many reads as parts, or more.
    let from = read.partition_point(|range| range.end <= bytes.start);
    let to = read.partition_point(|range| range.start < bytes.end);
    let much = overlap(&read[from..to], std::slice::from_ref(bytes)) >= MUCH_READ.min(length / SHARE_READ).max(1);
    let emphasis = if much && !matches!(kind, PartKind::Header(_)) { EMPHASIS } else { 1.0 };
    emphasis * (length as f64 / BLOCK_LEN).powf(0.25)
}

/// The parts of a file: contiguous, not empty.
fn pieces(size: u64, hdus: &[HduMark]) -> Vec<(PartKind, Range<u64>)> {
    let mut pieces = Vec::new();
    let mut at = 0;
    let mut upto = |kind: PartKind, end: u64| {
        let end = end.min(size);
        if end > at {
            pieces.push((kind, at..end));
            at = end;
        }
    };
    for (index, hdu) in hdus.iter().enumerate() {
        upto(PartKind::Unknown, hdu.header_offset);
        upto(PartKind::Header(index), hdu.data_offset);
        upto(PartKind::Data(index), hdu.end);
    }
    upto(PartKind::Unknown, size);
    pieces
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::summary::union;
    use super::*;

    fn mark(header_offset: u64, data_offset: u64, end: u64) -> HduMark {
        HduMark { name: None, shape: "-".to_owned(), header_offset, data_offset, end }
    }

    #[test]
    fn headers_are_to_be_seen_beside_a_gigabyte() {
        let hdus = [mark(0, 2880, 2880), mark(2880, 5760, 1 << 30)];
        let scale = Scale::new((1 << 30) + 100, &hdus, &[], 900.0);
        let kinds: Vec<_> = scale.parts().iter().map(|part| part.kind).collect();
        assert_eq!(kinds, [PartKind::Header(0), PartKind::Header(1), PartKind::Data(1), PartKind::Unknown]);
        assert!(scale.parts().iter().all(|part| part.x.end - part.x.start >= MIN_WIDTH));
        assert!(scale.parts()[2].x.end - scale.parts()[2].x.start > 600.0);
    }

    #[test]
    fn what_was_read_has_more_room() {
        let hdus = [mark(0, 2880, 1 << 27), mark(1 << 27, (1 << 27) + 2880, 1 << 28)];
        let read = [0..20_000, (1 << 27) + (50 << 20)..(1 << 27) + (51 << 20)];
        let scale = Scale::new(1 << 28, &hdus, &read, 900.0);
        let width = |index: usize| scale.parts()[index].x.end - scale.parts()[index].x.start;
        assert!(width(3) > 2.0 * width(1) && (width(0) - width(2)).abs() < 1e-6);
    }

    #[test]
    fn an_empty_file_has_no_parts() {
        let scale = Scale::new(0, &[], &[], 900.0);
        assert!(scale.parts().is_empty());
        assert_eq!(scale.position(17), 0.0);
    }

    proptest! {
        #[test]
        fn positions_never_go_backwards_nor_leave_the_picture(
            size in 0u64..1 << 50,
            offsets in proptest::collection::vec((0u64..1 << 50, 0u64..1 << 50, 0u64..1 << 50), 0..40),
            reads in proptest::collection::vec((0u64..1 << 50, 0u64..1 << 30), 0..10),
            mut places in proptest::collection::vec(0u64..1 << 51, 2..60),
        ) {
            let hdus: Vec<_> = offsets.into_iter().map(|(a, b, c)| mark(a, b, c)).collect();
            let read = union(reads.into_iter().map(|(at, length)| at..at + length));
            let scale = Scale::new(size, &hdus, &read, 890.0);
            prop_assert!(scale.parts().windows(2).all(|pair| pair[0].bytes.end == pair[1].bytes.start));
            places.sort_unstable();
            let positions: Vec<_> = places.into_iter().map(|at| scale.position(at)).collect();
            prop_assert!(positions.windows(2).all(|pair| pair[0] <= pair[1]));
            prop_assert!(positions.iter().all(|x| (0.0..=890.0 + 1e-6).contains(x)));
            let end = if size == 0 { 0.0 } else { 890.0 };
            prop_assert!((scale.position(u64::MAX) - end).abs() < 1e-6);
        }
    }
}
