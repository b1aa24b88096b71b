//! The cache on disk: what was fetched once is not fetched again, by no mount, process or container that shares it.
//!
//! One sparse file per object version holds its bytes, a map beside it tells which pages are there, with a checksum for
//! each ([`map`]). Pages are written when their fetch is complete, by a thread that nobody waits for, and checked
//! whenever they are read: what does not match is not there, and is fetched again. So nothing is ever synced, and a crash
//! costs at most what was being written.
//!
//! - [`directory`]: where the files are, and who may write them
//! - [`object`]: one object version: read, write, claim; [`region`]: look at what is there, give up
//! - [`lock`]: locks between processes, which are all that they have in common beside the files
//! - [`backing`]: complete files, which the kernel may read by itself
//! - [`mod@file`]: what the standard library lacks for these; [`wait`]: where to wait for the disk
//! - [`usage`]: what the directory takes; [`evict`]: what is given up when that is too much
//! - [`writer`]: the thread; [`direct`]: how it writes what is large; [`buffers`]: memory for that, and for reading
//! - [`catalog`]: the whole of it, for people who look at it or clear it
//!
//! Whatever fails here costs a fetch and never a read: a full disk, a directory that cannot be written, a damaged file.

mod backing;
mod buffers;
pub mod catalog;
mod direct;
mod directory;
mod evict;
mod file;
mod lock;
mod map;
mod object;
mod region;
mod trust;
mod usage;
mod wait;
mod writer;

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use crate::metrics::{DiskSnapshot, Metrics};
use crate::store::ObjectMeta;
use backing::Checked;
use buffers::Buffers;
use map::Identity;
use usage::Usage;
use writer::Writer;

pub use backing::Backing;
pub use buffers::PIECE;
pub use directory::{Directory, Unfit, default_place};
pub use map::{PAGE, Worth};
pub use object::{CachedObject, Claim, Found};
pub use writer::Fetched;

/// Objects that nobody reads stay open for so long, and so many of them: their files need not be opened again. No longer,
/// since what is open is given up last, whether programs come back to it or not.
const LINGER: Duration = Duration::from_millis(100);
const MAX_OPEN: u64 = 128;

/// Once no program has a file open, what is kept for the next one is let go after so long.
const REST: Duration = Duration::from_secs(1);

/// While another process fetches what is wanted here it is looked for on disk this often, and no longer than this:
/// who fetches may be slow, or stopped.
const LOOK_AGAIN: Duration = Duration::from_millis(4);
const CLAIM_PATIENCE: Duration = Duration::from_millis(1500);

/// How long a mount that ends waits for what is to be written: a disk may be stuck.
const FINISH_PATIENCE: Duration = Duration::from_secs(10);

/// The cache of a mount.
#[derive(Debug)]
pub struct DiskCache {
    directory: Directory,
    store_id: String,
    usage: Arc<Usage>,
    open: moka::future::Cache<String, Arc<CachedObject>>,
    writer: Writer,
    checked: Arc<Checked>,
    buffers: Arc<Buffers>,
    metrics: Arc<Metrics>,
    complained: AtomicBool,
    /// How often no program had a file open any more.
    rests: AtomicU64,
}

impl DiskCache {
    /// The cache in `directory` of objects in the store `store_id`, of which at most `quota` bytes may be used. What
    /// waits to be written holds at most `max_waiting` bytes of memory.
    pub fn open(
        directory: Directory,
        store_id: &str,
        quota: u64,
        max_waiting: u64,
        metrics: Arc<Metrics>,
    ) -> io::Result<Arc<Self>> {
        let usage = Arc::new(Usage::open(&directory, quota)?);
        usage.begin(&directory)?;
        let writer = Writer::start(directory.clone(), usage.clone(), metrics.clone(), max_waiting)?;
        if usage.used().is_none() {
            writer.make_room();
        }
        Ok(Arc::new(Self {
            directory,
            store_id: store_id.to_owned(),
            usage,
            open: moka::future::Cache::builder().max_capacity(MAX_OPEN).time_to_idle(LINGER).build(),
            writer,
            checked: Arc::default(),
            buffers: Arc::default(),
            metrics,
            complained: AtomicBool::new(false),
            rests: AtomicU64::new(0),
        }))
    }

    /// For whoever else writes to the directory: takes bytes of its quota.
    pub fn room(&self) -> impl Fn(u64) -> bool + Send + Sync + use<> {
        let usage = self.usage.clone();
        move |bytes| usage.take(bytes).is_ok()
    }

    /// What the directory takes.
    pub fn snapshot(&self) -> DiskSnapshot {
        DiskSnapshot {
            directory: Some(self.directory.root().display().to_string()),
            quota_bytes: self.usage.quota(),
            used_bytes: self.usage.used(),
            waiting_bytes: self.writer.waiting(),
        }
    }

    /// The files of an object version, opened or made. None where there can be none.
    pub async fn object(self: &Arc<Self>, object: &ObjectMeta) -> Option<Arc<CachedObject>> {
        let identity = Identity::new(&self.store_id, object);
        let cache = self.clone();
        self.open.optionally_get_with(identity.name(), async move { cache.open_files(identity).await }).await
    }

    async fn open_files(self: Arc<Self>, identity: Identity) -> Option<Arc<CachedObject>> {
        let cache = self.clone();
        let open = move || CachedObject::open(&cache.directory, &identity, &cache.usage, &cache.buffers);
        match tokio::task::spawn_blocking(open).await.ok()? {
            Ok(Some(opened)) => Some(Arc::new(opened)),
            // What there is no room for may have some once the writer has evicted.
            Ok(None) => {
                self.writer.make_room();
                None
            }
            Err(error) => {
                self.complain(&error);
                None
            }
        }
    }

    /// The bytes of `range` if all of them are there.
    pub async fn read(&self, object: &Arc<CachedObject>, range: Range<u64>) -> Option<Bytes> {
        let found = match wait::here(range.end - range.start) {
            Some(_alone) => object.read(&range),
            None => match object.read_at_once(&range) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let object = object.clone();
                    wait::elsewhere(move || object.read(&range)).await
                }
                found => found,
            },
        };
        match found {
            Ok(Found::Bytes(bytes)) => {
                self.metrics.disk_bytes_read.add(bytes.len() as u64);
                Some(bytes)
            }
            Ok(Found::Missing) => None,
            Ok(Found::Damaged(pages)) => {
                self.metrics.disk_damaged_pages.add(pages);
                tracing::warn!(pages, "the cache was damaged; what was is fetched again");
                None
            }
            Err(error) => {
                self.complain(&error);
                None
            }
        }
    }

    /// The first range within `range` that is to be fetched, none if all is there; and the right to fetch it. While
    /// another process has that, waits until it is done, but not for long.
    pub async fn missing(&self, object: &Arc<CachedObject>, range: &Range<u64>) -> Option<(Range<u64>, Option<Claim>)> {
        let began = tokio::time::Instant::now();
        loop {
            let missing = self.look(object, range).await.unwrap_or_else(|error| {
                self.complain(&error);
                Some(range.clone())
            })?;
            let missing = missing.start.max(range.start)..missing.end.min(range.end);
            match object.claim(&missing) {
                // Who had the claim before may have written it since.
                Ok(Some(claim)) => match self.look(object, range).await {
                    Ok(None) => return None,
                    _ => return Some((missing, Some(claim))),
                },
                Ok(None) if began.elapsed() < CLAIM_PATIENCE => tokio::time::sleep(LOOK_AGAIN).await,
                Ok(None) | Err(_) => return Some((missing, None)),
            }
        }
    }

    /// Whether some of `range` is not there.
    pub fn lacks(&self, object: &CachedObject, range: &Range<u64>) -> bool {
        object.missing(range).is_ok_and(|missing| missing.is_some())
    }

    /// How many bytes of an object version are there. Makes no files for it.
    pub async fn present(&self, object: &ObjectMeta) -> io::Result<u64> {
        let (directory, name) = (self.directory.clone(), Identity::new(&self.store_id, object).name());
        let look = move || match evict::see(&directory, &name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            seen => seen?.map_or(Ok(0), |seen| seen.object.present()),
        };
        tokio::task::spawn_blocking(look).await.map_err(io::Error::other)?
    }

    /// A program has opened the object.
    pub fn count_open(&self, object: &CachedObject) {
        object.count_open().unwrap_or_else(|error| self.complain(&error));
    }

    /// The file of an object version for the kernel to read, if it is complete and was checked.
    pub fn backing(&self, object: &ObjectMeta) -> Option<Backing> {
        let name = Identity::new(&self.store_id, object).name();
        self.checked.backing(&self.directory, &name, object.size).unwrap_or_else(|error| {
            tracing::debug!(name, %error, "cannot hand a file to the kernel");
            None
        })
    }

    /// Checks a file, so that the kernel may read it the next time. In the background, and once for each.
    pub fn check(&self, object: &ObjectMeta, files: Arc<CachedObject>) {
        let name = Identity::new(&self.store_id, object).name();
        let (checked, directory) = (self.checked.clone(), self.directory.clone());
        drop(tokio::task::spawn_blocking(move || {
            if let Err(error) = checked.check(&directory, &name, &files) {
                tracing::debug!(name, %error, "cannot check a file");
            }
        }));
    }

    /// No program has a file open: soon lets go of memory and files.
    pub async fn rest(&self) {
        let call = self.rests.fetch_add(1, Ordering::Relaxed) + 1;
        tokio::time::sleep(REST).await;
        // The last one that came does it.
        if self.rests.load(Ordering::Relaxed) == call {
            self.buffers.trim();
            self.open.run_pending_tasks().await;
        }
    }

    /// Whether all of a range is there.
    pub async fn has(&self, object: &Arc<CachedObject>, range: &Range<u64>) -> bool {
        matches!(self.look(object, range).await, Ok(None))
    }

    /// What is missing of a range.
    async fn look(&self, object: &Arc<CachedObject>, range: &Range<u64>) -> io::Result<Option<Range<u64>>> {
        if let Some(_alone) = wait::here(0) {
            return object.missing(range);
        }
        match object.missing_at_once(range) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let (object, range) = (object.clone(), range.clone());
                wait::elsewhere(move || object.missing(&range)).await
            }
            missing => missing,
        }
    }

    /// Takes what was fetched, to be written soon, or never if that is too much.
    pub fn keep(&self, fetched: Fetched) {
        self.writer.write(fetched);
    }

    /// The mount ends: a check, which may take minutes, does not hold it up.
    pub fn stop(&self) {
        self.checked.stop();
    }

    /// Waits until all that was taken is written, unless that takes too long.
    pub fn finish(&self) {
        self.writer.finish(FINISH_PATIENCE);
        self.usage.settle();
    }

    fn complain(&self, error: &io::Error) {
        let place = self.directory.root().display();
        if self.complained.swap(true, Ordering::Relaxed) {
            tracing::debug!(%error, "the cache in {place} failed");
        } else {
            tracing::warn!(%error, "the cache in {place} failed; what it lacks is fetched (this is said once)");
        }
    }
}

#[cfg(test)]
mod tests;
