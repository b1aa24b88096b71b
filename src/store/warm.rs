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
/// there each connection would cost as much as they save. Somewhat more than run at once: what opens them may find some
/// that are idle, and one that is missing has the reader wait for it in the middle of its rows.
const CONNECTIONS_AFAR: usize = 160;

/// A way is long if most of the first connections took so long, with their requests: several round trips. Some may be
/// faster, which have found one that was idle.
const AFAR: Duration = Duration::from_millis(150);

/// Idle connections are closed a little later than this (`s3/http.rs`).
const REST: Duration = Duration::from_secs(12);

/// A store whose connections are opened ahead of the requests.
#[derive(Debug)]
pub struct Warm {
    inner: Arc<dyn Store>,
    answered: AtomicBool,
    /// The store does not answer what connections are opened by.
    refused: Arc<AtomicBool>,
    last: Mutex<Instant>,
}

impl Warm {
    /// Opens connections ahead of the requests to `inner`.
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self { inner, answered: AtomicBool::new(false), refused: Arc::default(), last: Mutex::new(Instant::now()) }
    }

    /// Sends a request, with company where it finds no connections.
    async fn send<T>(&self, request: impl Future<Output = Result<T>>) -> Result<T> {
        let rested = std::mem::replace(&mut *self.last.lock(), Instant::now()).elapsed() >= REST;
        if rested && self.answered.load(Ordering::Relaxed) {
            self.open();
        }
        let answer = request.await;
        // Before the first answer it is not certain where the bucket is.
        if answer.is_ok() && !self.answered.swap(true, Ordering::Relaxed) {
            self.open();
        }
        answer
    }

    /// Opens some connections, and more if they show that the way is long. None where the store refuses what they are
    /// opened by.
    fn open(&self) {
        let (store, refused) = (self.inner.clone(), self.refused.clone());
        if refused.load(Ordering::Relaxed) {
            return;
        }
        tokio::spawn(async move {
            let touch = async || {
                let sent = Instant::now();
                store.touch().await.map(|()| sent.elapsed())
            };
            let first = futures::future::try_join_all((0..CONNECTIONS).map(|_| touch())).await;
            match first.map(|times| times.into_iter().filter(|time| *time >= AFAR).count()) {
                Ok(slow) if slow > CONNECTIONS / 2 => {
                    // What becomes of them does not matter.
                    let _ = futures::future::join_all((CONNECTIONS..CONNECTIONS_AFAR).map(|_| touch())).await;
                }
                Ok(_) => {}
                Err(error) => {
                    refused.store(true, Ordering::Relaxed);
                    tracing::debug!(%error, "no connections in advance");
                }
            }
        });
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
