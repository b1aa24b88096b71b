//! A process that outlives the daemon by a moment, so that a killed daemon cannot leave programs waiting for ever.
//!
//! Killing a daemon closes its FUSE device, and the kernel then fails what programs wait for. A thread that is storing
//! into the page cache is the exception: it may wait, not to be killed, for a page under a READ that only the dead
//! daemon could answer, and it keeps the device open. So a child sleeps until its parent is gone and then aborts the
//! connection that it was told of, unless it was told that all ended well.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::parent_id;
use std::path::Path;
use std::time::Duration;

use super::{mountinfo, point};
use crate::control;

/// How often, every 10 ms, the daemon is looked at after the signal of its end: it comes just before the end.
const PATIENCE: u64 = 100;

/// What stands for "no connection": minor numbers of FUSE mounts begin at 1.
const NONE: u32 = 0;

/// The daemon's end of the line to its guardian.
#[derive(Debug)]
pub struct Guardian {
    line: PipeWriter,
}

impl Guardian {
    /// Forks the guardian of a mount that is about to be made. Call it while the process has one thread only.
    pub fn fork(mountpoint: &Path) -> io::Result<Self> {
        let daemon = std::process::id();
        let (told, line) = io::pipe()?;
        // SAFETY: the process has one thread, so the child may do all that a program may.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                drop(line);
                guard(daemon, told, mountpoint);
                std::process::exit(0);
            }
            _ => Ok(Self { line }),
        }
    }

    /// The mount has been made: from now on its connection is to be aborted if the daemon is killed.
    pub fn arm(&mut self, mountpoint: &Path) {
        if let Ok(Some(mount)) = mountinfo::mount_at(mountpoint) {
            self.tell(mount.minor);
        }
    }

    /// The mount has ended: there is nothing left to abort.
    pub fn disarm(&mut self) {
        self.tell(NONE);
    }

    fn tell(&mut self, minor: u32) {
        if let Err(error) = self.line.write_all(&minor.to_le_bytes()) {
            tracing::warn!(%error, "the guardian is gone");
        }
    }
}

fn guard(daemon: u32, told: PipeReader, mountpoint: &Path) {
    let_go();
    sleep_until_gone(daemon);
    let connection = last_word(told);
    if let Ok(Some(mount)) = mountinfo::mount_at(mountpoint)
        && mount.minor == connection
    {
        point::abort(&mount);
    }
}

fn sleep_until_gone(daemon: u32) {
    // SAFETY: the signal sets are initialised before use, and the name is NUL-terminated.
    unsafe {
        libc::prctl(libc::PR_SET_NAME, c"fitsfs-guardian".as_ptr());
        // A Ctrl-C or a service manager's SIGTERM is for the daemon, which ends well; SIGHUP is the daemon's end.
        let mut signals: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut signals);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const signals, std::ptr::null_mut());
        let mut end: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut end);
        libc::sigaddset(&raw mut end, libc::SIGHUP);
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGHUP);
        while !is_gone(daemon) {
            let mut signal = 0;
            libc::sigwait(&raw const end, &raw mut signal);
        }
    }
}

/// Whether the daemon has ended, at the latest a moment after its signal. Its main thread is what counts: while another
/// one is stuck in the kernel, the daemon is still our parent.
fn is_gone(daemon: u32) -> bool {
    (0..PATIENCE).any(|attempt| {
        std::thread::sleep(Duration::from_millis(attempt.min(1) * 10));
        parent_id() != daemon || control::is_gone(daemon)
    })
}

/// The last number that the daemon has sent. Its end of the line may still be open.
fn last_word(mut told: PipeReader) -> u32 {
    // SAFETY: the descriptor is open; this only keeps reads from waiting.
    unsafe { libc::fcntl(told.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    let (mut last, mut word) = (NONE, [0; 4]);
    while told.read_exact(&mut word).is_ok() {
        last = u32::from_le_bytes(word);
    }
    last
}

/// A reader of the daemon's output must see its end when the daemon ends.
fn let_go() {
    if let Ok(null) = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null") {
        for stream in [libc::STDIN_FILENO, libc::STDOUT_FILENO, libc::STDERR_FILENO] {
            // SAFETY: both descriptors are open, and replacing the standard ones closes nothing that Rust owns.
            unsafe { libc::dup2(null.as_raw_fd(), stream) };
        }
    }
}
