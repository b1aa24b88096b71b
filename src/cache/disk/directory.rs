//! The cache directory: where its files are, and whether it can be trusted.
//!
//! ```text
//! DIR/CACHEDIR.TAG              tells backup programs to pass it over
//! DIR/usage                     what it takes ([`super::usage`])
//! DIR/objects/ab/ab...ef.map    what is there of an object version, and its checksums ([`super::map`])
//! DIR/objects/ab/ab...ef.data   its bytes
//! ```

use std::fs::{DirBuilder, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The signature of a cache directory (Cache Directory Tagging Specification, bford.info/cachedir).
const TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n# This directory holds the cache of fitsfs.\n";

/// Why a directory cannot hold a cache: a line for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// Others could write what is read from it.
    Untrusted(String),
    /// It cannot be made or used.
    Unusable(String),
}

/// A directory that holds a cache.
#[derive(Clone, Debug)]
pub struct Directory {
    root: PathBuf,
    shared: bool,
}

impl Directory {
    /// The cache directory at `root`, made if need be: for this user alone, or shared with its group. Refused if others
    /// could write to it: what they write would be read as the archive's.
    pub fn open(root: &Path, shared: bool) -> Result<Self, Unfit> {
        let place = root.display();
        let make = |error: io::Error| Unfit::Unusable(format!("cannot make the cache directory {place}: {error}"));
        let directory = |root: PathBuf| Self { root, shared };
        directory(root.to_owned()).make(root).map_err(make)?;
        let root = root.canonicalize().map_err(make)?;
        let found = std::fs::metadata(&root).map_err(make)?;
        if !found.is_dir() {
            return Err(make(io::ErrorKind::NotADirectory.into()));
        }
        trust(&root, &found, shared)?;
        let directory = directory(root);
        // A directory that cannot be written shows that when something is.
        if let Err(error) = directory.tag() {
            tracing::debug!(%error, "no tag in the cache directory");
        }
        Ok(directory)
    }

    /// The cache that is at `root`, shared as it was made; none if there is none.
    pub fn find(root: &Path) -> Result<Option<Self>, Unfit> {
        let found = match std::fs::metadata(root.join("objects")).and_then(|_| std::fs::metadata(root)) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            found => found.map_err(|error| {
                Unfit::Unusable(format!(
                    "cannot use the cache directory {}: {error}; is it one of yours?",
                    root.display()
                ))
            })?,
        };
        let shared = found.mode() & 0o020 != 0;
        trust(root, &found, shared)?;
        Ok(Some(Self { root: root.to_owned(), shared }))
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The permissions of its files.
    pub fn file_mode(&self) -> u32 {
        if self.shared { 0o660 } else { 0o600 }
    }

    /// Where the maps and bytes of objects are.
    pub fn objects(&self) -> PathBuf {
        self.root.join("objects")
    }

    /// The map of an object.
    pub fn map(&self, name: &str) -> PathBuf {
        self.file(name, "map")
    }

    /// The bytes of an object.
    pub fn data(&self, name: &str) -> PathBuf {
        self.file(name, "data")
    }

    /// What the directory takes.
    pub fn usage(&self) -> PathBuf {
        self.root.join("usage")
    }

    fn file(&self, name: &str, ending: &str) -> PathBuf {
        let folder = name.get(..2).unwrap_or("__");
        self.objects().join(folder).join(format!("{name}.{ending}"))
    }

    /// Makes a folder of it, with those above.
    pub fn make(&self, folder: &Path) -> io::Result<()> {
        // New entries of a shared directory belong to its group, whoever makes them.
        let mode = if self.shared { 0o2770 } else { 0o700 };
        match std::fs::symlink_metadata(folder) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Err(_) => {}
        }
        if let Some(parent) = folder.parent() {
            self.make(parent)?;
        }
        match DirBuilder::new().mode(mode).create(folder) {
            // What the caller's umask took away is asked for. Folders above the cache are made likewise.
            Ok(()) if self.shared => std::fs::set_permissions(folder, Permissions::from_mode(mode)),
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    }

    fn tag(&self) -> io::Result<()> {
        let tag = self.root.join("CACHEDIR.TAG");
        if tag.symlink_metadata().is_ok() { Ok(()) } else { std::fs::write(tag, TAG) }
    }
}

/// Where the cache is unless told otherwise: `$XDG_CACHE_HOME/fitsfs`, or `/var/cache/fitsfs` for root and
/// `~/.cache/fitsfs` for others. None without a home.
pub fn default_place(environment: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let set = |name| environment(name).filter(|value: &String| value.starts_with('/')).map(PathBuf::from);
    match set("XDG_CACHE_HOME") {
        Some(cache) => Some(cache.join("fitsfs")),
        None if user() == 0 => Some(PathBuf::from("/var/cache/fitsfs")),
        None => set("HOME").map(|home| home.join(".cache/fitsfs")),
    }
}

fn trust(root: &Path, found: &Metadata, shared: bool) -> Result<(), Unfit> {
    let trusted = is_trusted(found.uid(), found.mode(), user(), shared);
    trusted.map_err(|why| Unfit::Untrusted(format!("the cache directory {} {why}", root.display())))
}

/// Whether what is in a directory was written by this user, by root, or by those it is shared with.
fn is_trusted(owner: u32, mode: u32, user: u32, shared: bool) -> Result<(), &'static str> {
    match () {
        () if mode & 0o002 != 0 => Err("can be written by everyone: take that away (chmod o-w), or name another one"),
        () if mode & 0o020 != 0 && !shared => {
            Err("can be written by its group: mount with --cache-shared if all of them are trusted, or chmod g-w")
        }
        () if owner != user && owner != 0 && !shared => {
            Err("belongs to another user: name one of your own (--cache-dir), or share it (--cache-shared)")
        }
        () => Ok(()),
    }
}

/// The user of this process.
pub(super) fn user() -> u32 {
    // SAFETY: geteuid has no preconditions and cannot fail.
    unsafe { libc::geteuid() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_trusted_users_write_is_read() {
        let trusted = |owner, mode, shared| is_trusted(owner, mode, 1000, shared).is_ok();
        assert!(trusted(1000, 0o700, false) && trusted(1000, 0o755, false) && trusted(0, 0o755, false));
        assert!(!trusted(1000, 0o707, false) && !trusted(1000, 0o1777, false) && !trusted(1000, 0o707, true));
        assert!(!trusted(1000, 0o770, false) && trusted(1000, 0o770, true));
        assert!(!trusted(1001, 0o700, false) && trusted(1001, 0o770, true));
    }

    #[test]
    fn it_is_private_unless_it_is_to_be_shared() {
        let folder = tempfile::tempdir().unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o7777;
        let private = Directory::open(&folder.path().join("a/private"), false).unwrap();
        assert_eq!((mode(private.root()), private.file_mode()), (0o700, 0o600));
        let shared = Directory::open(&folder.path().join("shared"), true).unwrap();
        assert_eq!((mode(shared.root()), shared.file_mode()), (0o2770, 0o660));
        assert!(matches!(Directory::open(shared.root(), false), Err(Unfit::Untrusted(_))));
    }

    #[test]
    fn the_place_follows_the_environment() {
        let place = |set: &'static [(&str, &str)]| {
            default_place(|name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
        };
        assert_eq!(place(&[("XDG_CACHE_HOME", "/x"), ("HOME", "/h")]), Some("/x/fitsfs".into()));
        assert_eq!(place(&[("XDG_CACHE_HOME", "relative")]).is_some(), user() == 0);
    }
}
