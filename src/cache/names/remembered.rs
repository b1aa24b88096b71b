//! A store that answers from disk what it was asked before.
//!
//! Answers are written down behind the caller's back, failures never. Offline nothing else is answered, and nothing is
//! asked.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Semaphore, oneshot};

use super::Names;
use super::index::{Belief, Trust};
use super::record::{self, Record, directory_of};
use crate::cache::Device;
use crate::store::{
    Body, Capabilities, ErrorKind, ListPage, ListRequest, ObjectMeta, Peeked, Recall, Result, Store, StoreError,
};

/// Answers that wait to be written down: those of as many requests as are under way at once. Others are not remembered.
const MAX_UNWRITTEN: usize = 64;

/// How long a caller waits until it is on disk that a directory is to be asked for anew: other mounts may look at it.
const FORGET_PATIENCE: Duration = crate::cache::PATIENCE;

/// A store whose answers about names are remembered.
#[derive(Debug)]
pub struct Remembered {
    inner: Arc<dyn Store>,
    id: Arc<str>,
    names: Arc<Names>,
    device: Arc<Device>,
    belief: Belief,
    offline: bool,
    unwritten: Arc<Semaphore>,
}

impl Remembered {
    /// Remembers in `names` what `inner` tells, and believes it for as long as `belief` says. Offline it is believed
    /// however old it is, and `inner` is not asked for anything. The names are on `device`.
    pub fn new(inner: Arc<dyn Store>, names: Arc<Names>, device: Arc<Device>, belief: Belief, offline: bool) -> Self {
        let (id, unwritten) = (inner.id().into(), Arc::new(Semaphore::new(MAX_UNWRITTEN)));
        Self { inner, id, names, device, belief, offline, unwritten }
    }

    fn trust(&self) -> Trust {
        if self.offline { Trust::Any } else { Trust::Fresh(self.belief, record::now()) }
    }

    /// Does something with the names on a thread that may wait for the disk. None if that does not answer.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Names, &Arc<str>) -> T + Send + 'static,
    ) -> Option<T> {
        let (names, store) = (self.names.clone(), self.id.clone());
        self.device.ask(move || work(&names, &store)).await
    }

    /// Writes a record down, while the caller goes on.
    fn write(&self, record: Option<Record>) {
        let (Some(record), Ok(place)) = (record, self.unwritten.clone().try_acquire_owned()) else { return };
        let (names, store) = (self.names.clone(), self.id.clone());
        self.device.later(move || {
            names.write(&store, &record);
            drop(place);
        });
    }

    /// Waits until all that is to be written down is.
    #[cfg(test)]
    pub(super) async fn written(&self) {
        let _all = self.unwritten.acquire_many(MAX_UNWRITTEN as u32).await;
    }

    fn is_worth_writing(request: &ListRequest, page: &ListPage) -> bool {
        // Look-ups of what may be a directory ask for its names: where there is none, nothing is left behind.
        let nothing = page.objects.is_empty() && page.prefixes.is_empty();
        !(nothing && request.prefix.ends_with('/'))
    }

    fn refuse<T>(&self, what: &str, key: &str) -> Result<T> {
        let url = self.inner.url(key);
        Err(StoreError::new(ErrorKind::Offline, format!("{what} {url}: not in the cache, and the mount is offline")))
    }
}

#[async_trait]
impl Store for Remembered {
    fn id(&self) -> &str {
        &self.id
    }

    fn url(&self, key: &str) -> String {
        self.inner.url(key)
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn touch(&self) -> Result<()> {
        if self.offline { self.refuse("HEAD", "") } else { self.inner.touch().await }
    }

    async fn list(&self, request: &ListRequest) -> Result<ListPage> {
        let (asked, trust, in_order) = (request.clone(), self.trust(), self.capabilities().ordered_listings);
        let remembered = self.on_disk(move |names, store| names.page(store, &asked, trust, in_order)).await;
        if let Some(page) = remembered.flatten() {
            return Ok(page);
        }
        if self.offline {
            return self.refuse("LIST", &request.prefix);
        }
        let asked = record::now();
        let answer = self.inner.list(request).await;
        match &answer {
            Ok(page) if Self::is_worth_writing(request, page) => {
                self.write(Record::of_list(&self.id, asked, request, page));
            }
            // The token may be that of a remembered page, and too old: the next listing has to begin anew.
            Err(error) if request.continuation.is_some() && !error.kind.is_transient() => {
                self.forget(directory_of(&request.prefix)).await;
            }
            Ok(_) | Err(_) => {}
        }
        answer
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta> {
        self.head_and_age(key).await.map(|(object, _)| object)
    }

    async fn head_and_age(&self, key: &str) -> Result<(ObjectMeta, Duration)> {
        let (asked, trust) = (key.to_owned(), self.trust());
        let remembered = self.on_disk(move |names, store| names.object(store, &asked, trust)).await;
        if let Some(answer) = remembered.flatten() {
            return Ok(answer);
        }
        if self.offline {
            return self.refuse("HEAD", key);
        }
        let asked = record::now();
        let answer = self.inner.head_and_age(key).await?;
        self.write(Record::of_head(&self.id, asked, &answer.0));
        Ok(answer)
    }

    async fn peek(&self, key: &str, len: u64) -> Result<Peeked> {
        if self.offline { self.refuse("GET", key) } else { self.inner.peek(key, len).await }
    }

    async fn get(&self, object: &ObjectMeta, range: Range<u64>) -> Result<Body> {
        if self.offline { self.refuse("GET", &object.key) } else { self.inner.get(object, range).await }
    }

    async fn recalls(&self, request: &ListRequest) -> Recall {
        let (asked, trust, in_order) = (request.clone(), self.trust(), self.capabilities().ordered_listings);
        let recalled = self.on_disk(move |names, store| names.recalls(store, &asked, trust, in_order));
        recalled.await.unwrap_or(Recall::Nothing)
    }

    async fn forget(&self, directory: &str) {
        if self.offline {
            return;
        }
        let (names, store, directory) = (self.names.clone(), self.id.clone(), directory.to_owned());
        let (done, is_done) = oneshot::channel();
        self.names.will_forget();
        let forget = move || {
            names.forget(&store, &directory);
            names.has_forgotten();
            // Until it is done nothing is believed, whether that is waited for or not.
            let _ = done.send(());
        };
        match self.device.later(forget) {
            true => drop(tokio::time::timeout(FORGET_PATIENCE, is_done).await),
            false => self.names.doubt(),
        }
    }
}
