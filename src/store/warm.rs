//! Connections that are there before they are needed.
//!
//! Over a long way a new connection takes two or three round trips before the request that it is made for, and what is
//! asked for in parallel needs several. So after the first answer, and with the first request after a rest in which the
//! idle ones were closed, some are opened at once, by the cheapest request that there is: as few as a look-up needs.
//! The rows of a cutout need many. So more are opened when data are read, if the way is long: some first, and all once
//! those were there.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{Body, ListPage, ListRequest, ObjectMeta, Peeked, Result, Store};

/// As many as a look-up and the walk along the first headers use at once.
const FEW: usize = 8;

/// Over a long way as many as the rows of a cutout use at once: they are fetched one by one where bytes are dear, and
/// there each connection would cost as much as they save. Somewhat more than run at once: what opens them may find some
/// that are idle, and one that is missing has the reader wait for it in the middle of its rows.
const MANY: usize = 160;

/// Small servers give some tens, and whoever opens more has them wait: that shows with so many, before all are opened.
const SOME: usize = 32;

/// A way is long if most of the first connections took so long, with their requests: several round trips. Some may be
/// faster, which have found one that was idle.
const AFAR: Duration = Duration::from_millis(150);

/// Connections that take so many times what the first took are not given.
const LATE: u32 = 3;

/// Idle connections are closed a little later than this (`s3/http.rs`).
const REST: Duration = Duration::from_secs(12);

/// A store whose connections are opened ahead of the requests.
#[derive(Debug)]
pub struct Warm {
    inner: Arc<dyn Store>,
    opened: Arc<Mutex<Opened>>,
}

/// What was opened since the last rest.
#[derive(Debug)]
struct Opened {
    last: Instant,
    answered: bool,
    /// The store does not answer what connections are opened by.
    refused: bool,
    /// Data are read.
    data: bool,
    /// How long the first connections took, where the way is long and more are of use.
    afar: Option<Duration>,
}

impl Opened {
    /// Data are read over a long way: how long the first connections took, once.
    fn more(&mut self) -> Option<Duration> {
        if self.data { self.afar.take() } else { None }
    }
}

impl Warm {
    /// Opens connections ahead of the requests to `inner`.
    pub fn new(inner: Arc<dyn Store>) -> Self {
        let opened = Opened { last: Instant::now(), answered: false, refused: false, data: false, afar: None };
        Self { inner, opened: Arc::new(Mutex::new(opened)) }
    }

    /// Sends a request, with company where it finds no connections.
    async fn send<T>(&self, is_data: bool, request: impl Future<Output = Result<T>>) -> Result<T> {
        let (rested, more) = {
            let mut opened = self.opened.lock();
            let rested = std::mem::replace(&mut opened.last, Instant::now()).elapsed() >= REST && opened.answered;
            if rested {
                (opened.data, opened.afar) = (false, None);
            }
            opened.data |= is_data;
            (rested, opened.more())
        };
        if rested {
            self.open_few();
        }
        if let Some(few) = more {
            tokio::spawn(open_many(self.inner.clone(), few));
        }
        let answer = request.await;
        // Before the first answer it is not certain where the bucket is.
        if answer.is_ok() && !std::mem::replace(&mut self.opened.lock().answered, true) {
            self.open_few();
        }
        answer
    }

    /// Opens some connections, which show whether the way is long. None where the store refuses what they are opened by.
    fn open_few(&self) {
        let (store, opened) = (self.inner.clone(), self.opened.clone());
        if opened.lock().refused {
            return;
        }
        tokio::spawn(async move {
            let mut times = match touch(&*store, FEW).await {
                Ok(times) => times,
                Err(error) => {
                    opened.lock().refused = true;
                    tracing::debug!(%error, "no connections in advance");
                    return;
                }
            };
            times.sort_unstable();
            let median = times[(FEW - 1) / 2];
            let more = {
                let mut opened = opened.lock();
                opened.afar = Some(median).filter(|time| *time >= AFAR);
                opened.more()
            };
            if let Some(few) = more {
                open_many(store, few).await;
            }
        });
    }
}

/// Opens as many more as a server may give, and the others if those were there as soon as the first `few` of them.
async fn open_many(store: Arc<dyn Store>, few: Duration) {
    // More are not asked for where some failed; what becomes of them does not matter.
    let Ok(times) = touch(&*store, SOME - FEW).await else { return };
    if times.iter().all(|time| *time < few * LATE) {
        let _ = touch(&*store, MANY - SOME).await;
    }
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
        self.send(false, self.inner.list(request)).await
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta> {
        self.send(false, self.inner.head(key)).await
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
