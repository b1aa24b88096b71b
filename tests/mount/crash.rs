//! A daemon that is killed leaves nothing that hangs.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fitsfs_lab::Shape;

use crate::support::*;

/// Regression: a push that waited in the kernel for a page under an unanswered READ kept the mount of a killed daemon
/// alive, and with it every reader waiting. A daemon that is stopped answers no READ while its pushes go on.
#[test]
fn readers_of_a_killed_daemon_get_an_error_and_do_not_hang() {
    for round in 0..6 {
        let rig = Rig::new(|lab| drop(lab.put(BUCKET, "a", pattern(1 << 30, 1))));
        rig.lab.shape(Shape { per_connection: Some(80_000_000), ..Shape::default() });
        let mut readers: Vec<_> = (0..8).map(|n| reader(&rig, n)).collect();
        std::thread::sleep(Duration::from_millis(300 + 90 * round));
        let pid = rig.pid();
        signal(pid, libc::SIGSTOP);
        std::thread::sleep(Duration::from_millis(50));
        signal(pid, libc::SIGKILL);
        let killed = Instant::now();
        for reader in &mut readers {
            while reader.try_wait().unwrap().is_none() {
                assert!(killed.elapsed() < Duration::from_secs(10), "round {round}: a reader hangs");
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        rig.mount(&[]);
        assert_eq!(read_at(&rig.open("a"), 5, 100).unwrap(), pattern_at(1, 5, 100));
    }
}

/// A process that reads until it gets an error: forwards, or a few pages here and there ahead of that one.
fn reader(rig: &Rig, n: u64) -> Child {
    let forwards = r#"exec cat "$0""#;
    let scattered = r#"while dd if="$0" of=/dev/null bs=4k count=2 skip=$((RANDOM % 4000 + 256)) 2>&-; do :; done"#;
    let script = if n == 0 { forwards } else { scattered };
    let mut command = Command::new("bash");
    command.args(["-c", script]).arg(rig.path("a")).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("start bash")
}

fn signal(pid: i32, signal: i32) {
    // SAFETY: kill has no memory effects.
    unsafe { libc::kill(pid, signal) };
}
