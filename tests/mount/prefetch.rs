//! What is fetched ahead along the structure of FITS files: enough of it, not too much, and the right bytes.

use std::fs::File;
use std::ops::Range;

use bytes::Bytes;
use fitsfs_lab::{Content, Lab, Op, Request, Shape};
use std::time::Duration;

use crate::map::{Map, PAGE};
use crate::support::*;

const BLOCK: u64 = 2880;
const KIB: u64 = 1 << 10;

/// A FITS file of any size, which takes the memory of its headers: the data are a pattern.
pub struct Product {
    pub seed: u64,
    pub len: u64,
    /// What is not of the pattern: headers, and tables of descriptors.
    pub extents: Vec<(u64, Bytes)>,
    /// Where the headers are, and the data.
    pub headers: Vec<Range<u64>>,
    pub data: Vec<Range<u64>>,
}

impl Product {
    /// A primary HDU without data, to which others are added.
    pub fn new(seed: u64) -> Self {
        let product = Self { seed, len: 0, extents: Vec::new(), headers: Vec::new(), data: Vec::new() };
        product.with(&["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 0"], &[], 0)
    }

    /// The same and an HDU of these cards, with `len` bytes of data that begin with `table`.
    pub fn with<S: AsRef<str>>(mut self, cards: &[S], table: &[u8], len: u64) -> Self {
        let cards = cards.iter().map(AsRef::as_ref).chain(["END"]);
        let mut header: Vec<u8> = cards.flat_map(|card| format!("{card:<80}").into_bytes()).collect();
        header.resize(header.len().next_multiple_of(BLOCK as usize), b' ');
        let (start, data) = (self.len, self.len + header.len() as u64);
        header.extend(table);
        self.extents.push((start, header.into()));
        self.headers.push(start..data);
        self.data.push(data..data + len);
        self.len = (data + len).next_multiple_of(BLOCK);
        self
    }

    /// The same and an image of `f32`, NAXIS1 first.
    pub fn image(self, axes: &[u64]) -> Self {
        let mut cards =
            vec!["XTENSION= 'IMAGE   '".into(), "BITPIX  = -32".into(), format!("NAXIS   = {}", axes.len())];
        cards.extend(axes.iter().zip(1..).map(|(axis, n)| format!("NAXIS{n}  = {axis}")));
        cards.extend(["PCOUNT  = 0".into(), "GCOUNT  = 1".into()]);
        self.with(&cards, &[], 4 * axes.iter().product::<u64>())
    }

    /// The same and an image in tiles of these lengths, in rows of `columns`, one behind the other. Returns where they are.
    pub fn compressed(self, columns: u64, tiles: &[u64]) -> (Self, Vec<Range<u64>>) {
        let (count, rows) = (tiles.len() as u64, tiles.len() as u64 / columns);
        let heap: u64 = tiles.iter().sum();
        let begins = tiles.iter().scan(0, |at, len| Some(std::mem::replace(at, *at + len)));
        let places: Vec<_> = begins.zip(tiles).map(|(at, len)| at..at + len).collect();
        let descriptor = |tile: &Range<u64>| [(tile.end - tile.start) as u32, tile.start as u32].map(u32::to_be_bytes);
        let table = places.iter().flat_map(descriptor).collect::<Vec<_>>().concat();
        let cards = [
            "XTENSION= 'BINTABLE'".into(),
            "BITPIX  = 8".into(),
            "NAXIS   = 2".into(),
            "NAXIS1  = 8".into(),
            format!("NAXIS2  = {count}"),
            format!("PCOUNT  = {heap}"),
            "GCOUNT  = 1".into(),
            "TFIELDS = 1".into(),
            "TTYPE1  = 'COMPRESSED_DATA'".into(),
            format!("TFORM1  = '1PB({})'", tiles.iter().max().unwrap()),
            "ZIMAGE  = T".into(),
            "ZCMPTYPE= 'RICE_1'".into(),
            "ZBITPIX = -32".into(),
            "ZNAXIS  = 2".into(),
            format!("ZNAXIS1 = {}", columns * 100),
            format!("ZNAXIS2 = {}", rows * 100),
            "ZTILE1  = 100".into(),
            "ZTILE2  = 100".into(),
        ];
        let product = self.with(&cards, &table, table.len() as u64 + heap);
        let heap = product.data.last().unwrap().start + table.len() as u64;
        let places = places.into_iter().map(|tile| heap + tile.start..heap + tile.end).collect();
        (product, places)
    }

    /// One image in an extension.
    pub fn of_image(seed: u64, axes: &[u64]) -> Self {
        Self::new(seed).image(axes)
    }

    pub fn put(&self, lab: &Lab, key: &str) {
        lab.put(BUCKET, key, Content::Patched { len: self.len, seed: self.seed, extents: self.extents.clone() });
    }

    /// What is there.
    pub fn at(&self, offset: u64, len: usize) -> Vec<u8> {
        let mut bytes = pattern_at(self.seed, offset, len);
        for (start, extent) in &self.extents {
            let (from, to) = (offset.max(*start), (offset + len as u64).min(start + extent.len() as u64));
            if from < to {
                let there = &extent[(from - start) as usize..(to - start) as usize];
                bytes[(from - offset) as usize..(to - offset) as usize].copy_from_slice(there);
            }
        }
        bytes
    }

    pub fn map(&self, file: &File) -> Map {
        Map::shared(file, 0, self.len as usize)
    }

    /// Touches `len` bytes of a map, all at once.
    pub fn is_in(&self, map: &Map, offset: u64, len: usize) -> bool {
        map.bytes()[offset as usize..offset as usize + len] == self.at(offset, len)[..]
    }

    /// Reads a header as programs do.
    pub fn reads_header(&self, file: &File, n: usize) -> bool {
        let Range { start, end } = self.headers[n];
        let len = (end - start) as usize;
        read_at(file, start, len).unwrap() == self.at(start, len)
    }
}

/// The GETs of a key so far.
pub fn gets_of(rig: &Rig, key: &str) -> Vec<Request> {
    rig.requested(|request| request.key == key)
}

/// GETs and their bytes when nothing is under way any more.
pub fn gets_in_the_end(rig: &Rig) -> (usize, u64) {
    eventually("nothing is under way", || rig.status()["in_flight"] == 0);
    rig.gets()
}

/// GETs for READs for which nothing was held or on its way.
fn surprises(rig: &Rig) -> u64 {
    trace(&[rig.root_str()])["files"][0]["summary"]["by_decision"]["demand"]["fetches"].as_u64().unwrap_or(0)
}

/// Numbers without a pattern.
pub fn noise(seed: u64) -> impl Iterator<Item = u64> {
    std::iter::successors(Some(seed), |state| Some(state.wrapping_add(0x9e37_79b9_7f4a_7c15))).map(|state| {
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

#[test]
fn a_cutout_of_long_rows_is_fetched_row_by_row_before_it_is_touched() {
    let product = Product::of_image(1, &[40_000, 600]);
    let rig = Rig::new(|lab| product.put(lab, "d/a.fits"));
    let file = rig.open("d/a.fits");
    let map = product.map(&file);
    let (row, count) = (160_000, 400);
    for n in 100..100 + count {
        assert!(product.is_in(&map, product.data[1].start + n * row + 80_000, 1_600), "row {n}");
    }
    let (gets, bytes) = gets_in_the_end(&rig);
    assert!(bytes < count * row / 4, "{bytes} bytes in {gets} GETs of a span of {}", count * row);
    let surprises = surprises(&rig);
    assert!(surprises <= 10, "{surprises} GETs for READs of {count} rows that found nothing on its way");
}

/// What was fetched as a row of a walk is read by itself: the block around it is not on disk, and nobody has asked for it.
#[test]
fn any_row_of_a_cutout_needs_no_request_after_a_remount() {
    let product = Product::of_image(1, &[40_000, 600]);
    let rig = Rig::unmounted(|lab| product.put(lab, "d/a.fits"));
    let cache = rig.outside().join("cache").to_str().unwrap().to_owned();
    let row = |n: u64| product.data[1].start + n * 160_000 + 80_000;
    rig.mount(&["--cache-dir", &cache]);
    let file = rig.open("d/a.fits");
    let map = product.map(&file);
    (100..500).for_each(|n| assert!(product.is_in(&map, row(n), 1_600), "row {n}"));
    drop((map, file));
    for n in [480, 333, 150] {
        assert!(fitsfs(&["unmount", rig.root_str()]).status.success());
        rig.mount(&["--cache-dir", &cache]);
        names(&rig.path("d")).unwrap();
        let file = rig.open("d/a.fits");
        rig.lab.clear_log();
        assert!(product.is_in(&product.map(&file), row(n), 1_600), "row {n}");
        assert_eq!(gets_in_the_end(&rig), (0, 0), "row {n}");
    }
}

#[test]
fn a_cutout_of_short_rows_is_fetched_as_one_stream() {
    let product = Product::of_image(2, &[5_000, 2_000]);
    let rig = Rig::new(|lab| product.put(lab, "d/a.fits"));
    let file = rig.open("d/a.fits");
    let map = product.map(&file);
    let (row, count) = (20_000, 200);
    for n in 900..900 + count {
        assert!(product.is_in(&map, product.data[1].start + n * row + 8_000, 1_600), "row {n}");
    }
    let (gets, bytes) = gets_in_the_end(&rig);
    assert!(bytes <= 3 * count * row + MIB, "{bytes} bytes of a span of {}", count * row);
    assert!(gets <= 40, "{gets} GETs for {count} rows");
}

/// A product of seven HDUs, with the images in this order.
pub fn seven(seed: u64, order: [u64; 6]) -> Product {
    order.iter().fold(Product::new(seed), |product, rows| product.image(&[500, *rows]))
}

pub const PLANES: [u64; 6] = [700, 1_300, 900, 1_100, 800, 1_700];

#[test]
fn the_headers_of_a_file_like_one_before_come_at_once() {
    let first = seven(3, PLANES);
    let second = seven(4, PLANES);
    let rig = Rig::new(|lab| {
        first.put(lab, "d/jw01_rate.fits");
        second.put(lab, "d/jw02_rate.fits");
    });
    names(&rig.path("d")).unwrap();
    let file = rig.open("d/jw01_rate.fits");
    assert!((0..7).all(|n| first.reads_header(&file, n)));
    // What is learned from a file is what was known when it was closed.
    rig.settle();
    drop(file);
    eventually("the file is closed", || rig.status()["open_files"] == 0);
    rig.settle();
    rig.lab.shape(Shape::latency(Duration::from_millis(100)));
    let file = rig.open("d/jw02_rate.fits");
    assert!(second.reads_header(&file, 6));
    let gets = gets_of(&rig, "d/jw02_rate.fits");
    assert_eq!(rounds(gets.clone()), 1, "{gets:#?}");
    assert!((0..7).all(|n| second.reads_header(&file, n)));
    let (gets, bytes) = gets_in_the_end(&rig);
    assert!(gets <= 8 && bytes <= 2 * MIB, "{gets} GETs of {bytes} bytes for seven headers");
}

#[test]
fn a_file_of_the_size_of_one_before_with_headers_elsewhere_reads_right() {
    let first = seven(5, PLANES);
    let [a, b, c, d, e, f] = PLANES;
    let other = seven(6, [c, f, a, e, d, b]);
    assert_eq!(first.len, other.len);
    assert_ne!(first.headers[6], other.headers[6]);
    let rig = Rig::new(|lab| {
        first.put(lab, "d/jw01_rate.fits");
        other.put(lab, "d/jw02_rate.fits");
    });
    let file = rig.open("d/jw01_rate.fits");
    assert!((0..7).all(|n| first.reads_header(&file, n)));
    drop(file);
    eventually("the file is closed", || rig.status()["open_files"] == 0);
    let file = rig.open("d/jw02_rate.fits");
    assert!((0..7).all(|n| other.reads_header(&file, n)));
    let (gets, bytes) = gets_in_the_end(&rig);
    assert!(gets <= 60 && bytes <= 6 * MIB, "{gets} GETs of {bytes} bytes for twice seven headers");
    let map = other.map(&file);
    assert!(other.is_in(&map, 0, other.len as usize));
}

/// A directory of files of one kind, in the order of their names.
struct Directory {
    rig: Rig,
    products: Vec<Product>,
}

impl Directory {
    fn new(count: u64) -> Self {
        let products: Vec<_> =
            (0..count).map(|n| Product::new(100 + n).image(&[500, 300]).image(&[500, 300])).collect();
        let rig = Rig::new(|lab| products.iter().enumerate().for_each(|(n, product)| product.put(lab, &key(n))));
        assert_eq!(names(&rig.path("d")).unwrap().len(), products.len());
        rig.settle();
        Self { rig, products }
    }

    /// Reads the first header of these files, one after the other. Returns how many GETs that took.
    fn sweep(&self, order: impl IntoIterator<Item = usize>) -> usize {
        for n in order {
            assert!(self.products[n].reads_header(&self.rig.open(&key(n)), 0), "file {n}");
        }
        gets_in_the_end(&self.rig).0
    }
}

fn key(n: usize) -> String {
    format!("d/jw{n:03}_rate.fits")
}

#[test]
fn going_through_a_directory_finds_the_next_files_on_their_way() {
    let directory = Directory::new(30);
    let order = (0..30).inspect(|n| {
        if *n >= 4 {
            directory.rig.lab.wait_for(1, |request| request.op == Op::GetObject && request.key == key(*n));
        }
    });
    let gets = directory.sweep(order);
    assert!(gets <= 45 + 10, "{gets} GETs for 30 headers");
}

#[test]
fn going_backwards_or_to_every_second_file_costs_no_more() {
    let directory = Directory::new(30);
    let gets = directory.sweep((0..30).rev());
    assert!(gets <= 45 + 10, "{gets} GETs for 30 headers backwards");
    let directory = Directory::new(30);
    let gets = directory.sweep((0..30).step_by(2));
    assert!(gets <= 23 + 10, "{gets} GETs for 15 headers, of every second file");
    let others = (1..30).step_by(2).map(|n| gets_of(&directory.rig, &key(n)).len()).sum::<usize>();
    assert!(others <= 4, "{others} GETs for the files between");
}

#[test]
fn files_in_no_order_are_not_expected() {
    let directory = Directory::new(30);
    let mut order: Vec<_> = (0..30).zip(noise(7)).collect();
    order.sort_by_key(|(_, place)| *place);
    let gets = directory.sweep(order.into_iter().map(|(n, _)| n));
    assert!(gets <= 60 + 10, "{gets} GETs for 30 headers");
}

#[test]
fn a_whole_data_unit_takes_few_gets_and_no_byte_twice() {
    let product = Product::of_image(8, &[4_096, 2_048]);
    let rig = Rig::new(|lab| product.put(lab, "d/a.fits"));
    let file = rig.open("d/a.fits");
    let unit = product.data[1].clone();
    for offset in unit.clone().step_by(MIB as usize) {
        let len = (unit.end - offset).min(MIB) as usize;
        assert_eq!(read_at(&file, offset, len).unwrap(), product.at(offset, len), "at {offset}");
    }
    eventually("nothing is under way", || rig.status()["in_flight"] == 0);
    let gets = gets_of(&rig, "d/a.fits");
    let mut spans: Vec<_> = gets.iter().filter_map(Request::span).collect();
    spans.sort_unstable();
    assert_eq!(spans.len(), gets.len());
    assert!(spans.windows(2).all(|pair| pair[0].1 < pair[1].0), "bytes were fetched twice: {spans:?}");
    assert!(gets.len() <= 40, "{} GETs for {} bytes", gets.len(), unit.end - unit.start);
}

#[test]
fn a_header_that_left_the_page_cache_is_not_fetched_again() {
    let product = seven(9, PLANES);
    let rig = Rig::new(|lab| product.put(lab, "d/a.fits"));
    let file = rig.open("d/a.fits");
    assert!((0..7).all(|n| product.reads_header(&file, n)));
    rig.settle();
    let reads = || rig.status()["reads"].as_u64().unwrap();
    let before = reads();
    forget_pages(&file);
    assert!((0..7).all(|n| product.reads_header(&file, n)));
    assert!(reads() > before, "the page cache still had them");
    drop(file);
    eventually("the file is closed", || rig.status()["open_files"] == 0);
    let file = rig.open("d/a.fits");
    forget_pages(&file);
    assert!((0..7).all(|n| product.reads_header(&file, n)));
    assert_eq!(gets_in_the_end(&rig).0, 0, "{:#?}", rig.lab.requests());
}

/// Reads pages at random of a product, in which the store answers after so many milliseconds.
fn read_at_random(product: &Product, seed: u64, count: usize, latency: u64) -> Rig {
    let rig = Rig::new(|lab| product.put(lab, "d/a.fits"));
    let file = rig.open("d/a.fits");
    rig.lab.shape(Shape::latency(Duration::from_millis(latency)));
    for at in noise(seed).take(count) {
        let offset = at % (product.len / PAGE as u64) * PAGE as u64;
        let len = PAGE.min((product.len - offset) as usize);
        assert_eq!(read_at(&file, offset, len).unwrap(), product.at(offset, len), "at {offset}");
    }
    rig
}

#[test]
fn some_pages_at_random_cost_little_more_than_themselves() {
    // Rows that are longer and shorter than what a cutout is told by.
    for (seed, width) in [(10, 65_536 / 4), (11, 16_384 / 4)] {
        let product = Product::of_image(seed, &[width, (64 << 20) / width]);
        let count = 4;
        let rig = read_at_random(&product, seed, count, 30);
        let (gets, bytes) = gets_in_the_end(&rig);
        assert!(bytes <= 64 * KIB * count as u64 + 6 * MIB, "{bytes} bytes in {gets} GETs for rows of {width} pixels");
    }
}

/// The guarantee: once programs have waited as long as all of it takes, there is nothing to wait for any more.
#[test]
fn many_pages_at_random_are_not_waited_for_one_by_one() {
    let product = Product::of_image(12, &[16_384, 4_096]);
    let count = 600;
    let rig = read_at_random(&product, 12, count, 30);
    let (gets, bytes) = gets_in_the_end(&rig);
    let waits = rig.status()["cache"]["misses"].as_u64().unwrap();
    assert!(waits <= count as u64 / 4, "{waits} of {count} READs waited");
    // What the kernel could not take at once is fetched again where there is no cache on disk.
    assert!(gets <= count && bytes <= product.len + 32 * MIB, "{gets} GETs of {bytes} bytes of {}", product.len);
}

#[test]
fn a_map_touched_backwards_takes_few_gets() {
    let product = Product::of_image(12, &[2_048, 2_048]);
    let rig = Rig::new(|lab| product.put(lab, "d/a.fits"));
    let file = rig.open("d/a.fits");
    let map = product.map(&file);
    let pages = 8 * MIB / PAGE as u64;
    let end = product.data[1].end / PAGE as u64;
    for page in (end - pages..end).rev() {
        assert!(product.is_in(&map, page * PAGE as u64, PAGE), "page {page}");
    }
    let (gets, bytes) = gets_in_the_end(&rig);
    assert!(gets <= 60, "{gets} GETs of {bytes} bytes");
}

/// Tiles in a row of a compressed image.
const COLUMNS: u64 = 50;

/// The product and an image in rows of tiles, of `tile` bytes each, one behind the other.
fn compressed(product: Product, rows: u64, tile: u64) -> Product {
    product.compressed(COLUMNS, &vec![tile; (rows * COLUMNS) as usize]).0
}

/// Where a tile of HDU `n` is, of an image of so many rows of tiles.
fn place_of_tile(product: &Product, n: usize, rows: u64, tile: u64, (row, column): (u64, u64)) -> u64 {
    product.data[n].start + 8 * rows * COLUMNS + (row * COLUMNS + column) * tile
}

#[test]
fn a_cutout_of_a_compressed_image_is_fetched_tile_by_tile() {
    let product = compressed(Product::new(13), 20, 8_192);
    let place = |row, column| place_of_tile(&product, 1, 20, 8_192, (row, column));
    let rig = Rig::new(|lab| product.put(lab, "d/a.fits.fz"));
    let file = rig.open("d/a.fits.fz");
    assert!(product.reads_header(&file, 1));
    let map = product.map(&file);
    assert!(product.is_in(&map, product.data[1].start, 8_000), "the descriptors");
    for row in 8..11 {
        for column in 20..24 {
            assert!(product.is_in(&map, place(row, column), 8_192), "tile {row}, {column}");
        }
    }
    let (gets, bytes) = gets_in_the_end(&rig);
    assert!(bytes < 600_000, "{bytes} bytes in {gets} GETs for 12 tiles of 8 KB");
}

/// Descriptors, then tiles, for each image in turn, would be two round trips for each.
#[test]
fn the_same_box_of_three_compressed_images_is_waited_for_once() {
    let tiles = [8_192, 15_000, 9_000];
    let product = tiles.iter().fold(Product::new(14), |product, tile| compressed(product, 20, *tile));
    let rig = Rig::new(|lab| product.put(lab, "d/a.fits.fz"));
    let file = rig.open("d/a.fits.fz");
    let map = product.map(&file);
    let mut before = 0;
    for (n, tile) in (1..).zip(tiles) {
        assert!(product.reads_header(&file, n));
        assert!(product.is_in(&map, product.data[n].start, 8 * 20 * COLUMNS as usize), "descriptors of HDU {n}");
        for (row, column) in (8..12).flat_map(|row| (20..24).map(move |column| (row, column))) {
            let at = place_of_tile(&product, n, 20, tile, (row, column));
            assert!(product.is_in(&map, at, tile as usize), "tile {row}, {column} of HDU {n}");
        }
        gets_in_the_end(&rig);
        let after = surprises(&rig);
        assert!(n == 1 || after == before, "{} READs of HDU {n} found nothing on its way", after - before);
        before = after;
    }
    let (gets, bytes) = gets_in_the_end(&rig);
    let boxes = 16 * tiles.iter().sum::<u64>();
    assert!(gets <= 40 && bytes < boxes + MIB, "{gets} GETs of {bytes} bytes for boxes of {boxes}");
}

#[test]
fn a_compressed_image_that_is_decoded_whole_is_waited_for_once() {
    let product = compressed(Product::new(15), 20, 8_192);
    let rig = Rig::new(|lab| product.put(lab, "d/a.fits.fz"));
    let file = rig.open("d/a.fits.fz");
    assert!(product.reads_header(&file, 1));
    let map = product.map(&file);
    let Range { start, end } = product.data[1];
    for at in (start..end).step_by(PAGE) {
        assert!(product.is_in(&map, at, PAGE.min((end - at) as usize)), "at {at}");
    }
    let (gets, bytes) = gets_in_the_end(&rig);
    assert!(surprises(&rig) <= 2, "{gets} GETs of {bytes} bytes");
    assert!(gets <= 20 && bytes < end + 200_000, "{gets} GETs of {bytes} bytes of {end}");
}

/// A table whose rows have an array each, in their order: what a row costs is not a round trip.
#[test]
fn arrays_of_rows_here_and_there_are_fetched_in_few_gets() {
    let (rows, length) = (20_000_u64, 3_000);
    let cards = [
        "XTENSION= 'BINTABLE'".into(),
        "BITPIX  = 8".into(),
        "NAXIS   = 2".into(),
        "NAXIS1  = 16".into(),
        format!("NAXIS2  = {rows}"),
        format!("PCOUNT  = {}", rows * length),
        "GCOUNT  = 1".into(),
        "TFIELDS = 2".into(),
        "TFORM1  = 'D'".into(),
        "TFORM2  = '1PB'".into(),
    ];
    let product = Product::new(16).with(&cards, &[], rows * (16 + length));
    let rig = Rig::new(|lab| product.put(lab, "d/a.fits"));
    let file = rig.open("d/a.fits");
    let (table, mut row) = (product.data[1].start, 2_000);
    for step in noise(3).take(200) {
        for (at, len) in [(table + 16 * row, 16), (table + 16 * rows + row * length, length as usize)] {
            assert!(read_at(&file, at, len).unwrap() == product.at(at, len), "row {row}");
        }
        row += 40 + step % 80;
    }
    let (gets, bytes) = gets_in_the_end(&rig);
    assert!(gets <= 100, "{gets} GETs of {bytes} bytes for 200 rows");
    assert!(surprises(&rig) <= 20, "{} READs found nothing on their way", surprises(&rig));
}

/// A product of images of these many pixels a row and rows.
fn irregular(seed: u64, count: usize, least: u64, most: u64) -> Product {
    let rows = noise(seed).take(count).map(|x| least + x % (most - least));
    rows.fold(Product::new(seed), |product, rows| product.image(&[500, rows]))
}

/// Regression: the places of a hundred headers were guessed anew at each of them, in 823 GETs of 120 MB.
#[test]
fn headers_of_images_that_differ_in_length_take_few_requests_and_fewer_rounds() {
    let product = irregular(14, 100, 150, 1_000);
    let rig = Rig::new(|lab| product.put(lab, "d/a.fits"));
    rig.lab.shape(Shape::latency(Duration::from_millis(30)));
    let file = rig.open("d/a.fits");
    assert!((0..=100).all(|n| product.reads_header(&file, n)));
    let waits = rounds(gets_of(&rig, "d/a.fits"));
    let (gets, bytes) = gets_in_the_end(&rig);
    assert!(waits <= 60, "{waits} rounds for 100 headers");
    assert!(gets <= 200, "{gets} GETs of {bytes} bytes");
    // An eighth of the file for windows, and as much again with each eight rounds.
    let most = product.len / 64 * (8 + waits as u64) + 4 * MIB;
    assert!(bytes <= most, "{bytes} bytes in {gets} GETs of a file of {}", product.len);
}

#[test]
fn the_first_header_of_many_brings_few_others_along() {
    let product = irregular(15, 100, 1_500, 2_500);
    let rig = Rig::new(|lab| product.put(lab, "d/a.fits"));
    let file = rig.open("d/a.fits");
    assert!((0..2).all(|n| product.reads_header(&file, n)));
    let (gets, bytes) = gets_in_the_end(&rig);
    assert!(gets <= 30 && bytes <= MIB, "{gets} GETs of {bytes} bytes");
}

#[test]
fn a_thousand_short_hdus_are_listed_without_a_request_for_each() {
    let product = irregular(16, 1_000, 10, 25);
    let rig = Rig::new(|lab| product.put(lab, "d/a.fits"));
    let file = rig.open("d/a.fits");
    assert!((0..=1_000).all(|n| product.reads_header(&file, n)));
    let (gets, bytes) = gets_in_the_end(&rig);
    assert!(gets <= 150 && bytes <= product.len + MIB, "{gets} GETs of {bytes} bytes of {}", product.len);
}

/// Data of an image that are a FITS file of their own, as far as they go.
#[test]
fn files_within_the_data_are_not_taken_for_hdus() {
    let inner = Product::of_image(17, &[500, 100]);
    let inner = inner.at(0, inner.len as usize);
    let outer = (0..60).fold(Product::new(18), |product, n| {
        let len = 4 * 500 * (300 + n * 37 % 400);
        let axis = format!("NAXIS1  = {}", len / 4);
        let cards = ["XTENSION= 'IMAGE   '", "BITPIX  = -32", "NAXIS   = 1", &axis, "PCOUNT  = 0", "GCOUNT  = 1"];
        product.with(&cards, &inner, len)
    });
    let rig = Rig::new(|lab| outer.put(lab, "d/a.fits"));
    let file = rig.open("d/a.fits");
    assert!((0..=60).all(|n| outer.reads_header(&file, n)));
    let map = outer.map(&file);
    assert!(outer.is_in(&map, 0, outer.len as usize));
}
