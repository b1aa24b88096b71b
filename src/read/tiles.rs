//! Readers of images that are compressed in tiles: the table of descriptors tells where each tile is.
//!
//! Programs decompress the tiles that a cutout needs, row by row of the grid of tiles, and each row lies far from the
//! last one in the heap (FITS Standard 4.0, 10.1). With the first tile touched, the tiles beside it and those below
//! them are fetched as they lie, in one round.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::stride::PAGE;
use crate::fits::Hdu;

/// Tables of up to this many bytes of descriptors are read: 100,000 tiles with two columns each.
const MAX_TABLE: u64 = 2 << 20;

/// The first guess of a cutout, in tiles: a few hundred pixels each way where tiles have a hundred.
const FIRST_ROWS: u64 = 4;
const FIRST_COLUMNS: u64 = 4;

/// Not more tiles than this are planned at once, nor more bytes, but for one row of them.
const MAX_TILES: u64 = 4096;
const MAX_BYTES: u64 = 32 << 20;

/// Where the tiles of an HDU are.
#[derive(Debug)]
pub(super) struct Tiles {
    /// The place of each tile, absolute and in bytes; empty where the descriptor makes no sense.
    places: Vec<Range<u64>>,
    /// Tiles in a row of the grid.
    pub columns: u64,
}

/// The reader of the tiles of one HDU.
#[derive(Debug)]
pub(super) struct TileReader {
    /// Which HDU.
    pub hdu: usize,
    tiles: Arc<Tiles>,
    /// Where the cutout begins, how wide it is, and up to which row it is planned.
    cutout: Option<Cutout>,
    /// All columns are read: that is a stream.
    whole: bool,
}

#[derive(Debug)]
struct Cutout {
    first: u64,
    width: u64,
    top: u64,
    planned: u64,
}

/// The rows of the table of tile descriptors of a compressed image, if it is of a size to be read.
pub(super) fn descriptors(hdu: &Hdu) -> Option<Range<u64>> {
    let table = hdu.table.as_ref()?;
    table.tiles.as_ref()?;
    table.heap.as_ref()?;
    let bytes = hdu.row_len().checked_mul(hdu.rows())?;
    (bytes > 0 && bytes <= MAX_TABLE && bytes <= hdu.data_len).then(|| hdu.data_offset..hdu.data_offset + bytes)
}

impl Tiles {
    /// The tiles of an HDU, given the bytes of [`descriptors`].
    pub fn new(hdu: &Hdu, table: &Bytes) -> Option<Self> {
        let (tiles, heap) = (hdu.table.as_ref()?.tiles.as_ref()?, hdu.table.as_ref()?.heap.as_ref()?);
        let (image, tile) = (*tiles.shape.last()?, *tiles.tile_shape.last()?);
        let at = usize::try_from(tiles.descriptor_offset).ok()?;
        let long = tiles.descriptor_len == 16;
        let rows = table.chunks_exact(usize::try_from(hdu.row_len()).ok().filter(|row| *row > 0)?);
        let end = heap.offset.checked_add(heap.len)?;
        let tile_of = |row: &[u8]| {
            let (length, offset) = descriptor(row.get(at..)?, long)?;
            let start = heap.offset.checked_add(offset).filter(|start| *start < end)?;
            Some(start..start.checked_add(length)?.min(end))
        };
        let columns = image.div_ceil(tile.max(1));
        Some(Self { places: rows.map(|row| tile_of(row).unwrap_or(0..0)).collect(), columns })
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.places.len() as u64
    }

    /// The tiles that lie within a range of the file, as far as they come in order there; or the one that the range lies
    /// within.
    pub fn within(&self, range: &Range<u64>) -> Range<u64> {
        let from = self.places.partition_point(|tile| tile.start < range.start);
        let to = self.places.partition_point(|tile| tile.end <= range.end);
        if from < to {
            return from as u64..to as u64;
        }
        let middle = range.start.midpoint(range.end);
        let around = self.places.partition_point(|tile| tile.end <= middle);
        let is_around = self.places.get(around).is_some_and(|tile| tile.contains(&middle));
        around as u64..around as u64 + u64::from(is_around)
    }

    /// Where these tiles are, neighbours as one range.
    pub fn ranges(&self, tiles: Range<u64>) -> Vec<Range<u64>> {
        let index = |tile: u64| usize::try_from(tile).unwrap_or(usize::MAX).min(self.places.len());
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for tile in self.places[index(tiles.start)..index(tiles.end)].iter().filter(|tile| tile.start < tile.end) {
            match ranges.last_mut() {
                Some(last) if last.end == tile.start => last.end = tile.end,
                _ => ranges.push(tile.clone()),
            }
        }
        ranges
    }
}

impl TileReader {
    /// A reader of the tiles of an HDU.
    pub fn new(hdu: &Hdu, tiles: Arc<Tiles>) -> Self {
        // Where a tile is as wide as the image, those of a cutout lie one behind the other: that is a stream.
        let whole = tiles.columns <= 1;
        Self { hdu: hdu.index, tiles, cutout: None, whole }
    }

    /// An HDU whose tiles are not followed: it is read as a stream.
    pub fn streamed(hdu: &Hdu) -> Self {
        Self { hdu: hdu.index, tiles: Arc::new(Tiles { places: Vec::new(), columns: 1 }), cutout: None, whole: true }
    }

    /// Whether a cutout is being read.
    pub fn has_cutout(&self) -> bool {
        self.cutout.is_some()
    }

    /// What was planned was not fetched.
    pub fn forget_cutout(&mut self) {
        self.cutout = None;
    }

    /// What else to fetch when a program touches the heap at `offset`: whole pages. None if no tile is there, or if the program
    /// begins with the first of all tiles, which readers of the whole image do.
    pub fn advance(&mut self, offset: u64) -> Option<Vec<Range<u64>>> {
        let tile = self.tile_at(offset).filter(|_| !self.whole)?;
        let (row, column) = (tile / self.tiles.columns, tile % self.tiles.columns);
        let inside =
            self.cutout.as_ref().is_some_and(|c| row >= c.top && column >= c.first && column < c.first + 2 * c.width);
        if !inside {
            if tile == 0 {
                return None;
            }
            let rows = row..row + FIRST_ROWS;
            self.cutout = Some(Cutout { first: column, width: FIRST_COLUMNS, top: row, planned: rows.end });
            return Some(self.pages(rows, column..column + FIRST_COLUMNS));
        }
        let cutout = self.cutout.as_mut()?;
        if column >= cutout.first + cutout.width {
            // The cutout is wider than it was taken for: the columns that are missing in the rows to come.
            let more = cutout.first + cutout.width..cutout.first + 2 * cutout.width;
            cutout.width *= 2;
            if cutout.width >= self.tiles.columns {
                self.whole = true;
                return None;
            }
            let rows = row..cutout.planned;
            return Some(self.pages(rows, more));
        }
        if row < cutout.planned {
            return Some(Vec::new());
        }
        let rows = row..row + (cutout.planned.saturating_sub(cutout.top)).max(FIRST_ROWS);
        let columns = cutout.first..cutout.first + cutout.width;
        let pages = self.pages(rows, columns);
        self.cutout.as_mut()?.planned = row + pages.len().max(1) as u64;
        Some(pages)
    }

    /// The tile that a program wants in the page at `offset`: the first that begins there, or else the one that goes
    /// through it.
    fn tile_at(&self, offset: u64) -> Option<u64> {
        // Writers put the tiles into the heap in their order; where one has not, no tile is found or a wrong one, which
        // costs speed only.
        let through = self.tiles.places.partition_point(|tile| tile.end <= offset);
        let begins =
            |index: &usize| self.tiles.places.get(*index).is_some_and(|t| (offset..offset + PAGE).contains(&t.start));
        let holds = |index: &usize| self.tiles.places.get(*index).is_some_and(|tile| tile.contains(&offset));
        let begun = [through, through + 1].into_iter().find(begins);
        begun.or(Some(through).filter(holds)).map(|index| index as u64)
    }

    fn pages(&self, rows: Range<u64>, columns: Range<u64>) -> Vec<Range<u64>> {
        let columns = columns.start..columns.end.min(self.tiles.columns);
        let run = |row: u64| {
            let (from, to) = (row * self.tiles.columns + columns.start, row * self.tiles.columns + columns.end);
            let tiles = self.tiles.places.get(usize::try_from(from).ok()?..usize::try_from(to).ok()?)?;
            let start = tiles.iter().map(|tile| tile.start).min()?;
            let end = tiles.iter().map(|tile| tile.end).max()?;
            // Tiles that are not in order would make a span of nearly everything.
            let bytes = tiles.iter().fold(0_u64, |sum, tile| sum.saturating_add(tile.end - tile.start));
            (start < end && end - start <= bytes.saturating_mul(2))
                .then(|| start / PAGE * PAGE..end.next_multiple_of(PAGE))
        };
        let few = rows.take((MAX_TILES / columns.end.saturating_sub(columns.start).max(1)) as usize);
        let mut bytes = 0_u64;
        let has_room = |range: &Range<u64>| {
            let is_first = bytes == 0;
            bytes = bytes.saturating_add(range.end - range.start);
            is_first || bytes <= MAX_BYTES
        };
        few.map_while(run).take_while(has_room).collect()
    }
}

/// Length and heap offset in an array descriptor of 32-bit or 64-bit integers (FITS Standard 4.0, 7.3.5).
fn descriptor(bytes: &[u8], long: bool) -> Option<(u64, u64)> {
    let number = |at: usize| match long {
        true => Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?)),
        false => Some(u64::from(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))),
    };
    Some((number(0)?, number(if long { 8 } else { 4 })?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fits::Chain;

    const TILE: u64 = 8000;
    const GRID: (u64, u64) = (50, 20);

    /// The compressed image of a file: 50 rows of 20 tiles, of 8,000 bytes each.
    fn image() -> Hdu {
        let primary =
            ["SIMPLE  =                    T", "BITPIX  =                    8", "NAXIS   =                    0"];
        let count = format!("NAXIS2  = {:>20}", GRID.0 * GRID.1);
        let heap = format!("PCOUNT  = {:>20}", GRID.0 * GRID.1 * TILE);
        let table = [
            "XTENSION= 'BINTABLE'",
            "BITPIX  =                    8",
            "NAXIS   =                    2",
            "NAXIS1  =                    8",
            &count,
            &heap,
            "GCOUNT  =                    1",
            "TFIELDS =                    1",
            "TTYPE1  = 'COMPRESSED_DATA'",
            "TFORM1  = '1PB(8000)'",
            "ZIMAGE  =                    T",
            "ZCMPTYPE= 'RICE_1  '",
            "ZBITPIX =                   16",
            "ZNAXIS  =                    2",
            "ZNAXIS1 =                 2000",
            "ZNAXIS2 =                 5000",
            "ZTILE1  =                  100",
            "ZTILE2  =                  100",
        ];
        let header = |cards: &[&str]| {
            let mut bytes: Vec<u8> =
                cards.iter().chain(&["END"]).flat_map(|card| format!("{card:<80}").into_bytes()).collect();
            bytes.resize(bytes.len().next_multiple_of(2880), b' ');
            bytes
        };
        let mut chain = Chain::new(20 << 20);
        chain.feed(0, &[header(&primary), header(&table)].concat());
        chain.layout_so_far().hdus[1].clone()
    }

    fn reader(hdu: &Hdu) -> TileReader {
        let tiles = 0..(GRID.0 * GRID.1) as u32;
        let table: Vec<u8> = tiles.flat_map(|n| [TILE as u32, n * TILE as u32]).flat_map(u32::to_be_bytes).collect();
        TileReader::new(hdu, Arc::new(Tiles::new(hdu, &table.into()).unwrap()))
    }

    fn place(hdu: &Hdu, row: u64, column: u64) -> u64 {
        let heap = hdu.table.as_ref().unwrap().heap.as_ref().unwrap().offset;
        heap + (row * GRID.1 + column) * TILE
    }

    #[test]
    fn the_first_tile_of_a_cutout_brings_those_beside_and_below_it() {
        let hdu = image();
        let planned = reader(&hdu).advance(place(&hdu, 16, 5) / PAGE * PAGE).expect("a cutout");
        for (row, column) in [(16, 5), (16, 7), (17, 5), (19, 8)] {
            let tile = place(&hdu, row, column)..place(&hdu, row, column) + TILE;
            assert!(planned.iter().any(|range| range.start <= tile.start && range.end >= tile.end), "{row} {column}");
        }
        let bytes: u64 = planned.iter().map(|range| range.end - range.start).sum();
        assert!(bytes < 20 * TILE, "{bytes} bytes for 16 tiles");
    }

    #[test]
    fn a_cutout_that_is_wider_or_longer_goes_on() {
        let hdu = image();
        let mut tiles = reader(&hdu);
        tiles.advance(place(&hdu, 16, 5));
        let wider = tiles.advance(place(&hdu, 16, 9)).expect("more columns");
        assert!(wider.iter().any(|range| range.contains(&place(&hdu, 18, 10))));
        let longer = tiles.advance(place(&hdu, 20, 5)).expect("more rows");
        assert!(longer.iter().any(|range| range.contains(&place(&hdu, 21, 10))));
    }

    #[test]
    fn who_begins_with_the_first_tile_wants_them_all() {
        let hdu = image();
        assert_eq!(reader(&hdu).advance(place(&hdu, 0, 0) / PAGE * PAGE), None);
    }

    proptest! {
        #[test]
        fn any_table_and_any_touch_plan_pages_and_not_many(table in proptest::collection::vec(any::<u8>(), 0..20_000), touches in proptest::collection::vec(0u64..20 << 20, 1..40)) {
            let hdu = image();
            let Some(tiles) = Tiles::new(&hdu, &table.into()) else { return Ok(()) };
            let mut tiles = TileReader::new(&hdu, Arc::new(tiles));
            for touch in touches {
                for range in tiles.advance(touch).unwrap_or_default() {
                    prop_assert!(range.start < range.end && range.start % PAGE == 0 && range.end % PAGE == 0);
                    prop_assert!(range.end <= hdu.end() + PAGE);
                }
            }
        }
    }
}
