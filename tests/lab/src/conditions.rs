//! Conditional requests: If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since.

use hyper::header::{self, HeaderMap, HeaderName};

use crate::bucket::Object;
use crate::fault::Kind;

/// What the conditions say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Proceed,
    /// 304.
    NotModified,
    /// 412, by the named condition.
    Failed(&'static str),
}

/// What If-Match is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IfMatch {
    Compared,
    Ignored,
    /// The tag is weak: no other is equal to it (RFC 9110, 13.1.1).
    NeverMet,
}

impl IfMatch {
    pub(crate) fn under(fault: Option<&Kind>) -> IfMatch {
        match fault {
            Some(Kind::IgnoreIfMatch) => IfMatch::Ignored,
            Some(Kind::WeakEtag) => IfMatch::NeverMet,
            _ => IfMatch::Compared,
        }
    }
}

/// Checks the conditions in the order of RFC 9110: an ETag outweighs a date.
pub(crate) fn check(headers: &HeaderMap, object: &Object, if_match: IfMatch) -> Verdict {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let date = |name: HeaderName| text(name).and_then(|value| httpdate::parse_http_date(value).ok());
    match text(header::IF_MATCH) {
        Some(_) if if_match == IfMatch::Ignored => {}
        Some(_) if if_match == IfMatch::NeverMet => return Verdict::Failed("If-Match"),
        Some(tags) if !matches(tags, &object.etag) => return Verdict::Failed("If-Match"),
        Some(_) => {}
        None if date(header::IF_UNMODIFIED_SINCE).is_some_and(|since| object.last_modified > since) => {
            return Verdict::Failed("If-Unmodified-Since");
        }
        None => {}
    }
    let unchanged = match text(header::IF_NONE_MATCH) {
        Some(tags) => matches(tags, &object.etag),
        None => date(header::IF_MODIFIED_SINCE).is_some_and(|since| object.last_modified <= since),
    };
    if unchanged { Verdict::NotModified } else { Verdict::Proceed }
}

/// S3 takes ETags without their quotes too.
fn matches(tags: &str, etag: &str) -> bool {
    let bare = |tag: &str| tag.trim().trim_start_matches("W/").trim_matches('"').to_owned();
    tags.split(',').any(|tag| tag.trim() == "*" || bare(tag) == bare(etag))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Content;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn conditions_and_their_precedence() {
        use Verdict::*;
        let mut object = Object::new(Content::from("hello")).expect("bytes in memory");
        object.last_modified = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let etag = object.etag.as_str();
        let (then, before) = ("Sun, 09 Sep 2001 01:46:40 GMT", "Sun, 09 Sep 2001 01:46:39 GMT");
        let cases: &[(&[(HeaderName, &str)], Verdict)] = &[
            (&[], Proceed),
            (&[(header::IF_MATCH, etag)], Proceed),
            (&[(header::IF_MATCH, etag.trim_matches('"'))], Proceed),
            (&[(header::IF_MATCH, "*")], Proceed),
            (&[(header::IF_MATCH, "\"x\"")], Failed("If-Match")),
            (&[(header::IF_MATCH, "\"x\", \"5d41402abc4b2a76b9719d911017c592\"")], Proceed),
            (&[(header::IF_NONE_MATCH, etag)], NotModified),
            (&[(header::IF_NONE_MATCH, "\"x\"")], Proceed),
            (&[(header::IF_MODIFIED_SINCE, then)], NotModified),
            (&[(header::IF_MODIFIED_SINCE, before)], Proceed),
            (&[(header::IF_UNMODIFIED_SINCE, then)], Proceed),
            (&[(header::IF_UNMODIFIED_SINCE, before)], Failed("If-Unmodified-Since")),
            (&[(header::IF_MATCH, etag), (header::IF_UNMODIFIED_SINCE, before)], Proceed),
            (&[(header::IF_NONE_MATCH, "\"x\""), (header::IF_MODIFIED_SINCE, then)], Proceed),
        ];
        for (pairs, expected) in cases {
            let mut headers = HeaderMap::new();
            for (name, value) in *pairs {
                headers.insert(name, value.parse().expect("a header value"));
            }
            assert_eq!(check(&headers, &object, IfMatch::Compared), *expected, "{pairs:?}");
        }
    }
}
