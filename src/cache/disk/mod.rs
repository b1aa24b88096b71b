//! The cache on disk: what was fetched once is not fetched again, by no mount, process or container that shares it.
//!
//! One sparse file per object version holds its bytes, a map beside it tells which pages are there, with a checksum for
//! each ([`map`]). Pages are written when their fetch is complete, by a thread of its own, and checked whenever they are
//! read: what does not match is not there, and is fetched again. So nothing is ever synced, and a crash
//! costs at most what was being written.
//!
//! - [`directory`]: where the files are, and who may write them
//! - [`object`]: one object version: read, write, claim; [`region`]: look at what is there, evict
//! - [`lock`]: locks between processes, which are all that they have in common beside the files
//! - [`backing`]: complete files, which the kernel may read by itself
//! - [`mod@file`]: what the standard library lacks for these
//! - [`usage`]: what the directory takes; [`evict`]: what is evicted when that is too much
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
mod writer;

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::cache::Device;
use crate::metrics::{DiskSnapshot, Metrics};
use backing::Checked;
use buffers::Buffers;
use map::Identity;
use usage::Usage;
use writer::Writer;

pub use backing::Backing;
pub use buffers::BUFFER_SIZE;
pub use directory::{Directory, Unfit, default_place};
pub use map::{PAGE, Worth};
pub use object::{CachedObject, Claim, DiskRead};
pub use writer::Fetched;

/// Objects that are not read stay open for so long, and so many of them: their files need not be opened again. No longer,
/// since what is open is evicted last, whether programs come back to it or not.
const LINGER: Duration = Duration::from_millis(100);
const MAX_OPEN: u64 = 128;

/// Once no program has a file open, what is kept for the next one is let go after so long.
const REST: Duration = Duration::from_secs(1);

/// While another process fetches what is wanted here it is looked for on disk this often, and no longer than this:
/// that process may be slow, or stopped.
const LOOK_AGAIN: Duration = Duration::from_millis(4);
const CLAIM_PATIENCE: Duration = Duration::from_millis(1500);

/// How long a mount that ends waits for what is to be written: a disk may be stuck.
const FINISH_PATIENCE: Duration = Duration::from_secs(10);

/// How long a request for the status waits for the number of bytes that the directory takes: the rest of the answer does
/// not depend on it.
const STATUS_PATIENCE: Duration = Duration::from_millis(300);

/// The cache of a mount.
#[derive(Debug)]
pub struct DiskCache {
    directory: Directory,
    usage: Arc<Usage>,
    open: moka::future::Cache<String, Arc<CachedObject>>,
    writer: Writer,
    checked: Arc<Checked>,
    buffers: Arc<Buffers>,
    device: Arc<Device>,
    metrics: Arc<Metrics>,
    complained: AtomicBool,
    /// How often no program had a file open any more.
    rests: AtomicU64,
}

/// What became of a claim to fetch something.
enum Claimed {
    /// It is there by now.
    IsThere,
    /// This process is to fetch it.
    Ours(Claim),
    /// Another one does.
    Others,
}

impl DiskCache {
    /// The cache in `directory`, of which at most `quota` bytes may be used. What waits to be written holds at most
    /// `max_waiting` bytes of memory. May wait for the disk, which is `device`.
    pub fn open(
        directory: Directory,
        device: Arc<Device>,
        quota: u64,
        max_waiting: u64,
        metrics: Arc<Metrics>,
    ) -> io::Result<Arc<Self>> {
        let usage = Arc::new(Usage::open(&directory, quota, Some(device.clone()))?);
        usage.begin(&directory)?;
        let writer = Writer::start(directory.clone(), usage.clone(), device.clone(), metrics.clone(), max_waiting)?;
        if usage.used().is_none() {
            writer.make_room();
        }
        Ok(Arc::new(Self {
            directory,
            usage,
            open: moka::future::Cache::builder().max_capacity(MAX_OPEN).time_to_idle(LINGER).build(),
            writer,
            checked: Arc::default(),
            buffers: Arc::default(),
            device,
            metrics,
            complained: AtomicBool::new(false),
            rests: AtomicU64::new(0),
        }))
    }

    /// The disk that it is on.
    pub fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// Whether its disk does not answer: nothing is read from it then, and nothing kept.
    pub fn is_off(&self) -> bool {
        self.device.is_off()
    }

    /// For other writers to the directory: takes bytes of its quota. May wait for the disk.
    pub fn room(&self) -> impl Fn(u64) -> bool + Send + Sync + use<> {
        let usage = self.usage.clone();
        move |bytes| usage.take(bytes).is_ok()
    }

    /// What the directory takes.
    pub async fn snapshot(&self) -> DiskSnapshot {
        let usage = self.usage.clone();
        let used = tokio::time::timeout(STATUS_PATIENCE, self.device.ask(move || usage.used())).await;
        DiskSnapshot {
            directory: Some(self.directory.root().display().to_string()),
            off: self.is_off(),
            quota_bytes: self.usage.quota(),
            used_bytes: used.ok().flatten().flatten(),
            waiting_bytes: self.writer.waiting(),
        }
    }

    /// The files of an object version, opened or made. None where there can be none.
    pub async fn object(self: &Arc<Self>, identity: Identity) -> Option<Arc<CachedObject>> {
        let cache = self.clone();
        self.open.optionally_get_with(identity.name(), async move { cache.open_files(identity).await }).await
    }

    async fn open_files(self: Arc<Self>, identity: Identity) -> Option<Arc<CachedObject>> {
        let cache = self.clone();
        let open = move || CachedObject::open(&cache.directory, &identity, &cache.usage, &cache.buffers, &cache.device);
        match self.ask(open).await {
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

    /// Does something that may wait for the disk. An error of the kind `TimedOut` if that does not answer.
    async fn ask<T: Send + 'static>(&self, work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
        match self.device.ask(work).await {
            Some(answer) => answer,
            None => {
                self.writer.clear();
                Err(io::ErrorKind::TimedOut.into())
            }
        }
    }

    /// The bytes of `range` if all of them are there.
    pub async fn read(&self, object: &Arc<CachedObject>, range: Range<u64>) -> Option<Bytes> {
        let found = match object.read_at_once(&range) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let (object, range) = (object.clone(), range.clone());
                self.ask(move || object.read(&range)).await
            }
            found => found,
        };
        match found {
            Ok(DiskRead::Bytes(bytes)) => {
                self.note_used(object, &range);
                self.metrics.disk_bytes_read.add(bytes.len() as u64);
                Some(bytes)
            }
            Ok(DiskRead::Missing) => None,
            Ok(DiskRead::Damaged(pages)) => {
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
            match self.claim(object, &missing, range).await {
                // The process that had the claim before may have written it since.
                Ok(Claimed::IsThere) => return None,
                Ok(Claimed::Ours(claim)) => return Some((missing, Some(claim))),
                Ok(Claimed::Others) if began.elapsed() < CLAIM_PATIENCE => tokio::time::sleep(LOOK_AGAIN).await,
                Ok(Claimed::Others) | Err(_) => return Some((missing, None)),
            }
        }
    }

    async fn claim(&self, object: &Arc<CachedObject>, missing: &Range<u64>, range: &Range<u64>) -> io::Result<Claimed> {
        let claimed = if object.locks_at_once {
            // Another thread would take longer to wake than this takes.
            object.claim(missing)?
        } else {
            let (object, missing) = (object.clone(), missing.clone());
            self.ask(move || object.claim(&missing)).await?
        };
        let Some(claim) = claimed else { return Ok(Claimed::Others) };
        let is_there = matches!(self.look(object, range).await, Ok(None));
        Ok(if is_there { Claimed::IsThere } else { Claimed::Ours(claim) })
    }

    /// How many bytes of an object version are there. Makes no files for it.
    pub async fn present(&self, identity: &Identity) -> io::Result<u64> {
        let (directory, name) = (self.directory.clone(), identity.name());
        let look = move || match evict::see(&directory, &name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            seen => seen?.map_or(Ok(0), |seen| seen.object.present()),
        };
        self.ask(look).await
    }

    /// A program has opened the object.
    pub fn count_open(&self, object: &Arc<CachedObject>) {
        let opened = object.clone();
        self.later("count an open", move || opened.count_open());
    }

    /// Some of an object was read.
    fn note_used(&self, object: &Arc<CachedObject>, range: &Range<u64>) {
        let regions = object.due(range);
        if !regions.is_empty() {
            let used = object.clone();
            self.later("note a use", move || used.stamp(&regions));
        }
    }

    /// Writes something small, or not.
    fn later(&self, what: &'static str, write: impl FnOnce() -> io::Result<()> + Send + 'static) {
        self.device.later(move || {
            if let Err(error) = write() {
                tracing::debug!(%error, "the cache cannot {what}");
            }
        });
    }

    /// The file of an object version for the kernel to read, if it is complete and was checked.
    pub async fn backing(self: &Arc<Self>, identity: &Identity) -> Option<Backing> {
        let (name, size) = (identity.name(), identity.size);
        if !self.checked.knows(&name) {
            return None;
        }
        let cache = self.clone();
        let backing = self.ask(move || cache.checked.backing(&cache.directory, &name, size, &cache.device)).await;
        backing.unwrap_or_else(|error| {
            tracing::debug!(key = identity.key, %error, "cannot hand a file to the kernel");
            None
        })
    }

    /// Checks a file, so that the kernel may read it the next time. In the background, and once for each.
    pub fn check(&self, identity: &Identity, files: Arc<CachedObject>) {
        if self.is_off() {
            return;
        }
        let name = identity.name();
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
        match object.missing_at_once(range) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let (object, range) = (object.clone(), range.clone());
                self.ask(move || object.missing(&range)).await
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
        let began = Instant::now();
        if !self.is_off() {
            self.writer.finish(FINISH_PATIENCE);
            let usage = self.usage.clone();
            self.device.surely(move || usage.settle());
            self.device.finish(FINISH_PATIENCE.saturating_sub(began.elapsed()));
        }
    }

    fn complain(&self, error: &io::Error) {
        // That was said.
        if self.is_off() {
            return;
        }
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
