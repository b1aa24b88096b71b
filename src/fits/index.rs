//! The index of the HDUs that Rubin's `lsst.images` writes into its files.
//!
//! Cards of the primary header give the place of a binary table at the end of the file, whose rows tell of all HDUs
//! before it: `HDRADDR` and `DATADDR`, where header and data begin. A reader of such a file fetches that table and the
//! one before it, which describes the object in JSON (`JSONADDR`, `JSONSIZE`), before anything else.
//!
//! An index is a guess like any other: the walk along the headers proves it.

use std::ops::Range;

use super::header::{Header, Parsed, parse};
use super::table::column;

/// Longer indices are not read, in bytes: this one has some 30,000 rows.
const MAX_INDEX_LEN: u64 = 2 << 20;

/// Where a file says that its index is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexPlace {
    /// The table of HDUs with its header: bytes from the start of the file.
    pub table: Range<u64>,
    /// The table that describes the object.
    pub tree: Option<Range<u64>>,
}

impl IndexPlace {
    /// What the primary header says of an index, if it lies within the file.
    pub(super) fn of(primary: &Header, file_size: u64) -> Option<Self> {
        let range = |address: &str, size: &str| {
            let start = u64::try_from(primary.integer(address)?).ok()?;
            let len = u64::try_from(primary.integer(size)?).ok().filter(|len| *len > 0)?;
            let end = start.checked_add(len).filter(|end| *end <= file_size)?;
            Some(start..end)
        };
        let table = range("INDXADDR", "INDXSIZE").filter(|table| table.end - table.start <= MAX_INDEX_LEN)?;
        Some(Self { table, tree: range("JSONADDR", "JSONSIZE") })
    }

    /// The places of all headers by the bytes of the table: ascending, the table's own last.
    pub fn headers(&self, table: &[u8]) -> Option<Vec<Range<u64>>> {
        let Parsed::Complete(header, len) = parse(table) else { return None };
        let row = usize::try_from(header.indexed_integer("NAXIS", 1)?).ok().filter(|row| *row > 0)?;
        let rows = usize::try_from(header.indexed_integer("NAXIS", 2)?).ok()?;
        let integers = |name: &str| column(&header, name).filter(|found| found.code == b'K' && found.width == 8);
        let (from, to) = (integers("HDRADDR")?.offset, integers("DATADDR")?.offset);
        let data = table.get(usize::try_from(len).ok()?..)?;
        let at = |row: &[u8], offset: u64| {
            let offset = usize::try_from(offset).ok()?;
            Some(u64::from_be_bytes(row.get(offset..offset.checked_add(8)?)?.try_into().ok()?))
        };
        let range = |row: &[u8]| Some(at(row, from)?..at(row, to)?);
        let mut headers: Vec<_> = data.chunks_exact(row).take(rows).map(range).collect::<Option<_>>()?;
        headers.push(self.table.start..self.table.start.saturating_add(len));
        headers.is_sorted_by(|a, b| a.start < a.end && a.end <= b.start).then_some(headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fits::testing::{SIMPLE, header_bytes};

    /// An index table as `lsst.images` writes it.
    fn table(headers: &[Range<u64>]) -> Vec<u8> {
        let mut bytes = header_bytes(&[
            "XTENSION= 'BINTABLE'".to_owned(),
            "BITPIX  = 8".to_owned(),
            "NAXIS   = 2".to_owned(),
            "NAXIS1  = 41".to_owned(),
            format!("NAXIS2  = {}", headers.len()),
            "PCOUNT  = 0".to_owned(),
            "GCOUNT  = 1".to_owned(),
            "TFIELDS = 6".to_owned(),
            "TTYPE1  = 'EXTNAME '".to_owned(),
            "TFORM1  = '8A      '".to_owned(),
            "TTYPE2  = 'XTENSION'".to_owned(),
            "TFORM2  = '8A      '".to_owned(),
            "TTYPE3  = 'ZIMAGE  '".to_owned(),
            "TFORM3  = 'L       '".to_owned(),
            "TTYPE4  = 'HDRADDR '".to_owned(),
            "TFORM4  = 'K       '".to_owned(),
            "TTYPE5  = 'DATADDR '".to_owned(),
            "TFORM5  = 'K       '".to_owned(),
            "TTYPE6  = 'DATSIZE '".to_owned(),
            "TFORM6  = 'K       '".to_owned(),
        ]);
        for header in headers {
            bytes.extend(b"IMAGE   BINTABLET");
            bytes.extend([header.start, header.end, 2880].into_iter().flat_map(u64::to_be_bytes));
        }
        bytes.resize(bytes.len().next_multiple_of(2880), 0);
        bytes
    }

    fn place(cards: &[&str]) -> Option<IndexPlace> {
        match parse(&header_bytes(&[&[SIMPLE], cards].concat())) {
            Parsed::Complete(header, _) => IndexPlace::of(&header, 1 << 30),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_index_gives_the_places_of_all_headers() {
        let place = place(&["INDXADDR= 90000", "INDXSIZE= 5760", "JSONADDR= 80000", "JSONSIZE= 10000"]).unwrap();
        assert_eq!((place.table.clone(), place.tree.clone()), (90_000..95_760, Some(80_000..90_000)));
        let headers = [0..2880, 5760..8640, 80_000..82_880];
        let found = place.headers(&table(&headers)).unwrap();
        assert_eq!((&found[..3], found[3].clone()), (&headers[..], 90_000..92_880));
        assert_eq!(found.len(), 4);
    }

    #[test]
    fn what_is_no_index_is_none() {
        assert_eq!(place(&["INDXADDR= 90000"]), None);
        assert_eq!(place(&["INDXADDR= 1073741000", "INDXSIZE= 5760"]), None);
        assert_eq!(place(&["INDXADDR= 90000", "INDXSIZE= 5000000"]), None);
        let place = place(&["INDXADDR= 90000", "INDXSIZE= 5760"]).unwrap();
        for unordered in [[5760..8640, 0..2880], [0..2880, 2000..2001]] {
            assert_eq!(place.headers(&table(&unordered)), None);
        }
        assert_eq!(place.headers(&header_bytes(&["XTENSION= 'BINTABLE'"])), None);
        assert_eq!(place.headers(b"XTENSION"), None);
    }
}
