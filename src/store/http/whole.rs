//! Files of servers that do not serve ranges: such a file is fetched once as a whole, into a file without a name in the
//! folder for temporary files, and ranges are read from there.
//!
//! Without it, each range of a file would be a transfer from the file's first byte.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::store::{ErrorKind, Identity, ObjectMeta, Result, StoreError};

/// So many files are kept at most; the one that was not read for the longest time goes first.
const MAX_KEPT: u64 = 4;

/// A file that was not read for so long is dropped: what was read of it is in the caches above.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// A server that sends nothing for so long is gone.
const STALL: Duration = Duration::from_secs(30);

/// Bytes that are read from the disk at a time.
const CHUNK: u64 = 1 << 20;

/// The files that were fetched as a whole lately.
#[derive(Debug)]
pub struct Wholes(moka::sync::Cache<u128, Arc<Whole>>);

/// A file on its way, or here.
#[derive(Debug)]
pub struct Whole {
    file: Arc<File>,
    arrived: watch::Receiver<Arrived>,
    fetching: AbortHandle,
}

#[derive(Clone, Debug, Default)]
struct Arrived {
    bytes: u64,
    failed: Option<StoreError>,
}

impl Default for Wholes {
    fn default() -> Self {
        Self(moka::sync::Cache::builder().max_capacity(MAX_KEPT).time_to_idle(KEPT_FOR).build())
    }
}

impl Wholes {
    /// The file of this version, if it is here or on its way.
    pub fn find(&self, object: &ObjectMeta) -> Option<Arc<Whole>> {
        let id = id(object);
        let whole = self.0.get(&id)?;
        if whole.arrived.borrow().failed.is_some() {
            self.0.invalidate(&id);
            return None;
        }
        Some(whole)
    }

    /// The file of this version, of which `bytes` are an answer, unless it is on its way already.
    pub fn fetch(&self, object: &ObjectMeta, bytes: BoxStream<'static, Result<Bytes>>) -> Result<Arc<Whole>> {
        if let Some(whole) = self.find(object) {
            return Ok(whole);
        }
        let started = self.0.try_get_with(id(object), || Whole::start(bytes).map(Arc::new));
        started.map_err(|error| StoreError::clone(&error))
    }
}

fn id(object: &ObjectMeta) -> u128 {
    Identity::new("", object).hash()
}

impl Whole {
    fn start(bytes: BoxStream<'static, Result<Bytes>>) -> Result<Self> {
        let file = Arc::new(tempfile::tempfile().map_err(|error| on_disk(&error))?);
        let (sender, arrived) = watch::channel(Arrived::default());
        let written = file.clone();
        let task = tokio::spawn(async move {
            if let Err(error) = write(bytes, written, &sender).await {
                sender.send_modify(|arrived| arrived.failed = Some(error));
            }
        });
        Ok(Self { file, arrived, fetching: task.abort_handle() })
    }

    /// The bytes of a range, once the first of them is here.
    pub async fn read(self: Arc<Self>, range: Range<u64>) -> Result<BoxStream<'static, Result<Bytes>>> {
        self.wait_for(range.start).await?;
        let stream = stream::try_unfold(range, move |rest| {
            let whole = self.clone();
            async move {
                if rest.is_empty() {
                    return Ok(None);
                }
                let end = whole.wait_for(rest.start).await?.min(rest.end).min(rest.start + CHUNK);
                let bytes = whole.read_here(rest.start..end).await?;
                Ok(Some((bytes, end..rest.end)))
            }
        });
        Ok(stream.boxed())
    }

    /// Waits for the byte at a place; how many there are then.
    async fn wait_for(&self, at: u64) -> Result<u64> {
        let mut arrived = self.arrived.clone();
        let ended = || StoreError::new(ErrorKind::Cancelled, "a file that is fetched as a whole was dropped");
        let now = arrived.wait_for(|now| now.bytes > at || now.failed.is_some()).await.map_err(|_| ended())?;
        match (now.bytes > at, &now.failed) {
            (false, Some(error)) => Err(error.clone()),
            _ => Ok(now.bytes),
        }
    }

    async fn read_here(&self, range: Range<u64>) -> Result<Bytes> {
        let file = self.file.clone();
        blocking(move || {
            let mut bytes = vec![0; (range.end - range.start) as usize];
            file.read_exact_at(&mut bytes, range.start).map(|()| bytes.into())
        })
        .await
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        self.fetching.abort();
    }
}

async fn write(
    mut bytes: BoxStream<'static, Result<Bytes>>,
    file: Arc<File>,
    sender: &watch::Sender<Arrived>,
) -> Result<()> {
    let stalled = |_| StoreError::new(ErrorKind::Timeout, "a file that is fetched as a whole stalls");
    let mut at = 0;
    while let Some(chunk) = tokio::time::timeout(STALL, bytes.next()).await.map_err(stalled)? {
        let (chunk, file) = (chunk?, file.clone());
        let end = at + chunk.len() as u64;
        blocking(move || file.write_all_at(&chunk, at)).await?;
        at = end;
        sender.send_modify(|arrived| arrived.bytes = end);
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| on_disk(&error)),
        Err(_) => Err(StoreError::new(ErrorKind::Server, "a thread of the store ended by a bug of fitsfs")),
    }
}

fn on_disk(error: &std::io::Error) -> StoreError {
    let place = std::env::temp_dir();
    let what = format!("cannot keep a file that is fetched as a whole in {}: {error}", place.display());
    StoreError::new(ErrorKind::Server, what)
}
