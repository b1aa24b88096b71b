//! Object stores, seen through one narrow trait.
//!
//! Keys are raw strings exactly as the store has them: nothing here normalises `//`, `.` or percent signs. What the
//! layers above know of an object is an [`ObjectMeta`]; what they ask for carries the [`Version`] that they saw, so
//! that bytes of two versions are never mixed. Behaviour that is not a protocol's own (retries, hedging, metering) is a
//! decorator that is itself a [`Store`].

mod error;
mod hedge;
mod metered;
mod preconnect;
mod retry;
mod s3;
mod source;

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::metrics::Metrics;

pub use error::{ErrorKind, Result, StoreError};
pub use hedge::Hedge;
pub use metered::Metered;
pub use preconnect::Preconnect;
pub use retry::{Retry, RetryPolicy};
pub use s3::{CredentialsInfo, Probe, S3Options, S3Store, key_tail};
pub use source::Source;

/// What identifies one immutable content of a key. At least one field is set by every store that can pin versions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Version {
    /// The opaque tag of the entity tag, with its quotes: what is left of it without the sign that it is weak.
    pub etag: Option<Arc<str>>,
    /// The version id of a versioned bucket.
    pub id: Option<Arc<str>>,
}

/// What a listing or a HEAD tells of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectMeta {
    /// The raw key.
    pub key: String,
    /// Content length in bytes.
    pub size: u64,
    /// The store's `Last-Modified`.
    pub last_modified: SystemTime,
    /// Which content of the key this is.
    pub version: Version,
    /// The storage class as the store names it (`GLACIER`, ...); none means standard.
    pub storage_class: Option<Arc<str>>,
}

impl ObjectMeta {
    /// Whether both are one version of one key.
    pub fn is_same(&self, other: &Self) -> bool {
        self.key == other.key && self.version == other.version && self.size == other.size
    }
}

/// One page of a listing: keys that begin with `prefix`, in the store's order.
#[derive(Clone, Debug)]
pub struct ListRequest {
    /// Only keys that begin with this.
    pub prefix: String,
    /// Group keys at the next `/` after the prefix into [`ListPage::prefixes`].
    pub delimited: bool,
    /// At most this many entries in the page (S3 caps it at 1,000).
    pub max_keys: u16,
    /// Where the page before ended.
    pub continuation: Option<String>,
}

impl ListRequest {
    /// At most so many entries are asked for where one name is looked up: the name itself and some that begin with it.
    pub const LOOK_UP: u16 = 32;
}

/// The answer to a [`ListRequest`].
#[derive(Clone, Debug, Default)]
pub struct ListPage {
    /// Objects, ascending by key on every store but S3 directory buckets.
    pub objects: Vec<ObjectMeta>,
    /// Common prefixes, each with its final `/`.
    pub prefixes: Vec<String>,
    /// The keys of entries that make no sense: of a size or time that there cannot be, or with a key that there cannot be.
    pub senseless: Vec<String>,
    /// Pass on as [`ListRequest::continuation`]; none after the last page.
    pub continuation: Option<String>,
    /// How long ago the store was asked: no time, unless the answer was remembered.
    pub age: Duration,
}

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

/// The body of a range GET. The stream yields exactly the bytes asked for, in order, or ends with an error.
pub struct Body {
    /// The version that the server says it sends.
    pub version: Version,
    /// The bytes, in chunks of the transport's choosing.
    pub stream: BoxStream<'static, Result<Bytes>>,
}

/// What one request tells of a key of which nothing was known.
pub struct Peeked {
    /// What a HEAD would have told.
    pub object: ObjectMeta,
    /// The first bytes of that version: as many as were asked for, or all where there are fewer.
    pub head: Body,
}

/// The operations on a bucket (or what plays its part) that a read-only mount needs.
#[async_trait]
pub trait Store: Send + Sync + std::fmt::Debug {
    /// The identity of the bucket, stable across restarts: part of inode numbers and cache keys.
    fn id(&self) -> &str;

    /// The URL of a key, for people: what would steer a terminal is escaped.
    fn url(&self, key: &str) -> String;

    /// Whether listings come in the order of the keys, so that a page proves what is not there. Where it is in doubt, the
    /// pages themselves are looked at as well.
    fn lists_in_order(&self) -> bool;

    /// The cheapest request that there is, for the connection that it opens. Whatever the store answers is right.
    async fn touch(&self) -> Result<()>;

    /// One page of keys.
    async fn list(&self, request: &ListRequest) -> Result<ListPage>;

    /// Size, time and version of one object.
    async fn head(&self, key: &str) -> Result<ObjectMeta>;

    /// The same, with how long ago the store was asked: no time, unless the answer was remembered.
    async fn head_and_age(&self, key: &str) -> Result<(ObjectMeta, Duration)> {
        self.head(key).await.map(|object| (object, Duration::ZERO))
    }

    /// What is remembered of a request: nothing, unless the store is one with a memory. That is the outermost one, so
    /// that no other has to pass this on.
    async fn recalls(&self, _request: &ListRequest) -> Recall {
        Recall::Nothing
    }

    /// What was remembered of a directory until now is not to be believed any more. Nothing to do where nothing is
    /// remembered.
    async fn forget(&self, _directory: &str) {}

    /// The first `len` bytes (not 0) of whichever version the key has now, with what a HEAD would tell.
    async fn peek(&self, key: &str, len: u64) -> Result<Peeked>;

    /// The bytes `range` of the object at its version.
    ///
    /// Fails with [`ErrorKind::VersionChanged`] where the key no longer has that version (or that size). The range
    /// is not empty and ends at or before the object's size.
    async fn get(&self, object: &ObjectMeta, range: Range<u64>) -> Result<Body>;
}

/// The store as a mount uses it: every attempt counted, slow GETs hedged, transient errors retried.
pub fn resilient(store: impl Store + 'static, metrics: &Arc<Metrics>) -> Arc<dyn Store> {
    let metered = Arc::new(Metered::new(Arc::new(store), Arc::clone(metrics)));
    let hedged = Arc::new(Hedge::new(metered, Arc::clone(metrics)));
    Arc::new(Retry::new(hedged, RetryPolicy::default(), Arc::clone(metrics)))
}
