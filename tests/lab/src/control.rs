//! The `/_lab/` endpoints, by which scripts do what tests do through [`crate::Lab`].

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};

use crate::fault::{Fault, Kind};
use crate::line::Beyond;
use crate::op::Op;
use crate::reply::Reply;
use crate::server::Server;
use crate::shape::Shape;

/// Answers a control request. These are neither logged nor shaped.
pub(crate) fn answer(server: &Server, method: &Method, path: &str, body: &[u8]) -> Reply {
    if method == Method::GET {
        return match path {
            "requests" => json(&server.log.requests()),
            "summary" => json(&summary(server)),
            _ => unknown(),
        };
    }
    match command(server, method, path, body) {
        Some(Ok(())) => Reply::empty(StatusCode::NO_CONTENT),
        Some(Err(message)) => Reply::text(StatusCode::BAD_REQUEST, "text/plain", format!("{message}\n")),
        None => unknown(),
    }
}

fn unknown() -> Reply {
    Reply::text(StatusCode::NOT_FOUND, "text/plain", "no such control endpoint\n")
}

/// What changes the server; `None` if there is no such command.
fn command(server: &Server, method: &Method, path: &str, body: &[u8]) -> Option<Result<(), String>> {
    let refuse = |error: serde_json::Error| error.to_string();
    Some(match (method, path) {
        (&Method::POST, "clear") => {
            server.log.clear();
            Ok(())
        }
        (&Method::POST, "shape") => serde_json::from_slice::<ShapeRequest>(body)
            .map_err(refuse)
            .map(|request| server.shaper.set(request.shape())),
        (&Method::POST, "silence") => {
            server.line.silence();
            Ok(())
        }
        (&Method::POST, "connections") => serde_json::from_slice::<ConnectionsRequest>(body)
            .map_err(refuse)
            .map(|request| server.line.give(request.most.zip(request.beyond))),
        (&Method::POST, "fault") => serde_json::from_slice::<FaultRequest>(body)
            .map_err(refuse)
            .and_then(FaultRequest::fault)
            .map(|fault| server.faults.lock().add(fault)),
        (&Method::DELETE, "fault") => {
            server.faults.lock().clear();
            Ok(())
        }
        _ => return None,
    })
}

fn json(value: &impl Serialize) -> Reply {
    match serde_json::to_vec(value) {
        Ok(text) => Reply::text(StatusCode::OK, "application/json", text),
        Err(error) => Reply::text(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", error.to_string()),
    }
}

/// Counts of one operation, or of all.
#[derive(Clone, Debug, Default, Serialize)]
struct Counts {
    requests: u64,
    bytes: u64,
    errors: u64,
    aborted: u64,
}

fn summary(server: &Server) -> BTreeMap<String, Counts> {
    let mut summary: BTreeMap<String, Counts> = BTreeMap::new();
    for request in server.log.requests() {
        for name in [request.op.to_string(), "total".into()] {
            let counts = summary.entry(name).or_default();
            counts.requests += 1;
            counts.bytes += request.bytes;
            counts.errors += u64::from(request.status >= 400 || request.status == 0 && request.done);
            counts.aborted += u64::from(request.aborted);
        }
    }
    summary
}

/// `{"ttfb_ms": 30, "per_connection_mbps": 90, "total_mbps": 500, "connect_ms": 60}`; what is missing is not shaped.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ShapeRequest {
    ttfb_ms: f64,
    per_connection_mbps: Option<f64>,
    total_mbps: Option<f64>,
    connect_ms: f64,
}

impl ShapeRequest {
    fn shape(self) -> Shape {
        let millis = |ms: f64| Duration::try_from_secs_f64(ms / 1e3).unwrap_or_default();
        Shape {
            ttfb: millis(self.ttfb_ms),
            per_connection: self.per_connection_mbps.map(Shape::mbps),
            total: self.total_mbps.map(Shape::mbps),
            connect: millis(self.connect_ms),
        }
    }
}

/// `{"most": 16, "beyond": "wait"}`: how many connections are served at once, and what becomes of others (`wait`, `reset`
/// or `busy`); `{}` serves all.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ConnectionsRequest {
    most: Option<usize>,
    beyond: Option<Beyond>,
}

/// `{"kind": "status", "status": 503, "code": "SlowDown", "ops": ["GetObject"], "times": 2}`: a [`Fault`] with the
/// names of its kinds in lower case, `bytes` for `cut_body_after` and `padding` and `ms` for `stall`, `delay`, `drip` and
/// `retry_after` (whole seconds).
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultRequest {
    kind: String,
    status: Option<u16>,
    code: Option<String>,
    bytes: Option<u64>,
    ms: Option<u64>,
    #[serde(default)]
    ops: Vec<Op>,
    bucket: Option<String>,
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    skip: u64,
    times: Option<u64>,
    probability: Option<f64>,
    #[serde(default)]
    seed: u64,
}

impl FaultRequest {
    fn fault(self) -> Result<Fault, String> {
        let wait = Duration::from_millis(self.ms.unwrap_or(1000));
        let kind = match self.kind.as_str() {
            "status" => Kind::Status(self.status.unwrap_or(500), self.code.unwrap_or_else(|| "InternalError".into())),
            "cut_body_after" => Kind::CutBodyAfter(self.bytes.unwrap_or(0)),
            "truncate_body" => Kind::TruncateBody,
            "wrong_content_range" => Kind::WrongContentRange,
            "ignore_range" => Kind::IgnoreRange,
            "ignore_if_match" => Kind::IgnoreIfMatch,
            "html_instead_of_xml" => Kind::HtmlInsteadOfXml,
            "stall" => Kind::Stall(wait),
            "delay" => Kind::Delay(wait),
            "drip" => Kind::Drip(wait),
            "retry_after" => Kind::RetryAfter((wait.as_millis() / 1000).to_string()),
            "drop_connection" => Kind::DropConnection,
            "missing_etag" => Kind::MissingEtag,
            "gzip_encoding" => Kind::GzipEncoding,
            "weak_etag" => Kind::WeakEtag,
            "raw_keys" => Kind::RawKeys,
            "repeat_token" => Kind::RepeatToken,
            "empty_pages" => Kind::EmptyPages,
            "ignore_max_keys" => Kind::IgnoreMaxKeys,
            "padding" => Kind::Padding(self.bytes.unwrap_or(0)),
            other => return Err(format!("no fault of kind {other}")),
        };
        Ok(Fault {
            kind,
            ops: self.ops,
            bucket: self.bucket,
            prefix: self.prefix,
            skip: self.skip,
            times: self.times,
            probability: self.probability.unwrap_or(1.0),
            seed: self.seed,
            is_spare: false,
        })
    }
}
