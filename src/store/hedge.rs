//! A GET far beyond the usual latency is sent a second time, and the first answer is taken.
//!
//! One request in some hundreds waits for seconds in any large store, and the same request sent again is answered as
//! fast as any. It stands between the retries and the metering: both requests are counted, and what fails is repeated
//! by the retries as ever. [`response_times`] decides when to, so that a store that is slow as a whole is not asked for more.
//!
//! Only the wait for the first byte is hedged. A body that stalls is resumed by the retries, from the byte it reached.

mod response_times;

use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::{ArchiveState, Body, Capabilities, ErrorKind, ListPage, ListRequest, ObjectMeta, Peeked, Result, Store};
use crate::metrics::Metrics;
use response_times::{ResponseTimes, Verdict};

/// A store whose slow GETs are sent twice.
#[derive(Debug)]
pub struct Hedge {
    inner: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    /// A leaf in the order of locks: nothing else is locked under it.
    times: Mutex<ResponseTimes>,
}

impl Hedge {
    /// Hedges GETs of `inner`.
    pub fn new(inner: Arc<dyn Store>, metrics: Arc<Metrics>) -> Self {
        let times = ResponseTimes::default();
        metrics.hedge_budget.set(times.budget());
        Self { inner, metrics, times: Mutex::new(times) }
    }

    /// One GET, measured and never repeated.
    async fn attempt(&self, object: &ObjectMeta, range: Range<u64>) -> Result<Body> {
        let sent = Instant::now();
        let answer = self.inner.get(object, range).await;
        let now = Instant::now();
        match &answer {
            Ok(_) => self.times.lock().answered(now - sent),
            Err(error) => self.note(error.kind, now),
        }
        answer
    }

    fn note(&self, kind: ErrorKind, now: Instant) {
        if kind == ErrorKind::Throttled {
            self.times.lock().throttled(now);
        }
    }

    /// Returns when the GET that was sent as this number at this time is to be sent again, and paid for.
    async fn overdue(&self, number: u64, sent: Instant) {
        loop {
            let verdict = {
                let mut times = self.times.lock();
                let verdict = times.judge(number, sent, Instant::now());
                self.metrics.hedge_budget.set(times.budget());
                verdict
            };
            match verdict {
                Verdict::Wait(time) => sleep(time).await,
                Verdict::Hedge => return,
            }
        }
    }
}

#[async_trait]
impl Store for Hedge {
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
        self.inner.allows_ahead(bytes)
    }

    async fn touch(&self) -> Result<()> {
        self.inner.touch().await
    }

    async fn list(&self, request: &ListRequest) -> Result<ListPage> {
        self.inner.list(request).await.inspect_err(|error| self.note(error.kind, Instant::now()))
    }

    async fn list_at(&self, request: &ListRequest, time: SystemTime) -> Result<ListPage> {
        self.inner.list_at(request, time).await.inspect_err(|error| self.note(error.kind, Instant::now()))
    }

    async fn keeps_versions(&self) -> Result<Option<bool>> {
        self.inner.keeps_versions().await.inspect_err(|error| self.note(error.kind, Instant::now()))
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta> {
        self.inner.head(key).await.inspect_err(|error| self.note(error.kind, Instant::now()))
    }

    async fn archive(&self, object: &ObjectMeta) -> Result<Option<ArchiveState>> {
        self.inner.archive(object).await.inspect_err(|error| self.note(error.kind, Instant::now()))
    }

    async fn peek(&self, key: &str, len: u64) -> Result<Peeked> {
        self.inner.peek(key, len).await.inspect_err(|error| self.note(error.kind, Instant::now()))
    }

    async fn get(&self, object: &ObjectMeta, range: Range<u64>) -> Result<Body> {
        let waiting = Waiting::new(self);
        let mut first = pin!(self.attempt(object, range.clone()));
        tokio::select! {
            biased;
            answer = &mut first => return answer,
            () = self.overdue(waiting.number, waiting.sent) => {}
        }
        if !self.inner.allows_ahead(range.end - range.start) {
            return first.await;
        }
        self.metrics.hedged_requests.inc();
        tracing::debug!(
            key = object.key,
            ?range,
            waited_ms = waiting.sent.elapsed().as_millis(),
            "a slow GET is hedged"
        );
        let mut second = pin!(self.attempt(object, range));
        // Whatever does not win is dropped, which closes its connection.
        tokio::select! {
            biased;
            answer = &mut first => match answer {
                answer if is_final(&answer) => answer,
                _ => second.await.inspect(|_| self.metrics.hedges_won.inc()),
            },
            answer = &mut second => match answer {
                answer if is_final(&answer) => answer.inspect(|_| self.metrics.hedges_won.inc()),
                _ => first.await,
            },
        }
    }
}

/// Whether the other request could tell nothing new: there is a body, or an error that waiting does not cure. For the other
/// one the budget has lasted.
fn is_final(answer: &Result<Body>) -> bool {
    answer.as_ref().err().is_none_or(|error| !error.kind.is_transient() && error.kind != ErrorKind::OverBudget)
}

/// A GET without an answer so far; it ends however its caller ends.
struct Waiting<'a> {
    hedge: &'a Hedge,
    number: u64,
    sent: Instant,
}

impl<'a> Waiting<'a> {
    fn new(hedge: &'a Hedge) -> Self {
        let mut times = hedge.times.lock();
        let number = times.sent();
        hedge.metrics.hedge_budget.set(times.budget());
        Self { hedge, number, sent: Instant::now() }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.hedge.times.lock().ended();
    }
}

#[cfg(test)]
mod tests;
