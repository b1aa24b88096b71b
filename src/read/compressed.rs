//! The compressed images of a file: which tables of descriptors to fetch, and what of one image is wanted of the next.
//!
//! Programs read a table, then tiles, and do the same with the next image: two round trips for each of IMAGE, MASK and
//! VARIANCE. So the tables of all images with the same grid of tiles are fetched with the first one that is read. A
//! program that turns to the next image is taken to want the same part of it; once it has done so, the images behind
//! that one are expected, too: as many as were read, so that what is wasted is no more than what was used.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::headers::HEAD;
use super::heap::Readahead;
use super::tiles::{Extent, TileReader, Tiles, descriptors};
use crate::fits::Hdu;
use crate::metrics::Pace;

/// Descriptors of tiles are fetched with the header of the first HDUs only: a program that lists the HDUs of a
/// compressed camera file wants none.
const EAGER_HDUS: usize = 2;

/// Longer tables of descriptors than this are fetched where they are touched: 10,000 tiles with three columns each.
pub(super) const MAX_EAGER_TABLE: u64 = 256 << 10;

/// A table that is no longer is fetched along with a header, before any tile was read: it takes as much time as the
/// processor needs for the request.
const MAX_TABLE_WITH_HEADER: u64 = 32 << 10;

/// A program that reads a header or a table reads on by so many bytes: a buffer of the size that the file system advises.
const READ_ON: u64 = 16 << 10;

/// So many compressed images are followed at once; for each, where its tiles are is kept in memory.
pub(super) const MAX_READERS: usize = 8;

/// Ranges that are planned at once beyond the image that is read.
const MAX_PIECES: usize = 512;

/// The compressed images of one file.
#[derive(Debug, Default)]
pub(super) struct Compressed {
    /// Images whose tables are known, the ones that were read last in front.
    readers: Vec<TileReader>,
    /// The HDUs whose tables are on their way.
    wanted: Vec<usize>,
    /// The HDUs whose table or tiles a program has read, the last one in front.
    read: Vec<usize>,
    /// The HDUs of which the same part is wanted as of the one that was read, once their table is there.
    expected: Vec<usize>,
    /// The HDUs of which that was planned already.
    served: Vec<usize>,
    /// Where the last read of a header ended, with what its buffer took in behind it; and of a table.
    header_end: u64,
    table_end: u64,
}

/// What follows from a read of a compressed image.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Followed {
    /// It was of the table, which is to be fetched whole.
    Table(Range<u64>),
    /// It was of the heap.
    Heap(Readahead),
}

/// What to fetch of images that were not touched yet.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Expected {
    /// Tables of descriptors.
    pub tables: Vec<Range<u64>>,
    /// Tiles: whole pages.
    pub pieces: Vec<Range<u64>>,
    /// Starts of heaps.
    pub runs: Vec<Range<u64>>,
}

impl Compressed {
    /// Extends the fetch of the next header by the table of descriptors that is likely to follow it: of the length that
    /// those of the last HDU have.
    pub fn with_table(&self, hdus: &[Hdu], fetch: &mut Range<u64>, size: u64) {
        let Some(last) = hdus.last() else { return };
        let Some(table) = descriptors(last).map(|table| table.end - table.start) else { return };
        let limit = if self.read.is_empty() { MAX_TABLE_WITH_HEADER } else { MAX_EAGER_TABLE };
        if table <= limit && fetch.contains(&last.end()) {
            let end = last.end() + (last.data_offset - last.header_offset) + table;
            fetch.end = fetch.end.max(end.min(size));
        }
    }

    /// A program reads `read`, which ends in `hdu`: what it is likely to want of other images.
    pub fn note(
        &mut self,
        hdu: &Hdu,
        hdus: &[Hdu],
        read: &Range<u64>,
        held: bool,
        pace: &Pace,
        max_ahead: u64,
    ) -> Expected {
        if descriptors(hdu).is_none() {
            return Expected::default();
        }
        // A buffer that is filled from the header goes on into the table, which says nothing of either.
        let reads_on = held && read.start == self.header_end && read.start < hdu.data_offset + READ_ON;
        let is_data = read.start >= hdu.data_offset && !reads_on;
        if !is_data {
            self.header_end = read.end;
        }
        let example = self.example(hdu, hdus).map(|(index, _)| index);
        // A header is also read by programs that look for another one: it counts right behind the last image, and only if
        // what was expected before was read.
        let was_right = self.served.iter().all(|index| self.read.contains(index));
        let is_next = was_right && example.is_some_and(|index| index + 1 == hdu.index);
        if example.is_some() && (is_data || is_next) {
            self.expect(hdu.index);
        }
        if is_data && self.read.first() != Some(&hdu.index) {
            self.read.retain(|index| *index != hdu.index);
            self.read.insert(0, hdu.index);
            if example.is_some() {
                let behind = alike(hdu, hdus).filter(|other| other.index > hdu.index).take(self.read.len() - 1);
                behind.for_each(|other| self.expect(other.index));
            }
        }
        let mut expected = self.serve(hdus, pace, max_ahead);
        if is_data {
            expected.tables.extend(self.want(hdu));
            let behind = alike(hdu, hdus).filter(|other| other.index > hdu.index && is_eager(other));
            expected.tables.extend(behind.take(MAX_READERS / 2).filter_map(|other| self.want(other)));
        }
        expected
    }

    /// What follows from a read of the data of `hdu`. None if it is no compressed image, or not read by tiles.
    pub fn follow(
        &mut self,
        hdu: &Hdu,
        read: &Range<u64>,
        held: bool,
        pace: &Pace,
        max_ahead: u64,
    ) -> Option<Followed> {
        let table = descriptors(hdu)?;
        // A page in which the next header begins is read for that.
        if read.end > hdu.end() {
            return None;
        }
        if read.start < table.end {
            self.table_end = read.end;
            return Some(Followed::Table(table));
        }
        // A buffer that is filled from the table goes on into the heap, which says nothing of tiles.
        if held && read.start == self.table_end && read.start < table.end + READ_ON {
            self.table_end = read.end;
            return Some(Followed::Heap(Readahead::Pieces(Vec::new())));
        }
        let index = self.readers.iter().position(|tiles| tiles.hdu == hdu.index)?;
        self.readers[..=index].rotate_right(1);
        self.readers[0].advance(read, HEAD.max(table.end + READ_ON), pace, max_ahead).map(Followed::Heap)
    }

    /// Whether a part of `hdu` is being read by its tiles.
    pub fn follows(&self, hdu: &Hdu) -> bool {
        self.readers.iter().any(|tiles| tiles.hdu == hdu.index && tiles.is_followed())
    }

    /// Where the tiles of the images are that are followed, by HDU.
    pub fn known(&self) -> impl Iterator<Item = (usize, Arc<Tiles>)> {
        self.readers.iter().map(|reader| (reader.hdu, reader.tiles.clone()))
    }

    /// The table of descriptors of `hdu`, if it was not asked for yet.
    pub fn want(&mut self, hdu: &Hdu) -> Option<Range<u64>> {
        let known = self.wanted.contains(&hdu.index) || self.readers.iter().any(|tiles| tiles.hdu == hdu.index);
        let table = descriptors(hdu).filter(|_| !known)?;
        self.wanted.truncate(MAX_READERS - 1);
        self.wanted.insert(0, hdu.index);
        Some(table)
    }

    /// Bytes have arrived: reads the tables that `held` can show, and plans what was waiting for them. `touched` is the
    /// HDU furthest into the file that a program has touched.
    pub fn on_arrival(
        &mut self,
        hdus: &[Hdu],
        touched: usize,
        held: impl Fn(&Range<u64>) -> Option<Bytes>,
        pace: &Pace,
        max_ahead: u64,
    ) -> Expected {
        // Also after the file was opened again: what was known of tiles went with the last reader.
        let is_new = self.readers.is_empty() && self.wanted.is_empty();
        let first = hdus.iter().take(if is_new { EAGER_HDUS } else { 0 }).filter(|hdu| is_eager(hdu));
        let eager: Vec<_> = first.filter_map(|hdu| self.want(hdu)).collect();
        // What came along with a header need not be asked for.
        let near = hdus.iter().skip(touched).take(MAX_READERS / 2).filter(|hdu| is_eager(hdu));
        let unknown = near.filter(|hdu| !self.readers.iter().any(|tiles| tiles.hdu == hdu.index));
        let mut learnt: Vec<_> = unknown.map(|hdu| hdu.index).collect();
        learnt.extend(self.wanted.iter().filter(|index| !learnt.contains(index)).copied().collect::<Vec<_>>());
        for index in learnt {
            let Some(hdu) = hdus.get(index) else { continue };
            let Some(table) = descriptors(hdu).and_then(|table| held(&table)) else { continue };
            self.wanted.retain(|wanted| *wanted != index);
            let Some(tiles) = Tiles::new(hdu, &table) else { continue };
            let Some(tiles) = TileReader::new(hdu, Arc::new(tiles)) else { continue };
            self.readers.truncate(MAX_READERS - 1);
            self.readers.push(tiles);
        }
        let mut expected = self.serve(hdus, pace, max_ahead);
        expected.tables.extend(eager);
        expected
    }

    /// A planned range could not be fetched.
    pub fn on_denied(&mut self, range: &Range<u64>) {
        self.readers.iter_mut().for_each(|tiles| tiles.cut(range));
        self.wanted.clear();
    }

    /// Readahead in `range` is left for later.
    pub fn postpone(&mut self, range: &Range<u64>) {
        self.readers.iter_mut().for_each(|tiles| tiles.cut_run(range));
    }

    fn expect(&mut self, index: usize) {
        if !self.served.contains(&index) && !self.expected.contains(&index) {
            self.expected.push(index);
        }
    }

    /// The last image like `hdu` of which some was read, and what.
    fn example(&self, hdu: &Hdu, hdus: &[Hdu]) -> Option<(usize, Extent)> {
        let mut others = self.read.iter().filter(|index| **index != hdu.index);
        others.find_map(|index| {
            let alike = hdus.get(*index).is_some_and(|other| is_alike(hdu, other));
            let tiles = self.readers.iter().find(|tiles| tiles.hdu == *index && alike)?;
            tiles.extent().map(|extent| (*index, extent))
        })
    }

    /// Plans the images that are expected, as far as their tables are known.
    fn serve(&mut self, hdus: &[Hdu], pace: &Pace, max_ahead: u64) -> Expected {
        let mut planned = Expected::default();
        for index in std::mem::take(&mut self.expected) {
            let Some(hdu) = hdus.get(index) else { continue };
            let Some((_, extent)) = self.example(hdu, hdus) else { continue };
            let Some(tiles) = self.readers.iter_mut().find(|tiles| tiles.hdu == index) else {
                planned.tables.extend(self.want(hdu));
                self.expected.push(index);
                continue;
            };
            self.served.push(index);
            if tiles.is_followed() || planned.pieces.len() >= MAX_PIECES {
                continue;
            }
            match tiles.expect(extent, pace, max_ahead) {
                Readahead::Pieces(pieces) => planned.pieces.extend(pieces),
                Readahead::Run(run) => planned.runs.extend(run),
            }
        }
        planned
    }
}

/// Whether the table of an HDU is worth fetching with its header.
fn is_eager(hdu: &Hdu) -> bool {
    descriptors(hdu).is_some_and(|table| table.end - table.start <= MAX_EAGER_TABLE)
}

/// The other images of the same grid of tiles.
fn alike<'a>(hdu: &'a Hdu, hdus: &'a [Hdu]) -> impl Iterator<Item = &'a Hdu> {
    hdus.iter().filter(move |other| other.index != hdu.index && is_alike(hdu, other))
}

/// Whether two compressed images have the same grid of tiles.
fn is_alike(one: &Hdu, other: &Hdu) -> bool {
    let grid =
        |hdu: &Hdu| hdu.table.as_ref()?.tiles.as_ref().map(|tiles| (tiles.shape.clone(), tiles.tile_shape.clone()));
    grid(one).is_some() && grid(one) == grid(other)
}
