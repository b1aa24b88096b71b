//! The plain bytes of one gzip file as an object of a store of its own: all that reads objects reads them.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};

use super::Gunzip;
use crate::store::{
    ArchiveState, Body, Capabilities, ErrorKind, ListPage, ListRequest, Object, ObjectMeta, Peeked, Result, Store,
    StoreError,
};

/// What the identity of such a store begins with.
const MARK: &str = "gunzip ";

/// The identity of the store that has a file: of what is in a compressed file that of the compressed one.
pub fn outer_store(id: &str) -> &str {
    id.strip_prefix(MARK).and_then(|rest| rest.split_once(' ')).map_or(id, |(_ending, outer)| outer)
}

/// A store with one object.
#[derive(Debug)]
pub struct Plain {
    gunzip: Arc<Gunzip>,
    /// The file as it is compressed.
    outer: Object,
    id: String,
}

impl Plain {
    /// What `outer` holds. `ending` is that of the compressed file: two may differ by that alone.
    pub fn new(gunzip: Arc<Gunzip>, outer: Object, ending: &str) -> Self {
        let id = format!("{MARK}{ending} {}", outer.source.store.id());
        Self { gunzip, outer, id }
    }

    /// What no program needs of it: names, and the first bytes of an unknown version.
    fn refuse<T>(&self) -> Result<T> {
        let url = self.outer.url();
        Err(StoreError::new(
            ErrorKind::Invalid,
            format!("{url}: what is in it is found by the tree, and only read here"),
        ))
    }
}

#[async_trait]
impl Store for Plain {
    fn id(&self) -> &str {
        &self.id
    }

    /// That of the compressed file: there is no other.
    fn url(&self, _key: &str) -> String {
        self.outer.url()
    }

    fn capabilities(&self) -> Capabilities {
        self.outer.source.store.capabilities()
    }

    fn allows_ahead(&self, bytes: u64) -> bool {
        self.outer.source.store.allows_ahead(bytes)
    }

    async fn touch(&self) -> Result<()> {
        self.outer.source.store.touch().await
    }

    async fn list(&self, _request: &ListRequest) -> Result<ListPage> {
        self.refuse()
    }

    async fn head(&self, _key: &str) -> Result<ObjectMeta> {
        self.refuse()
    }

    /// What is archived is the compressed file.
    async fn archive(&self, _object: &ObjectMeta) -> Result<Option<ArchiveState>> {
        self.outer.source.store.archive(&self.outer.meta).await
    }

    async fn peek(&self, _key: &str, _len: u64) -> Result<Peeked> {
        self.refuse()
    }

    /// The first bytes are here before it answers: what cannot be read, as when it is archived, fails at once.
    async fn get(&self, object: &ObjectMeta, range: Range<u64>) -> Result<Body> {
        let next = |(gunzip, outer, range)| next(gunzip, outer, range);
        let (first, rest) = match next((self.gunzip.clone(), self.outer.clone(), range)).await? {
            Some((bytes, rest)) => (Some(Ok(bytes)), Some(rest)),
            None => (None, None),
        };
        let rest = stream::iter(rest).flat_map(move |rest| stream::try_unfold(rest, next).boxed());
        Ok(Body { version: object.version.clone(), stream: stream::iter(first).chain(rest).boxed() })
    }
}

/// What is read, and what is left to read.
type Left = (Arc<Gunzip>, Object, Range<u64>);

/// The next bytes of a range; none at its end.
async fn next(gunzip: Arc<Gunzip>, outer: Object, range: Range<u64>) -> Result<Option<(Bytes, Left)>> {
    if range.is_empty() {
        return Ok(None);
    }
    let (at, piece) = gunzip.piece(&outer, range.start).await?;
    let end = range.end.min(at + piece.len() as u64);
    let bytes = piece.slice((range.start - at) as usize..(end - at) as usize);
    Ok(Some((bytes, (gunzip, outer, end..range.end))))
}
