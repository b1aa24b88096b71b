//! Readers of images that are compressed in tiles: the table of descriptors tells where each tile is.
//!
//! Programs decompress the tiles that a cutout needs, row by row of the grid of tiles, and each row lies far from the
//! last one in the heap (FITS Standard 4.0, 10.1). With the first tile touched, the tiles beside it and those below
//! them are fetched as they lie, in one round. What was cut out of one image is known by its [`Extent`], and can be
//! planned in another one of the same grid.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::heap::{Readahead, Run};
use crate::fits::Hdu;
use crate::metrics::Pace;

/// Tables of up to this many bytes of descriptors are read: 100,000 tiles with two columns each.
const MAX_TABLE: u64 = 2 << 20;

/// The first guess of a cutout, in tiles: a few hundred pixels each way where tiles have a hundred.
const FIRST_ROWS: u64 = 4;
const FIRST_COLUMNS: u64 = 4;

/// Where a tile is as wide as the image, the first guess is so many bytes: a fraction of what a round trip transfers.
const FIRST_BYTES: u64 = 128 << 10;

/// Batches of whole rows of tiles grow by this factor, as they are one range each; those of parts of rows double.
const ROWS_GROWTH: u64 = 3;

/// Not more tiles than this are planned at once, nor more bytes, but for one row of them.
const MAX_TILES: u64 = 4096;
const MAX_BYTES: u64 = 32 << 20;

/// cfitsio reads on from the end of a tile to that of a FITS block, through a buffer of 8 KiB that it fills from a
/// multiple of its size.
const BUFFER: u64 = 8 << 10;
const FITS_BLOCK: u64 = 2880;

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
    /// Where they are.
    pub tiles: Arc<Tiles>,
    /// What is cut out.
    cutout: Option<Cutout>,
    /// All tiles are read, in the order of the heap.
    run: Option<Run>,
    heap: Range<u64>,
}

/// The part of an image that a program reads, in tiles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// All of them.
    Whole,
    /// Some of them.
    Box(Cutout),
}

/// Where a cutout begins, how wide it is, and up to which row it is planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cutout {
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

impl Cutout {
    /// Whether a tile is in it, or in what it is if it turns out twice as wide, or longer.
    fn has(&self, row: u64, column: u64) -> bool {
        row >= self.top && column >= self.first && column < self.first + 2 * self.width
    }
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
        let columns = image.div_ceil(tile.max(1)).max(1);
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
    /// A reader of the tiles of an HDU. None if that has no heap.
    pub fn new(hdu: &Hdu, tiles: Arc<Tiles>) -> Option<Self> {
        let heap = hdu.table.as_ref()?.heap.as_ref()?;
        let heap = heap.offset..heap.offset.checked_add(heap.len)?;
        Some(Self { hdu: hdu.index, tiles, cutout: None, run: None, heap })
    }

    /// Whether a cutout is being read, or all of the image.
    pub fn is_followed(&self) -> bool {
        self.cutout.is_some() || self.run.is_some()
    }

    /// What is read of the image, as far as that shows.
    pub fn extent(&self) -> Option<Extent> {
        let cutout = self.cutout.clone().map(Extent::Box);
        cutout.or(self.run.as_ref().map(|_| Extent::Whole))
    }

    /// `range` was planned and will not be fetched.
    pub fn cut(&mut self, range: &Range<u64>) {
        self.cutout = None;
        self.cut_run(range);
    }

    /// Readahead of a reader that goes through the heap ends at the start of `range`.
    pub fn cut_run(&mut self, range: &Range<u64>) {
        self.run.iter_mut().for_each(|run| run.cut(range));
    }

    /// The same part of this image as was read of another one: what to fetch before any of it is touched.
    pub fn expect(&mut self, extent: Extent, pace: &Pace, max_ahead: u64) -> Readahead {
        match extent {
            Extent::Whole => {
                let mut run = Run::new(self.heap.clone());
                let first = run.first(pace, max_ahead);
                self.run = Some(run);
                Readahead::Run(first)
            }
            Extent::Box(cutout) => {
                let columns = cutout.first..cutout.first + cutout.width;
                let pieces = self.pages(cutout.top..cutout.planned, columns);
                // There is a bound on what is planned at once.
                let planned = cutout.top + pieces.len() as u64;
                self.cutout = Some(Cutout { planned, ..cutout });
                Readahead::Pieces(pieces)
            }
        }
    }

    /// What else to fetch when a program reads `read` of the heap. None if no tile is there. A program that begins
    /// with the first of all tiles is taken to want them all; `near` says up to where it may be without a sign: what
    /// came with the head of the file, or with the table.
    pub fn advance(&mut self, read: &Range<u64>, near: u64, pace: &Pace, max_ahead: u64) -> Option<Readahead> {
        if let Some(ahead) = self.go_on(read, pace, max_ahead) {
            return Some(Readahead::Run(ahead));
        }
        let tile = self.tile_at(read)?;
        let is_first = tile == 0 || (self.heap.start < near && read.start <= near);
        let (row, column) = (tile / self.tiles.columns, tile % self.tiles.columns);
        if is_first && !self.cutout.as_ref().is_some_and(|cutout| cutout.has(row, column)) {
            self.cutout = None;
            let run = self.run.insert(Run::new(self.heap.clone()));
            return run.advance(read, pace, max_ahead).map(Readahead::Run);
        }
        if self.has_passed_rows(row, read) {
            let top = self.cutout.as_ref().and_then(|cutout| self.tiles.places.get(cutout.top as usize));
            let from = top.map_or(read.start, |tile| tile.start);
            self.run = Some(Run::read_up_to(read.start, from..self.heap.end));
            return Some(Readahead::Run(self.go_on(read, pace, max_ahead).flatten()));
        }
        Some(Readahead::Pieces(self.cut_out(row, column)))
    }

    /// Goes on in a run, if there is one that the read belongs to.
    fn go_on(&mut self, read: &Range<u64>, pace: &Pace, max_ahead: u64) -> Option<Option<Range<u64>>> {
        let run = self.run.as_mut()?;
        let ahead = run.advance(read, pace, max_ahead)?;
        if let (Some(cutout), Some(ahead)) = (&mut self.cutout, &ahead) {
            cutout.planned =
                self.tiles.places.partition_point(|tile| tile.end <= ahead.end) as u64 / self.tiles.columns;
        }
        Some(ahead)
    }

    /// Whether `row` is the next one of a cutout of tiles that are as wide as the image: those lie one behind the other, and
    /// are read on as a run.
    fn has_passed_rows(&self, row: u64, read: &Range<u64>) -> bool {
        let Some(cutout) = self.cutout.as_ref().filter(|cutout| self.tiles.columns == 1 && row >= cutout.planned)
        else {
            return false;
        };
        let end = self.tiles.places.get(cutout.planned as usize).map_or(0, |tile| tile.end);
        // What was planned goes on to the end of a buffer, so some tiles more may have been read unseen.
        read.start <= end + FITS_BLOCK + BUFFER
    }

    fn cut_out(&mut self, row: u64, column: u64) -> Vec<Range<u64>> {
        let (all, first) = (self.tiles.columns, self.first_rows());
        let Some(cutout) = self.cutout.as_mut().filter(|cutout| cutout.has(row, column)) else {
            let width = FIRST_COLUMNS.min(all);
            let rows = row..row + first;
            self.cutout = Some(Cutout { first: column, width, top: row, planned: rows.end });
            return self.pages(rows, column..column + width);
        };
        let columns = cutout.first..cutout.first + cutout.width;
        if column >= columns.end {
            // The cutout is wider than it was taken for: the columns that are missing in the rows to come.
            cutout.width = (2 * cutout.width).min(all - cutout.first);
            let (rows, more) = (row..cutout.planned.max(row + 1), columns.end..cutout.first + cutout.width);
            return self.pages(rows, more);
        }
        if row < cutout.planned {
            return Vec::new();
        }
        let growth = if cutout.width == all { ROWS_GROWTH - 1 } else { 1 };
        let rows = row..row + (growth * cutout.planned.saturating_sub(cutout.top)).max(first);
        let pages = self.pages(rows, columns);
        if let Some(cutout) = self.cutout.as_mut() {
            cutout.planned = row + pages.len().max(1) as u64;
        }
        pages
    }

    /// How many rows of tiles are fetched with the first one of a cutout.
    fn first_rows(&self) -> u64 {
        let mean = (self.heap.end - self.heap.start) / self.tiles.len().max(1);
        if self.tiles.columns > 1 { FIRST_ROWS } else { (FIRST_BYTES / mean.max(1)).clamp(FIRST_ROWS, MAX_TILES) }
    }

    /// The tile that a program wants by reading `read`: the first that begins in its first pages, or else the one that
    /// goes through it.
    fn tile_at(&self, read: &Range<u64>) -> Option<u64> {
        // Writers put the tiles into the heap in their order; where one has not, no tile is found or a wrong one, which
        // costs speed only.
        let offset = read.start;
        let begin = offset..read.end.min(offset + BUFFER);
        let through = self.tiles.places.partition_point(|tile| tile.end <= offset);
        let begins = |index: &usize| self.tiles.places.get(*index).is_some_and(|tile| begin.contains(&tile.start));
        let holds = |index: &usize| self.tiles.places.get(*index).is_some_and(|tile| tile.contains(&offset));
        let begun = [through, through + 1].into_iter().find(begins);
        begun.or(Some(through).filter(holds)).map(|index| index as u64)
    }

    /// The pages of tiles, a range for each row of them.
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
                .then(|| start / BUFFER * BUFFER..end.saturating_add(FITS_BLOCK).next_multiple_of(BUFFER))
        };
        let few = rows.take((MAX_TILES / columns.end.saturating_sub(columns.start).max(1)) as usize);
        let (mut bytes, mut reached) = (0_u64, 0);
        let has_room = |range: &Range<u64>| {
            let is_first = bytes == 0;
            // Neighbours share the page where one ends and the other begins.
            bytes = bytes.saturating_add(range.end.saturating_sub(range.start.max(reached)));
            reached = reached.max(range.end);
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
    use crate::read::stride::PAGE;

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
        TileReader::new(hdu, Arc::new(Tiles::new(hdu, &table.into()).unwrap())).unwrap()
    }

    fn place(hdu: &Hdu, row: u64, column: u64) -> u64 {
        let heap = hdu.table.as_ref().unwrap().heap.as_ref().unwrap().offset;
        heap + (row * GRID.1 + column) * TILE
    }

    const PACE: Pace = Pace::measured(0.03, 100e6);
    const MAX_AHEAD: u64 = 64 << 20;

    /// What comes with a touch of the page in which a tile begins.
    fn touch(tiles: &mut TileReader, place: u64) -> Option<Readahead> {
        let page = place / PAGE * PAGE;
        tiles.advance(&(page..page + PAGE), 0, &PACE, MAX_AHEAD)
    }

    fn pieces(tiles: &mut TileReader, place: u64) -> Vec<Range<u64>> {
        match touch(tiles, place) {
            Some(Readahead::Pieces(pieces)) => pieces,
            other => panic!("no cutout: {other:?}"),
        }
    }

    fn bytes(pieces: &[Range<u64>]) -> u64 {
        pieces.iter().map(|range| range.end - range.start).sum()
    }

    #[test]
    fn the_first_tile_of_a_cutout_brings_those_beside_and_below_it() {
        let hdu = image();
        let planned = pieces(&mut reader(&hdu), place(&hdu, 16, 5));
        for (row, column) in [(16, 5), (16, 7), (17, 5), (19, 8)] {
            let tile = place(&hdu, row, column)..place(&hdu, row, column) + TILE;
            assert!(planned.iter().any(|range| range.start <= tile.start && range.end >= tile.end), "{row} {column}");
        }
        assert!(bytes(&planned) < 16 * TILE + 4 * 20_000, "{} bytes for 16 tiles", bytes(&planned));
    }

    #[test]
    fn a_cutout_that_is_wider_or_longer_goes_on() {
        let hdu = image();
        let mut tiles = reader(&hdu);
        pieces(&mut tiles, place(&hdu, 16, 5));
        let wider = pieces(&mut tiles, place(&hdu, 16, 9));
        assert!(wider.iter().any(|range| range.contains(&place(&hdu, 18, 10))));
        let longer = pieces(&mut tiles, place(&hdu, 20, 5));
        assert!(longer.iter().any(|range| range.contains(&place(&hdu, 21, 10))));
    }

    #[test]
    fn a_program_that_begins_with_the_first_tile_wants_them_all() {
        let hdu = image();
        let mut tiles = reader(&hdu);
        let first = place(&hdu, 0, 0);
        let Some(Readahead::Run(Some(run))) = touch(&mut tiles, first) else { panic!("no run") };
        assert!(run.start <= first + PAGE && run.end >= first + (2 << 20), "{run:?}");
        assert_eq!(tiles.extent(), Some(Extent::Whole));
    }

    /// What came with the head of a file is in the page cache, so that the first tiles are read without a sign.
    #[test]
    fn a_read_where_the_head_ends_is_one_of_all_tiles() {
        let hdu = image();
        let mut tiles = reader(&hdu);
        let at = 64 << 10;
        assert!(matches!(tiles.advance(&(at..at + PAGE), at, &PACE, MAX_AHEAD), Some(Readahead::Run(Some(_)))));
    }

    #[test]
    fn the_same_tiles_of_another_image_come_before_they_are_touched() {
        let hdu = image();
        let mut one = reader(&hdu);
        let first = pieces(&mut one, place(&hdu, 16, 5));
        let more = pieces(&mut one, place(&hdu, 20, 5));
        let mut other = reader(&hdu);
        let Readahead::Pieces(same) = other.expect(one.extent().unwrap(), &PACE, MAX_AHEAD) else { panic!("no box") };
        assert_eq!(bytes(&same), bytes(&first) + bytes(&more));
        assert_eq!(pieces(&mut other, place(&hdu, 23, 8)), []);
    }

    /// Tiles as wide as the image lie one behind the other.
    #[test]
    fn rows_of_an_image_take_few_batches() {
        let mut hdu = image();
        hdu.table.as_mut().unwrap().tiles.as_mut().unwrap().tile_shape = vec![5, 2000];
        let mut tiles = reader(&hdu);
        let (mut waits, mut planned) = (0, 0);
        for tile in 300..700 {
            let at = place(&hdu, 0, tile);
            waits += u32::from(at + TILE > planned);
            planned = match touch(&mut tiles, at) {
                Some(Readahead::Run(run)) => planned.max(run.map_or(0, |run| run.end)),
                Some(Readahead::Pieces(pieces)) => planned.max(pieces.last().map_or(0, |range| range.end)),
                None => planned,
            };
        }
        assert!(waits <= 2, "{waits} waits for 3.2 MB");
        assert!(planned <= place(&hdu, 0, 300) + 4 * 400 * TILE, "{planned}");
    }

    /// There is a bound on what is planned at once: what lies beyond it is planned when the reader comes there.
    #[test]
    fn what_is_expected_of_an_image_counts_as_planned_as_far_as_it_was() {
        let mut hdu = image();
        hdu.table.as_mut().unwrap().tiles.as_mut().unwrap().tile_shape = vec![5, 2000];
        let all = (2 * MAX_BYTES / TILE) as u32;
        let table: Vec<u8> = (0..all).flat_map(|n| [TILE as u32, n * TILE as u32]).flat_map(u32::to_be_bytes).collect();
        hdu.table.as_mut().unwrap().heap.as_mut().unwrap().len = u64::from(all) * TILE;
        let mut tiles = TileReader::new(&hdu, Arc::new(Tiles::new(&hdu, &table.into()).unwrap())).unwrap();
        let extent = Extent::Box(Cutout { first: 0, width: 1, top: 16, planned: u64::from(all) });
        let Readahead::Pieces(pieces) = tiles.expect(extent, &PACE, MAX_AHEAD) else { panic!("no box") };
        let end = pieces.last().unwrap().end;
        // Neighbours share a page, which is counted once.
        assert!(end - pieces[0].start > MAX_BYTES - 100 * TILE, "{end}");
        assert!(matches!(touch(&mut tiles, end), Some(Readahead::Run(Some(_)))));
    }

    proptest! {
        #[test]
        fn any_table_and_any_touch_plan_pages_and_not_many(table in proptest::collection::vec(any::<u8>(), 0..20_000), touches in proptest::collection::vec(0u64..20 << 20, 1..40)) {
            let hdu = image();
            let Some(tiles) = Tiles::new(&hdu, &table.into()) else { return Ok(()) };
            let Some(mut tiles) = TileReader::new(&hdu, Arc::new(tiles)) else { return Ok(()) };
            for touch in touches {
                match tiles.advance(&(touch..touch + PAGE), 0, &PACE, MAX_AHEAD) {
                    Some(Readahead::Pieces(pieces)) => for range in pieces {
                        prop_assert!(range.start < range.end && range.start % PAGE == 0 && range.end % PAGE == 0);
                        prop_assert!(range.end <= hdu.end() + 3 * BUFFER);
                    },
                    Some(Readahead::Run(Some(run))) => prop_assert!(run.start < run.end && run.end <= hdu.end()),
                    _ => {}
                }
            }
        }
    }
}
