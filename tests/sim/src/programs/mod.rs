//! What programs do with a file: families of accesses, as numpy, astropy, cfitsio and others make them.
//!
//! A family is one function: it draws what it needs and writes operations, or says that it cannot be had with this file.

mod of_array;
mod of_file;
mod of_table;
mod of_tiles;
mod opening;

use std::ops::Range;

use crate::file::{File, Form, Unit};
use crate::pages::PAGE;
use crate::rng::Rng;

/// One operation of a thread.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Looks a file up by its name.
    LookUp(usize),
    /// Opens it.
    Open(usize),
    /// Touches a range of a memory map, in order.
    Map(usize, Range<u64>),
    /// Reads a range into memory of its own (`pread`).
    Read(usize, Range<u64>),
    /// Computes for so many seconds.
    Think(f64),
    /// Closes it.
    Close(usize),
}

/// What a program does.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its family.
    pub family: &'static str,
    /// Its threads.
    pub threads: Vec<Vec<Op>>,
    /// Seconds that it computes after each access.
    pub think: f64,
}

/// A family of programs.
type Family = fn(&mut Pen) -> Option<()>;

/// All families, and how often they come where the file allows them: most where few files do.
const FAMILIES: [(&str, u64, Family); 33] = [
    ("contiguous", 1, of_file::contiguous),
    ("whole unit", 1, of_file::whole_unit),
    ("whole file", 1, of_file::whole_file),
    ("half of an image", 2, of_array::half),
    ("rows", 6, of_array::rows),
    ("columns", 3, of_array::columns),
    ("one plane", 6, of_array::plane),
    ("planes in succession", 6, of_array::planes),
    ("spectra", 6, of_array::spectra),
    ("sub-cube", 6, of_array::sub_cube),
    ("decimated", 2, of_array::decimated),
    ("diagonal", 2, of_array::diagonal),
    ("random points", 3, of_array::points),
    ("apertures", 4, of_array::apertures),
    ("apertures in many", 3, of_array::apertures_in_units),
    ("one box in several units", 4, of_array::boxes),
    ("random preads", 2, of_file::preads),
    ("scattered rows", 6, of_table::scattered),
    ("one column", 6, of_table::column),
    ("rows in order", 4, of_table::ordered),
    ("heap in row order", 12, of_table::heap),
    ("arrays row by row", 12, of_table::arrays),
    ("tiles", 6, of_tiles::cutout),
    ("tiles in several units", 6, of_tiles::cutouts),
    ("all tiles", 4, of_tiles::all),
    ("headers", 3, of_file::headers),
    ("data of unit n", 3, of_file::unit),
    ("backward", 1, of_file::backward),
    ("interleaved", 1, of_file::interleaved),
    ("threads", 1, of_file::threads),
    ("threads at random", 1, of_file::random_threads),
    ("Parquet", 20, of_file::parquet),
    ("HDF5", 20, of_file::hdf5),
];

/// Lists of files: how many threads go through them, and in which order.
const LISTS: [(&str, u64, bool); 4] = [
    ("list of files", 1, true),
    ("list in any order", 1, false),
    ("list by threads", 4, true),
    ("list in any order by threads", 8, false),
];

/// Seconds that a program computes after each access: mostly next to nothing, or some milliseconds.
fn think(rng: &mut Rng) -> f64 {
    if rng.chance(0.15) { 0.001 + 0.004 * rng.unit() } else { 50e-6 * rng.unit() }
}

/// Some program that makes sense for the file.
pub fn any(rng: &mut Rng, file: &File) -> Program {
    let think = think(rng);
    loop {
        let (family, write) = family(rng);
        let mut pen = Pen::new(rng, file, 0);
        if write(&mut pen).is_some() {
            let mut threads = pen.threads();
            threads.iter_mut().for_each(|ops| ops.insert(0, Op::LookUp(0)));
            return Program { family, threads, think };
        }
    }
}

/// A program that does the same with each file of a list, which are alike: mostly at the same places.
pub fn any_list(rng: &mut Rng, files: &[File]) -> Program {
    let think = think(rng);
    let (name, threads, in_order) = rng.pick(&LISTS);
    let is_same = rng.chance(0.8);
    loop {
        let (_, write) = family(rng);
        let seed = rng.draw();
        let of = |(index, file): (usize, &File)| {
            let mut rng = Rng::new(if is_same { seed } else { seed ^ index as u64 });
            let mut pen = Pen::new(&mut rng, file, index);
            let written = write(&mut pen).is_some() && pen.others.is_empty();
            written.then(|| pen.threads().concat())
        };
        let Some(mut list) = files.iter().enumerate().map(of).collect::<Option<Vec<_>>>() else { continue };
        // A case is no longer than those of one file are.
        let touched =
            |op: &Op| if let Op::Map(_, range) | Op::Read(_, range) = op { range.end - range.start } else { 0 };
        if list.iter().flatten().map(touched).sum::<u64>() > MOST_OF_A_LIST
            || list.iter().map(Vec::len).sum::<usize>() > 200_000
        {
            continue;
        }
        if !in_order {
            (1..list.len()).rev().for_each(|n| list.swap(n, rng.below(n as u64 + 1) as usize));
        }
        // The names are known from the listing after the first look-up.
        let first = list[0].iter().find_map(|op| if let Op::Open(file) = op { Some(*file) } else { None }).unwrap_or(0);
        let mut queues = vec![vec![Op::LookUp(first)]; threads.min(list.len() as u64) as usize];
        let count = queues.len();
        list.into_iter().enumerate().for_each(|(n, ops)| queues[n % count].extend(ops));
        return Program { family: name, threads: queues, think };
    }
}

/// Bytes that a program on a list touches at most.
const MOST_OF_A_LIST: u64 = 2 << 30;

/// Some family, by weight.
fn family(rng: &mut Rng) -> (&'static str, Family) {
    let mut left = rng.below(FAMILIES.iter().map(|(_, weight, _)| weight).sum());
    for (name, weight, write) in FAMILIES {
        if left < weight {
            return (name, write);
        }
        left -= weight;
    }
    let (name, _, write) = FAMILIES[0];
    (name, write)
}

/// How a program opens files.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Style {
    Astropy,
    Cfitsio,
    /// Knows where to read.
    Plain,
}

/// How a program reads data.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    /// Touches pages of a memory map.
    Map,
    /// Reads pieces of at most so many bytes.
    Read(u64),
}

/// A range is read in so many pieces at most: they are all in memory.
const PIECES: u64 = 20_000;

/// Writes the operations of a program.
struct Pen<'a> {
    rng: &'a mut Rng,
    file: &'a File,
    /// Its number in the case.
    index: usize,
    style: Style,
    mode: Mode,
    ops: Vec<Op>,
    /// Threads that run beside this one after it has opened the file.
    others: Vec<Vec<Op>>,
}

impl<'a> Pen<'a> {
    fn new(rng: &'a mut Rng, file: &'a File, index: usize) -> Self {
        let style = if rng.chance(0.65) { Style::Astropy } else { Style::Cfitsio };
        let mode = match style {
            Style::Astropy if rng.chance(0.75) => Mode::Map,
            _ => Mode::Read(rng.pick(&[4 << 10, 16 << 10, 64 << 10, 128 << 10, 1 << 20, 8 << 20])),
        };
        Self { rng, file, index, style, mode, ops: vec![Op::Open(index)], others: Vec::new() }
    }

    fn threads(mut self) -> Vec<Vec<Op>> {
        self.ops.push(Op::Close(self.index));
        self.others.iter_mut().for_each(|ops| ops.push(Op::Close(self.index)));
        [vec![self.ops], self.others].concat()
    }

    /// Reads a range of data.
    fn data(&mut self, range: Range<u64>) {
        let range = range.start..range.end.min(self.file.size);
        match self.mode {
            _ if range.is_empty() => {}
            Mode::Map => self.map(range),
            Mode::Read(piece) => {
                let piece = piece.max((range.end - range.start) / PIECES);
                for at in (range.start..range.end).step_by(piece as usize) {
                    self.ops.push(Op::Read(self.index, at..range.end.min(at + piece)));
                }
            }
        }
    }

    /// Touches a range of a memory map.
    fn map(&mut self, range: Range<u64>) {
        // A range that begins in the page where the last one ended touches nothing new there.
        if let Some(Op::Map(_, last)) = self.ops.last_mut()
            && range.start / PAGE == (last.end - 1) / PAGE
            && range.end >= last.end
        {
            last.end = range.end;
            return;
        }
        self.ops.push(Op::Map(self.index, range));
    }

    fn read(&mut self, range: Range<u64>) {
        self.ops.push(Op::Read(self.index, range.start..range.end.min(self.file.size)));
    }

    /// The number of some HDU that has data and is as wanted.
    fn some(&mut self, is_wanted: impl Fn(&Unit) -> bool) -> Option<usize> {
        let wanted: Vec<usize> = (0..self.file.hdus.len()).filter(|n| is_wanted(&self.file.hdus[*n])).collect();
        (!wanted.is_empty()).then(|| self.rng.pick(&wanted))
    }

    /// Some array, whose HDU has been opened: its data, its axes, bytes of an element.
    fn array(&mut self, is_wanted: impl Fn(&[u64]) -> bool) -> Option<Array> {
        let n = self.some(|hdu| matches!(&hdu.form, Form::Image { axes, .. } if is_wanted(axes)))?;
        self.open(n);
        Array::of(&self.file.hdus[n])
    }
}

/// An array in a file.
#[derive(Clone, Debug)]
struct Array {
    data: Range<u64>,
    element: u64,
    /// The contiguous axis, the second one, and all others as one.
    nx: u64,
    ny: u64,
    nz: u64,
}

impl Array {
    fn of(unit: &Unit) -> Option<Self> {
        let Form::Image { axes, element } = &unit.form else { return None };
        let nx = *axes.first()?;
        let ny = axes.get(1).copied().unwrap_or(1);
        let nz = axes.iter().skip(2).product();
        Some(Self { data: unit.data.clone(), element: *element, nx, ny, nz })
    }

    fn row(&self) -> u64 {
        self.nx * self.element
    }

    fn plane(&self) -> u64 {
        self.row() * self.ny
    }

    /// Where `count` elements from a place on are.
    fn at(&self, x: u64, y: u64, z: u64, count: u64) -> Range<u64> {
        let start = self.data.start + z * self.plane() + y * self.row() + x * self.element;
        start..start + count * self.element
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layouts;

    #[test]
    fn every_family_has_programs_and_all_stay_within_their_file() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..1500 {
            let mut rng = Rng::new(seed);
            let file = layouts::any(&mut rng, 1).remove(0);
            let program = any(&mut rng, &file);
            seen.insert(program.family);
            assert!(program.threads.iter().map(Vec::len).sum::<usize>() <= 300_000, "{seed}: {}", program.family);
            for op in program.threads.iter().flatten() {
                if let Op::Map(_, range) | Op::Read(_, range) = op {
                    assert!(range.start < range.end && range.end <= file.size, "{seed}: {} {op:?}", program.family);
                }
            }
        }
        assert_eq!(seen.len(), FAMILIES.len(), "{seen:?}");
    }
}
