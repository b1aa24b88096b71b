//! The type of an HDU: which of the forms of the FITS Standard, or which part of an ASDF file. It decides how the data unit
//! is measured ([`hdu`](super::hdu)) and whether it is a table ([`table`](super::table)).

use serde::{Deserialize, Serialize};

use super::asdf::Array;
use super::header::{Header, Signature};

/// The type of an HDU (FITS Standard 4.0, 3.3, 6 and 7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HduKind {
    /// `SIMPLE = T`: an image, often without any pixels (3.3.1).
    Primary,
    /// `XTENSION = 'IMAGE'` (7.1).
    Image,
    /// `XTENSION = 'BINTABLE'`, or `A3DTABLE`, its prototype (7.3).
    BinTable,
    /// `XTENSION = 'TABLE'` (7.2).
    AsciiTable,
    /// A binary table with `ZIMAGE = T`: an image compressed in tiles (10.1).
    CompressedImage,
    /// `SIMPLE = T` with `GROUPS = T` (6).
    RandomGroups,
    /// `SIMPLE = F`: departs from the standard; everything behind the header is its data (4.4.1.1).
    Nonstandard,
    /// Any other extension, with the value of `XTENSION` (3.4.1): its size is known, its meaning is not.
    Other(String),
    /// Header line, comments and tree of an ASDF file; without data, and its span is the padding behind it.
    AsdfTree,
    /// A block of an ASDF file.
    AsdfBlock {
        /// The code of the compression, such as `zlib`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        compression: Option<String>,
        /// Bytes of the data once uncompressed.
        unpacked_len: u64,
        /// Whether the block goes on to the end of the file, whatever its length.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        streamed: bool,
        /// The array in the block, if the tree describes it. Unlike [`Hdu::shape`] it is also given where the bytes of the
        /// block are not simply those of the array.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        array: Option<Array>,
    },
    /// The block index of an ASDF file; without data.
    AsdfIndex,
}

impl HduKind {
    /// Whether this is a part of an ASDF file.
    pub fn is_asdf(&self) -> bool {
        matches!(self, Self::AsdfTree | Self::AsdfBlock { .. } | Self::AsdfIndex)
    }

    pub(super) fn of(header: &Header) -> Self {
        match header.signature() {
            Signature::Simple(false) => Self::Nonstandard,
            Signature::Simple(true) if header.is_true("GROUPS") => Self::RandomGroups,
            Signature::Simple(true) => Self::Primary,
            Signature::Extension(name) => match name.as_str() {
                "IMAGE" => Self::Image,
                "TABLE" => Self::AsciiTable,
                "BINTABLE" | "A3DTABLE" if header.is_true("ZIMAGE") => Self::CompressedImage,
                "BINTABLE" | "A3DTABLE" => Self::BinTable,
                other => Self::Other(other.to_owned()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fits::testing::{SIMPLE, hdu};

    #[test]
    fn kinds_follow_the_first_card() {
        for (cards, expected) in [
            (vec![SIMPLE], HduKind::Primary),
            (vec![SIMPLE, "GROUPS  = F"], HduKind::Primary),
            (vec!["SIMPLE  = F"], HduKind::Nonstandard),
            (vec!["XTENSION= 'TABLE'"], HduKind::AsciiTable),
            (vec!["XTENSION= 'A3DTABLE'"], HduKind::BinTable),
            (vec!["XTENSION= 'BINTABLE'", "ZIMAGE  = F"], HduKind::BinTable),
            (vec!["XTENSION= 'BINTABLE'", "ZIMAGE  = T"], HduKind::CompressedImage),
            (vec!["XTENSION= 'HDRLET'"], HduKind::Other("HDRLET".to_owned())),
        ] {
            assert_eq!(hdu(&cards).unwrap().kind, expected, "{cards:?}");
        }
        assert_eq!(hdu(&["SIMPLE  = F"]).unwrap().data_len, (1 << 40) - 2880);
    }
}
