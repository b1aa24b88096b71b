//! Listings as no store should give them: one entry that makes no sense.

use std::fs;
use std::io::ErrorKind;

use fitsfs_lab::{Fault, Kind, Listed, Op};

use crate::support::*;

fn sorted(rig: &Rig, folder: &str) -> Vec<String> {
    let mut names = names(&rig.path(folder)).unwrap();
    names.sort();
    names
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
