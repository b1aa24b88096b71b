//! Bytes of two versions are never mixed.

use std::fs::{self, File};
use std::io::Error;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::Duration;

use fitsfs_lab::{Fault, Kind, Op};

use crate::map::{Ended, Map, in_child};
use crate::support::*;

const SIZE: u64 = 24 * MIB + 100;

fn rig() -> Rig {
    Rig::new(|lab| drop(lab.put(BUCKET, "d/a.fits", pattern(SIZE, 1))))
}

/// Reads on in steps of 100 KB from the middle: each step is of the old version, or fails with ESTALE.
fn assert_old_or_stale(file: &File) {
    let mut stale = 0;
    for offset in (SIZE / 2..SIZE).step_by(100_000) {
        let len = (SIZE - offset).min(100_000) as usize;
        let mut bytes = vec![0; len];
        match file.read_exact_at(&mut bytes, offset) {
            Ok(()) => assert_eq!(bytes, pattern_at(1, offset, len), "another version's bytes at {offset}"),
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(libc::ESTALE), "at {offset}: {error}");
                stale += 1;
            }
        }
    }
    assert!(stale > 0, "the old version cannot all have been fetched");
    assert_eq!(file.metadata().unwrap().len(), SIZE, "a size never changes under an open file");
}

fn read_first_half(rig: &Rig) -> File {
    let file = rig.open("d/a.fits");
    assert_eq!(read_at(&file, 0, 2 << 20).unwrap(), pattern_at(1, 0, 2 << 20));
    file
}

#[test]
fn a_replaced_object_is_stale_for_its_readers_and_new_by_its_path() {
    for (seed, size) in [(2, SIZE), (3, SIZE + 5_000_000), (4, SIZE / 3), (5, 0)] {
        let rig = rig();
        let file = read_first_half(&rig);
        let inode = file.metadata().unwrap().ino();
        rig.lab.put(BUCKET, "d/a.fits", pattern(size, seed));
        assert_old_or_stale(&file);
        let path = rig.path("d/a.fits");
        eventually("the path shows the new version", || {
            fs::metadata(&path).is_ok_and(|found| found.len() == size && found.ino() != inode)
        });
        assert_eq!(sha256(File::open(&path).unwrap()), sha256_of_pattern(seed, size));
        assert_old_or_stale(&file);
    }
}

#[test]
fn a_server_that_ignores_preconditions_leaks_no_new_bytes() {
    for size in [SIZE, SIZE + 1, SIZE - 1] {
        let rig = rig();
        let file = read_first_half(&rig);
        rig.lab.fault(Fault::new(Kind::IgnoreIfMatch).on(Op::GetObject));
        rig.lab.put(BUCKET, "d/a.fits", pattern(size, 2));
        assert_old_or_stale(&file);
    }
}

#[test]
fn a_deleted_object_is_stale_for_its_readers_and_gone_by_its_path() {
    let rig = rig();
    let file = read_first_half(&rig);
    rig.lab.delete(BUCKET, "d/a.fits");
    assert_old_or_stale(&file);
    eventually("the path is gone", || {
        fs::metadata(rig.path("d/a.fits")).is_err_and(|error| error.raw_os_error() == Some(libc::ENOENT))
    });
}

#[test]
fn a_mapping_of_a_replaced_object_shows_old_bytes_or_kills_the_reader() {
    for same_size in [true, false] {
        let rig = rig();
        let file = rig.open("d/a.fits");
        let map = Map::shared(&file, 0, SIZE as usize);
        let truth = pattern_at(1, 0, SIZE as usize);
        assert_eq!(map.bytes()[..1 << 20], truth[..1 << 20]);
        rig.lab.put(BUCKET, "d/a.fits", pattern(if same_size { SIZE } else { SIZE + 4096 }, 2));
        let ended = in_child(|| i32::from(map.bytes() != truth));
        assert_eq!(ended, Ended::BySignal(libc::SIGBUS));
        // What had been read stays readable.
        assert_eq!(map.bytes()[..1 << 20], truth[..1 << 20]);
    }
}

#[test]
fn an_object_replaced_by_the_same_bytes_is_the_same_version() {
    let rig = rig();
    let file = read_first_half(&rig);
    rig.lab.put(BUCKET, "d/a.fits", pattern(SIZE, 1));
    assert_eq!(sha256(&file), sha256_of_pattern(1, SIZE));
}

#[test]
fn a_replaced_object_opened_by_a_remembered_name_is_stale_once_and_then_new() {
    let rig = rig();
    assert_eq!(fs::metadata(rig.path("d/a.fits")).unwrap().len(), SIZE);
    rig.lab.put(BUCKET, "d/a.fits", pattern(SIZE, 2));
    let error: Error = fs::read(rig.path("d/a.fits")).expect_err("the name is remembered for its time to live");
    assert_eq!(error.raw_os_error(), Some(libc::ESTALE));
    eventually("the path reads as the new version", || {
        fs::read(rig.path("d/a.fits")).is_ok_and(|bytes| bytes == pattern_at(2, 0, SIZE as usize))
    });
}

#[test]
fn a_head_that_came_with_the_name_of_another_version_is_never_read() {
    for late in [Op::GetObject, Op::ListObjectsV2] {
        let rig = rig();
        rig.settle();
        rig.lab.fault(Fault::new(Kind::Delay(Duration::from_millis(600))).on(late).prefix("d/a.fits").times(1));
        let path = rig.path("d/a.fits");
        let looking = std::thread::spawn(move || fs::metadata(path).unwrap().ino());
        rig.lab.wait_for(2, |request| request.key == "d/a.fits");
        rig.lab.wait_for(1, |request| request.key == "d/a.fits" && request.done);
        rig.lab.put(BUCKET, "d/a.fits", pattern(SIZE, 2));
        let inode = looking.join().unwrap();
        // Of the version that the name was found as, nothing can be had any more; the other one is whole.
        let read = || fs::read(rig.path("d/a.fits"));
        if late == Op::GetObject {
            assert_eq!(read().expect_err("the old version is gone").raw_os_error(), Some(libc::ESTALE));
        }
        eventually("the path reads as the new version", || {
            read().is_ok_and(|bytes| bytes == pattern_at(2, 0, SIZE as usize))
        });
        assert_eq!(fs::metadata(rig.path("d/a.fits")).unwrap().ino() == inode, late == Op::ListObjectsV2);
    }
}
