//! Cases that were measured on real mounts, with the time that is aimed at: kinds of losses that were found, each by one file
//! of its shape. Within the region of the bucket.

use std::ops::Range;

use crate::case::Case;
use crate::file::{File, Form, Writer};
use crate::network::REGION;
use crate::pages::PAGE;
use crate::programs::{Op, Program};
use crate::rng::Rng;

/// A kind of loss, and the case that shows it.
#[derive(Clone, Debug)]
pub struct Kind {
    /// What it is.
    pub name: &'static str,
    /// Seconds that are aimed at, where they are.
    pub aim: Option<f64>,
    /// What is played.
    pub case: Case,
}

/// All kinds of losses.
pub fn kinds() -> Vec<Kind> {
    vec![
        kind("one plane in a cube of rows of 2.5 KB, by a map", Some(0.25), vec![cube(640, 640, 1000)], plane),
        kind("heap in row order from the middle, 120 MB", Some(1.2), vec![arrays()], heap),
        kind("second half of an image of 1,000 pixels a row", None, vec![image(1000, 13_000)], half),
        kind("300 apertures of an image of 400 MB", Some(2.0), vec![image(10_000, 10_000)], apertures),
        kind("300 rows of 1,000,000, ascending", Some(0.9), vec![catalogue()], rows),
        kind("40 random preads of 1 MiB", Some(1.4), vec![image(10_000, 10_000)], preads),
        kind("40 x 40 pixels in each of 10 planes", Some(0.3), vec![cube(2000, 2000, 100)], sub_planes),
        kind("data of HDU 60 of 100 that differ", None, vec![unequal()], unit),
        kind("one box in three HDUs of four compressed files", None, copies(4, compressed), boxes),
        kind("one HDU of 40 RICE files, 4 threads", None, copies(40, compressed_rows), decode),
        kind("the first MiB of each of 42 files", None, copies(42, compressed), first),
        kind("the same compressed cutout of each of 40 files", Some(1.5), copies(40, compressed), cutouts),
        kind("one table of each of 160 spectra", Some(1.0), copies(160, spectrum), tables),
        kind("headers of 100 images that differ", Some(0.45), vec![unequal()], headers),
        kind("headers of 60 compressed images that differ", Some(0.7), vec![camera(1)], headers),
    ]
}

fn kind(name: &'static str, aim: Option<f64>, files: Vec<File>, write: fn(&[File]) -> Vec<Vec<Op>>) -> Kind {
    let mut threads = write(&files);
    threads.iter_mut().for_each(|ops| ops.insert(0, Op::LookUp(0)));
    let program = Program { family: name, threads, think: 20e-6 };
    Kind { name, aim, case: Case { seed: 0, profile: REGION, files, program } }
}

fn copies(count: u64, of: fn(u64) -> File) -> Vec<File> {
    (0..count).map(of).collect()
}

fn image(nx: u64, ny: u64) -> File {
    let mut writer = Writer::default();
    writer.image(&[nx, ny], -32, 30);
    writer.finish("image")
}

fn cube(nx: u64, ny: u64, nz: u64) -> File {
    let mut writer = Writer::default();
    writer.image(&[nx, ny, nz], -32, 60);
    writer.finish("cube")
}

fn arrays() -> File {
    let mut rng = Rng::new(1);
    let lengths: Vec<u64> = (0..60_000).map(|_| rng.between(2000, 6000)).collect();
    let mut writer = Writer::default();
    writer.image(&[], 8, 20);
    writer.table(&[8, 8], 60_000, Some(&lengths), 20);
    writer.finish("table with arrays")
}

fn catalogue() -> File {
    let mut writer = Writer::default();
    writer.image(&[], 8, 20);
    writer.table(&[8, 4, 4, 4, 4, 4, 8, 8, 111], 1_000_000, None, 60);
    writer.finish("catalogue")
}

fn unequal() -> File {
    let mut rng = Rng::new(2);
    let mut writer = Writer::default();
    writer.image(&[], 8, 40);
    for _ in 0..100 {
        let axes = [rng.between(300, 900), rng.between(300, 900)];
        writer.image(&axes, -32, 60);
    }
    writer.finish("unequal images")
}

fn tiled(writer: &mut Writer, rng: &mut Rng, shape: (u64, u64), tile: (u64, u64)) {
    // Images differ by some per cent, and so do their tiles.
    let percent = rng.between(85, 115);
    let count = shape.0.div_ceil(tile.0) * shape.1.div_ceil(tile.1);
    let lengths: Vec<u64> = (0..count).map(|_| tile.0 * tile.1 * percent * rng.between(80, 120) / 10_000).collect();
    writer.tiled(shape, tile, &lengths, 60);
}

fn compressed(n: u64) -> File {
    let mut rng = Rng::new(10 + n);
    let mut writer = Writer::default();
    writer.image(&[], 8, 100);
    (0..3).for_each(|_| tiled(&mut writer, &mut rng, (4000, 4000), (100, 100)));
    writer.finish("compressed tiles")
}

fn compressed_rows(n: u64) -> File {
    let mut rng = Rng::new(20 + n);
    let mut writer = Writer::default();
    writer.image(&[], 8, 100);
    (0..2).for_each(|_| tiled(&mut writer, &mut rng, (2000, 2000), (2000, 1)));
    writer.finish("compressed rows")
}

fn camera(n: u64) -> File {
    let mut rng = Rng::new(30 + n);
    let mut writer = Writer::default();
    writer.image(&[], 8, 150);
    (0..60).for_each(|_| tiled(&mut writer, &mut rng, (2048, 1024), (2048, 1)));
    writer.finish("many compressed images")
}

fn spectrum(n: u64) -> File {
    let rows = Rng::new(40 + n).between(4000, 12_000);
    let mut writer = Writer::default();
    writer.image(&[], 8, 100);
    writer.table(&[4, 4, 4, 4, 4, 4, 4, 4, 4, 4], rows, None, 40);
    writer.table(&[300], 400, None, 200);
    writer.finish("spectrum")
}

/// Opens a file as astropy does, and goes to HDU `n`.
fn open(files: &[File], file: usize, n: usize) -> Vec<Op> {
    let size = files[file].size;
    let buffer = |at: u64| Op::Read(file, at..(at + (16 << 10)).min(size));
    let mut ops = vec![Op::Open(file), buffer(0), Op::Close(file), Op::Open(file)];
    for unit in &files[file].hdus[..=n] {
        ops.extend((unit.header.start..unit.header.end).step_by(16 << 10).map(buffer));
    }
    ops
}

/// A program of one thread that opens the first file up to HDU `n` and touches ranges of its data.
fn maps(files: &[File], n: usize, ranges: impl Iterator<Item = Range<u64>>) -> Vec<Vec<Op>> {
    let data = files[0].hdus[n].data.start;
    let mut ops = open(files, 0, n);
    ops.extend(ranges.map(|range| Op::Map(0, data + range.start..data + range.end)));
    vec![ops]
}

fn plane(files: &[File]) -> Vec<Vec<Op>> {
    let plane = 640 * 640 * 4;
    maps(files, 0, std::iter::once(500 * plane..501 * plane))
}

fn heap(files: &[File]) -> Vec<Vec<Op>> {
    let unit = &files[0].hdus[1];
    let Form::Table { arrays: Some(arrays), rows, .. } = &unit.form else { return Vec::new() };
    let mut ops = open(files, 0, 1);
    ops.push(Op::Map(0, unit.data.start..arrays.heap));
    let heap = arrays.of(rows / 2).start..unit.data.end;
    // The C library reads pages for numpy.
    ops.extend((heap.start..heap.end).step_by(PAGE as usize).map(|at| Op::Read(0, at..(at + PAGE).min(heap.end))));
    vec![ops]
}

fn half(files: &[File]) -> Vec<Vec<Op>> {
    maps(files, 0, std::iter::once(26_000_000..52_000_000))
}

fn apertures(files: &[File]) -> Vec<Vec<Op>> {
    let mut rng = Rng::new(3);
    let stamps = (0..300).map(|_| (rng.below(9940), rng.below(9940))).collect::<Vec<_>>();
    let rows = |(x, y): (u64, u64)| (y..y + 60).map(move |y| y * 40_000 + x * 4..y * 40_000 + (x + 60) * 4);
    maps(files, 0, stamps.into_iter().flat_map(rows))
}

fn rows(files: &[File]) -> Vec<Vec<Op>> {
    let (mut rng, row) = (Rng::new(4), 155);
    let mut rows: Vec<u64> = (0..300).map(|_| rng.below(1_000_000)).collect();
    rows.sort_unstable();
    let data = files[0].hdus[1].data.start;
    let last = (files[0].size - 1) / PAGE * PAGE;
    let mut ops = vec![Op::Open(0), Op::Read(0, last..files[0].size)];
    ops.extend((0..data).step_by(PAGE as usize).map(|at| Op::Read(0, at..at + PAGE)));
    ops.extend(rows.into_iter().map(|n| Op::Read(0, (data + n * row) / PAGE * PAGE..data + (n + 1) * row)));
    vec![ops]
}

fn preads(files: &[File]) -> Vec<Vec<Op>> {
    let (mut rng, length) = (Rng::new(5), 1 << 20);
    let mut ops = vec![Op::Open(0)];
    let starts = (0..40).map(|_| rng.below(files[0].size - length));
    ops.extend(starts.map(|at| Op::Read(0, at..at + length)));
    vec![ops]
}

fn sub_planes(files: &[File]) -> Vec<Vec<Op>> {
    let rows = (50..60_u64).flat_map(|z| (900..940_u64).map(move |y| (z * 2000 + y) * 8000 + 4000));
    maps(files, 0, rows.map(|at| at..at + 160))
}

fn unit(files: &[File]) -> Vec<Vec<Op>> {
    let length = files[0].hdus[60].data.end - files[0].hdus[60].data.start;
    maps(files, 60, std::iter::once(0..length))
}

/// The same tiles of HDU `n`.
fn tiles(files: &[File], file: usize, n: usize) -> Vec<Op> {
    let unit = &files[file].hdus[n];
    let Form::Tiled { grid, arrays } = &unit.form else { return Vec::new() };
    let tiles = || (20..24).flat_map(|row| (10..13).map(move |column| row * grid.0 + column));
    let descriptors = tiles().map(|tile| unit.data.start + tile * 16).map(|at| Op::Map(file, at..at + 16));
    descriptors.chain(tiles().map(|tile| Op::Map(file, arrays.of(tile)))).collect()
}

fn boxes(files: &[File]) -> Vec<Vec<Op>> {
    let of = |file: usize| {
        let mut ops = open(files, file, 0);
        for n in 1..4 {
            let header = files[file].hdus[n].header.start;
            ops.push(Op::Read(file, header..header + (16 << 10)));
            ops.extend(tiles(files, file, n));
        }
        ops.push(Op::Close(file));
        ops
    };
    vec![(0..files.len()).flat_map(of).collect()]
}

fn cutouts(files: &[File]) -> Vec<Vec<Op>> {
    let of = |file| [open(files, file, 1), tiles(files, file, 1), vec![Op::Close(file)]].concat();
    vec![(0..files.len()).flat_map(of).collect()]
}

fn whole(files: &[File], file: usize, n: usize) -> Vec<Op> {
    [open(files, file, n), vec![Op::Map(file, files[file].hdus[n].data.clone()), Op::Close(file)]].concat()
}

fn decode(files: &[File]) -> Vec<Vec<Op>> {
    let of = |thread: usize| (thread..files.len()).step_by(4).flat_map(|file| whole(files, file, 1)).collect();
    (0..4).map(of).collect()
}

fn tables(files: &[File]) -> Vec<Vec<Op>> {
    vec![(0..files.len()).flat_map(|file| whole(files, file, 1)).collect()]
}

fn first(files: &[File]) -> Vec<Vec<Op>> {
    let of = |file| [Op::Open(file), Op::Read(file, 0..1 << 20), Op::Close(file)];
    vec![(0..files.len()).flat_map(of).collect()]
}

fn headers(files: &[File]) -> Vec<Vec<Op>> {
    vec![open(files, 0, files[0].hdus.len() - 1)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policies::PLAIN;

    /// What rclone took on a real mount: its model is to be as fast, within what other machines and files make of it.
    #[test]
    fn streams_are_as_fast_as_rclone_was() {
        let measured = [("one plane", 0.08), ("second half", 0.45), ("300 apertures", 2.7), ("40 random preads", 1.8)];
        let kinds = kinds();
        for (name, seconds) in measured {
            let kind = kinds.iter().find(|kind| kind.name.starts_with(name) || kind.name.contains(name)).expect(name);
            let (_, stream) = PLAIN.iter().find(|(name, _)| *name == "stream").expect("a policy");
            let played = stream(&kind.case.files, &kind.case.program, kind.case.profile, 1e9).seconds;
            assert!((0.5..2.5).contains(&(played / seconds)), "{name}: {played} s, measured {seconds} s");
        }
    }
}
