//! What a store tells of names, answered from disk where it was asked before.
//!
//! Answers are written down behind the caller's back, failures never. Each answer comes with its age: how long ago the
//! store was asked, no time unless it was remembered.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};

use super::index::Trust;
use super::record::{self, Record, directory_of};
use super::{Names, Ttl};
use crate::cache::Device;
use crate::store::{ListPage, ListRequest, ObjectMeta, Result, Store, StoreError};

/// Answers that wait to be written down: those of as many requests as are under way at once. Others are not remembered.
const MAX_UNWRITTEN: usize = 64;

/// How long a caller waits until it is on disk that a directory is to be asked for anew: other mounts may look at it.
const FORGET_PATIENCE: Duration = crate::cache::PATIENCE;

/// What is remembered of a [`ListRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recall {
    /// Nothing.
    Nothing,
    /// That its prefix is a key, or was one.
    Key,
    /// An answer: it would need no network.
    Answer,
}

/// The names in a store, some of which may be remembered.
#[derive(Debug)]
pub struct Remembered {
    store: Arc<dyn Store>,
    memory: Option<Memory>,
}

/// Where answers are kept.
#[derive(Debug)]
struct Memory {
    id: Arc<str>,
    names: Arc<Names>,
    device: Arc<Device>,
    /// How long answers count; none if they count however old they are.
    ttl: Option<Ttl>,
    unwritten: Arc<Semaphore>,
}

impl Remembered {
    /// The names in a store of which nothing is remembered.
    pub fn nothing(store: Arc<dyn Store>) -> Self {
        Self { store, memory: None }
    }

    /// Remembers in `names`, which are on `device`, what `store` tells, for as long as `ttl` says; where that is none
    /// what was remembered counts however old it is, and is never forgotten.
    pub fn new(store: Arc<dyn Store>, names: Arc<Names>, device: Arc<Device>, ttl: Option<Ttl>) -> Self {
        let (id, unwritten) = (store.id().into(), Arc::new(Semaphore::new(MAX_UNWRITTEN)));
        Self { store, memory: Some(Memory { id, names, device, ttl, unwritten }) }
    }

    /// The store that is asked.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// One page of keys, and its age.
    pub async fn list(&self, request: &ListRequest) -> Result<(ListPage, Duration)> {
        if let Some(memory) = &self.memory
            && let Some(answer) = memory.page(request, self.store.capabilities().ordered_listings).await
        {
            return Ok(answer);
        }
        let asked = record::now();
        let answer = self.store.list(request).await;
        if let Some(memory) = &self.memory {
            match &answer {
                Ok(page) if is_worth_writing(request, page) => {
                    memory.write(Record::of_list(&memory.id, asked, request, page));
                }
                // The token may be that of a remembered page, and too old: the next listing has to begin anew. Of what the
                // store was not asked, as beyond a budget, nothing of it is known.
                Err(StoreError { kind, .. })
                    if request.continuation.is_some() && kind.is_answer() && !kind.is_transient() =>
                {
                    memory.forget(directory_of(&request.prefix)).await;
                }
                Ok(_) | Err(_) => {}
            }
        }
        answer.map(|page| (page, Duration::ZERO))
    }

    /// Size, time and version of one object, and the age of that.
    pub async fn head(&self, key: &str) -> Result<(ObjectMeta, Duration)> {
        if let Some(answer) = self.known_head(key).await {
            return Ok(answer);
        }
        let asked = record::now();
        let object = self.store.head(key).await?;
        if let Some(memory) = &self.memory {
            memory.write(Record::of_head(&memory.id, asked, &object));
        }
        Ok((object, Duration::ZERO))
    }

    /// What is remembered of one object; none if the store would have to be asked.
    pub async fn known_head(&self, key: &str) -> Option<(ObjectMeta, Duration)> {
        self.memory.as_ref()?.object(key).await
    }

    /// The store has told of an object in another way, asked at this time (as `now` tells it).
    pub fn learn_head(&self, asked: u64, object: &ObjectMeta) {
        if let Some(memory) = &self.memory {
            memory.write(Record::of_head(&memory.id, asked, object));
        }
    }

    /// What is remembered of a request.
    pub async fn recalls(&self, request: &ListRequest) -> Recall {
        match &self.memory {
            Some(memory) => memory.recalls(request, self.store.capabilities().ordered_listings).await,
            None => Recall::Nothing,
        }
    }

    /// What was remembered of a directory until now does not count any more.
    pub async fn forget(&self, directory: &str) {
        if let Some(memory) = &self.memory {
            memory.forget(directory).await;
        }
    }

    /// Waits until all that is to be written down is.
    #[cfg(test)]
    pub(super) async fn written(&self) {
        let unwritten = &self.memory.as_ref().expect("a memory").unwritten;
        let _all = unwritten.acquire_many(MAX_UNWRITTEN as u32).await;
    }
}

impl Memory {
    fn trust(&self) -> Trust {
        self.ttl.map_or(Trust::Any, |ttl| Trust::Fresh(ttl, record::now()))
    }

    /// Does something with the names on a thread that may wait for the disk. None if that does not answer.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Names, &Arc<str>) -> T + Send + 'static,
    ) -> Option<T> {
        let (names, store) = (self.names.clone(), self.id.clone());
        self.device.ask(move || work(&names, &store)).await
    }

    async fn page(&self, request: &ListRequest, in_order: bool) -> Option<(ListPage, Duration)> {
        let (asked, trust) = (request.clone(), self.trust());
        self.on_disk(move |names, store| names.page(store, &asked, trust, in_order)).await.flatten()
    }

    async fn object(&self, key: &str) -> Option<(ObjectMeta, Duration)> {
        let (asked, trust) = (key.to_owned(), self.trust());
        self.on_disk(move |names, store| names.object(store, &asked, trust)).await.flatten()
    }

    async fn recalls(&self, request: &ListRequest, in_order: bool) -> Recall {
        let (asked, trust) = (request.clone(), self.trust());
        let recalled = self.on_disk(move |names, store| names.recalls(store, &asked, trust, in_order));
        recalled.await.unwrap_or(Recall::Nothing)
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

    async fn forget(&self, directory: &str) {
        if self.ttl.is_none() {
            return;
        }
        let (names, store, directory) = (self.names.clone(), self.id.clone(), directory.to_owned());
        let (done, is_done) = oneshot::channel();
        self.names.will_forget();
        let forget = move || {
            names.forget(&store, &directory);
            names.has_forgotten();
            // Until it is done nothing counts, whether that is waited for or not.
            let _ = done.send(());
        };
        match self.device.later(forget) {
            true => drop(tokio::time::timeout(FORGET_PATIENCE, is_done).await),
            false => self.names.doubt(),
        }
    }
}

/// Look-ups of what may be a directory ask for its names: where there is none, nothing is left behind.
fn is_worth_writing(request: &ListRequest, page: &ListPage) -> bool {
    let nothing = page.objects.is_empty() && page.prefixes.is_empty();
    !(nothing && request.prefix.ends_with('/'))
}
