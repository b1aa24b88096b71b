//! The walk along the chain of FITS headers, without I/O. [`super::Chain`], which users talk to, does it for FITS files and
//! says how it is used.
//!
//! Invariants:
//! - the chain moves along proven offsets only: each is the end of an HDU whose header was read. Bytes that do not cover the
//!   needed offset are ignored, so a wrong guess costs a request and nothing else;
//! - the chain keeps no bytes, only the structural keywords of the header in the making. Fed in the order of their
//!   offsets, the ranges of one round are used as far as possible; what is of use later the caller keeps or fetches again;
//! - the result depends on the file alone, not on how it was cut into pieces (pieces shorter than a card are ignored);
//! - every byte of a header is needed once at most.

use super::hdu::Hdu;
use super::header::{BLOCK_LEN, Header, HeaderError, Parser, is_extension_start};
use super::index::IndexPlace;
use super::layout::{Layout, Tail, tail_behind};
use super::repeat::Repetition;

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
pub struct HeaderChain {
    layout: Layout,
    parser: Parser,
    /// Bytes of all headers in the layout.
    headers_len: u64,
    /// What the primary header says of an index.
    index: Option<IndexPlace>,
}

impl HeaderChain {
    /// A walk through a file of `file_size` bytes, of which nothing is known yet.
    pub fn new(file_size: u64) -> Self {
        Self::beginning_at(file_size, 0)
    }

    /// A walk through a file of `file_size` bytes from the header at `offset` on, as if nothing were before it.
    pub fn beginning_at(file_size: u64, offset: u64) -> Self {
        let layout = Layout { file_size, hdus: Vec::new(), tail: Tail::Unread { offset } };
        let mut chain = Self { layout, parser: Parser::default(), headers_len: 0, index: None };
        chain.settle();
        chain
    }

    /// Where the primary header says that an index of the HDUs is.
    pub fn index(&self) -> Option<&IndexPlace> {
        self.index.as_ref()
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
    /// The guess is that HDUs repeat: all like the last one, or in the order in which they came before. There are fewer
    /// guesses where the file ends, and none before any data unit is known. A guess holds only if [`is_extension_start`]
    /// says so of the bytes there; feeding the chain with others does no harm.
    pub fn predict(&self, n: usize) -> Vec<u64> {
        let Some((pending, _)) = self.pending() else { return Vec::new() };
        let last = self.layout.file_size.saturating_sub(BLOCK_LEN);
        let places = Repetition::after(&self.layout.hdus).scan(pending, |at, length| {
            *at = at.saturating_add(length);
            Some(*at)
        });
        places.take_while(|at| *at <= last).take(n).collect()
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
        if offset == 0 {
            self.index = IndexPlace::of(header, file_size);
        }
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
pub(super) fn covering(offset: u64, bytes: &[u8], needed: u64) -> Option<&[u8]> {
    let skip = usize::try_from(needed.checked_sub(offset)?).ok()?;
    bytes.get(skip..).filter(|rest| !rest.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fits::Chain;
    use crate::fits::testing::{IMAGE, SIMPLE, header_bytes, image};

    /// The layout of `file`, and the ranges that were needed, if each is given in full.
    fn walk(file: &[u8]) -> (Layout, Vec<(u64, u64)>) {
        let mut chain = Chain::new(file.len() as u64);
        let mut needs = Vec::new();
        while let Need::Bytes { offset, len } = chain.need() {
            needs.push((offset, len));
            let (from, to) = (offset as usize, (offset + len) as usize);
            assert!(chain.feed(offset, &file[from..to]), "no progress at {offset}");
        }
        (chain.into_layout(), needs)
    }

    /// A file like the products of JWST: a primary HDU without data, then `images` images of which the first has a longer
    /// header.
    fn product(images: usize) -> Vec<u8> {
        let mut file = image(SIMPLE, 250, &[]);
        for n in 0..images {
            file.extend(image(IMAGE, if n == 0 { 100 } else { 0 }, &[300, 400]));
        }
        file
    }

    #[test]
    fn one_range_for_each_header() {
        let file = product(4);
        let (layout, needs) = walk(&file);
        assert_eq!((layout.hdus.len(), layout.tail), (5, Tail::Clean));
        let headers: Vec<u64> = layout.hdus[2..].iter().map(|hdu| hdu.header_offset).collect();
        assert_eq!(needs[0], (0, HEAD_LEN));
        assert_eq!(needs[1..].iter().map(|need| need.0).collect::<Vec<_>>(), headers);
        assert!(needs[1..].iter().all(|need| need.1 == HOP_LEN));
    }

    #[test]
    fn long_headers_take_few_rounds_and_no_byte_twice() {
        let cards: Vec<_> =
            std::iter::once(SIMPLE.to_owned()).chain((0..10_000).map(|n| format!("K{n:<7}= 1"))).collect();
        let (layout, needs) = walk(&header_bytes(&cards));
        assert_eq!((layout.hdus.len(), layout.tail), (1, Tail::Clean));
        assert!(needs.len() <= 5, "{needs:?}");
        assert!(needs.windows(2).all(|pair| pair[0].0 + pair[0].1 - pair[1].0 < 80), "{needs:?}");
    }

    #[test]
    fn a_file_too_short_for_a_header_needs_nothing() {
        assert_eq!(Chain::new(0).need(), Need::Done);
        assert_eq!(Chain::new(2879).into_layout().tail, Tail::NotFits);
        assert_eq!(Chain::new(2880).need(), Need::Bytes { offset: 0, len: 2880 });
    }

    #[test]
    fn guesses_hit_the_headers_of_a_regular_product() {
        let file = product(6);
        let (layout, _) = walk(&file);
        let mut chain = Chain::new(file.len() as u64);
        assert!(chain.predict(9).is_empty());
        chain.feed(0, &file[..HEAD_LEN as usize]);
        let headers: Vec<u64> = layout.hdus[3..].iter().map(|hdu| hdu.header_offset).collect();
        assert_eq!(chain.predict(9), headers);
        assert_eq!(chain.predict(2), headers[..2]);
        assert!(headers.iter().all(|at| is_extension_start(&file[*at as usize..])));
        chain.feed(0, &file);
        assert!(chain.predict(9).is_empty());
    }

    #[test]
    fn one_round_of_right_guesses_leads_to_the_end() {
        let file = product(12);
        let mut chain = Chain::new(file.len() as u64);
        chain.feed(0, &file[..HEAD_LEN as usize]);
        let Need::Bytes { offset, .. } = chain.need() else { panic!("done") };
        for at in std::iter::once(offset).chain(chain.predict(16)) {
            assert!(chain.feed(at, &file[at as usize..(at as usize + HOP_LEN as usize).min(file.len())]));
        }
        assert_eq!(chain.need(), Need::Done);
        assert_eq!(chain.layout_so_far().hdus.len(), 13);
    }

    #[test]
    fn headers_are_followed_up_to_a_bound() {
        let extension = header_bytes(&[IMAGE]);
        let mut chain = Chain::new(u64::MAX >> 1);
        chain.feed(0, &header_bytes(&[SIMPLE]));
        let many = extension.repeat(1000);
        while let Need::Bytes { offset, .. } = chain.need() {
            assert!(chain.feed(offset, &many));
        }
        let layout = chain.into_layout();
        assert_eq!(layout.hdus.len(), 100_000);
        let reason = HeaderError::TooManyHdus(MAX_HEADERS_LEN);
        assert_eq!(layout.tail, Tail::Malformed { offset: MAX_HEADERS_LEN, reason });
    }

    /// Files of a few HDUs with irregular sizes, some damaged: cut short, with bytes overwritten, or with bytes behind.
    fn files() -> impl Strategy<Value = Vec<u8>> {
        let hdu = (0_usize..120, prop::collection::vec(0_usize..90, 0..3));
        let damage = (any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 0..200), 0..4_u8);
        (prop::collection::vec(hdu, 0..6), damage).prop_map(|(hdus, (at, noise, how))| {
            let first = std::iter::once(SIMPLE).chain(std::iter::repeat(IMAGE));
            let hdus = hdus.iter().zip(first).map(|((extra, axes), first)| image(first, *extra, axes));
            let mut file = hdus.flatten().collect::<Vec<u8>>();
            let at = if file.is_empty() { 0 } else { at.index(file.len()) };
            match how {
                0 => file.truncate(at),
                1 => file.iter_mut().skip(at).zip(&noise).for_each(|(byte, noise)| *byte = *noise),
                2 => file.extend(&noise),
                _ => {}
            }
            file
        })
    }

    proptest! {
        #[test]
        fn pieces_make_the_layout_of_the_whole(file in files(), sizes in prop::collection::vec(80_usize..9000, 1..20)) {
            let (whole, _) = walk(&file);
            let mut chain = Chain::new(file.len() as u64);
            for size in sizes.iter().cycle() {
                let Need::Bytes { offset, .. } = chain.need() else { break };
                let from = offset as usize;
                prop_assert!(chain.feed(offset, &file[from..(from + size).min(file.len())]));
            }
            prop_assert_eq!(chain.layout_so_far(), &whole);
            let mut at_once = Chain::new(file.len() as u64);
            at_once.feed(0, &file);
            prop_assert_eq!(at_once.into_layout(), whole);
        }

        #[test]
        fn hdus_lie_one_behind_the_other(file in files()) {
            let (layout, _) = walk(&file);
            let mut end = 0;
            for (index, hdu) in layout.hdus.iter().enumerate() {
                prop_assert_eq!((hdu.index, hdu.header_offset), (index, end));
                prop_assert!(hdu.data_offset > hdu.header_offset && hdu.data_offset <= layout.file_size);
                end = hdu.end();
            }
        }

        #[test]
        fn guesses_never_alter_the_layout(file in files(), order in any::<bool>(), extra: u64, noise: Vec<u8>) {
            let (alone, _) = walk(&file);
            let mut chain = Chain::new(file.len() as u64);
            while let Need::Bytes { offset, len } = chain.need() {
                let mut ranges = vec![(offset, len)];
                ranges.extend(chain.predict(4).into_iter().map(|at| (at, HOP_LEN)));
                prop_assert!(ranges.windows(2).all(|pair| pair[0].0 < pair[1].0));
                if order {
                    ranges.reverse();
                }
                for (at, len) in ranges {
                    let at = at as usize;
                    chain.feed(at as u64, &file[at..(at + len as usize).min(file.len())]);
                }
                chain.feed(file.len() as u64 + extra % 9000, &noise);
            }
            prop_assert_eq!(chain.into_layout(), alone);
        }

        #[test]
        fn any_bytes_make_a_layout(size: u64, offset: u64, bytes: Vec<u8>, head in files()) {
            let mut chain = Chain::new(size);
            chain.feed(offset, &bytes);
            chain.feed(0, &head);
            chain.feed(u64::MAX, &bytes);
            let _ = (chain.need(), chain.predict(3));
            let layout = chain.into_layout();
            let _ = (layout.hdu_at(offset).is_some(), layout.in_header(u64::MAX));
            prop_assert!(!crate::fits::render::table(&layout).is_empty());
        }
    }
}
