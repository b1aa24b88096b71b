//! The log of requests: what tests assert on.
//!
//! A request is in the log from its arrival, and its byte count grows as the body is handed to the connection, so a
//! client that has seen the end of a body finds the count complete.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use serde::Serialize;

use crate::op::Op;

/// At most so many requests are kept (some hundred megabytes); later ones are served but not logged.
const CAPACITY: usize = 1_000_000;

/// One request, as the server saw it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Request {
    /// Number in order of arrival, from 0 at the start of the server.
    pub seq: u64,
    /// Milliseconds from the start of the server to the arrival.
    pub start_ms: f64,
    /// Milliseconds from the arrival to the last byte (so far, if it is being served).
    pub duration_ms: f64,
    /// What was asked.
    pub op: Op,
    /// The bucket; empty for ListBuckets.
    pub bucket: String,
    /// The key; for listings the prefix.
    pub key: String,
    /// The delimiter of a listing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<String>,
    /// The Range header.
    pub range: Option<String>,
    /// The If-Match header.
    pub if_match: Option<String>,
    /// The Accept-Encoding header.
    pub accept_encoding: Option<String>,
    /// The User-Agent header.
    pub user_agent: Option<String>,
    /// The x-amz-request-payer header.
    pub request_payer: Option<String>,
    /// Whether there was an Authorization header.
    pub signed: bool,
    /// Number of the connection, from 0.
    pub connection: u64,
    /// HTTP status; 0 while there is none, and for a connection dropped without an answer.
    pub status: u16,
    /// Bytes of the body handed to the connection.
    pub bytes: u64,
    /// The client went away before the last byte was handed to the connection.
    pub aborted: bool,
    /// The answer is complete, cut off by a fault, or aborted.
    pub done: bool,
    /// Name of the fault that struck.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<&'static str>,
}

impl Request {
    /// First and last byte of a range of the form `bytes=a-b`.
    pub fn span(&self) -> Option<(u64, u64)> {
        let (first, last) = self.range.as_deref()?.strip_prefix("bytes=")?.split_once('-')?;
        Some((first.parse().ok()?, last.parse().ok()?))
    }
}

/// All requests since the start or the last clear.
#[derive(Debug)]
pub(crate) struct Log {
    started: Instant,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Number of the first entry; those before it were cleared.
    base: u64,
    /// Number of the next request.
    next: u64,
    entries: Vec<Request>,
    /// Where finished requests are written as lines of JSON.
    file: Option<File>,
}

impl Log {
    pub(crate) fn new(file: Option<File>) -> Log {
        Log { started: Instant::now(), kept: Mutex::new(Kept { file, ..Kept::default() }) }
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.kept.lock().entries.clone()
    }

    pub(crate) fn count(&self, filter: impl Fn(&Request) -> bool) -> usize {
        self.kept.lock().entries.iter().filter(|request| filter(request)).count()
    }

    pub(crate) fn clear(&self) {
        let mut kept = self.kept.lock();
        kept.base = kept.next;
        kept.entries.clear();
    }

    /// Notes the arrival of a request.
    pub(crate) fn begin(self: &Arc<Self>, mut request: Request) -> Entry {
        let arrival = Instant::now();
        let mut kept = self.kept.lock();
        let seq = kept.next;
        request.seq = seq;
        request.start_ms = millis(self.started, arrival);
        if kept.entries.len() < CAPACITY {
            kept.next += 1;
            kept.entries.push(request);
            return Entry { log: Arc::clone(self), seq, arrival, done: false };
        }
        Entry::unlogged(self)
    }
}

fn millis(from: Instant, to: Instant) -> f64 {
    (to - from).as_micros() as f64 / 1000.0
}

/// The open entry of a request in service. Dropped before its end, it says that the client went away.
#[derive(Debug)]
pub(crate) struct Entry {
    log: Arc<Log>,
    pub seq: u64,
    pub arrival: Instant,
    done: bool,
}

impl Entry {
    /// Of a request that is not to be logged.
    pub(crate) fn unlogged(log: &Arc<Log>) -> Entry {
        Entry { log: Arc::clone(log), seq: u64::MAX, arrival: Instant::now(), done: false }
    }

    /// Changes the entry, unless it was cleared meanwhile.
    pub(crate) fn update(&self, f: impl FnOnce(&mut Request)) {
        let mut kept = self.log.kept.lock();
        let Some(index) = self.seq.checked_sub(kept.base) else { return };
        if let Some(request) = kept.entries.get_mut(index as usize) {
            request.duration_ms = millis(self.arrival, Instant::now());
            f(request);
        }
    }

    /// Counts bytes handed to the connection.
    pub(crate) fn sent(&self, bytes: u64) {
        self.update(|request| request.bytes += bytes);
    }

    /// The answer ended as the server meant it to.
    pub(crate) fn finish(&mut self) {
        self.end(false);
    }

    fn end(&mut self, aborted: bool) {
        if std::mem::replace(&mut self.done, true) {
            return;
        }
        let mut line = None;
        self.update(|request| {
            request.done = true;
            request.aborted = aborted;
            line = serde_json::to_vec(request).ok();
        });
        if let (Some(mut line), Some(file)) = (line, self.log.kept.lock().file.as_mut()) {
            line.push(b'\n');
            // The log on disk is a convenience: a full disk must not stop the server.
            let _ = file.write_all(&line);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.end(true);
    }
}
