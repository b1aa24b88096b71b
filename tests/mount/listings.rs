//! Listings as no store should give them: one entry that makes no sense, pages without end, pages of any size.

use std::fs;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use fitsfs_lab::{Fault, Kind, Listed, Op};

use crate::support::*;

fn sorted(rig: &Rig, folder: &str) -> Vec<String> {
    let mut names = names(&rig.path(folder)).unwrap();
    names.sort();
    names
}

/// What listing a folder fails with.
fn refused(rig: &Rig, folder: &str) -> Option<i32> {
    names(&rig.path(folder)).err().and_then(|error| error.raw_os_error())
}

fn log(rig: &Rig) -> String {
    fs::read_to_string(rig.log_file()).unwrap()
}

fn size(size: &str) -> Listed {
    Listed { size: Some(size.into()), ..Listed::default() }
}

#[test]
fn one_entry_without_sense_hides_no_other() {
    let time = |time: &str| Listed { last_modified: Some(time.into()), ..Listed::default() };
    let year = time("99999-01-01T00:00:00.000Z");
    for listed in [size("-5"), size("9223372036854775808"), size("12x"), size(""), year, time("yesterday")] {
        let rig = Rig::new(|lab| {
            ["d/a.fits", "d/b.fits", "d/c.fits", "d/e/f"].iter().for_each(|key| drop(lab.put(BUCKET, key, "12345")));
            lab.set_listed(BUCKET, "d/b.fits", listed.clone());
        });
        assert_eq!(sorted(&rig, "d"), ["a.fits", "c.fits", "e"], "{listed:?}");
        assert_eq!(fs::read(rig.path("d/c.fits")).unwrap(), b"12345");
        assert_eq!(fs::metadata(rig.path("d/b.fits")).unwrap_err().kind(), ErrorKind::NotFound);
        let bad = rig.status()["bad_entries"].clone();
        assert_eq!((&bad["count"], &bad["examples"][0]), (&1.into(), &"d/b.fits".into()), "{listed:?}");
    }
}

#[test]
fn keys_that_xml_cannot_carry_hide_no_other() {
    let rig = Rig::unmounted(|lab| {
        ["d/a.fits", "d/b\u{1}\n.fits", "d/c.fits", "d/e\u{2}/f"]
            .iter()
            .for_each(|key| drop(lab.put(BUCKET, key, "12345")));
    });
    rig.lab.fault(Fault::new(Kind::RawKeys).on(Op::ListObjectsV2));
    rig.mount(&[]);
    assert_eq!(sorted(&rig, "d"), ["a.fits", "c.fits", "e\u{2}"]);
    assert_eq!(fs::read(rig.path("d/c.fits")).unwrap(), b"12345");
    let bad = rig.status()["bad_entries"].clone();
    assert_eq!((&bad["count"], &bad["examples"][0]), (&1.into(), &r"d/b\u{1}\n.fits".into()));
}

#[test]
fn what_is_listed_as_empty_and_is_not_is_looked_at_again() {
    for listed_first in [false, true] {
        let rig = Rig::new(|lab| {
            for key in ["d/a.fits", "d/b.dat"] {
                lab.put(BUCKET, key, pattern(70_000, 1));
                lab.set_listed(BUCKET, key, size("0"));
            }
            lab.put(BUCKET, "d/empty", "");
        });
        if listed_first {
            assert_eq!(sorted(&rig, "d"), ["a.fits", "b.dat", "empty"]);
        }
        for key in ["d/a.fits", "d/b.dat"] {
            assert_eq!(fs::read(rig.path(key)).unwrap(), pattern_at(1, 0, 70_000), "{key}, listed: {listed_first}");
            assert_eq!(fs::metadata(rig.path(key)).unwrap().len(), 70_000);
        }
        (0..3).for_each(|_| assert_eq!(fs::read(rig.path("d/empty")).unwrap(), b""));
        let asked = rig.lab.count(|request| request.op == Op::HeadObject && request.key == "d/empty");
        assert_eq!(asked, 1, "an empty file is asked for once");
    }
}

#[test]
fn a_listing_without_progress_ends_with_an_error() {
    for (kind, most) in [(Kind::RepeatToken, 10), (Kind::EmptyPages, 250)] {
        for cached in [false, true] {
            let rig = Rig::unmounted(|lab| lab.put_many(BUCKET, (0..3).map(|n| format!("d/{n}")), "x"));
            let cache = rig.outside().join("cache");
            let options = ["--cache-dir", cache.to_str().unwrap()];
            rig.mount(if cached { &options } else { &[] });
            rig.lab.fault(Fault::new(kind.clone()).on(Op::ListObjectsV2).prefix("d/"));
            let started = Instant::now();
            assert_eq!(refused(&rig, "d"), Some(libc::EIO), "{kind:?}");
            assert!(started.elapsed() < Duration::from_secs(8), "{kind:?} took {:?}", started.elapsed());
            rig.settle();
            assert!(rig.status()["requests"]["list"].as_u64().unwrap() < most, "{kind:?}");
            assert!(log(&rig).contains("without progress"), "{}", log(&rig));
            rig.lab.clear_faults();
            assert_eq!(sorted(&rig, "d"), ["0", "1", "2"], "after {kind:?}");
        }
    }
}

#[test]
fn some_pages_without_entries_are_no_reason_to_fail() {
    let rig = Rig::new(|lab| lab.put_many(BUCKET, (0..3).map(|n| format!("d/{n}")), "x"));
    rig.lab.fault(Fault::new(Kind::EmptyPages).on(Op::ListObjectsV2).prefix("d/").times(30));
    rig.lab.fault(Fault::new(Kind::RepeatToken).on(Op::ListObjectsV2).prefix("d/").times(1));
    // The token of the last page is none that the server knows: the listing begins anew.
    eventually("the folder is listed", || names(&rig.path("d")).is_ok_and(|names| names.len() == 3));
}

#[test]
fn a_page_of_any_length_is_refused() {
    for (kind, reason) in
        [(Kind::Padding(40 * MIB), "longer than"), (Kind::IgnoreMaxKeys, "more entries than were asked for")]
    {
        let rig = Rig::new(|lab| lab.put_many(BUCKET, (0..1500).map(|n| format!("d/{n}")), "x"));
        rig.lab.fault(Fault::new(kind.clone()).on(Op::ListObjectsV2).prefix("d/"));
        assert_eq!(refused(&rig, "d"), Some(libc::EIO), "{kind:?}");
        assert!(log(&rig).contains(reason), "{}", log(&rig));
        let longest = rig.lab.requests().iter().filter(|request| request.op.is_list()).map(|r| r.bytes).max();
        assert!(longest < Some(20 * MIB), "{longest:?} bytes of one answer");
        rig.lab.clear_faults();
        assert_eq!(sorted(&rig, "d").len(), 1500, "after {kind:?}");
    }
}
