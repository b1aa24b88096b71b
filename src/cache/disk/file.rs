//! What the standard library lacks for the files of the cache.

use std::fs::{File, Permissions};
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;
use rustix::process::geteuid;

/// Opens a file below a folder, which is made with the mode `made` if there is one, whatever the umask: that of this
/// process is not that of all users of a shared cache. No symbolic link is followed, no pipe is waited for, and what is not
/// a file of this user or of root is refused, unless it is shared.
pub fn open(folder: &OwnedFd, path: &Path, access: OFlags, made: Option<u32>, shared: bool) -> io::Result<File> {
    let creating = if made.is_some() { OFlags::CREATE } else { OFlags::empty() };
    let flags = access | creating | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(made.unwrap_or_default());
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let opened = match openat2(folder, path, flags, mode, within) {
        // Linux before 5.6; containers with a filter that does not know the call. The last component is not followed.
        Err(Errno::NOSYS | Errno::PERM) => openat(folder, path, flags, mode),
        opened => opened,
    };
    let file = File::from(opened?);
    let (found, user) = (file.metadata()?, geteuid().as_raw());
    if !found.is_file() || !(shared || found.uid() == user || found.uid() == 0) {
        return Err(io::Error::other("not a file of this user"));
    }
    if let Some(made) = made.filter(|made| found.mode() & made != *made && found.uid() == user) {
        file.set_permissions(Permissions::from_mode(made))?;
    }
    Ok(file)
}

/// Has the kernel read nothing of a file but what is asked for, where it may: what comes next is known better here, and
/// what is between pages that are there is nothing but holes.
pub fn read_nothing_ahead(file: &File) {
    // SAFETY: the descriptor is open; the call takes no pointers.
    unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_RANDOM) };
}

/// Gives a file the length that it was made with, if it has another one.
pub fn set_length(file: &File, length: u64) -> io::Result<()> {
    if file.metadata()?.len() == length { Ok(()) } else { file.set_len(length) }
}

/// Slices that are written at once: Linux takes no more (`IOV_MAX`).
const MAX_SLICES: usize = libc::UIO_MAXIOV as usize;

/// Whether to wait for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Until it has answered.
    Waits,
    /// Not at all.
    None,
}

/// Reads as much as the file has at `offset`, at most as fits. Without patience what is not in memory is an error.
pub fn read_up_to(file: &File, mut buffer: &mut [u8], mut offset: u64, patience: Patience) -> io::Result<usize> {
    let wanted = buffer.len();
    while !buffer.is_empty() {
        let read = match patience {
            Patience::Waits => file.read_at(buffer, offset),
            Patience::None => read_from_memory(file, buffer, offset),
        };
        match read {
            Ok(0) => break,
            Ok(read) => {
                offset += read as u64;
                buffer = &mut buffer[read..];
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(wanted - buffer.len())
}

/// Reads what the page cache has (`preadv2(2)`, `RWF_NOWAIT`). Where the filesystem cannot tell, it says that it would
/// have to wait.
fn read_from_memory(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let offset = libc::off_t::try_from(offset).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: the descriptor is open, and the vector describes `buffer`, which is borrowed for the call.
    match unsafe { libc::preadv2(file.as_raw_fd(), &raw const vector, 1, offset, libc::RWF_NOWAIT) } {
        -1 => match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Err(io::ErrorKind::WouldBlock.into()),
            error => Err(error),
        },
        read => Ok(read as usize),
    }
}

/// `cachestat(2)`, from Linux 6.5 on: the number that new system calls have on nearly all architectures
/// (`include/uapi/asm-generic/unistd.h` of Linux). The C library has no function for it.
const CACHESTAT: libc::c_long = 451;

/// Its answer, in pages of the kernel (`include/uapi/linux/mman.h`).
#[repr(C)]
#[derive(Default)]
struct CacheStat {
    cached: u64,
    dirty: u64,
    writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

/// Whether the page cache has all of a range; none where the kernel cannot tell. A read that must not wait would tell as
/// well, but has the kernel read ahead what is to be read past the page cache.
pub fn is_in_memory(file: &File, offset: u64, length: u64) -> Option<bool> {
    let (range, mut found) = ([offset, length], CacheStat::default());
    // SAFETY: the descriptor is open; `range` and `found` have the layout of the structures that the call reads and
    // fills, and outlive it.
    let answer =
        unsafe { libc::syscall(CACHESTAT, file.as_raw_fd(), range.as_ptr(), &raw mut found, 0 as libc::c_uint) };
    // SAFETY: the call has no memory effects.
    let page = u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).ok().filter(|_| answer == 0)?;
    Some(found.cached >= (offset + length).div_ceil(page) - offset / page)
}

/// Writes all of some slices, one after the other.
pub fn write_all_vectored_at(file: &File, mut slices: Vec<IoSlice<'_>>, mut offset: u64) -> io::Result<()> {
    let mut left = &mut slices[..];
    while !left.is_empty() {
        let count = left.len().min(MAX_SLICES);
        // SAFETY: the descriptor is open. An `IoSlice` has the layout of an `iovec` (its documentation), the first `count`
        // of `left` exist, and the bytes that they refer to are borrowed until after the call, which only reads them.
        let written = unsafe {
            libc::pwritev(file.as_raw_fd(), left.as_ptr().cast(), count as libc::c_int, offset as libc::off_t)
        };
        match usize::try_from(written) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                offset += written as u64;
                IoSlice::advance_slices(&mut left, written);
            }
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
    Ok(())
}

/// Makes a hole.
pub fn punch(file: &File, offset: u64, length: u64) -> io::Result<()> {
    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    // SAFETY: the descriptor is open; the call takes no pointers.
    match unsafe { libc::fallocate(file.as_raw_fd(), mode, offset as libc::off_t, length as libc::off_t) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The number at an offset; 0 beyond the end.
pub fn read_number(file: &File, at: u64) -> io::Result<u64> {
    let mut bytes = [0; 8];
    let read = read_up_to(file, &mut bytes, at, Patience::Waits)?;
    Ok(if read == bytes.len() { u64::from_le_bytes(bytes) } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::FromRawFd;

    #[test]
    fn what_was_written_is_in_memory_and_what_was_not_is_not() {
        // SAFETY: the name is NUL-terminated, and the descriptor belongs to nobody else.
        let file = unsafe { File::from_raw_fd(libc::memfd_create(c"test".as_ptr(), 0)) };
        file.set_len(4 << 20).unwrap();
        file.write_all_at(&[1; 1 << 20], 0).unwrap();
        let found = [(0, 1 << 20), (5, 7), (0, 2 << 20), (2 << 20, 1 << 20)].map(|(at, n)| is_in_memory(&file, at, n));
        assert!([Some(true), Some(true), Some(false), Some(false)] == found || found == [None; 4], "{found:?}");
    }
}
