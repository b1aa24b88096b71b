//! From a connection to an answer: log, shape, faults, then the service.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderName};
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use crate::body::{Body, Ending, Outgoing};
use crate::content::{Content, Reader};
use crate::error::Refusal;
use crate::fault::{Faults, Kind};
use crate::line::Line;
use crate::log::{self, Entry, Log};
use crate::op::{Call, Op};
use crate::reply::{Payload, Reply, without_body};
use crate::service::Service;
use crate::shape::{Schedule, Shape, Shaper, sleep_until};

/// The most that one PutObject may carry; it is held in memory.
const MAX_BODY: usize = 256 << 20;

/// Everything that connections share.
#[derive(Debug)]
pub(crate) struct Server {
    pub service: Service,
    pub shaper: Arc<Shaper>,
    pub faults: Mutex<Faults>,
    pub log: Arc<Log>,
    pub connections: AtomicU64,
    pub line: Arc<Line>,
    pub tls: Option<Arc<ServerConfig>>,
}

/// One TCP connection.
#[derive(Debug)]
struct Connection {
    id: u64,
    shaper: Arc<Shaper>,
    schedule: Arc<Mutex<Schedule>>,
    /// No request has come by it yet.
    fresh: AtomicBool,
}

impl Connection {
    fn new(id: u64, shaper: &Arc<Shaper>) -> Connection {
        let (shaper, schedule) = (Arc::clone(shaper), Arc::new(Mutex::new(Schedule::new())));
        Connection { id, shaper, schedule, fresh: AtomicBool::new(true) }
    }

    /// For what is not part of the model of the network.
    fn unshaped() -> Connection {
        Connection::new(0, &Arc::new(Shaper::new(Shape::default())))
    }
}

impl Server {
    /// Accepts connections until the future is dropped.
    pub(crate) async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    // Without it a small body would wait for the acknowledgement of its headers.
                    let _ = stream.set_nodelay(true);
                    drop(tokio::spawn(Arc::clone(&self).accepted(stream)));
                }
                // Out of file descriptors, most likely: they come back.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }

    async fn accepted(self: Arc<Self>, stream: TcpStream) {
        let Some(stream) = Line::serve(&self.line, stream).await else { return };
        let Some(tls) = self.tls.clone() else { return self.connection(stream).await };
        // A client that refuses the certificate leaves; it counts as a connection all the same.
        match TlsAcceptor::from(tls).accept(stream).await {
            Ok(stream) => self.connection(stream).await,
            Err(_) => drop(self.connections.fetch_add(1, Ordering::Relaxed)),
        }
    }

    async fn connection(self: Arc<Self>, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let id = self.connections.fetch_add(1, Ordering::Relaxed);
        let connection = Arc::new(Connection::new(id, &self.shaper));
        let service = service_fn(move |request| {
            let (server, connection) = (Arc::clone(&self), Arc::clone(&connection));
            async move { server.request(&connection, request).await }
        });
        // An error here is a client that left, or a connection cut on purpose; the log has it.
        let _ = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    async fn request(&self, connection: &Connection, request: Request<Incoming>) -> io::Result<Response<Body>> {
        let (parts, body) = request.into_parts();
        if let Some(path) = parts.uri.path().strip_prefix("/_lab/") {
            return Ok(self.control(&parts.method, path, body).await);
        }
        let call = Call::new(&parts);
        let fault =
            call.as_ref().ok().and_then(|call| self.faults.lock().strike(call.op, &call.bucket, call.subject()));
        // What is in the log has been struck already: tests wait for it there.
        let fault_name = fault.as_ref().map(Kind::name);
        let entry =
            self.log.begin(log::Request { fault: fault_name, ..describe(&parts, call.as_ref().ok(), connection.id) });

        let body = read_body(body).await;
        sleep_until(self.due(connection, &entry, fault.as_ref())).await;
        let request_id = format!("{:016X}", entry.seq);
        let reply = match (&call, &body) {
            (Ok(call), Ok(body)) => self.answer(call, body.clone(), fault.as_ref()).await,
            (Err(refusal), _) | (_, Err(refusal)) => Err(refusal.clone()),
        };
        let reply = reply.unwrap_or_else(|refusal| Reply::refusal(&refusal, call.as_ref().ok(), &request_id));
        finish(reply, &parts.method, fault, entry, connection).await
    }

    /// Control requests are neither logged nor shaped.
    async fn control(&self, method: &Method, path: &str, body: Incoming) -> Response<Body> {
        let body = read_body(body).await.unwrap_or_default();
        let reply = crate::control::answer(self, method, path, &body);
        respond(reply, method, Ending::Complete, Entry::unlogged(&self.log), &Connection::unshaped())
    }

    /// When the first byte of the response may go.
    fn due(&self, connection: &Connection, entry: &Entry, fault: Option<&Kind>) -> Instant {
        let shape = self.shaper.get();
        let connect = if connection.fresh.swap(false, Ordering::Relaxed) { shape.connect } else { Duration::ZERO };
        let delay = if let Some(Kind::Delay(delay)) = fault { *delay } else { Duration::ZERO };
        entry.arrival + shape.ttfb + connect + delay
    }

    /// The answer of a fault that replaces it, or of the service.
    async fn answer(&self, call: &Call, body: Bytes, fault: Option<&Kind>) -> Result<Reply, Refusal> {
        match fault {
            Some(Kind::Status(status, code)) => {
                let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                Err(Refusal::new(status, code.clone(), "This answer is a fault of the test server"))
            }
            Some(Kind::RetryAfter(time)) => {
                let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "SlowDown", "Reduce your request rate");
                Err(refusal.header("retry-after", time.clone()))
            }
            Some(Kind::HtmlInsteadOfXml) => {
                let page = "<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Welcome</body></html>\n";
                Ok(Reply::text(StatusCode::OK, "text/html", page))
            }
            fault => self.service.answer(call, body, fault).await,
        }
    }
}

/// Applies the faults that change how an answer is sent, and sends it.
async fn finish(
    mut reply: Reply,
    method: &Method,
    fault: Option<Kind>,
    mut entry: Entry,
    connection: &Connection,
) -> io::Result<Response<Body>> {
    let dropped = || io::Error::new(io::ErrorKind::ConnectionAborted, "dropped by a fault");
    let mut ending = Ending::Complete;
    match fault {
        Some(Kind::DropConnection) => {
            entry.finish();
            return Err(dropped());
        }
        Some(Kind::Stall(time)) if without_body(method, reply.status) || reply.payload.len() == 0 => {
            tokio::time::sleep(time).await;
            entry.finish();
            return Err(dropped());
        }
        Some(Kind::Stall(time)) => ending = Ending::Stall(time),
        Some(Kind::Drip(time)) => ending = Ending::Drip(time),
        Some(Kind::CutBodyAfter(bytes)) => ending = Ending::CutAfter(bytes),
        Some(Kind::TruncateBody) if method != Method::HEAD => reply.payload.halve(),
        Some(Kind::Padding(bytes)) => reply.payload.pad(bytes),
        Some(Kind::GzipEncoding) if method != Method::HEAD => crate::gzip::compress(&mut reply).await?,
        _ => {}
    }
    reply.header(HeaderName::from_static("x-amz-request-id"), &format!("{:016X}", entry.seq));
    Ok(respond(reply, method, ending, entry, connection))
}

/// The answer as HTTP, with its body on the way.
fn respond(reply: Reply, method: &Method, ending: Ending, entry: Entry, connection: &Connection) -> Response<Body> {
    entry.update(|request| request.status = reply.status.as_u16());
    let len = reply.payload.len();
    let bare = without_body(method, reply.status);
    let (reader, offset) = match reply.payload {
        Payload::Bytes(bytes) => (Reader::Memory(Content::Bytes(bytes)), 0),
        Payload::Span { reader, offset, .. } => (reader, offset),
    };
    let outgoing = Outgoing {
        reader,
        offset,
        remaining: if bare { 0 } else { len },
        ending: if bare { Ending::Complete } else { ending },
        shaper: Arc::clone(&connection.shaper),
        schedule: Arc::clone(&connection.schedule),
        entry,
    };
    let mut response = Response::new(outgoing.into_body());
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    // The answer to a HEAD states the length of the object; that of a refusal has none.
    if !bare || (method == Method::HEAD && reply.status.is_success()) {
        response.headers_mut().insert(header::CONTENT_LENGTH, len.into());
    }
    response.headers_mut().insert(header::SERVER, header::HeaderValue::from_static("fitsfs-lab"));
    response
}

async fn read_body(body: Incoming) -> Result<Bytes, Refusal> {
    let refuse = |_| Refusal::new(StatusCode::BAD_REQUEST, "EntityTooLarge", "The body is too large or incomplete");
    Ok(Limited::new(body, MAX_BODY).collect().await.map_err(refuse)?.to_bytes())
}

fn describe(parts: &Parts, call: Option<&Call>, connection: u64) -> log::Request {
    let text = |name: HeaderName| parts.headers.get(name).map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned());
    let op = call.map_or(Op::Other, |call| call.op);
    log::Request {
        op,
        bucket: call.map(|call| call.bucket.clone()).unwrap_or_default(),
        key: call.map(|call| call.subject().to_owned()).unwrap_or_default(),
        delimiter: call.and_then(|call| call.param("delimiter")).map(str::to_owned),
        range: text(header::RANGE),
        if_match: text(header::IF_MATCH),
        accept_encoding: text(header::ACCEPT_ENCODING),
        user_agent: text(header::USER_AGENT),
        request_payer: text(HeaderName::from_static("x-amz-request-payer")),
        signed: parts.headers.contains_key(header::AUTHORIZATION),
        connection,
        ..log::Request::default()
    }
}
