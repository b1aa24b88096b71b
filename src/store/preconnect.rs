//! Connections that are there before they are needed.
//!
//! A new connection takes two or three round trips before the request that it is made for, and what is asked for in
//! parallel needs several. So after the first answer, and with the first request after a rest in which the idle ones were
//! closed, some are opened at once, by the cheapest request that there is: as few as a look-up needs, or some more if the
//! latency is high. The rows of a cutout need many. At a high latency those are opened when data are read, but only where
//! the server gave the first ones readily: small servers give some tens, and let all others wait.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{ArchiveState, Body, Capabilities, ListPage, ListRequest, ObjectMeta, Peeked, Result, Store};

/// As many as a look-up and the walk along the first headers use at once.
const FEW: usize = 8;

/// At a high latency, as many as the rows of a cutout use at once: where transferring a byte takes long they are fetched
/// one by one, and a new connection for each would cost as much as that saves. Somewhat more than run at once: what opens
/// them may find some that are idle, and one that is missing has the reader wait for it in the middle of its rows.
const MANY: usize = 160;

/// At a high latency, before anything is read: what a server that gives few does not give in time.
const SOME: usize = 32;

/// The latency is high if most of the first connections took so long, with their requests: several round trips. Some may
/// be faster, which have found one that was idle.
const HIGH_LATENCY: Duration = Duration::from_millis(150);

/// Connections that take so many times what the first took are not given.
const LATE: u32 = 3;

/// Idle connections are closed a little later than this (`s3/http.rs`).
const REST: Duration = Duration::from_secs(12);

/// A store whose connections are opened ahead of the requests.
#[derive(Debug)]
pub struct Preconnect {
    inner: Arc<dyn Store>,
    opened: Arc<Mutex<Opened>>,
}

/// What was opened since the last rest.
#[derive(Debug)]
struct Opened {
    last: Instant,
    answered: bool,
    /// The store refuses the request that opens connections.
    refused: bool,
    /// Data are read.
    data: bool,
    /// The latency was found to be high.
    is_slow: bool,
    /// It is, and the server gives connections readily: many are of use.
    wants_many: bool,
}

impl Opened {
    /// Whether many connections are of use: data are read at a high latency. True once.
    fn more(&mut self) -> bool {
        self.data && std::mem::take(&mut self.wants_many)
    }
}

impl Preconnect {
    /// Opens connections ahead of the requests to `inner`.
    pub fn new(inner: Arc<dyn Store>) -> Self {
        let opened = Opened {
            last: Instant::now(),
            answered: false,
            refused: false,
            data: false,
            is_slow: false,
            wants_many: false,
        };
        Self { inner, opened: Arc::new(Mutex::new(opened)) }
    }

    /// Sends a request; opens connections along with it where it finds none.
    async fn send<T>(&self, is_data: bool, request: impl Future<Output = Result<T>>) -> Result<T> {
        let (rested, was_slow, more) = {
            let mut opened = self.opened.lock();
            let rested = std::mem::replace(&mut opened.last, Instant::now()).elapsed() >= REST && opened.answered;
            if rested {
                (opened.data, opened.wants_many) = (false, false);
            }
            opened.data |= is_data;
            (rested, opened.is_slow, opened.more())
        };
        if rested {
            self.open_few(was_slow);
        }
        if more {
            tokio::spawn(open_many(self.inner.clone()));
        }
        let sent = Instant::now();
        let answer = request.await;
        // Before the first answer it is not certain where the bucket is.
        if answer.is_ok() && !std::mem::replace(&mut self.opened.lock().answered, true) {
            // It came by a new connection as well.
            self.open_few(sent.elapsed() >= HIGH_LATENCY);
        }
        answer
    }

    /// Opens some connections, which show whether the latency is high; more at once where it seems to be. None where
    /// the store refuses the request that opens them.
    fn open_few(&self, seems_slow: bool) {
        let (store, opened) = (self.inner.clone(), self.opened.clone());
        if opened.lock().refused {
            return;
        }
        tokio::spawn(async move {
            let first = if seems_slow { SOME } else { FEW };
            let mut times = match touch(&*store, first).await {
                Ok(times) => times,
                Err(error) => {
                    opened.lock().refused = true;
                    tracing::debug!(%error, "no connections in advance");
                    return;
                }
            };
            times.sort_unstable();
            let median = times[(first - 1) / 2];
            let is_slow = median >= HIGH_LATENCY;
            opened.lock().is_slow = is_slow;
            if is_slow && first < SOME {
                // More are not asked for where some failed.
                let Ok(others) = touch(&*store, SOME - first).await else { return };
                times.extend(others);
            }
            let more = {
                let mut opened = opened.lock();
                opened.wants_many = is_slow && times.iter().all(|time| *time < median * LATE);
                opened.more()
            };
            if more {
                open_many(store).await;
            }
        });
    }
}

/// Opens as many as there is use for. What becomes of them does not matter.
async fn open_many(store: Arc<dyn Store>) {
    let _ = touch(&*store, MANY - SOME).await;
}

/// Opens so many connections; returns how long each took.
async fn touch(store: &dyn Store, count: usize) -> Result<Vec<Duration>> {
    let touch = async || {
        let sent = Instant::now();
        store.touch().await.map(|()| sent.elapsed())
    };
    futures::future::try_join_all((0..count).map(|_| touch())).await
}

#[async_trait]
impl Store for Preconnect {
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
        self.send(false, self.inner.list(request)).await
    }

    async fn list_at(&self, request: &ListRequest, time: SystemTime) -> Result<ListPage> {
        self.send(false, self.inner.list_at(request, time)).await
    }

    async fn keeps_versions(&self) -> Result<Option<bool>> {
        self.send(false, self.inner.keeps_versions()).await
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta> {
        self.send(false, self.inner.head(key)).await
    }

    async fn archive(&self, object: &ObjectMeta) -> Result<Option<ArchiveState>> {
        self.send(false, self.inner.archive(object)).await
    }

    async fn peek(&self, key: &str, len: u64) -> Result<Peeked> {
        self.send(true, self.inner.peek(key, len)).await
    }

    async fn get(&self, object: &ObjectMeta, range: Range<u64>) -> Result<Body> {
        self.send(true, self.inner.get(object, range)).await
    }
}

#[cfg(test)]
mod tests;
