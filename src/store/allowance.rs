//! What the requests of a mount may come to: a bound on bytes and on requests, for buckets whose readers pay.
//!
//! A request is paid for before it is sent: with the length of the range that it asks for, whatever becomes of its
//! answer. Only what the store refused brings its bytes back. So the store never sends more than the budget, however many
//! requests are in flight, retried, hedged or cancelled; and what was cancelled half-way counts as a whole. What a listing
//! has, and the headers of answers, are not counted as bytes: a listing is a request.
//!
//! The last tenth is for what programs wait for: until it is reached, fetching ahead is as ever.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{
    ArchiveState, Body, Capabilities, ErrorKind, ListPage, ListRequest, ObjectMeta, Peeked, Result, Store, StoreError,
};
use crate::metrics::BudgetSnapshot;

/// The share of the budget that is left to what programs wait for.
const DEMAND_SHARE: u64 = 10;

/// What is left of a budget.
#[derive(Debug)]
pub struct Allowance {
    bytes: Option<u64>,
    requests: Option<u64>,
    spent: Mutex<Spent>,
    /// That it is spent was told.
    is_told: AtomicBool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    bytes: u64,
    requests: u64,
}

impl Allowance {
    /// So many bytes of files, and so many requests, as far as there is a bound.
    pub fn new(bytes: Option<u64>, requests: Option<u64>) -> Self {
        Self { bytes, requests, spent: Mutex::default(), is_told: AtomicBool::new(false) }
    }

    /// What was spent, and of how much.
    pub fn snapshot(&self) -> BudgetSnapshot {
        let Spent { bytes, requests } = *self.spent.lock();
        BudgetSnapshot {
            bytes_limit: self.bytes,
            bytes_spent: bytes,
            requests_limit: self.requests,
            requests_spent: requests,
        }
    }

    /// Pays for a request for so many bytes, or says why it may not be sent.
    fn pay(&self, bytes: u64, what: impl FnOnce() -> String) -> Result<()> {
        let mut spent = self.spent.lock();
        let after = Spent { bytes: spent.bytes.saturating_add(bytes), requests: spent.requests + 1 };
        if self.bytes.is_none_or(|limit| after.bytes <= limit)
            && self.requests.is_none_or(|limit| after.requests <= limit)
        {
            *spent = after;
            return Ok(());
        }
        drop(spent);
        if !self.is_told.swap(true, Ordering::Relaxed) {
            let snapshot = self.snapshot();
            tracing::error!(
                bytes = snapshot.bytes_spent,
                requests = snapshot.requests_spent,
                "the budget of this mount is spent: what is not in the cache fails with EDQUOT from now on"
            );
        }
        let message = format!("{}: the budget of the mount is spent: mount anew with a larger one", what());
        Err(StoreError::new(ErrorKind::OverBudget, message))
    }

    /// So many bytes that were paid for were not sent.
    fn give_back(&self, bytes: u64) {
        let mut spent = self.spent.lock();
        spent.bytes = spent.bytes.saturating_sub(bytes);
    }

    /// Whether what no program waits for may be asked for: it stays off the last part.
    fn allows_ahead(&self, bytes: u64) -> bool {
        let spent = *self.spent.lock();
        let within = |limit: Option<u64>, after: u64| limit.is_none_or(|limit| after <= limit - limit / DEMAND_SHARE);
        within(self.bytes, spent.bytes.saturating_add(bytes)) && within(self.requests, spent.requests + 1)
    }
}

/// A store that is asked as far as an allowance goes.
#[derive(Debug)]
pub struct Budgeted {
    inner: Arc<dyn Store>,
    allowance: Arc<Allowance>,
}

impl Budgeted {
    /// Asks `inner` as long as the allowance lasts, which others may share.
    pub fn new(inner: Arc<dyn Store>, allowance: Arc<Allowance>) -> Self {
        Self { inner, allowance }
    }

    fn pay(&self, what: &str, key: &str, bytes: u64) -> Result<()> {
        self.allowance.pay(bytes, || format!("{what} {}", self.url(key)))
    }
}

#[async_trait]
impl Store for Budgeted {
    fn id(&self) -> &str {
        self.inner.id()
    }

    fn url(&self, key: &str) -> String {
        self.inner.url(key)
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn allows_ahead(&self, bytes: u64) -> bool {
        self.allowance.allows_ahead(bytes)
    }

    /// Nobody waits for a connection.
    async fn touch(&self) -> Result<()> {
        if !self.allows_ahead(0) {
            return Err(StoreError::new(ErrorKind::OverBudget, "what is left of the budget is for what is asked for"));
        }
        self.pay("HEAD", "", 0)?;
        self.inner.touch().await
    }

    async fn list(&self, request: &ListRequest) -> Result<ListPage> {
        self.pay("LIST", &request.prefix, 0)?;
        self.inner.list(request).await
    }

    async fn list_at(&self, request: &ListRequest, time: SystemTime) -> Result<ListPage> {
        self.pay("LIST", &request.prefix, 0)?;
        self.inner.list_at(request, time).await
    }

    async fn keeps_versions(&self) -> Result<Option<bool>> {
        self.pay("GET", "", 0)?;
        self.inner.keeps_versions().await
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta> {
        self.pay("HEAD", key, 0)?;
        self.inner.head(key).await
    }

    async fn archive(&self, object: &ObjectMeta) -> Result<Option<ArchiveState>> {
        self.pay("HEAD", &object.key, 0)?;
        self.inner.archive(object).await
    }

    async fn peek(&self, key: &str, len: u64) -> Result<Peeked> {
        self.pay("GET", key, len)?;
        let peeked = self.inner.peek(key, len).await;
        let sent = peeked.as_ref().map_or(0, |peeked| peeked.object.size.min(len));
        self.allowance.give_back(len - sent);
        peeked
    }

    async fn get(&self, object: &ObjectMeta, range: Range<u64>) -> Result<Body> {
        let len = range.end.saturating_sub(range.start);
        self.pay("GET", &object.key, len)?;
        self.inner.get(object, range).await.inspect_err(|_| self.allowance.give_back(len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::scripted::{Op, Scripted, Step, object};

    fn budgeted(bytes: Option<u64>, requests: Option<u64>) -> (Arc<Scripted>, Budgeted, Arc<Allowance>) {
        let (store, allowance) = (Arc::new(Scripted::default()), Arc::new(Allowance::new(bytes, requests)));
        store.put(object("k", 1000));
        (store.clone(), Budgeted::new(store, allowance.clone()), allowance)
    }

    #[tokio::test]
    async fn what_would_exceed_the_budget_is_not_sent() {
        let (store, budgeted, _) = budgeted(Some(250), None);
        let of = object("k", 1000);
        assert!(budgeted.get(&of, 0..200).await.is_ok());
        let Err(refused) = budgeted.get(&of, 200..251).await else { panic!("more than there is") };
        assert_eq!(refused.kind, ErrorKind::OverBudget);
        assert!(budgeted.get(&of, 200..250).await.is_ok(), "what fits is sent");
        assert!(budgeted.head("k").await.is_ok(), "requests have no bound here");
        assert_eq!(store.count(Op::Get), 2);
    }

    #[tokio::test]
    async fn requests_count_whatever_becomes_of_them() {
        let (store, budgeted, allowance) = budgeted(Some(1000), Some(3));
        store.next([Step::fails(ErrorKind::Server)]);
        assert!(budgeted.get(&object("k", 1000), 0..1000).await.is_err());
        assert!(budgeted.get(&object("k", 1000), 0..900).await.is_ok(), "what was refused has cost no bytes");
        assert!(budgeted.head("k").await.is_ok());
        assert_eq!(budgeted.head("k").await.unwrap_err().kind, ErrorKind::OverBudget);
        let snapshot = allowance.snapshot();
        assert_eq!((snapshot.bytes_spent, snapshot.requests_spent), (900, 3));
    }

    #[tokio::test]
    async fn a_peek_costs_what_there_is() {
        let (_, budgeted, allowance) = budgeted(Some(64 << 10), None);
        assert!(budgeted.peek("k", 64 << 10).await.is_ok());
        assert_eq!(allowance.snapshot().bytes_spent, 1000);
        assert!(budgeted.peek("k", 64 << 10).await.is_err(), "it might be as long");
    }

    #[tokio::test]
    async fn the_last_tenth_is_for_what_is_waited_for() {
        let (_, budgeted, _) = budgeted(Some(1000), Some(20));
        assert!(budgeted.allows_ahead(900) && !budgeted.allows_ahead(901));
        for _ in 0..17 {
            budgeted.head("k").await.unwrap();
        }
        assert!(budgeted.touch().await.is_ok());
        assert!(!budgeted.allows_ahead(0) && budgeted.touch().await.is_err());
        assert!(budgeted.get(&object("k", 1000), 0..1000).await.is_ok());
    }
}
