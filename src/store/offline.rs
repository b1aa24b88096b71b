//! A store that is not asked: what a mount without a network has in its place.

use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;

use super::{
    ArchiveState, Body, Capabilities, ErrorKind, ListPage, ListRequest, ObjectMeta, Peeked, Result, Store, StoreError,
};

/// Has the name of another store, and refuses every request.
#[derive(Debug)]
pub struct Offline(Arc<dyn Store>);

impl Offline {
    /// In place of `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self(store)
    }

    fn refuse<T>(&self, what: &str, key: &str) -> Result<T> {
        let url = self.url(key);
        Err(StoreError::new(ErrorKind::Offline, format!("{what} {url}: not in the cache, and the mount is offline")))
    }
}

#[async_trait]
impl Store for Offline {
    fn id(&self) -> &str {
        self.0.id()
    }

    fn url(&self, key: &str) -> String {
        self.0.url(key)
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    async fn touch(&self) -> Result<()> {
        self.refuse("HEAD", "")
    }

    async fn list(&self, request: &ListRequest) -> Result<ListPage> {
        self.refuse("LIST", &request.prefix)
    }

    async fn list_at(&self, request: &ListRequest, _: SystemTime) -> Result<ListPage> {
        self.refuse("LIST", &request.prefix)
    }

    /// What is in the cache of a time was listed once.
    async fn keeps_versions(&self) -> Result<Option<bool>> {
        Ok(None)
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta> {
        self.refuse("HEAD", key)
    }

    async fn archive(&self, object: &ObjectMeta) -> Result<Option<ArchiveState>> {
        self.refuse("HEAD", &object.key)
    }

    async fn peek(&self, key: &str, _: u64) -> Result<Peeked> {
        self.refuse("GET", key)
    }

    async fn get(&self, object: &ObjectMeta, _: Range<u64>) -> Result<Body> {
        self.refuse("GET", &object.key)
    }
}
