//! What is evicted when the cache is full: the regions that have been unused for longest, and headers last.
//!
//! Every region of a cached object has the time of its last use in its map. To find the oldest ones all maps are looked
//! through, which also tells what the cache really takes. That is done for many evictions at once: a list of candidates
//! is kept, and each is looked at again before it is evicted.

use std::collections::BinaryHeap;
use std::ffi::OsStr;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::Directory;
use super::file;
use super::lock::{self, Mode};
use super::map::{self, Identity, PAGE, RECORD, Worth};
use super::object::{self, CachedObject, LIFE};
use super::usage::{Eviction, Usage};
use crate::cache::names;

/// Of data and of headers so many candidates are looked for at once: those of 200 GB.
const MAX_CANDIDATES: usize = 100_000;

/// A list of candidates is good for so much of the quota: what was written since it was made is younger than these.
const LIST_SHARE: u64 = 8;

/// Headers are evicted last, as long as they are no more than this share of the quota: they are small, and all programs
/// need them.
const HEADERS_SHARE: u64 = 4;

/// What was opened so many times is kept so many times longer than what was opened once.
const MAX_OPENS: u64 = 8;

/// An eviction frees this share of what is there, so that the next one is not due at once.
const FREED_SHARE: u64 = 256;

/// What is remembered of names may take this share of the quota.
const NAMES_SHARE: u64 = 16;

/// Files that have been in the making for so long never will be made.
const LEFT_OVER_AGE: Duration = Duration::from_secs(3600);

/// How long to wait for another process that evicts, and how often to look.
const PATIENCE: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Something that can be evicted. What is evicted first comes first in order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    /// Objects that are not open go before others.
    is_open: bool,
    /// When it was last used, in ms since 1970, as if what is opened often had been used later.
    rank: u64,
    /// When it was last used.
    stamp: u64,
    name: String,
    region: u64,
    /// Whether headers are evicted as well.
    headers: bool,
    /// Bytes that are free after that.
    bytes: u64,
}

/// What is there.
#[derive(Debug, Default)]
struct Census {
    /// When it was made, in ms since 1970.
    now: u64,
    /// Bytes on the disk.
    bytes: u64,
    /// Those of them that are headers.
    header_bytes: u64,
    /// The oldest ones of each.
    data: BinaryHeap<Candidate>,
    headers: BinaryHeap<Candidate>,
}

impl Census {
    fn note(&mut self, candidate: Candidate) {
        if candidate.headers {
            self.header_bytes += candidate.bytes;
        }
        let heap = if candidate.headers { &mut self.headers } else { &mut self.data };
        heap.push(candidate);
        if heap.len() > MAX_CANDIDATES {
            heap.pop();
        }
    }

    /// The candidates in the order in which they are evicted, up to a share of `quota`.
    fn list(self, quota: u64) -> Vec<Candidate> {
        let headers_last = self.header_bytes <= quota / HEADERS_SHARE;
        let mut list: Vec<_> = self.data.into_vec();
        list.extend(self.headers);
        list.sort_by(|a, b| (headers_last && a.headers).cmp(&(headers_last && b.headers)).then_with(|| a.cmp(b)));
        let mut bytes = 0;
        list.retain(|candidate| {
            let within = bytes <= quota / LIST_SHARE;
            bytes += candidate.bytes;
            within
        });
        list
    }
}

/// Evicts what is worth least.
#[derive(Debug, Default)]
pub struct Evictor {
    /// The best candidate last.
    candidates: Vec<Candidate>,
}

impl Evictor {
    /// Makes room for `bytes`, and some more if there is none. Returns what was freed: nothing while another process
    /// evicts, which it waits for a moment.
    pub fn make_room(&mut self, directory: &Directory, usage: &Usage, bytes: u64) -> io::Result<u64> {
        let Some(eviction) = begin(usage)? else { return Ok(0) };
        if usage.shortage(bytes).is_none() {
            self.count(directory, usage, &eviction)?;
        }
        let spare = bytes + usage.used().unwrap_or_default().min(usage.quota()) / FREED_SHARE;
        let is_short = || usage.shortage(bytes).is_some_and(|shortage| shortage > 0);
        let mut freed = 0;
        if is_short() {
            freed += self.free(directory, usage, spare);
        }
        if is_short() {
            self.count(directory, usage, &eviction)?;
            freed += self.free(directory, usage, spare);
        }
        Ok(freed)
    }

    /// Counts what is there, and notes what can be evicted.
    pub fn count(&mut self, directory: &Directory, usage: &Usage, eviction: &Eviction<'_>) -> io::Result<()> {
        usage.settle();
        if let Err(error) = names::trim(directory.base(), usage.quota() / NAMES_SHARE) {
            tracing::debug!(%error, "cannot evict names");
        }
        let before = usage.used();
        let census = census(directory)?;
        usage.correct(before, census.bytes, eviction);
        self.candidates = census.list(usage.quota());
        self.candidates.reverse();
        Ok(())
    }

    /// Evicts the best candidates until `bytes` can be taken.
    fn free(&mut self, directory: &Directory, usage: &Usage, bytes: u64) -> u64 {
        let wanted = usage.shortage(bytes).unwrap_or_default();
        let mut freed = 0;
        while freed < wanted
            && let Some(candidate) = self.candidates.pop()
        {
            match evict(directory, &candidate) {
                Ok(bytes) => {
                    usage.give(bytes);
                    freed += bytes;
                }
                Err(error) => tracing::debug!(name = candidate.name, %error, "cannot evict"),
            }
        }
        freed
    }
}

/// The right to evict, or none if another process keeps it: what it frees is for all.
pub(super) fn begin(usage: &Usage) -> io::Result<Option<Eviction<'_>>> {
    let began = Instant::now();
    loop {
        match usage.evict()? {
            None if began.elapsed() < PATIENCE => std::thread::sleep(LOOK_AGAIN),
            eviction => return Ok(eviction),
        }
    }
}

/// Evicts a part of an object, and its files once nothing is left in them. Returns the bytes that are free after that.
fn evict(directory: &Directory, candidate: &Candidate) -> io::Result<u64> {
    let Seen { object, is_open, .. } = match see(directory, &candidate.name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        seen => match seen? {
            Some(seen) => seen,
            None => return Ok(remove(directory, &candidate.name)?.unwrap_or(0)),
        },
    };
    if !candidate.is_open && is_open {
        return Ok(0);
    }
    if object.was_backing()? {
        let is_used = object.is_used_since(&object.record(candidate.region)?, candidate.stamp)?;
        drop(object);
        return Ok(if is_used { 0 } else { remove(directory, &candidate.name)?.unwrap_or(0) });
    }
    let freed = object.evict(candidate.region, candidate.stamp, candidate.headers)?;
    let is_empty = freed > 0 && object.next_region(0)?.is_none();
    drop(object);
    Ok(freed + if is_empty { remove(directory, &candidate.name)?.unwrap_or(0) } else { 0 })
}

/// Removes the files of an object. Returns the bytes that are free after that; none while it is open somewhere.
pub(super) fn remove(directory: &Directory, name: &str) -> io::Result<Option<u64>> {
    let bytes = taken(&directory.map(name)) + taken(&directory.data(name));
    Ok(object::remove(directory, name)?.then_some(bytes))
}

/// What a file takes on the disk.
pub(super) fn taken(path: &Path) -> u64 {
    path.symlink_metadata().map_or(0, |found| found.blocks() * 512)
}

/// Looks through all maps.
fn census(directory: &Directory) -> io::Result<Census> {
    let mut census = Census { now: object::now_ms(), ..Census::default() };
    for (name, kind) in files(directory, &mut census.bytes)? {
        let looked = match kind {
            Kind::Map => look(directory, &name, &mut census),
            // Its map is removed first: what is left of a removal that did not come to its end.
            Kind::Data if !directory.map(&name).exists() => remove(directory, &name).map(drop),
            Kind::Data => Ok(()),
        };
        if let Err(error) = looked {
            tracing::debug!(name, %error, "cannot look at a cached object");
        }
    }
    Ok(census)
}

/// What the name of a file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Map,
    Data,
}

/// The files of all objects by name; adds what they, their folders and names take to `bytes`. What others keep in the
/// directory is left alone.
pub(super) fn files(directory: &Directory, bytes: &mut u64) -> io::Result<Vec<(String, Kind)>> {
    let mut found = Vec::new();
    let mut folders = vec![directory.objects(), directory.base().join("names")];
    *bytes += taken(&directory.usage()) + folders.iter().map(|folder| taken(folder)).sum::<u64>();
    while let Some(folder) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let Ok(metadata) = entry.metadata() else { continue };
            *bytes += metadata.blocks() * 512;
            let path = entry.path();
            if metadata.is_dir() {
                folders.push(path);
                continue;
            }
            if is_left_over(&metadata, &entry.file_name()) {
                std::fs::remove_file(&path)?;
                continue;
            }
            let kind = match path.extension().and_then(|ending| ending.to_str()) {
                Some("map") => Kind::Map,
                Some("data") => Kind::Data,
                _ => continue,
            };
            found.extend(path.file_stem().and_then(|name| name.to_str()).map(|name| (name.to_owned(), kind)));
        }
    }
    Ok(found)
}

/// Whether a file was being made by a process that has crashed: it would have got its name within moments.
fn is_left_over(metadata: &Metadata, name: &OsStr) -> bool {
    let age = metadata.modified().ok().and_then(|made| made.elapsed().ok());
    name.as_encoded_bytes().starts_with(object::NEW.as_bytes()) && age.is_some_and(|age| age > LEFT_OVER_AGE)
}

/// Notes what of an object can be evicted.
fn look(directory: &Directory, name: &str, census: &mut Census) -> io::Result<()> {
    let Some(seen) = see(directory, name)? else { return remove(directory, name).map(drop) };
    seen.object.records().try_for_each(|record| {
        let (region, record) = record?;
        note(&record, region, name, &seen, census);
        Ok(())
    })
}

/// Notes what of a region can be evicted.
fn note(record: &[u64], region: u64, name: &str, seen: &Seen, census: &mut Census) {
    let count = |worth| {
        let pages = record.iter().skip(1).filter(|entry| **entry != 0 && map::worth_of(**entry) == worth);
        pages.count() as u64 * PAGE
    };
    let (data, headers) = (count(Worth::Data), count(Worth::Header));
    // What the kernel reads by itself is used without a trace, but for its being opened.
    let stamp = record.first().copied().unwrap_or_default().max(seen.opened);
    let rank = census.now - census.now.saturating_sub(stamp) / seen.opens.clamp(1, MAX_OPENS);
    let candidate = |headers: bool, bytes: u64| Candidate {
        is_open: seen.is_open,
        rank,
        stamp,
        name: name.to_owned(),
        region,
        headers,
        bytes,
    };
    if data > 0 {
        census.note(candidate(false, data));
    }
    if headers > 0 || data == 0 {
        census.note(candidate(true, headers + RECORD));
    }
}

/// An object as its files show it.
pub(super) struct Seen {
    pub identity: Identity,
    pub object: CachedObject,
    /// How often a program has opened it.
    pub opens: u64,
    /// When one did last, in ms since 1970.
    pub opened: u64,
    /// Whether a program has it open, or has had it open just now.
    pub is_open: bool,
}

/// Looks at the files of an object; none if the map is damaged, or is that of another object.
pub(super) fn see(directory: &Directory, name: &str) -> io::Result<Option<Seen>> {
    let (map, data) = object::open_existing(directory, name)?;
    let Some(identity) = object::read_identity(&map)?.filter(|identity| identity.name() == name) else {
        return Ok(None);
    };
    let is_open = lock::is_locked(&map, &LIFE, Mode::Exclusive)?;
    let opens = file::read_number(&map, map::OPENS_AT)?;
    let opened = file::read_number(&map, map::OPENED_AT)?;
    let object = CachedObject::of_files(&identity, map, data);
    Ok(Some(Seen { identity, object, opens, opened, is_open }))
}
