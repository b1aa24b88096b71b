//! The heads of files, fetched in the same round as the answer to whether the file exists.
//!
//! A program that looks a FITS file up mostly reads it, its head first. But some programs only look: only so many heads
//! may be unread at a time, so that a thousand look-ups without reading cost a handful of GETs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures::{FutureExt, TryStreamExt};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use crate::fits;
use crate::read::{HEAD, Head};
use crate::store::{ErrorKind, ObjectMeta, Peeked, Result, Store, StoreError};

/// Heads that were fetched with a look-up and are not read yet. Parallel readers of several files get theirs; a program
/// that only looks costs no more than 256 KiB.
const MAX_UNREAD: usize = 4;

/// A head that was not read for so long will not be: another one may be fetched.
const UNREAD_TTL: Duration = Duration::from_secs(60);

/// A key is peeked at once in a long while: what was read once is in the page cache. So many keys are remembered.
const MAX_REMEMBERED: u64 = 10_000;

/// The heads that are fetched with look-ups.
#[derive(Debug)]
pub struct Peeks {
    runtime: Handle,
    credit: Arc<Semaphore>,
    unread: Mutex<Vec<Unread>>,
    remembered: moka::sync::Cache<String, ()>,
}

#[derive(Debug)]
struct Unread {
    ino: u64,
    since: Instant,
    _credit: OwnedSemaphorePermit,
}

/// A peek in flight; cancelled when it is dropped.
#[derive(Debug)]
pub struct Peek {
    task: Task,
    credit: OwnedSemaphorePermit,
}

/// The head of a file that was looked up, on its way or there.
pub struct Ahead {
    /// Its bytes.
    pub head: Head,
    credit: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct Task(JoinHandle<Result<(ObjectMeta, Bytes)>>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Peeks {
    /// No heads yet. The requests run on `runtime`.
    pub fn new(runtime: Handle) -> Self {
        let remembered = moka::sync::Cache::new(MAX_REMEMBERED);
        Self { runtime, credit: Arc::new(Semaphore::new(MAX_UNREAD)), unread: Mutex::default(), remembered }
    }

    /// Asks a store for the head of what may be a file, if its name is that of a FITS file and heads are being read.
    pub fn send(&self, store: &Arc<dyn Store>, key: &str) -> Option<Peek> {
        if !fits::is_fits_name(key) {
            return None;
        }
        if !store.allows_ahead(HEAD) {
            return None;
        }
        let url = store.url(key);
        if self.remembered.contains_key(&url) {
            return None;
        }
        self.unread.lock().retain(|unread| unread.since.elapsed() < UNREAD_TTL);
        let credit = self.credit.clone().try_acquire_owned().ok()?;
        self.remembered.insert(url, ());
        let (store, key) = (store.clone(), key.to_owned());
        let task = self.runtime.spawn(async move { whole(store.peek(&key, HEAD).await?).await });
        Some(Peek { task: Task(task), credit })
    }

    /// The kernel knows a file whose head is on its way by this number.
    pub fn looked_up(&self, ino: u64, ahead: Ahead) -> Head {
        self.unread.lock().push(Unread { ino, since: Instant::now(), _credit: ahead.credit });
        ahead.head
    }

    /// A program reads the file.
    pub fn read(&self, ino: u64) {
        self.unread.lock().retain(|unread| unread.ino != ino);
    }
}

async fn whole(peeked: Peeked) -> Result<(ObjectMeta, Bytes)> {
    let join = async |mut joined: BytesMut, chunk: Bytes| {
        joined.extend_from_slice(&chunk);
        Ok(joined)
    };
    let bytes = peeked.head.stream.try_fold(BytesMut::new(), join).await?;
    Ok((peeked.object, bytes.freeze()))
}

impl Peek {
    /// The head of `object`, unless the peek turns out to be of another version.
    pub fn of(self, object: &Arc<ObjectMeta>) -> Ahead {
        let Self { task, credit } = self;
        let object = object.clone();
        let head = async move {
            let (peeked, bytes) = task.outcome().await.ok()?;
            is_same_version(&peeked, &object).then_some(bytes)
        };
        Ahead { head: head.boxed(), credit }
    }

    /// What it tells of the object, and its head.
    pub async fn object(self) -> Result<(ObjectMeta, Ahead)> {
        let (object, bytes) = self.task.outcome().await?;
        Ok((object, Ahead { head: futures::future::ready(Some(bytes)).boxed(), credit: self.credit }))
    }
}

impl Task {
    async fn outcome(mut self) -> Result<(ObjectMeta, Bytes)> {
        let ended = |_| Err(StoreError::new(ErrorKind::Network, "the peek ended by a bug of fitsfs"));
        (&mut self.0).await.unwrap_or_else(ended)
    }
}

/// Listings name versions by entity tag; where there is none, size and time stand for the version.
fn is_same_version(a: &ObjectMeta, b: &ObjectMeta) -> bool {
    let told = a.version.etag.is_some() || a.last_modified == b.last_modified;
    told && a.version == b.version && a.size == b.size
}
