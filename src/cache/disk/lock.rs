//! Locks on ranges of a file between processes (`fcntl(2)`, open file description locks): they belong to an open file,
//! end with it however its process ends, and need no daemon.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// How often a lock that another process has is tried. They are held for microseconds.
const TRY_AGAIN: Duration = Duration::from_micros(200);

/// How a range is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Together with other readers.
    Shared,
    /// Alone. The file must be open for writing.
    Exclusive,
}

/// Locks a range of offsets, which need not exist in the file. False if another open file has a lock in its way.
pub fn try_lock(file: &File, range: &Range<u64>, mode: Mode) -> io::Result<bool> {
    match control(file, libc::F_OFD_SETLK, range, kind(mode)) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Locks a range, and waits for it as long as `patience`: the process that has it may have been stopped. False if that
/// was too short.
pub fn lock(file: &File, range: &Range<u64>, mode: Mode, patience: Duration) -> io::Result<bool> {
    let began = Instant::now();
    loop {
        if try_lock(file, range, mode)? {
            return Ok(true);
        }
        if began.elapsed() >= patience {
            return Ok(false);
        }
        std::thread::sleep(TRY_AGAIN);
    }
}

/// Unlocks a range.
pub fn unlock(file: &File, range: &Range<u64>) -> io::Result<()> {
    control(file, libc::F_OFD_SETLK, range, libc::F_UNLCK).map(drop)
}

/// Filesystems of this machine's disks and memory (`statfs(2)`).
const LOCAL: [i64; 6] = [
    libc::EXT4_SUPER_MAGIC,
    libc::XFS_SUPER_MAGIC,
    libc::BTRFS_SUPER_MAGIC,
    libc::F2FS_SUPER_MAGIC,
    libc::TMPFS_MAGIC,
    libc::OVERLAYFS_SUPER_MAGIC,
];

/// Whether locks of a file are kept by this kernel alone, and so never wait. Those of other filesystems may ask a server.
pub fn is_local(file: &File) -> bool {
    rustix::fs::fstatfs(file).is_ok_and(|found| LOCAL.contains(&found.f_type))
}

/// Whether a lock of this mode would be in another one's way. Takes none.
pub fn is_locked(file: &File, range: &Range<u64>, mode: Mode) -> io::Result<bool> {
    Ok(control(file, libc::F_OFD_GETLK, range, kind(mode))?.l_type != libc::F_UNLCK as libc::c_short)
}

fn kind(mode: Mode) -> libc::c_int {
    match mode {
        Mode::Shared => libc::F_RDLCK,
        Mode::Exclusive => libc::F_WRLCK,
    }
}

fn control(file: &File, command: libc::c_int, range: &Range<u64>, kind: libc::c_int) -> io::Result<libc::flock> {
    let offset = |at: u64| i64::try_from(at).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
    let (start, end) = (offset(range.start)?, offset(range.end)?);
    // SAFETY: all-zero bytes are a valid `flock`; an open file description lock needs `l_pid` to be zero.
    let mut flock: libc::flock = unsafe { std::mem::zeroed() };
    flock.l_type = kind as libc::c_short;
    flock.l_whence = libc::SEEK_SET as libc::c_short;
    flock.l_start = start;
    flock.l_len = end - start;
    // SAFETY: the descriptor is open as long as `file` is borrowed, and `flock` outlives the call.
    match unsafe { libc::fcntl(file.as_raw_fd(), command, &raw mut flock) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(flock),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_two_open_files_exclude_each_other() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (a, b) = (file.reopen().unwrap(), file.reopen().unwrap());
        assert!(try_lock(&a, &(10..20), Mode::Exclusive).unwrap());
        assert!(!try_lock(&b, &(19..21), Mode::Shared).unwrap());
        assert!(try_lock(&b, &(20..21), Mode::Exclusive).unwrap());
        assert!(is_locked(&b, &(0..11), Mode::Shared).unwrap());
        unlock(&a, &(10..20)).unwrap();
        assert!(!is_locked(&b, &(0..11), Mode::Exclusive).unwrap());
        assert!(lock(&a, &(0..5), Mode::Shared, Duration::ZERO).unwrap());
        assert!(try_lock(&b, &(0..5), Mode::Shared).unwrap() && !try_lock(&b, &(0..5), Mode::Exclusive).unwrap());
        drop(a);
        assert!(try_lock(&b, &(0..5), Mode::Exclusive).unwrap(), "locks end with the open file");
    }
}
