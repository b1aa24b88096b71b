//! Compressed images, arrays of variable length and packed blocks: how many round trips a program waits for, and what
//! it costs.

use super::properties::{Fetched, Unit, product_of};
use super::*;

type File = (Vec<(u64, Vec<u8>)>, u64);

/// A program and the kernel: what is pushed into the page cache is read without the planner's knowledge.
struct Program<'a> {
    planner: Planner,
    file: &'a File,
    arrived: Fetched,
    cached: Fetched,
    on_its_way: Vec<Planned>,
    rounds: usize,
    bytes: u64,
    /// Of these, what was fetched as tiles.
    tiles: u64,
}

impl<'a> Program<'a> {
    fn opens(file: &'a File) -> Self {
        let mut planner = Planner::new(file.1, true, None, 64 * MIB, u64::MAX);
        let on_its_way = planner.on_expected();
        let (arrived, cached) = (Fetched::default(), Fetched::default());
        let mut program = Self { planner, file, arrived, cached, on_its_way, rounds: 0, bytes: 0, tiles: 0 };
        program.wait();
        program.cached.add(&(0..HEAD));
        program
    }

    /// All that is on its way arrives.
    fn wait(&mut self) {
        self.rounds += 1;
        for Planned { range, origin } in std::mem::take(&mut self.on_its_way) {
            let new = self.arrived.add(&range);
            self.bytes += new;
            self.tiles += if origin == Origin::Strided { new } else { 0 };
            match origin {
                Origin::Strided => drop(self.cached.add(&range)),
                Origin::Sequential => drop(self.cached.add(&(range.start + PAGE..range.end.max(range.start + PAGE)))),
                _ => {}
            }
            let held = |wanted: &Range<u64>| self.arrived.has(wanted).then(|| content(&self.file.0, wanted));
            self.on_its_way.extend(self.planner.on_arrival(held, &PACE));
        }
    }

    /// Reads `range`, `buffer` bytes at a time.
    fn reads(&mut self, range: Range<u64>, buffer: u64) {
        for at in (range.start / buffer * buffer..range.end).step_by(buffer as usize) {
            let read = at..(at + buffer).min(self.file.1);
            if self.cached.has(&read) {
                continue;
            }
            let within = |planned: &Planned| planned.range.start <= read.start && read.end <= planned.range.end;
            let held = self.arrived.has(&read) || self.on_its_way.iter().any(within);
            let Decision { demand, ahead, .. } = self.planner.on_read(read.clone(), Given { held, unseen: 0 }, &PACE);
            if !held {
                self.on_its_way.push(Planned { range: demand, origin: Origin::Demand });
            }
            self.on_its_way.extend(ahead);
            while !self.arrived.has(&read) {
                self.wait();
            }
        }
    }

    /// Finds an HDU, as programs do: along the headers.
    fn finds(&mut self, hdu: &Hdu) {
        self.reads(hdu.header_offset..hdu.header_offset + (16 << 10), PAGE);
    }
}

/// What is where: the program knows it from the headers that it reads.
fn layout_of(file: &File) -> Layout {
    let mut chain = crate::fits::Chain::new(file.1);
    while let crate::fits::Need::Bytes { offset, len } = chain.need() {
        assert!(chain.feed(offset, &content(&file.0, &(offset..offset + len))));
    }
    chain.into_layout()
}

const COLUMNS: u64 = 30;

/// Images in tiles of so many bytes each, behind a primary HDU.
fn compressed(tiles: impl IntoIterator<Item = u64>) -> File {
    let primary = Unit::Image { extra: 0, axes: Vec::new(), scaled: false };
    let images = tiles.into_iter().map(|tile| Unit::Tiles { columns: COLUMNS, rows: 30, tile });
    product_of(&std::iter::once(primary).chain(images).collect::<Vec<_>>())
}

/// Reads 4 x 4 tiles.
fn cuts_out(program: &mut Program, hdu: &Hdu, tile: u64, buffer: u64) {
    let heap = hdu.table.as_ref().unwrap().heap.as_ref().unwrap().offset;
    program.reads(hdu.data_offset..heap, buffer);
    for (row, column) in (12..16).flat_map(|row| (9..13).map(move |column| (row, column))) {
        let at = heap + (row * COLUMNS + column) * tile;
        program.reads(at..at + tile, buffer);
    }
}

#[test]
fn three_boxes_of_a_file_take_four_rounds() {
    let tiles = [8_000, 15_000, 9_000];
    let file = compressed(tiles);
    let layout = layout_of(&file);
    for buffer in [PAGE, 2 * PAGE] {
        let mut program = Program::opens(&file);
        for (hdu, tile) in layout.hdus[1..].iter().zip(tiles) {
            program.finds(hdu);
            cuts_out(&mut program, hdu, tile, buffer);
        }
        assert!(program.rounds <= 4, "{} rounds by {buffer} bytes", program.rounds);
        let boxes = 16 * tiles.iter().sum::<u64>();
        assert!(program.bytes < boxes + MIB, "{} bytes for boxes of {boxes}", program.bytes);
    }
}

/// Headers alone say little: one box that is not wanted is the price of finding out.
#[test]
fn a_program_that_lists_headers_behind_a_box_wants_no_more_boxes() {
    let tiles: Vec<_> = (0..20).map(|n| 20_000 + 100 * n).collect();
    let file = compressed(tiles.clone());
    let hdus = layout_of(&file).hdus;
    let mut program = Program::opens(&file);
    hdus[1..4].iter().for_each(|hdu| program.finds(hdu));
    cuts_out(&mut program, &hdus[3], tiles[2], PAGE);
    hdus[4..].iter().for_each(|hdu| program.finds(hdu));
    assert!(program.tiles < 3 * 16 * 25_000, "{} bytes of tiles for a box of 16", program.tiles);
}

#[test]
fn a_compressed_image_that_is_decoded_whole_takes_three_rounds() {
    for (first, tile) in [(8_000, 3_000), (3_000, 3_000), (9_000, 1_000)] {
        let file = compressed([first, tile]);
        let layout = layout_of(&file);
        for hdu in &layout.hdus[1..] {
            let mut program = Program::opens(&file);
            program.finds(hdu);
            let found = program.rounds;
            program.reads(hdu.data_offset..hdu.data_offset + hdu.data_len, PAGE);
            let rounds = program.rounds - found;
            assert!(rounds <= 2, "{rounds} rounds for HDU {} with tiles of {first} and {tile}", hdu.index);
        }
    }
}

/// A table of rows with an array each, which lie in the order of the rows: what it says in them, and where they are.
fn arrays(rows: u64, length: u64) -> File {
    let lines = [
        "XTENSION= 'BINTABLE'".to_owned(),
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
    let primary = cards(&["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 0"]);
    let header = cards(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    let start = primary.len() as u64;
    let size = start + header.len() as u64 + (rows * (16 + length)).next_multiple_of(2880);
    (vec![(0, primary), (start, header)], size)
}

#[test]
fn rows_here_and_there_cost_less_than_a_round_each() {
    let (rows, length) = (30_000, 3_600);
    let file = arrays(rows, length);
    let hdu = layout_of(&file).hdus[1].clone();
    let heap = hdu.data_offset + 16 * rows;
    let mut program = Program::opens(&file);
    let mut row = 3_000;
    for n in 0..300 {
        program.reads(hdu.data_offset + 16 * row..hdu.data_offset + 16 * row + 16, 2 * PAGE);
        program.reads(heap + row * length..heap + (row + 1) * length, 2 * PAGE);
        row += 60 + n * 7_919 % 50;
    }
    assert!(program.rounds <= 30, "{} rounds for 300 rows", program.rounds);
}

#[test]
fn a_heap_in_the_order_of_its_rows_takes_few_rounds() {
    let (rows, length) = (30_000, 3_600);
    let file = arrays(rows, length);
    let hdu = layout_of(&file).hdus[1].clone();
    let mut program = Program::opens(&file);
    program.reads(hdu.data_offset..hdu.data_offset + hdu.data_len, PAGE);
    assert!(program.rounds <= 10, "{} rounds for 108 MB", program.rounds);
}

#[test]
fn one_row_of_a_table_with_arrays_costs_little() {
    let (rows, length) = (30_000, 3_600);
    let file = arrays(rows, length);
    let hdu = layout_of(&file).hdus[1].clone();
    let heap = hdu.data_offset + 16 * rows;
    let mut program = Program::opens(&file);
    program.reads(hdu.data_offset + 16 * 20_000..hdu.data_offset + 16 * 20_001, 2 * PAGE);
    program.reads(heap + 20_000 * length..heap + 20_001 * length, 2 * PAGE);
    assert!(program.bytes < 256 << 10, "{} bytes", program.bytes);
}

#[test]
fn a_packed_block_comes_whole_with_its_first_bytes() {
    let (mut headers, size) = blocks(2, 16);
    for (_, header) in headers.iter_mut().filter(|(_, header)| header.starts_with(b"\xd3BLK")) {
        header[10..14].copy_from_slice(b"lz4\0");
    }
    let file = (headers, size);
    let mut program = Program::opens(&file);
    while program.planner.layout().hdus.len() < 3 {
        program.wait();
    }
    let block = program.planner.layout().hdus[2].clone();
    let before = program.rounds;
    program.reads(block.data_offset..block.data_offset + block.data_len, 2 * PAGE);
    assert!(program.rounds - before <= 2, "{} rounds", program.rounds - before);
}
