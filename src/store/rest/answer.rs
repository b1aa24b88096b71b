//! Answers: headers, documents of bounded length, and the bytes of a range, which are checked to be what was asked for.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::DateTime;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::date_time::Format;
use bytes::Bytes;
use futures::stream::{StreamExt, TryStreamExt};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

use crate::store::s3::answer::{self, ContentRange, Headers};
use crate::store::s3::encoding::{is_weak, opaque_tag, whole_seconds};
use crate::store::s3::failure::retry_after;
use crate::store::{Body, ErrorKind, ObjectMeta, Result, StoreError, Version};

/// The longest page of a listing: 1,000 entries with keys of 1,024 characters, each of which is nine in a URL, and some
/// 1,000 bytes of properties, take more than half of it.
const MAX_DOCUMENT: usize = 16 << 20;

/// The longest error: code, message and some names.
const MAX_ERROR: usize = 64 << 10;

/// Also a document that trickles in must end.
const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// An answer, and the name of what was asked.
pub(in crate::store) struct Answer {
    name: String,
    http: HttpResponse,
}

impl Answer {
    pub(super) fn new(name: &str, http: HttpResponse) -> Self {
        Self { name: name.to_owned(), http }
    }

    pub(in crate::store) fn name(&self) -> &str {
        &self.name
    }

    pub(in crate::store) fn status(&self) -> u16 {
        self.http.status().as_u16()
    }

    pub(in crate::store) fn is_success(&self) -> bool {
        self.http.status().is_success()
    }

    pub(in crate::store) fn header(&self, name: &str) -> Option<&str> {
        // Others than text are none of those that are looked for.
        self.http.headers().try_get(name)?.ok().map(str::trim)
    }

    /// A time among the headers, in whole seconds.
    pub(in crate::store) fn time(&self, name: &str) -> Option<SystemTime> {
        DateTime::from_str(self.header(name)?, Format::HttpDate).ok().map(whole_seconds)
    }

    /// How long the server asks to be left alone.
    pub(in crate::store) fn retry_after(&self) -> Option<Duration> {
        retry_after(&self.http)
    }

    /// The entity tag without the sign that it is weak.
    pub(in crate::store) fn etag(&self) -> Option<std::sync::Arc<str>> {
        self.header("etag").and_then(opaque_tag)
    }

    /// An answer that makes no sense.
    pub(in crate::store) fn bad(&self, what: &str) -> StoreError {
        StoreError::new(ErrorKind::BadResponse, format!("{}: {what}", self.name))
    }

    /// The size of the whole object.
    pub(in crate::store) fn size(&self) -> Option<u64> {
        match self.header("content-range") {
            Some(text) => ContentRange::parse(text).and_then(|range| range.total),
            None => self.header("content-length")?.parse().ok(),
        }
    }

    /// The whole body, if it is not too long.
    pub(in crate::store) async fn document(&mut self) -> Result<Bytes> {
        let limit = if self.is_success() { MAX_DOCUMENT } else { MAX_ERROR };
        let body = Limited::new(self.http.take_body(), limit);
        match timeout(DOCUMENT_TIMEOUT, body.collect()).await {
            Ok(Ok(collected)) => Ok(collected.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(self.bad("an answer that is too long")),
            Ok(Err(_)) => Err(StoreError::new(ErrorKind::Network, format!("{}: the answer broke off", self.name))),
            Err(_) => Err(StoreError::new(ErrorKind::Timeout, format!("{}: the answer does not end", self.name))),
        }
    }

    /// The bytes `range` of an object, if that is what this answer has. `version` is what the answer was found to be of.
    pub(in crate::store) fn range(mut self, object: &ObjectMeta, range: Range<u64>, version: Version) -> Result<Body> {
        let headers = Headers {
            content_range: self.header("content-range"),
            content_length: self.header("content-length").and_then(|length| length.parse().ok()),
            content_encoding: self.header("content-encoding"),
            // A store's own versions say more than a time.
            last_modified: self.time("last-modified").filter(|_| object.version == Version::default()),
            version: version.clone(),
            weak: version.etag.is_some() && self.header("etag").is_some_and(is_weak),
        };
        answer::check(&self.name, object, &range, &headers)?;
        let broken = self.name.clone();
        let body: SdkBody = self.http.take_body();
        let chunks = body
            .into_data_stream()
            .map_err(move |_| StoreError::new(ErrorKind::Network, format!("{broken}: the body broke off")));
        Ok(Body { version, stream: answer::exactly(self.name, range.end - range.start, chunks.boxed()) })
    }
}
