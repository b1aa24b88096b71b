//! Object stores, seen through one narrow trait.
//!
//! Keys are raw strings exactly as the store has them: nothing here normalises `//`, `.` or percent signs. What the
//! layers above know of an object is an [`ObjectMeta`]; what they ask for carries the [`Version`] that they saw, so
//! that bytes of two versions are never mixed. A source is opened by [`open`], whichever store it is in. Behaviour that
//! is not a protocol's own (retries, hedging, metering) is a decorator that is itself a [`Store`].

mod allowance;
mod archive;
mod as_of;
mod azure;
mod capabilities;
mod class;
mod diagnosis;
mod error;
mod gcs;
mod hedge;
mod http;
mod identity;
mod local;
mod metered;
mod object;
mod offline;
mod options;
mod preconnect;
mod registry;
mod rest;
mod retry;
mod s3;
mod scheme;
#[cfg(test)]
pub(crate) mod scripted;
mod source_url;
mod web;

use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

pub use allowance::{Allowance, Budgeted};
pub use archive::{ArchiveState, RestoreOrder, RestoreTier, Restorer, rfc3339};
pub use as_of::{AsOf, timeless};
pub use azure::{AzureOptions, AzureStore};
pub use capabilities::Capabilities;
pub use class::StorageClass;
pub use diagnosis::{Check, Diagnosis, Outcome, Question, Reached};
pub use error::{ErrorKind, Result, StoreError};
pub use gcs::{GcsOptions, GcsStore};
pub use hedge::Hedge;
pub use http::{HttpOptions, HttpStore};
pub use identity::Identity;
pub use local::LocalStore;
pub use metered::Metered;
pub use object::{Object, Source};
pub use offline::Offline;
pub use options::StoreOptions;
pub use preconnect::Preconnect;
pub use retry::{Retry, RetryPolicy};
pub use s3::{S3Options, S3Store, key_tail};
pub use source_url::SourceUrl;

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
    /// The class of its storage; none means the store's standard one.
    pub storage_class: Option<StorageClass>,
}

impl ObjectMeta {
    /// Whether it must be restored before it can be read, as far as the store tells.
    pub fn is_archived(&self) -> bool {
        self.storage_class.as_ref().is_some_and(|class| class.is_archived)
    }

    /// Whether both are one version of one key.
    pub fn is_same(&self, other: &Self) -> bool {
        let is_dated = self.version != Version::default() || self.last_modified == other.last_modified;
        self.key == other.key && self.version == other.version && self.size == other.size && is_dated
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

    /// What it can do beyond what every store can, as far as it knows by now.
    fn capabilities(&self) -> Capabilities;

    /// Whether a request for so many bytes that no program waits for may be sent. A budget keeps its last part for those
    /// that are waited for.
    fn allows_ahead(&self, _bytes: u64) -> bool {
        true
    }

    /// The cheapest request that there is, for the connection that it opens. Whatever the store answers is right.
    async fn touch(&self) -> Result<()>;

    /// One page of keys.
    async fn list(&self, request: &ListRequest) -> Result<ListPage>;

    /// One page of the keys that there were at a time, each with the id of its version then. Keys of which there is only
    /// a trace may bring their folders into the page.
    async fn list_at(&self, _request: &ListRequest, _time: SystemTime) -> Result<ListPage> {
        let url = self.url("");
        Err(StoreError::invalid(format!("{url} cannot be shown as it was: this kind of store has no earlier versions")))
    }

    /// Whether what is replaced or deleted is kept, so that there is a listing of earlier times; none if that is not told.
    async fn keeps_versions(&self) -> Result<Option<bool>> {
        Ok(Some(false))
    }

    /// Size, time and version of one object.
    async fn head(&self, key: &str) -> Result<ObjectMeta>;

    /// Whether this version must be restored before it can be read, as the store tells now; none if it is in no archive.
    async fn archive(&self, object: &ObjectMeta) -> Result<Option<ArchiveState>>;

    /// The first `len` bytes (not 0) of whichever version the key has now, with what a HEAD would tell.
    async fn peek(&self, key: &str, len: u64) -> Result<Peeked>;

    /// The bytes `range` of the object at its version.
    ///
    /// Fails with [`ErrorKind::VersionChanged`] where the key no longer has that version (or that size). The range
    /// is not empty and ends at or before the object's size.
    async fn get(&self, object: &ObjectMeta, range: Range<u64>) -> Result<Body>;
}

/// The store of a source. Sends no request.
pub async fn open(source: &SourceUrl, options: &StoreOptions) -> Result<Arc<dyn Store>> {
    source.scheme.open(&source.root, options).await
}

/// What restores the archived objects of a source. Sends no request.
pub async fn restorer(source: &SourceUrl, options: &StoreOptions) -> Result<Box<dyn Restorer>> {
    source.scheme.restorer(&source.root, options).await
}

/// The store of a source, to be asked why it cannot be mounted.
pub async fn diagnose(source: &SourceUrl, options: &StoreOptions) -> Result<Box<dyn Diagnosis>> {
    source.scheme.diagnose(&source.root, options).await
}
