//! Files like those of the archives, of any size: only their headers and descriptors are real.

use crate::file::{File, Writer};
use crate::rng::Rng;

/// A family of files. The first numbers are for what files of one class have in common, the others for what differs.
pub type Layout = fn(&mut Rng, &mut Rng) -> File;

/// All families, and how often they come.
const LAYOUTS: [(u64, Layout); 18] = [
    (4, image),
    (4, cube),
    (2, spectrum_first),
    (2, tess_cube),
    (3, rate),
    (2, i2d),
    (2, drc),
    (3, equal_images),
    (3, unequal_images),
    (3, compressed_rows),
    (4, compressed_tiles),
    (2, many_compressed),
    (2, wide_table),
    (3, narrow_table),
    (3, array_table),
    (2, parquet),
    (2, hdf5),
    (3, small),
];

/// So many files of one class, of some family. There are fewer if they are large.
pub fn any(rng: &mut Rng, count: u64) -> Vec<File> {
    let layout = family(rng);
    let (shape, content) = (rng.draw(), rng.draw());
    let file = |n| layout(&mut Rng::new(shape), &mut Rng::new(content ^ n));
    let first = file(0);
    // Descriptors are in memory, and `whole` fetches all.
    let most = (16_384 * MIB / first.size).clamp(1, count);
    std::iter::once(first).chain((1..most).map(file)).collect()
}

fn family(rng: &mut Rng) -> Layout {
    let mut left = rng.below(LAYOUTS.iter().map(|(weight, _)| weight).sum());
    for (weight, layout) in LAYOUTS {
        if left < weight {
            return layout;
        }
        left -= weight;
    }
    image
}

const MIB: u64 = 1 << 20;

fn bitpix(rng: &mut Rng) -> i64 {
    rng.pick(&[16, -32, -32, -32, -64])
}

/// One image: rows of 2.5 to 400 KB.
fn image(rng: &mut Rng, _: &mut Rng) -> File {
    let bitpix = bitpix(rng);
    let element = bitpix.unsigned_abs() / 8;
    let row = rng.log(2_500, 400_000);
    let size = rng.log(8 * MIB, 8192 * MIB);
    let axes = [row / element, (size / row).max(4)];
    let mut writer = Writer::default();
    if rng.chance(0.5) {
        let more = rng.log(1, 400) as usize;
        writer.image(&[], 8, more);
    }
    writer.image(&axes, bitpix, 30);
    writer.finish("image")
}

/// A cube of planes: of some pixels, as integral field units have them, or of millions, as radio telescopes do.
fn cube(rng: &mut Rng, _: &mut Rng) -> File {
    let bitpix: i64 = rng.pick(&[16, -32, -32]);
    let element = bitpix.unsigned_abs() / 8;
    let small = rng.chance(0.5);
    let (nx, ny) = if small { (rng.log(20, 150), rng.log(20, 150)) } else { (rng.log(256, 6000), rng.log(256, 6000)) };
    let size = rng.log(32 * MIB, 8192 * MIB);
    let nz = (size / (nx * ny * element)).clamp(4, if small { 10_000 } else { 4_000 });
    let mut writer = Writer::default();
    writer.image(&[], 8, 100);
    writer.image(&[nx, ny, nz], bitpix, 60);
    if rng.chance(0.3) {
        writer.image(&[nx, ny, nz], bitpix, 10);
    }
    writer.finish(if small { "cube of small planes" } else { "cube of large planes" })
}

/// A cube in which spectra are contiguous.
fn spectrum_first(rng: &mut Rng, _: &mut Rng) -> File {
    let (nz, nx) = (rng.log(100, 20_000), rng.log(30, 2000));
    let size = rng.log(32 * MIB, 8192 * MIB);
    let ny = (size / (4 * nz * nx)).clamp(4, 4000);
    let mut writer = Writer::default();
    writer.image(&[nz, nx, ny], -32, 60);
    writer.finish("cube of contiguous spectra")
}

/// Full-frame images of TESS, turned: flux and error of all times of a pixel are contiguous.
fn tess_cube(rng: &mut Rng, _: &mut Rng) -> File {
    let (frames, columns) = (rng.log(60, 4000), rng.log(100, 2136));
    let size = rng.log(100 * MIB, 8192 * MIB);
    let rows = (size / (8 * frames * columns)).clamp(4, 2078);
    let mut writer = Writer::default();
    writer.image(&[], 8, 40);
    writer.image(&[2, frames, columns, rows], -32, 10);
    writer.table(&[8; 60], frames, None, 300);
    writer.finish("TESS cube")
}

/// A detector of JWST: SCI, ERR, DQ and variances of the same size, and the ASDF extension.
fn rate(rng: &mut Rng, content: &mut Rng) -> File {
    let side = rng.pick(&[512, 1024, 2048, 2048]);
    let mut writer = Writer::default();
    writer.image(&[], 8, 245);
    for n in 0..rng.between(5, 8) {
        writer.image(&[side, side], -32, if n == 0 { 100 } else { 5 });
    }
    let asdf = rng.log(10_000, 200_000) + content.below(6000);
    writer.table(&[asdf], 1, None, 0);
    writer.finish("JWST rate")
}

/// A mosaic of JWST: large planes, a table of headers and the ASDF extension.
fn i2d(rng: &mut Rng, content: &mut Rng) -> File {
    let (nx, ny) = (rng.log(2000, 10_000), rng.log(2000, 10_000));
    let mut writer = Writer::default();
    writer.image(&[], 8, 340);
    for n in 0..7 {
        let axes = [nx, ny, 2];
        writer.image(&axes[..if n == 2 { 3 } else { 2 }], -32, if n == 0 { 90 } else { 5 });
    }
    writer.table(&[400, 200], 480, None, 560);
    let asdf = rng.log(100_000, 20_000_000) + content.below(60_000);
    writer.table(&[asdf], 1, None, 0);
    writer.finish("JWST i2d")
}

/// A drizzled image of HST.
fn drc(rng: &mut Rng, _: &mut Rng) -> File {
    let (nx, ny) = (rng.log(1500, 6000), rng.log(1500, 6000));
    let mut writer = Writer::default();
    writer.image(&[], 8, 480);
    for n in 0..3 {
        writer.image(&[nx, ny], -32, if n == 0 { 90 } else { 5 });
    }
    writer.table(&[713], 40, None, 480);
    writer.finish("HST drc")
}

/// A camera of many detectors, all equal.
fn equal_images(rng: &mut Rng, _: &mut Rng) -> File {
    let (nx, ny) = (rng.log(100, 6000), rng.log(100, 6000));
    let bitpix = bitpix(rng);
    let size = nx * ny * bitpix.unsigned_abs() / 8;
    let most = (4096 * MIB / size).clamp(4, 200);
    let mut writer = Writer::default();
    writer.image(&[], 8, 100);
    let more = rng.log(5, 200) as usize;
    for _ in 0..rng.log(4.max(most / 8), most) {
        writer.image(&[nx, ny], bitpix, more);
    }
    writer.finish("equal images")
}

/// Images of different sizes.
fn unequal_images(rng: &mut Rng, _: &mut Rng) -> File {
    let (side, spread) = (rng.log(50, 4000), rng.between(2, 40) as f64 / 10.0);
    let most = (4096 * MIB / (side * side * 4)).clamp(4, 150);
    let mut writer = Writer::default();
    writer.image(&[], 8, 40);
    for _ in 0..rng.log(4.max(most / 8), most) {
        let of = |rng: &mut Rng| ((side as f64 * spread.powf(rng.unit() - 0.5)) as u64).max(8);
        let (axes, more) = ([of(rng), of(rng)], rng.between(5, 80) as usize);
        writer.image(&axes, -32, more);
    }
    writer.finish("unequal images")
}

/// Lengths of compressed tiles of so many pixels: noise takes about as much everywhere.
fn tiles(rng: &mut Rng, count: u64, pixels: u64, per_pixel: f64) -> Vec<u64> {
    let length = |_| ((pixels as f64 * per_pixel * (0.8 + 0.4 * rng.unit())) as u64).max(16);
    (0..count).map(length).collect()
}

fn compressed(
    rng: &mut Rng,
    content: &mut Rng,
    writer: &mut Writer,
    shape: (u64, u64),
    tile: (u64, u64),
    per_pixel: f64,
) {
    let count = shape.0.div_ceil(tile.0) * shape.1.div_ceil(tile.1);
    // Images of a file differ by some per cent.
    let per_pixel = per_pixel * (0.85 + 0.3 * content.unit());
    let lengths = tiles(content, count, tile.0 * tile.1, per_pixel);
    let more = rng.between(20, 120) as usize;
    writer.tiled(shape, tile, &lengths, more);
}

/// Images that are compressed row by row.
fn compressed_rows(rng: &mut Rng, content: &mut Rng) -> File {
    let shape = (rng.log(1000, 10_000), rng.log(1000, 10_000));
    let per_pixel = 0.5 + rng.unit();
    let mut writer = Writer::default();
    writer.image(&[], 8, 60);
    for _ in 0..rng.log(1, 8) {
        compressed(rng, content, &mut writer, shape, (shape.0, 1), per_pixel);
    }
    writer.finish("compressed rows")
}

/// Images that are compressed in squares.
fn compressed_tiles(rng: &mut Rng, content: &mut Rng) -> File {
    let shape = (rng.log(2000, 20_000), rng.log(2000, 20_000));
    let side = rng.pick(&[100, 100, 64, 256]);
    let per_pixel = 0.5 + rng.unit();
    let mut writer = Writer::default();
    writer.image(&[], 8, 60);
    for _ in 0..rng.log(1, 6) {
        compressed(rng, content, &mut writer, shape, (side, side), per_pixel);
    }
    writer.finish("compressed tiles")
}

/// The camera of a survey: 60 or so compressed images, each of its own length.
fn many_compressed(rng: &mut Rng, content: &mut Rng) -> File {
    let shape = (rng.log(500, 4096), rng.log(500, 4096));
    let per_pixel = 0.5 + rng.unit();
    let mut writer = Writer::default();
    writer.image(&[], 8, 150);
    for _ in 0..rng.between(20, 100) {
        compressed(rng, content, &mut writer, shape, (shape.0, 1), per_pixel);
    }
    writer.finish("many compressed images")
}

/// A table of long rows.
fn wide_table(rng: &mut Rng, _: &mut Rng) -> File {
    let widths: Vec<u64> = (0..rng.log(4, 60)).map(|_| rng.log(8, 2000)).collect();
    let row: u64 = widths.iter().sum();
    let rows = (rng.log(8 * MIB, 2048 * MIB) / row).max(10);
    let mut writer = Writer::default();
    writer.image(&[], 8, 20);
    writer.table(&widths, rows, None, 60);
    writer.finish("table of long rows")
}

/// A catalogue.
fn narrow_table(rng: &mut Rng, content: &mut Rng) -> File {
    let widths: Vec<u64> = (0..rng.log(3, 40)).map(|_| rng.pick(&[1, 2, 4, 4, 8, 8, 16])).collect();
    let row: u64 = widths.iter().sum();
    let rows = (rng.log(8 * MIB, 2048 * MIB) / row).max(100) * content.between(90, 100) / 100;
    let mut writer = Writer::default();
    writer.image(&[], 8, 20);
    writer.table(&widths, rows, None, 60);
    writer.finish("table of short rows")
}

/// A table with an array of its own length in each row.
fn array_table(rng: &mut Rng, content: &mut Rng) -> File {
    let mean = rng.log(50, 50_000);
    let rows = (rng.log(8 * MIB, 1024 * MIB) / mean).clamp(20, 200_000);
    let lengths: Vec<u64> = (0..rows).map(|_| content.between(mean / 2, mean * 3 / 2)).collect();
    let mut writer = Writer::default();
    writer.image(&[], 8, 20);
    let other = rng.log(8, 400);
    writer.table(&[8, other], rows, Some(&lengths), 60);
    if rng.chance(0.5) {
        writer.image(&[1000, 1000], -32, 10);
    }
    writer.finish("table with arrays")
}

/// A file that is no FITS file.
fn other(size: u64, layout: &'static str) -> File {
    File { layout, class: 0, is_fits: false, size, hdus: Vec::new() }
}

fn parquet(rng: &mut Rng, _: &mut Rng) -> File {
    other(rng.log(8 * MIB, 2048 * MIB), "Parquet")
}

fn hdf5(rng: &mut Rng, _: &mut Rng) -> File {
    other(rng.log(8 * MIB, 4096 * MIB), "HDF5")
}

/// A spectrum or another small product: 0.3 to 2.7 MB.
fn small(rng: &mut Rng, content: &mut Rng) -> File {
    let size = rng.log(300_000, 2_700_000);
    let mut writer = Writer::default();
    writer.image(&[], 8, 60);
    let tables = rng.between(1, 5);
    for _ in 0..tables {
        match rng.chance(0.6) {
            true => writer.table(&[4, 4, 8, 4], (size / tables / 20).max(1) + content.below(30), None, 30),
            false => writer.image(&[1000, (size / tables / 4000).max(1)], -32, 10),
        }
    }
    writer.finish("small file")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_of_sizes_that_archives_have() {
        for (_, layout) in LAYOUTS {
            for seed in 0..40 {
                let file = layout(&mut Rng::new(seed), &mut Rng::new(seed + 1));
                assert!((50_000..10_000 * MIB).contains(&file.size), "{} {seed}: {}", file.layout, file.size);
                let ends = file.hdus.iter().map(|hdu| hdu.data.end);
                assert!(ends.is_sorted());
            }
        }
    }
}
