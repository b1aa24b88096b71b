//! The one retry layer: transient errors are repeated with exponential backoff and full jitter up to a deadline, and a
//! body that breaks off goes on from the byte that it reached, at the same version.
//!
//! Nothing is repeated for ever: requests end at a deadline, bodies at a deadline since their last progress and at a
//! number of failures. The error that remains is the last one, with the number of attempts in its message. What is
//! progress, and not a drip of bytes, [`rate`] says.
//!
//! A server that says when it wants to be asked again (`Retry-After`) is not asked before. Where that is beyond the
//! deadline, it is asked once more shortly before that: many say so of an outage that is over in a moment.

mod rate;

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use tokio::time::{Instant, timeout, timeout_at};

use self::rate::{Line, Rate, Verdict};
use super::{
    ArchiveState, Body, Capabilities, ErrorKind, ListPage, ListRequest, ObjectMeta, Peeked, Result, Store, StoreError,
};
use crate::metrics::Metrics;

/// When to repeat and when to give up.
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    /// The first delay is drawn from zero to this; each next one from twice as much.
    pub base: Duration,
    /// No delay is longer than this.
    pub cap: Duration,
    /// How long a LIST or HEAD may take with all its attempts.
    pub metadata_deadline: Duration,
    /// How long a GET may go without progress, over all its attempts.
    pub data_deadline: Duration,
    /// A body from which no byte comes for this long is given up and resumed.
    pub stall: Duration,
    /// How many attempts a nonsensical answer is worth.
    pub max_bad_responses: u32,
    /// How often one body may fail, even where it always got a little further.
    pub max_failures: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            // About one round trip: what failed by chance succeeds at once.
            base: Duration::from_millis(50),
            // S3 moves load within seconds; a longer delay would only add to a reader's wait.
            cap: Duration::from_secs(3),
            // A program that looks up a name shows no progress meanwhile; its user waits for the prompt.
            metadata_deadline: Duration::from_secs(10),
            // A reader that gets EIO loses its run, and a mapped one dies of SIGBUS: outlast a failover.
            data_deadline: Duration::from_secs(60),
            // A connection that was quiet for as long as we wait for a first byte is dead.
            stall: Duration::from_secs(5),
            // A broken answer may come from one bad proxy of several, but hardly four times in a row.
            max_bad_responses: 4,
            // More than fit the deadline of a GET that gains nothing (some 40 at half the cap); a body of 16 MiB that is
            // cut each MiB still arrives, one that gains a byte each time does not.
            max_failures: 64,
        }
    }
}

/// The share of a deadline that is left for the last attempt, where the server asks for a longer wait than that.
const LAST_ATTEMPT: u32 = 10;

/// A store whose transient errors are retried.
#[derive(Debug)]
pub struct Retry {
    inner: Arc<dyn Store>,
    policy: Arc<RetryPolicy>,
    metrics: Arc<Metrics>,
    line: Arc<Line>,
}

impl Retry {
    /// Retries requests to `inner`.
    pub fn new(inner: Arc<dyn Store>, policy: RetryPolicy, metrics: Arc<Metrics>) -> Self {
        Self { inner, policy: Arc::new(policy), metrics, line: Arc::default() }
    }

    async fn metadata<T, Sent>(&self, what: &str, key: &str, send: impl Fn() -> Sent) -> Result<T>
    where
        Sent: Future<Output = Result<T>>,
    {
        let mut attempts = Attempts::new(&self.policy, &self.metrics, self.policy.metadata_deadline);
        loop {
            let deadline = attempts.deadline();
            let answer = match timeout_at(deadline, send()).await {
                Ok(answer) => answer,
                Err(_) => Err(late(what, &self.inner.url(key))),
            };
            match answer {
                Ok(answer) => return Ok(answer),
                Err(error) => attempts.wait(error).await?,
            }
        }
    }
}

#[async_trait]
impl Store for Retry {
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

    /// Not repeated: nothing depends on it.
    async fn touch(&self) -> Result<()> {
        self.inner.touch().await
    }

    async fn list(&self, request: &ListRequest) -> Result<ListPage> {
        self.metadata("LIST", &request.prefix, || self.inner.list(request)).await
    }

    async fn list_at(&self, request: &ListRequest, time: SystemTime) -> Result<ListPage> {
        self.metadata("LIST", &request.prefix, || self.inner.list_at(request, time)).await
    }

    async fn keeps_versions(&self) -> Result<Option<bool>> {
        self.metadata("HEAD", "", || self.inner.keeps_versions()).await
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta> {
        self.metadata("HEAD", key, || self.inner.head(key)).await
    }

    async fn archive(&self, object: &ObjectMeta) -> Result<Option<ArchiveState>> {
        self.metadata("HEAD", &object.key, || self.inner.archive(object)).await
    }

    /// Repeated like a HEAD up to the first byte, since a program waits for the name; from there on like a GET.
    async fn peek(&self, key: &str, len: u64) -> Result<Peeked> {
        let Peeked { object, head } = self.metadata("GET", key, || self.inner.peek(key, len)).await?;
        let mut transfer = self.transfer(&object, 0..len.min(object.size));
        transfer.stream = Some(head.stream);
        Ok(Peeked { object, head: transfer.into_body() })
    }

    async fn get(&self, object: &ObjectMeta, range: Range<u64>) -> Result<Body> {
        let mut transfer = self.transfer(object, range);
        transfer.connect().await?;
        Ok(transfer.into_body())
    }
}

impl Retry {
    fn transfer(&self, object: &ObjectMeta, range: Range<u64>) -> Transfer {
        Transfer {
            inner: Arc::clone(&self.inner),
            object: object.clone(),
            range,
            attempts: Attempts::new(&self.policy, &self.metrics, self.policy.data_deadline),
            rate: Rate::default(),
            line: Arc::clone(&self.line),
            stream: None,
        }
    }
}

/// A range on its way: what is still to come, of which version.
struct Transfer {
    inner: Arc<dyn Store>,
    object: ObjectMeta,
    range: Range<u64>,
    attempts: Attempts,
    rate: Rate,
    line: Arc<Line>,
    stream: Option<BoxStream<'static, Result<Bytes>>>,
}

impl Transfer {
    fn into_body(self) -> Body {
        let version = self.object.version.clone();
        let stream = futures::stream::unfold(Some(self), |transfer| async move {
            let mut transfer = transfer?;
            match transfer.next().await.transpose()? {
                Ok(chunk) => Some((Ok(chunk), Some(transfer))),
                Err(error) => Some((Err(error), None)),
            }
        });
        Body { version, stream: stream.boxed() }
    }

    /// Asks for what is still to come, as often as it takes.
    async fn connect(&mut self) -> Result<()> {
        loop {
            match timeout_at(self.attempts.deadline(), self.inner.get(&self.object, self.range.clone())).await {
                Ok(Ok(body)) => {
                    // An object that was not pinned is from now on: the rest must be of the version that began.
                    self.object.version = body.version;
                    self.stream = Some(body.stream);
                    return Ok(());
                }
                Ok(Err(error)) => self.attempts.wait(error).await?,
                Err(_) => self.attempts.wait(late("GET", &self.inner.url(&self.object.key))).await?,
            }
        }
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let Some(stream) = &mut self.stream else {
                self.connect().await?;
                continue;
            };
            let waiting = self.line.wait();
            let error = match timeout(self.attempts.policy.stall, stream.next()).await {
                Ok(Some(Ok(chunk))) => {
                    self.range.start += chunk.len() as u64;
                    match self.rate.received(chunk.len() as u64, waiting.end(chunk.len() as u64)) {
                        Verdict::Open => self.attempts.in_a_row = 0,
                        Verdict::Progress => self.attempts.progress(),
                        Verdict::TooSlow => self.give_up_slow().await?,
                    }
                    return Ok(Some(chunk));
                }
                Ok(Some(Err(error))) => error,
                Ok(None) => return Ok(None),
                Err(_) => self.stalled(),
            };
            self.stream = None;
            if self.range.is_empty() {
                // Nothing is left to ask for. A connection that broke after the last byte took nothing away; an answer
                // that goes on after it was not the answer.
                return if error.kind == ErrorKind::BadResponse { Err(error) } else { Ok(None) };
            }
            self.attempts.wait(error).await?;
        }
    }

    /// What comes is no more than a drip: the rest is asked for by another connection.
    async fn give_up_slow(&mut self) -> Result<()> {
        self.stream = None;
        if self.range.is_empty() {
            return Ok(());
        }
        let (url, at) = (self.inner.url(&self.object.key), self.range.start);
        let message = format!("GET {url}: hardly a byte in {} s, at byte {at}", rate::WINDOW.as_secs());
        self.attempts.wait(StoreError::new(ErrorKind::Timeout, message)).await
    }

    fn stalled(&self) -> StoreError {
        let (url, stall) = (self.inner.url(&self.object.key), self.attempts.policy.stall);
        let message = format!("GET {url}: no byte for {} s at byte {}", stall.as_secs_f64(), self.range.start);
        StoreError::new(ErrorKind::Timeout, message)
    }
}

/// The attempts at one thing: how many failed, and until when it may be tried.
#[derive(Debug)]
struct Attempts {
    policy: Arc<RetryPolicy>,
    metrics: Arc<Metrics>,
    length: Duration,
    since: Instant,
    failures: u32,
    /// Failures since the last progress: what the delay grows with.
    in_a_row: u32,
    bad_responses: u32,
    /// The server has asked for more patience than there is: what comes now is the last attempt.
    is_last: bool,
}

impl Attempts {
    fn new(policy: &Arc<RetryPolicy>, metrics: &Arc<Metrics>, length: Duration) -> Self {
        Self {
            policy: Arc::clone(policy),
            metrics: Arc::clone(metrics),
            length,
            since: Instant::now(),
            failures: 0,
            in_a_row: 0,
            bad_responses: 0,
            is_last: false,
        }
    }

    fn deadline(&self) -> Instant {
        self.since + self.length
    }

    /// Bytes came: the deadline starts anew.
    fn progress(&mut self) {
        self.since = Instant::now();
        self.in_a_row = 0;
        self.is_last = false;
    }

    /// Waits before the next attempt, or returns the error that it does not come to.
    async fn wait(&mut self, error: StoreError) -> Result<()> {
        self.failures += 1;
        self.in_a_row += 1;
        self.bad_responses += u32::from(error.kind == ErrorKind::BadResponse);
        let delay = self.delay(error.retry_after);
        let exhausted = self.is_last
            || self.failures >= self.policy.max_failures
            || self.bad_responses >= self.policy.max_bad_responses
            || Instant::now() + delay >= self.deadline();
        if !error.kind.is_transient() || exhausted {
            return Err(self.last(error));
        }
        self.is_last = error.retry_after.is_some_and(|asked| delay < asked);
        let (attempt, delay_ms) = (self.failures, delay.as_millis());
        // The first failure is everyday life; more of them explain to a user why the program hangs.
        if attempt == 1 {
            tracing::debug!(attempt, delay_ms, kind = ?error.kind, "{error}; retrying");
        } else {
            tracing::warn!(attempt, delay_ms, kind = ?error.kind, "{error}; retrying");
        }
        tokio::time::sleep(delay).await;
        self.metrics.retries.inc();
        Ok(())
    }

    /// The random delay, or as long as the server asks for if that is longer. What would end after the deadline ends in
    /// time for one attempt.
    fn delay(&self, asked: Option<Duration>) -> Duration {
        let delay = self.policy.delay(self.in_a_row, rand::random::<f64>());
        // Not all of those that were told the same come back at the same moment.
        let Some(asked) = asked.map(|asked| asked.saturating_add(delay)) else { return delay };
        let last = self.deadline().saturating_duration_since(Instant::now() + self.length / LAST_ATTEMPT);
        if asked > last { last.max(delay) } else { asked }
    }

    fn last(&self, error: StoreError) -> StoreError {
        let mut message = error.message.clone();
        if let Some(asked) = error.retry_after.filter(|asked| !asked.is_zero()) {
            message.push_str(&format!("; it asks to be left alone for {} s", asked.as_secs()));
        }
        if self.failures > 1 {
            message.push_str(&format!("; gave up after {} attempts", self.failures));
        }
        StoreError { message, ..error }
    }
}

impl RetryPolicy {
    /// Full jitter: `random`, from 0 to 1, of the base doubled with each failure, at most of the cap.
    fn delay(&self, failures_in_a_row: u32, random: f64) -> Duration {
        let doublings = failures_in_a_row.saturating_sub(1).min(31);
        self.base.saturating_mul(1 << doublings).min(self.cap).mul_f64(random.clamp(0.0, 1.0))
    }
}

fn late(what: &str, url: &str) -> StoreError {
    StoreError::new(ErrorKind::Timeout, format!("{what} {url}: no answer before the deadline"))
}

#[cfg(test)]
mod tests;
