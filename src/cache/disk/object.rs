//! One cached object version: a sparse file with its bytes, and its map.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use parking_lot::Mutex;

use super::Directory;
use super::buffers::{Buffer, Buffers, is_large};
use super::direct::Direct;
use super::file::{self, Patience, read_number, read_up_to, set_length};
use super::lock::{self, Mode};
use super::map::{self, Identity, PAGE, PAGES_OF_RECORD, RECORD, Worth};
use super::usage::{Refused, Usage};
use crate::cache::device::{Device, Held};

/// Locks on the map. The first byte is locked shared while the object is open, and exclusively to remove it.
pub(super) const LIFE: Range<u64> = 0..1;

/// Each region has a byte beyond all offsets. It is locked exclusively to write or evict the region, and shared while the
/// kernel reads the file by itself.
const REGION_LOCKS: u64 = 1 << 60;

/// Each page has another one, which is locked while the page is being fetched.
const CLAIMS: u64 = 1 << 61;

/// The time of last use is noted again after so many milliseconds.
const STAMP_MS: u64 = 250;

/// Files in the making begin with this.
pub(super) const NEW: &str = ".new-";

/// How long to wait for a process that removes the files, and for one that writes a region.
const LIFE_PATIENCE: Duration = Duration::from_millis(200);
const REGION_PATIENCE: Duration = Duration::from_millis(50);

/// How often opening starts anew because the files were removed meanwhile.
const ATTEMPTS: usize = 8;

/// A cached object version that is in use: it is not removed while this exists.
#[derive(Debug)]
pub struct CachedObject {
    size: u64,
    seed: u64,
    pub(super) map: Held,
    pub(super) data: Held,
    /// The same without the page cache, where the filesystem can.
    direct: Option<Held>,
    buffers: Arc<Buffers>,
    /// When regions were last used, as far as that is to be written.
    stamps: Mutex<HashMap<u64, u64>>,
    /// What its files are closed by.
    device: Option<Arc<Device>>,
    /// Locks need not wait for a server.
    pub(super) locks_at_once: bool,
}

/// What a read has found.
#[derive(Debug, PartialEq, Eq)]
pub enum DiskRead {
    /// The bytes, which match their checksums.
    Bytes(Bytes),
    /// Some of them are not there.
    Missing,
    /// Some of them were damaged, and are not there any more: so many pages.
    Damaged(u64),
}

/// Why something was not written.
#[derive(Debug)]
pub enum Unwritten {
    /// There is no room for it.
    Refused(Refused),
    /// It failed.
    Failed(io::Error),
}

impl From<io::Error> for Unwritten {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// The right to fetch some pages, which other processes wait for. Ends when it is dropped.
#[derive(Debug)]
pub struct Claim {
    object: Arc<CachedObject>,
    locks: Range<u64>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let (object, locks) = (self.object.clone(), self.locks.clone());
        let unlock = move || {
            if let Err(error) = lock::unlock(&object.map, &locks) {
                tracing::debug!(%error, "a claim could not be released");
            }
        };
        match &self.object.device {
            Some(device) if !self.object.locks_at_once => device.surely(unlock),
            _ => unlock(),
        }
    }
}

/// A region that is locked until this is dropped.
pub(super) struct LockedRegion<'a>(pub &'a File, pub Range<u64>);

impl Drop for LockedRegion<'_> {
    fn drop(&mut self) {
        if let Err(error) = lock::unlock(self.0, &self.1) {
            tracing::debug!(%error, "a region could not be unlocked");
        }
    }
}

impl CachedObject {
    /// Opens the files of an object version, made if need be. None if its key is too long for a map.
    pub(super) fn open(
        directory: &Directory,
        identity: &Identity,
        usage: &Usage,
        buffers: &Arc<Buffers>,
        device: &Arc<Device>,
    ) -> io::Result<Option<Self>> {
        let (Some(header), name) = (identity.header(), identity.name()) else { return Ok(None) };
        let (map_path, data_path) = (directory.map(&name), directory.data(&name));
        for _ in 0..ATTEMPTS {
            let map = match directory.open_file(&map_path, false) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if usage.take(map::HEADER).is_err() {
                        return Ok(None);
                    }
                    create(directory, &map_path, &header, map::length(identity.size))?;
                    continue;
                }
                map => map?,
            };
            if !lock::lock(&map, &LIFE, Mode::Shared, LIFE_PATIENCE)? || map.metadata()?.nlink() == 0 {
                continue;
            }
            if read_identity(&map)?.as_ref() != Some(identity) {
                drop(map);
                remove(directory, &name)?;
                continue;
            }
            set_length(&map, map::length(identity.size))?;
            let data = open_data(directory, &data_path)?;
            set_length(&data, identity.size)?;
            file::read_nothing_ahead(&data);
            let held = |file| Held::new(file, Some(device.clone()));
            return Ok(Some(Self {
                size: identity.size,
                seed: identity.seed(),
                locks_at_once: lock::is_local(&map),
                map: held(map),
                data: held(data),
                direct: directory.open_direct(&data_path).ok().map(held),
                buffers: buffers.clone(),
                stamps: Mutex::default(),
                device: Some(device.clone()),
            }));
        }
        Err(io::Error::other("the files of an object are removed again and again"))
    }

    /// The object of two open files, for a thread that may wait for the disk.
    pub(super) fn of_files(identity: &Identity, map: File, data: File) -> Self {
        Self {
            size: identity.size,
            seed: identity.seed(),
            map: Held::new(map, None),
            data: Held::new(data, None),
            direct: None,
            buffers: Arc::default(),
            stamps: Mutex::default(),
            device: None,
            locks_at_once: false,
        }
    }

    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Its bytes as a file.
    pub(super) fn data(&self) -> &File {
        &self.data
    }

    /// A program has opened it.
    pub fn count_open(&self) -> io::Result<()> {
        count_open(&self.map)
    }

    /// From the first to the last page of `range` that is not there, as bytes of the object; none if all are there.
    /// May wait for the disk.
    pub fn missing(&self, range: &Range<u64>) -> io::Result<Option<Range<u64>>> {
        self.missing_with(range, Patience::Waits)
    }

    /// The same without waiting for the disk: [`io::ErrorKind::WouldBlock`] if that needs it.
    pub fn missing_at_once(&self, range: &Range<u64>) -> io::Result<Option<Range<u64>>> {
        self.missing_with(range, Patience::None)
    }

    fn missing_with(&self, range: &Range<u64>, patience: Patience) -> io::Result<Option<Range<u64>>> {
        let pages = pages_around(range);
        let entries = self.entries(&pages, patience)?;
        let Some(first) = entries.iter().position(|entry| *entry == 0) else { return Ok(None) };
        let last = entries.iter().rposition(|entry| *entry == 0).unwrap_or(first);
        Ok(Some((pages.start + first as u64) * PAGE..((pages.start + last as u64 + 1) * PAGE).min(self.size)))
    }

    /// The bytes of `range`, checked. May wait for the disk. That they are used is noted by [`CachedObject::due`].
    pub fn read(&self, range: &Range<u64>) -> io::Result<DiskRead> {
        self.read_with(range, Patience::Waits)
    }

    /// The same without waiting for the disk: [`io::ErrorKind::WouldBlock`] if that needs it.
    pub fn read_at_once(&self, range: &Range<u64>) -> io::Result<DiskRead> {
        self.read_with(range, Patience::None)
    }

    fn read_with(&self, range: &Range<u64>, patience: Patience) -> io::Result<DiskRead> {
        let pages = pages_around(range);
        let entries = self.entries(&pages, patience)?;
        if entries.contains(&0) {
            return Ok(DiskRead::Missing);
        }
        let start = pages.start * PAGE;
        let length = ((pages.end * PAGE).min(self.size) - start) as usize;
        let waits = patience == Patience::None && self.direct_for(length).is_some();
        if waits && file::is_in_memory(&self.data, start, length as u64) == Some(false) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut buffer = self.buffers.take(length)?;
        let read = self.read_data(&mut buffer, start, patience)?;
        let bytes = buffer.bytes();
        // What a file that was cut short lacks stays zero, and does not match.
        bytes[read..].fill(0);
        let checked = pages.zip(entries).zip(bytes.chunks(PAGE as usize));
        let is_wrong =
            |((page, entry), content): &((u64, u64), &[u8])| !map::matches(*entry, self.seed, *page, content);
        let wrong: Vec<(u64, u64)> = checked.filter(is_wrong).map(|(page, _)| page).collect();
        if wrong.is_empty() {
            let bytes = Bytes::from_owner(buffer);
            return Ok(DiskRead::Bytes(bytes.slice((range.start - start) as usize..(range.end - start) as usize)));
        }
        if patience == Patience::None {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut damaged = 0;
        for (page, entry) in wrong {
            damaged += u64::from(self.drop_damaged(page, entry)?);
        }
        // Others were evicted during the read.
        Ok(if damaged > 0 { DiskRead::Damaged(damaged) } else { DiskRead::Missing })
    }

    /// Reads as much as there is. What is large and not in the page cache does not get there: programs have it in that of
    /// the mount.
    fn read_data(&self, buffer: &mut Buffer, start: u64, patience: Patience) -> io::Result<usize> {
        let length = buffer.bytes().len();
        if let Some(direct) = self.direct_for(length).filter(|_| patience == Patience::Waits)
            && let Some(pages) = buffer.pages()
            && let Ok(read) = read_up_to(direct, pages, start, patience)
        {
            return Ok(read.min(length));
        }
        read_up_to(&self.data, buffer.bytes(), start, patience)
    }

    /// The file for reading so many bytes past the page cache, if they are worth it.
    fn direct_for(&self, length: usize) -> Option<&File> {
        self.direct.as_deref().filter(|_| is_large(length))
    }

    /// A page does not match its entry: forgets it, unless the entry has changed, as when the page was evicted meanwhile.
    fn drop_damaged(&self, page: u64, entry: u64) -> io::Result<bool> {
        let at = map::entry_at(page);
        let same = read_number(&self.map, at)? == entry;
        if same {
            self.map.write_all_at(&[0; 8], at)?;
        }
        Ok(same)
    }

    /// Checks a page that is there, as a use of it would, but does not count as one. True if it was damaged, and is
    /// not there any more.
    pub(super) fn check(&self, page: u64, entry: u64) -> io::Result<bool> {
        if self.is_intact(page, entry)? {
            return Ok(false);
        }
        // It may have been evicted and written anew during that: while no other process can, it is looked at again. Where
        // the kernel reads the file no process can either.
        let lock = region_locks(page / PAGES_OF_RECORD..page / PAGES_OF_RECORD + 1);
        let _locked = lock::try_lock(&self.map, &lock, Mode::Exclusive)?.then(|| LockedRegion(&self.map, lock));
        let entry = read_number(&self.map, map::entry_at(page))?;
        Ok(entry != 0 && !self.is_intact(page, entry)? && self.drop_damaged(page, entry)?)
    }

    fn is_intact(&self, page: u64, entry: u64) -> io::Result<bool> {
        let mut bytes = [0; PAGE as usize];
        let bytes = &mut bytes[..self.size.saturating_sub(page * PAGE).min(PAGE) as usize];
        let read = read_up_to(&self.data, bytes, page * PAGE, Patience::Waits)?;
        bytes[read..].fill(0);
        Ok(map::matches(entry, self.seed, page, bytes))
    }

    /// Writes the whole pages in `range`, whose bytes `slices` has, with their worth; what is large goes past the
    /// page cache if there is `direct`. What was not paid for in `usage` is not written.
    pub(super) fn write(
        &self,
        range: &Range<u64>,
        slices: impl Fn(Range<u64>) -> Option<Vec<Bytes>>,
        worth: impl Fn(&Range<u64>) -> Worth,
        usage: &Usage,
        mut direct: Option<&mut Direct>,
    ) -> Result<u64, Unwritten> {
        let end = if range.end >= self.size { self.size.div_ceil(PAGE) } else { range.end / PAGE };
        let mut page = range.start.div_ceil(PAGE);
        let mut written = 0;
        while page < end {
            let pages = page..end.min((page / PAGES_OF_RECORD + 1) * PAGES_OF_RECORD);
            let bytes = slices(pages.start * PAGE..(pages.end * PAGE).min(self.size));
            let Some(bytes) = bytes.map(in_whole_pages) else { return Ok(written) };
            written += self.write_pages(&pages, &bytes, &worth, usage, direct.as_deref_mut())?;
            page = pages.end;
        }
        Ok(written)
    }

    /// Writes pages of one region. Returns how many bytes were not there before.
    fn write_pages(
        &self,
        pages: &Range<u64>,
        bytes: &[Bytes],
        worth: impl Fn(&Range<u64>) -> Worth,
        usage: &Usage,
        direct: Option<&mut Direct>,
    ) -> Result<u64, Unwritten> {
        let region = pages.start / PAGES_OF_RECORD;
        let Some(_locked) = self.lock_region(region)? else { return Ok(0) };
        let fresh = self.entries(pages, Patience::Waits)?.iter().filter(|entry| **entry == 0).count() as u64;
        let unused = read_number(&self.map, map::record_at(region))? == 0;
        let cost = fresh * PAGE + if unused { RECORD } else { 0 };
        usage.take(cost).map_err(Unwritten::Refused)?;
        let entries: Vec<u8> = pages
            .clone()
            .zip(bytes.iter().flat_map(|slice| slice.chunks(PAGE as usize)))
            .flat_map(|(page, content)| {
                let at = page * PAGE;
                map::entry_of(self.seed, page, content, worth(&(at..at + content.len() as u64))).to_le_bytes()
            })
            .collect();
        // Some of it may be written when this fails: it stays counted. The record is first, since what has none is not
        // looked at when room is made.
        self.map.write_all_at(&now_ms().to_le_bytes(), map::record_at(region))?;
        self.write_data(bytes, pages.start * PAGE, direct)?;
        self.map.write_all_at(&entries, map::entry_at(pages.start))?;
        Ok(fresh * PAGE)
    }

    fn write_data(&self, bytes: &[Bytes], mut offset: u64, direct: Option<&mut Direct>) -> io::Result<()> {
        let mut done = match (direct, &self.direct) {
            (Some(direct), Some(file)) => direct.write(file, bytes, offset)?,
            _ => 0,
        };
        for slice in bytes {
            let skipped = done.min(slice.len());
            self.data.write_all_at(&slice[skipped..], offset + skipped as u64)?;
            offset += slice.len() as u64;
            done -= skipped;
        }
        Ok(())
    }

    /// The region, locked exclusively. None while the kernel has the file, or another process writes.
    fn lock_region(&self, region: u64) -> io::Result<Option<LockedRegion<'_>>> {
        let range = region_locks(region..region + 1);
        let locked = lock::lock(&self.map, &range, Mode::Exclusive, REGION_PATIENCE)?;
        Ok(locked.then(|| LockedRegion(&self.map, range)))
    }

    /// Claims the fetch of `range`; none while another process has claimed some of it.
    pub fn claim(self: &Arc<Self>, range: &Range<u64>) -> io::Result<Option<Claim>> {
        let pages = pages_around(range);
        let locks = CLAIMS + pages.start..CLAIMS + pages.end;
        let claimed = lock::try_lock(&self.map, &locks, Mode::Exclusive)?;
        Ok(claimed.then(|| Claim { object: self.clone(), locks }))
    }

    /// The entries of pages; 0 beyond the end of a map that was cut short.
    fn entries(&self, pages: &Range<u64>, patience: Patience) -> io::Result<Vec<u64>> {
        let mut entries = Vec::with_capacity((pages.end - pages.start) as usize);
        let mut page = pages.start;
        while page < pages.end {
            let until = pages.end.min((page / PAGES_OF_RECORD + 1) * PAGES_OF_RECORD);
            let mut bytes = vec![0; (until - page) as usize * 8];
            let read = read_up_to(&self.map, &mut bytes, map::entry_at(page), patience)?;
            bytes[read..].fill(0);
            entries.extend(map::numbers(&bytes));
            page = until;
        }
        Ok(entries)
    }

    /// `range` was used: the regions in which that is to be written down, by [`CachedObject::stamp`].
    pub(super) fn due(&self, range: &Range<u64>) -> Vec<u64> {
        let (pages, now) = (pages_around(range), now_ms());
        let mut stamps = self.stamps.lock();
        let regions = pages.start / PAGES_OF_RECORD..pages.end.div_ceil(PAGES_OF_RECORD);
        regions
            .filter(|region| {
                let stamp = stamps.entry(*region).or_default();
                let is_due = now >= *stamp + STAMP_MS;
                if is_due {
                    *stamp = now;
                }
                is_due
            })
            .collect()
    }

    /// Regions have just been used. May wait for the disk.
    pub(super) fn stamp(&self, regions: &[u64]) -> io::Result<()> {
        let now = now_ms().to_le_bytes();
        regions.iter().try_for_each(|region| self.map.write_all_at(&now, map::record_at(*region)))
    }
}

/// Opens the bytes of an object. They are made only if they are not there: to ask for that waits while a filesystem is
/// frozen, which can still be read.
fn open_data(directory: &Directory, path: &Path) -> io::Result<File> {
    match directory.open_file(path, false) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => directory.open_file(path, true),
        opened => opened,
    }
}

/// Opens the files of an object as they are, to look at them or to evict parts. The map may be damaged.
pub(super) fn open_existing(directory: &Directory, name: &str) -> io::Result<(File, File)> {
    let map = directory.open_file(&directory.map(name), false)?;
    Ok((map, directory.open_file(&directory.data(name), true)?))
}

/// A program has opened the object of a map.
pub(super) fn count_open(map: &File) -> io::Result<()> {
    let opens = read_number(map, map::OPENS_AT)?;
    let numbers: Vec<u8> = [opens.saturating_add(1), now_ms()].into_iter().flat_map(u64::to_le_bytes).collect();
    map.write_all_at(&numbers, map::OPENS_AT)
}

/// The kernel is given the file of a map.
pub(super) fn note_backing(map: &File) -> io::Result<()> {
    map.write_all_at(&1u64.to_le_bytes(), map::BACKING_AT)
}

/// The identity that a map tells; none if it is damaged.
pub(super) fn read_identity(map: &File) -> io::Result<Option<Identity>> {
    let mut header = vec![0; map::OPENS_AT as usize];
    let read = read_up_to(map, &mut header, 0, Patience::Waits)?;
    Ok(Identity::parse(&header[..read]))
}

/// Removes the files of an object, unless it is open somewhere. True if they are gone.
pub(super) fn remove(directory: &Directory, name: &str) -> io::Result<bool> {
    let map_path = directory.map(name);
    let map = match directory.open_file(&map_path, false) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        map => Some(map?),
    };
    if let Some(map) = &map {
        if !lock::try_lock(map, &LIFE, Mode::Exclusive)? {
            return Ok(false);
        }
        if map.metadata()?.nlink() > 0 {
            ignore_missing(std::fs::remove_file(&map_path))?;
        }
    }
    ignore_missing(std::fs::remove_file(directory.data(name)))?;
    Ok(true)
}

fn ignore_missing(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

/// Makes a map in one step, so that no process ever finds one without its header.
fn create(directory: &Directory, path: &Path, header: &[u8], length: u64) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    directory.make(folder)?;
    let temporary = tempfile::Builder::new().prefix(NEW).tempfile_in(folder)?;
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(directory.file_mode());
    temporary.as_file().set_permissions(permissions)?;
    temporary.as_file().write_all_at(header, 0)?;
    temporary.as_file().set_len(length)?;
    match temporary.persist_noclobber(path) {
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.error),
        Ok(_) => Ok(()),
    }
}

/// Slices that end where pages end, but for the last: as they are, mostly.
fn in_whole_pages(slices: Vec<Bytes>) -> Vec<Bytes> {
    let last = slices.len().saturating_sub(1);
    match slices[..last].iter().all(|slice| (slice.len() as u64).is_multiple_of(PAGE)) {
        true => slices,
        false => Vec::from([slices.concat().into()]),
    }
}

/// The pages that have some of `range`.
fn pages_around(range: &Range<u64>) -> Range<u64> {
    range.start / PAGE..range.end.div_ceil(PAGE)
}

/// The locks of regions.
pub(super) fn region_locks(regions: Range<u64>) -> Range<u64> {
    REGION_LOCKS + regions.start..REGION_LOCKS + regions.end
}

/// Milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
