//! Headers and files for the unit tests of this module.

use super::hdu::Hdu;
use super::header::{HeaderError, Parsed, parse};
use super::{Chain, Layout};

/// A header of these cards, with END and padded to whole blocks.
pub fn header_bytes<S: AsRef<str>>(cards: &[S]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for card in cards.iter().map(S::as_ref).chain(["END"]) {
        assert!(card.len() <= 80, "{card}");
        bytes.extend(format!("{card:<80}").bytes());
    }
    bytes.resize(bytes.len().next_multiple_of(2880), b' ');
    bytes
}

/// The HDU that a header of these cards describes, at the start of a file of 1 TB.
pub fn hdu<S: AsRef<str>>(cards: &[S]) -> Result<Hdu, HeaderError> {
    match parse(&header_bytes(cards)) {
        Parsed::Complete(header, len) => Hdu::from_header(0, 0, len, &header, 1 << 40),
        Parsed::NeedMore(len) => panic!("needs {len} bytes"),
        Parsed::Malformed(error) => Err(error),
    }
}

/// An image HDU with its data: `extra` more cards, `axes` with NAXIS1 first, one byte to a pixel.
pub fn image(first: &str, extra: usize, axes: &[usize]) -> Vec<u8> {
    let mut cards = vec![first.to_owned(), "BITPIX  = 8".to_owned(), format!("NAXIS   = {}", axes.len())];
    cards.extend(axes.iter().enumerate().map(|(n, axis)| format!("{:<8}= {axis}", format!("NAXIS{}", n + 1))));
    cards.extend((0..extra).map(|n| format!("{:<8}= {n}", format!("K{n}"))));
    let mut bytes = header_bytes(&cards);
    let pixels = if axes.is_empty() { 0 } else { axes.iter().product() };
    bytes.extend(std::iter::repeat_n(7, pixels));
    bytes.resize(bytes.len().next_multiple_of(2880), 0);
    bytes
}

/// First card of a primary HDU.
pub const SIMPLE: &str = "SIMPLE  = T";
/// First card of an image extension.
pub const IMAGE: &str = "XTENSION= 'IMAGE   '";

/// The layout of a file that consists of these bytes.
pub fn layout(bytes: &[u8]) -> Layout {
    let mut chain = Chain::new(bytes.len() as u64);
    chain.feed(0, bytes);
    chain.into_layout()
}
