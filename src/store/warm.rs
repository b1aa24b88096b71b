//! Connections that are there before they are needed.
//!
//! Over a long way a new connection takes two or three round trips before the request that it is made for, and what is
//! asked for in parallel needs several. So after the first answer, and with the first request after a rest in which the
//! idle ones were closed, some are opened at once, by the cheapest request that there is.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{Body, ListPage, ListRequest, ObjectMeta, Peeked, Result, Store};

/// As many as a look-up and the walk along the first headers use at once.
const CONNECTIONS: usize = 8;

/// Over a long way as many as the rows of a cutout use at once: they are fetched one by one where bytes are dear, and
/// there each connection would cost as much as they save.
const CONNECTIONS_AFAR: usize = 128;

/// A way is long if no answer of the first ones came sooner than this: the fastest of them found a connection.
const AFAR: Duration = Duration::from_millis(80);
const FIRST_ANSWERS: usize = 3;

/// Idle connections are closed a little later than this (`s3/http.rs`).
const REST: Duration = Duration::from_secs(12);

/// A store whose connections are opened ahead of the requests.
#[derive(Debug)]
pub struct Warm {
    inner: Arc<dyn Store>,
    /// Answers since the connections were opened last, and the shortest time that one took.
    answers: Mutex<(usize, Duration)>,
    answered: AtomicBool,
    /// The store does not answer what connections are opened by.
    refused: Arc<AtomicBool>,
    last: Mutex<Instant>,
}

impl Warm {
    /// Opens connections ahead of the requests to `inner`.
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self {
            inner,
            answers: Mutex::new((0, Duration::MAX)),
            answered: AtomicBool::new(false),
            refused: Arc::default(),
            last: Mutex::new(Instant::now()),
        }
    }

    /// Sends a request, with company where it finds no connections.
    async fn send<T>(&self, request: impl Future<Output = Result<T>>) -> Result<T> {
        let sent = Instant::now();
        let rested = std::mem::replace(&mut *self.last.lock(), sent).elapsed() >= REST;
        if rested && self.answered.load(Ordering::Relaxed) {
            *self.answers.lock() = (0, Duration::MAX);
            self.open(CONNECTIONS);
        }
        let answer = request.await;
        if answer.is_ok() {
            // Before the first answer it is not certain where the bucket is.
            if !self.answered.swap(true, Ordering::Relaxed) {
                self.open(CONNECTIONS);
            }
            self.note(sent.elapsed());
        }
        answer
    }

    /// Notes how long an answer took; opens more connections once it is certain that the way is long.
    fn note(&self, took: Duration) {
        let mut answers = self.answers.lock();
        *answers = (answers.0 + 1, answers.1.min(took));
        if answers.0 == FIRST_ANSWERS && answers.1 >= AFAR {
            self.open(CONNECTIONS_AFAR - CONNECTIONS);
        }
    }

    fn open(&self, count: usize) {
        for _ in 0..count {
            if self.refused.load(Ordering::Relaxed) {
                return;
            }
            let (store, refused) = (self.inner.clone(), self.refused.clone());
            tokio::spawn(async move {
                if let Err(error) = store.touch().await {
                    refused.store(true, Ordering::Relaxed);
                    tracing::debug!(%error, "no connection in advance");
                }
            });
        }
    }
}

#[async_trait]
impl Store for Warm {
    fn id(&self) -> &str {
        self.inner.id()
    }

    fn url(&self, key: &str) -> String {
        self.inner.url(key)
    }

    fn lists_in_order(&self) -> bool {
        self.inner.lists_in_order()
    }

    async fn touch(&self) -> Result<()> {
        self.inner.touch().await
    }

    async fn list(&self, request: &ListRequest) -> Result<ListPage> {
        self.send(self.inner.list(request)).await
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta> {
        self.send(self.inner.head(key)).await
    }

    async fn peek(&self, key: &str, len: u64) -> Result<Peeked> {
        self.send(self.inner.peek(key, len)).await
    }

    async fn get(&self, object: &ObjectMeta, range: Range<u64>) -> Result<Body> {
        self.send(self.inner.get(object, range)).await
    }
}

#[cfg(test)]
mod tests;
