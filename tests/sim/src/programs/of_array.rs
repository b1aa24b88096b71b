//! Parts of images and cubes, as slices of numpy arrays or sections of cfitsio read them.

use super::{Array, Pen};
use crate::file::Form;
use crate::pages::PAGE;

/// A case reads at most so much data, in bytes, and at so many places.
const MOST: u64 = 512 << 20;
const PLACES: u64 = 20_000;

fn is_image(axes: &[u64]) -> bool {
    axes.len() >= 2
}

fn is_cube(axes: &[u64]) -> bool {
    axes.len() >= 3
}

/// The first or the second half of an image.
pub(super) fn half(pen: &mut Pen) -> Option<()> {
    let array = pen.array(is_image)?;
    let plane = array.plane();
    let z = pen.rng.below(array.nz);
    let half = if pen.rng.chance(0.7) { plane / 2..plane } else { 0..plane / 2 };
    let start = array.data.start + z * plane;
    (plane <= 2 * MOST).then(|| pen.data(start + half.start..start + half.end))
}

/// A rectangle of an image.
fn rectangle(pen: &mut Pen, array: &Array, place: (u64, u64, u64), width: u64, height: u64) {
    let (x, y, z) = place;
    for line in y..(y + height).min(array.ny) {
        pen.data(array.at(x, line, z, width.min(array.nx - x)));
    }
}

/// A cutout.
pub(super) fn rows(pen: &mut Pen) -> Option<()> {
    let array = pen.array(is_image)?;
    let width = pen.rng.log(10.min(array.nx), array.nx);
    let height = pen.rng.log(2, 600.min(array.ny)).min(MOST / (width * array.element)).max(1);
    let place = (pen.rng.below(array.nx - width + 1), pen.rng.below(array.ny - height + 1), pen.rng.below(array.nz));
    rectangle(pen, &array, place, width, height);
    Some(())
}

/// One column or some.
pub(super) fn columns(pen: &mut Pen) -> Option<()> {
    let array = pen.array(is_image)?;
    let z = pen.rng.below(array.nz);
    let columns = pen.rng.between(1, 3);
    for _ in 0..columns {
        let x = pen.rng.below(array.nx);
        (0..array.ny.min(PLACES)).for_each(|y| pen.data(array.at(x, y, z, 1)));
    }
    Some(())
}

/// One plane, mostly in the middle of a cube.
pub(super) fn plane(pen: &mut Pen) -> Option<()> {
    let array = pen.array(is_cube)?;
    let z = pen.rng.below(array.nz);
    pen.data(array.at(0, 0, z, array.nx * array.ny));
    (array.plane() <= MOST).then_some(())
}

/// Some planes, one after the other, from the middle of a cube on.
pub(super) fn planes(pen: &mut Pen) -> Option<()> {
    let array = pen.array(is_cube)?;
    let count = pen.rng.between(2, 12).min(array.nz).min(MOST / array.plane().max(1));
    let step = if pen.rng.chance(0.7) { 1 } else { pen.rng.between(2, 10) };
    let first = pen.rng.below(array.nz.saturating_sub((count.max(1) - 1) * step).max(1));
    for n in 0..count {
        let z = first + n * step;
        if z < array.nz {
            pen.data(array.at(0, 0, z, array.nx * array.ny));
        }
    }
    (count >= 2).then_some(())
}

/// Spectra of some pixels: one element of each plane, or contiguous where the file is turned so.
pub(super) fn spectra(pen: &mut Pen) -> Option<()> {
    let array = pen.array(is_cube)?;
    let count = pen.rng.log(1, 30);
    let turned = pen.file.layout.contains("TESS") || pen.file.layout.contains("contiguous");
    for _ in 0..count {
        let (x, y, z) = (pen.rng.below(array.nx), pen.rng.below(array.ny), pen.rng.below(array.nz));
        match turned {
            true if pen.file.layout.contains("TESS") => pen.data(array.at(0, 0, z, array.nx * array.ny)),
            true => pen.data(array.at(0, y, z, array.nx)),
            false => (0..array.nz.min(PLACES / count)).for_each(|z| pen.data(array.at(x, y, z, 1))),
        }
    }
    Some(())
}

/// A box in some neighbouring planes.
pub(super) fn sub_cube(pen: &mut Pen) -> Option<()> {
    let array = pen.array(is_cube)?;
    let width = pen.rng.log(1, 200.min(array.nx));
    let height = pen.rng.log(1, 200.min(array.ny));
    let depth = pen.rng.log(2, 60.min(array.nz)).min(PLACES / height).max(1);
    let (x, y) = (pen.rng.below(array.nx - width + 1), pen.rng.below(array.ny - height + 1));
    let first = pen.rng.below(array.nz - depth + 1);
    (first..first + depth).for_each(|z| rectangle(pen, &array, (x, y, z), width, height));
    Some(())
}

/// Every nth pixel of every nth row.
pub(super) fn decimated(pen: &mut Pen) -> Option<()> {
    let array = pen.array(is_image)?;
    let step = pen.rng.pick(&[2, 4, 8, 16, 32, 64]);
    let z = pen.rng.below(array.nz);
    let apart = step * array.element;
    let bytes = (array.ny / step) * if apart < PAGE { array.row() } else { array.nx / step * PAGE };
    for y in (0..array.ny).step_by(step as usize) {
        match apart < PAGE {
            // Every page of the row is touched.
            true => pen.map(array.at(0, y, z, array.nx)),
            false => (0..array.nx).step_by(step as usize).for_each(|x| pen.map(array.at(x, y, z, 1))),
        }
    }
    (bytes <= MOST).then_some(())
}

/// The diagonal of an image.
pub(super) fn diagonal(pen: &mut Pen) -> Option<()> {
    let array = pen.array(is_image)?;
    let z = pen.rng.below(array.nz);
    (0..array.nx.min(array.ny)).for_each(|n| pen.data(array.at(n, n, z, 1)));
    Some(())
}

/// Single pixels.
pub(super) fn points(pen: &mut Pen) -> Option<()> {
    let array = pen.array(is_image)?;
    for _ in 0..pen.rng.log(5, 500) {
        let (x, y, z) = (pen.rng.below(array.nx), pen.rng.below(array.ny), pen.rng.below(array.nz));
        pen.data(array.at(x, y, z, 1));
    }
    Some(())
}

/// Stamps of some rows at random places, as photometry of a catalogue reads them.
fn stamps(pen: &mut Pen, array: &Array, count: u64) {
    let side = pen.rng.between(5, 80).min(array.nx).min(array.ny);
    let z = pen.rng.below(array.nz);
    for _ in 0..count {
        let place = (pen.rng.below(array.nx - side + 1), pen.rng.below(array.ny - side + 1), z);
        rectangle(pen, array, place, side, side);
    }
}

/// Circular apertures on one image.
pub(super) fn apertures(pen: &mut Pen) -> Option<()> {
    let array = pen.array(is_image)?;
    let count = pen.rng.log(3, 300);
    stamps(pen, &array, count);
    Some(())
}

/// The same on several HDUs.
pub(super) fn apertures_in_units(pen: &mut Pen) -> Option<()> {
    let images: Vec<usize> = images(pen);
    if images.len() < 2 {
        return None;
    }
    let last = images[images.len().min(4) - 1];
    pen.open(last);
    let count = pen.rng.log(3, 50);
    for n in images.into_iter().take(4) {
        let array = Array::of(&pen.file.hdus[n])?;
        stamps(pen, &array, count);
    }
    Some(())
}

/// The same box in each of several HDUs: science, errors, quality.
pub(super) fn boxes(pen: &mut Pen) -> Option<()> {
    let images: Vec<usize> = images(pen);
    if images.len() < 2 {
        return None;
    }
    pen.open(images[0]);
    let first = Array::of(&pen.file.hdus[images[0]])?;
    let (width, height) = (pen.rng.log(10.min(first.nx), first.nx), pen.rng.log(2, 400.min(first.ny)));
    let (x, y) = (pen.rng.below(first.nx - width + 1), pen.rng.below(first.ny - height + 1));
    let mut before = images[0];
    for n in images.into_iter().take(5) {
        if n > before {
            pen.headers(before + 1, n);
            before = n;
        }
        let array = Array::of(&pen.file.hdus[n])?;
        if x < array.nx && y < array.ny && width * height * array.element <= MOST {
            rectangle(pen, &array, (x, y, 0), width, height);
        }
    }
    Some(())
}

fn images(pen: &Pen) -> Vec<usize> {
    let is_image = |n: &usize| matches!(&pen.file.hdus[*n].form, Form::Image { axes, .. } if axes.len() >= 2);
    (0..pen.file.hdus.len()).filter(is_image).collect()
}
