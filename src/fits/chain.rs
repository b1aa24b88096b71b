//! The walk along the chain of headers, without I/O.
//!
//! The caller asks [`Chain::need`] for the next range, gets its bytes from wherever it likes and hands them to
//! [`Chain::feed`], until there is nothing left to need. To save round trips it may also fetch the ranges that begin at
//! the offsets of [`Chain::predict`], where the headers after the next one are if the file goes on as it has so far.
//!
//! Invariants:
//! - the chain moves along proven offsets only: each is the end of an HDU whose header was read. Bytes that do not cover the
//!   needed offset are ignored, so a wrong guess costs a request and nothing else;
//! - the chain keeps no bytes, only the structural keywords of the header in the making. Fed in the order of their
//!   offsets, the ranges of one round lead as far as they can; those of later use the caller keeps or fetches again;
//! - the result depends on the file alone, not on how it was cut into pieces (pieces shorter than a card are ignored);
//! - every byte of a header is needed once at most.

use super::hdu::Hdu;
use super::header::{BLOCK_LEN, Header, HeaderError, Parser, is_extension_start};
use super::layout::{Layout, Tail, tail_behind};

/// Bytes to ask for at the start of a file. Primary headers of JWST and HST products have 23,040 to 40,320 bytes, mostly
/// without data, and the header of the first extension, 8,640 bytes more, follows at once.
pub const HEAD_LEN: u64 = 64 << 10;

/// Bytes to ask for at a later header. Image extensions of JWST and HST products have headers of 2,880 to 8,640 bytes; the
/// rest pays for guesses that are off by a block or two and for the first tile descriptors of a compressed image.
pub const HOP_LEN: u64 = 16 << 10;

/// The most to ask for at once, in bytes. A header that is longer than what was asked for is continued with as much again,
/// so that one of 10,000 cards (0.8 MB) takes five rounds; this ends the growth at the size of a good single request.
pub const MAX_NEED_LEN: u64 = 8 << 20;

/// The headers of one file are followed up to so many bytes in all: 100,000 headers of one block. Files of the archives have up
/// to a few thousand. As a layout takes less memory than the headers it was made of, this bounds the memory (some 40 MB for
/// 100,000 images) as well as the requests that a hostile file can cause.
pub const MAX_HEADERS_LEN: u64 = 100_000 * BLOCK_LEN;

/// What a chain needs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The bytes from `offset` on. More or fewer than `len` will do as long as they cover `offset`; the range lies within
    /// the file.
    Bytes {
        /// Where the range begins, in bytes from the start of the file.
        offset: u64,
        /// How long it should be, in bytes; never 0.
        len: u64,
    },
    /// Nothing: the layout is known.
    Done,
}

/// A walk along the headers of one file.
#[derive(Clone, Debug)]
pub struct Chain {
    layout: Layout,
    parser: Parser,
    /// Bytes of all headers in the layout.
    headers_len: u64,
}

impl Chain {
    /// A walk through a file of `file_size` bytes, of which nothing is known yet.
    pub fn new(file_size: u64) -> Self {
        let layout = Layout { file_size, hdus: Vec::new(), tail: Tail::Unread { offset: 0 } };
        let mut chain = Self { layout, parser: Parser::default(), headers_len: 0 };
        chain.settle();
        chain
    }

    /// The range that is needed next.
    pub fn need(&self) -> Need {
        let Some((header, offset)) = self.pending() else { return Need::Done };
        let first = if header == 0 { HEAD_LEN } else { HOP_LEN };
        let len = self.parser.scanned().clamp(first, MAX_NEED_LEN);
        Need::Bytes { offset, len: len.min(self.layout.file_size.saturating_sub(offset)) }
    }

    /// Takes bytes of the file that begin at `offset` and follows the chain as far as they reach. Returns whether that led
    /// anywhere; if not, the bytes were not the needed ones, or fewer than a card.
    pub fn feed(&mut self, offset: u64, bytes: &[u8]) -> bool {
        let within = self.layout.file_size.saturating_sub(offset);
        let bytes = &bytes[..bytes.len().min(usize::try_from(within).unwrap_or(usize::MAX))];
        let mut moved = false;
        while let Some(rest) = self.pending().and_then(|(_, needed)| covering(offset, bytes, needed)) {
            let before = self.pending();
            self.advance(rest);
            if self.pending() == before {
                break;
            }
            moved = true;
        }
        moved
    }

    /// The layout as far as it is known; its tail is [`Tail::Unread`] while bytes are needed.
    pub fn layout_so_far(&self) -> &Layout {
        &self.layout
    }

    /// The layout, complete if nothing was needed any more.
    pub fn into_layout(self) -> Layout {
        self.layout
    }

    /// Where the `n` headers after the next one would begin, in bytes from the start of the file, in ascending order.
    ///
    /// The guess is that HDUs to come have the data span of the last HDU that has data, and a header as short as those of
    /// the last two extensions (one block if there are fewer: the first extension of an observation often carries more
    /// cards than the others). Too short is the better side to err on, since a range covers what follows its offset.
    /// There are fewer guesses where the file ends, and none before any data unit is known. A guess holds only if
    /// [`is_extension_start`] says so of the bytes there; feeding the chain with
    /// others does no harm.
    pub fn predict(&self, n: usize) -> Vec<u64> {
        let Some((pending, _)) = self.pending() else { return Vec::new() };
        let span = self.layout.hdus.iter().rev().map(|hdu| hdu.data_span).find(|span| *span > 0);
        let Some(span) = span else { return Vec::new() };
        let step = span.saturating_add(self.likely_header_len());
        let last = self.layout.file_size.saturating_sub(BLOCK_LEN);
        let guess = |offset: &u64| offset.checked_add(step).filter(|next| *next <= last);
        std::iter::successors(Some(pending), guess).skip(1).take(n).collect()
    }

    fn likely_header_len(&self) -> u64 {
        match self.layout.hdus.get(1..) {
            Some([.., before, last]) => before.header_len().min(last.header_len()),
            _ => BLOCK_LEN,
        }
    }

    /// Where the header in the making begins and from where on its bytes are needed; none if the walk is over.
    fn pending(&self) -> Option<(u64, u64)> {
        match self.layout.tail {
            Tail::Unread { offset } => Some((offset, offset.saturating_add(self.parser.scanned()))),
            _ => None,
        }
    }

    /// Feeds the header in the making with the bytes it needs. The first one must not be that of an extension.
    fn advance(&mut self, bytes: &[u8]) {
        let Some((offset, needed)) = self.pending() else { return };
        if needed == 0 && is_extension_start(bytes) {
            self.layout.tail = Tail::NotFits;
            return;
        }
        let step = self.parser.push(bytes).and_then(|done| match done {
            Some((header, len)) => self.add(offset, len, &header),
            None => Ok(()),
        });
        if let Err(error) = step {
            self.layout.tail = self.tail_for(offset, error);
        }
        self.settle();
    }

    /// Adds the HDU of a complete header and goes on behind it.
    fn add(&mut self, offset: u64, len: u64, header: &Header) -> Result<(), HeaderError> {
        let file_size = self.layout.file_size;
        if offset.saturating_add(len) > file_size {
            return Err(HeaderError::CutShort);
        }
        self.headers_len = self.headers_len.saturating_add(len);
        if self.headers_len > MAX_HEADERS_LEN {
            return Err(HeaderError::TooManyHdus(MAX_HEADERS_LEN));
        }
        let index = self.layout.hdus.len();
        let hdu = Hdu::from_header(index, offset, len, header, file_size)?;
        self.layout.tail =
            if hdu.end() < file_size { Tail::Unread { offset: hdu.end() } } else { tail_behind(&hdu, file_size) };
        self.layout.hdus.push(hdu);
        Ok(())
    }

    /// Ends the walk where the rest of the file cannot be a header, without asking for it.
    fn settle(&mut self) {
        let Some((offset, needed)) = self.pending() else { return };
        let size = self.layout.file_size;
        if self.parser.scanned() == 0 && size.saturating_sub(offset) < BLOCK_LEN {
            self.layout.tail = self.tail_for(offset, HeaderError::NotAHeader);
        } else if size.saturating_sub(needed) < super::card::CARD_LEN as u64 {
            self.layout.tail = self.tail_for(offset, HeaderError::MissingEnd);
        }
    }

    fn tail_for(&self, offset: u64, error: HeaderError) -> Tail {
        match error {
            HeaderError::NotAHeader if offset == 0 => Tail::NotFits,
            HeaderError::NotAHeader => {
                Tail::TrailingBytes { offset, len: self.layout.file_size.saturating_sub(offset) }
            }
            HeaderError::MissingEnd => Tail::MissingEnd { offset },
            reason => Tail::Malformed { offset, reason },
        }
    }
}

/// The part of `bytes`, which begin at `offset`, from `needed` on.
fn covering(offset: u64, bytes: &[u8], needed: u64) -> Option<&[u8]> {
    let skip = usize::try_from(needed.checked_sub(offset)?).ok()?;
    bytes.get(skip..).filter(|rest| !rest.is_empty())
}
