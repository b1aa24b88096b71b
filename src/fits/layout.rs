//! The layout of a file: its HDUs one behind the other, and how the chain ends. The parts of an ASDF file are told in the
//! same words.
//!
//! Invariants of a [`Layout`] that a walk has made: HDU `n` has index `n`; each begins where the one before ends, the first
//! at 0, so that no byte belongs to two; a damaged tail takes nothing away from the HDUs before it. A layout may also come from
//! a cache on disk, therefore its methods do not rely on that.

use serde::{Deserialize, Serialize};

use super::hdu::Hdu;
use super::header::HeaderError;

/// The HDUs of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layout {
    /// Size of the file in bytes.
    pub file_size: u64,
    /// The HDUs in the order of the file.
    pub hdus: Vec<Hdu>,
    /// What comes behind the last of them.
    pub tail: Tail,
}

/// How the chain of HDUs ends. Offsets and lengths are in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Tail {
    /// The file ends with the last data unit.
    Clean,
    /// Not known yet: the header at `offset` has not been read.
    Unread {
        /// Where the next header would begin.
        offset: u64,
    },
    /// Something that is not an HDU follows (special records are allowed, FITS Standard 4.0, 3.5).
    TrailingBytes {
        /// Where it begins.
        offset: u64,
        /// How long it is.
        len: u64,
    },
    /// The file ends within the data of the last HDU.
    TruncatedData {
        /// Index of that HDU.
        hdu: usize,
        /// So many bytes of its data are missing, padding not counted.
        missing: u64,
    },
    /// All data are there but the last block is not filled up (3.3.2).
    MissingPadding {
        /// Index of the HDU.
        hdu: usize,
        /// So many bytes of padding are missing.
        missing: u64,
    },
    /// A header begins here that has no END card.
    MissingEnd {
        /// Where it begins.
        offset: u64,
    },
    /// A header begins here that cannot be used.
    Malformed {
        /// Where it begins.
        offset: u64,
        /// What is wrong with it.
        reason: HeaderError,
    },
    /// The file begins neither like a FITS file nor like an ASDF file.
    NotFits,
}

impl Tail {
    /// Whether the file is what the standard asks for, as far as the layout shows.
    pub fn is_clean(&self) -> bool {
        *self == Self::Clean
    }
}

impl Layout {
    /// Whether there is anything in it: an HDU of a FITS file, or the tree of an ASDF file.
    pub fn is_known(&self) -> bool {
        !self.hdus.is_empty()
    }

    /// Whether the file is FITS, with at least one HDU.
    pub fn is_fits(&self) -> bool {
        self.is_known() && !self.is_asdf()
    }

    /// Whether the file is ASDF, with at least its tree.
    pub fn is_asdf(&self) -> bool {
        self.hdus.first().is_some_and(|hdu| hdu.kind.is_asdf())
    }

    /// The HDU that holds the byte at `offset`, be it in the header, the data or the padding.
    pub fn hdu_at(&self, offset: u64) -> Option<&Hdu> {
        let after = self.hdus.partition_point(|hdu| hdu.header_offset <= offset);
        let hdu = self.hdus.get(after.checked_sub(1)?)?;
        (offset < hdu.end().min(self.file_size)).then_some(hdu)
    }

    /// Whether the byte at `offset` belongs to a header.
    pub fn in_header(&self, offset: u64) -> bool {
        self.hdu_at(offset).is_some_and(|hdu| offset < hdu.data_offset)
    }
}

/// How a file of `file_size` bytes ends if `last` is its last HDU and ends at or behind the end of the file.
pub(super) fn tail_behind(last: &Hdu, file_size: u64) -> Tail {
    let data_end = last.data_offset.saturating_add(last.data_len);
    let hdu = last.index;
    if data_end > file_size {
        Tail::TruncatedData { hdu, missing: data_end - file_size }
    } else if last.end() > file_size && last.kind != super::HduKind::Nonstandard {
        Tail::MissingPadding { hdu, missing: last.end() - file_size }
    } else {
        Tail::Clean
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fits::testing::{IMAGE, SIMPLE, header_bytes, image, layout};

    fn two_hdus() -> Vec<u8> {
        [image(SIMPLE, 0, &[]), image(IMAGE, 0, &[100, 30])].concat()
    }

    #[test]
    fn offsets_find_their_hdu() {
        let layout = layout(&two_hdus());
        let index = |offset| layout.hdu_at(offset).map(|hdu| hdu.index);
        assert_eq!(
            [0, 2879, 2880, 5760, 11_519, 11_520].map(index),
            [Some(0), Some(0), Some(1), Some(1), Some(1), None]
        );
        assert_eq!([0, 2880, 5759, 5760, 11_520].map(|at| layout.in_header(at)), [true, true, true, false, false]);
    }

    #[test]
    fn the_tail_says_how_the_file_ends() {
        let file = two_hdus();
        let data_end = 5760 + 3000;
        let end = file.len() as u64;
        let with = |more: &[u8]| layout(&[&file, more].concat());
        let malformed = header_bytes(&[IMAGE, "NAXIS   = 1"]);
        let missing_end = [header_bytes(&[IMAGE])[..80].to_vec(), vec![b' '; 8000]].concat();
        let cut_header = header_bytes(&[IMAGE])[..2000].to_vec();
        let cut_second_block = image(IMAGE, 40, &[])[..3600].to_vec();
        for (found, hdus, tail) in [
            (layout(&file), 2, Tail::Clean),
            (layout(&file[..data_end]), 2, Tail::MissingPadding { hdu: 1, missing: 2760 }),
            (layout(&file[..data_end - 7]), 2, Tail::TruncatedData { hdu: 1, missing: 7 }),
            (layout(&file[..5760]), 2, Tail::TruncatedData { hdu: 1, missing: 3000 }),
            (with(&[0; 9000]), 2, Tail::TrailingBytes { offset: end, len: 9000 }),
            (with(b"x"), 2, Tail::TrailingBytes { offset: end, len: 1 }),
            (with(&cut_header), 2, Tail::TrailingBytes { offset: end, len: 2000 }),
            (with(&cut_second_block), 2, Tail::Malformed { offset: end, reason: HeaderError::CutShort }),
            (with(&missing_end), 2, Tail::MissingEnd { offset: end }),
            (with(&malformed), 2, Tail::Malformed { offset: end, reason: HeaderError::Unusable("BITPIX".to_owned()) }),
            (with(&file), 4, Tail::Clean),
            (layout(b""), 0, Tail::NotFits),
            (layout(&[b' '; 9000]), 0, Tail::NotFits),
            (layout(&image(IMAGE, 0, &[])), 0, Tail::NotFits),
            (layout(&missing_end_of_primary()), 0, Tail::MissingEnd { offset: 0 }),
        ] {
            assert_eq!((found.hdus.len(), found.tail), (hdus, tail));
        }
    }

    fn missing_end_of_primary() -> Vec<u8> {
        let mut bytes = header_bytes(&[SIMPLE]);
        bytes[80..].fill(b' ');
        bytes
    }

    #[test]
    fn a_nonstandard_file_is_all_data() {
        let mut file = header_bytes(&["SIMPLE  = F"]);
        file.extend([1; 1000]);
        let layout = layout(&file);
        assert_eq!((layout.hdus[0].data_len, layout.hdus[0].data_span), (1000, 2880));
        assert_eq!(layout.tail, Tail::Clean);
    }

    #[test]
    fn a_layout_survives_serialization() {
        let tile_table = header_bytes(&[
            "XTENSION= 'BINTABLE'",
            "BITPIX  = 8",
            "NAXIS   = 2",
            "NAXIS1  = 8",
            "NAXIS2  = 1",
            "PCOUNT  = 9",
            "TFIELDS = 1",
            "TTYPE1  = 'COMPRESSED_DATA'",
            "TFORM1  = '1PB(9)'",
            "ZIMAGE  = T",
            "ZBITPIX = 16",
            "ZNAXIS  = 1",
            "ZNAXIS1 = 9",
            "BZERO   = 0.1",
        ]);
        let odd = header_bytes(&["XTENSION= 'HDRLET'", "BITPIX  = 8", "NAXIS   = 1", "NAXIS1  = 6000"]);
        let whole = layout(&[two_hdus(), tile_table, vec![0; 2880], odd].concat());
        assert_eq!(whole.hdus.len(), 4);
        let text = serde_json::to_string(&whole).unwrap();
        assert_eq!(serde_json::from_str::<Layout>(&text).unwrap(), whole);
        for tail in [Tail::NotFits, Tail::Malformed { offset: 3, reason: HeaderError::Unusable("NAXIS1".to_owned()) }] {
            let text = serde_json::to_string(&tail).unwrap();
            assert_eq!(serde_json::from_str::<Tail>(&text).unwrap(), tail);
        }
    }
}
