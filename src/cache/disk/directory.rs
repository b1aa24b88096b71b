//! The cache directory: where its files are, and whether it can be trusted.
//!
//! ```text
//! DIR/CACHEDIR.TAG              tells backup programs to skip it
//! DIR/usage                     what it takes ([`super::usage`])
//! DIR/objects/ab/ab...ef.map    what is there of an object version, and its checksums ([`super::map`])
//! DIR/objects/ab/ab...ef.data   its bytes
//! ```

use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::process::geteuid;

use super::file;
use super::trust::{Distrust, Reached};

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
    /// The folder that it is in, held: whatever happens to the path of that, this stays the one that was checked. Not
    /// the directory itself, which may be removed while mounts use it, and is made anew.
    parent: Arc<OwnedFd>,
    /// The same as a path, and the directory below it.
    held: PathBuf,
    base: PathBuf,
}

impl Directory {
    /// The cache directory at `root`, made if need be: for this user alone, or shared with its group. Refused if others
    /// could write to it: what they write would be read as the archive's.
    pub fn open(root: &Path, shared: bool) -> Result<Self, Unfit> {
        let place = root.display();
        let make = |error: io::Error| Unfit::Unusable(format!("cannot make the cache directory {place}: {error}"));
        make_folders(root, shared).map_err(make)?;
        let root = root.canonicalize().map_err(make)?;
        let reached = Reached::by(&root).map_err(make)?;
        let directory = Self::trusted(root, reached, shared)?;
        // A directory that cannot be written shows that when something is.
        if let Err(error) = directory.tag() {
            tracing::debug!(%error, "no tag in the cache directory");
        }
        Ok(directory)
    }

    /// The cache that is at `root`, shared as it was made; none if there is none.
    pub fn find(root: &Path) -> Result<Option<Self>, Unfit> {
        let canonical = std::fs::metadata(root.join("objects")).and_then(|_| root.canonicalize());
        let reached = match canonical.and_then(|root| Reached::by(&root)) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            reached => reached.map_err(|error| {
                Unfit::Unusable(format!(
                    "cannot use the cache directory {}: {error}; is it one of yours?",
                    root.display()
                ))
            })?,
        };
        let shared = reached.is_of_group();
        Self::trusted(root.to_owned(), reached, shared).map(Some)
    }

    fn trusted(root: PathBuf, reached: Reached, shared: bool) -> Result<Self, Unfit> {
        let place = root.display();
        reached.judge(geteuid().as_raw(), shared).map_err(|Distrust { folder, why, is_above }| {
            Unfit::Untrusted(match is_above {
                false => format!("the cache directory {place} {why}"),
                true => format!("the cache directory {place} is in {}, which {why}", folder.display()),
            })
        })?;
        let held = PathBuf::from(format!("/proc/self/fd/{}", reached.parent.as_raw_fd()));
        let base = held.join(reached.name());
        Ok(Self { root, shared, parent: Arc::new(reached.parent), held, base })
    }

    /// Where it is, for people.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where it is for this process, whatever became of its path.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// A path in it, for people.
    pub fn shown(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.base).map_or_else(|_| path.to_owned(), |within| self.root.join(within))
    }

    /// Opens a file of it for reading and writing, which is made if it may be.
    pub fn open_file(&self, path: &Path, create: bool) -> io::Result<File> {
        let made = create.then(|| self.file_mode());
        file::open(&self.parent, self.relative(path)?, OFlags::RDWR, made, self.shared)
    }

    /// The same past the page cache.
    pub fn open_direct(&self, path: &Path) -> io::Result<File> {
        file::open(&self.parent, self.relative(path)?, OFlags::RDWR | OFlags::DIRECT, None, self.shared)
    }

    /// The same for reading only.
    pub fn open_to_read(&self, path: &Path) -> io::Result<File> {
        file::open(&self.parent, self.relative(path)?, OFlags::RDONLY, None, self.shared)
    }

    fn relative<'a>(&self, path: &'a Path) -> io::Result<&'a Path> {
        path.strip_prefix(&self.held).map_err(|_| io::ErrorKind::InvalidInput.into())
    }

    /// The permissions of its files.
    pub fn file_mode(&self) -> u32 {
        if self.shared { 0o660 } else { 0o600 }
    }

    /// Where the maps and bytes of objects are.
    pub fn objects(&self) -> PathBuf {
        self.base.join("objects")
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
        self.base.join("usage")
    }

    fn file(&self, name: &str, ending: &str) -> PathBuf {
        let folder = name.get(..2).unwrap_or("__");
        self.objects().join(folder).join(format!("{name}.{ending}"))
    }

    /// Makes a folder of it, with those above.
    pub fn make(&self, folder: &Path) -> io::Result<()> {
        make_folders(folder, self.shared)
    }

    fn tag(&self) -> io::Result<()> {
        let tag = self.base.join("CACHEDIR.TAG");
        if tag.symlink_metadata().is_ok() { Ok(()) } else { std::fs::write(tag, TAG) }
    }
}

fn make_folders(folder: &Path, shared: bool) -> io::Result<()> {
    // New entries of a shared directory belong to its group, whichever user makes them.
    let mode = if shared { 0o2770 } else { 0o700 };
    match std::fs::symlink_metadata(folder) {
        Ok(_) => return Ok(()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Err(_) => {}
    }
    if let Some(parent) = folder.parent() {
        make_folders(parent, shared)?;
    }
    match DirBuilder::new().mode(mode).create(folder) {
        // What the caller's umask took away is asked for. Folders above the cache are made likewise.
        Ok(()) if shared => std::fs::set_permissions(folder, Permissions::from_mode(mode)),
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Where the cache is unless told otherwise: `$XDG_CACHE_HOME/fitsfs`, or `/var/cache/fitsfs` for root and
/// `~/.cache/fitsfs` for others. None without a home. Root does not follow a variable to what is another user's:
/// `sudo -E` keeps those of its caller.
pub fn default_place(environment: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let set = |name| environment(name).filter(|value: &String| value.starts_with('/')).map(PathBuf::from);
    match set("XDG_CACHE_HOME").filter(|cache| geteuid().as_raw() != 0 || belongs_to_root(cache)) {
        Some(cache) => Some(cache.join("fitsfs")),
        None if geteuid().as_raw() == 0 => Some(PathBuf::from("/var/cache/fitsfs")),
        None => set("HOME").map(|home| home.join(".cache/fitsfs")),
    }
}

/// Whether a folder, or what there is above it, is root's.
fn belongs_to_root(folder: &Path) -> bool {
    folder.ancestors().find_map(|folder| std::fs::metadata(folder).ok()).is_some_and(|found| found.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(place(&[("XDG_CACHE_HOME", "/no-x"), ("HOME", "/h")]), Some("/no-x/fitsfs".into()));
        assert_eq!(place(&[("XDG_CACHE_HOME", "relative")]).is_some(), geteuid().as_raw() == 0);
    }

    #[test]
    fn root_does_not_follow_the_variable_of_another_user() {
        if geteuid().as_raw() != 0 {
            return fitsfs_lab::untested("only root can give a folder to another user");
        }
        let folder = tempfile::tempdir().unwrap();
        let place = || default_place(|name| (name == "XDG_CACHE_HOME").then(|| folder.path().display().to_string()));
        assert_eq!(place(), Some(folder.path().join("fitsfs")));
        std::os::unix::fs::chown(folder.path(), Some(1000), None).unwrap();
        assert_eq!(place(), Some("/var/cache/fitsfs".into()));
    }

    #[test]
    fn a_directory_in_a_folder_that_others_can_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let open = folder.path().join("open");
        std::fs::create_dir(&open).unwrap();
        std::fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
        let Err(Unfit::Untrusted(why)) = Directory::open(&open.join("a/cache"), false) else { panic!("it is trusted") };
        assert!(why.contains("/open, which can be written by others"), "{why}");
        assert!(!open.join("a/cache/CACHEDIR.TAG").exists());
    }

    #[test]
    fn a_folder_that_is_swapped_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/cache");
        let directory = Directory::open(&path, false).unwrap();
        std::fs::rename(folder.path().join("a"), folder.path().join("b")).unwrap();
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("usage"), "forged").unwrap();
        assert!(directory.open_file(&directory.usage(), false).is_err());
        directory.open_file(&directory.usage(), true).unwrap();
        assert!(folder.path().join("b/cache/usage").exists());
    }

    #[test]
    fn what_is_no_file_of_ours_is_not_opened_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(&folder.path().join("cache"), false).unwrap();
        directory.make(&directory.objects().join("ab")).unwrap();
        let elsewhere = folder.path().join("elsewhere");
        std::fs::create_dir(&elsewhere).unwrap();
        std::fs::write(elsewhere.join("abc.map"), "forged").unwrap();
        let (pipe, link) = (directory.map("abc"), directory.map("abd"));
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        std::os::unix::fs::symlink(elsewhere.join("abc.map"), &link).unwrap();
        std::os::unix::fs::symlink(&elsewhere, directory.objects().join("ac")).unwrap();
        std::fs::write(elsewhere.join("acc.map"), "forged").unwrap();
        for path in [pipe, link, directory.map("acc")] {
            assert!(directory.open_file(&path, false).is_err(), "{path:?}");
            assert!(directory.open_to_read(&path).is_err(), "{path:?}");
        }
        if geteuid().as_raw() == 0 {
            std::fs::write(directory.map("abe"), "forged").unwrap();
            std::os::unix::fs::chown(directory.map("abe"), Some(1000), None).unwrap();
            assert!(directory.open_file(&directory.map("abe"), false).is_err(), "it is another user's");
        }
    }
}
