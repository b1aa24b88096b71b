//! Files below a folder, and nowhere else.
//!
//! Each path is resolved by the kernel, which refuses what leads out of the folder (`openat2` with `RESOLVE_BENEATH`): a
//! symbolic link to `/etc/shadow` is not a way for users of a mount to read it.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustix::fs::{CWD, Dir, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

use crate::printable::printable;
use crate::store::{ErrorKind, ObjectMeta, Result, StoreError, Version};

/// A folder, held open.
#[derive(Debug)]
pub struct Files {
    root: PathBuf,
    folder: OwnedFd,
}

/// A file that is open for reading, at a version.
#[derive(Debug)]
pub struct Opened {
    file: File,
    object: ObjectMeta,
    url: String,
}

/// What a name stands for.
#[derive(Debug)]
pub enum Found {
    /// A folder, told from all others by its device and number.
    Folder((u64, u64)),
    /// A regular file.
    File(ObjectMeta),
}

/// A name in a folder.
#[derive(Debug)]
pub struct Named {
    /// The name.
    pub name: String,
    /// Whether the system says that it is a folder; none where that has to be looked up.
    pub is_folder: Option<bool>,
}

impl Files {
    /// The folder at a path. The error names the remedy.
    pub fn open(folder: &Path) -> Result<Self> {
        let shown = printable(&folder.display().to_string()).into_owned();
        let failed = |error: io::Error| {
            let kind = if error.kind() == io::ErrorKind::NotFound { ErrorKind::NotFound } else { kind_of(&error) };
            StoreError::new(kind, format!("cannot use the folder {shown}: {error}"))
        };
        let root = folder.canonicalize().map_err(failed)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = openat(CWD, &root, flags, Mode::empty()).map_err(|error| failed(error.into()))?;
        let files = Self { root, folder };
        match files.resolve(".", OFlags::PATH) {
            Err(Errno::NOSYS | Errno::PERM) => Err(StoreError::new(
                ErrorKind::Invalid,
                format!(
                    "cannot use the folder {shown}: the kernel, or the filter of a container, lacks openat2 (Linux 5.6)"
                ),
            )),
            Err(error) => Err(failed(error.into())),
            Ok(_) => Ok(files),
        }
    }

    /// Its path, without symbolic links.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The names in the folder of a key prefix, which is empty or ends with `/`; and how many are no UTF-8. None if there
    /// is no such folder.
    pub fn names(&self, prefix: &str) -> Result<Option<(Vec<Named>, Vec<String>)>> {
        let failed = |error: Errno| self.failure("LIST", prefix, error.into());
        let folder = match self.resolve(&path_of(prefix), OFlags::RDONLY | OFlags::DIRECTORY) {
            Err(error) if is_absent(error) => return Ok(None),
            opened => opened.map_err(failed)?,
        };
        let (mut names, mut others) = (Vec::new(), Vec::new());
        for entry in Dir::read_from(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let is_folder = match entry.file_type() {
                rustix::fs::FileType::Directory => Some(true),
                rustix::fs::FileType::RegularFile => Some(false),
                rustix::fs::FileType::Symlink | rustix::fs::FileType::Unknown => None,
                _ => continue,
            };
            match entry.file_name().to_str() {
                Ok("." | "..") => {}
                Ok(name) => names.push(Named { name: name.to_owned(), is_folder }),
                Err(_) => others.push(format!("{prefix}{}", entry.file_name().to_string_lossy())),
            }
        }
        Ok(Some((names, others)))
    }

    /// When the folder of a key prefix was changed last, and which one it is.
    pub fn stamp(&self, prefix: &str) -> Option<(u64, i64, i64)> {
        let folder = File::from(self.resolve(&path_of(prefix), OFlags::PATH).ok()?);
        folder.metadata().ok().map(|found| (found.ino(), found.mtime(), found.mtime_nsec()))
    }

    /// What a key, or a key prefix without its last `/`, stands for; none if it is nothing that is shown.
    pub fn find(&self, key: &str) -> Result<Option<Found>> {
        if !key.is_empty() && !is_key(key) {
            return Ok(None);
        }
        let file = match self.resolve(&path_of(key), OFlags::PATH) {
            Err(error) if is_absent(error) => return Ok(None),
            opened => File::from(opened.map_err(|error| self.failure("HEAD", key, error.into()))?),
        };
        let found = file.metadata().map_err(|error| self.failure("HEAD", key, error))?;
        Ok(match found {
            found if found.is_dir() => Some(Found::Folder((found.dev(), found.ino()))),
            found if found.is_file() => Some(Found::File(object(key, &found))),
            _ => None,
        })
    }

    /// What a HEAD tells of a key.
    pub fn object(&self, key: &str) -> Result<ObjectMeta> {
        match self.find(key)? {
            Some(Found::File(object)) => Ok(object),
            Some(Found::Folder(_)) | None => Err(self.absent("HEAD", key)),
        }
    }

    /// A key as it is now, open for reading.
    pub fn open_file(&self, key: &str) -> Result<Opened> {
        // Of what is no regular file nothing is opened: a FIFO would wait for its writer, a device may do anything.
        self.object(key)?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let opened = self.resolve(&path_of(key), flags).map_err(|error| match is_absent(error) {
            true => self.absent("GET", key),
            false => self.failure("GET", key, error.into()),
        })?;
        let file = File::from(opened);
        let found = file.metadata().map_err(|error| self.failure("GET", key, error))?;
        match found.is_file() {
            true => Ok(Opened { file, object: object(key, &found), url: self.url(key) }),
            false => Err(self.absent("GET", key)),
        }
    }

    fn resolve(&self, path: &str, access: OFlags) -> std::result::Result<OwnedFd, Errno> {
        let within = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        openat2(self.folder.as_fd(), path, access | OFlags::CLOEXEC, Mode::empty(), within)
    }

    fn url(&self, key: &str) -> String {
        format!("file://{}/{key}", self.root.display())
    }

    fn absent(&self, what: &str, key: &str) -> StoreError {
        StoreError::new(ErrorKind::NotFound, format!("{what} {}: there is no such file", self.url(key)))
    }

    fn failure(&self, what: &str, key: &str, error: io::Error) -> StoreError {
        StoreError::new(kind_of(&error), format!("{what} {}: {error}", self.url(key)))
    }
}

impl Opened {
    /// What is open.
    pub fn object(&self) -> &ObjectMeta {
        &self.object
    }

    /// Its version.
    pub fn version(&self) -> &Version {
        &self.object.version
    }

    /// The bytes of a range. Fails if the file was written to since it was opened.
    pub fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let mut bytes = vec![0; (range.end - range.start) as usize];
        let read = self.file.read_exact_at(&mut bytes, range.start);
        let failed = |error: io::Error| StoreError::new(kind_of(&error), format!("GET {}: {error}", self.url));
        let now = object(&self.object.key, &self.file.metadata().map_err(failed)?);
        if now.version != self.object.version {
            let message = format!("GET {}: the file was written to while it was read", self.url);
            return Err(StoreError::new(ErrorKind::VersionChanged, message));
        }
        read.map_err(failed)?;
        Ok(bytes.into())
    }
}

/// What a file is, by its attributes. The version is its number and times: a file that is replaced has another number, one
/// that is written to another time.
fn object(key: &str, found: &std::fs::Metadata) -> ObjectMeta {
    let times = [found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()];
    let etag = times.iter().fold(format!("\"{:x}", found.ino()), |tag, time| format!("{tag}-{time:x}")) + "\"";
    ObjectMeta {
        key: key.to_owned(),
        size: found.len(),
        last_modified: found.modified().unwrap_or(std::time::UNIX_EPOCH),
        version: Version { etag: Some(etag.into()), id: None },
        storage_class: None,
    }
}

/// The path of a key below the folder; of the empty key that of the folder itself.
fn path_of(key: &str) -> String {
    format!("./{}", key.trim_end_matches('/'))
}

/// Whether a key can be a path, in the one way in which it is listed: `a/../b` would be another name of `b`.
fn is_key(key: &str) -> bool {
    key.split('/').all(|part| !part.is_empty() && part != "." && part != ".." && !part.contains('\0'))
}

/// Nothing is there, or nothing that belongs to the folder: links that lead out of it, or in circles.
fn is_absent(error: Errno) -> bool {
    matches!(error, Errno::NOENT | Errno::NOTDIR | Errno::XDEV | Errno::LOOP | Errno::NAMETOOLONG)
}

fn kind_of(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::PermissionDenied => ErrorKind::AccessDenied,
        io::ErrorKind::NotADirectory | io::ErrorKind::InvalidInput => ErrorKind::Invalid,
        // A disk or server that fails may work a little later.
        _ => ErrorKind::Server,
    }
}
