//! Every way to read a file gives its bytes.

use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::process::{Command, Stdio};

use crate::support::*;

#[test]
fn sequential_reads_give_every_byte() {
    let size = 23 * MIB + 1_234;
    let rig = Rig::new(|lab| drop(lab.put(BUCKET, "a/b/c.fits", pattern(size, 1))));
    assert_eq!(sha256(File::open(rig.path("a/b/c.fits")).unwrap()), sha256_of_pattern(1, size));
    let (gets, bytes) = rig.gets();
    assert!(bytes < size + size / 50, "{bytes} bytes fetched of {size}");
    assert!(gets < 60, "{gets} GETs");
}

#[test]
fn pread_in_any_order_gives_the_right_bytes() {
    let size = 9 * MIB + 77;
    let rig = Rig::new(|lab| drop(lab.put(BUCKET, "x.bin", pattern(size, 2))));
    let file = File::open(rig.path("x.bin")).unwrap();
    for n in (0..90).rev() {
        let offset = n * 100_003;
        let len = (size - offset).min(5_000) as usize;
        assert_eq!(read_at(&file, offset, len).unwrap(), pattern_at(2, offset, len), "backwards at {offset}");
    }
    for n in 0..300u64 {
        let offset = n * 7_919_993 % (size - 200_000);
        let len = 1 + (n * 7_907 % 150_000) as usize;
        assert_eq!(read_at(&file, offset, len).unwrap(), pattern_at(2, offset, len), "at random at {offset}");
    }
    let mut beyond = [0; 10];
    assert_eq!(file.read_at(&mut beyond, size).unwrap(), 0);
    assert_eq!(file.read_at(&mut beyond, size - 3).unwrap(), 3);
}

#[test]
fn direct_io_gives_the_right_bytes() {
    let size = 5 * MIB + 100;
    let rig = Rig::new(|lab| drop(lab.put(BUCKET, "x.bin", pattern(size, 3))));
    let file = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(rig.path("x.bin")).unwrap();
    assert_eq!(sha256(file), sha256_of_pattern(3, size));
}

#[test]
fn files_of_every_small_size_end_where_they_should() {
    let sizes = [0, 1, 2_879, 2_880, 4_095, 4_096, 4_097, 16_384, 65_537, 262_143, 262_144, 262_145, 1_000_001];
    let rig =
        Rig::new(|lab| sizes.iter().for_each(|size| drop(lab.put(BUCKET, &format!("{size}"), pattern(*size, *size)))));
    for size in sizes {
        let path = rig.path(&size.to_string());
        assert_eq!(fs::metadata(&path).unwrap().len(), size);
        assert_eq!(fs::read(&path).unwrap(), pattern_at(size, 0, size as usize), "size {size}");
        let tail = read_at(&File::open(&path).unwrap(), size.saturating_sub(10), size.min(10) as usize).unwrap();
        assert_eq!(tail, pattern_at(size, size.saturating_sub(10), size.min(10) as usize));
    }
}

#[test]
fn direct_and_buffered_reads_of_one_file_agree() {
    let size = 3 * MIB + 10;
    let rig = Rig::new(|lab| drop(lab.put(BUCKET, "x.bin", pattern(size, 4))));
    let direct = || OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(rig.path("x.bin")).unwrap();
    let truth = sha256_of_pattern(4, size);
    assert_eq!(sha256(direct()), truth, "before");
    assert_eq!(sha256(rig.open("x.bin")), truth, "buffered");
    assert_eq!(sha256(direct()), truth, "after");
    let (first, second) = (direct(), rig.open("x.bin"));
    for n in 0..40u64 {
        let offset = n * 7_919_993 % (size - 60_000) / 4096 * 4096;
        let file = if n % 2 == 0 { &first } else { &second };
        assert_eq!(read_at(file, offset, 53_248).unwrap(), pattern_at(4, offset, 53_248), "at {offset}");
    }
}

#[test]
fn many_processes_share_what_one_of_them_fetched() {
    let size = 40 * MIB + 1;
    let rig = Rig::new(|lab| (0..3).for_each(|n| drop(lab.put(BUCKET, &format!("{n}.fits"), pattern(size, n)))));
    // Somebody else on this machine may empty the page cache meanwhile: of three times one must do.
    let shared = (0..3).any(|n| {
        let bytes = summed_by_many(&rig, n, size);
        eprintln!("{bytes} bytes for {size}");
        bytes < size * 11 / 10
    });
    assert!(shared, "much was fetched again each time");
}

/// The bytes that were fetched for 32 processes that read a file at once.
fn summed_by_many(rig: &Rig, seed: u64, size: u64) -> u64 {
    rig.settle();
    let sum =
        |_| Command::new("sha256sum").arg(rig.path(&format!("{seed}.fits"))).stdout(Stdio::piped()).spawn().unwrap();
    let processes: Vec<_> = (0..32).map(sum).collect();
    let truth = sha256_of_pattern(seed, size);
    for process in processes {
        let output = process.wait_with_output().unwrap();
        assert!(output.status.success() && text(&output).starts_with(&truth), "{}", text(&output));
    }
    rig.gets().1
}

#[test]
fn a_file_that_is_opened_again_is_still_in_the_page_cache() {
    let rig = Rig::new(|lab| drop(lab.put(BUCKET, "a.fits", pattern(5 * MIB, 6))));
    // Somebody else on this machine may empty the page cache meanwhile: of three times one must do.
    let kept = (0..3).any(|_| {
        assert_eq!(sha256(rig.open("a.fits")), sha256_of_pattern(6, 5 * MIB));
        rig.settle();
        assert_eq!(sha256(rig.open("a.fits")), sha256_of_pattern(6, 5 * MIB));
        rig.lab.requests().is_empty()
    });
    assert!(kept, "the file was fetched again each time");
}

#[test]
fn a_read_of_one_page_costs_little_more() {
    let rig = Rig::new(|lab| drop(lab.put(BUCKET, "cube", pattern(GIB, 7))));
    let file = rig.open("cube");
    // SAFETY: the descriptor is open.
    unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_RANDOM) };
    for offset in [600 * MIB, 300 * MIB + 12_288, 900 * MIB + 4096] {
        rig.settle();
        assert_eq!(read_at(&file, offset, 4096).unwrap(), pattern_at(7, offset, 4096));
        let (gets, bytes) = rig.gets();
        assert!(bytes < 128 << 10 && gets <= 2, "{gets} GETs of {bytes} bytes for 4096 at {offset}");
    }
}

#[test]
fn a_file_is_data_with_a_hole_at_its_end() {
    let rig = Rig::new(|lab| {
        lab.put(BUCKET, "a", pattern(10_000, 8));
        lab.put(BUCKET, "empty", pattern(0, 8));
    });
    let seek = |file: &File, offset: i64, whence: i32| {
        // SAFETY: the descriptor is open.
        let at = unsafe { libc::lseek(file.as_raw_fd(), offset, whence) };
        if at < 0 { Err(std::io::Error::last_os_error().raw_os_error()) } else { Ok(at) }
    };
    let file = rig.open("a");
    assert_eq!(seek(&file, 0, libc::SEEK_DATA), Ok(0));
    assert_eq!(seek(&file, 5_000, libc::SEEK_DATA), Ok(5_000));
    assert_eq!(seek(&file, 5_000, libc::SEEK_HOLE), Ok(10_000));
    assert_eq!(seek(&file, 0, libc::SEEK_END), Ok(10_000));
    for (file, offset) in [(file, 10_000), (rig.open("empty"), 0)] {
        assert_eq!(seek(&file, offset, libc::SEEK_DATA), Err(Some(libc::ENXIO)));
        assert_eq!(seek(&file, offset, libc::SEEK_HOLE), Err(Some(libc::ENXIO)));
    }
}

#[test]
fn nothing_can_be_written() {
    let rig = Rig::new(|lab| drop(lab.put(BUCKET, "d/a", pattern(10, 9))));
    let (file, new) = (rig.path("d/a"), rig.path("d/new"));
    let attempts = [
        OpenOptions::new().write(true).open(&file).map(drop),
        File::create(&new).map(drop),
        fs::remove_file(&file),
        fs::rename(&file, &new),
        fs::create_dir(&new),
        fs::hard_link(&file, &new),
    ];
    for (n, attempt) in attempts.into_iter().enumerate() {
        assert_eq!(attempt.unwrap_err().raw_os_error(), Some(libc::EROFS), "attempt {n}");
    }
    assert_eq!(fs::read(&file).unwrap(), pattern_at(9, 0, 10));
}
