//! Every way to read a file gives its bytes.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};

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
