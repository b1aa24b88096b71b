//! Files as programs see them: where their HDUs are, and the bytes of what tells so. All other bytes are zeros.

use std::ops::Range;

use bytes::Bytes;

/// A FITS block (FITS Standard 4.0, 3.1).
pub const BLOCK: u64 = 2880;

/// A file.
#[derive(Clone, Debug)]
pub struct File {
    /// What it is like, for reports.
    pub layout: &'static str,
    /// Files of one number are of one class: they have the same place and ending.
    pub class: usize,
    /// Whether its name is that of a FITS file.
    pub is_fits: bool,
    /// Bytes.
    pub size: u64,
    /// Its HDUs, in order; none if it is no FITS file.
    pub hdus: Vec<Unit>,
}

/// One HDU.
#[derive(Clone, Debug)]
pub struct Unit {
    /// Where the header is.
    pub header: Range<u64>,
    /// Where the data are, without the padding to whole blocks.
    pub data: Range<u64>,
    /// What they are.
    pub form: Form,
    cards: Bytes,
}

/// What the data of an HDU are.
#[derive(Clone, Debug)]
pub enum Form {
    /// None.
    Empty,
    /// An array.
    Image {
        /// The lengths of its axes, the contiguous one first.
        axes: Vec<u64>,
        /// Bytes of an element.
        element: u64,
    },
    /// A binary table.
    Table {
        /// Bytes of a row.
        row: u64,
        /// Rows.
        rows: u64,
        /// Where the columns are in a row.
        columns: Vec<Range<u64>>,
        /// Its variable-length arrays.
        arrays: Option<Arrays>,
    },
    /// An image that is compressed in tiles.
    Tiled {
        /// Tiles in a row of the grid, and rows of tiles.
        grid: (u64, u64),
        /// The tiles, as the arrays of a table with a row for each.
        arrays: Arrays,
    },
}

/// Arrays of different lengths in the heap of a table: 64-bit descriptors stand in the rows (FITS Standard 4.0, 7.3.5).
#[derive(Clone, Debug)]
pub struct Arrays {
    /// Bytes of a row of the table.
    pub row: u64,
    /// Where in a row the descriptor is.
    pub at: u64,
    /// Where the arrays are, counted from the start of the heap: in the order of the rows, the ends of them.
    pub ends: Vec<u64>,
    /// Where the heap begins in the file.
    pub heap: u64,
}

impl Arrays {
    /// Where the array of a row is in the file.
    pub fn of(&self, row: u64) -> Range<u64> {
        let row = row as usize;
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        self.heap + start..self.heap + self.ends[row]
    }

    fn write(&self, table: u64, range: &Range<u64>, into: &mut [u8]) {
        let rows = range.start.saturating_sub(table) / self.row..self.ends.len() as u64;
        for row in rows {
            let at = table + row * self.row + self.at;
            if at >= range.end {
                break;
            }
            let array = self.of(row);
            let descriptor = u128::from(array.end - array.start) << 64 | u128::from(array.start - self.heap);
            copy(&descriptor.to_be_bytes(), at, range, into);
        }
    }
}

impl File {
    /// The bytes of a range within the file.
    pub fn bytes(&self, range: &Range<u64>) -> Bytes {
        let mut bytes = vec![0; (range.end - range.start) as usize];
        let first = self.hdus.partition_point(|hdu| hdu.data.end <= range.start && hdu.header.end <= range.start);
        for hdu in self.hdus[first..].iter().take_while(|hdu| hdu.header.start < range.end) {
            copy(&hdu.cards, hdu.header.start, range, &mut bytes);
            if let Form::Table { arrays: Some(arrays), .. } | Form::Tiled { arrays, .. } = &hdu.form {
                arrays.write(hdu.data.start, range, &mut bytes);
            }
        }
        bytes.into()
    }
}

/// Copies what of `bytes`, which stand at `at` in the file, is within `range`.
fn copy(bytes: &[u8], at: u64, range: &Range<u64>, into: &mut [u8]) {
    let (from, to) = (at.max(range.start), (at + bytes.len() as u64).min(range.end));
    if from < to {
        into[(from - range.start) as usize..(to - range.start) as usize]
            .copy_from_slice(&bytes[(from - at) as usize..(to - at) as usize]);
    }
}

/// Writes a FITS file HDU by HDU.
#[derive(Debug, Default)]
pub struct Writer {
    hdus: Vec<Unit>,
    end: u64,
}

impl Writer {
    /// An array of `axes`, the contiguous one first, of elements of `bitpix` bits, with so many cards more than it needs.
    /// The first HDU of a file is its primary one.
    pub fn image(&mut self, axes: &[u64], bitpix: i64, more: usize) {
        let mut cards = self.first("IMAGE");
        cards.push(card("BITPIX", bitpix));
        cards.push(card("NAXIS", axes.len()));
        cards.extend(axes.iter().enumerate().map(|(n, axis)| card(&format!("NAXIS{}", n + 1), axis)));
        let element = bitpix.unsigned_abs() / 8;
        let bytes = if axes.is_empty() { 0 } else { axes.iter().product::<u64>() * element };
        let form = if bytes == 0 { Form::Empty } else { Form::Image { axes: axes.to_vec(), element } };
        self.add(cards, more, bytes, form);
    }

    /// A table with columns of so many bytes each and, if there are `lengths`, a last column with an array for each row.
    pub fn table(&mut self, widths: &[u64], rows: u64, lengths: Option<&[u64]>, more: usize) {
        let mut at = 0;
        let columns = widths.iter().map(|width| {
            at += width;
            at - width..at
        });
        let columns: Vec<Range<u64>> = columns.collect();
        let mut forms: Vec<String> = widths.iter().map(|width| format!("{width}B")).collect();
        let row = at + if lengths.is_some() { 16 } else { 0 };
        forms.extend(lengths.map(|_| "1QD(0)".to_owned()));
        let (arrays, heap) = lengths.map(|lengths| self.arrays(row, at, lengths)).unzip();
        let heap = heap.unwrap_or(0);
        let cards = self.table_cards(row, rows, heap, &forms);
        self.add(cards, more, row * rows + heap, Form::Table { row, rows, columns, arrays });
    }

    /// An image of two axes that is compressed in tiles of so many bytes each, row by row of the grid.
    pub fn tiled(&mut self, shape: (u64, u64), tile: (u64, u64), lengths: &[u64], more: usize) {
        let (arrays, heap) = self.arrays(16, 0, lengths);
        let mut cards = self.table_cards(16, lengths.len() as u64, heap, &["1QB(0)".to_owned()]);
        cards.push(text_card("TTYPE1", "COMPRESSED_DATA"));
        cards.push(card("ZIMAGE", "T"));
        cards.push(card("ZBITPIX", -32));
        cards.push(card("ZNAXIS", 2));
        for (key, value) in [("ZNAXIS1", shape.0), ("ZNAXIS2", shape.1), ("ZTILE1", tile.0), ("ZTILE2", tile.1)] {
            cards.push(card(key, value));
        }
        cards.push(text_card("ZCMPTYPE", "RICE_1"));
        let grid = (shape.0.div_ceil(tile.0), shape.1.div_ceil(tile.1));
        self.add(cards, more, 16 * lengths.len() as u64 + heap, Form::Tiled { grid, arrays });
    }

    /// The file.
    pub fn finish(self, layout: &'static str) -> File {
        let mut file = File { layout, class: 0, is_fits: true, size: self.end, hdus: self.hdus };
        for hdu in &mut file.hdus {
            let data = hdu.data.start;
            if let Form::Table { row, rows, arrays: Some(arrays), .. } = &mut hdu.form {
                arrays.heap = data + *row * *rows;
            }
            if let Form::Tiled { arrays, .. } = &mut hdu.form {
                arrays.heap = data + 16 * arrays.ends.len() as u64;
            }
        }
        file
    }

    fn arrays(&self, row: u64, at: u64, lengths: &[u64]) -> (Arrays, u64) {
        let mut end = 0;
        let ends = lengths.iter().map(|length| {
            end += length;
            end
        });
        let ends = ends.collect();
        (Arrays { row, at, ends, heap: 0 }, end)
    }

    fn table_cards(&self, row: u64, rows: u64, heap: u64, forms: &[String]) -> Vec<String> {
        let mut cards = self.first("BINTABLE");
        cards.push(card("BITPIX", 8));
        cards.push(card("NAXIS", 2));
        for (key, value) in [("NAXIS1", row), ("NAXIS2", rows), ("PCOUNT", heap), ("GCOUNT", 1)] {
            cards.push(card(key, value));
        }
        cards.push(card("TFIELDS", forms.len()));
        cards.extend(forms.iter().enumerate().map(|(n, form)| text_card(&format!("TFORM{}", n + 1), form)));
        cards
    }

    fn first(&self, extension: &str) -> Vec<String> {
        vec![if self.hdus.is_empty() { card("SIMPLE", "T") } else { text_card("XTENSION", extension) }]
    }

    fn add(&mut self, mut cards: Vec<String>, more: usize, bytes: u64, form: Form) {
        cards.extend((0..more).map(|n| card(&format!("K{n}"), n)));
        cards.push("END".to_owned());
        let mut header: Vec<u8> = cards.iter().flat_map(|card| format!("{card:<80}").into_bytes()).collect();
        header.resize(header.len().next_multiple_of(BLOCK as usize), b' ');
        let start = self.end;
        let data = start + header.len() as u64;
        self.end = data + bytes.next_multiple_of(BLOCK);
        self.hdus.push(Unit { header: start..data, data: data..data + bytes, form, cards: header.into() });
    }
}

fn card(key: &str, value: impl std::fmt::Display) -> String {
    format!("{key:<8}= {value:>20}")
}

fn text_card(key: &str, value: &str) -> String {
    format!("{key:<8}= '{value:<8}'")
}

#[cfg(test)]
mod tests {
    use super::*;
    use fitsfs::fits::{Chain, HduKind, Need};

    #[test]
    fn the_planner_sees_the_layout_that_programs_read() {
        let mut writer = Writer::default();
        writer.image(&[], 8, 300);
        writer.image(&[1000, 300, 4], -32, 20);
        writer.tiled((1000, 500), (100, 100), &[700; 50], 0);
        writer.table(&[8, 100], 40, Some(&[80; 40]), 0);
        let file = writer.finish("test");
        let mut chain = Chain::new(file.size);
        while let Need::Bytes { offset, len } = chain.need() {
            assert!(chain.feed(offset, &file.bytes(&(offset..offset + len))));
        }
        let layout = chain.into_layout();
        assert_eq!(layout.hdus.len(), 4);
        for (known, real) in layout.hdus.iter().zip(&file.hdus) {
            assert_eq!(known.header_offset..known.data_offset, real.header);
            assert_eq!(known.data_len, real.data.end - real.data.start);
        }
        assert_eq!(layout.hdus[2].kind, HduKind::CompressedImage);
        assert!(layout.hdus[2].table.as_ref().is_some_and(|table| table.tiles.is_some()));
        let Form::Tiled { arrays, .. } = &file.hdus[2].form else { panic!("tiles") };
        let descriptor = arrays.heap - 16..arrays.heap;
        assert_eq!(file.bytes(&descriptor)[..], [700_u64.to_be_bytes(), (49_u64 * 700).to_be_bytes()].concat());
        assert_eq!(layout.hdus[3].table.as_ref().and_then(|t| t.heap.as_ref()).map(|heap| heap.offset), {
            let Form::Table { arrays: Some(arrays), .. } = &file.hdus[3].form else { panic!("arrays") };
            Some(arrays.heap)
        });
    }
}
