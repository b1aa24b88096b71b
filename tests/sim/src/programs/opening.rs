//! How astropy and cfitsio come to an HDU, as system-call traces show it.

use super::{Op, Pen, Style};
use crate::pages::PAGE;

/// The buffer of Python, as large as the mount advises (`st_blksize`).
pub(super) const BUFFER: u64 = 16 << 10;

impl Pen<'_> {
    /// Opens the file and goes along the headers to HDU `n`.
    pub(super) fn open(&mut self, n: usize) {
        if !self.file.is_fits {
            return;
        }
        match self.style {
            Style::Astropy => {
                // It looks at the first bytes, and opens the file anew.
                self.read(0..BUFFER);
                self.ops.push(Op::Close(self.index));
                self.ops.push(Op::Open(self.index));
            }
            Style::Cfitsio => {
                let last = (self.file.size - 1) / PAGE * PAGE;
                self.read(last..self.file.size);
            }
            Style::Plain => return,
        }
        self.headers(0, n);
    }

    /// Goes on from HDU `from` to HDU `n`.
    pub(super) fn headers(&mut self, from: usize, n: usize) {
        let mut buffered = 0..0;
        for unit in &self.file.hdus[from..=n] {
            let mut at = unit.header.start;
            let piece = match self.style {
                Style::Astropy => BUFFER,
                _ => {
                    at = at / PAGE * PAGE;
                    PAGE
                }
            };
            while at < unit.header.end {
                if !(buffered.start <= at && unit.header.end.min(at + piece) <= buffered.end) {
                    buffered = at..(at + piece).min(self.file.size);
                    self.ops.push(Op::Read(self.index, buffered.clone()));
                }
                at += piece;
            }
        }
    }
}
