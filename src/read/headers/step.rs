//! One step along a chain of headers, of the proven walk and of those that begin further into the file: how much of a header
//! is asked for, and what of that is enough to go on.

use std::ops::Range;

use bytes::Bytes;

use crate::fits::{Chain, Need};
use crate::read::stride::PAGE;

/// A header that is fetched ahead is assumed to have this many bytes or fewer: three FITS blocks (FITS Standard 4.0,
/// section 3.1), which covers all but primary headers and long tables.
pub(in crate::read) const HEADER_GUESS: u64 = 3 * 2880;

/// A program that reads a header reads on by up to so many bytes: a buffer of the size that the file system advises
/// (`st_blksize`), and a page.
pub(super) const READ_ON: u64 = (16 << 10) + PAGE;

/// Feeds a walk with what `held` has of the bytes that it needs next. Returns whether it came further.
pub(super) fn step(chain: &mut Chain, held: &impl Fn(&Range<u64>) -> Option<Bytes>) -> bool {
    let Need::Bytes { offset, len } = chain.need() else { return false };
    let size = chain.layout_so_far().file_size;
    let wanted = offset..offset.saturating_add(len).min(size);
    let start = offset..offset.saturating_add(HEADER_GUESS).min(size);
    let page = offset..(offset + 1).next_multiple_of(PAGE).min(size);
    let bytes = held(&wanted).or_else(|| held(&start)).or_else(|| held(&page));
    bytes.is_some_and(|bytes| chain.feed(offset, &bytes))
}
