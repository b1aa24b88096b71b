//! The mount itself, by `mount(2)` where that is allowed.
//!
//! fuser mounts with the bare type `fuse`, by which a mount of ours could not be told from others in the mount table
//! (`status`, `unmount` and healing go by it alone). Its way through `fusermount3`, for users who may not call
//! `mount(2)`, names the type in full.

use std::ffi::CString;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use fuser::{Filesystem, Session, SessionACL};

use super::{mountinfo, point};

/// Mounts `filesystem` and shakes hands with the kernel.
pub fn mount<F: Filesystem>(
    filesystem: F,
    source: &str,
    mountpoint: &Path,
    config: &fuser::Config,
) -> io::Result<Session<F>> {
    let device = OpenOptions::new().read(true).write(true).open("/dev/fuse")?;
    match mount_device(device.as_raw_fd(), source, mountpoint, config.acl) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
            return Session::new(filesystem, mountpoint, config);
        }
        Err(error) => return Err(error),
    }
    Session::from_fd(filesystem, device.into(), config.acl, config.clone()).inspect_err(|_| {
        if let Err(error) = point::detach(mountpoint) {
            tracing::warn!(%error, "cannot take a mount away that did not come up");
        }
    })
}

/// Lets go of the connections of this process, which is about to end: programs get errors then. Their end would come with
/// that of the process, were it not for threads that hang in the kernel and keep its descriptors open.
pub fn let_go() -> io::Result<()> {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let entry = entry?;
        // One may have been closed meanwhile, such as that of the folder.
        let is_device = std::fs::read_link(entry.path()).is_ok_and(|target| target == Path::new("/dev/fuse"));
        if let Some(descriptor) = entry.file_name().to_str().and_then(|name| name.parse().ok()).filter(|_| is_device) {
            // SAFETY: both descriptors are open, and the owner of the replaced one still owns an open one.
            unsafe { libc::dup2(null.as_raw_fd(), descriptor) };
        }
    }
    Ok(())
}

/// `mount(2)` with the options of `fuse(4)`: read-only, with permissions checked by the kernel.
fn mount_device(device: i32, source: &str, mountpoint: &Path, acl: SessionACL) -> io::Result<()> {
    // SAFETY: getuid and getgid have no preconditions and cannot fail.
    let (uid, gid) = unsafe { (libc::getuid(), libc::getgid()) };
    let others = if acl == SessionACL::Owner { "" } else { ",allow_other" };
    let options = format!("fd={device},rootmode=40000,user_id={uid},group_id={gid},default_permissions{others}");
    let (source, target) = (CString::new(source)?, CString::new(mountpoint.as_os_str().as_bytes())?);
    let (fstype, options) = (CString::new(mountinfo::FSTYPE)?, CString::new(options)?);
    let flags = libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOATIME;
    // SAFETY: all strings end with a NUL and outlive the call.
    let result =
        unsafe { libc::mount(source.as_ptr(), target.as_ptr(), fstype.as_ptr(), flags, options.as_ptr().cast()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
