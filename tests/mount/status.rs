//! The status tells what happened.

use std::fs;
use std::time::Duration;

use fitsfs_lab::{Fault, Kind, Op, Shape};
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
    let requests = rig.lab.requests();
    let of = |op: Op| requests.iter().filter(move |request| request.op == op);
    // A request that was hedged can be dropped before it reaches the server, or after the server has sent its answer.
    let hedged = number(&status, "hedged_requests");
    let is_told = |name: &str, seen: u64| (seen..=seen + hedged).contains(&number(&status, name));
    assert!(is_told("requests.get", of(Op::GetObject).count() as u64), "{status}");
    assert!(is_told("requests.total", requests.len() as u64), "{status}");
    assert_eq!(number(&status, "requests.list"), rig.lists() as u64);
    assert_eq!(number(&status, "requests.head"), of(Op::HeadBucket).count() as u64, "connections in advance");
    let (told, sent) = (number(&status, "bytes_fetched"), of(Op::GetObject).map(|request| request.bytes).sum::<u64>());
    assert!(told == sent || hedged > 0 && (size..sent).contains(&told), "{told} of {sent}");
    assert!(number(&status, "bytes_delivered") + number(&status, "pushed_bytes") >= size);
    assert_eq!(number(&status, "reads"), number(&status, "cache.hits") + number(&status, "cache.misses"));
    assert!(number(&status, "inodes") >= 3, "the root, d and a.fits");
}

#[test]
fn waits_are_counted_by_cause_and_the_file_that_had_most_is_named() {
    let rig = Rig::new(|lab| {
        lab.put(BUCKET, "d/a.bin", pattern(50 * MIB, 1));
        lab.put(BUCKET, "d/b.bin", pattern(MIB, 2));
    });
    let waits = |rig: &Rig| rig.status()["waits"].clone();
    assert_eq!((waits(&rig)["longest_file"].clone(), number(&waits(&rig), "unforeseen.reads")), (Value::Null, 0));
    rig.lab.shape(Shape::latency(Duration::from_millis(20)));
    let (long, short) = (rig.open("d/a.bin"), rig.open("d/b.bin"));
    read_at(&short, 0, 4096).unwrap();
    (0..5).for_each(|n| drop(read_at(&long, (47 - 9 * n) * MIB, 4096).unwrap()));
    let waits = waits(&rig);
    assert!(number(&waits, "unforeseen.reads") >= 5, "{waits}");
    let seconds = waits["unforeseen"]["seconds"].as_f64().unwrap();
    assert!(seconds >= 5.0 * 0.020, "{waits}");
    assert_eq!(waits["longest_file"], format!("{}/d/a.bin", rig.root_str()));
    assert_eq!(waits["longest_cause"], "unforeseen");
    assert!(waits["longest_seconds"].as_f64().unwrap() <= seconds);
    let traced = trace(&[rig.path("d/a.bin").to_str().unwrap(), "--json"])["files"][0]["summary"].clone();
    assert!(traced["by_cause"]["unforeseen"]["reads"].as_u64() >= Some(5), "{traced}");
    assert!(traced["by_cause"]["unforeseen"]["us"].as_u64() >= Some(5 * 20_000), "{traced}");
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
