//! The disk of the cache stops answering: programs get their bytes from the store, the daemon can be asked and ended, and
//! the cache is used again when its disk answers.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::hanging::{FreezableDisk, HangingDisk};
use crate::support::*;

/// What a program may wait in all for a disk that hangs: a deadline for the open, and one for a read that came before the
/// cache was off. A busy machine takes its time as well.
const DEADLINES: Duration = Duration::from_secs(20);

/// Far less than a disk hangs in these tests, and more than a busy machine needs for a command.
const COMMAND: Duration = Duration::from_secs(10);

/// How long the cache stays off after its disk answers again, and then some.
const PAUSE: Duration = Duration::from_secs(40);

/// A rig with three files, and its cache in a folder of a disk. The first file is in the cache.
fn rig_on(disk: &Path) -> (Rig, String) {
    let rig = Rig::unmounted(|lab| {
        lab.put(BUCKET, "d/a.fits", pattern(8 * MIB, 1));
        lab.put(BUCKET, "e/b.fits", pattern(8 * MIB, 2));
        lab.put(BUCKET, "f/c.fits", pattern(8 * MIB, 3));
    });
    let cache = disk.join("cache").to_str().unwrap().to_owned();
    rig.mount(&["--cache-dir", &cache]);
    assert_eq!(sha256(rig.open("d/a.fits")), sha256_of_pattern(1, 8 * MIB));
    assert!(fitsfs(&["unmount", rig.root_str()]).status.success());
    rig.mount(&["--cache-dir", &cache]);
    rig.settle();
    (rig, cache)
}

/// Reads a file whole, unless that hangs.
fn read_whole(rig: &Rig, key: &str) -> String {
    let path = rig.path(key);
    within(DEADLINES, key, move || sha256(fs::File::open(path).unwrap()))
}

fn is_off(rig: &Rig) -> bool {
    rig.status()["disk"]["off"].as_bool().unwrap()
}

fn wait_until(what: &str, patience: Duration, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < patience, "{what}: not within {patience:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// How many lines of the daemon's log have this.
fn said(rig: &Rig, what: &str) -> usize {
    fs::read_to_string(rig.log_file()).unwrap().lines().filter(|line| line.contains(what)).count()
}

fn threads(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).unwrap().count()
}

fn is_running(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn while_the_cache_disk_hangs_the_store_is_asked_and_then_the_cache_again() {
    let disk = HangingDisk::new();
    let (rig, _) = rig_on(&disk.path());
    disk.hang();
    for (key, seed) in [("d/a.fits", 1), ("e/b.fits", 2)] {
        assert_eq!(read_whole(&rig, key), sha256_of_pattern(seed, 8 * MIB));
    }
    assert!(is_off(&rig) && said(&rig, "does not answer") == 1);
    // Whoever comes later waits for nothing, and what was fetched is not kept in memory.
    let (began, before) = (Instant::now(), rig.gets().1);
    assert_eq!(read_whole(&rig, "f/c.fits"), sha256_of_pattern(3, 8 * MIB));
    assert!(rig.gets().1 > before);
    eprintln!("read without the cache in {:?}", began.elapsed());
    let memory = || rig.status()["memory"]["used_bytes"].as_u64().unwrap();
    eventually("nothing waits for the disk", || memory() < MIB && rig.status()["disk"]["waiting_bytes"] == 0);
    disk.answer();
    wait_until("the cache is on", PAUSE, || !is_off(&rig));
    assert!(said(&rig, "answers again") == 1 && said(&rig, "does not answer") == 1);
    // What was there is there, and what is fetched is kept again.
    let from_disk = || rig.status()["disk_bytes_read"].as_u64().unwrap();
    let file = rig.open("d/a.fits");
    forget_pages(&file);
    let before = from_disk();
    assert_eq!(sha256(&file), sha256_of_pattern(1, 8 * MIB));
    assert!(from_disk() > before);
    let file = rig.open("f/c.fits");
    forget_pages(&file);
    assert_eq!(sha256(&file), sha256_of_pattern(3, 8 * MIB));
    eventually("it is written", || rig.status()["disk_bytes_written"].as_u64() >= Some(8 * MIB));
}

#[test]
fn a_hung_cache_disk_takes_few_threads_and_no_program_with_it() {
    let disk = HangingDisk::new();
    let (rig, _) = rig_on(&disk.path());
    let file = rig.open("d/a.fits");
    let pid = rig.pid();
    let usual = threads(pid);
    disk.hang();
    let readers: Vec<_> = (1..=100u64)
        .map(|n| {
            let (path, at) = (rig.path("d/a.fits"), n * 19 * 4096);
            std::thread::spawn(move || {
                read_at(&fs::File::open(path).unwrap(), at, 4096).unwrap() == pattern_at(1, at, 4096)
            })
        })
        .collect();
    wait_until("the cache is off", DEADLINES, || is_off(&rig));
    let most = threads(pid);
    within(DEADLINES, "all readers", move || readers.into_iter().for_each(|reader| assert!(reader.join().unwrap())));
    // As many as may wait for the disk, and those that answer the status and look up names of hosts.
    assert!(most <= usual + 32 + 16, "{most} threads, usually {usual}");
    drop(file);
}

#[test]
fn a_daemon_whose_cache_disk_hangs_can_be_asked_and_ended() {
    for (how, held) in [("unmount", false), ("SIGTERM", false), ("SIGTERM", true)] {
        let disk = HangingDisk::new();
        let (rig, _) = rig_on(&disk.path());
        let pid = rig.pid();
        let path = rig.path("e/b.fits");
        disk.hang();
        let file = within(DEADLINES, "open", move || fs::File::open(path).unwrap());
        let file = held.then_some(file);
        // The first question comes before anything is known of the disk.
        let root = rig.root_str().to_owned();
        let output = within(COMMAND, "status", move || fitsfs(&["status", &root]));
        assert!(output.status.success(), "{}", text(&output));
        match how {
            "unmount" => {
                let root = rig.root_str().to_owned();
                let output = within(COMMAND, "unmount", move || fitsfs(&["unmount", &root]));
                assert!(output.status.success(), "{}", text(&output));
            }
            // SAFETY: kill has no memory effects.
            _ => assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0),
        }
        wait_until(&format!("{how}: the mount is gone"), 2 * COMMAND, || !rig.is_mounted());
        wait_until(&format!("{how}: the daemon has ended"), 2 * COMMAND, || !is_running(pid));
        if let Some(file) = file {
            within(COMMAND, "a read of what is gone", move || read_at(&file, 4 * MIB, 4096).unwrap_err());
        }
    }
}

#[test]
fn a_mount_goes_without_a_cache_whose_disk_hangs() {
    let disk = HangingDisk::new();
    let (rig, cache) = rig_on(&disk.path());
    assert!(fitsfs(&["unmount", rig.root_str()]).status.success());
    disk.hang();
    let (root, endpoint) = (rig.root_str().to_owned(), rig.lab.endpoint());
    let output = within(DEADLINES, "mount", move || {
        let source = format!("s3://{BUCKET}");
        fitsfs(&["mount", &source, &root, "--endpoint-url", &endpoint, "--no-sign-request", "--cache-dir", &cache])
    });
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(said(&rig, "mounting without a cache"), 1);
    assert_eq!(read_whole(&rig, "d/a.fits"), sha256_of_pattern(1, 8 * MIB));
}

#[test]
fn a_frozen_cache_disk_is_read_and_holds_nothing_up() {
    let Some(disk) = FreezableDisk::new() else { return };
    let (rig, _) = rig_on(&disk.path());
    disk.freeze();
    // What is there can be read, and has to be for a while before anything is known.
    assert_eq!(read_whole(&rig, "d/a.fits"), sha256_of_pattern(1, 8 * MIB));
    assert_eq!(rig.gets(), (0, 0));
    for (key, seed) in [("e/b.fits", 2), ("f/c.fits", 3)] {
        assert_eq!(read_whole(&rig, key), sha256_of_pattern(seed, 8 * MIB));
    }
    wait_until("the cache is off", DEADLINES, || is_off(&rig));
    let pid = rig.pid();
    let root = rig.root_str().to_owned();
    let output = within(COMMAND, "unmount", move || fitsfs(&["unmount", &root]));
    assert!(output.status.success(), "{}", text(&output));
    wait_until("the daemon has ended", 2 * COMMAND, || !is_running(pid));
}
