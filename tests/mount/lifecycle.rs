//! Mounts come up, are told apart, heal, and go away; what cannot be mounted says why.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, symlink};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use fitsfs_lab::Lab;

use crate::support::*;

fn one_file() -> Rig {
    Rig::new(|lab| drop(lab.put(BUCKET, "d/a", pattern(1000, 1))))
}

fn assert_reads(rig: &Rig, path: &str) {
    assert_eq!(fs::read(rig.path(path)).unwrap(), pattern_at(1, 0, 1000));
}

/// The program failed with one line that holds all of `words`.
fn assert_refused(output: &Output, words: &[&str]) {
    let message = text(output);
    assert!(!output.status.success(), "{message}");
    assert_eq!(message.trim().lines().count(), 1, "{message}");
    assert!(words.iter().all(|word| message.contains(word)), "{words:?} in {message}");
}

fn signal(pid: i32, signal: i32) {
    // SAFETY: the pid is that of a daemon that this test started.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
}

fn is_running(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// A daemon in the foreground, ready.
fn foreground(rig: &Rig) -> Child {
    let mut command = rig.mount_command(&format!("s3://{BUCKET}"));
    let log = File::create(rig.outside().join("log")).unwrap();
    let mut child = command.arg("--foreground").stdout(Stdio::piped()).stderr(log).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with(&format!("s3://{BUCKET} is mounted at {}", rig.root.display())), "{line}");
    child
}

fn assert_ends_well(rig: &Rig, daemon: &mut Child) {
    let status = daemon.wait().unwrap();
    assert!(status.success(), "{status}: {}", fs::read_to_string(rig.outside().join("log")).unwrap());
}

#[test]
fn the_mount_table_names_the_type_and_the_source() {
    let rig = one_file();
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = table.lines().find(|line| line.contains(rig.root_str())).expect("the mount is in the table");
    assert!(line.contains(" - fuse.fitsfs s3://archive "), "{line}");
    let output = fitsfs(&["unmount", rig.root_str()]);
    assert!(output.status.success(), "{}", text(&output));
    assert!(!rig.is_mounted());
}

#[test]
fn a_mount_that_has_returned_answers() {
    let rig = one_file();
    assert_reads(&rig, "d/a");
}

#[test]
fn a_second_mount_at_one_place_is_refused() {
    let rig = one_file();
    assert_refused(&rig.try_mount(&[]), &["already mounted", "fitsfs unmount"]);
    assert_reads(&rig, "d/a");
}

#[test]
fn a_dead_mount_is_healed_by_mounting_again() {
    let rig = one_file();
    for _ in 0..2 {
        let pid = rig.pid();
        signal(pid, libc::SIGKILL);
        eventually("the daemon is dead", || !is_running(pid));
        let error = fs::read(rig.path("d/a")).unwrap_err().raw_os_error();
        assert!(matches!(error, Some(libc::ENOTCONN | libc::ECONNABORTED)), "{error:?}");
        rig.mount(&[]);
        assert_reads(&rig, "d/a");
    }
    let pid = rig.pid();
    signal(pid, libc::SIGKILL);
    eventually("the daemon is dead", || !is_running(pid));
    assert!(fitsfs(&["unmount", rig.root_str()]).status.success());
    assert!(!rig.is_mounted());
}

#[test]
fn signals_unmount_and_end_the_daemon_with_success() {
    for number in [libc::SIGTERM, libc::SIGINT] {
        let rig = Rig::unmounted(|lab| drop(lab.put(BUCKET, "d/a", pattern(1000, 1))));
        let mut daemon = foreground(&rig);
        assert_reads(&rig, "d/a");
        signal(daemon.id() as i32, number);
        assert_ends_well(&rig, &mut daemon);
        assert!(!rig.is_mounted());
    }
}

#[test]
fn a_signal_ends_a_mount_that_is_in_use_within_seconds() {
    let rig = Rig::unmounted(|lab| drop(lab.put(BUCKET, "d/a", pattern(1000, 1))));
    let mut daemon = foreground(&rig);
    let file = rig.open("d/a");
    signal(daemon.id() as i32, libc::SIGTERM);
    let started = Instant::now();
    assert_ends_well(&rig, &mut daemon);
    assert!(started.elapsed() < Duration::from_secs(8));
    assert!(!rig.is_mounted());
    drop(file);
}

#[test]
fn unmounting_from_outside_ends_the_daemon() {
    for program in [&["umount"][..], &["fusermount3", "-u"]] {
        let rig = Rig::unmounted(|lab| drop(lab.put(BUCKET, "d/a", pattern(1000, 1))));
        let mut daemon = foreground(&rig);
        let Ok(status) = Command::new(program[0]).args(&program[1..]).arg(&rig.root).status() else {
            fitsfs_lab::untested(&format!("there is no {}", program[0]));
            continue;
        };
        assert!(status.success());
        eventually("the daemon ends", || daemon.try_wait().unwrap().is_some());
        assert_ends_well(&rig, &mut daemon);
    }
}

#[test]
fn a_mount_in_use_says_so_when_it_is_unmounted() {
    let rig = one_file();
    let file = rig.open("d/a");
    assert_refused(&fitsfs(&["unmount", rig.root_str()]), &["in use", "umount -l"]);
    assert_reads(&rig, "d/a");
    drop(file);
    eventually("it can be unmounted", || fitsfs(&["unmount", rig.root_str()]).status.success());
    assert_refused(&fitsfs(&["unmount", rig.root_str()]), &["is not mounted"]);
}

#[test]
fn a_missing_mountpoint_is_made_and_a_file_is_refused() {
    let mut rig = Rig::unmounted(|lab| drop(lab.put(BUCKET, "d/a", pattern(1000, 1))));
    fs::write(&rig.root, "a file").unwrap();
    assert_refused(&rig.try_mount(&[]), &["mountpoint"]);
    assert_eq!(fs::read(&rig.root).unwrap(), b"a file");
    rig.root = rig.outside().join("x/y/z");
    rig.mount(&[]);
    assert_reads(&rig, "d/a");
}

#[test]
fn what_cannot_be_mounted_says_why_in_time() {
    let rig = Rig::unmounted(|_| ());
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nowhere = format!("http://{closed}");
    let attempts: [(&str, &[&str], &[&str]); 5] = [
        ("s3://no-such-bucket", &[], &["no-such-bucket", "check the name of the bucket"]),
        ("s3://archive", &["--endpoint-url", &nowhere], &["endpoint-url"]),
        ("s3://archive", &["--endpoint-url", "http://no-such-host.invalid"], &["endpoint-url"]),
        ("s3://archive", &["--endpoint-url", "nonsense"], &["endpoint URL"]),
        ("ftp://archive", &[], &["unknown scheme", "s3://bucket"]),
    ];
    for (source, options, words) in attempts {
        let started = Instant::now();
        let mut command = Command::new(PROGRAM);
        command.args(["mount", source, rig.root_str(), "--no-sign-request"]).args(NO_CACHE);
        if options.is_empty() {
            command.args(["--endpoint-url", &rig.lab.endpoint()]);
        }
        assert_refused(&command.args(options).output().unwrap(), words);
        assert!(started.elapsed() < Duration::from_secs(20), "{source} {options:?}: {:?}", started.elapsed());
        assert!(!rig.is_mounted());
    }
}

#[test]
fn fstab_options_are_understood_by_the_helper_of_mount() {
    let rig = Rig::unmounted(|lab| drop(lab.put(BUCKET, "p/d/a", pattern(1000, 1))));
    let helper = rig.outside().join("mount.fitsfs");
    symlink(PROGRAM, &helper).unwrap();
    let options = format!(
        "ro,noauto,nofail,_netdev,no_sign_request,cache_size=0,cache_shared,endpoint_url={},umask=077",
        rig.lab.endpoint()
    );
    let output = Command::new(&helper).args(["s3://archive/p", rig.root_str(), "-o", &options]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert_reads(&rig, "d/a");
    assert_eq!(fs::metadata(rig.path("d/a")).unwrap().mode() & 0o777, 0o400);
    let bad = Command::new(&helper).args(["s3://archive", "/mnt", "-o", "ro,colour=blue"]).output().unwrap();
    assert_refused(&bad, &["colour"]);
}

#[test]
fn the_environment_names_what_to_mount() {
    for variable in ["S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"] {
        let rig = Rig::unmounted(|lab| drop(lab.put(BUCKET, "some/prefix/d/a", pattern(1000, 1))));
        let mut command = Command::new(PROGRAM);
        command.args(["mount", rig.root_str(), "--no-sign-request"]).args(NO_CACHE);
        command.env("STORAGE_BACKEND", "s3").env("STORAGE_BUCKET", BUCKET).env("STORAGE_PREFIX", "some/prefix");
        let output = command.env(variable, rig.lab.endpoint()).output().unwrap();
        assert!(output.status.success(), "{variable}: {}", text(&output));
        assert_reads(&rig, "d/a");
    }
}

const KEY_ID: &str = "AKIDLABEXAMPLE";
const SECRET: &str = "s3cr3t-that-no-one-may-see";
const TOKEN: &str = "t0ken-that-no-one-may-see";

fn with_keys(rig: &Rig, secret: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).args(["--endpoint-url", &rig.lab.endpoint()]).env("AWS_ACCESS_KEY_ID", KEY_ID);
    command.env("AWS_SECRET_ACCESS_KEY", secret).env("AWS_SESSION_TOKEN", TOKEN).output().unwrap()
}

fn signed_rig() -> Rig {
    let lab = Lab::builder().credentials(KEY_ID, SECRET);
    Rig::of_lab(lab, |lab| drop(lab.put(BUCKET, "d/a", pattern(1000, 1))))
}

#[test]
fn a_wrong_secret_or_none_is_refused_with_a_remedy() {
    let rig = signed_rig();
    let mount = ["mount", "s3://archive", rig.root_str(), "--cache-size", "0"];
    assert_refused(&with_keys(&rig, "wrong", &mount), &["credentials"]);
    let mut command = Command::new(PROGRAM);
    command.args(mount).args(["--endpoint-url", &rig.lab.endpoint()]);
    command.env("AWS_EC2_METADATA_DISABLED", "true").env("HOME", rig.outside());
    assert_refused(&command.output().unwrap(), &["credentials"]);
    assert!(!rig.is_mounted());
}

#[test]
fn secrets_sign_requests_and_appear_nowhere() {
    let rig = signed_rig();
    let mount = ["mount", "s3://archive", rig.root_str(), "--log", "trace", "--cache-size", "0"];
    let output = with_keys(&rig, SECRET, &mount);
    assert!(output.status.success(), "{}", text(&output));
    assert_reads(&rig, "d/a");
    assert!(rig.lab.requests().iter().all(|request| request.signed));
    let check = with_keys(&rig, SECRET, &["check", "s3://archive"]);
    let pid = rig.pid();
    let log = fs::read_to_string(rig.log_file()).unwrap();
    assert!(log.contains("TRACE"), "the log is not as detailed as was asked for");
    let places = [
        ("output", text(&output)),
        ("check", text(&check)),
        ("status", rig.status().to_string()),
        ("arguments", fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap()),
        ("log", log),
    ];
    for (place, shown) in places {
        for secret in [SECRET, TOKEN, KEY_ID] {
            let line = shown.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "{secret} in the {place}");
        }
    }
    assert!(File::open(rig.log_file()).unwrap().metadata().unwrap().mode() & 0o077 == 0, "the log is for its owner");
}
