//! Whether a directory can be trusted: what is read from it is taken for the archive's, so that no other user may be able
//! to write it, nor to put another one in its place. So all folders above it count, as sshd has it.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, Stat, fstat, openat};

/// Why not, and of which folder that is said.
#[derive(Debug)]
pub(super) struct Distrust {
    pub(super) folder: PathBuf,
    pub(super) why: &'static str,
    /// It is not the directory, but above that.
    pub(super) is_above: bool,
}

/// A directory that was reached from the root, one descriptor after the other, so that what was looked at is what is
/// used.
#[derive(Debug)]
pub(super) struct Reached {
    /// The folder that the directory is in.
    pub(super) parent: OwnedFd,
    /// The path of each folder from the root on, and what is known of it; the directory is the last one.
    way: Vec<(PathBuf, Facts)>,
}

/// What counts of a folder.
#[derive(Clone, Copy, Debug)]
struct Facts {
    owner: u32,
    group: u32,
    mode: u32,
}

impl Reached {
    /// Goes to a directory by its canonical path.
    pub(super) fn by(path: &Path) -> io::Result<Self> {
        let names: Vec<&OsStr> = path
            .components()
            .filter_map(|part| if let Component::Normal(name) = part { Some(name) } else { None })
            .collect();
        let (last, above) = names.split_last().ok_or(io::ErrorKind::InvalidInput)?;
        let mut at = PathBuf::from("/");
        let mut parent = folder(rustix::fs::CWD, at.as_os_str())?;
        let mut way = vec![(at.clone(), facts(&parent)?)];
        for name in above {
            parent = folder(&parent, name)?;
            at.push(name);
            way.push((at.clone(), facts(&parent)?));
        }
        let directory = folder(&parent, last)?;
        way.push((at.join(last), facts(&directory)?));
        Ok(Self { parent, way })
    }

    /// The name of the directory in the folder that it is in.
    pub(super) fn name(&self) -> &OsStr {
        self.way.last().and_then(|(path, _)| path.file_name()).unwrap_or_default()
    }

    /// Whether its group may write to the directory.
    pub(super) fn is_of_group(&self) -> bool {
        self.way.last().is_some_and(|(_, facts)| facts.mode & 0o020 != 0)
    }

    /// Whether only this user, root, and those it is shared with can write to it or replace it.
    pub(super) fn judge(&self, user: u32, shared: bool) -> Result<(), Distrust> {
        let Some(((path, directory), above)) = self.way.split_last() else { return Ok(()) };
        let distrust = |folder: &Path, why, is_above| Distrust { folder: folder.to_owned(), why, is_above };
        is_trusted(*directory, user, shared).map_err(|why| distrust(path, why, false))?;
        let below = self.way.iter().skip(1);
        for ((path, facts), (_, next)) in above.iter().zip(below) {
            keeps(*facts, *next, *directory, user, shared).map_err(|why| distrust(path, why, true))?;
            // No other user comes further than here: a home that others may not enter can have folders that its group may
            // write, as some systems make them.
            if !shared && facts.mode & 0o011 == 0 {
                break;
            }
        }
        Ok(())
    }
}

fn folder(at: impl std::os::fd::AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(at, name, flags, Mode::empty())?)
}

fn facts(folder: &OwnedFd) -> io::Result<Facts> {
    let Stat { st_uid, st_gid, st_mode, .. } = fstat(folder)?;
    Ok(Facts { owner: st_uid, group: st_gid, mode: st_mode })
}

/// Whether what is in a directory was written by this user, by root, or by those it is shared with.
fn is_trusted(Facts { owner, mode, .. }: Facts, user: u32, shared: bool) -> Result<(), &'static str> {
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

/// Whether a folder above keeps what is in it where it is. In a sticky one, such as /tmp, that is up to the owner of
/// what is in it. The owner of the directory, and those it is shared with, are trusted above it as well.
fn keeps(above: Facts, next: Facts, directory: Facts, user: u32, shared: bool) -> Result<(), &'static str> {
    let is_ours = |owner: u32| owner == user || owner == 0 || (shared && owner == directory.owner);
    let is_open = |bits: u32| above.mode & bits != 0;
    match () {
        () if !is_ours(above.owner) => {
            Err("belongs to another user, who could replace what is in it: name another one (--cache-dir)")
        }
        () if above.mode & 0o1000 != 0 && is_ours(next.owner) => Ok(()),
        () if is_open(0o002) || (is_open(0o020) && !(shared && above.group == directory.group)) => {
            Err("can be written by others, who could replace what is in it: take that away (chmod go-w), or name \
                 another one (--cache-dir)")
        }
        () => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: u32 = 1000;

    fn facts(owner: u32, mode: u32) -> Facts {
        Facts { owner, group: 50, mode }
    }

    #[test]
    fn only_what_trusted_users_write_is_read() {
        let trusted = |owner, mode, shared| is_trusted(facts(owner, mode), USER, shared).is_ok();
        assert!(trusted(1000, 0o700, false) && trusted(1000, 0o755, false) && trusted(0, 0o755, false));
        assert!(!trusted(1000, 0o707, false) && !trusted(1000, 0o1777, false) && !trusted(1000, 0o707, true));
        assert!(!trusted(1000, 0o770, false) && trusted(1000, 0o770, true));
        assert!(!trusted(1001, 0o700, false) && trusted(1001, 0o770, true));
    }

    #[test]
    fn no_other_user_may_replace_it_or_what_it_is_in() {
        let judged = |above: &[Facts], shared| {
            let directory = facts(USER, if shared { 0o2770 } else { 0o700 });
            let way = above.iter().copied().chain([directory]).map(|facts| (PathBuf::from("/"), facts)).collect();
            let parent = folder(rustix::fs::CWD, OsStr::new("/")).unwrap();
            Reached { parent, way }.judge(USER, shared).is_ok()
        };
        let root = facts(0, 0o755);
        assert!(judged(&[root, facts(USER, 0o755)], false));
        assert!(judged(&[root, facts(0, 0o1777)], false), "in /tmp nobody else can move it");
        assert!(judged(&[root, facts(0, 0o1777), facts(USER, 0o700)], false));
        for bad in [facts(USER, 0o777), facts(USER, 0o775), facts(0, 0o777), facts(1001, 0o755)] {
            assert!(!judged(&[root, bad], false), "{bad:?}");
            assert!(!judged(&[root, bad, facts(USER, 0o755)], false), "{bad:?}");
        }
        assert!(!judged(&[root, facts(0, 0o1777), facts(1001, 0o755)], false), "its owner can move it");
        assert!(judged(&[root, facts(USER, 0o700), facts(USER, 0o775)], false), "nobody else comes so far");
        assert!(!judged(&[root, facts(USER, 0o710), facts(USER, 0o775)], false), "its group does");
        assert!(judged(&[root, facts(USER, 0o2775)], true), "the group that shares it");
        assert!(!judged(&[root, Facts { group: 51, ..facts(USER, 0o2775) }], true), "another group");
    }

    #[test]
    fn links_are_not_followed_on_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(real.join("a/b")).unwrap();
        std::os::unix::fs::symlink(real.join("a"), real.join("link")).unwrap();
        assert!(Reached::by(&real.join("a/b")).is_ok());
        assert!(Reached::by(&real.join("link/b")).is_err());
    }
}
