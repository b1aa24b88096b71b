//! The `/_lab/` endpoints, by which scripts do what tests do through [`crate::Lab`].

use std::collections::BTreeMap;

use hyper::{Method, StatusCode};
use serde::Serialize;

use crate::reply::Reply;
use crate::server::Server;

/// Answers a control request. These are neither logged nor shaped.
pub(crate) fn answer(server: &Server, method: &Method, path: &str, _body: &[u8]) -> Reply {
    match (method, path) {
        (&Method::GET, "requests") => json(&server.log.requests()),
        (&Method::GET, "summary") => json(&summary(server)),
        (&Method::POST, "clear") => {
            server.log.clear();
            Reply::empty(StatusCode::NO_CONTENT)
        }
        _ => Reply::text(StatusCode::NOT_FOUND, "text/plain", "no such control endpoint\n"),
    }
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
