//! Images that are compressed in tiles: descriptors of the tiles that a cutout needs, then these tiles.

use super::{Op, Pen};
use crate::file::{Arrays, Form};

/// A cutout decodes at most so many tiles.
const TILES: u64 = 4000;

fn tiles_of(pen: &Pen, n: usize) -> Option<((u64, u64), u64, Arrays)> {
    let unit = &pen.file.hdus[n];
    match &unit.form {
        Form::Tiled { grid, arrays } => Some((*grid, unit.data.start, arrays.clone())),
        _ => None,
    }
}

/// A box of the grid of tiles, as a fraction of it.
#[derive(Clone, Copy)]
struct Cutout {
    from: (f64, f64),
    size: (f64, f64),
}

impl Cutout {
    fn any(pen: &mut Pen) -> Self {
        let size = (pen.rng.unit().powi(2), pen.rng.unit().powi(2));
        Self { from: (pen.rng.unit() * (1.0 - size.0), pen.rng.unit() * (1.0 - size.1)), size }
    }

    /// Decodes the box in one HDU: row by row of the grid, first the descriptors.
    fn read(&self, pen: &mut Pen, n: usize) -> Option<()> {
        let ((columns, rows), table, arrays) = tiles_of(pen, n)?;
        let place = |of: u64, from: f64| ((of as f64 * from) as u64).min(of - 1);
        let extent = |of: u64, from: u64, size: f64| ((of as f64 * size).ceil() as u64).clamp(1, of - from);
        let (left, top) = (place(columns, self.from.0), place(rows, self.from.1));
        let width = extent(columns, left, self.size.0);
        let height = extent(rows, top, self.size.1).min((TILES / width).max(1));
        for row in top..top + height {
            let first = row * columns + left;
            pen.map(table + first * 16..table + (first + width) * 16);
        }
        for row in top..top + height {
            for tile in row * columns + left..row * columns + left + width {
                pen.data(arrays.of(tile));
            }
        }
        Some(())
    }
}

/// A cutout of one image.
pub(super) fn cutout(pen: &mut Pen) -> Option<()> {
    let n = pen.some(|unit| matches!(unit.form, Form::Tiled { .. }))?;
    pen.open(n);
    Cutout::any(pen).read(pen, n)
}

/// The same cutout of several images, one after the other.
pub(super) fn cutouts(pen: &mut Pen) -> Option<()> {
    let is_tiled = |n: &usize| matches!(pen.file.hdus[*n].form, Form::Tiled { .. });
    let tiled: Vec<usize> = (0..pen.file.hdus.len()).filter(is_tiled).collect();
    if tiled.len() < 2 {
        return None;
    }
    let cutout = Cutout::any(pen);
    pen.open(tiled[0]);
    let mut before = tiled[0];
    for n in tiled.into_iter().take(6) {
        if n > before {
            pen.headers(before + 1, n);
            before = n;
        }
        cutout.read(pen, n)?;
    }
    Some(())
}

/// One image as a whole: the table, then the heap.
pub(super) fn all(pen: &mut Pen) -> Option<()> {
    let n = pen.some(|unit| matches!(unit.form, Form::Tiled { .. }))?;
    pen.open(n);
    let (_, table, arrays) = tiles_of(pen, n)?;
    pen.map(table..arrays.heap);
    let tiles = arrays.ends.len() as u64;
    pen.ops.push(Op::Think(0.001));
    (0..tiles.min(200_000)).for_each(|tile| pen.data(arrays.of(tile)));
    Some(())
}
