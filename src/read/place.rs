//! What the place and the length of a read say about those to come, before anything else is known of its reader.

use std::ops::Range;

use super::headers::HEAD;
use super::stride::{Grid, PAGE, SHORT_ROW};
use crate::cache::BLOCK;
use crate::fits::Hdu;
use crate::metrics::Pace;

/// A reader whose first read of a data unit is this near to its start is taken to begin there.
const NEAR_START: u64 = 32 << 10;

/// A read that nothing has foreseen brings what is transferred in this share of a round trip: a sixteenth. But not less
/// than what saves a program a wait that reads on by a few pages, nor more than is bearable for many single pages.
const SHARE_NEAR: u64 = 16;
const MIN_NEAR: u64 = 64 << 10;
const MAX_NEAR: u64 = 80 << 10;

/// What comes along once where it is open what the line is: as many bytes as show it.
pub(super) const SHOWING: u64 = 1 << 20;

/// How much comes with a read that nothing has foreseen, in bytes: what lies behind it is the likeliest to be read next,
/// and takes a small part of the time that the read waits anyway.
pub(super) fn near(pace: &Pace) -> u64 {
    match (pace.latency * pace.bandwidth) as u64 / SHARE_NEAR {
        // The disk answers at once.
        little if little < BLOCK => 0,
        bytes => bytes.clamp(MIN_NEAR, MAX_NEAR) / BLOCK * BLOCK,
    }
}

/// Whether a first read at `offset` begins with the data of an HDU: what came with the head of the file is in the page
/// cache, and is not asked for.
pub(super) fn is_start(hdu: &Hdu, offset: u64) -> bool {
    let known = if hdu.data_offset < HEAD { HEAD } else { hdu.data_offset };
    offset < known + NEAR_START
}

/// Whether a read is one of the end of the file, with which cfitsio begins whatever is there.
pub(super) fn is_tail(read: &Range<u64>, size: u64) -> bool {
    read.end == size && read.end - read.start <= 2 * PAGE
}

/// Whether an HDU is an image of two axes, which programs cut rows out of; of cubes they also want single pixels.
pub(super) fn is_plane(hdu: &Hdu) -> bool {
    hdu.table.is_none() && hdu.shape.iter().filter(|axis| **axis > 1).count() == 2
}

/// The distances at which programs touch the data of an HDU: of rows, planes, cubes and so on, in bytes.
pub(super) fn grid(hdu: &Hdu, size: u64) -> Grid {
    let axes = hdu.shape.iter().rev();
    let lengths = axes.scan(hdu.element_size(), |length, axis| {
        *length = length.saturating_mul(*axis);
        Some(*length)
    });
    let strides = lengths.filter(|length| *length >= SHORT_ROW && *length < hdu.data_len.min(size)).collect();
    let data = hdu.data_offset..hdu.data_offset.saturating_add(hdu.data_len);
    Grid { data, strides, has_short_rows: hdu.row_len() < SHORT_ROW }
}
