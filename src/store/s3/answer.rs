//! Whether the answer to a range GET is the answer to the question, and its bytes cut to exactly that. Pure but for
//! the stream.
//!
//! A cache or proxy in between, or a simple server, may ignore the range or the precondition. Nothing of what it sends
//! then may reach a reader, who would take it for bytes of the object at that place.

use std::ops::Range;
use std::time::SystemTime;

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};

use crate::store::{ErrorKind, ObjectMeta, Result, StoreError, Version};

/// The `Content-Range` of an answer: `bytes start-last/total` (RFC 9110, 14.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct ContentRange {
    pub(in crate::store) start: u64,
    pub(in crate::store) last: u64,
    /// The size of the whole object; none where the server does not tell.
    pub(in crate::store) total: Option<u64>,
}

impl ContentRange {
    pub(in crate::store) fn parse(text: &str) -> Option<Self> {
        let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
        let (unit, rest) = text.split_once(' ')?;
        let (range, total) = rest.split_once('/')?;
        let (start, last) = range.split_once('-')?;
        let parsed = Self {
            start: number(start)?,
            last: number(last)?,
            total: if total == "*" { None } else { Some(number(total)?) },
        };
        let sane = parsed.start <= parsed.last && parsed.total.is_none_or(|total| parsed.last < total);
        (unit.eq_ignore_ascii_case("bytes") && sane).then_some(parsed)
    }
}

/// What the headers of an answer say.
#[derive(Clone, Debug, Default)]
pub(in crate::store) struct Headers<'a> {
    pub(in crate::store) content_range: Option<&'a str>,
    pub(in crate::store) content_length: Option<u64>,
    pub(in crate::store) content_encoding: Option<&'a str>,
    pub(in crate::store) last_modified: Option<SystemTime>,
    pub(in crate::store) version: Version,
    /// Whether the entity tag is a weak one, which says less than that no byte differs (RFC 9110, 8.8.1).
    pub(in crate::store) weak: bool,
}

/// Checks the headers of the answer to a GET of `range` of `object`.
///
/// `Content-Range` is what tells a partial answer (206) from a whole one (200).
pub(in crate::store) fn check(
    request: &str,
    object: &ObjectMeta,
    range: &Range<u64>,
    headers: &Headers<'_>,
) -> Result<()> {
    let fail = |kind, what: String| Err(StoreError::new(kind, format!("{request}: {what}")));
    let changed = |what: String| fail(ErrorKind::VersionChanged, what);
    let bad = |what: String| fail(ErrorKind::BadResponse, what);

    // The version first: of a replaced object, the size and the range differ as well.
    match (&object.version.etag, &headers.version.etag) {
        (Some(pinned), Some(sent)) if pinned != sent => {
            return changed(format!("the object changed: ETag {sent} instead of {pinned}"));
        }
        (Some(_), Some(_)) if headers.weak && is_of_another_time(object, headers) => {
            return changed("the object changed: another Last-Modified, and the ETag is weak".to_owned());
        }
        (Some(_), Some(_)) => {}
        // RFC 9110, 15.3.7: a server that has an ETag sends it with every answer. This is not the store's.
        (Some(_), None) => return bad("an answer without ETag".to_owned()),
        (None, _) if is_of_another_time(object, headers) => {
            return changed("the object changed: another Last-Modified".to_owned());
        }
        (None, _) => {}
    }
    if let Some(encoding) = headers.content_encoding.filter(|encoding| is_transforming(encoding))
        && !tells_range_and_length(headers)
    {
        return bad(format!("the answer is encoded ({encoding:?}), and does not tell which bytes it has"));
    }
    let length = range.end - range.start;
    match headers.content_range {
        Some(text) => match ContentRange::parse(text) {
            None => return bad(format!("unreadable Content-Range {text:?}")),
            Some(ContentRange { total: Some(total), .. }) if total != object.size => {
                return changed(format!("the object changed: {total} bytes instead of {}", object.size));
            }
            Some(sent) if sent.start != range.start || sent.last + 1 != range.end => {
                return bad(format!("answered with Content-Range {text:?}"));
            }
            Some(_) => {}
        },
        None if *range != (0..object.size) => return bad("the server ignored the range".to_owned()),
        None => {}
    }
    match headers.content_length {
        Some(sent) if sent != length && headers.content_range.is_none() && headers.last_modified.is_some() => {
            changed(format!("the object changed: {sent} bytes instead of {length}"))
        }
        Some(sent) if sent != length => bad(format!("Content-Length {sent} instead of {length}")),
        Some(_) | None => Ok(()),
    }
}

fn is_of_another_time(object: &ObjectMeta, headers: &Headers<'_>) -> bool {
    headers.last_modified.is_some_and(|time| time != object.last_modified)
}

/// `Content-Encoding` may be metadata, stored with an object that was compressed before: then the bytes are the
/// object's. Whoever encodes an answer on its way cannot know beforehand how long it will be. So an encoded answer counts
/// if it tells everything that [`check`] compares.
fn tells_range_and_length(headers: &Headers<'_>) -> bool {
    let total = headers.content_range.and_then(ContentRange::parse).and_then(|range| range.total);
    total.is_some() && headers.content_length.is_some()
}

/// `aws-chunked` is a leftover of the upload that servers may store and repeat; it does not describe the answer.
fn is_transforming(encoding: &str) -> bool {
    encoding
        .split(',')
        .map(str::trim)
        .any(|coding| !matches!(coding.to_ascii_lowercase().as_str(), "" | "identity" | "aws-chunked"))
}

/// Passes on exactly `expected` bytes: what is too much is cut and ends in an error, as does what is too little.
pub(in crate::store) fn exactly(
    request: String,
    expected: u64,
    stream: BoxStream<'static, Result<Bytes>>,
) -> BoxStream<'static, Result<Bytes>> {
    let state = Exact { request, remaining: expected, stream, done: false };
    futures::stream::unfold(state, |mut state| async move { state.next().await.map(|item| (item, state)) }).boxed()
}

struct Exact {
    request: String,
    remaining: u64,
    stream: BoxStream<'static, Result<Bytes>>,
    done: bool,
}

impl Exact {
    async fn next(&mut self) -> Option<Result<Bytes>> {
        while !self.done {
            match self.stream.next().await {
                Some(Ok(chunk)) if chunk.is_empty() => continue,
                Some(Ok(chunk)) => return Some(self.pass(chunk)),
                Some(Err(error)) => return Some(self.end(error)),
                None if self.remaining == 0 => return None,
                None => {
                    let message = format!("{}: the answer ended {} bytes early", self.request, self.remaining);
                    return Some(self.end(StoreError::new(ErrorKind::Network, message)));
                }
            }
        }
        None
    }

    fn pass(&mut self, mut chunk: Bytes) -> Result<Bytes> {
        if self.remaining == 0 {
            let message = format!("{}: the answer is longer than the range", self.request);
            return self.end(StoreError::new(ErrorKind::BadResponse, message));
        }
        let wanted = usize::try_from(self.remaining).unwrap_or(usize::MAX);
        if chunk.len() > wanted {
            // The rest comes out as the error of the next call, after the bytes that were asked for.
            let rest = chunk.split_off(wanted);
            let stream = std::mem::replace(&mut self.stream, futures::stream::empty().boxed());
            self.stream = futures::stream::iter([Ok(rest)]).chain(stream).boxed();
        }
        self.remaining -= chunk.len() as u64;
        Ok(chunk)
    }

    fn end<T>(&mut self, error: StoreError) -> Result<T> {
        self.done = true;
        Err(error)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn object(size: u64, etag: Option<&str>) -> ObjectMeta {
        ObjectMeta {
            key: "k".to_owned(),
            size,
            last_modified: SystemTime::UNIX_EPOCH + Duration::from_secs(10),
            version: Version { etag: etag.map(Into::into), id: None },
            storage_class: None,
        }
    }

    fn headers<'a>(range: Option<&'a str>, length: u64, etag: Option<&str>) -> Headers<'a> {
        Headers {
            content_range: range,
            content_length: Some(length),
            version: Version { etag: etag.map(Into::into), id: None },
            ..Default::default()
        }
    }

    fn kind(object: &ObjectMeta, range: Range<u64>, headers: &Headers<'_>) -> Option<ErrorKind> {
        check("GET s3://b/k", object, &range, headers).err().map(|error| error.kind)
    }

    #[test]
    fn content_ranges() {
        let parsed = |start, last, total| Some(ContentRange { start, last, total });
        assert_eq!(ContentRange::parse("bytes 0-9/100"), parsed(0, 9, Some(100)));
        assert_eq!(ContentRange::parse("bytes 5-5/*"), parsed(5, 5, None));
        for bad in [
            "",
            "bytes",
            "bytes 0-9",
            "bytes 9-0/100",
            "bytes 0-100/100",
            "bytes */100",
            "items 0-9/100",
            "bytes +0-9/100",
            "bytes 0-9/99999999999999999999",
        ] {
            assert_eq!(ContentRange::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_right_answer_passes() {
        let pinned = object(100, Some("\"a\""));
        assert_eq!(kind(&pinned, 10..20, &headers(Some("bytes 10-19/100"), 10, Some("\"a\""))), None);
        assert_eq!(kind(&pinned, 10..20, &headers(Some("bytes 10-19/*"), 10, Some("\"a\""))), None);
        assert_eq!(kind(&pinned, 0..100, &headers(None, 100, Some("\"a\""))), None);
    }

    #[test]
    fn another_version_never_passes() {
        let pinned = object(100, Some("\"a\""));
        let changed = Some(ErrorKind::VersionChanged);
        assert_eq!(kind(&pinned, 10..20, &headers(Some("bytes 10-19/100"), 10, Some("\"b\""))), changed);
        assert_eq!(kind(&pinned, 10..20, &headers(Some("bytes 10-19/101"), 10, Some("\"a\""))), changed);
        let unpinned = object(100, None);
        let mut answer = headers(Some("bytes 10-19/100"), 10, Some("\"b\""));
        assert_eq!(kind(&unpinned, 10..20, &answer), None);
        answer.last_modified = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(11));
        assert_eq!(kind(&unpinned, 10..20, &answer), changed);
        answer.last_modified = Some(unpinned.last_modified);
        assert_eq!(kind(&unpinned, 10..20, &answer), None);
        let shrunk = Headers { last_modified: Some(unpinned.last_modified), ..headers(None, 90, None) };
        assert_eq!(kind(&unpinned, 0..100, &shrunk), changed);
    }

    #[test]
    fn a_page_of_somebody_else_is_no_version_of_the_object() {
        for etag in [None, Some("\"a\"")] {
            assert_eq!(kind(&object(100, etag), 0..100, &headers(None, 90, None)), Some(ErrorKind::BadResponse));
            let same_length = kind(&object(100, etag), 0..100, &headers(None, 100, None));
            assert_eq!(same_length, etag.map(|_| ErrorKind::BadResponse));
        }
    }

    #[test]
    fn another_range_never_passes() {
        let pinned = object(100, Some("\"a\""));
        let bad = Some(ErrorKind::BadResponse);
        assert_eq!(kind(&pinned, 10..20, &headers(Some("bytes 0-9/100"), 10, Some("\"a\""))), bad);
        assert_eq!(kind(&pinned, 10..20, &headers(Some("bytes 10-20/100"), 11, Some("\"a\""))), bad);
        assert_eq!(kind(&pinned, 10..20, &headers(Some("bytes 10-19/100"), 11, Some("\"a\""))), bad);
        assert_eq!(kind(&pinned, 10..20, &headers(Some("10-19"), 10, Some("\"a\""))), bad);
        assert_eq!(kind(&pinned, 10..20, &headers(None, 100, Some("\"a\""))), bad);
        let mut answer = headers(Some("bytes 10-19/100"), 10, Some("\"a\""));
        answer.content_encoding = Some("aws-chunked");
        assert_eq!(kind(&pinned, 10..20, &answer), None);
    }

    #[test]
    fn an_encoding_is_metadata_where_range_and_length_agree() {
        let pinned = object(100, Some("\"a\""));
        let bad = Some(ErrorKind::BadResponse);
        let encoded = |range, length| Headers {
            content_encoding: Some("aws-chunked,gzip"),
            content_length: length,
            ..headers(range, 10, Some("\"a\""))
        };
        assert_eq!(kind(&pinned, 10..20, &encoded(Some("bytes 10-19/100"), Some(10))), None);
        assert_eq!(kind(&pinned, 10..20, &encoded(Some("bytes 10-19/100"), Some(7))), bad);
        assert_eq!(kind(&pinned, 10..20, &encoded(Some("bytes 10-19/100"), None)), bad);
        assert_eq!(kind(&pinned, 10..20, &encoded(Some("bytes 10-19/*"), Some(10))), bad);
        assert_eq!(kind(&pinned, 0..100, &encoded(None, Some(100))), bad);
    }

    #[test]
    fn a_weak_tag_is_no_version_of_another_time() {
        let pinned = object(100, Some("\"a\""));
        let later = pinned.last_modified + Duration::from_secs(1);
        let told = |weak, time| Headers {
            weak,
            last_modified: Some(time),
            ..headers(Some("bytes 10-19/100"), 10, Some("\"a\""))
        };
        assert_eq!(kind(&pinned, 10..20, &told(true, pinned.last_modified)), None);
        assert_eq!(kind(&pinned, 10..20, &told(true, later)), Some(ErrorKind::VersionChanged));
        assert_eq!(kind(&pinned, 10..20, &told(false, later)), None);
    }

    proptest! {
        #[test]
        fn exactly_the_asked_bytes_or_an_error(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..5), 0..6),
            expected in 0u64..20,
        ) {
            let sent: Vec<u8> = chunks.concat();
            let source = futures::stream::iter(chunks.into_iter().map(|chunk| Ok(Bytes::from(chunk)))).boxed();
            let items: Vec<_> = futures::executor::block_on(exactly(String::new(), expected, source).collect());
            let bytes: Vec<u8> = items.iter().flatten().flat_map(|chunk| chunk.to_vec()).collect();
            let kinds: Vec<_> = items.iter().filter_map(|item| item.as_ref().err().map(|e| e.kind)).collect();
            let length = usize::try_from(expected).unwrap();
            prop_assert_eq!(&bytes[..], &sent[..length.min(sent.len())]);
            let want = match sent.len().cmp(&length) {
                std::cmp::Ordering::Less => vec![ErrorKind::Network],
                std::cmp::Ordering::Equal => vec![],
                std::cmp::Ordering::Greater => vec![ErrorKind::BadResponse],
            };
            prop_assert_eq!(kinds, want);
        }
    }
}
