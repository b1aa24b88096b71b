//! A mapped file is the file, in whatever order it is touched.

use std::os::unix::fs::FileExt;

use bytes::Bytes;
use fitsfs_lab::{Content, Shape};
use sha2::{Digest, Sha256};
use std::time::Duration;

use crate::map::{Map, PAGE};
use crate::support::*;

#[test]
fn a_shared_mapping_read_forwards_gives_every_byte_and_fetches_little_twice() {
    let size = 31 * MIB + 777;
    let rig = Rig::new(|lab| drop(lab.put(BUCKET, "a.fits", pattern(size, 1))));
    let file = rig.open("a.fits");
    let map = Map::shared(&file, 0, size as usize);
    // Hashed in place: a copy of a megabyte may go backwards (memcpy of the C library does, by the addresses).
    let truth = pattern_at(1, 0, size as usize);
    assert_eq!(Sha256::digest(map.bytes()), Sha256::digest(&truth));
    let (gets, bytes) = rig.gets();
    assert!(bytes < size * 3 / 2 && gets < 60, "{gets} GETs of {bytes} bytes for {size}");
}

#[test]
fn a_mapping_read_backwards_or_at_random_gives_the_right_bytes() {
    let size = 6 * MIB + 4_000;
    let rig = Rig::new(|lab| {
        lab.put(BUCKET, "back", pattern(size, 2));
        lab.put(BUCKET, "random", pattern(size, 3));
    });
    let pages = size as usize / PAGE;
    let backwards: Vec<usize> = (0..pages).rev().collect();
    let at_random: Vec<usize> = (0..pages).map(|n| n * 7_919 % pages).collect();
    for (name, seed, order) in [("back", 2, backwards), ("random", 3, at_random)] {
        let file = rig.open(name);
        let map = Map::shared(&file, 0, size as usize);
        for page in order {
            let at = page * PAGE;
            assert_eq!(map.bytes()[at..at + PAGE], pattern_at(seed, at as u64, PAGE), "{name}, page {page}");
        }
    }
}

#[test]
fn writes_to_a_private_mapping_stay_private() {
    let size = 2 * MIB;
    let rig = Rig::new(|lab| drop(lab.put(BUCKET, "a", pattern(size, 4))));
    let file = rig.open("a");
    let mut mine = Map::private(&file, 0, size as usize);
    let other = Map::private(&file, 0, size as usize);
    let shared = Map::shared(&file, 0, size as usize);
    mine.bytes_mut()[MIB as usize..].fill(0xAB);
    let truth = pattern_at(4, 0, size as usize);
    assert!(mine.bytes()[MIB as usize..].iter().all(|byte| *byte == 0xAB));
    assert_eq!(mine.bytes()[..MIB as usize], truth[..MIB as usize]);
    assert_eq!(other.bytes(), truth);
    assert_eq!(shared.bytes(), truth);
    assert_eq!(std::fs::read(rig.path("a")).unwrap(), truth);
}

#[test]
fn the_last_page_ends_with_zeros_and_reads_end_with_the_file() {
    for (seed, extra) in [(1, 1), (2, 100), (3, 4_095), (4, 0)] {
        let size = 5 * MIB + extra;
        let rig = Rig::new(|lab| drop(lab.put(BUCKET, "a", pattern(size, seed))));
        // Going through the file makes the daemon push up to its end.
        assert_eq!(sha256(rig.open("a")), sha256_of_pattern(seed, size));
        let file = rig.open("a");
        let map = Map::shared(&file, 0, (size as usize).next_multiple_of(PAGE));
        let (inside, beyond) = map.bytes().split_at(size as usize);
        assert_eq!(inside[inside.len() - PAGE..], pattern_at(seed, size - PAGE as u64, PAGE));
        assert!(beyond.iter().all(|byte| *byte == 0), "bytes beyond the end of {size}");
        let mut buffer = [1; 2 * PAGE];
        assert_eq!(file.read_at(&mut buffer, size - 10).unwrap(), 10);
        assert_eq!(file.read_at(&mut buffer, size).unwrap(), 0);
        assert!(rig.status()["pushes"].as_u64().unwrap() > 0, "nothing was pushed, so nothing was tested");
    }
}

#[test]
fn offsets_beyond_four_gibibytes_are_exact() {
    let size = 5 * GIB + 123;
    let extents: Vec<(u64, Bytes)> = [0, 2 * GIB - 3, 4 * GIB - 5_000, 4 * GIB + 70_000, size - 10]
        .iter()
        .map(|at| (*at, pattern_at(5, *at, (size - at).min(10_000) as usize).into()))
        .collect();
    let truth = |offset: u64, len: usize| {
        let mut bytes = vec![0; len];
        for (start, extent) in &extents {
            for (n, byte) in extent.iter().enumerate() {
                let at = start + n as u64;
                if (offset..offset + len as u64).contains(&at) {
                    bytes[(at - offset) as usize] = *byte;
                }
            }
        }
        bytes
    };
    let content = Content::Sparse { len: size, extents: extents.clone() };
    let rig = Rig::new(|lab| drop(lab.put(BUCKET, "cube.fits", content)));
    let file = rig.open("cube.fits");
    for (at, len) in [(0, 20_000), (2 * GIB - 9_000, 30_000), (4 * GIB - 100_000, 300_000), (size - 5_000, 5_000)] {
        assert_eq!(read_at(&file, at, len).unwrap(), truth(at, len), "pread at {at}");
        let start = at / PAGE as u64 * PAGE as u64;
        let len = len.min((size - start) as usize);
        assert_eq!(Map::shared(&file, start, len).bytes(), truth(start, len), "mapped at {start}");
    }
    let mut end = &file;
    assert_eq!(std::io::Seek::seek(&mut end, std::io::SeekFrom::End(0)).unwrap(), size);
    let (_, bytes) = rig.gets();
    assert!(bytes < 16 * MIB, "{bytes} bytes fetched for a few pages");
}

#[test]
fn threads_that_fault_one_cold_page_share_one_get() {
    let rig = Rig::new(|lab| drop(lab.put(BUCKET, "a", pattern(64 * MIB, 6))));
    rig.lab.shape(Shape::latency(Duration::from_millis(100)));
    let file = rig.open("a");
    let map = Map::shared(&file, 0, 64 << 20);
    let at = 40 << 20;
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(map.bytes()[at..at + PAGE], pattern_at(6, at as u64, PAGE)));
        }
    });
    let covering = |request: &fitsfs_lab::Request| {
        request.span().is_some_and(|(first, last)| (first..=last).contains(&(at as u64)))
    };
    assert_eq!(rig.lab.count(covering), 1);
}

#[test]
fn a_mapping_outlives_its_descriptor_and_the_reader_of_the_whole_file() {
    let size = 9 * MIB + 5;
    let rig = Rig::new(|lab| drop(lab.put(BUCKET, "a", pattern(size, 7))));
    let map = Map::shared(&rig.open("a"), 0, size as usize);
    let reader = std::thread::spawn({
        let path = rig.path("a");
        move || sha256(std::fs::File::open(path).unwrap())
    });
    assert_eq!(sha256(map.bytes()), sha256_of_pattern(7, size));
    assert_eq!(reader.join().unwrap(), sha256_of_pattern(7, size));
}
