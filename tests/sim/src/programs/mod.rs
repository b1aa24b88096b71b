//! What programs do with a file: families of accesses, as numpy, astropy, cfitsio and others make them.
//!
//! A family is one function: it draws what it needs and writes operations, or says that the file is not of its kind.

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
    /// What kind of program.
    pub family: &'static str,
    /// Its threads.
    pub threads: Vec<Vec<Op>>,
    /// Seconds that it computes after each access.
    pub think: f64,
}

/// A family of programs.
type Family = fn(&mut Pen) -> Option<()>;

/// All families.
const FAMILIES: [(&str, Family); 33] = [
    ("contiguous", of_file::contiguous),
    ("whole unit", of_file::whole_unit),
    ("whole file", of_file::whole_file),
    ("half of an image", of_array::half),
    ("rows", of_array::rows),
    ("columns", of_array::columns),
    ("one plane", of_array::plane),
    ("planes in succession", of_array::planes),
    ("spectra", of_array::spectra),
    ("sub-cube", of_array::sub_cube),
    ("decimated", of_array::decimated),
    ("diagonal", of_array::diagonal),
    ("random points", of_array::points),
    ("apertures", of_array::apertures),
    ("apertures in many", of_array::apertures_in_units),
    ("one box in several units", of_array::boxes),
    ("random preads", of_file::preads),
    ("scattered rows", of_table::scattered),
    ("one column", of_table::column),
    ("rows in order", of_table::ordered),
    ("heap in row order", of_table::heap),
    ("arrays row by row", of_table::arrays),
    ("tiles", of_tiles::cutout),
    ("tiles in several units", of_tiles::cutouts),
    ("all tiles", of_tiles::all),
    ("headers", of_file::headers),
    ("data of unit n", of_file::unit),
    ("backward", of_file::backward),
    ("interleaved", of_file::interleaved),
    ("threads", of_file::threads),
    ("threads at random", of_file::random_threads),
    ("Parquet", of_file::parquet),
    ("HDF5", of_file::hdf5),
];

/// The names of all families.
pub fn families() -> impl Iterator<Item = &'static str> {
    FAMILIES.iter().map(|(name, _)| *name)
}

/// Some program that makes sense for the file.
pub fn any(rng: &mut Rng, file: &File) -> Program {
    // Programs that compute: a few milliseconds for each access.
    let think = if rng.chance(0.15) { 0.001 + 0.004 * rng.unit() } else { 50e-6 * rng.unit() };
    loop {
        let (family, write) = rng.pick(&FAMILIES);
        let mut pen = Pen::new(rng, file);
        if write(&mut pen).is_some() {
            return Program { family, threads: pen.threads(), think };
        }
    }
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

/// Writes the operations of a program.
struct Pen<'a> {
    rng: &'a mut Rng,
    file: &'a File,
    style: Style,
    mode: Mode,
    ops: Vec<Op>,
    /// Threads that run beside this one after it has opened the file.
    others: Vec<Vec<Op>>,
}

impl<'a> Pen<'a> {
    fn new(rng: &'a mut Rng, file: &'a File) -> Self {
        let style = if rng.chance(0.65) { Style::Astropy } else { Style::Cfitsio };
        let mode = match style {
            Style::Astropy if rng.chance(0.75) => Mode::Map,
            _ => Mode::Read(rng.pick(&[4 << 10, 16 << 10, 64 << 10, 128 << 10, 1 << 20, 8 << 20])),
        };
        Self { rng, file, style, mode, ops: vec![Op::LookUp(0), Op::Open(0)], others: Vec::new() }
    }

    fn threads(self) -> Vec<Vec<Op>> {
        [vec![self.ops], self.others].concat()
    }

    /// Reads a range of data.
    fn data(&mut self, range: Range<u64>) {
        let range = range.start..range.end.min(self.file.size);
        match self.mode {
            _ if range.is_empty() => {}
            Mode::Map => self.map(range),
            Mode::Read(piece) => {
                for at in (range.start..range.end).step_by(piece as usize) {
                    self.ops.push(Op::Read(0, at..range.end.min(at + piece)));
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
        self.ops.push(Op::Map(0, range));
    }

    fn read(&mut self, range: Range<u64>) {
        self.ops.push(Op::Read(0, range.start..range.end.min(self.file.size)));
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
            let file = layouts::any(&mut rng);
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
