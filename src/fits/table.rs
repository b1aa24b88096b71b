//! What a prefetch planner needs to know of a table beyond its row length: the heap, and where a tile-compressed image keeps
//! the descriptors of its tiles.
//!
//! Invariants: the heap lies within the data unit; a descriptor lies within the row.

use serde::{Deserialize, Serialize};

use super::header::{Header, MAX_INDEX};
use super::kind::HduKind;

/// The column that holds the compressed tiles (FITS Standard 4.0, 10.1.3).
const TILE_COLUMN: &str = "COMPRESSED_DATA";

/// A table, ASCII (FITS Standard 4.0, 7.2) or binary (7.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// `TFIELDS`: the number of columns.
    pub columns: usize,
    /// Whether a column holds logical values; common readers then take in the whole table.
    pub has_logical: bool,
    /// The heap of a binary table with variable-length arrays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heap: Option<Heap>,
    /// The tiles of a compressed image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tiles: Option<Tiles>,
}

/// The heap of a binary table (FITS Standard 4.0, 7.3.5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heap {
    /// Where it begins: bytes from the start of the file.
    pub offset: u64,
    /// Its length in bytes, to the end of the data.
    pub len: u64,
}

/// An image compressed in tiles, one tile to a row (FITS Standard 4.0, 10.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tiles {
    /// Where in a row the descriptor of the tile stands, in bytes.
    pub descriptor_offset: u64,
    /// Length of the descriptor in bytes: 8 (two 32-bit integers) or 16 (two of 64 bits). The first is the length of the tile,
    /// the second its offset in the heap (7.3.5).
    pub descriptor_len: u64,
    /// `ZCMPTYPE`: the algorithm, such as `RICE_1`.
    pub algorithm: Option<String>,
    /// `ZBITPIX`: BITPIX of the image.
    pub bitpix: i64,
    /// `ZNAXISn` in the order of an array's shape, the contiguous axis last.
    pub shape: Vec<u64>,
    /// `ZTILEn` in the same order; by default a tile is a row of the image.
    pub tile_shape: Vec<u64>,
}

impl Table {
    /// The table described by `header`, if `kind` is a table. Its data unit begins at `data_offset` and has `data_len` bytes.
    pub(super) fn of(header: &Header, kind: &HduKind, data_offset: u64, data_len: u64) -> Option<Self> {
        let binary = match kind {
            HduKind::BinTable | HduKind::CompressedImage => true,
            HduKind::AsciiTable => false,
            _ => return None,
        };
        let columns = columns(header);
        let is_logical = |n| column_format(header, n).is_some_and(|(repeat, code)| repeat > 0 && code == b'L');
        Some(Self {
            columns,
            has_logical: binary && (1..=columns).any(is_logical),
            heap: if binary { Heap::of(header, data_offset, data_len) } else { None },
            tiles: if *kind == HduKind::CompressedImage { Tiles::of(header) } else { None },
        })
    }
}

impl Heap {
    /// The heap begins `THEAP` bytes into the data unit, by default behind the last row (7.3.5).
    fn of(header: &Header, data_offset: u64, data_len: u64) -> Option<Self> {
        let integer = |found: Option<i64>| found.and_then(|n| u64::try_from(n).ok());
        integer(header.integer("PCOUNT")).filter(|bytes| *bytes > 0)?;
        let row = integer(header.indexed_integer("NAXIS", 1))?;
        let rows = integer(header.indexed_integer("NAXIS", 2))?;
        let start = integer(header.integer("THEAP")).or_else(|| row.checked_mul(rows))?;
        Some(Self { offset: data_offset.checked_add(start)?, len: data_len.checked_sub(start)? })
    }
}

impl Tiles {
    fn of(header: &Header) -> Option<Self> {
        let (descriptor_offset, descriptor_len) = tile_descriptor(header)?;
        let naxis = usize::try_from(header.integer("ZNAXIS")?).ok().filter(|n| *n <= MAX_INDEX)?;
        let axis = |n| u64::try_from(header.indexed_integer("ZNAXIS", n)?).ok();
        let shape: Vec<u64> = (1..=naxis).rev().map(axis).collect::<Option<_>>()?;
        let tile = |n| match header.indexed_integer("ZTILE", n) {
            Some(length) => u64::try_from(length).ok(),
            None if n == 1 => axis(1),
            None => Some(1),
        };
        Some(Self {
            descriptor_offset,
            descriptor_len,
            algorithm: header.text("ZCMPTYPE").map(str::to_owned),
            bitpix: header.integer("ZBITPIX")?,
            tile_shape: (1..=naxis).rev().map(tile).collect::<Option<_>>()?,
            shape,
        })
    }
}

/// Offset in the row and length of the descriptor of the tile, in bytes.
fn tile_descriptor(header: &Header) -> Option<(u64, u64)> {
    let tiles = column(header, TILE_COLUMN)?;
    let row = u64::try_from(header.indexed_integer("NAXIS", 1)?).ok()?;
    let fits = tiles.offset.checked_add(tiles.width)? <= row;
    (fits && matches!(tiles.code, b'P' | b'Q')).then_some((tiles.offset, tiles.width))
}

/// A column of a binary table.
pub(super) struct Column {
    /// Where it begins in the row, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub width: u64,
    /// The code of its type.
    pub code: u8,
}

/// The column of this name, if it and those before it have types that are known.
pub(super) fn column(header: &Header, name: &str) -> Option<Column> {
    let mut offset = 0_u64;
    for n in 1..=columns(header) {
        let format = column_format(header, n)?;
        let width = width(format)?;
        if header.indexed_text("TTYPE", n).is_some_and(|found| found.eq_ignore_ascii_case(name)) {
            return Some(Column { offset, width, code: format.1 });
        }
        offset = offset.checked_add(width)?;
    }
    None
}

/// `TFIELDS`: the number of columns.
fn columns(header: &Header) -> usize {
    header.integer("TFIELDS").and_then(|n| usize::try_from(n).ok()).unwrap_or(0).min(MAX_INDEX)
}

/// Repeat count and type code of column `n` of a binary table (FITS Standard 4.0, 7.3.1).
fn column_format(header: &Header, n: usize) -> Option<(u64, u8)> {
    let form = header.indexed_text("TFORM", n)?.trim_ascii_start();
    let code_at = form.find(|c: char| !c.is_ascii_digit())?;
    let (repeat, code) = form.split_at(code_at);
    let repeat = if repeat.is_empty() { 1 } else { repeat.parse().ok()? };
    Some((repeat, code.bytes().next()?.to_ascii_uppercase()))
}

/// Bytes that a column takes in a row (FITS Standard 4.0, table 18).
fn width((repeat, code): (u64, u8)) -> Option<u64> {
    let element = match code {
        b'X' => return Some(repeat.div_ceil(8)),
        b'L' | b'B' | b'A' => 1,
        b'I' => 2,
        b'J' | b'E' => 4,
        b'K' | b'D' | b'C' | b'P' => 8,
        b'M' | b'Q' => 16,
        _ => return None,
    };
    repeat.checked_mul(element)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fits::testing::hdu;

    fn compressed(extra: &[&str]) -> Table {
        let mut cards = vec![
            "XTENSION= 'BINTABLE'",
            "BITPIX  = 8",
            "NAXIS   = 2",
            "NAXIS1  = 31",
            "NAXIS2  = 100",
            "PCOUNT  = 5000",
            "GCOUNT  = 1",
            "TFIELDS = 4",
            "TTYPE1  = 'FLAGS'",
            "TFORM1  = '9X'",
            "TTYPE2  = 'GZIP_COMPRESSED_DATA'",
            "TFORM2  = '1PB(0)'",
            "TTYPE3  = 'COMPRESSED_DATA'",
            "TFORM3  = '1PB(777)'",
            "TTYPE4  = 'ZSCALE'",
            "TFORM4  = 'D'",
            "ZIMAGE  = T",
            "ZBITPIX = -32",
            "ZNAXIS  = 2",
            "ZNAXIS1 = 300",
            "ZNAXIS2 = 100",
        ];
        cards.extend(extra);
        hdu(&cards).unwrap().table.unwrap()
    }

    #[test]
    fn tile_descriptors_are_found_in_the_row() {
        let table = compressed(&["ZCMPTYPE= 'RICE_1'", "ZTILE1  = 60", "ZTILE2  = 50"]);
        let tiles = table.tiles.unwrap();
        assert_eq!((tiles.descriptor_offset, tiles.descriptor_len), (10, 8));
        assert_eq!((tiles.shape, tiles.tile_shape), (vec![100, 300], vec![50, 60]));
        assert_eq!((tiles.bitpix, tiles.algorithm.as_deref()), (-32, Some("RICE_1")));
        assert_eq!(table.heap, Some(Heap { offset: 2880 + 3100, len: 5000 }));
    }

    #[test]
    fn a_tile_is_a_row_by_default_and_the_heap_may_begin_later() {
        let table = compressed(&["THEAP   = 4000"]);
        assert_eq!(table.tiles.unwrap().tile_shape, [1, 300]);
        assert_eq!(table.heap, Some(Heap { offset: 2880 + 4000, len: 4100 }));
        assert_eq!(compressed(&["THEAP   = 9000"]).heap, None);
    }

    #[test]
    fn unreadable_columns_give_no_tiles() {
        assert_eq!(compressed(&["TFORM1  = '3Y'"]).tiles, None);
        assert_eq!(compressed(&["TFORM1  = '99999999999999999999B'"]).tiles, None);
        assert_eq!(compressed(&["TFORM3  = 'J'"]).tiles, None);
        assert_eq!(compressed(&["ZNAXIS2 = -1"]).tiles, None);
    }

    #[test]
    fn widths_follow_the_standard() {
        let table = [
            (b'L', 3, 3),
            (b'X', 17, 3),
            (b'B', 3, 3),
            (b'I', 3, 6),
            (b'J', 3, 12),
            (b'K', 3, 24),
            (b'A', 3, 3),
            (b'E', 3, 12),
            (b'D', 3, 24),
            (b'C', 3, 24),
            (b'M', 3, 48),
            (b'P', 1, 8),
            (b'Q', 1, 16),
        ];
        for (code, repeat, expected) in table {
            assert_eq!(width((repeat, code)), Some(expected), "{repeat}{}", char::from(code));
        }
        assert_eq!(width((1, b'?')), None);
    }

    #[test]
    fn logical_columns_are_noticed() {
        let table = |form: &str| {
            let form = format!("TFORM1  = '{form}'");
            let cards = [
                "XTENSION= 'BINTABLE'",
                "BITPIX  = 8",
                "NAXIS   = 2",
                "NAXIS1  = 1",
                "NAXIS2  = 1",
                "TFIELDS = 1",
                &form,
            ];
            hdu(&cards).unwrap().table.unwrap()
        };
        assert!(table("L").has_logical);
        assert!(!table("0L").has_logical);
        assert!(!table("J").has_logical);
    }
}
