//! Where the bytes of a file are: one version of one object, and the source that it is in.
//!
//! A mount may have several sources. Nothing above keeps a store of its own: whoever has an [`Object`] has what it takes
//! to read it.

use std::ops::Range;
use std::sync::Arc;

use super::{Body, Identity, ObjectMeta, Result, Store};
use crate::metrics::PaceMeter;

/// A store as a mount uses it, and how fast it is.
#[derive(Debug)]
pub struct Source {
    /// What is asked.
    pub store: Arc<dyn Store>,
    /// Latency and bandwidth of its answers.
    pub pace: PaceMeter,
}

/// A version of an object.
#[derive(Clone, Debug)]
pub struct Object {
    /// Where it is.
    pub source: Arc<Source>,
    /// Its key, version and size.
    pub meta: Arc<ObjectMeta>,
}

impl Object {
    /// The raw key.
    pub fn key(&self) -> &str {
        &self.meta.key
    }

    /// Content length in bytes.
    pub fn size(&self) -> u64 {
        self.meta.size
    }

    /// The URL, for people.
    pub fn url(&self) -> String {
        self.source.store.url(self.key())
    }

    /// Which content of which key it is, in all mounts and for ever.
    pub fn identity(&self) -> Identity {
        Identity::new(self.source.store.id(), &self.meta)
    }

    /// Whether both are one version of one object.
    pub fn is_same(&self, other: &Self) -> bool {
        self.source.store.id() == other.source.store.id() && self.meta.is_same(&other.meta)
    }

    /// The bytes `range` of this version, see [`Store::get`].
    pub async fn get(&self, range: Range<u64>) -> Result<Body> {
        self.source.store.get(&self.meta, range).await
    }
}

#[cfg(test)]
impl Object {
    /// An object of a store.
    pub(crate) fn of(store: Arc<dyn Store>, meta: ObjectMeta) -> Self {
        Self { source: Arc::new(Source { store, pace: PaceMeter::default() }), meta: Arc::new(meta) }
    }
}
