//! Counts and times every attempt at a store. It stands below the retries, so that `status` shows what the network
//! really did.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use async_trait::async_trait;
use futures::stream::StreamExt;

use super::{ArchiveState, Body, Capabilities, ErrorKind, ListPage, ListRequest, ObjectMeta, Peeked, Result, Store};
use crate::metrics::{Counter, Health, Metrics, PaceMeter, RequestKind};

/// A store whose requests are measured.
#[derive(Debug)]
pub struct Metered {
    inner: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    pace: PaceMeter,
    health: Health,
}

impl Metered {
    /// Measures the requests to `inner`.
    pub fn new(inner: Arc<dyn Store>, metrics: Arc<Metrics>, pace: PaceMeter, health: Health) -> Self {
        Self { inner, metrics, pace, health }
    }

    fn enter(&self) -> InFlight {
        self.metrics.in_flight.add(1);
        InFlight { metrics: self.metrics.clone(), pace: self.pace.clone(), sent: Instant::now() }
    }

    /// Counts the request and times its answer. For a GET that is up to the headers, which is the first byte.
    async fn measure<T>(&self, kind: RequestKind, sent: impl Future<Output = Result<T>>) -> Result<T> {
        let request = self.metrics.request(kind);
        request.count.inc();
        let start = Instant::now();
        let answer = sent.await;
        match &answer {
            Ok(_) => request.latency.record(start.elapsed()),
            Err(error) => error_counter(&self.metrics, error.kind).inc(),
        }
        match &answer {
            Err(error) if !error.kind.is_answer() => self.health.failed(&error.message),
            Ok(_) | Err(_) => self.health.answered(),
        }
        answer
    }
}

#[async_trait]
impl Store for Metered {
    fn id(&self) -> &str {
        self.inner.id()
    }

    fn url(&self, key: &str) -> String {
        self.inner.url(key)
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn touch(&self) -> Result<()> {
        let _in_flight = self.metrics.in_flight.enter();
        self.measure(RequestKind::Head, self.inner.touch()).await
    }

    async fn list(&self, request: &ListRequest) -> Result<ListPage> {
        let _in_flight = self.metrics.in_flight.enter();
        self.measure(RequestKind::List, self.inner.list(request)).await
    }

    async fn list_at(&self, request: &ListRequest, time: SystemTime) -> Result<ListPage> {
        let _in_flight = self.metrics.in_flight.enter();
        self.measure(RequestKind::List, self.inner.list_at(request, time)).await
    }

    async fn keeps_versions(&self) -> Result<Option<bool>> {
        let _in_flight = self.metrics.in_flight.enter();
        self.measure(RequestKind::Head, self.inner.keeps_versions()).await
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta> {
        let _in_flight = self.metrics.in_flight.enter();
        self.measure(RequestKind::Head, self.inner.head(key)).await
    }

    async fn archive(&self, object: &ObjectMeta) -> Result<Option<ArchiveState>> {
        let _in_flight = self.metrics.in_flight.enter();
        self.measure(RequestKind::Head, self.inner.archive(object)).await
    }

    async fn peek(&self, key: &str, len: u64) -> Result<Peeked> {
        let in_flight = self.enter();
        let peeked = self.measure(RequestKind::Get, self.inner.peek(key, len)).await?;
        Ok(Peeked { head: in_flight.until_the_end_of(peeked.head), ..peeked })
    }

    async fn get(&self, object: &ObjectMeta, range: Range<u64>) -> Result<Body> {
        let in_flight = self.enter();
        let body = self.measure(RequestKind::Get, self.inner.get(object, range)).await?;
        Ok(in_flight.until_the_end_of(body))
    }
}

/// A request in flight that outlives the call: it ends with its body.
struct InFlight {
    metrics: Arc<Metrics>,
    pace: PaceMeter,
    sent: Instant,
}

impl InFlight {
    /// The body, whose bytes and errors are counted as they come, and whose pace is measured.
    fn until_the_end_of(self, body: Body) -> Body {
        let mut receiving = self.pace.answered(self.sent.elapsed());
        let stream = body.stream.inspect(move |chunk| match chunk {
            Ok(bytes) => {
                self.metrics.bytes_fetched.add(bytes.len() as u64);
                receiving.received(bytes.len() as u64);
            }
            Err(error) => error_counter(&self.metrics, error.kind).inc(),
        });
        Body { version: body.version, stream: stream.boxed() }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.metrics.in_flight.sub(1);
    }
}

fn error_counter(metrics: &Metrics, kind: ErrorKind) -> &Counter {
    let errors = &metrics.errors;
    match kind {
        ErrorKind::NotFound => &errors.not_found,
        ErrorKind::AccessDenied => &errors.access_denied,
        ErrorKind::Credentials => &errors.credentials,
        ErrorKind::VersionChanged => &errors.version_changed,
        ErrorKind::Archived => &errors.archived,
        ErrorKind::Throttled => &errors.throttled,
        ErrorKind::Server => &errors.server,
        ErrorKind::Timeout => &errors.timeout,
        ErrorKind::Network | ErrorKind::Certificate | ErrorKind::Cancelled => &errors.network,
        ErrorKind::BadResponse => &errors.bad_response,
        // Offline and beyond the budget no request comes here, and what an object holds is found above.
        ErrorKind::Invalid | ErrorKind::Damaged | ErrorKind::Offline | ErrorKind::OverBudget => &errors.invalid,
    }
}
