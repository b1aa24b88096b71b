//! Files that the kernel reads by itself (FUSE passthrough).
//!
//! What the kernel reads is not checked, so only a complete file is given to it, all of which this process has checked
//! since it started. Between the check and the use the time of the file's last change stands for its content: writing
//! or evicting a part of it changes that. While the kernel has the file, a lock keeps all of it where it is. What
//! was mapped stays in use when its file is closed, and when this process has ended, without notice: so a file that
//! was given to the kernel is noted in its map, and removed as a whole or not at all.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::lock::{self, Mode};
use super::object::{self, CachedObject, DiskRead};
use super::{BUFFER_SIZE, Directory, map};
use crate::cache::device::{Device, Held};

/// So many files are known to have been checked.
const MAX_CHECKED: u64 = 10_000;

/// A state of a file on disk: device, inode, seconds and nanoseconds of its last change.
type State = (u64, u64, i64, i64);

/// A complete file on disk, held as it is.
#[derive(Debug)]
pub struct Backing {
    data: Held,
    /// Has its life and the regions locked.
    map: Held,
}

impl AsFd for Backing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.data.as_fd()
    }
}

/// The files that were checked.
#[derive(Debug)]
pub(super) struct Checked {
    states: moka::sync::Cache<String, State>,
    /// One file is checked at a time.
    turn: Mutex<()>,
    /// Nothing is checked any more.
    stopped: AtomicBool,
}

impl Default for Checked {
    fn default() -> Self {
        Self { states: moka::sync::Cache::new(MAX_CHECKED), turn: Mutex::new(()), stopped: AtomicBool::new(false) }
    }
}

impl Checked {
    /// The file of an object version, if it was checked and is as it was then.
    pub fn backing(
        &self,
        directory: &Directory,
        name: &str,
        size: u64,
        device: &Arc<Device>,
    ) -> io::Result<Option<Backing>> {
        let Some(checked) = self.states.get(name) else { return Ok(None) };
        let Some(backing) = hold(directory, name, size, Some(device))? else { return Ok(None) };
        if state(&backing.data)? != checked {
            return Ok(None);
        }
        object::note_backing(&backing.map)?;
        object::count_open(&backing.map)?;
        Ok(Some(backing))
    }

    /// Whether a file was checked. It may have changed since.
    pub fn knows(&self, name: &str) -> bool {
        self.states.contains_key(name)
    }

    /// Checks all of a file, unless that was done or others are being checked. True if it is complete and sound.
    pub fn check(&self, directory: &Directory, name: &str, object: &Arc<CachedObject>) -> io::Result<bool> {
        let Some(_turn) = self.turn.try_lock() else { return Ok(false) };
        let pieces = |size: u64| {
            (0..object.size()).step_by(size as usize).map(move |at| at..at.saturating_add(size).min(object.size()))
        };
        for region in pieces(map::REGION) {
            if object.missing(&region)?.is_some() {
                return Ok(false);
            }
        }
        let Some(backing) = hold(directory, name, object.size(), None)? else { return Ok(false) };
        let state = state(&backing.data)?;
        // Another file may have its name by now; and zeros at the end match, whether the file has them or ends before.
        if self::state(object.data())? != state || backing.data.metadata()?.len() != object.size() {
            return Ok(false);
        }
        if self.states.get(name) == Some(state) {
            return Ok(true);
        }
        for piece in pieces(BUFFER_SIZE) {
            let found = object.read(&piece)?;
            if !matches!(found, DiskRead::Bytes(_)) || self.stopped.load(Ordering::Relaxed) {
                return Ok(false);
            }
        }
        self.states.insert(name.to_owned(), state);
        Ok(true)
    }

    /// Ends the check that is under way, and begins none any more.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

/// Locks the files of an object against changes; none while another process changes them.
fn hold(directory: &Directory, name: &str, size: u64, device: Option<&Arc<Device>>) -> io::Result<Option<Backing>> {
    let held = |file| Held::new(file, device.cloned());
    let backing = Backing {
        data: held(directory.open_to_read(&directory.data(name))?),
        map: held(directory.open_file(&directory.map(name), false)?),
    };
    let held = lock::try_lock(&backing.map, &object::LIFE, Mode::Shared)?
        && backing.map.metadata()?.nlink() > 0
        && lock::try_lock(&backing.map, &object::region_locks(0..map::regions(size)), Mode::Shared)?;
    Ok(held.then_some(backing))
}

fn state(file: &File) -> io::Result<State> {
    let metadata = file.metadata()?;
    Ok((metadata.dev(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec()))
}
