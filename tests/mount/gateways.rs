//! Servers and proxies that answer a little differently from S3: what is right is read, in spite of it.

use std::fs;

use fitsfs_lab::{Fault, Kind, Op};

use crate::support::*;

const SIZE: u64 = 3 * MIB + 77;

fn rig() -> Rig {
    Rig::new(|lab| {
        lab.put(BUCKET, "d/a.fits", pattern(SIZE, 1));
        lab.put(BUCKET, "d/b.dat", pattern(SIZE, 2));
    })
}

#[test]
fn a_content_encoding_that_was_stored_with_an_object_changes_nothing() {
    for deny_list in [false, true] {
        let rig = Rig::new(|lab| {
            for (key, encoding) in [("d/a.fits.gz", "gzip"), ("d/b.dat", "br"), ("d/c.fits", "aws-chunked, gzip")] {
                lab.put(BUCKET, key, pattern(SIZE, 1));
                lab.set_content_encoding(BUCKET, key, encoding);
            }
            if deny_list {
                lab.deny_list(BUCKET);
            }
        });
        for key in ["d/a.fits.gz", "d/b.dat", "d/c.fits"] {
            assert_eq!(sha256(rig.open(key)), sha256_of_pattern(1, SIZE), "{key}");
        }
        assert_eq!(rig.status()["errors"]["bad_response"], 0);
    }
}

#[test]
fn weak_entity_tags_are_those_of_the_same_version() {
    let (list, get, head) = (Op::ListObjectsV2, Op::GetObject, Op::HeadObject);
    for ops in [vec![get], vec![list], vec![list, get], vec![head]] {
        let rig = Rig::unmounted(|lab| {
            lab.put(BUCKET, "d/a.fits", pattern(SIZE, 1));
            lab.put(BUCKET, "d/b.dat", pattern(SIZE, 2));
        });
        ops.iter().for_each(|op| rig.lab.fault(Fault::new(Kind::WeakEtag).on(*op)));
        if ops == [head] {
            // Else names are looked up by listings.
            rig.lab.deny_list(BUCKET);
        }
        rig.mount(&[]);
        assert_eq!(sha256(rig.open("d/b.dat")), sha256_of_pattern(2, SIZE), "{ops:?}");
        assert_eq!(sha256(rig.open("d/a.fits")), sha256_of_pattern(1, SIZE), "{ops:?}");
        let refused = rig.lab.count(|request| request.status == 412);
        assert!(
            refused <= 1 + rig.hedged() as usize || ops == [get],
            "{refused} conditions that cannot be met, {ops:?}"
        );
        let conditions = rig.lab.count(|request| request.status == 206 && request.if_match.is_some());
        assert!(conditions == 0 || ops == [head], "{conditions} conditions, {ops:?}");
    }
}

#[test]
fn headers_that_say_nothing_of_the_bytes_may_be_any() {
    for time in ["2024-01-01T00:00:00Z", "Thu, 32 Foo 99999 00:00:00 GMT", "yesterday"] {
        let rig = rig();
        rig.lab.fault(Fault::new(Kind::OddHeaders(time.to_owned())));
        for (key, seed) in [("d/a.fits", 1), ("d/b.dat", 2)] {
            assert_eq!(sha256(rig.open(key)), sha256_of_pattern(seed, SIZE), "{key}, Last-Modified: {time}");
        }
    }
}

#[test]
fn a_version_with_a_weak_tag_is_pinned_all_the_same() {
    let rig = rig();
    rig.lab.fault(Fault::new(Kind::WeakEtag));
    let file = rig.open("d/b.dat");
    assert_eq!(read_at(&file, 0, 1000).unwrap(), pattern_at(2, 0, 1000));
    rig.lab.put(BUCKET, "d/b.dat", pattern(SIZE, 3));
    let later = read_at(&file, SIZE - 5000, 1000);
    assert_eq!(later.expect_err("another version").raw_os_error(), Some(libc::ESTALE));
    eventually("the path reads as the new version", || {
        fs::read(rig.path("d/b.dat")).is_ok_and(|bytes| bytes == pattern_at(3, 0, SIZE as usize))
    });
}
