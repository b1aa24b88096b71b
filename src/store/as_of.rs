//! A store as it was at a time: what `--at` mounts.
//!
//! The store lists what it had then ([`Store::list_at`]), with the ids of those versions, by which they are read.
//! Everything follows from these listings: a look-up by name is a short one. The time is a part of the identity of the
//! store, so that caches and inode numbers never mix what was with what is.
//!
//! A store that keeps versions lists a folder as long as there is any trace of a key in it, also of one that was written
//! later or deleted before. So each folder of a page is looked into: it is shown if there was a file in it.

use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use futures::stream::{self, StreamExt, TryStreamExt};

use super::{
    ArchiveState, Body, Capabilities, ErrorKind, ListPage, ListRequest, ObjectMeta, Peeked, Result, Store, StoreError,
    rfc3339,
};

/// What stands between the identity of a store and the time.
const MARK: &str = "@at=";

/// A page may be of versions that do not count only: so many are asked for before a page without an entry is handed out,
/// for the layers above to see that it gets on.
const MAX_PAGES: usize = 16;

/// Folders that are looked into at once. A page may have a thousand: at 30 ms each they take a second.
const LOOKS: usize = 32;

/// The most entries of a page of any store.
const PAGE: u16 = 1000;

/// A store as it was at a time.
#[derive(Debug)]
pub struct AsOf {
    inner: Arc<dyn Store>,
    time: SystemTime,
    id: String,
}

/// The identity of a store, whatever the time it is shown as of.
pub fn timeless(id: &str) -> &str {
    id.rsplit_once(MARK).map_or(id, |(id, _)| id)
}

impl AsOf {
    /// The store as it was at this time.
    pub fn new(inner: Arc<dyn Store>, time: SystemTime) -> Self {
        // With its fraction of a second: versions may be newer than one of two times of a second, and not than the other.
        let exact = DateTime::from(time).fmt(Format::DateTime).unwrap_or_else(|_| rfc3339(time));
        let id = format!("{}{MARK}{exact}", inner.id());
        Self { inner, time, id }
    }

    /// Whether there was a file in a folder. One of which so much was written and deleted that this stays open is shown.
    async fn had_files(&self, folder: &str) -> Result<bool> {
        let mut request =
            ListRequest { prefix: folder.to_owned(), delimited: false, max_keys: PAGE, continuation: None };
        for _ in 0..MAX_PAGES {
            let page = self.inner.list_at(&request, self.time).await?;
            if !page.objects.is_empty() || !page.senseless.is_empty() {
                return Ok(true);
            }
            match page.continuation {
                Some(next) => request.continuation = Some(next),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// The page without folders in which nothing was.
    async fn without_empty_folders(&self, mut page: ListPage) -> Result<ListPage> {
        let folders = std::mem::take(&mut page.prefixes);
        let looked = stream::iter(folders).map(|folder| async move {
            let had_files = self.had_files(&folder).await?;
            Ok(had_files.then_some(folder))
        });
        let kept: Vec<Option<String>> = looked.buffered(LOOKS).try_collect().await?;
        page.prefixes = kept.into_iter().flatten().collect();
        Ok(page)
    }
}

#[async_trait]
impl Store for AsOf {
    fn id(&self) -> &str {
        &self.id
    }

    fn url(&self, key: &str) -> String {
        self.inner.url(key)
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn allows_ahead(&self, bytes: u64) -> bool {
        self.inner.allows_ahead(bytes)
    }

    async fn touch(&self) -> Result<()> {
        self.inner.touch().await
    }

    async fn list(&self, request: &ListRequest) -> Result<ListPage> {
        let mut request = request.clone();
        for _ in 0..MAX_PAGES {
            let page = self.inner.list_at(&request, self.time).await?;
            let page = self.without_empty_folders(page).await?;
            let has_entries = !page.objects.is_empty() || !page.prefixes.is_empty() || !page.senseless.is_empty();
            if has_entries || page.continuation.is_none() || page.continuation == request.continuation {
                return Ok(page);
            }
            request.continuation = page.continuation;
        }
        Ok(ListPage { continuation: request.continuation, ..ListPage::default() })
    }

    /// A key is the first of those that begin with it.
    async fn head(&self, key: &str) -> Result<ObjectMeta> {
        let mut request =
            ListRequest { prefix: key.to_owned(), delimited: true, max_keys: ListRequest::LOOK_UP, continuation: None };
        loop {
            let mut page = self.inner.list_at(&request, self.time).await?;
            if let Some(place) = page.objects.iter().position(|object| object.key == key) {
                return Ok(page.objects.swap_remove(place));
            }
            let is_beyond = !page.objects.is_empty() || !page.prefixes.is_empty();
            let next = page.continuation.filter(|next| request.continuation.as_ref() != Some(next));
            match next.filter(|_| !is_beyond || !self.capabilities().ordered_listings) {
                Some(next) => request.continuation = Some(next),
                None => {
                    let (url, time) = (self.url(key), rfc3339(self.time));
                    return Err(StoreError::new(
                        ErrorKind::NotFound,
                        format!("HEAD {url}: it was not there at {time}"),
                    ));
                }
            }
        }
    }

    /// A copy of a version may be in an archive as well.
    async fn archive(&self, object: &ObjectMeta) -> Result<Option<ArchiveState>> {
        self.inner.archive(object).await
    }

    async fn peek(&self, key: &str, len: u64) -> Result<Peeked> {
        let object = self.head(key).await?;
        let head = match object.size {
            0 => Body { version: object.version.clone(), stream: stream::empty().boxed() },
            size => self.inner.get(&object, 0..len.min(size)).await?,
        };
        Ok(Peeked { object, head })
    }

    async fn get(&self, object: &ObjectMeta, range: Range<u64>) -> Result<Body> {
        self.inner.get(object, range).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::scripted::Scripted;

    /// Regression: two times of a second had one identity, and so one cache.
    #[test]
    fn every_time_has_an_identity_of_its_own() {
        let store = Arc::new(Scripted::default());
        let at = |millis| AsOf::new(store.clone(), SystemTime::UNIX_EPOCH + Duration::from_millis(millis));
        assert_ne!(at(1500).id(), at(1700).id());
        assert_ne!(at(1000).id(), at(1700).id());
        assert!(at(1000).id().ends_with("@at=1970-01-01T00:00:01Z"), "{}", at(1000).id());
        assert_eq!((timeless(at(1500).id()), timeless(store.id())), (store.id(), store.id()));
    }
}
