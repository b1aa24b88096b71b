//! Rows, columns and arrays of tables.

use std::ops::Range;

use super::of_file::is_plain_table;
use super::opening::BUFFER;
use super::{Mode, Pen};
use crate::file::{Arrays, Form};
use crate::pages::PAGE;

/// A case reads at most so much, in bytes, and at so many places.
const MOST: u64 = 512 << 20;
const PLACES: u64 = 20_000;

/// Some table without arrays, which has been opened: where it is, bytes of a row, rows, columns.
fn table(pen: &mut Pen) -> Option<(u64, u64, u64, Vec<Range<u64>>)> {
    let n = pen.some(|unit| is_plain_table(&unit.form))?;
    pen.open(n);
    let unit = &pen.file.hdus[n];
    match &unit.form {
        Form::Table { row, rows, columns, .. } => Some((unit.data.start, *row, *rows, columns.clone())),
        _ => None,
    }
}

/// Some table with arrays, which has been opened: where it is, rows, arrays.
fn array_table(pen: &mut Pen) -> Option<(u64, u64, Arrays)> {
    let n = pen.some(|unit| matches!(unit.form, Form::Table { arrays: Some(_), .. }))?;
    pen.open(n);
    let unit = &pen.file.hdus[n];
    match &unit.form {
        Form::Table { rows, arrays: Some(arrays), .. } => Some((unit.data.start, *rows, arrays.clone())),
        _ => None,
    }
}

/// Rows here and there, ascending, as the result of a query.
pub(super) fn scattered(pen: &mut Pen) -> Option<()> {
    let (start, row, rows, _) = table(pen)?;
    let mut wanted: Vec<u64> = (0..pen.rng.log(5, 500)).map(|_| pen.rng.below(rows)).collect();
    wanted.sort_unstable();
    for n in wanted {
        let at = start + n * row;
        pen.data(at..at + row);
    }
    Some(())
}

/// Rows from some to some.
pub(super) fn ordered(pen: &mut Pen) -> Option<()> {
    let (start, row, rows, _) = table(pen)?;
    let count = pen.rng.log(1, rows.min(MOST / row).max(1));
    let first = pen.rng.below(rows - count + 1);
    pen.data(start + first * row..start + (first + count) * row);
    Some(())
}

/// One column of all rows, by a memory map.
pub(super) fn column(pen: &mut Pen) -> Option<()> {
    let (start, row, rows, columns) = table(pen)?;
    let column = columns[pen.rng.below(columns.len() as u64) as usize].clone();
    if row < PAGE {
        pen.map(start..start + (rows * row).min(MOST));
    } else {
        for n in 0..rows.min(PLACES) {
            pen.map(start + n * row + column.start..start + n * row + column.end);
        }
    }
    Some(())
}

/// Arrays as astropy reads them: the descriptors, then the heap in the order of the rows, in small reads.
pub(super) fn heap(pen: &mut Pen) -> Option<()> {
    let (start, rows, arrays) = array_table(pen)?;
    pen.map(start..start + rows * arrays.row);
    let first = if pen.rng.chance(0.3) { 0 } else { pen.rng.below(rows) };
    let last = pen.rng.between(first, rows - 1).max(pen.rng.between(first, rows - 1));
    let end = arrays.of(last).end.min(arrays.of(first).start + (160 << 20));
    // Python reads by its buffer, the C library for numpy by pages.
    let piece = pen.rng.pick(&[BUFFER, PAGE, PAGE]);
    pen.mode = Mode::Read(piece);
    pen.data(arrays.of(first).start / PAGE * PAGE..end);
    Some(())
}

/// Arrays as cfitsio reads them: the descriptor of a row, then its array.
pub(super) fn arrays(pen: &mut Pen) -> Option<()> {
    let (start, rows, arrays) = array_table(pen)?;
    let count = pen.rng.log(2, rows.min(2000));
    let step = if pen.rng.chance(0.6) { 1 } else { pen.rng.between(1, (rows / count).max(1)) };
    let first = pen.rng.below(rows - count * step + 1);
    for n in (0..count).map(|n| first + n * step) {
        let at = (start + n * arrays.row + arrays.at) / PAGE * PAGE;
        pen.read(at..at + PAGE);
        let array = arrays.of(n);
        pen.read(array.start / PAGE * PAGE..array.end);
    }
    Some(())
}
