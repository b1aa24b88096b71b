//! Buckets as they were: `--at`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fitsfs_lab::{Fault, Kind, Lab, Op};

use crate::support::*;

/// 2026-01-01T00:00:00Z.
const NEW_YEAR: u64 = 1_767_225_600;

/// Some minutes of that day.
fn minute(minutes: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NEW_YEAR + 60 * minutes)
}

const AT_20: [&str; 2] = ["--at", "2026-01-01T00:20Z"];

fn fill(lab: &Lab) {
    lab.keep_versions(BUCKET);
    for (key, minutes, seed) in [("d/a.fits", 10, 1), ("d/a.fits", 30, 2), ("d/later.fits", 30, 3), ("new/x", 30, 4)] {
        lab.put_at(BUCKET, key, pattern(MIB + seed, seed), minute(minutes));
    }
    for (key, written, deleted) in [("d/gone.fits", 10, 15), ("old/deep/y", 10, 15), ("d/kept.fits", 10, 25)] {
        lab.put_at(BUCKET, key, "bytes", minute(written));
        assert!(lab.delete_at(BUCKET, key, minute(deleted)));
    }
    lab.put_at(BUCKET, "d/gone.fits", "again", minute(40));
    lab.put_at(BUCKET, "d/sub/z", "z", minute(5));
}

#[test]
fn a_bucket_is_shown_as_it_was() {
    let rig = Rig::with(&AT_20, fill);
    assert_eq!(names(&rig.root).unwrap(), ["d"], "folders in which nothing was are not shown");
    let mut found = names(&rig.path("d")).unwrap();
    found.sort();
    assert_eq!(found, ["a.fits", "kept.fits", "sub"]);
    assert_eq!(fs::read(rig.path("d/a.fits")).unwrap(), pattern_at(1, 0, (MIB + 1) as usize));
    assert_eq!(fs::read(rig.path("d/kept.fits")).unwrap(), b"bytes");
    assert_eq!(fs::metadata(rig.path("d/a.fits")).unwrap().modified().unwrap(), minute(10));
    assert_eq!(rig.status()["at"], "2026-01-01T00:20:00Z");
}

#[test]
fn names_that_were_not_there_are_not_found_without_a_listing() {
    let rig = Rig::with(&AT_20, fill);
    for missing in ["new", "old", "old/deep/y", "new/x", "d/later.fits", "d/gone.fits", "d/none", "d/a"] {
        let error = fs::metadata(rig.path(missing)).expect_err(missing);
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT), "{missing}");
    }
    assert_eq!(fs::metadata(rig.path("d/a.fits")).unwrap().len(), MIB + 1);
    assert!(fs::metadata(rig.path("d/sub")).unwrap().is_dir());
}

#[test]
fn what_is_written_and_deleted_later_changes_nothing() {
    let rig = Rig::with(&AT_20, fill);
    let file = rig.open("d/a.fits");
    assert_eq!(read_at(&file, 0, 100).unwrap(), pattern_at(1, 0, 100));
    rig.lab.put(BUCKET, "d/a.fits", pattern(MIB, 9));
    rig.lab.delete(BUCKET, "d/a.fits");
    forget_pages(&file);
    assert_eq!(sha256(&file), sha256_of_pattern(1, MIB + 1));
    let asked = rig.lab.count(|request| request.op == Op::ListObjectsV2);
    assert_eq!(asked, 0, "what is there now is not asked for");
}

/// What is left of a body that breaks off is asked for by the same version, which is not there any more.
#[test]
fn a_body_that_breaks_off_goes_on_in_the_version_that_was() {
    let rig = Rig::with(&AT_20, fill);
    let file = rig.open("d/a.fits");
    rig.settle();
    rig.lab.fault(Fault::new(Kind::CutBodyAfter(10_000)).on(Op::GetObject).times(1));
    assert_eq!(sha256(&file), sha256_of_pattern(1, MIB + 1));
    assert_eq!(rig.lab.count(|request| request.status == 412), 0, "{:#?}", rig.lab.requests());
}

#[test]
fn versions_that_fill_pages_hide_no_other_key() {
    let rig = Rig::with(&AT_20, |lab| {
        lab.keep_versions(BUCKET);
        lab.put_at(BUCKET, "d/many.fits", "first", minute(10));
        for n in 0..2500 {
            lab.put_at(BUCKET, "d/many.fits", format!("later {n}").as_bytes(), minute(30));
        }
        // A folder of which only traces are left, for longer than a page.
        for n in 0..2500 {
            let key = format!("d/traces/{n:04}");
            lab.put_at(BUCKET, &key, "x", minute(5));
            lab.delete_at(BUCKET, &key, minute(6));
        }
        for n in 0..1500 {
            lab.put_at(BUCKET, &format!("d/x{n:04}"), "x", minute(5));
        }
        lab.put_at(BUCKET, "d/z.fits", "last", minute(10));
    });
    assert_eq!(fs::read(rig.path("d/many.fits")).unwrap(), b"first", "looked up");
    let found = names(&rig.path("d")).unwrap();
    assert_eq!(found.len(), 1502, "{:?}", &found[..5]);
    assert!(found.contains(&"many.fits".to_owned()) && found.contains(&"z.fits".to_owned()));
    assert_eq!(fs::read(rig.path("d/z.fits")).unwrap(), b"last");
}

/// Regression: a page without a name that was not the last one was taken for the answer that there is none.
#[test]
fn more_later_versions_than_are_asked_for_at_once_hide_no_name() {
    let rig = Rig::with(&AT_20, |lab| {
        lab.keep_versions(BUCKET);
        // Sixteen pages of a thousand, and one more: all come before `d/k/`.
        for n in 0..17_000 {
            lab.put_at(BUCKET, &format!("d/k-{n:05}"), "later", minute(30));
        }
        lab.put_at(BUCKET, "d/k/x", "was", minute(5));
    });
    assert!(fs::metadata(rig.path("d/k")).unwrap().is_dir());
    assert_eq!(fs::read(rig.path("d/k/x")).unwrap(), b"was");
}

#[test]
fn the_cache_and_inode_numbers_tell_times_apart() {
    let rig = Rig::unmounted(fill);
    let cache = rig.outside().join("cache");
    let options = |at: [&'static str; 2]| [at[0], at[1], "--cache-dir", cache.to_str().unwrap()];
    let seen = |at| {
        rig.mount(&options(at));
        let path = rig.path("d/a.fits");
        let seen = (fs::read(&path).unwrap(), fs::metadata(&path).unwrap().ino());
        assert!(fitsfs(&["unmount", rig.root_str()]).status.success());
        seen
    };
    let (then, ino_then) = seen(AT_20);
    let (later, ino_later) = seen(["--at", "2026-01-01T00:35Z"]);
    assert_eq!((then.len(), later.len()), (MIB as usize + 1, MIB as usize + 2));
    assert_ne!(ino_then, ino_later);
    rig.lab.clear_log();
    let again = seen(AT_20);
    assert_eq!(again, (then, ino_then));
    assert_eq!(rig.gets().0, 0, "it is in the cache");
}

#[test]
fn what_keeps_no_versions_is_refused_in_a_line() {
    let rig = Rig::unmounted(|lab| drop(lab.put(BUCKET, "k", "bytes")));
    let refused = text(&rig.try_mount(&AT_20));
    assert!(refused.contains("keeps no versions") && refused.contains("leave out --at"), "{refused}");
    let folder = "file:///usr/share";
    let place = rig.root_str();
    let refused = text(&fitsfs(&["mount", folder, place, "--at", "2026-01-01"]));
    assert!(refused.contains("keeps no versions"), "{refused}");
    for (time, why) in [("9999-01-01", "in the future"), ("2026-01-01T00:20", "with its zone")] {
        let refused = text(&rig.try_mount(&["--at", time]));
        assert!(refused.contains(why), "{refused}");
    }
    let check = |rig: &Rig| {
        let source = format!("s3://{BUCKET}");
        let endpoint = rig.lab.endpoint();
        text(&fitsfs(&["check", &source, "--endpoint-url", &endpoint, "--no-sign-request"]))
    };
    assert!(check(&rig).contains("no versions are kept"), "{}", check(&rig));
    rig.lab.keep_versions(BUCKET);
    assert!(check(&rig).contains("--at mounts it as it was"), "{}", check(&rig));
}
