//! Where the bytes of a file are: one version of one object, and the source that it is in.
//!
//! A mount may have several sources. Nothing above keeps a store of its own: whoever has an [`Object`] has what it takes
//! to read it.

use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use super::{
    Allowance, ArchiveState, AsOf, Body, Budgeted, Hedge, Identity, Metered, ObjectMeta, Offline, Preconnect, Result,
    Retry, RetryPolicy, Store,
};
use crate::metrics::{Health, Metrics, PaceMeter};

/// A store as a mount uses it, and how fast it is.
#[derive(Debug)]
pub struct Source {
    /// What is asked.
    pub store: Arc<dyn Store>,
    /// Latency and bandwidth of its answers.
    pub pace: PaceMeter,
    /// Whether it answers.
    pub health: Health,
    /// Its objects are made of those of another source. Of those that are provisional the size is one that they do not
    /// exceed.
    pub is_derived: bool,
}

impl Source {
    /// The store as a mount uses it: connections opened in advance, every attempt counted and measured, slow GETs hedged,
    /// transient errors retried.
    pub fn new(store: Arc<dyn Store>, metrics: &Arc<Metrics>) -> Self {
        Self::within(store, None, metrics)
    }

    /// The same, asked as far as an allowance goes: every attempt is paid for.
    pub fn within(store: Arc<dyn Store>, allowance: Option<&Arc<Allowance>>, metrics: &Arc<Metrics>) -> Self {
        let (pace, health) = (PaceMeter::default(), Health::default());
        let metered = Arc::new(Metered::new(store, metrics.clone(), pace.clone(), health.clone()));
        let paid: Arc<dyn Store> = match allowance {
            Some(allowance) => Arc::new(Budgeted::new(metered, allowance.clone())),
            None => metered,
        };
        let hedged = Arc::new(Hedge::new(paid, metrics.clone()));
        let retried = Arc::new(Retry::new(hedged, RetryPolicy::default(), metrics.clone()));
        Self { store: Arc::new(Preconnect::new(retried)), pace, health, is_derived: false }
    }

    /// The same as it was at a time.
    pub fn at(self, time: SystemTime) -> Self {
        Self { store: Arc::new(AsOf::new(self.store, time)), ..self }
    }

    /// In place of a store that is not to be asked.
    pub fn offline(store: Arc<dyn Store>) -> Self {
        let (pace, health) = (PaceMeter::default(), Health::default());
        Self { store: Arc::new(Offline::new(store)), pace, health, is_derived: false }
    }

    /// A store whose objects are made of those of `outer`: as fast as that.
    pub fn derived(outer: &Self, store: Arc<dyn Store>) -> Self {
        Self { store, pace: outer.pace.clone(), health: outer.health.clone(), is_derived: true }
    }
}

/// A version of an object.
#[derive(Clone, Debug)]
pub struct Object {
    /// Where it is.
    pub source: Arc<Source>,
    /// Its key, version and size.
    pub meta: Arc<ObjectMeta>,
    /// The store has not told of it yet: what is said of it is from elsewhere, and it is looked at before it is read.
    pub is_provisional: bool,
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

    /// Whether its size is only one that it does not exceed: that changes with the first program that opens it.
    pub fn is_unproved(&self) -> bool {
        self.is_provisional && self.source.is_derived
    }

    /// Which content of which key it is, in all mounts and for ever.
    pub fn identity(&self) -> Identity {
        Identity::new(self.source.store.id(), &self.meta)
    }

    /// Whether both are one version of one object.
    pub fn is_same(&self, other: &Self) -> bool {
        self.source.store.id() == other.source.store.id()
            && self.is_provisional == other.is_provisional
            && self.meta.is_same(&other.meta)
    }

    /// Whether it must be restored before it can be read, see [`Store::archive`]. Asks for nothing where its class says that
    /// it can be read.
    pub async fn archive(&self) -> Result<Option<ArchiveState>> {
        match self.meta.storage_class {
            Some(_) => self.source.store.archive(&self.meta).await,
            None => Ok(None),
        }
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
        let source = Source { store, pace: PaceMeter::default(), health: Health::default(), is_derived: false };
        Self { source: Arc::new(source), meta: Arc::new(meta), is_provisional: false }
    }
}
