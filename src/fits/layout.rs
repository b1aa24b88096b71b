//! The layout of a file: its HDUs one behind the other, and how the chain ends.
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
    /// The file does not begin like a FITS file.
    NotFits,
}

impl Tail {
    /// Whether the file is what the standard asks for, as far as the layout shows.
    pub fn is_clean(&self) -> bool {
        *self == Self::Clean
    }
}

impl Layout {
    /// Whether there is any HDU.
    pub fn is_fits(&self) -> bool {
        !self.hdus.is_empty()
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
