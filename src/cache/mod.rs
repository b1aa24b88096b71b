//! Bytes of objects: in memory while they are in flight or not handed on yet, and on disk ([`disk`]), where they stay.
//!
//! The kernel's page cache is the memory tier for data; nothing is kept in memory that the kernel has. A [`Segment`] is the
//! result of one range GET, readable while it fills; a [`SegmentMap`] holds the segments of one object version, which
//! never overlap, so that a byte has at most one outstanding fetch; the [`Budget`] bounds all segments of a mount
//! together.
//!
//! [`names`] is on disk, and outlives the mount: what stores have told of names. [`Device`] is the disk that both are on,
//! which may hang.

mod budget;
mod device;
pub mod disk;
pub mod names;
mod pieces;
mod segment;
mod segment_map;

use std::ops::Range;

pub use budget::{Budget, Permit, RESERVE_DIVISOR};
pub use device::{Device, OFFLINE_PATIENCE, PATIENCE};
pub use pieces::PIECE;
pub use segment::{Origin, Segment};
pub use segment_map::SegmentMap;

/// Every GET starts and ends at a multiple of this many bytes (or at the end of the file): four pages. Small enough
/// that a 4 KiB read costs little more than itself, large enough that a FITS header of average length is one block.
pub const BLOCK: u64 = 16 << 10;

/// The blocks of an object of `size` bytes that have some of `range`.
pub fn blocks_around(range: &Range<u64>, size: u64) -> Range<u64> {
    range.start / BLOCK * BLOCK..range.end.next_multiple_of(BLOCK).min(size)
}
