//! The command line as other programs use it: systemd, mount(8), and those who read the log.

#[path = "mount/support.rs"]
#[allow(dead_code, reason = "made for the tests of mounts")]
mod support;

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use support::{BUCKET, PROGRAM, Rig, fitsfs, names, text};

fn rig() -> Rig {
    Rig::unmounted(|lab| drop(lab.put(BUCKET, "a.fits", "x")))
}

/// As systemd runs it: `Type=notify`, and SIGTERM to stop.
#[test]
fn a_service_says_when_it_is_ready_and_ends_well_at_a_signal() {
    let rig = rig();
    let path = rig.outside().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let heard = || {
        let mut message = [0; 64];
        let length = socket.recv(&mut message).expect("a message in time");
        String::from_utf8_lossy(&message[..length]).trim().to_owned()
    };
    let mut command = rig.mount_command(&format!("s3://{BUCKET}"));
    let mut daemon = command.args(["--foreground", "--log", "warn"]).env("NOTIFY_SOCKET", &path).spawn().unwrap();
    assert_eq!(heard(), "READY=1");
    assert_eq!(names(&rig.root).unwrap(), ["a.fits"]);
    // SAFETY: the process is our child and has not been waited for.
    assert_eq!(unsafe { libc::kill(daemon.id() as i32, libc::SIGTERM) }, 0);
    assert_eq!(heard(), "STOPPING=1");
    assert!(daemon.wait().unwrap().success());
    assert!(!rig.is_mounted());
}

/// As mount(8) runs it for a line of /etc/fstab, by a link with the name of the type.
#[test]
fn the_mount_helper_takes_the_options_of_fstab() {
    let rig = rig();
    let helper = rig.outside().join("mount.fuse.fitsfs");
    std::os::unix::fs::symlink(PROGRAM, &helper).unwrap();
    let options = format!("ro,_netdev,noatime,no_sign_request,metadata_ttl=5s,endpoint_url={}", rig.lab.endpoint());
    let source = format!("s3://{BUCKET}");
    let output = Command::new(&helper).args([&source, rig.root_str(), "-o", &options]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(names(&rig.root).unwrap(), ["a.fits"]);
}

/// Python asks of each file that it opens whether it is a terminal.
#[test]
fn everyday_use_leaves_no_warnings_in_the_log() {
    let rig = rig();
    rig.mount(&[]);
    let log = rig.log_file();
    let file = rig.open("a.fits");
    // SAFETY: the descriptor is open.
    assert_eq!(unsafe { libc::isatty(file.as_raw_fd()) }, 0);
    assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::ENOTTY));
    drop(file);
    assert!(fitsfs(&["unmount", rig.root_str()]).status.success());
    assert_eq!(fs::read_to_string(log).unwrap(), "");
}

/// A bucket that refuses to be listed is mounted; one that refuses the signature refuses everything.
#[test]
fn a_wrong_secret_is_told_when_mounting() {
    let lab = fitsfs_lab::Lab::builder().credentials("AKIAEXAMPLE00000", "right");
    let rig = Rig::of_lab(lab, |lab| drop(lab.put(BUCKET, "a.fits", "x")));
    let endpoint = rig.lab.endpoint();
    let source = format!("s3://{BUCKET}");
    let mount = |secret| {
        let mut command = Command::new(PROGRAM);
        command.args(["mount", &source, rig.root_str(), "--endpoint-url", &endpoint]);
        command.env("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE00000").env("AWS_SECRET_ACCESS_KEY", secret).output().unwrap()
    };
    let refused = mount("wrong");
    assert!(!refused.status.success() && text(&refused).contains("SignatureDoesNotMatch"), "{}", text(&refused));
    assert!(mount("right").status.success());
}
