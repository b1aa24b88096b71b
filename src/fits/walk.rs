//! The walk through a file of whatever format, without I/O: the one type that users talk to.
//!
//! The caller asks [`Chain::need`] for the next range, gets its bytes from wherever it likes and hands them to
//! [`Chain::feed`], until there is nothing left to need. To save round trips it may also fetch the ranges that begin at
//! the offsets of [`Chain::predict`], where the headers after the next one are if the file goes on as it has so far.
//!
//! Invariant: the first bytes decide on the format, once and for all. Whatever does not begin like an ASDF file is left to
//! the walk along FITS headers, which says whether it is FITS.

use super::asdf::{self, FILE_START};
use super::chain::{HEAD_LEN, HeaderChain, Need};
use super::index::IndexPlace;
use super::layout::Layout;

/// A walk along the headers of one file.
#[derive(Clone, Debug)]
pub struct Chain {
    format: Format,
    /// Whether the first bytes have been seen.
    is_begun: bool,
}

#[derive(Clone, Debug)]
enum Format {
    Fits(HeaderChain),
    Asdf(asdf::Walk),
}

impl Chain {
    /// A walk through a file of `file_size` bytes, of which nothing is known yet.
    pub fn new(file_size: u64) -> Self {
        let format = Format::Fits(HeaderChain::new(file_size));
        Self { format, is_begun: file_size < FILE_START.len() as u64 }
    }

    /// A walk through a FITS file of `file_size` bytes from the header at `offset` on, as if nothing were before it.
    pub fn beginning_at(file_size: u64, offset: u64) -> Self {
        Self { format: Format::Fits(HeaderChain::beginning_at(file_size, offset)), is_begun: true }
    }

    /// Where the file says that an index of its HDUs is.
    pub fn index(&self) -> Option<&IndexPlace> {
        match &self.format {
            Format::Fits(chain) => chain.index(),
            Format::Asdf(_) => None,
        }
    }

    /// The range that is needed next.
    pub fn need(&self) -> Need {
        match &self.format {
            _ if !self.is_begun => Need::Bytes { offset: 0, len: self.layout_so_far().file_size.min(HEAD_LEN) },
            Format::Fits(chain) => chain.need(),
            Format::Asdf(walk) => walk.need(),
        }
    }

    /// Takes bytes of the file that begin at `offset` and goes as far as they reach. Returns whether that led anywhere; if
    /// not, the bytes were not the needed ones, or fewer than a FITS card (80 bytes) or the header of an ASDF block.
    pub fn feed(&mut self, offset: u64, bytes: &[u8]) -> bool {
        let began = !self.is_begun && self.begin(offset, bytes);
        let moved = match &mut self.format {
            _ if !self.is_begun => false,
            Format::Fits(chain) => chain.feed(offset, bytes),
            Format::Asdf(walk) => walk.feed(offset, bytes),
        };
        // A file that is too short for FITS is known not to be any by its first bytes.
        moved || (began && self.need() == Need::Done)
    }

    /// The layout as far as it is known; its tail is [`super::Tail::Unread`] while bytes are needed.
    pub fn layout_so_far(&self) -> &Layout {
        match &self.format {
            Format::Fits(chain) => chain.layout_so_far(),
            Format::Asdf(walk) => walk.layout_so_far(),
        }
    }

    /// The layout, complete if nothing was needed any more.
    pub fn into_layout(self) -> Layout {
        match self.format {
            Format::Fits(chain) => chain.into_layout(),
            Format::Asdf(walk) => walk.into_layout(),
        }
    }

    /// Where the `n` headers after the next one would begin, in bytes from the start of the file, in ascending order; for an
    /// ASDF file also where its tail begins, while that may still tell of the blocks. Fewer if there are no more guesses. See
    /// [`HeaderChain::predict`] and [`asdf::Walk::predict`].
    pub fn predict(&self, n: usize) -> Vec<u64> {
        match &self.format {
            Format::Fits(chain) => chain.predict(n),
            Format::Asdf(walk) => walk.predict(n),
        }
    }

    /// Whether the offsets of [`Chain::predict`] are as good as certain, so that there is no reason to try few of them first:
    /// they come from the block index of an ASDF file.
    pub fn is_sure(&self) -> bool {
        matches!(&self.format, Format::Asdf(walk) if walk.is_sure())
    }

    /// Decides on the format if these are the first bytes of the file. Returns whether they are.
    fn begin(&mut self, offset: u64, bytes: &[u8]) -> bool {
        let is_enough = bytes.len() >= FILE_START.len() || !FILE_START.starts_with(bytes);
        if offset != 0 || !is_enough {
            return false;
        }
        if bytes.starts_with(FILE_START) {
            self.format = Format::Asdf(asdf::Walk::new(self.layout_so_far().file_size));
        }
        self.is_begun = true;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fits::Tail;
    use crate::fits::asdf::testing::file;
    use crate::fits::testing::{SIMPLE, image};

    #[test]
    fn the_first_bytes_decide() {
        let walk = |bytes: &[u8]| {
            let mut chain = Chain::new(bytes.len() as u64);
            while let Need::Bytes { offset, len } = chain.need() {
                assert!(chain.feed(offset, &bytes[offset as usize..(offset + len) as usize]));
            }
            chain.into_layout()
        };
        assert!(walk(&image(SIMPLE, 0, &[])).is_fits());
        assert!(walk(&file("", &[])).is_asdf());
        assert!(walk(b"#ASDF 1.0.0").is_asdf());
        for text in [&b""[..], b"#ASDF", b"# ASDF 1.0.0", b"a text, rather short", &[b' '; 5000]] {
            let layout = walk(text);
            assert_eq!((layout.is_known(), layout.tail), (false, Tail::NotFits), "{text:?}");
        }
    }

    #[test]
    fn too_few_bytes_decide_nothing() {
        let bytes = file("", &[]);
        let mut chain = Chain::new(bytes.len() as u64);
        assert!(!chain.feed(0, &bytes[..5]) && !chain.feed(0, &[]) && !chain.feed(20, &bytes[20..]));
        assert_eq!(chain.need(), Need::Bytes { offset: 0, len: bytes.len() as u64 });
        assert!(chain.feed(0, &bytes));
        assert!(chain.into_layout().is_asdf());
    }
}
