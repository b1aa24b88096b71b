//! How much the cache directory takes, known to all processes that use it.
//!
//! A file holds one number: the bytes that have been taken. Each process takes them in advance, some thousandths of the
//! quota at once, and pays from that for what it writes. A process that crashes has taken too much: the number errs upwards only,
//! until the next eviction counts what is there.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::Directory;
use super::lock::{self, Mode};
use crate::cache::device::{Device, Held};

/// The whole file.
const ALL: std::ops::Range<u64> = 0..16;

/// Locked exclusively by the process that evicts.
const EVICTION: std::ops::Range<u64> = 16..17;

/// A process takes this share of the quota in advance, within bounds.
const ADVANCE_SHARE: u64 = 1024;
const MAX_ADVANCE: u64 = 4 << 20;

/// So much of the filesystem stays free: a twentieth, at most 1 GiB.
const FLOOR_SHARE: u64 = 20;
const MAX_FLOOR: u64 = 1 << 30;

/// How long to wait for another process that reads or changes the number.
const PATIENCE: Duration = Duration::from_millis(500);

/// Why nothing may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The quota is used up.
    Quota,
    /// The filesystem is nearly full.
    Floor,
    /// The number cannot be read or written, or is damaged: what is there must be counted.
    Unknown,
}

/// What a cache directory takes, and may take.
#[derive(Debug)]
pub struct Usage {
    directory: Directory,
    /// Threads of one process share its locks on the file: one at a time uses it.
    file: Mutex<Held>,
    /// A second open file, whose locks are not those of the first.
    eviction: Held,
    /// What they are closed by.
    device: Option<Arc<Device>>,
    quota: u64,
    /// What was taken in advance.
    left: Mutex<u64>,
}

/// The right to evict, until it is dropped.
#[derive(Debug)]
pub struct Eviction<'a>(&'a File);

impl Drop for Eviction<'_> {
    fn drop(&mut self) {
        if let Err(error) = lock::unlock(self.0, &EVICTION) {
            tracing::debug!(%error, "the right to evict could not be released");
        }
    }
}

impl Usage {
    /// The usage of a directory, of which this process may use `quota` bytes. Without a `device` it is for threads that
    /// may wait for the disk.
    pub fn open(directory: &Directory, quota: u64, device: Option<Arc<Device>>) -> io::Result<Self> {
        let open = || Ok::<_, io::Error>(Held::new(open(directory)?, device.clone()));
        let (file, eviction) = (Mutex::new(open()?), open()?);
        Ok(Self { directory: directory.clone(), file, eviction, device, quota, left: Mutex::new(0) })
    }

    /// In a directory without objects nothing is taken.
    pub fn begin(&self, directory: &Directory) -> io::Result<()> {
        self.locked(|used| ((), (used.is_none() && !directory.objects().exists()).then_some(0)))
    }

    /// The most that may be taken, in bytes.
    pub fn quota(&self) -> u64 {
        self.quota
    }

    /// What is taken, in bytes, by all processes; none if that is not known.
    pub fn used(&self) -> Option<u64> {
        self.locked(|used| (used, None)).ok().flatten()
    }

    /// Takes bytes that are about to be written.
    pub fn take(&self, bytes: u64) -> Result<(), Refused> {
        let mut left = self.left.lock();
        if *left >= bytes {
            *left -= bytes;
            return Ok(());
        }
        let (wanted, advance) = (bytes - *left, (self.quota / ADVANCE_SHARE).min(MAX_ADVANCE));
        let free = self.free().map_err(|_| Refused::Unknown)?;
        let taken = self.locked(|used| {
            let Some(used) = used else { return (Err(Refused::Unknown), None) };
            let fits = |amount: &u64| used.saturating_add(*amount) <= self.quota && *amount <= free;
            match [wanted + advance, wanted].into_iter().find(fits) {
                Some(amount) => (Ok(amount), Some(used + amount)),
                None if used.saturating_add(wanted) <= self.quota => (Err(Refused::Floor), None),
                None => (Err(Refused::Quota), None),
            }
        });
        *left = *left + taken.map_err(|_| Refused::Unknown)?? - bytes;
        Ok(())
    }

    /// How much has to be evicted before so many bytes can be taken; none if that is not known.
    pub fn shortage(&self, bytes: u64) -> Option<u64> {
        let beyond_quota = self.used()?.saturating_add(bytes).saturating_sub(self.quota);
        Some(beyond_quota.max(bytes.saturating_sub(self.free().ok()?)))
    }

    /// Gives back what was taken, as it was freed or not used.
    pub fn give(&self, bytes: u64) {
        let given = self.locked(|used| ((), used.map(|used| used.saturating_sub(bytes))));
        if let Err(error) = given {
            tracing::debug!(%error, "cannot note what the cache takes");
        }
    }

    /// Gives back what was taken in advance. A process that does not has taken too much until the next count of
    /// what is there.
    pub fn settle(&self) {
        let left = std::mem::take(&mut *self.left.lock());
        if left > 0 {
            self.give(left);
        }
    }

    /// The right to evict, which one has at a time.
    pub fn evict(&self) -> io::Result<Option<Eviction<'_>>> {
        Ok(lock::try_lock(&self.eviction, &EVICTION, Mode::Exclusive)?.then_some(Eviction(&self.eviction)))
    }

    /// What is there was counted while no process evicted: `counted` bytes. `before` is what was known when that began;
    /// what others have taken since then is not part of it.
    pub fn correct(&self, before: Option<u64>, counted: u64, _eviction: &Eviction<'_>) {
        let corrected = self.locked(|used| {
            let since = used.zip(before).map_or(0, |(used, before)| used.saturating_sub(before));
            ((), Some(counted.saturating_add(since)))
        });
        if let Err(error) = corrected {
            tracing::debug!(%error, "cannot note what the cache takes");
        }
    }

    /// Bytes that are free above the floor.
    fn free(&self) -> io::Result<u64> {
        // SAFETY: all-zero bytes are a valid `statvfs`.
        let mut stat: libc::statvfs = unsafe { std::mem::zeroed() };
        // SAFETY: the descriptor is open, and `stat` outlives the call.
        if unsafe { libc::fstatvfs(self.eviction.as_raw_fd(), &raw mut stat) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let floor = (stat.f_blocks * stat.f_frsize / FLOOR_SHARE).min(MAX_FLOOR);
        Ok((stat.f_bavail * stat.f_frsize).saturating_sub(floor))
    }

    /// Looks at the number, and writes a new one if told to, while no other process does. It is stored twice, the second time
    /// with all bits turned: none if they do not agree, or there is no number yet.
    fn locked<T>(&self, change: impl FnOnce(Option<u64>) -> (T, Option<u64>)) -> io::Result<T> {
        let mut file = self.file.lock();
        let was_removed = file.metadata()?.nlink() == 0;
        if was_removed {
            // With the directory, which others may have made anew: what counts is the file that has the name.
            self.directory.make(self.directory.base())?;
            *file = Held::new(open(&self.directory)?, self.device.clone());
        }
        if !lock::lock(&file, &ALL, Mode::Exclusive, PATIENCE)? {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let is_empty = was_removed && !self.directory.objects().exists();
        let outcome = Self::change(&file, |used| change(used.or(is_empty.then_some(0))));
        lock::unlock(&file, &ALL)?;
        outcome
    }

    fn change<T>(file: &File, change: impl FnOnce(Option<u64>) -> (T, Option<u64>)) -> io::Result<T> {
        let mut bytes = [0; 16];
        let number = match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => {
                let bytes = u128::from_le_bytes(bytes);
                let (number, turned) = (bytes as u64, (bytes >> 64) as u64);
                (number == !turned).then_some(number)
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
            Err(error) => return Err(error),
        };
        let (outcome, changed) = change(number);
        if let Some(number) = changed {
            file.write_all_at(&(u128::from(number) | u128::from(!number) << 64).to_le_bytes(), 0)?;
        }
        Ok(outcome)
    }
}

fn open(directory: &Directory) -> io::Result<File> {
    directory.open_file(&directory.usage(), true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(folder: &tempfile::TempDir, quota: u64) -> Usage {
        Usage::open(&Directory::open(folder.path(), false).unwrap(), quota, None).unwrap()
    }

    fn counted(folder: &tempfile::TempDir, quota: u64) -> Usage {
        let usage = usage(folder, quota);
        usage.begin(&Directory::open(folder.path(), false).unwrap()).unwrap();
        usage
    }

    #[test]
    fn nothing_is_taken_before_it_is_known_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let usage = usage(&folder, 1 << 20);
        assert_eq!((usage.take(1), usage.used()), (Err(Refused::Unknown), None));
        usage.correct(None, 4096, &usage.evict().unwrap().unwrap());
        assert_eq!((usage.take(1), usage.used()), (Ok(()), Some(4096 + 1 + 1024)));
    }

    #[test]
    fn two_processes_share_one_quota() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (counted(&folder, 1 << 20), usage(&folder, 1 << 20));
        a.take(600 << 10).unwrap();
        assert_eq!(b.take(600 << 10), Err(Refused::Quota));
        b.take(400 << 10).unwrap();
        a.give(300 << 10);
        b.take(300 << 10).unwrap();
        [&a, &b].into_iter().for_each(Usage::settle);
        assert_eq!(usage(&folder, 1 << 20).used(), Some(1000 << 10), "what was taken in advance comes back");
    }

    #[test]
    fn a_directory_that_was_removed_is_counted_as_one_by_all() {
        let (parent, quota) = (tempfile::tempdir().unwrap(), 1 << 20);
        let open = || {
            let directory = Directory::open(&parent.path().join("cache"), false).unwrap();
            Usage::open(&directory, quota, None).unwrap()
        };
        let (a, b) = (open(), open());
        std::fs::remove_dir_all(parent.path().join("cache")).unwrap();
        a.take(600 << 10).unwrap();
        assert_eq!(b.take(600 << 10), Err(Refused::Quota));
        b.take(400 << 10).unwrap();
    }

    #[test]
    fn what_was_taken_in_advance_pays_to_the_last_byte() {
        let folder = tempfile::tempdir().unwrap();
        let usage = counted(&folder, 1 << 20);
        usage.take((1 << 20) - 1500).unwrap();
        assert_eq!((usage.take(1400), usage.take(101), usage.take(100)), (Ok(()), Err(Refused::Quota), Ok(())));
    }

    #[test]
    fn a_damaged_number_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let usage = counted(&folder, 1 << 20);
        usage.file.lock().write_all_at(&[1], 9).unwrap();
        assert_eq!((usage.used(), usage.take(1)), (None, Err(Refused::Unknown)));
    }

    #[test]
    fn a_number_beyond_all_bounds_lets_nothing_be_taken() {
        let folder = tempfile::tempdir().unwrap();
        let usage = counted(&folder, 1 << 20);
        usage.locked(|_| ((), Some(u64::MAX))).unwrap();
        assert_eq!((usage.take(4096), usage.shortage(1)), (Err(Refused::Quota), Some(u64::MAX - (1 << 20))));
        usage.correct(Some(0), 4096, &usage.evict().unwrap().unwrap());
        assert_eq!(usage.used(), Some(u64::MAX));
    }

    #[test]
    fn what_others_take_during_the_count_is_not_lost() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (counted(&folder, 1 << 30), usage(&folder, 1 << 30));
        a.take(5000).unwrap();
        let before = a.used();
        b.take(7000).unwrap();
        let (eviction, during) = (a.evict().unwrap().unwrap(), b.used().unwrap() - before.unwrap());
        assert!(b.evict().unwrap().is_none());
        a.correct(before, 100, &eviction);
        assert_eq!(a.used(), Some(100 + during));
    }
}
