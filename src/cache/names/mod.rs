//! What stores have told of names, kept on disk: several mounts and processes share it, one after the other and at the
//! same time.
//!
//! - [`Notes`]: what was learnt of files while they were read
//! - [`Remembered`]: the names in a store, which is asked only for what is not here
//! - [`record`]: one answer as a line that proves itself; [`log`]: the file of a directory, `names/ab/HASH.log`, to which
//!   lines are appended; [`index`]: what is in it
//!
//! Nothing depends on what is here: a line that is torn, damaged or of something else is a question that is asked again.
//! So nothing is flushed to disk, and after an error nothing is written for a while.
//!
//! All of [`Names`] works on files and may take its time: it is called on threads for that.

mod index;
mod log;
mod notes;
mod record;
mod remembered;
mod ttl;

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_128;

use self::index::{Index, Place, Trust};
use self::log::{Loaded, Log};
use self::record::{Record, What, directory_of, id_of_head, id_of_list};
use crate::store::{ListPage, ListRequest, ObjectMeta};

pub use notes::Notes;
pub use record::now;
pub use remembered::{Recall, Remembered};
pub use ttl::Ttl;

/// What is kept in memory of logs: that of half a million names, or of some thousand folders.
const MAX_LOADED: u64 = 32 << 20;

/// So many bytes of a log may be of no use, however small it is.
const MAX_DEAD: u64 = 1 << 20;

/// After a failure nothing is written for so long: a full disk is not tried with every name.
const PAUSE: Duration = Duration::from_secs(30);

/// Whether so many bytes may be written, which then count as taken.
pub type Room = Box<dyn Fn(u64) -> bool + Send + Sync>;

/// What a new file takes at least, in bytes.
const NEW_FILE: u64 = 4096;

/// The logs in a folder.
pub struct Names {
    folder: PathBuf,
    mode: u32,
    room: Room,
    loaded: moka::sync::Cache<u128, Arc<Held>>,
    /// Since when nothing is written, as that failed.
    paused: Mutex<Option<Instant>>,
    /// Nothing counts any more.
    doubtful: AtomicBool,
    /// Directories that are to be forgotten, which is not yet written down: until then nothing counts.
    forgetting: AtomicUsize,
    warned: AtomicBool,
    max_dead: u64,
}

/// What was read of a log, and how much memory that takes.
#[derive(Debug)]
struct Held {
    weight: AtomicU32,
    loaded: Mutex<Loaded>,
}

/// A directory of a store.
#[derive(Clone, Copy, Debug)]
struct Directory<'a> {
    store: &'a Arc<str>,
    prefix: &'a str,
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Names").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Names {
    /// The names that are kept below `dir`, which exists, as long as there is `room`. Files get this mode: 0o600, or 0o660
    /// if the group of `dir` shares them.
    pub fn open(dir: &Path, mode: u32, room: Room) -> io::Result<Self> {
        let folder = dir.join("names");
        log::make_folder(&folder, mode)?;
        Ok(Self {
            folder,
            mode,
            room,
            loaded: moka::sync::Cache::builder()
                .max_capacity(MAX_LOADED)
                .weigher(|_, held: &Arc<Held>| held.weight.load(Ordering::Relaxed))
                .build(),
            paused: Mutex::new(None),
            doubtful: AtomicBool::new(false),
            forgetting: AtomicUsize::new(0),
            warned: AtomicBool::new(false),
            max_dead: MAX_DEAD,
        })
    }

    /// The page that answers a request, and how long ago the store gave it, if one is remembered that counts.
    fn page(
        &self,
        store: &Arc<str>,
        request: &ListRequest,
        trust: Trust,
        in_order: bool,
    ) -> Option<(ListPage, Duration)> {
        let directory = Directory { store, prefix: directory_of(&request.prefix) };
        self.read(directory, |file, index| {
            let exact = index.exact(id_of(request), trust).map(|(entry, age)| (entry.place, age));
            let cover = index.cover(request, trust, in_order);
            // The younger answer counts.
            let cover = cover.filter(|(_, age)| exact.is_none_or(|(_, older)| *age < older));
            if let Some((cover, age)) = cover
                && let Some(page) = page_within(file, &cover.pages, directory, request)?
            {
                return Some(Some((page, age)));
            }
            let Some((place, age)) = exact else { return Some(None) };
            page_at(file, place, directory, request).map(|page| Some((page, age)))
        })
        .flatten()
    }

    /// What a HEAD has told of a key, and how long ago, if that counts.
    fn object(&self, store: &Arc<str>, key: &str, trust: Trust) -> Option<(ObjectMeta, Duration)> {
        let directory = Directory { store, prefix: directory_of(key) };
        self.read(directory, |file, index| {
            let Some((entry, age)) = index.exact(id_of_head(key), trust) else { return Some(None) };
            match record_of(file, entry.place, directory)?.what {
                What::Head { object } if object.key == key => Some(object.restore().map(|object| (object, age))),
                _ => None,
            }
        })
        .flatten()
    }

    /// What is remembered of a request.
    fn recalls(&self, store: &Arc<str>, request: &ListRequest, trust: Trust, in_order: bool) -> Recall {
        let directory = Directory { store, prefix: directory_of(&request.prefix) };
        let recalled = self.read(directory, |_, index| {
            let exact = index.exact(id_of(request), trust).is_some();
            Some(match exact || index.cover(request, trust, in_order).is_some() {
                true => Recall::Answer,
                false if index.knows(&request.prefix) => Recall::Key,
                false => Recall::Nothing,
            })
        });
        recalled.unwrap_or(Recall::Nothing)
    }

    /// Looks into the log of a directory as it is now. `look` returns none if what it found is not what the index says:
    /// then all is read anew, once.
    fn read<T>(&self, directory: Directory<'_>, look: impl Fn(&File, &Index) -> Option<T>) -> Option<T> {
        if self.doubtful.load(Ordering::Relaxed) || self.forgetting.load(Ordering::SeqCst) > 0 {
            return None;
        }
        let outcome = self.loaded(directory, |file, loaded| {
            for _ in 0..2 {
                loaded.refresh(file, || directory.index())?;
                match look(file, &loaded.index) {
                    Some(found) => return Ok(Some(found)),
                    None => loaded.distrust(),
                }
            }
            Ok(None)
        });
        outcome.unwrap_or_else(|error| {
            self.warn(&error);
            None
        })
    }

    fn loaded<T>(
        &self,
        directory: Directory<'_>,
        with: impl FnOnce(&File, &mut Loaded) -> io::Result<Option<T>>,
    ) -> io::Result<Option<T>> {
        let Some(file) = self.log(directory).open()? else { return Ok(None) };
        let fresh = || Arc::new(Held { weight: AtomicU32::new(0), loaded: Mutex::new(Loaded::new(directory.index())) });
        let hash = directory.hash();
        let held = self.loaded.get_with(hash, fresh);
        let mut loaded = held.loaded.lock();
        let outcome = with(&file, &mut loaded);
        let weight = u32::try_from(loaded.index.weight()).unwrap_or(u32::MAX);
        drop(loaded);
        if held.weight.swap(weight, Ordering::Relaxed) != weight {
            // It is weighed when it is put in.
            self.loaded.insert(hash, held);
        }
        outcome
    }

    /// Writes a record down, and the log anew if it is time for that.
    fn write(&self, store: &Arc<str>, record: &Record) {
        let is_paused = self.paused.lock().is_some_and(|since| since.elapsed() < PAUSE);
        if is_paused || self.doubtful.load(Ordering::Relaxed) {
            return;
        }
        let directory = Directory { store, prefix: record.directory() };
        let Some(line) = record.encode() else { return };
        let log = self.log(directory);
        let new = if log.exists() { 0 } else { NEW_FILE };
        if !(self.room)(line.len() as u64 + new) {
            return;
        }
        let outcome = log.append(&line).and_then(|()| self.compact_if_due(directory, &log));
        if let Err(error) = outcome {
            *self.paused.lock() = Some(Instant::now());
            self.warn(&error);
        }
    }

    fn compact_if_due(&self, directory: Directory<'_>, log: &Log) -> io::Result<()> {
        let done = self.loaded(directory, |file, loaded| {
            loaded.refresh(file, || directory.index())?;
            if loaded.is_mostly_dead(self.max_dead) {
                log.compact(loaded, || directory.index())?;
            }
            Ok(Some(()))
        });
        done.map(drop)
    }

    /// A directory is going to be forgotten.
    fn will_forget(&self) {
        self.forgetting.fetch_add(1, Ordering::SeqCst);
    }

    /// It is by now.
    fn has_forgotten(&self) {
        self.forgetting.fetch_sub(1, Ordering::SeqCst);
    }

    /// What is remembered of a directory until now does not count any more, for any mount.
    fn forget(&self, store: &Arc<str>, prefix: &str) {
        let directory = Directory { store, prefix };
        let log = self.log(directory);
        let line = Record::of_forget(store, record::now(), prefix).encode();
        if let Err(error) = line.map_or(Ok(()), |line| log.append_surely(&line)) {
            // Other mounts would not know what to forget.
            self.doubt();
            self.warn(&error);
        }
    }

    /// Counts nothing any more: something was to be forgotten, and is not.
    fn doubt(&self) {
        self.doubtful.store(true, Ordering::Relaxed);
    }

    fn log(&self, directory: Directory<'_>) -> Log {
        let name = format!("{:032x}", directory.hash());
        Log::new(self.folder.join(&name[..2]).join(format!("{name}.log")), self.mode)
    }

    /// One warning is enough: what follows is the same.
    fn warn(&self, error: &io::Error) {
        if !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, folder = %self.folder.display(), "names cannot be remembered on disk");
        }
    }
}

/// Removes the logs that have not been written to for longest, until the others take no more than `allowed` bytes.
pub fn trim(dir: &Path, allowed: u64) -> io::Result<()> {
    let mut logs = Vec::new();
    for folder in entries(&dir.join("names"))? {
        for path in entries(&folder)? {
            let Ok(found) = path.symlink_metadata() else { continue };
            logs.push((found.modified()?, found.blocks() * 512, path));
        }
    }
    logs.sort_by_key(|(written, ..)| std::cmp::Reverse(*written));
    let mut kept = 0;
    for (_, bytes, path) in logs {
        kept += bytes;
        if kept > allowed {
            std::fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// What is in a folder; nothing if there is none.
fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match std::fs::read_dir(folder) {
        Ok(found) => found.map(|entry| entry.map(|entry| entry.path())).collect(),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

impl Directory<'_> {
    fn hash(self) -> u128 {
        xxh3_128(&[self.store.as_bytes(), b"\0", self.prefix.as_bytes()].concat())
    }

    fn index(self) -> Index {
        Index::new(self.store.clone(), self.prefix)
    }
}

fn id_of(request: &ListRequest) -> u128 {
    let ListRequest { prefix, delimited, max_keys, continuation } = request;
    id_of_list(prefix, *delimited, *max_keys, continuation.as_deref())
}

/// The record at a place, if it is one of the directory.
fn record_of(file: &File, place: Place, directory: Directory<'_>) -> Option<Record> {
    log::record_at(file, place).filter(|record| record.store == **directory.store)
}

/// The answer to exactly this request at a place.
fn page_at(file: &File, place: Place, directory: Directory<'_>, request: &ListRequest) -> Option<ListPage> {
    match record_of(file, place, directory)?.what {
        What::List { prefix, delimited, max_keys, continuation, page }
            if (&prefix, delimited, max_keys, &continuation)
                == (&request.prefix, request.delimited, request.max_keys, &request.continuation) =>
        {
            page.restore()
        }
        _ => None,
    }
}

/// What pages of the listing of a directory show of the names that a request asks for; nothing if they are too many for
/// its answer.
fn page_within(
    file: &File,
    pages: &[Place],
    directory: Directory<'_>,
    request: &ListRequest,
) -> Option<Option<ListPage>> {
    let mut answer = ListPage::default();
    for place in pages {
        let What::List { prefix, delimited: true, page, .. } = record_of(file, *place, directory)?.what else {
            return None;
        };
        if prefix != directory.prefix {
            return None;
        }
        let page = page.restore()?;
        answer.objects.extend(page.objects.into_iter().filter(|object| object.key.starts_with(&request.prefix)));
        answer.prefixes.extend(page.prefixes.into_iter().filter(|prefix| prefix.starts_with(&request.prefix)));
    }
    let whole = answer.objects.len() + answer.prefixes.len() <= usize::from(request.max_keys);
    Some(whole.then_some(answer))
}

#[cfg(test)]
mod tests;
