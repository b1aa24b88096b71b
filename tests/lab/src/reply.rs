//! Answers before they become HTTP.

use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};

use crate::content::Reader;
use crate::error::Refusal;
use crate::op::Call;
use crate::xml;

/// What follows the headers.
#[derive(Debug)]
pub(crate) enum Payload {
    Bytes(Bytes),
    /// A span of an object.
    Span {
        reader: Reader,
        offset: u64,
        len: u64,
    },
}

impl Payload {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Payload::Bytes(bytes) => bytes.len() as u64,
            Payload::Span { len, .. } => *len,
        }
    }

    /// Adds so many spaces to a document.
    pub(crate) fn pad(&mut self, spaces: u64) {
        if let Payload::Bytes(bytes) = self {
            let spaces = vec![b' '; usize::try_from(spaces).unwrap_or(usize::MAX)];
            *bytes = [&bytes[..], &spaces].concat().into();
        }
    }

    /// Leaves the first half.
    pub(crate) fn halve(&mut self) {
        match self {
            Payload::Bytes(bytes) => bytes.truncate(bytes.len() / 2),
            Payload::Span { len, .. } => *len /= 2,
        }
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub payload: Payload,
}

impl Reply {
    pub(crate) fn empty(status: StatusCode) -> Reply {
        Reply { status, headers: HeaderMap::new(), payload: Payload::Bytes(Bytes::new()) }
    }

    pub(crate) fn text(status: StatusCode, content_type: &'static str, text: impl Into<Bytes>) -> Reply {
        let mut reply = Reply::empty(status);
        reply.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        reply.payload = Payload::Bytes(text.into());
        reply
    }

    pub(crate) fn xml(document: String) -> Reply {
        Reply::text(StatusCode::OK, "application/xml", document)
    }

    pub(crate) fn refusal(refusal: &Refusal, call: Option<&Call>, request_id: &str) -> Reply {
        let resource = call.map_or("/", |call| call.raw_path.as_str());
        let document = xml::error(refusal, resource, request_id);
        let mut reply = Reply::text(refusal.status, "application/xml", document);
        for (name, value) in &refusal.headers {
            reply.header(HeaderName::from_static(name), value);
        }
        reply
    }

    /// Adds a header; one that HTTP cannot carry is left out.
    pub(crate) fn header(&mut self, name: HeaderName, value: &str) {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
    }
}

/// Whether HTTP has no body there: the answers to HEAD, 304 and 204.
pub(crate) fn without_body(method: &Method, status: StatusCode) -> bool {
    method == Method::HEAD || status == StatusCode::NOT_MODIFIED || status == StatusCode::NO_CONTENT
}
