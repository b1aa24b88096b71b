//! The tree of a bucket: keys are paths, and what ends with `/` is a directory.
//!
//! - [`namespace`]: which names exist
//! - [`listings`]: the directories; [`listing`]: one of them; [`course`]: whether it gets on; [`known`]: what is proven by
//!   a part of it; [`packed`]: its entries; [`marks`]: where its pages begin
//! - [`entry`]: from keys to names; [`told`]: answers and their TTL
//! - [`Bucket`]: the tree. It begins at a key prefix

mod course;
mod entry;
mod known;
mod listing;
mod listings;
mod marks;
mod namespace;
mod packed;
mod told;

use std::sync::Arc;

use async_trait::async_trait;

use self::listing::Listing;
use super::{Directory, Entry, Found, Tree, Ttl};
use crate::store::{Object, ObjectMeta, Result, Source};

pub use namespace::Namespace;

/// A bucket, or what is below a prefix in it, as a tree.
#[derive(Clone, Debug)]
pub struct Bucket {
    source: Arc<Source>,
    namespace: Arc<Namespace>,
    /// The key prefix that is the root: empty or ending with `/`.
    root: Arc<str>,
}

/// A listing that is being read.
struct Opened {
    bucket: Bucket,
    prefix: Arc<str>,
    listing: Arc<Listing>,
}

impl Bucket {
    /// The names in `namespace`, which are those of `source`, below the prefix `root`.
    pub fn new(source: Arc<Source>, namespace: Arc<Namespace>, root: &str) -> Self {
        Self { source, namespace, root: root.into() }
    }

    fn key(&self, path: &str) -> Arc<str> {
        format!("{}{path}", self.root).into()
    }

    fn object(&self, meta: Arc<ObjectMeta>) -> Object {
        Object { source: self.source.clone(), meta, is_provisional: false }
    }

    fn entry(&self, entry: entry::Entry) -> Entry {
        Entry { name: entry.name, node: entry.node.map(|meta| self.object(meta)) }
    }

    fn opened(&self, prefix: Arc<str>, listing: Arc<Listing>) -> Arc<dyn Directory> {
        Arc::new(Opened { bucket: self.clone(), prefix, listing })
    }
}

#[async_trait]
impl Tree for Bucket {
    fn ttl(&self) -> Ttl {
        self.namespace.ttl()
    }

    async fn look_up(&self, directory: &str, name: &str) -> Result<Option<Found>> {
        let found = self.namespace.look_up(&self.key(directory), name).await?;
        Ok(found.map(|found| Found { node: found.node.map(|meta| self.object(meta)), head: found.head }))
    }

    fn open(&self, directory: &str) -> Arc<dyn Directory> {
        let prefix = self.key(directory);
        let listing = self.namespace.listing(&prefix);
        self.opened(prefix, listing)
    }

    fn known(&self, directory: &str) -> Option<Arc<dyn Directory>> {
        let prefix = self.key(directory);
        let listing = self.namespace.listed(&prefix)?;
        Some(self.opened(prefix, listing))
    }

    async fn foresee(&self, path: &str) -> Option<(String, Object)> {
        let meta = self.namespace.foresee(&self.key(path)).await?;
        let path = meta.key.strip_prefix(&*self.root)?.to_owned();
        Some((path, self.object(meta)))
    }

    async fn look_again(&self, _path: &str, object: &Object) -> Result<Object> {
        let is_ours = Arc::ptr_eq(&object.source, &self.source) && !object.is_provisional;
        match object.size() {
            0 if is_ours => Ok(self.object(self.namespace.look_again(&object.meta).await)),
            _ => Ok(object.clone()),
        }
    }

    async fn invalidate(&self, path: &str) {
        self.namespace.invalidate(&self.key(path)).await;
    }
}

#[async_trait]
impl Directory for Opened {
    /// A place is the position in the listing behind which it is: entries are only ever appended.
    async fn entries(&self, place: u64, count: usize) -> Result<Vec<(Entry, u64)>> {
        let start = usize::try_from(place).unwrap_or(usize::MAX);
        let entries = self.bucket.namespace.entries(&self.prefix, &self.listing, start, count).await?;
        Ok(entries.into_iter().map(|entry| self.bucket.entry(entry)).zip(place.saturating_add(1)..).collect())
    }

    fn beyond(&self, name: &str, direction: isize, count: usize) -> Vec<Entry> {
        let entries = self.listing.walk(name, direction, count);
        entries.into_iter().map(|entry| self.bucket.entry(entry)).collect()
    }
}
