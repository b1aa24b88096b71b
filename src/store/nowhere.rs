//! A store of which only the name matters, for tests of what is kept of its objects.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;

use super::{
    Body, Capabilities, ErrorKind, ListPage, ListRequest, Object, ObjectMeta, ObjectSource, Peeked, Result, Store,
    StoreError,
};
use crate::metrics::PaceMeter;

#[derive(Debug)]
struct Nowhere;

/// An object that cannot be read.
pub fn object(meta: ObjectMeta) -> Object {
    let source = ObjectSource { store: Arc::new(Nowhere), pace: PaceMeter::default() };
    Object { source: Arc::new(source), meta: Arc::new(meta) }
}

fn nothing<T>() -> Result<T> {
    Err(StoreError::new(ErrorKind::NotFound, "nothing is here"))
}

#[async_trait]
impl Store for Nowhere {
    fn id(&self) -> &str {
        "s3://here/bucket"
    }

    fn url(&self, key: &str) -> String {
        format!("s3://bucket/{key}")
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { ordered_listings: true, ..Default::default() }
    }

    async fn touch(&self) -> Result<()> {
        nothing()
    }

    async fn list(&self, _: &ListRequest) -> Result<ListPage> {
        nothing()
    }

    async fn head(&self, _: &str) -> Result<ObjectMeta> {
        nothing()
    }

    async fn peek(&self, _: &str, _: u64) -> Result<Peeked> {
        nothing()
    }

    async fn get(&self, _: &ObjectMeta, _: Range<u64>) -> Result<Body> {
        nothing()
    }
}
