//! Mountpoints as people write them, and what is odd about buckets and programs.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::process::Command;

use fitsfs_lab::{Fault, Kind, Op};

use crate::support::*;

#[test]
fn a_relative_mountpoint_is_where_the_command_was_called() {
    let rig = Rig::unmounted(|lab| drop(lab.put(BUCKET, "a", "x")));
    let source = format!("s3://{BUCKET}");
    let mut mount = Command::new(PROGRAM);
    mount.args(["mount", &source, "./mnt", "--endpoint-url", &rig.lab.endpoint(), "--no-sign-request"]);
    mount.args(NO_CACHE);
    let output = mount.current_dir(rig.outside()).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert!(rig.is_mounted(), "{}", text(&output));
    let cwd = fs::read_link(format!("/proc/{}/cwd", rig.pid())).unwrap();
    assert_eq!(cwd.to_str(), Some("/"), "the folder stays free");
    let output = Command::new(PROGRAM).args(["unmount", "./mnt"]).current_dir(rig.outside()).output().unwrap();
    assert!(output.status.success() && !rig.is_mounted(), "{}", text(&output));
}

#[test]
fn a_link_to_a_mountpoint_stands_for_it() {
    let rig = Rig::unmounted(|lab| drop(lab.put(BUCKET, "a", "x")));
    let (link, far) = (rig.outside().join("link"), rig.outside().join("far"));
    fs::create_dir(&rig.root).unwrap();
    symlink("mnt", &link).unwrap();
    symlink(&link, &far).unwrap();
    let source = format!("s3://{BUCKET}");
    let mount = || {
        let mut mount = Command::new(PROGRAM);
        mount
            .args(["mount", &source])
            .arg(&far)
            .args(["--endpoint-url", &rig.lab.endpoint(), "--no-sign-request"])
            .args(NO_CACHE);
        mount.output().unwrap()
    };
    assert!(mount().status.success());
    assert!(rig.is_mounted());
    assert!(!mount().status.success(), "two mounts on top of each other");
    assert_eq!(fitsfs(&["status", link.to_str().unwrap()]).status.code(), Some(0));
    let output = fitsfs(&["unmount", far.to_str().unwrap()]);
    assert!(output.status.success() && !rig.is_mounted(), "{}", text(&output));
}

#[test]
fn a_file_made_direct_while_it_is_open_is_read_ahead_for_the_next_reader() {
    let rig = Rig::new(|lab| drop(lab.put(BUCKET, "a", pattern(32 * MIB, 1))));
    let (still_open, file) = (rig.open("a"), rig.open("a"));
    // SAFETY: the descriptor is open.
    assert_eq!(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, libc::O_DIRECT) }, 0);
    drop(file);
    assert_eq!(sha256(rig.open("a")), sha256_of_pattern(1, 32 * MIB));
    assert_ne!(rig.status()["pushes"], 0, "nothing went into the page cache ahead of the reader");
    drop(still_open);
}

#[test]
fn a_directory_that_may_not_be_listed_spoils_no_other() {
    let rig = Rig::new(|lab| drop(["public/a", "mixed/a"].map(|key| lab.put(BUCKET, key, "x"))));
    rig.lab.fault(Fault::new(Kind::Status(403, "AccessDenied".into())).on(Op::ListObjectsV2).prefix("mixed/secret"));
    assert!(fs::metadata(rig.path("mixed/secret")).is_ok(), "a directory is assumed");
    assert_eq!(fs::metadata(rig.path("public/missing")).unwrap_err().kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn the_daemon_holds_no_file_of_its_caller() {
    let rig = Rig::unmounted(|lab| drop(lab.put(BUCKET, "a", "x")));
    let mount = rig.mount_command(&format!("s3://{BUCKET}"));
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"exec "$0" "$@" 9< /dev/zero"#]).arg(mount.get_program()).args(mount.get_args());
    let output = shell.output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let open = fs::read_dir(format!("/proc/{}/fd", rig.pid())).unwrap();
    let files: Vec<_> = open.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok()).collect();
    assert!(!files.iter().any(|file| file.ends_with("dev/zero")), "{files:?}");
}
