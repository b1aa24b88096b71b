//! What is kept of an object, region by region, and how it is evicted.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use super::file::{Patience, punch, read_number, read_up_to};
use super::lock::{self, Mode};
use super::map::{self, PAGE, PAGES_OF_RECORD, RECORD, Worth};
use super::object::{CachedObject, LockedRegion, region_locks};

impl CachedObject {
    /// Evicts the pages of a region that has been unused since `stamp`: all of them, or all but headers. Returns the bytes
    /// that are free after that; none if the region is in use, or may be: what the kernel has read by itself.
    pub(super) fn evict(&self, region: u64, stamp: u64, headers: bool) -> io::Result<u64> {
        let lock = region_locks(region..region + 1);
        if !lock::try_lock(&self.map, &lock, Mode::Exclusive)? {
            return Ok(0);
        }
        let _locked = LockedRegion(&self.map, lock);
        let record = self.record(region)?;
        if self.is_used_since(&record, stamp)? || self.was_backing()? {
            return Ok(0);
        }
        let goes = |entry: u64| entry != 0 && (headers || map::worth_of(entry) == Worth::Data);
        let kept: Vec<u64> = record[1..].iter().map(|entry| if goes(*entry) { 0 } else { *entry }).collect();
        let is_empty = kept.iter().all(|entry| *entry == 0);
        let bytes: Vec<u8> = kept.iter().flat_map(|entry| entry.to_le_bytes()).collect();
        // Entries first: a page without an entry is not there, whatever its bytes.
        self.map.write_all_at(&bytes, map::record_at(region) + 8)?;
        let (mut page, mut freed) = (region * PAGES_OF_RECORD, 0);
        // What has no entry may have bytes all the same: after a crash, or when it was damaged.
        let stays = |entry: u64| entry != 0 && !goes(entry);
        for run in record[1..].chunk_by(|a, b| stays(*a) == stays(*b)) {
            if !stays(run[0]) {
                punch(&self.data, page * PAGE, run.len() as u64 * PAGE)?;
                freed += run.iter().filter(|entry| goes(**entry)).count() as u64 * PAGE;
            }
            page += run.len() as u64;
        }
        if is_empty {
            punch(&self.map, map::record_at(region), RECORD)?;
            freed += RECORD;
        }
        Ok(freed)
    }

    /// Whether a region with this record was used after `stamp`, or its file opened.
    pub(super) fn is_used_since(&self, record: &[u64], stamp: u64) -> io::Result<bool> {
        let opened = read_number(&self.map, map::OPENED_AT)?;
        Ok(record.first().is_none_or(|used| (*used).max(opened) > stamp))
    }

    /// Whether the kernel was given the file. It may be mapped then, though it is not open any more: no hole may be
    /// made in it, but it may be removed, since a mapping keeps a removed file.
    pub(super) fn was_backing(&self) -> io::Result<bool> {
        Ok(read_number(&self.map, map::BACKING_AT)? != 0)
    }

    /// The stamp of a region and the entries of its pages.
    pub(super) fn record(&self, region: u64) -> io::Result<Vec<u64>> {
        let mut bytes = vec![0; RECORD as usize];
        let read = read_up_to(&self.map, &mut bytes, map::record_at(region), Patience::Waits)?;
        bytes[read..].fill(0);
        Ok(map::numbers(&bytes).collect())
    }

    /// The regions that have a record, and these.
    pub(super) fn records(&self) -> impl Iterator<Item = io::Result<(u64, Vec<u64>)>> {
        let mut region = 0;
        std::iter::from_fn(move || {
            let next = self.next_region(region).transpose()?;
            region = next.as_ref().map_or(u64::MAX, |next| next + 1);
            Some(next.and_then(|next| Ok((next, self.record(next)?))))
        })
    }

    /// The regions that have a record, from `region` on; none if there is no further one.
    pub(super) fn next_region(&self, region: u64) -> io::Result<Option<u64>> {
        if region >= map::regions(self.size()) {
            return Ok(None);
        }
        // SAFETY: the descriptor is open; lseek on it moves a position that nobody uses.
        let at = unsafe { libc::lseek(self.map.as_raw_fd(), map::record_at(region) as libc::off_t, libc::SEEK_DATA) };
        match u64::try_from(at) {
            Ok(at) => Ok(Some((at - map::HEADER) / RECORD).filter(|region| *region < map::regions(self.size()))),
            Err(_) => match io::Error::last_os_error() {
                error if error.raw_os_error() == Some(libc::ENXIO) => Ok(None),
                error => Err(error),
            },
        }
    }
}
