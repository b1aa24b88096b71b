//! The kernel's readahead of 128 KiB, which all mounts have but fitsfs (`mm/readahead.c` and `mm/filemap.c` of Linux, in
//! short).

use std::ops::Range;

use crate::pages::PAGE;

/// What the kernel asks for at once at most, in bytes, and reads ahead.
pub const TRANSFER: u64 = 128 << 10;

/// The readahead of one reader.
#[derive(Clone, Debug, Default)]
pub struct Readahead {
    /// What was read last.
    window: Range<u64>,
    /// When the reader passes here, the next window is read.
    marker: Option<u64>,
}

impl Readahead {
    /// A page is missing that a program wants; `asked` begins with it. Returns what to read.
    pub fn missed(&mut self, asked: &Range<u64>, map: bool, size: u64) -> Range<u64> {
        let first = asked.start;
        let is_sequential = first == self.window.end || (first == 0 && !map);
        let (start, marker) = match (is_sequential, map) {
            (true, _) => (first, Some(asked.end.min(first + TRANSFER - PAGE))),
            // Around a fault.
            (false, true) => {
                let start = first.saturating_sub(TRANSFER / 2);
                (start, Some(start + TRANSFER * 3 / 4))
            }
            (false, false) => {
                self.window = first..asked.end.min(first + TRANSFER).min(size);
                self.marker = None;
                return self.window.clone();
            }
        };
        self.window = start..(start + TRANSFER).min(size);
        self.marker = marker.filter(|_| self.window.end < size);
        self.window.clone()
    }

    /// A reader has gone through `range`. Returns what to read ahead, if that is due.
    pub fn passed(&mut self, range: &Range<u64>, size: u64) -> Option<Range<u64>> {
        let marker = self.marker.filter(|marker| range.contains(marker))?;
        let start = self.window.end;
        self.window = start..(start + TRANSFER).min(size);
        self.marker = Some(start.max(marker)).filter(|_| self.window.end < size);
        Some(self.window.clone()).filter(|window| !window.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_in_order_get_readahead_and_others_what_they_asked_for() {
        let mut readahead = Readahead::default();
        assert_eq!(readahead.missed(&(0..PAGE), false, 1 << 30), 0..TRANSFER);
        assert_eq!(readahead.passed(&(0..PAGE), 1 << 30), None);
        assert_eq!(readahead.passed(&(PAGE..3 * PAGE), 1 << 30), Some(TRANSFER..2 * TRANSFER));
        assert_eq!(readahead.missed(&(1 << 20..(1 << 20) + PAGE), false, 1 << 30), 1 << 20..(1 << 20) + PAGE);
        let around = (1 << 20) - TRANSFER / 2..(1 << 20) + TRANSFER / 2;
        assert_eq!(readahead.missed(&(1 << 20..(1 << 20) + PAGE), true, 1 << 30), around);
    }
}
