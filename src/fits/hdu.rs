//! An HDU: where its header and data are, and the geometry by which programs walk through the data. The parts of an ASDF
//! file come in the same form, see [`crate::fits::asdf`].
//!
//! All offsets are absolute and in bytes from the start of the file, all lengths are in bytes.
//!
//! Invariants of an [`Hdu`] that a walk has made: `header_offset < data_offset`, `data_len <= data_span`, and
//! `data_offset + data_span` fits an `i64`, the type of a file offset; the header and the span of a FITS HDU are multiples of
//! 2,880. An `Hdu` may also come from a cache on disk, therefore its methods saturate and never rely on that.

use serde::{Deserialize, Serialize};

use super::header::{BLOCK_LEN, Header, HeaderError};
use super::kind::HduKind;
use super::table::Table;

/// One HDU of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hdu {
    /// Number of the HDU in its file; the primary HDU is 0. Block `n` of an ASDF file is number `n + 1`.
    pub index: usize,
    /// `EXTNAME` as spelled in the file; `PRIMARY` for a primary HDU without one (FITS Standard 4.0, 4.4.2.1). The keys on the
    /// way to a block's array in the tree, such as `roman.data`.
    pub name: Option<String>,
    /// `EXTVER`, 1 by default (4.4.2.1).
    pub version: i64,
    /// The type of the HDU.
    pub kind: HduKind,
    /// Where the header begins.
    pub header_offset: u64,
    /// Where the header ends and the data unit begins.
    pub data_offset: u64,
    /// Length of the data, without padding (4.4.1.1 eq. 1, 4.4.1.2 eq. 2, 6.1.1 eq. 4).
    pub data_len: u64,
    /// Length of the data unit with its padding to whole blocks (3.3.2).
    pub data_span: u64,
    /// `BITPIX`: bits of an element, negative for floating point (4.4.1.1).
    pub bitpix: i64,
    /// The axes in the order of an array's shape: `NAXISn` first, `NAXIS1`, which is contiguous, last. For a table these are
    /// its rows and the bytes of a row; for an ASDF block that is compressed, or of which the tree says nothing, its bytes.
    pub shape: Vec<u64>,
    /// `PCOUNT`: bytes of the heap of a table, parameters of a random group (4.4.1.2, 6.1.1).
    pub pcount: u64,
    /// `GCOUNT`: the number of random groups, else 1.
    pub gcount: u64,
    /// `BSCALE`, if present (4.4.2.5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bscale: Option<f64>,
    /// `BZERO`, if present (4.4.2.5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bzero: Option<f64>,
    /// `BLANK`, if present (4.4.2.5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blank: Option<i64>,
    /// What more there is to know of a table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<Table>,
}

impl Hdu {
    /// The HDU number `index` whose header of `header_len` bytes begins at `header_offset` in a file of `file_size` bytes.
    pub fn from_header(
        index: usize,
        header_offset: u64,
        header_len: u64,
        header: &Header,
        file_size: u64,
    ) -> Result<Self, HeaderError> {
        let kind = HduKind::of(header);
        let data_offset = header_offset.checked_add(header_len).ok_or(HeaderError::TooLarge)?;
        let size = DataSize::of(header, &kind)?;
        let data_len = if kind == HduKind::Nonstandard { file_size.saturating_sub(data_offset) } else { size.bytes()? };
        let data_span = data_len.checked_next_multiple_of(BLOCK_LEN).ok_or(HeaderError::TooLarge)?;
        data_offset.checked_add(data_span).filter(|end| i64::try_from(*end).is_ok()).ok_or(HeaderError::TooLarge)?;
        let is_primary = matches!(kind, HduKind::Primary | HduKind::RandomGroups);
        Ok(Self {
            index,
            name: header.name().or_else(|| is_primary.then(|| "PRIMARY".to_owned())),
            version: header.integer("EXTVER").unwrap_or(1),
            table: Table::of(header, &kind, data_offset, data_len),
            kind,
            header_offset,
            data_offset,
            data_len,
            data_span,
            bitpix: size.bitpix,
            shape: size.axes.into_iter().rev().collect(),
            pcount: size.pcount,
            gcount: size.gcount,
            bscale: header.float("BSCALE"),
            bzero: header.float("BZERO"),
            blank: header.integer("BLANK"),
        })
    }

    /// Length of the header in bytes.
    pub fn header_len(&self) -> u64 {
        self.data_offset.saturating_sub(self.header_offset)
    }

    /// Where the next header begins, if there is one.
    pub fn end(&self) -> u64 {
        self.data_offset.saturating_add(self.data_span)
    }

    /// Bytes of an element: a pixel of an image, 1 in a table.
    pub fn element_size(&self) -> u64 {
        self.bitpix.unsigned_abs() / 8
    }

    /// Bytes of a row: the contiguous axis of an image, a row of a table (of a tile table too), a group of random groups.
    pub fn row_len(&self) -> u64 {
        if self.kind == HduKind::RandomGroups {
            return self.data_len.checked_div(self.gcount).unwrap_or(0);
        }
        self.shape.last().map_or(0, |axis| axis.saturating_mul(self.element_size()))
    }

    /// The number of rows of [`Hdu::row_len`] bytes: those of all planes for an image, without the heap for a table.
    pub fn rows(&self) -> u64 {
        match self.shape.split_last() {
            Some(_) if self.kind == HduKind::RandomGroups => self.gcount,
            Some((_, outer)) => product(outer),
            None => 0,
        }
    }

    /// Bytes of a plane, the first two axes of an image; a whole table without its heap.
    pub fn plane_len(&self) -> u64 {
        let height = self.shape.iter().rev().nth(1).copied().unwrap_or(1);
        let height = if self.kind == HduKind::RandomGroups { 1 } else { height };
        self.row_len().saturating_mul(height)
    }

    /// The number of planes of [`Hdu::plane_len`] bytes.
    pub fn planes(&self) -> u64 {
        match self.shape.len() {
            0 => 0,
            _ if self.kind == HduKind::RandomGroups => self.gcount,
            1 | 2 => 1,
            axes => product(&self.shape[..axes - 2]),
        }
    }

    /// Whether reading the values means computing them, for which common readers take in the whole data unit: integers with
    /// an offset, a scale or blanks.
    pub fn is_scaled(&self) -> bool {
        self.bzero.is_some_and(|zero| zero != 0.0)
            || self.bscale.is_some_and(|scale| scale != 1.0)
            || (self.blank.is_some() && self.bitpix > 0)
    }
}

/// The keywords that give the size of the data unit (FITS Standard 4.0, 4.4.1).
struct DataSize {
    bitpix: i64,
    /// `NAXIS1` first.
    axes: Vec<u64>,
    pcount: u64,
    gcount: u64,
    groups: bool,
}

impl DataSize {
    fn of(header: &Header, kind: &HduKind) -> Result<Self, HeaderError> {
        let naxis = optional_count(header, "NAXIS", 0)?;
        let naxis = usize::try_from(naxis).ok().filter(|n| *n <= super::header::MAX_INDEX);
        let naxis = naxis.ok_or_else(|| HeaderError::OutOfRange("NAXIS".to_owned()))?;
        let axis = |n| {
            let found = header.indexed_integer("NAXIS", n);
            found.ok_or_else(|| HeaderError::Unusable(format!("NAXIS{n}"))).and_then(|axis| count(axis, "NAXISn"))
        };
        let bitpix = header.integer("BITPIX");
        if bitpix.is_none() && (naxis > 0 || header.has("BITPIX")) {
            return Err(HeaderError::Unusable("BITPIX".to_owned()));
        }
        Ok(Self {
            bitpix: bitpix.unwrap_or(8),
            axes: (1..=naxis).map(axis).collect::<Result<_, _>>()?,
            pcount: optional_count(header, "PCOUNT", 0)?,
            gcount: optional_count(header, "GCOUNT", 1)?,
            groups: *kind == HduKind::RandomGroups,
        })
    }

    /// |BITPIX|/8 x GCOUNT x (PCOUNT + NAXIS1 x ... x NAXISn); the product leaves out NAXIS1 for random groups. PCOUNT and
    /// GCOUNT count wherever they stand, as they do for astropy; the standard knows them in extensions and random groups
    /// only.
    fn bytes(&self) -> Result<u64, HeaderError> {
        let axes = if self.groups { self.axes.get(1..).unwrap_or_default() } else { &self.axes };
        if axes.is_empty() {
            return Ok(0);
        }
        let elements = if axes.contains(&0) {
            Some(0)
        } else {
            axes.iter().try_fold(1_u64, |product, axis| product.checked_mul(*axis))
        };
        let bits = elements
            .map(|elements| u128::from(elements) + u128::from(self.pcount))
            .and_then(|elements| elements.checked_mul(u128::from(self.gcount)))
            .and_then(|elements| elements.checked_mul(u128::from(self.bitpix.unsigned_abs())));
        bits.and_then(|bits| u64::try_from(bits / 8).ok()).ok_or(HeaderError::TooLarge)
    }
}

fn optional_count(header: &Header, keyword: &str, default: u64) -> Result<u64, HeaderError> {
    if !header.has(keyword) {
        return Ok(default);
    }
    let found = header.integer(keyword).ok_or_else(|| HeaderError::Unusable(keyword.to_owned()))?;
    count(found, keyword)
}

fn count(value: i64, keyword: &str) -> Result<u64, HeaderError> {
    u64::try_from(value).map_err(|_| HeaderError::OutOfRange(keyword.to_owned()))
}

fn product(axes: &[u64]) -> u64 {
    axes.iter().fold(1, |product: u64, axis| product.saturating_mul(*axis))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fits::testing::{IMAGE, SIMPLE, hdu};

    #[test]
    fn geometry_of_a_cube() {
        let cube = hdu(&[
            IMAGE,
            "BITPIX  = -64",
            "NAXIS   = 4",
            "NAXIS1  = 30",
            "NAXIS2  = 20",
            "NAXIS3  = 5",
            "NAXIS4  = 2",
            "PCOUNT  = 0",
            "GCOUNT  = 1",
        ])
        .unwrap();
        assert_eq!((cube.kind.clone(), cube.shape.clone()), (HduKind::Image, vec![2, 5, 20, 30]));
        assert_eq!((cube.data_len, cube.data_span), (48_000, 48_960));
        assert_eq!((cube.element_size(), cube.row_len(), cube.rows()), (8, 240, 200));
        assert_eq!((cube.plane_len(), cube.planes()), (4800, 10));
    }

    #[test]
    fn geometry_of_a_table() {
        let cards = ["XTENSION= 'BINTABLE'", "BITPIX  = 8", "NAXIS   = 2", "NAXIS1  = 155", "NAXIS2  = 1000"];
        let table = hdu(&[&cards[..], &["PCOUNT  = 77", "TFIELDS = 9"]].concat()).unwrap();
        assert_eq!((table.data_len, table.row_len(), table.rows()), (155_077, 155, 1000));
        assert_eq!((table.plane_len(), table.planes()), (155_000, 1));
        assert_eq!(table.table.unwrap().columns, 9);
    }

    #[test]
    fn random_groups_leave_out_naxis1() {
        let groups = hdu(&[
            SIMPLE,
            "BITPIX  = -32",
            "NAXIS   = 3",
            "NAXIS1  = 0",
            "NAXIS2  = 3",
            "NAXIS3  = 4",
            "GROUPS  = T",
            "PCOUNT  = 6",
            "GCOUNT  = 100",
        ])
        .unwrap();
        assert_eq!((groups.kind.clone(), groups.data_len), (HduKind::RandomGroups, 4 * 100 * (6 + 12)));
        assert_eq!((groups.row_len(), groups.rows(), groups.planes()), (72, 100, 100));
        assert_eq!(groups.name.as_deref(), Some("PRIMARY"));
    }

    #[test]
    fn unusable_sizes_are_refused() {
        let refused = |cards: &[&str]| hdu(&[&[IMAGE], cards].concat()).unwrap_err();
        assert_eq!(refused(&["NAXIS   = 1", "NAXIS1  = 1"]), HeaderError::Unusable("BITPIX".to_owned()));
        assert_eq!(refused(&["BITPIX  = 8", "NAXIS   = 1"]), HeaderError::Unusable("NAXIS1".to_owned()));
        assert_eq!(refused(&["BITPIX  = 8", "NAXIS   = 'x'"]), HeaderError::Unusable("NAXIS".to_owned()));
        assert_eq!(
            refused(&["BITPIX  = 8", "NAXIS   = 0", "PCOUNT  = 1  2"]),
            HeaderError::Unusable("PCOUNT".to_owned())
        );
        assert_eq!(refused(&["BITPIX  = 8 8", "NAXIS   = 0"]), HeaderError::Unusable("BITPIX".to_owned()));
        assert_eq!(refused(&["BITPIX  = 8", "NAXIS   = -1"]), HeaderError::OutOfRange("NAXIS".to_owned()));
        assert_eq!(refused(&["BITPIX  = 8", "NAXIS   = 1000"]), HeaderError::OutOfRange("NAXIS".to_owned()));
        let huge = "4611686018427387904";
        let (one, two) = (format!("NAXIS1  = {huge}"), format!("NAXIS2  = {huge}"));
        assert_eq!(refused(&["BITPIX  = 8", "NAXIS   = 2", &one, &two]), HeaderError::TooLarge);
        assert_eq!(refused(&["BITPIX  = 64", "NAXIS   = 1", &one]), HeaderError::TooLarge);
        assert_eq!(hdu(&[IMAGE, "BITPIX  = 8", "NAXIS   = 3", &one, &two, "NAXIS3  = 0"]).unwrap().data_len, 0);
    }

    #[test]
    fn scaled_data_are_noticed() {
        let scaled = |card: &str| hdu(&[IMAGE, "BITPIX  = 16", card]).unwrap().is_scaled();
        assert!(scaled("BZERO   = 32768") && scaled("BSCALE  = 0.5") && scaled("BLANK   = -1"));
        assert!(!scaled("BZERO   = 0.0") && !scaled("BSCALE  = 1.0") && !scaled("EXTVER  = 1"));
    }

    proptest! {
        #[test]
        fn any_sizes_are_handled(
            bitpix: i64, pcount: i64, gcount: i64, groups: bool,
            axes in prop::collection::vec(prop_oneof![any::<i64>(), 0_i64..5000], 0..6),
        ) {
            let mut cards = vec![SIMPLE.to_owned(), format!("BITPIX  = {bitpix}"), format!("NAXIS   = {}", axes.len())];
            cards.extend(axes.iter().enumerate().map(|(n, axis)| format!("NAXIS{:<3}= {axis}", n + 1)));
            cards.push(format!("PCOUNT  = {pcount}"));
            cards.push(format!("GCOUNT  = {gcount}"));
            cards.push(format!("GROUPS  = {}", if groups { "T" } else { "F" }));
            if let Ok(hdu) = hdu(&cards) {
                prop_assert!(hdu.data_len <= hdu.data_span && i64::try_from(hdu.end()).is_ok());
                let _ = (hdu.row_len(), hdu.rows(), hdu.plane_len(), hdu.planes(), crate::fits::render::shape(&hdu));
            }
        }

        #[test]
        fn planes_and_rows_make_up_the_data(axes in prop::collection::vec(0_u64..50, 1..5)) {
            let mut cards = vec![IMAGE.to_owned(), "BITPIX  = 32".to_owned(), format!("NAXIS   = {}", axes.len())];
            cards.extend(axes.iter().enumerate().map(|(n, axis)| format!("NAXIS{:<3}= {axis}", n + 1)));
            let hdu = hdu(&cards).unwrap();
            prop_assert_eq!(hdu.row_len() * hdu.rows(), hdu.data_len);
            prop_assert_eq!(hdu.plane_len() * hdu.planes(), hdu.data_len);
        }
    }
}
