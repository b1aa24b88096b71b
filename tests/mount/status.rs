//! The status tells what happened.

use std::fs;

use fitsfs_lab::{Fault, Kind, Op};
use serde_json::Value;

use crate::support::*;

fn number(status: &Value, name: &str) -> u64 {
    name.split('.').fold(status, |value, part| &value[part]).as_u64().unwrap_or_else(|| panic!("no number {name}"))
}

#[test]
fn the_counts_are_those_of_the_server() {
    let size = 7 * MIB + 5;
    let rig = Rig::new(|lab| drop(lab.put(BUCKET, "d/a.fits", pattern(size, 1))));
    assert_eq!(sha256(rig.open("d/a.fits")), sha256_of_pattern(1, size));
    assert_eq!(fs::metadata(rig.path("d/a.fits")).unwrap().len(), size);
    eventually("nothing is under way", || number(&rig.status(), "in_flight") == 0);
    let status = rig.status();
    let (gets, bytes) = rig.gets();
    assert_eq!(number(&status, "requests.get"), gets as u64);
    assert_eq!(number(&status, "requests.list"), rig.lists() as u64);
    let connections = rig.lab.count(|request| request.op == Op::HeadBucket) as u64;
    assert_eq!((number(&status, "requests.head"), connections), (8, 8), "connections in advance");
    assert_eq!(number(&status, "requests.total"), rig.lab.requests().len() as u64);
    assert_eq!(number(&status, "bytes_fetched"), bytes);
    assert!(number(&status, "bytes_delivered") + number(&status, "pushed_bytes") >= size);
    assert_eq!(number(&status, "reads"), number(&status, "cache.hits") + number(&status, "cache.misses"));
    assert!(number(&status, "inodes") >= 3, "the root, d and a.fits");
}

#[test]
fn open_files_are_counted_while_they_are_open() {
    let rig = Rig::new(|lab| drop(lab.put(BUCKET, "a", pattern(10, 1))));
    let files: Vec<_> = (0..5).map(|_| rig.open("a")).collect();
    assert_eq!(number(&rig.status(), "open_files"), 5);
    drop(files);
    eventually("all are closed", || number(&rig.status(), "open_files") == 0);
    assert_eq!(number(&rig.status(), "memory.used_bytes"), 0);
}

#[test]
fn errors_are_counted_by_their_kind() {
    let faults = [
        (Kind::slow_down(), "errors.throttled"),
        (Kind::internal_error(), "errors.server"),
        (Kind::DropConnection, "errors.network"),
        (Kind::CutBodyAfter(1000), "errors.network"),
        (Kind::IgnoreRange, "errors.bad_response"),
    ];
    for (kind, name) in faults {
        let rig = Rig::new(|lab| drop(lab.put(BUCKET, "a", pattern(MIB, 1))));
        rig.lab.fault(Fault::new(kind.clone()).on(Op::GetObject).times(2));
        assert_eq!(sha256(rig.open("a")), sha256_of_pattern(1, MIB));
        let status = rig.status();
        assert_eq!((number(&status, name), number(&status, "retries")), (2, 2), "{kind:?}");
    }
}

#[test]
fn the_field_names_are_the_documented_ones() {
    let rig = Rig::new(|_| ());
    let status = rig.status();
    let documented = include_str!("../../docs/metrics.md").lines().filter_map(|line| {
        let name = line.strip_prefix("| `")?.split('`').next()?;
        Some(name.to_owned())
    });
    let mut known = 0;
    for name in documented {
        let field = name.split('.').try_fold(&status, |value, part| value.get(part));
        assert!(field.is_some(), "{name} is documented and not in the status");
        known += 1;
    }
    assert!(known > 40);
    assert_eq!(status["sources"][0], format!("s3://{BUCKET}"));
    assert_eq!(status["mountpoint"], rig.root_str());
}

#[test]
fn the_status_of_what_is_not_mounted_is_an_error_in_one_line() {
    let rig = Rig::unmounted(|_| ());
    let output = fitsfs(&["status", rig.root_str()]);
    assert!(!output.status.success());
    assert_eq!(text(&output).trim().lines().count(), 1, "{}", text(&output));
    assert!(text(&output).contains("is not a mount of fitsfs"));
}
