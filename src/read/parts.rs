//! Long readahead is fetched by several requests at once.

use std::ops::Range;

use crate::cache::BLOCK;

/// Long readahead is split into parts of at least and at most this many bytes: ranges that stores advise for parallel
/// reads of large objects, and small enough that the first part is of use soon.
pub const MIN_PART: u64 = 512 << 10;
/// The largest part, in bytes.
pub const MAX_PART: u64 = 4 << 20;

/// So many parts have the smallest size, as many twice that, and so on.
const PARTS_OF_A_SIZE: u64 = 4;

/// Splits a range into parts that are fetched in parallel, whole blocks each. The parts share the network, and the
/// reader, which is at `reader`, comes to the nearest ones first: those have the smallest of `sizes`. Further ahead each
/// request has to be worth its time to first byte, up to the largest.
pub fn parts(range: Range<u64>, reader: u64, sizes: (u64, u64)) -> impl Iterator<Item = Range<u64>> {
    let (smallest, largest) = sizes;
    let mut at = range.start;
    std::iter::from_fn(move || {
        let doublings = (at.abs_diff(reader) / (PARTS_OF_A_SIZE * smallest) + 1).ilog2();
        let length = (smallest << doublings.min(16)).min(largest);
        let part = at..(at / BLOCK * BLOCK + length).min(range.end);
        at = part.end;
        (!part.is_empty()).then_some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn parts_tile_the_range_in_whole_blocks() {
        for length in [1, BLOCK, MIN_PART, MIN_PART + 1, 10 << 20, 100 << 20, 1 << 30] {
            let range = 3 * BLOCK..3 * BLOCK + length;
            let parts: Vec<_> = parts(range.clone(), range.start, (MIN_PART, MAX_PART)).collect();
            assert_eq!(parts.first().map(|p| p.start), Some(range.start));
            assert_eq!(parts.last().map(|p| p.end), Some(range.end));
            assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start && pair[0].end % BLOCK == 0));
            assert!(parts.iter().all(|p| p.end - p.start <= MAX_PART));
        }
    }

    #[test]
    fn parts_are_small_where_the_reader_is_and_large_further_ahead() {
        let lengths =
            |range, reader| parts(range, reader, (MIN_PART, MAX_PART)).map(|p| p.end - p.start).collect::<Vec<_>>();
        assert_eq!(lengths(0..6 * MIB, 0), [vec![MIN_PART; 4], vec![2 * MIN_PART; 4]].concat());
        assert_eq!(lengths(64 * MIB..76 * MIB, 40 * MIB), [MAX_PART; 3]);
    }
}
