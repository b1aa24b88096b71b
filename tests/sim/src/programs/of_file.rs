//! Accesses that go by offsets: in order, backwards, at random; headers; and files that are no FITS files.

use std::ops::Range;

use super::{Mode, Op, Pen, Style};
use crate::file::Form;

const MIB: u64 = 1 << 20;

/// A case reads at most so much, in bytes.
const MOST: u64 = 512 * MIB;
const MOST_IN_ORDER: u64 = 2048 * MIB;

/// The data of some HDU, which has been opened; or all of a file that is no FITS file.
fn some_data(pen: &mut Pen) -> Option<Range<u64>> {
    if !pen.file.is_fits {
        return Some(0..pen.file.size);
    }
    let n = pen.some(|unit| !unit.data.is_empty())?;
    pen.open(n);
    Some(pen.file.hdus[n].data.clone())
}

/// A part of a range, in whole pages of memory or not.
fn part(pen: &mut Pen, range: &Range<u64>, least: u64, most: u64) -> Range<u64> {
    let length = pen.rng.log(least.min(range.end - range.start), most.min(range.end - range.start));
    let start = range.start + pen.rng.below(range.end - range.start - length + 1);
    start..start + length
}

/// In order, from anywhere.
pub(super) fn contiguous(pen: &mut Pen) -> Option<()> {
    let data = some_data(pen)?;
    let part = part(pen, &data, 64 << 10, 256 * MIB);
    pen.data(part);
    Some(())
}

/// All data of an HDU.
pub(super) fn whole_unit(pen: &mut Pen) -> Option<()> {
    let data = some_data(pen)?;
    let short = data.end - data.start <= MOST_IN_ORDER;
    short.then(|| pen.data(data))
}

/// The file, as a copy reads it.
pub(super) fn whole_file(pen: &mut Pen) -> Option<()> {
    pen.mode = Mode::Read(pen.rng.pick(&[64 << 10, 128 << 10, MIB]));
    let size = pen.file.size;
    (size <= MOST_IN_ORDER).then(|| pen.data(0..size))
}

/// Pieces of about a MiB at random places.
pub(super) fn preads(pen: &mut Pen) -> Option<()> {
    let data = some_data(pen)?;
    let length = pen.rng.log(128 << 10, 4 * MIB).min(data.end - data.start);
    pen.mode = Mode::Read(length);
    for _ in 0..pen.rng.log(3, 60) {
        let start = data.start + pen.rng.below(data.end - data.start - length + 1);
        pen.data(start..start + length);
    }
    Some(())
}

/// All headers.
pub(super) fn headers(pen: &mut Pen) -> Option<()> {
    let last = pen.file.hdus.len().checked_sub(1)?;
    pen.open(last);
    Some(())
}

/// The data of one HDU far into the file.
pub(super) fn unit(pen: &mut Pen) -> Option<()> {
    let data = some_data(pen)?;
    let is_one_of_many = pen.file.hdus.len() >= 4 && data.end - data.start <= MOST;
    is_one_of_many.then(|| pen.data(data))
}

/// In pieces, from the end of a range to its start.
pub(super) fn backward(pen: &mut Pen) -> Option<()> {
    let data = some_data(pen)?;
    let range = part(pen, &data, 256 << 10, 128 * MIB);
    let piece = pen.rng.log(4 << 10, MIB).max((range.end - range.start) / 20_000);
    let mut end = range.end;
    while end > range.start {
        let start = end.saturating_sub(piece).max(range.start);
        match pen.mode {
            Mode::Map => pen.ops.push(Op::Map(pen.index, start..end)),
            Mode::Read(_) => pen.read(start..end),
        }
        end = start;
    }
    Some(())
}

/// Some readers in order, in turns.
pub(super) fn interleaved(pen: &mut Pen) -> Option<()> {
    let data = some_data(pen)?;
    let count = pen.rng.between(2, 5);
    let longest = (MOST / count).min((data.end - data.start) / count);
    let length = pen.rng.log((256 << 10).min(longest), longest).max(1);
    let starts: Vec<u64> = (0..count).map(|_| data.start + pen.rng.below(data.end - data.start - length + 1)).collect();
    let turn = pen.rng.log(4 << 10, MIB).max(length / 5000);
    for at in (0..length).step_by(turn as usize) {
        starts.iter().for_each(|start| pen.data(start + at..start + length.min(at + turn)));
    }
    Some(())
}

/// Threads that read parts in order.
pub(super) fn threads(pen: &mut Pen) -> Option<()> {
    let data = some_data(pen)?;
    beside(pen, |pen| {
        let part = part(pen, &data, 256 << 10, 64 * MIB);
        pen.data(part);
    })
}

/// Threads that read at random.
pub(super) fn random_threads(pen: &mut Pen) -> Option<()> {
    let data = some_data(pen)?;
    let length = pen.rng.log(4 << 10, 2 * MIB).min(data.end - data.start);
    let count = pen.rng.log(3, 40);
    beside(pen, |pen| {
        for _ in 0..count {
            let start = data.start + pen.rng.below(data.end - data.start - length + 1);
            pen.data(start..start + length);
        }
    })
}

/// Has 2 to 8 threads do something, the first of which is the one that has opened the file.
fn beside(pen: &mut Pen, mut work: impl FnMut(&mut Pen)) -> Option<()> {
    // The others wait until the first one has opened the file, in a time that no policy takes less for.
    let opened = pen.ops.clone();
    for _ in 1..pen.rng.between(2, 8) {
        let mut ops = opened.clone();
        std::mem::swap(&mut ops, &mut pen.ops);
        work(pen);
        std::mem::swap(&mut ops, &mut pen.ops);
        pen.others.push(ops);
    }
    work(pen);
    Some(())
}

/// Columns of row groups of a Parquet file: the footer first, which says where they are.
pub(super) fn parquet(pen: &mut Pen) -> Option<()> {
    (pen.file.layout == "Parquet").then_some(())?;
    let size = pen.file.size;
    (pen.style, pen.mode) = (Style::Plain, Mode::Read(8 * MIB));
    pen.read(size - 8..size);
    let footer = pen.rng.log(2 << 10, 500 << 10).min(size / 8);
    pen.data(size - footer..size);
    let (groups, columns) = (pen.rng.log(1, 40), pen.rng.log(2, 60));
    let (group, chunk) = ((size - footer) / groups, (size - footer) / groups / columns);
    let wanted: Vec<u64> = (0..pen.rng.between(1, 3)).map(|_| pen.rng.below(columns)).collect();
    let first = pen.rng.below(groups);
    let some = pen.rng.between(1, groups - first);
    for n in first..first + some {
        for column in &wanted {
            let start = n * group + column * chunk;
            pen.data(start..start + chunk.clamp(1, MOST / some));
        }
    }
    Some(())
}

/// Chunks of datasets of an HDF5 file: the superblock, objects and indices here and there, then chunks.
pub(super) fn hdf5(pen: &mut Pen) -> Option<()> {
    (pen.file.layout == "HDF5").then_some(())?;
    let size = pen.file.size;
    (pen.style, pen.mode) = (Style::Plain, Mode::Read(8 * MIB));
    pen.read(0..8);
    pen.read(0..512);
    for _ in 0..pen.rng.log(3, 40) {
        let at = if pen.rng.chance(0.6) { pen.rng.below(64 << 10) } else { pen.rng.below(size - 4096) };
        let length = pen.rng.log(64, 4096);
        pen.read(at..at + length);
    }
    let chunk = pen.rng.log(16 << 10, 4 * MIB).min(size / 4);
    let first = pen.rng.below(size / 2);
    let apart = if pen.rng.chance(0.5) { chunk } else { chunk * pen.rng.between(2, 9) };
    for n in 0..pen.rng.log(1, 100) {
        let start = first + n * apart;
        if start + chunk <= size {
            pen.data(start..start + chunk);
        }
    }
    Some(())
}

/// Whether a table is wanted that has no arrays.
pub(super) fn is_plain_table(form: &Form) -> bool {
    matches!(form, Form::Table { arrays: None, rows, .. } if *rows > 1)
}
