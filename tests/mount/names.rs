//! What a mount knows of names from the mounts before it, by a cache on disk that they share.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use fitsfs_lab::{Fault, Kind, Lab, Op, Shape};

use crate::support::*;

/// In directories that nobody has seen before the file is looked up.
const ALONE: &str = "d/alone.fits";
const LATER: [&str; 2] = ["e/alone.fits", "f/alone.fits"];
const FILE: &str = "hst/public/j8pu/j8pu0y010/j8pu0y010_drc.fits";

fn fill(lab: &Lab) {
    lab.put(BUCKET, FILE, pattern(200_000, 1));
    [ALONE, LATER[0], LATER[1]].iter().for_each(|key| drop(lab.put(BUCKET, key, pattern(200_000, 4))));
    lab.put_many(BUCKET, (0..2500).map(|n| format!("many/n{n:04}")), b"x");
    lab.put_many(BUCKET, (0..300).map(|n| format!("jwst/public/L3/t{n:03}_i2d.fits")), pattern(100_000, 2));
}

/// A lab, and a folder for the cache of its mounts.
struct Cached {
    rig: Rig,
    dir: String,
}

impl Cached {
    fn new() -> Self {
        let rig = Rig::unmounted(fill);
        let dir = rig.outside().join("cache").to_str().unwrap().to_owned();
        Self { rig, dir }
    }

    /// Mounts (again), with an empty log of requests.
    fn mount(&self, ttl: &str, options: &[&str]) {
        self.unmount();
        self.rig.lab.clear_log();
        let cache = ["--cache-dir", &self.dir, "--metadata-ttl", ttl];
        self.rig.mount(&[&cache, options].concat());
    }

    fn unmount(&self) {
        if self.rig.is_mounted() {
            let output = fitsfs(&["unmount", self.rig.root_str()]);
            assert!(output.status.success(), "{}", text(&output));
        }
    }

    /// Waits until all that was asked is remembered.
    fn settle(&self) {
        self.rig.settle();
        std::thread::sleep(Duration::from_millis(100));
    }

    /// Requests but those that only open a connection.
    fn requests(&self) -> usize {
        self.rig.lab.count(|request| request.op != Op::HeadBucket)
    }

    fn logs(&self) -> Vec<PathBuf> {
        let folders = fs::read_dir(format!("{}/names", self.dir)).unwrap().map(|entry| entry.unwrap().path());
        folders.flat_map(|folder| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path())).collect()
    }
}

fn is_there(rig: &Rig, path: &str) -> bool {
    fs::exists(rig.path(path)).unwrap()
}

fn errno<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

/// What a user does with an archive.
fn use_it(rig: &Rig) {
    let output = Command::new("ls").arg("-l").args([&rig.root, &rig.path("jwst/public/L3")]).output().unwrap();
    assert!(output.status.success() && text(&output).contains("t299_i2d.fits"), "{}", text(&output));
    assert_eq!(fs::metadata(rig.path(FILE)).unwrap().len(), 200_000);
    assert!(!is_there(rig, "jwst/public/L3/t300_i2d.fits"));
    assert_eq!(names(&rig.path("many")).unwrap().len(), 2500);
}

#[test]
fn a_remount_asks_for_no_name_that_is_known() {
    let cached = Cached::new();
    cached.mount("30s", &[]);
    use_it(&cached.rig);
    cached.settle();
    for _ in 0..2 {
        cached.mount("30s", &[]);
        use_it(&cached.rig);
        assert_eq!(cached.requests(), 0, "{:#?}", cached.rig.lab.requests());
        // Longer than a missing name would be believed that was looked up by itself.
        std::thread::sleep(Duration::from_millis(3500));
    }
}

#[test]
fn in_a_bucket_that_may_not_be_listed_known_files_are_not_asked_for() {
    let cached = Cached::new();
    cached.rig.lab.deny_list(BUCKET);
    for (mount, asked) in [("first", true), ("second", false)] {
        cached.mount("1h", &[]);
        assert_eq!(fs::metadata(cached.rig.path("many/n0001")).unwrap().len(), 1);
        assert_eq!(
            cached.rig.lab.count(|request| request.op == Op::HeadObject && request.key == "many/n0001") > 0,
            asked
        );
        cached.settle();
        assert!(fs::metadata(cached.rig.path("many/n9999.txt")).is_err(), "{mount}");
    }
}

#[test]
fn a_listing_answers_for_names_that_were_never_looked_up() {
    let cached = Cached::new();
    cached.mount("1h", &[]);
    assert_eq!(names(&cached.rig.path("many")).unwrap().len(), 2500);
    assert_eq!(names(&cached.rig.path("jwst/public/L3")).unwrap().len(), 300);
    cached.settle();
    cached.mount("1h", &[]);
    assert!(is_there(&cached.rig, "many/n2222") && !is_there(&cached.rig, "many/n2222.fits"));
    assert_eq!(fs::metadata(cached.rig.path("jwst/public/L3/t123_i2d.fits")).unwrap().len(), 100_000);
    assert!(!is_there(&cached.rig, "jwst/public/L3/t123_cal.fits"));
    assert_eq!(cached.requests(), 0, "{:#?}", cached.rig.lab.requests());
}

#[test]
fn a_head_comes_along_only_with_a_file_that_was_never_seen() {
    let cached = Cached::new();
    for (later, heads) in LATER.iter().zip([1, 0]) {
        cached.mount("0s", &[]);
        assert_eq!(fs::metadata(cached.rig.path(ALONE)).unwrap().len(), 200_000);
        assert!(cached.rig.lists() > 0, "before {later}");
        // What comes along is not waited for, but sent with the look-up: before all that belongs to the next one.
        assert_eq!(fs::metadata(cached.rig.path(later)).unwrap().len(), 200_000);
        let head_of = |key: &str| cached.rig.lab.count(|request| request.op == Op::GetObject && request.key == key);
        eventually("the next head comes", || head_of(later) > 0);
        assert_eq!(head_of(ALONE).min(1), heads, "before {later}");
    }
}

#[test]
fn names_that_are_too_old_are_asked_for_again() {
    let cached = Cached::new();
    cached.mount("2s", &[]);
    use_it(&cached.rig);
    cached.settle();
    cached.rig.lab.put(BUCKET, FILE, pattern(300_000, 3));
    cached.rig.lab.put(BUCKET, "jwst/public/L3/t300_i2d.fits", "new");
    std::thread::sleep(Duration::from_secs(2));
    cached.mount("2s", &[]);
    assert_eq!(fs::read(cached.rig.path(FILE)).unwrap(), pattern_at(3, 0, 300_000));
    assert_eq!(names(&cached.rig.path("jwst/public/L3")).unwrap().len(), 301);
    assert!(cached.requests() > 0);
}

#[test]
fn a_name_lives_no_longer_because_it_was_remembered() {
    let cached = Cached::new();
    cached.mount("4s", &[]);
    let began = Instant::now();
    assert_eq!(fs::metadata(cached.rig.path(FILE)).unwrap().len(), 200_000);
    cached.settle();
    cached.rig.lab.put(BUCKET, FILE, pattern(300_000, 3));
    std::thread::sleep(Duration::from_secs(2));
    cached.mount("4s", &[]);
    // Asked of the namespace, not of the kernel, which counts from its own question.
    while began.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(fs::metadata(cached.rig.path(FILE)).unwrap().len(), 300_000);
}

#[test]
fn a_replaced_object_that_was_remembered_is_stale_once_and_then_new() {
    let cached = Cached::new();
    cached.mount("1h", &[]);
    use_it(&cached.rig);
    cached.settle();
    cached.rig.lab.put(BUCKET, FILE, pattern(200_000, 3));
    cached.mount("1h", &[]);
    assert_eq!(errno(fs::read(cached.rig.path(FILE))), Some(libc::ESTALE));
    let is_new = || fs::read(cached.rig.path(FILE)).is_ok_and(|bytes| bytes == pattern_at(3, 0, 200_000));
    eventually("the path reads as the new version", is_new);
    cached.settle();
    cached.mount("1h", &[]);
    assert!(is_new(), "for the next mount, too");
}

#[test]
fn logs_of_any_bytes_change_no_answer() {
    let cached = Cached::new();
    cached.mount("1h", &[]);
    use_it(&cached.rig);
    cached.settle();
    for step in [997, 101, 13] {
        cached.unmount();
        for log in cached.logs() {
            let file = fs::OpenOptions::new().read(true).write(true).open(&log).unwrap();
            for at in (0..file.metadata().unwrap().len()).step_by(step) {
                let mut byte = [0];
                file.read_exact_at(&mut byte, at).unwrap();
                file.write_all_at(&[byte[0] ^ 0x15], at).unwrap();
            }
        }
        cached.mount("1h", &[]);
        use_it(&cached.rig);
    }
}

#[test]
fn two_mounts_at_once_share_what_they_learn() {
    let cached = Cached::new();
    cached.mount("1h", &[]);
    let second = cached.rig.outside().join("second");
    let mut command = Command::new(PROGRAM);
    command.args(["mount", &format!("s3://{BUCKET}")]).arg(&second).args(["--cache-dir", &cached.dir]);
    command.args(["--endpoint-url", &cached.rig.lab.endpoint(), "--no-sign-request", "--metadata-ttl", "1h"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    use_it(&cached.rig);
    cached.settle();
    assert_eq!(names(&second.join("many")).unwrap().len(), 2500);
    assert_eq!(fs::metadata(second.join(FILE)).unwrap().len(), 200_000);
    let asked = cached.requests();
    assert!(fitsfs(&["unmount", second.to_str().unwrap()]).status.success());
    let log = PathBuf::from("/var/log/fitsfs").join(fitsfs::control::name_of(&second)).with_extension("log");
    let _ = fs::remove_file(log);
    assert_eq!(asked, 0, "{:#?}", cached.rig.lab.requests());
}

#[test]
fn offline_what_is_known_is_served_and_nothing_is_asked() {
    let cached = Cached::new();
    cached.mount("0s", &[]);
    use_it(&cached.rig);
    cached.settle();
    cached.mount("0s", &["--offline"]);
    use_it(&cached.rig);
    let started = Instant::now();
    assert_eq!(errno(names(&cached.rig.path("hst"))), Some(libc::ENETUNREACH));
    assert_eq!(errno(fs::metadata(cached.rig.path("hst/public/unknown"))), Some(libc::ENETUNREACH));
    assert_eq!(errno(fs::metadata(cached.rig.path("nothing"))), Some(libc::ENOENT));
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    // Longer than missing names are believed.
    std::thread::sleep(Duration::from_secs(1));
    use_it(&cached.rig);
    assert_eq!(cached.rig.lab.requests().len(), 0, "{:#?}", cached.rig.lab.requests());
}

#[test]
fn offline_a_listing_that_is_not_whole_ends_with_an_error() {
    let cached = Cached::new();
    cached.mount("1h", &[]);
    cached.rig.lab.fault(Fault::new(Kind::access_denied()).on(Op::ListObjectsV2).prefix("many/").skip(1));
    names(&cached.rig.path("many")).expect_err("the rest cannot be had");
    cached.settle();
    cached.mount("1h", &["--offline"]);
    assert!(is_there(&cached.rig, "many/n0500"));
    assert_eq!(errno(names(&cached.rig.path("many"))), Some(libc::ENETUNREACH));
}

#[test]
fn offline_needs_a_cache_that_knows_the_source() {
    let cached = Cached::new();
    let refused = |options: &[&str], words: &str| {
        let output = cached.rig.try_mount(options);
        assert!(!output.status.success() && text(&output).contains(words), "{options:?}: {}", text(&output));
        assert!(!cached.rig.is_mounted());
    };
    refused(&["--cache-dir", &cached.dir, "--offline"], "mount once without --offline");
    refused(&["--offline"], "--offline serves what is in the cache");
    assert_eq!(cached.rig.lab.requests().len(), 0);
}

#[test]
fn a_cache_that_cannot_be_used_is_done_without() {
    let rig = Rig::unmounted(fill);
    fs::write(rig.outside().join("file"), "").unwrap();
    let dir = rig.outside().join("file");
    rig.mount(&["--cache-dir", dir.to_str().unwrap()]);
    use_it(&rig);
    let log = fs::read_to_string(rig.log_file()).unwrap();
    assert!(log.contains("mounting without a cache"), "{log}");
}

#[test]
fn a_memory_that_knows_nothing_costs_no_round() {
    let cached = Cached::new();
    cached.mount("1h", &[]);
    cached.rig.settle();
    cached.rig.lab.shape(Shape::latency(Duration::from_millis(100)));
    assert!(is_there(&cached.rig, ALONE));
    cached.rig.lab.wait_for(1, |request| request.op == Op::GetObject && request.done);
    let asked: Vec<_> = cached.rig.lab.requests().into_iter().filter(|request| request.op != Op::HeadBucket).collect();
    assert_eq!(rounds(asked.clone()), 1, "{asked:#?}");
}

#[test]
fn offline_needs_no_credentials() {
    let lab = Lab::builder().credentials("AKIDLABEXAMPLE", "secret");
    let rig = Rig::of_lab(lab, |lab| drop(lab.put(BUCKET, "d/a", "x")));
    let cache = rig.outside().join("cache");
    let mount = |keys: bool, options: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.args(["mount", "s3://archive", rig.root_str(), "--endpoint-url", &rig.lab.endpoint(), "--cache-dir"]);
        command.arg(&cache).args(options).env("HOME", rig.outside());
        if keys {
            command.env("AWS_ACCESS_KEY_ID", "AKIDLABEXAMPLE").env("AWS_SECRET_ACCESS_KEY", "secret");
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        assert_eq!(names(&rig.path("d")).unwrap(), ["a"]);
    };
    mount(true, &[]);
    rig.settle();
    assert!(fitsfs(&["unmount", rig.root_str()]).status.success());
    mount(false, &["--offline"]);
    assert_eq!(rig.lab.requests().len(), 0);
}
