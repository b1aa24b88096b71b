//! The mountpoint: making it ready, healing what a crash left there, and taking a mount away.

use std::ffi::CString;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use super::mountinfo::{self, Mount};
use crate::control;

/// How long a mount of ours whose daemon does not answer may take to show that it is dead, which it does at once.
const PROBE_PATIENCE: Duration = Duration::from_secs(2);

/// Dead mounts on top of each other that are taken away in one go: one a crash.
const MAX_DEAD: usize = 32;

/// Symbolic links to symbolic links that are followed: as many as Linux follows.
const MAX_LINKS: usize = 40;

/// What is at a mountpoint.
#[derive(Debug, PartialEq, Eq)]
enum State {
    Free,
    /// Left by a daemon that is gone.
    Dead,
    Busy(String),
}

/// Makes a path ready to be mounted on: creates the directory, takes a dead mount of ours away, and refuses a busy
/// one. `path` is [`resolve`]d. Returns it without symbolic links; the error is one line with the remedy.
pub fn prepare(path: &Path) -> Result<PathBuf, String> {
    let shown = path.display();
    for _ in 0..MAX_DEAD {
        match state(path) {
            State::Free => return create(path),
            State::Busy(why) => return Err(format!("{shown} {why}")),
            State::Dead => {
                tracing::warn!(mountpoint = %shown, "taking away a mount whose daemon is gone");
                detach(path).map_err(|error| {
                    format!("{shown} is a dead mount and cannot be taken away: {error}; try: umount -l {shown}")
                })?;
            }
        }
    }
    Err(format!("{shown} is under many dead mounts; take them away with: umount -l {shown}"))
}

/// The path as the mount table has it: absolute, without symbolic links. Of the last component it is only asked whether
/// it is a link, which does not touch a mount there: that may be dead.
pub fn resolve(path: &Path) -> Result<PathBuf, String> {
    let failed = |error: io::Error| format!("{}: {error}", path.display());
    let mut resolved = std::path::absolute(path).map_err(failed)?;
    for _ in 0..MAX_LINKS {
        let (Some(parent), Some(name)) = (resolved.parent(), resolved.file_name()) else { return Ok(resolved) };
        let parent = parent.canonicalize().unwrap_or_else(|_| parent.to_owned());
        let place = parent.join(name);
        match std::fs::read_link(&place) {
            Ok(target) => resolved = parent.join(target),
            Err(_) => return Ok(place),
        }
    }
    Err(failed(io::Error::from_raw_os_error(libc::ELOOP)))
}

/// Takes a mount of ours away. The error is one line with the remedy.
pub fn unmount(path: &Path) -> Result<(), String> {
    let shown = path.display();
    let state = state(path);
    match mountinfo::mount_at(path).map_err(|error| format!("cannot read the mount table: {error}"))? {
        Some(mount) if mount.is_fitsfs() => {}
        Some(mount) => return Err(format!("{shown} is a {} mount, not one of fitsfs", mount.fstype)),
        None => return Err(format!("{shown} is not mounted; fitsfs status lists what is")),
    }
    if state == State::Dead {
        return detach(path).map_err(|error| format!("{shown}: {error}"));
    }
    take_away(path, 0, &[]).map_err(|error| match error.raw_os_error() {
        Some(libc::EBUSY) => format!(
            "{shown} is in use: close the programs that use it (fuser -vm {shown} lists them), or detach it: \
             umount -l {shown}"
        ),
        _ => format!("cannot unmount {shown}: {error}"),
    })
}

/// Takes a mount away now, or, while programs use it, as soon as the last one is done.
pub fn detach(path: &Path) -> io::Result<()> {
    take_away(path, libc::MNT_DETACH, &["-z"])
}

/// Fails all that programs wait for at a mount whose daemon is gone. The mount stays, dead: an empty folder in its place
/// would tell programs that their files do not exist.
pub fn abort(mount: &Mount) {
    // Either way does where it is allowed: the first needs the control filesystem of FUSE, the second root.
    if std::fs::write(format!("/sys/fs/fuse/connections/{}/abort", mount.minor), "1").is_ok() {
        return;
    }
    // Looking at the root without opening it asks the daemon for nothing, and keeps the mount from going away.
    let pin = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(&mount.mountpoint);
    if pin.is_ok() {
        let _ = take_away(&mount.mountpoint, libc::MNT_FORCE, &[]);
    }
}

fn create(path: &Path) -> Result<PathBuf, String> {
    std::fs::create_dir_all(path).map_err(|error| {
        format!("cannot make the mountpoint {}: {error}; make it yourself, or name another one", path.display())
    })?;
    let canonical = path.canonicalize().map_err(|error| format!("{}: {error}", path.display()))?;
    match canonical.is_dir() {
        true => Ok(canonical),
        false => Err(format!("the mountpoint {} is not a directory", path.display())),
    }
}

fn state(path: &Path) -> State {
    if let (true, Ok(Some(mount))) = (control::is_orphaned(path), mountinfo::mount_at(path)) {
        abort(&mount);
    }
    match mountinfo::mount_at(path) {
        Ok(None) => State::Free,
        Ok(Some(mount)) if !mount.is_fitsfs() => busy_with(&mount),
        Ok(Some(mount)) => match control::ping(path) {
            Some(pid) => State::Busy(format!(
                "is already mounted ({}, process {pid}); unmount it first: fitsfs unmount {}",
                mount.source,
                path.display()
            )),
            None if is_dead(path) => State::Dead,
            None => busy_with(&mount),
        },
        Err(error) => State::Busy(format!("cannot be looked up in the mount table: {error}")),
    }
}

fn busy_with(mount: &Mount) -> State {
    State::Busy(format!("is already a mountpoint ({} of type {}); name another one", mount.source, mount.fstype))
}

/// Whether the mount at a path has lost its daemon. `statfs` always asks the daemon, and fails at once where there is
/// none; it runs on a thread of its own, for a daemon that hangs would keep it waiting.
fn is_dead(path: &Path) -> bool {
    let (sender, receiver) = mpsc::channel();
    let path = path.to_owned();
    std::thread::spawn(move || {
        // The receiver may have lost its patience.
        let _ = sender.send(statfs_error(&path));
    });
    receiver.recv_timeout(PROBE_PATIENCE).ok().flatten() == Some(libc::ENOTCONN)
}

fn statfs_error(path: &Path) -> Option<i32> {
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    let mut buffer = std::mem::MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the path is NUL-terminated and the buffer has the size of the struct; it is not read.
    let result = unsafe { libc::statfs(path.as_ptr(), buffer.as_mut_ptr()) };
    (result != 0).then(|| io::Error::last_os_error().raw_os_error()).flatten()
}

/// `umount2`, or `fusermount3 -u` for users who may not.
fn take_away(path: &Path, flags: i32, fusermount_options: &[&str]) -> io::Result<()> {
    let target = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the path is NUL-terminated and outlives the call.
    if unsafe { libc::umount2(target.as_ptr(), flags | libc::UMOUNT_NOFOLLOW) } == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() != Some(libc::EPERM) {
        return Err(error);
    }
    let output = Command::new("fusermount3").arg("-u").args(fusermount_options).arg("--").arg(path).output()?;
    match output.status.success() {
        true => Ok(()),
        false if String::from_utf8_lossy(&output.stderr).contains("busy") => {
            Err(io::Error::from_raw_os_error(libc::EBUSY))
        }
        false => Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
    }
}
