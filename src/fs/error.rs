//! Which errno a program sees: one table.

use crate::store::{ErrorKind, StoreError};

/// An error number for the kernel, positive, as in `errno.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

/// The result of a file operation.
pub type Result<T> = std::result::Result<T, Errno>;

impl Errno {
    /// No such file or directory.
    pub const ENOENT: Self = Self(libc::ENOENT);
    /// The inode is of another version, or unknown.
    pub const ESTALE: Self = Self(libc::ESTALE);
    /// Not a directory.
    pub const ENOTDIR: Self = Self(libc::ENOTDIR);
    /// Is a directory.
    pub const EISDIR: Self = Self(libc::EISDIR);
    /// The filesystem is read-only.
    pub const EROFS: Self = Self(libc::EROFS);
    /// No such extended attribute; also: the data is in an archive.
    pub const ENODATA: Self = Self(libc::ENODATA);
    /// No data beyond this offset.
    pub const ENXIO: Self = Self(libc::ENXIO);
    /// What is asked for is longer than it may be.
    pub const E2BIG: Self = Self(libc::E2BIG);
    /// The request was cancelled, as its program was killed.
    pub const EINTR: Self = Self(libc::EINTR);
    /// It took too long.
    pub const ETIMEDOUT: Self = Self(libc::ETIMEDOUT);
    /// The handle is none of this.
    pub const EBADF: Self = Self(libc::EBADF);
    /// The argument makes no sense.
    pub const EINVAL: Self = Self(libc::EINVAL);
    /// The file name is too long.
    pub const ENAMETOOLONG: Self = Self(libc::ENAMETOOLONG);
}

/// For looking up and listing. An outage is never "no such file".
impl From<&StoreError> for Errno {
    fn from(error: &StoreError) -> Self {
        Self(match error.kind {
            ErrorKind::NotFound => libc::ENOENT,
            ErrorKind::AccessDenied | ErrorKind::Credentials => libc::EACCES,
            ErrorKind::VersionChanged => libc::ESTALE,
            ErrorKind::Archived => libc::ENODATA,
            ErrorKind::Offline => libc::ENETUNREACH,
            ErrorKind::OverBudget => libc::EDQUOT,
            ErrorKind::Throttled
            | ErrorKind::Server
            | ErrorKind::Timeout
            | ErrorKind::Network
            | ErrorKind::BadResponse
            | ErrorKind::Certificate
            | ErrorKind::Invalid
            | ErrorKind::Damaged
            | ErrorKind::Cancelled => libc::EIO,
        })
    }
}

impl Errno {
    /// For reading an open file: an object that is gone is a version that is gone.
    pub fn of_read(error: &StoreError) -> Self {
        match error.kind {
            ErrorKind::NotFound => Self::ESTALE,
            _ => Self::from(error),
        }
    }
}
