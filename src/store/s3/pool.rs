//! Connections that are no longer trusted, and how many there may be.
//!
//! A laptop that wakes, a VPN that reconnects or a NAT that forgets leaves idle connections behind that are silent for
//! ever, while new ones work. Each request on one of them would wait for its first byte until the timeout. So a request
//! that is not answered, while nothing at all comes by the connections that there are, is sent again by a new one. If
//! that is answered first, the older ones are given up: the idle ones are closed, and what waits for a first byte on one
//! of them is sent again at once. Bodies that are arriving go on.
//!
//! A server that gives few connections answers on those and lets the others wait. That shows in the same way, except
//! that bytes do come by others: what waits on a connection that never answered is then sent by one that does, and
//! [`Crowd`] lets no more requests run at once than there are such connections.
//!
//! Requests that are not reads are only sent once.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_smithy_runtime_api::client::connection::CaptureSmithyConnection;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::crowd::{Crowd, Place};

/// S3 closes idle connections after some 20 s; one that is closed while a request is in flight costs a retry.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// A request without an answer for so long is not waiting for a usual one: a store answers in tenths of a second, and a
/// lost packet is sent again within one.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Where answers take long, so many times the longest of late.
const TIMES_LONGEST: u32 = 3;

/// How much of the longest is left after a shorter one: twenty quick answers outweigh a slow one of ten times their time.
const KEPT: f64 = 0.9;

/// The status of an answer that says that there is no room for another.
const BUSY: u16 = 503;

/// How often those that wait look again while one of them is sent anew.
const LOOK: Duration = Duration::from_millis(200);

type Answer = Result<HttpResponse, ConnectorError>;

/// A client that replaces its connections.
#[derive(Debug)]
pub(in crate::store) struct Pools(Arc<Inner>);

struct Inner {
    make: Box<dyn Fn() -> SharedHttpClient + Send + Sync>,
    current: ArcSwap<Pool>,
    crowd: Arc<Crowd>,
    /// How long the machine had slept when the current pool was made.
    slept: Mutex<Duration>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pools").field("current", &self.current).finish_non_exhaustive()
    }
}

/// Connections that are given up together.
#[derive(Debug)]
struct Pool {
    client: SharedHttpClient,
    heard: Mutex<Heard>,
    /// One of the requests that wait is being sent by a new connection.
    doubted: AtomicBool,
    given_up: AtomicBool,
    /// Tells those that wait that it was given up.
    ended: Notify,
}

/// What has come by the connections of a pool.
#[derive(Debug, Default)]
struct Heard {
    last: Option<Instant>,
    /// The longest time to an answer of late.
    longest: Duration,
    /// The connections that have answered, by their addresses here, and when they did so last.
    answered: HashMap<SocketAddr, Instant>,
}

impl Heard {
    fn answer(&mut self, after: Duration, by: Option<SocketAddr>, now: Instant) {
        self.last = Some(now);
        self.longest = self.longest.mul_f64(KEPT).max(after);
        if let Some(address) = by {
            self.answered.retain(|_, last| now.duration_since(*last) < IDLE_TIMEOUT);
            self.answered.insert(address, now);
        }
    }

    fn patience(&self) -> Duration {
        PATIENCE.max(self.longest * TIMES_LONGEST)
    }
}

/// Why a request that waits is sent a second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubt {
    /// Nothing comes by any connection.
    Pool,
    /// Others answer, but the new connection that this one waits for.
    Connection,
}

impl Pools {
    /// A client whose connections are those of one that `make` makes, and later of another.
    pub(super) fn new(make: impl Fn() -> SharedHttpClient + Send + Sync + 'static) -> Self {
        let current = ArcSwap::from_pointee(Pool::new(make()));
        Self(Arc::new(Inner { make: Box::new(make), current, crowd: Arc::default(), slept: Mutex::new(slept()) }))
    }
}

impl HttpClient for Pools {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let (settings, components) = (settings.clone(), components.clone());
        SharedHttpConnector::new(Connector { pools: self.0.clone(), way: Arc::new(Way { settings, components }) })
    }
}

/// What a client makes a connector of.
#[derive(Debug)]
struct Way {
    settings: HttpConnectorSettings,
    components: RuntimeComponents,
}

#[derive(Debug)]
struct Connector {
    pools: Arc<Inner>,
    way: Arc<Way>,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (pools, way) = (self.pools.clone(), self.way.clone());
        HttpConnectorFuture::new(async move { pools.send(request, &way).await })
    }
}

impl Inner {
    async fn send(&self, request: HttpRequest, way: &Way) -> Answer {
        let is_read = matches!(request.method(), "GET" | "HEAD");
        let Some(spare) = request.try_clone().filter(|_| is_read) else {
            return self.current().client.http_connector(&way.settings, &way.components).call(request).await;
        };
        let place = self.crowd.enter().await;
        let first = Attempt::new(self.current(), request, place);
        let (sent, pool, capture) = (first.sent, first.pool.clone(), first.capture.clone());
        let place = first.place.clone();
        let mut first = pin!(self.attempt(first, way));
        let doubt = tokio::select! {
            biased;
            answer = &mut first => return answer,
            doubt = pool.doubt(sent, &capture) => doubt,
        };
        tracing::debug!(?doubt, waited_ms = sent.elapsed().as_millis(), "a request is sent by another connection");
        let mut second = pin!(async {
            match doubt {
                Doubt::Pool => self.instead_of(&pool, spare, way).await,
                Doubt::Connection => {
                    place.set_aside(pool.working());
                    let place = self.crowd.enter().await;
                    self.attempt(Attempt::new(self.current(), spare, place), way).await
                }
            }
        });
        // What does not win is dropped, which closes its connection.
        tokio::select! {
            biased;
            answer = &mut first => if answer.is_ok() { answer } else { second.await },
            answer = &mut second => if answer.is_ok() { answer } else { first.await },
        }
    }

    /// Sends a request by connections that are younger than those of a pool. If it is answered, those are given up.
    async fn instead_of(&self, pool: &Arc<Pool>, request: HttpRequest, way: &Way) -> Answer {
        let _doubting = Doubting(pool);
        let current = self.current();
        let younger = if Arc::ptr_eq(&current, pool) { Arc::new(Pool::new((self.make)())) } else { current };
        let place = self.crowd.enter_at_once();
        let answer = self.attempt(Attempt::new(younger.clone(), request, place), way).await;
        if answer.is_ok() {
            self.replace(pool, younger, "silent connections are given up: a new one was answered");
        }
        answer
    }

    async fn attempt(&self, attempt: Attempt, way: &Way) -> Answer {
        let Attempt { pool, request, capture, place, sent } = attempt;
        let answer = pool.client.http_connector(&way.settings, &way.components).call(request).await;
        match answer {
            Ok(answer) => {
                // A server that is asked for too much at once says so. Of S3 itself this is no matter of connections,
                // and all of them have answered before.
                if answer.status().as_u16() == BUSY {
                    if pool.is_new(&capture) && pool.heard_of_late() {
                        place.set_aside(pool.working());
                    }
                    return Ok(answer);
                }
                pool.heard.lock().answer(sent.elapsed(), local(&capture), Instant::now());
                Ok(watched(answer, pool, place))
            }
            Err(error) => {
                if pool.is_new(&capture) && pool.heard_since(sent) {
                    place.set_aside(pool.working());
                } else if error.is_timeout() && pool.heard.lock().last.is_some() {
                    let next = Arc::new(Pool::new((self.make)()));
                    self.replace(&pool, next, "older connections are given up: one was silent");
                }
                Err(error)
            }
        }
    }

    /// The pool in use; a new one if the machine has slept for longer than idle connections are kept.
    fn current(&self) -> Arc<Pool> {
        let pool = self.current.load_full();
        let slept = slept();
        let before = std::mem::replace(&mut *self.slept.lock(), slept);
        if slept.saturating_sub(before) >= IDLE_TIMEOUT {
            let next = Arc::new(Pool::new((self.make)()));
            self.replace(&pool, next, "older connections are given up: the machine has slept");
            return self.current.load_full();
        }
        pool
    }

    /// Gives a pool up, unless that has been done.
    fn replace(&self, pool: &Arc<Pool>, next: Arc<Pool>, why: &'static str) {
        let before = self.current.compare_and_swap(pool, next);
        if Arc::ptr_eq(&before, pool) {
            tracing::info!("{why}");
            pool.given_up.store(true, Ordering::Release);
            pool.ended.notify_waiters();
        }
    }
}

/// A request that is about to be sent by connections of a pool.
struct Attempt {
    pool: Arc<Pool>,
    request: HttpRequest,
    capture: CaptureSmithyConnection,
    place: Arc<Place>,
    sent: Instant,
}

impl Attempt {
    fn new(pool: Arc<Pool>, mut request: HttpRequest, place: Place) -> Self {
        let captured = request.extension::<CaptureSmithyConnection>().cloned();
        let capture = captured.unwrap_or_else(|| {
            let capture = CaptureSmithyConnection::new();
            request.add_extension(capture.clone());
            capture
        });
        Self { pool, request, capture, place: Arc::new(place), sent: Instant::now() }
    }
}

impl Pool {
    fn new(client: SharedHttpClient) -> Self {
        let (heard, ended) = (Mutex::default(), Notify::new());
        Self { client, heard, doubted: AtomicBool::new(false), given_up: AtomicBool::new(false), ended }
    }

    /// Returns when a request that was sent then is to be sent by another connection. For ever, where nothing is known
    /// that could be doubted.
    async fn doubt(&self, sent: Instant, capture: &CaptureSmithyConnection) -> Doubt {
        loop {
            let ended = self.ended.notified();
            if self.given_up.load(Ordering::Acquire) {
                return Doubt::Pool;
            }
            let (patience, last) = {
                let heard = self.heard.lock();
                (heard.patience(), heard.last)
            };
            let look_again = match last {
                _ if sent.elapsed() < patience => patience - sent.elapsed(),
                // Nothing has been answered yet: these connections are new themselves.
                None => PATIENCE,
                Some(last) if last > sent && self.is_new(capture) => return Doubt::Connection,
                Some(last) if last.elapsed() < patience => patience - last.elapsed(),
                Some(_) if !self.doubted.swap(true, Ordering::AcqRel) => return Doubt::Pool,
                Some(_) => LOOK,
            };
            let _ = tokio::time::timeout(look_again, ended).await;
        }
    }

    fn heard_of_late(&self) -> bool {
        self.heard.lock().last.is_some_and(|last| last.elapsed() < PATIENCE)
    }

    fn heard_since(&self, time: Instant) -> bool {
        self.heard.lock().last.is_some_and(|last| last > time)
    }

    /// Whether a request waits for a connection by which nothing has come yet.
    fn is_new(&self, capture: &CaptureSmithyConnection) -> bool {
        match capture.get() {
            None => true,
            Some(connection) => {
                connection.local_addr().is_some_and(|address| !self.heard.lock().answered.contains_key(&address))
            }
        }
    }

    /// How many connections have answered of late.
    fn working(&self) -> usize {
        self.heard.lock().answered.values().filter(|last| last.elapsed() < IDLE_TIMEOUT).count()
    }
}

/// One of the requests of a pool is being sent by a new connection; the next may be when this has come to its end.
struct Doubting<'a>(&'a Pool);

impl Drop for Doubting<'_> {
    fn drop(&mut self) {
        self.0.doubted.store(false, Ordering::Release);
    }
}

fn local(capture: &CaptureSmithyConnection) -> Option<SocketAddr> {
    capture.get().and_then(|connection| connection.local_addr())
}

/// An answer whose bytes show that its pool lives, and that takes its place until its end.
fn watched(mut answer: HttpResponse, pool: Arc<Pool>, place: Arc<Place>) -> HttpResponse {
    let body = answer.take_body();
    *answer.body_mut() = SdkBody::from_body_1_x(body.map_frame(move |frame| {
        let _taken = &place;
        pool.heard.lock().last = Some(Instant::now());
        frame
    }));
    answer
}

/// How long the machine has slept since it was started.
fn slept() -> Duration {
    let read = |clock| {
        let time = clock_gettime(clock);
        Duration::try_from(time).unwrap_or_default()
    };
    // In this order, what passes between the two makes it shorter.
    let awake = read(ClockId::Monotonic);
    read(ClockId::Boottime).saturating_sub(awake)
}
