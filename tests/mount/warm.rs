//! `fitsfs warm` and `fitsfs cache`: the cache filled, shown, checked and cleared by people.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use fitsfs_lab::{Fault, Kind, Op, Shape};
use serde_json::Value;

use crate::support::*;

/// A mount with a cache of this size.
fn rig(size: &str, fill: impl FnOnce(&fitsfs_lab::Lab)) -> (Rig, String) {
    let rig = Rig::unmounted(fill);
    let cache = rig.outside().join("cache").to_str().unwrap().to_owned();
    rig.mount(&["--cache-dir", &cache, "--cache-size", size]);
    (rig, cache)
}

fn remount(rig: &Rig, cache: &str) {
    let output = fitsfs(&["unmount", rig.root_str()]);
    assert!(output.status.success(), "{}", text(&output));
    rig.lab.clear_log();
    rig.mount(&["--cache-dir", cache, "--cache-size", "1GiB"]);
}

fn warm(rig: &Rig, options: &[&str], key: &str) -> Output {
    let path = rig.path(key);
    fitsfs(&[&["warm"], options, &[path.to_str().unwrap()]].concat())
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(output)))
}

fn warmed(rig: &Rig, options: &[&str], key: &str) -> Value {
    let output = warm(rig, options, key);
    assert!(output.status.success(), "{}", text(&output));
    json(&output)
}

fn cache(command: &str, cache: &str, arguments: &[&str]) -> Output {
    fitsfs(&[&["cache", command, "--cache-dir", cache], arguments].concat())
}

fn list(dir: &str, patterns: &[&str]) -> Vec<Value> {
    let output = cache("list", dir, &[&["--json"], patterns].concat());
    assert!(output.status.success(), "{}", text(&output));
    json(&output).as_array().unwrap().clone()
}

/// GETs that brought bytes, since the log was cleared.
fn fetched(rig: &Rig) -> u64 {
    rig.gets().1
}

fn data_files(cache: &str) -> Vec<PathBuf> {
    let folders = fs::read_dir(PathBuf::from(cache).join("objects")).unwrap();
    let files = folders.flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap());
    files.map(|file| file.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "data")).collect()
}

#[test]
fn what_was_warmed_costs_no_request_after_a_remount() {
    let files =
        [("d/a.fits", 5 * MIB + 7), ("d/e/b.fits", 100_001), ("d/e/c.txt", 10), ("d/large.fits", 150 * MIB + 3)];
    let (rig, cache) = rig("1GiB", |lab| {
        files.iter().for_each(|(key, size)| drop(lab.put(BUCKET, key, pattern(*size, *size))));
        lab.put(BUCKET, "d/empty.fits", "");
        lab.put(BUCKET, "other.fits", pattern(MIB, 1));
    });
    let told = warmed(&rig, &[], "d");
    let all: u64 = files.iter().map(|(_, size)| size).sum();
    assert_eq!((&told["files"], &told["bytes"], &told["complete"]), (&4.into(), &all.into(), &1.into()), "{told}");
    assert_eq!((&told["failed"], &told["incomplete"]), (&Value::Array(vec![]), &Value::Array(vec![])));
    assert!(fetched(&rig) < all + all / 4, "{} bytes fetched of {all}", fetched(&rig));
    let told = warmed(&rig, &[], "d");
    assert_eq!((&told["files"], &told["complete"]), (&0.into(), &5.into()));
    remount(&rig, &cache);
    // A look-up by name alone would bring the head along.
    assert_eq!((names(&rig.path("d")).unwrap().len(), names(&rig.path("d/e")).unwrap().len()), (4, 2));
    for (key, size) in files {
        assert_eq!(sha256(rig.open(key)), sha256_of_pattern(size, size));
    }
    assert_eq!(fetched(&rig), 0);
}

/// The network of the test is faster than any disk.
#[test]
fn no_more_is_fetched_than_the_disk_can_take() {
    let size = 700 * MIB;
    let (rig, _) = rig("2GiB", |lab| drop(lab.put(BUCKET, "d/a.fits", pattern(size, 1))));
    assert_eq!(warmed(&rig, &[], "d")["complete"], 0);
    assert_eq!(rig.status()["disk_dropped_bytes"], 0);
    assert!(fetched(&rig) < size + size / 50, "{} bytes fetched of {size}", fetched(&rig));
}

/// What is in memory is not fetched again, and would not be written again, if nobody saw to it.
#[test]
fn a_cache_that_was_cleared_is_filled_again_by_the_same_mount() {
    let (rig, dir) = rig("1GiB", |lab| drop(lab.put(BUCKET, "a.fits", fits(&[("SIMPLE  = T", 3_000_000)]))));
    for _ in 0..2 {
        assert_eq!(warmed(&rig, &[], "a.fits")["incomplete"], Value::Array(vec![]));
        assert_eq!(warmed(&rig, &[], "a.fits")["complete"], 1);
        assert!(cache("clear", &dir, &[]).status.success());
    }
}

#[test]
fn an_interrupted_warm_goes_on_where_it_was() {
    let size = 200 * MIB;
    let (rig, cache) = rig("1GiB", |lab| {
        lab.put(BUCKET, "d/a.fits", pattern(size, 1));
        lab.put(BUCKET, "d/b.fits", pattern(10 * MIB, 2));
    });
    rig.lab.shape(Shape { total: Some(40_000_000), ..Shape::default() });
    let mut first = Command::new(PROGRAM).args(["warm", rig.path("d").to_str().unwrap()]).spawn().unwrap();
    eventually("some of it was fetched", || rig.status()["bytes_fetched"].as_u64().unwrap() > 50 * MIB);
    // Not by SIGINT, which processes in the background of a script ignore.
    // SAFETY: the process is our child and has not been waited for.
    assert_eq!(unsafe { libc::kill(first.id() as i32, libc::SIGTERM) }, 0);
    assert!(!first.wait().unwrap().success());
    rig.lab.shape(Shape::default());
    rig.settle();
    let there: u64 = list(&cache, &[]).iter().map(|file| file["bytes"].as_u64().unwrap()).sum();
    assert!((30 * MIB..size).contains(&there), "{there} bytes there");
    warmed(&rig, &[], "d");
    let (rest, again) = (size + 10 * MIB - there, fetched(&rig));
    assert!(again <= rest + 16 * MIB, "{again} bytes fetched where {rest} were missing");
    remount(&rig, &cache);
    assert_eq!(names(&rig.path("d")).unwrap().len(), 2);
    assert_eq!(sha256(rig.open("d/a.fits")), sha256_of_pattern(1, size));
    assert_eq!(fetched(&rig), 0);
}

/// Reads headers as astropy does: a buffer at a time, from where each one begins.
fn walk(rig: &Rig, key: &str, hdus: &[(&str, usize)]) {
    let (file, mut at) = (rig.open(key), 0);
    for (first, data) in hdus {
        let header = read_at(&file, at, 2880).unwrap();
        assert!(header.starts_with(first.as_bytes()), "at {at} of {key}");
        at += 2880 + (*data as u64).next_multiple_of(2880);
    }
}

#[test]
fn only_headers_are_fetched_where_only_those_are_wanted() {
    let hdus = [
        ("SIMPLE  = T", 0),
        ("XTENSION= 'IMAGE   '", 2_000_000),
        ("XTENSION= 'IMAGE   '", 1_000_000),
        ("XTENSION= 'IMAGE   '", 1_500_000),
    ];
    let keys: Vec<_> = (0..12).map(|n| format!("d/{n:02}.fits")).collect();
    let (rig, cache) = rig("1GiB", |lab| {
        keys.iter().for_each(|key| drop(lab.put(BUCKET, key, fits(&hdus))));
        lab.put(BUCKET, "d/notes.txt", "x");
    });
    // Bytes are dear: where they are not, what is behind the headers comes along.
    rig.lab.shape(Shape { total: Some(20_000_000), ..Shape::default() });
    let told = warmed(&rig, &["--headers"], "d");
    assert_eq!((&told["files"], &told["skipped"]), (&12.into(), &1.into()), "{told}");
    rig.settle();
    let there: u64 = list(&cache, &[]).iter().map(|file| file["bytes"].as_u64().unwrap()).sum();
    // Headers are guessed, and what is behind them comes along: more of it the faster they are asked for.
    assert!(there < 12 * 4_500_000 / 4, "{there} bytes of {} there", 12 * 4_500_000);
    remount(&rig, &cache);
    assert_eq!(names(&rig.path("d")).unwrap().len(), 13);
    keys.iter().for_each(|key| walk(&rig, key, &hdus));
    rig.rest();
    assert_eq!(rig.gets(), (0, 0));
}

#[test]
fn what_is_not_in_a_mount_with_a_cache_is_refused() {
    let rig = Rig::new(|lab| drop(lab.put(BUCKET, "a.fits", pattern(MIB, 1))));
    let output = fitsfs(&["warm", rig.outside().to_str().unwrap()]);
    assert!(!output.status.success() && text(&output).contains("fitsfs mount"), "{}", text(&output));
    let output = warm(&rig, &[], "a.fits");
    assert!(!output.status.success() && text(&output).contains("--cache-size"), "{}", text(&output));
}

#[test]
fn what_fails_is_reported_and_the_rest_is_fetched() {
    let (rig, dir) = rig("1GiB", |lab| {
        (0..5).for_each(|n| drop(lab.put(BUCKET, &format!("d/{n}.fits"), pattern(MIB, n))));
    });
    rig.lab.fault(Fault::new(Kind::access_denied()).on(Op::GetObject).prefix("d/3.fits"));
    let output = warm(&rig, &[], "d");
    assert_eq!(output.status.code(), Some(1));
    let told = json(&output);
    assert_eq!((told["failed"].as_array().unwrap().len(), &told["files"]), (1, &5.into()), "{told}");
    assert!(told["failed"][0]["path"].as_str().unwrap().ends_with("d/3.fits"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("d/3.fits: Permission denied") && errors.contains("1 file could not"), "{errors}");
    let whole = list(&dir, &[]).iter().filter(|file| file["bytes"] == MIB).count();
    assert_eq!(whole, 4);
    rig.lab.clear_faults();
    assert_eq!(warmed(&rig, &[], "d")["complete"], 4);
}

#[test]
fn what_does_not_fit_is_said() {
    let (rig, _) = rig("16MiB", |lab| drop(lab.put(BUCKET, "a.fits", pattern(40 * MIB, 1))));
    let output = warm(&rig, &[], "a.fits");
    assert!(output.status.success() && text(&output).contains("--cache-size"), "{}", text(&output));
    assert_eq!(json(&output)["incomplete"].as_array().unwrap().len(), 1);
    assert!(fetched(&rig) < 60 * MIB, "it is not tried again and again");
}

#[test]
fn the_list_shows_shares_and_opens() {
    let (rig, dir) = rig("1GiB", |lab| {
        lab.put(BUCKET, "a/whole.fits", pattern(MIB, 1));
        lab.put(BUCKET, "b/part.fits", pattern(64 * MIB, 2));
    });
    warmed(&rig, &[], "a");
    let file = rig.open("b/part.fits");
    read_at(&file, 40 * MIB, 4096).unwrap();
    eventually("it is kept", || list(&dir, &["part"]).iter().any(|file| file["bytes"].as_u64().unwrap() > 0));
    let listed = list(&dir, &[]);
    assert_eq!(
        (&listed[0]["key"], &listed[0]["open"], &listed[0]["opens"]),
        (&"b/part.fits".into(), &true.into(), &1.into())
    );
    assert!(listed[0]["bytes"].as_u64().unwrap() < MIB && listed[0]["size"] == 64 * MIB);
    assert_eq!((&listed[1]["key"], &listed[1]["bytes"]), (&"a/whole.fits".into(), &MIB.into()));
    assert_eq!(list(&dir, &["who*fits"]).len(), 1);
    drop(file);
    let nowhere = cache("list", rig.outside().join("nowhere").to_str().unwrap(), &[]);
    assert!(!nowhere.status.success() && text(&nowhere).contains("there is no cache in"), "{}", text(&nowhere));
}

#[test]
fn a_flipped_byte_is_found_and_repaired() {
    let (rig, dir) = rig("1GiB", |lab| drop(lab.put(BUCKET, "a.fits", pattern(4 * MIB, 1))));
    warmed(&rig, &[], "a.fits");
    assert!(cache("verify", &dir, &[]).status.success());
    let data = OpenOptions::new().read(true).write(true).open(&data_files(&dir)[0]).unwrap();
    let byte = read_at(&data, 3 * MIB, 1).unwrap()[0];
    data.write_all_at(&[byte ^ 1], 3 * MIB).unwrap();
    let found = cache("verify", &dir, &[]);
    assert_eq!(found.status.code(), Some(1));
    assert_eq!((&json(&found)["damage"][0]["key"], &json(&found)["damage"][0]["pages"]), (&"a.fits".into(), &1.into()));
    assert!(cache("verify", &dir, &["--json"]).status.success());
    assert_eq!(warmed(&rig, &[], "a.fits")["incomplete"], Value::Array(vec![]));
    assert_eq!(sha256(rig.open("a.fits")), sha256_of_pattern(1, 4 * MIB));
}

#[test]
fn clearing_takes_what_is_meant_and_readers_go_on() {
    let size = 32 * MIB;
    let (rig, dir) =
        rig("1GiB", |lab| (0..3).for_each(|n| drop(lab.put(BUCKET, &format!("{n}.fits"), pattern(size, n)))));
    warmed(&rig, &[], "");
    let output = cache("clear", &dir, &["1.f*"]);
    assert!(output.status.success(), "{}", text(&output));
    assert!(list(&dir, &["1.fits"]).iter().all(|file| file["bytes"] == 0));
    assert!(list(&dir, &["2.fits"])[0]["bytes"] == size && list(&dir, &["0.fits"])[0]["bytes"] == size);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for n in [0, 2] {
            let (file, stop) = (rig.open(&format!("{n}.fits")), &stop);
            scope.spawn(move || {
                for step in 0u64.. {
                    let at = step * 7_919 * 4096 % (size - MIB);
                    assert!(read_at(&file, at, 100_000).unwrap() == pattern_at(n, at, 100_000), "at {at} of {n}");
                    if stop.load(std::sync::atomic::Ordering::SeqCst) {
                        break;
                    }
                }
            });
        }
        for _ in 0..5 {
            let output = cache("clear", &dir, &[]);
            assert!(output.status.success() && text(&output).contains("in use"), "{}", text(&output));
            std::thread::sleep(Duration::from_millis(100));
        }
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
    });
    assert_eq!(rig.status()["disk_damaged_pages"], 0);
    assert!(cache("verify", &dir, &[]).status.success());
    let output = fitsfs(&["unmount", rig.root_str()]);
    assert!(output.status.success(), "{}", text(&output));
    assert!(cache("clear", &dir, &[]).status.success());
    assert!(data_files(&dir).is_empty() && list(&dir, &[]).is_empty());
}
