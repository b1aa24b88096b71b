//! What goes wrong at the server ends in the right bytes or in an error, never in wrong ones, and never in a hang.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fitsfs_lab::{Fault, Kind, Op};

use crate::support::*;

const SIZE: u64 = 12 * MIB + 321;

/// A mount of one file, in a directory that is known already.
fn rig() -> Rig {
    let rig = Rig::new(|lab| {
        lab.put(BUCKET, "d/a.fits", pattern(SIZE, 1));
        lab.put(BUCKET, "d/other", pattern(SIZE, 2));
    });
    assert_eq!(fs::metadata(rig.path("d/a.fits")).unwrap().len(), SIZE);
    rig
}

fn errno<T>(result: std::io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

#[test]
fn a_passing_fault_of_any_kind_costs_nothing_but_time() {
    let kinds = [
        Kind::slow_down(),
        Kind::internal_error(),
        Kind::Status(502, "BadGateway".into()),
        Kind::Status(429, "TooManyRequests".into()),
        Kind::CutBodyAfter(100_000),
        Kind::CutBodyAfter(0),
        Kind::TruncateBody,
        Kind::WrongContentRange,
        Kind::IgnoreRange,
        Kind::HtmlInsteadOfXml,
        Kind::DropConnection,
        Kind::MissingEtag,
        Kind::GzipEncoding,
    ];
    for kind in kinds {
        let rig = rig();
        rig.lab.fault(Fault::new(kind.clone()).on(Op::GetObject).times(3));
        assert_eq!(sha256(rig.open("d/a.fits")), sha256_of_pattern(1, SIZE), "{kind:?}");
        assert_eq!(rig.struck(), 3, "{kind:?} struck");
    }
}

#[test]
fn a_lasting_nonsense_is_an_error_and_never_wrong_bytes() {
    for kind in [Kind::WrongContentRange, Kind::IgnoreRange, Kind::HtmlInsteadOfXml, Kind::GzipEncoding] {
        let rig = rig();
        rig.lab.fault(Fault::new(kind.clone()).on(Op::GetObject).prefix("d/a"));
        assert_eq!(errno(fs::read(rig.path("d/a.fits"))), Some(libc::EIO), "{kind:?}");
        rig.lab.clear_faults();
        assert_eq!(sha256(rig.open("d/a.fits")), sha256_of_pattern(1, SIZE), "after {kind:?}");
    }
}

#[test]
fn bodies_that_always_break_off_are_resumed_until_they_are_whole() {
    let rig = rig();
    rig.lab.fault(Fault::new(Kind::CutBodyAfter(300_000)).on(Op::GetObject));
    assert_eq!(sha256(rig.open("d/a.fits")), sha256_of_pattern(1, SIZE));
    let (_, bytes) = rig.gets();
    assert!(bytes < 2 * SIZE, "{bytes} bytes for {SIZE}: what had arrived was kept");
}

#[test]
fn a_stalled_body_is_given_up_and_resumed() {
    let rig = rig();
    rig.lab.fault(Fault::new(Kind::Stall(Duration::from_secs(60))).on(Op::GetObject).times(1));
    let started = Instant::now();
    assert_eq!(sha256(rig.open("d/a.fits")), sha256_of_pattern(1, SIZE));
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_storm_of_throttling_passes() {
    let rig = rig();
    rig.lab.fault(Fault::new(Kind::slow_down()).on(Op::GetObject));
    let reader = std::thread::spawn({
        let file = rig.open("d/a.fits");
        move || sha256(file)
    });
    std::thread::sleep(Duration::from_secs(2));
    rig.lab.clear_faults();
    assert_eq!(reader.join().unwrap(), sha256_of_pattern(1, SIZE));
    assert!(rig.status()["errors"]["throttled"].as_u64().unwrap() > 3);
}

#[test]
fn who_may_not_read_is_told_so() {
    let rig = rig();
    rig.lab.fault(Fault::new(Kind::access_denied()).on(Op::GetObject).prefix("d/other"));
    assert_eq!(errno(fs::read(rig.path("d/other"))), Some(libc::EACCES));
    let refused = rig.lab.requests().into_iter().filter(|request| request.key == "d/other");
    let mut ranges: Vec<_> = refused.filter_map(|request| request.range).collect();
    let asked = ranges.len();
    ranges.sort();
    ranges.dedup();
    assert!(asked > 0 && ranges.len() == asked, "{asked} requests for {ranges:?}: a refusal is not retried");
    assert_eq!(sha256(rig.open("d/a.fits")), sha256_of_pattern(1, SIZE));
}

#[test]
fn a_passing_outage_of_listing_goes_unnoticed() {
    for kind in [Kind::slow_down(), Kind::internal_error(), Kind::HtmlInsteadOfXml, Kind::DropConnection] {
        let rig = Rig::new(|lab| drop(lab.put(BUCKET, "d/e/a", pattern(10, 1))));
        rig.lab.fault(Fault::new(kind.clone()).on(Op::ListObjectsV2).times(3));
        assert_eq!(fs::read(rig.path("d/e/a")).unwrap(), pattern_at(1, 0, 10), "{kind:?}");
    }
}

#[test]
fn a_lasting_outage_of_listing_is_an_error_and_never_a_missing_file() {
    let rig = Rig::new(|lab| drop(lab.put(BUCKET, "d/a", pattern(10, 1))));
    rig.lab.fault(Fault::new(Kind::slow_down()).on(Op::ListObjectsV2));
    let (path, folder) = (rig.path("d/a"), rig.path("d"));
    let looking = [
        std::thread::spawn(move || errno(fs::metadata(path).map(drop))),
        std::thread::spawn(move || errno(names(&folder).map(drop))),
    ];
    for outcome in looking {
        assert_eq!(outcome.join().unwrap(), Some(libc::EIO));
    }
    rig.lab.clear_faults();
    assert_eq!(fs::read(rig.path("d/a")).unwrap(), pattern_at(1, 0, 10));
}

#[test]
fn faults_of_all_kinds_at_random_change_no_byte() {
    let size = 48 * MIB + 99;
    let rig = Rig::new(|lab| drop(lab.put(BUCKET, "d/a.fits", pattern(size, 3))));
    let kinds = [
        Kind::slow_down(),
        Kind::internal_error(),
        Kind::CutBodyAfter(70_000),
        Kind::TruncateBody,
        Kind::WrongContentRange,
        Kind::IgnoreRange,
        Kind::HtmlInsteadOfXml,
        Kind::DropConnection,
        Kind::Delay(Duration::from_millis(300)),
        Kind::Stall(Duration::from_secs(30)),
    ];
    // Chance may leave one of them out of a hundred requests: each strikes at least once.
    for (kind, seed) in kinds.into_iter().zip(1..) {
        rig.lab.fault(Fault::new(kind.clone()).on(Op::GetObject).skip(3 * seed).times(1));
        rig.lab.fault(Fault::new(kind).probability(0.01, seed));
    }
    let readers: Vec<_> = (0..3)
        .map(|n| {
            let path = rig.path("d/a.fits");
            std::thread::spawn(move || read_in_steps(&File::open(path).unwrap(), size, 50_000 + 30_000 * n))
        })
        .collect();
    readers.into_iter().for_each(|reader| assert_eq!(reader.join().unwrap(), sha256_of_pattern(3, size)));
}

/// Reads a file in steps with gaps that are filled afterwards, so that requests are many.
fn read_in_steps(file: &File, size: u64, step: u64) -> String {
    let mut all = vec![0; size as usize];
    for phase in [0, step] {
        for offset in (phase..size).step_by(2 * step as usize) {
            let len = step.min(size - offset) as usize;
            all[offset as usize..][..len].copy_from_slice(&read_at(file, offset, len).unwrap());
        }
    }
    sha256(&all[..])
}

#[test]
fn a_slow_object_delays_no_other() {
    let rig = rig();
    rig.lab.fault(Fault::new(Kind::Delay(Duration::from_secs(4))).on(Op::GetObject).prefix("d/a"));
    let slow: Vec<_> = (0..8)
        .map(|n| {
            let file = rig.open("d/a.fits");
            std::thread::spawn(move || read_at(&file, n * MIB, 1000).map(|bytes| bytes == pattern_at(1, n * MIB, 1000)))
        })
        .collect();
    eventually("the slow reads are on their way", || rig.struck() >= 7); // The first came with the look-up.
    let started = Instant::now();
    assert_eq!(sha256(rig.open("d/other")), sha256_of_pattern(2, SIZE));
    assert!(started.elapsed() < Duration::from_secs(2), "took {:?}", started.elapsed());
    slow.into_iter().for_each(|reader| assert!(reader.join().unwrap().unwrap()));
}

#[test]
fn a_reader_of_a_stalled_object_can_be_killed_at_once() {
    let rig = rig();
    rig.lab.fault(Fault::new(Kind::Delay(Duration::from_secs(60))).on(Op::GetObject).prefix("d/a"));
    let mut reader = Command::new("cat").arg(rig.path("d/a.fits")).stdout(Stdio::null()).spawn().unwrap();
    // Not just any GET: the first bytes came with the look-up, before the fault.
    eventually("it waits", || rig.struck() > 0);
    let started = Instant::now();
    reader.kill().unwrap();
    assert!(!reader.wait().unwrap().success());
    assert!(started.elapsed() < Duration::from_secs(1), "took {:?}", started.elapsed());
}

#[test]
fn what_does_not_exist_is_not_found() {
    let rig = rig();
    for missing in ["x", "d/x.fits", "x/y/z", "d/a.fit", "d/a.fitsx"] {
        assert_eq!(fs::metadata(rig.path(missing)).unwrap_err().kind(), ErrorKind::NotFound, "{missing}");
    }
    assert_eq!(errno(fs::metadata(rig.path("d/a.fits/x")).map(drop)), Some(libc::ENOTDIR));
}
