//! What is in the cache, as a whole: listed, checked, cleared, by `fitsfs cache`, while mounts use it.

use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use serde::Serialize;

use super::evict::{self, Kind, Seen};
use super::map::{PAGE, PAGES_OF_RECORD, REGION};
use super::usage::Usage;
use super::{CachedObject, Directory};

/// An object version in the cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// The identity of its store.
    pub store: String,
    /// Its key.
    pub key: String,
    /// Its length in bytes.
    pub size: u64,
    /// How many of them are there.
    pub bytes: u64,
    /// When it was last used, in ms since 1970; 0 if nothing of it is there.
    pub last_used_ms: u64,
    /// How often programs have opened it.
    pub opens: u64,
    /// Whether a program has it open, or has had it open just now.
    pub open: bool,
}

/// What of the keys is meant: those that contain one of these, where `*` stands for anything; all if there are none.
#[derive(Clone, Debug, Default)]
pub struct Patterns(pub Vec<String>);

impl Patterns {
    /// Whether all keys are meant.
    pub fn is_all(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a key is meant.
    pub fn takes(&self, key: &str) -> bool {
        self.is_all() || self.0.iter().any(|pattern| contains(key, pattern))
    }
}

/// Whether the parts of a pattern between its asterisks come in a text one after the other.
fn contains(text: &str, pattern: &str) -> bool {
    let found = pattern.split('*').try_fold(text, |rest, part| rest.find(part).map(|at| &rest[at + part.len()..]));
    found.is_some()
}

/// What is there, as it was used last.
pub fn list(directory: &Directory, wanted: &Patterns) -> io::Result<Vec<Listed>> {
    let mut list = Vec::new();
    each(directory, |_, seen| {
        if let Some(seen) = seen.filter(|seen| wanted.takes(&seen.identity.key)) {
            list.push(listed(seen)?);
        }
        Ok(())
    })?;
    list.sort_by(|a, b| b.last_used_ms.cmp(&a.last_used_ms).then_with(|| a.key.cmp(&b.key)));
    Ok(list)
}

/// Looks at all objects by name; none of those whose map is damaged. One that goes away meanwhile is not there.
fn each(directory: &Directory, mut with: impl FnMut(&str, Option<Seen>) -> io::Result<()>) -> io::Result<()> {
    for (name, _) in evict::files(directory, &mut 0)?.into_iter().filter(|(_, kind)| *kind == Kind::Map) {
        match evict::see(directory, &name).and_then(|seen| with(&name, seen)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn listed(Seen { identity, object, opens, opened, is_open }: Seen) -> io::Result<Listed> {
    let (mut bytes, mut last_used_ms) = (0, opened);
    for record in object.records() {
        let (region, record) = record?;
        bytes += object.bytes_of(region, &record);
        last_used_ms = last_used_ms.max(record[0]);
    }
    let size = object.size();
    Ok(Listed { store: identity.store, key: identity.key, size, bytes, last_used_ms, opens, open: is_open })
}

impl CachedObject {
    /// How many of its bytes are there.
    pub fn present(&self) -> io::Result<u64> {
        self.records().map(|record| record.map(|(region, record)| self.bytes_of(region, &record))).sum()
    }

    fn bytes_of(&self, region: u64, record: &[u64]) -> u64 {
        pages_of(region, record).map(|(page, _)| self.size().saturating_sub(page * PAGE).min(PAGE)).sum()
    }
}

/// The pages of a region that are there, with their entries.
fn pages_of(region: u64, record: &[u64]) -> impl Iterator<Item = (u64, u64)> {
    let entries = (region * PAGES_OF_RECORD..).zip(record.iter().skip(1).copied());
    entries.filter(|(_, entry)| *entry != 0)
}

/// What was found damaged: it is forgotten, and fetched again when it is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "damaged")]
pub enum Damage {
    /// Some pages of an object.
    Pages {
        /// The identity of its store.
        store: String,
        /// Its key.
        key: String,
        /// How many.
        pages: u64,
    },
    /// A map, which would have told the object.
    Map {
        /// Its file.
        path: PathBuf,
    },
}

/// What a check has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// How many objects were looked at.
    pub files: u64,
    /// How many bytes were checked.
    pub bytes: u64,
    /// What was damaged.
    pub damage: Vec<Damage>,
}

/// Checks every page that is there. Tells `progress` how many bytes were checked, now and then.
pub fn verify(directory: &Directory, mut progress: impl FnMut(u64)) -> io::Result<Verified> {
    let usage = Usage::open(directory, 0, None)?;
    let mut verified = Verified::default();
    each(directory, |name, seen| {
        verified.files += 1;
        let Some(seen) = seen else {
            usage.give(evict::remove(directory, name)?.unwrap_or(0));
            verified.damage.push(Damage::Map { path: directory.shown(&directory.map(name)) });
            return Ok(());
        };
        let mut pages = 0;
        for record in seen.object.records() {
            let (region, record) = record?;
            pages += check(&seen.object, region, &record)?;
            verified.bytes += seen.object.bytes_of(region, &record);
            progress(verified.bytes);
            if !seen.is_open {
                let_go(&seen.object, region);
            }
        }
        if pages > 0 {
            let Seen { identity, .. } = seen;
            verified.damage.push(Damage::Pages { store: identity.store, key: identity.key, pages });
        }
        Ok(())
    })?;
    Ok(verified)
}

/// Checks the pages of a region. Returns how many were damaged.
fn check(object: &CachedObject, region: u64, record: &[u64]) -> io::Result<u64> {
    let damaged = pages_of(region, record).map(|(page, entry)| object.check(page, entry).map(u64::from));
    damaged.sum()
}

/// What was read for a check need not stay in memory, where it would take the place of what programs use.
fn let_go(object: &CachedObject, region: u64) {
    let (at, length) = ((region * REGION) as libc::off_t, REGION as libc::off_t);
    // SAFETY: the descriptor is open; the call takes no pointers. It is an advice, whose failure changes nothing.
    unsafe { libc::posix_fadvise(object.data().as_raw_fd(), at, length, libc::POSIX_FADV_DONTNEED) };
}

/// What was cleared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cleared {
    /// How many objects are gone.
    pub files: u64,
    /// How many bytes are free by that.
    pub bytes: u64,
    /// How many objects programs have open: they are emptied as far as their bytes are not in use.
    pub in_use: u64,
    /// How many bytes of them are still there.
    pub left: u64,
}

/// Evicts all objects whose keys are meant, and, if all are, the names that are remembered. None while another process
/// evicts, and does not come to its end.
pub fn clear(directory: &Directory, wanted: &Patterns) -> io::Result<Option<Cleared>> {
    let usage = Usage::open(directory, 0, None)?;
    let Some(_eviction) = evict::begin(&usage)? else { return Ok(None) };
    let mut cleared = Cleared::default();
    each(directory, |name, seen| {
        let meant = seen.as_ref().map_or(wanted.is_all(), |seen| wanted.takes(&seen.identity.key));
        if meant { clear_one(directory, name, seen, &mut cleared) } else { Ok(()) }
    })?;
    usage.give(cleared.bytes);
    if wanted.is_all() {
        cleared.bytes += forget_names(directory)?;
    }
    Ok(Some(cleared))
}

fn clear_one(directory: &Directory, name: &str, seen: Option<Seen>, cleared: &mut Cleared) -> io::Result<()> {
    if let Some(bytes) = evict::remove(directory, name)? {
        cleared.files += 1;
        cleared.bytes += bytes;
        return Ok(());
    }
    cleared.in_use += 1;
    let Some(Seen { object, .. }) = seen else { return Ok(()) };
    for record in object.records() {
        cleared.bytes += object.evict(record?.0, u64::MAX, true)?;
    }
    cleared.left += object.present()?;
    Ok(())
}

/// Removes what mounts remember of the names in their buckets. Returns the bytes that are free by that.
fn forget_names(directory: &Directory) -> io::Result<u64> {
    let mut bytes = 0;
    let mut folders = Vec::from([directory.base().join("names")]);
    while let Some(folder) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|ending| ending == "log") {
                bytes += evict::taken(&path);
                std::fs::remove_file(&path)?;
            } else if path.is_dir() {
                folders.push(path);
            }
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
