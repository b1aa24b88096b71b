//! A folder of this machine, or of a server that is mounted here, as a store: `file:///dir`.
//!
//! A key is the path below the folder. Files are the regular ones, also by symbolic links that do not lead out of the
//! folder; what else is there (devices, sockets, names that are no UTF-8) is not shown. A version is the file's inode
//! and times to the nanosecond, so a file that is written to while it is read is another version.
//!
//! - [`files`]: what the system is asked for, below the folder and nowhere else; [`listing`]: pages of keys, in order
//! - [`LocalStore`]: the store. All of it may block for as long as a server is away, and runs on threads for that

mod files;
mod listing;
mod scheme;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use tokio::sync::Semaphore;

pub(super) use scheme::Local;

use self::files::{Files, Opened};
use self::listing::Listings;
use super::{
    ArchiveState, Body, Capabilities, ErrorKind, ListPage, ListRequest, ObjectMeta, Peeked, Result, Store, StoreError,
};

/// Threads that wait for the disk at once, at most: as many GETs as the reader has in flight on a fast line.
const MAX_BLOCKED: usize = 48;

/// Bytes that are read at a time: one call, and about a millisecond of a fast disk.
const CHUNK: u64 = 1 << 20;

/// A folder.
#[derive(Debug)]
pub struct LocalStore {
    id: String,
    files: Arc<Files>,
    listings: Arc<Listings>,
    blocked: Arc<Semaphore>,
}

impl LocalStore {
    /// The folder at a path, which is held open: a mount at the same place hides nothing from it. May block.
    pub fn open(folder: &Path) -> Result<Self> {
        let files = Files::open(folder)?;
        let id = format!("file://{}", files.root().display());
        let (listings, blocked) = (Arc::default(), Arc::new(Semaphore::new(MAX_BLOCKED)));
        Ok(Self { id, files: Arc::new(files), listings, blocked })
    }

    /// Does something that may block.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Files, &Listings) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (files, listings) = (self.files.clone(), self.listings.clone());
        blocking(&self.blocked, move || work(&files, &listings)).await
    }

    /// The bytes of a file that is open, checked to be of its version before each chunk is handed out.
    fn body(&self, opened: Opened, range: Range<u64>) -> Body {
        let version = opened.version().clone();
        let (opened, blocked) = (Arc::new(opened), self.blocked.clone());
        let stream = stream::try_unfold(range, move |rest| {
            let (opened, blocked) = (opened.clone(), blocked.clone());
            async move {
                if rest.is_empty() {
                    return Ok(None);
                }
                let chunk = rest.start..rest.end.min(rest.start + CHUNK);
                let left = chunk.end..rest.end;
                let bytes: Bytes = blocking(&blocked, move || opened.read(chunk)).await?;
                Ok(Some((bytes, left)))
            }
        });
        Body { version, stream: stream.boxed() }
    }
}

/// Runs what may block on a thread for that, of which there are so many. It goes on where its caller has gone: nothing
/// can take a thread back from the kernel.
async fn blocking<T: Send + 'static>(
    slots: &Arc<Semaphore>,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let ended = |_| StoreError::new(ErrorKind::Server, "a thread of the store ended by a bug of fitsfs");
    let slot = slots.clone().acquire_owned().await.map_err(|_| ended(()))?;
    let worked = tokio::task::spawn_blocking(move || {
        let outcome = work();
        drop(slot);
        outcome
    });
    worked.await.unwrap_or_else(|_| Err(ended(())))
}

#[async_trait]
impl Store for LocalStore {
    fn id(&self) -> &str {
        &self.id
    }

    fn url(&self, key: &str) -> String {
        crate::printable::printable(&format!("{}/{key}", self.id)).into_owned()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { ordered_listings: true, ..Capabilities::default() }
    }

    /// There are no connections.
    async fn touch(&self) -> Result<()> {
        Ok(())
    }

    async fn list(&self, request: &ListRequest) -> Result<ListPage> {
        let request = request.clone();
        self.run(move |files, listings| listings.page(files, &request)).await
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta> {
        let key = key.to_owned();
        self.run(move |files, _| files.object(&key)).await
    }

    async fn archive(&self, _object: &ObjectMeta) -> Result<Option<ArchiveState>> {
        Ok(None)
    }

    async fn peek(&self, key: &str, len: u64) -> Result<Peeked> {
        let key = key.to_owned();
        let opened = self.run(move |files, _| files.open_file(&key)).await?;
        let object = opened.object().clone();
        let head = self.body(opened, 0..len.min(object.size));
        Ok(Peeked { object, head })
    }

    async fn get(&self, object: &ObjectMeta, range: Range<u64>) -> Result<Body> {
        let (wanted, url) = (object.clone(), self.url(&object.key));
        if range.is_empty() || range.end > object.size {
            return Err(StoreError::invalid(format!("GET {url}: there are no bytes {range:?}")));
        }
        let opened = self.run(move |files, _| files.open_file(&wanted.key)).await?;
        if !opened.object().is_same(object) {
            return Err(StoreError::new(
                ErrorKind::VersionChanged,
                format!("GET {url}: the file is another version now"),
            ));
        }
        Ok(self.body(opened, range))
    }
}

#[cfg(test)]
mod tests;
