//! The daemon as those see it who run it: systemd, and who reads its log.

#[path = "mount/support.rs"]
#[allow(dead_code, reason = "made for the tests of mounts")]
mod support;

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use support::{BUCKET, Rig, fitsfs, names};

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
