//! What an answer tells of a file: its size, and which content it is. Pure.
//!
//! The version is the strong entity tag. Where there is none, it is the time and the size:
//! - A weak tag says less than that no byte differs (RFC 9110, 8.8.1).
//! - nginx makes its tags of the time and the size. They say nothing more than those, which its listings tell as well, so
//!   that a file has one version whichever way it was seen.
//! - The time counts in seconds, so that one that was changed a moment ago may change again without showing it
//!   (RFC 9110, 8.8.2.2). Its version is a tag that this mount makes up: it is the same as no other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;

use crate::store::web::answer::Headers;
use crate::store::{ObjectMeta, Version};

/// A time that is nearer to the `Date` of its answer than this may be that of two contents: both are in whole seconds.
pub const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// Clocks of a server and of what it serves may differ by so much.
const CLOCKS_DIFFER: Duration = Duration::from_secs(60);

/// What made-up tags begin with. No server's can, since it would have to know it.
const MADE_UP: &str = "\"fitsfs ";

/// What a server says of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    pub size: Option<u64>,
    pub modified: Option<SystemTime>,
    /// The entity tag, if it is a strong one.
    pub etag: Option<String>,
    /// When it said so.
    pub date: Option<SystemTime>,
}

impl Told {
    /// Of the headers of an answer; the size is that of the whole file.
    pub fn by<'a>(header: impl Fn(&str) -> Option<&'a str>, size: Option<u64>) -> Self {
        let date = |name: &str| header(name).and_then(http_date);
        let etag = header("etag").filter(|tag| is_strong(tag)).map(str::to_owned);
        Self { size, modified: date("last-modified"), etag, date: date("date") }
    }

    /// How long it takes until the time tells which content it is; none if it does, or nothing else does either.
    pub fn unsettled_for(&self) -> Option<Duration> {
        let (modified, date) = (self.modified?, self.date?);
        // A time far in the future was set: a change from now on would show another.
        let Ok(age) = (date + CLOCKS_DIFFER).duration_since(modified) else { return None };
        let age = age.saturating_sub(CLOCKS_DIFFER);
        (self.own_tag().is_none() && age < SETTLED_AFTER).then(|| SETTLED_AFTER - age)
    }

    /// The tag, if it says more than the time and the size.
    pub fn own_tag(&self) -> Option<&str> {
        let etag = self.etag.as_deref()?;
        let derived = self.modified.zip(self.size).map(|(modified, size)| derived_tag(modified, size));
        (derived.as_deref() != Some(etag)).then_some(etag)
    }

    /// What is known of a file, whose size must be.
    pub fn object(&self, key: &str) -> Option<ObjectMeta> {
        let etag = match self.own_tag() {
            Some(tag) => Some(Arc::from(tag)),
            None if self.modified.is_none() || self.unsettled_for().is_some() => Some(made_up()),
            None => None,
        };
        Some(ObjectMeta {
            key: key.to_owned(),
            size: self.size?,
            last_modified: self.modified.unwrap_or(UNIX_EPOCH),
            version: Version { etag, id: None },
            storage_class: None,
        })
    }

    /// The headers of an answer with a part of a file, to be compared with what was known of that.
    pub fn headers<'a>(&self, object: &ObjectMeta, header: impl Fn(&str) -> Option<&'a str>) -> Headers<'a> {
        // The size of a part is none of the file, so that the tag is told apart by that which is known.
        let whole = Self { size: Some(object.size), ..self.clone() };
        Headers {
            content_range: header("content-range"),
            content_length: header("content-length").and_then(|length| length.parse().ok()),
            content_encoding: header("content-encoding"),
            last_modified: self.modified,
            version: Version { etag: whole.own_tag().map(Into::into), id: None },
            weak: false,
        }
    }
}

/// What an answer is compared with: of a made-up tag the server knows nothing.
pub fn comparable(object: &ObjectMeta) -> ObjectMeta {
    let etag = server_tag(object).map(Into::into);
    ObjectMeta { version: Version { etag, id: None }, ..object.clone() }
}

/// The tag that the server has for a version; the strong one, since there is no other here.
pub fn server_tag(object: &ObjectMeta) -> Option<&str> {
    object.version.etag.as_deref().filter(|tag| !tag.starts_with(MADE_UP))
}

/// What people are told of how versions of a file are told apart; the second is what is wrong with that.
pub fn explained(object: &ObjectMeta) -> (&'static str, Option<&'static str>) {
    match (object.version.etag.as_deref(), server_tag(object)) {
        (None, _) => ("Last-Modified and the size", None),
        (Some(_), Some(_)) => ("the ETag", None),
        (Some(_), None) if object.last_modified == UNIX_EPOCH => (
            "none: there is neither a strong ETag nor a Last-Modified",
            Some("a replaced file is noticed by its size only"),
        ),
        (Some(_), None) => ("none yet: the file was changed a moment ago", Some("ask again in some seconds")),
    }
}

/// A time as HTTP writes it.
pub fn http_date(text: &str) -> Option<SystemTime> {
    whole_seconds(DateTime::from_str(text.trim(), Format::HttpDate).ok()?)
}

/// A time as ISO 8601 writes it.
pub fn iso_date(text: &str) -> Option<SystemTime> {
    whole_seconds(DateTime::from_str(text.trim(), Format::DateTimeWithOffset).ok()?)
}

/// HTTP has no fractions: the same file must have the same time by either way.
fn whole_seconds(time: DateTime) -> Option<SystemTime> {
    u64::try_from(time.secs()).ok().map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds))
}

/// Whether an entity tag stands for every byte: quoted, and without the sign of a weak one.
pub fn is_strong(etag: &str) -> bool {
    etag.len() > 2 && etag.starts_with('"') && etag.ends_with('"')
}

/// The tag that nginx makes of a time and a size.
fn derived_tag(modified: SystemTime, size: u64) -> String {
    format!("\"{:x}-{size:x}\"", modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}

/// A tag that is the same as no other.
fn made_up() -> Arc<str> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{MADE_UP}{:016x}-{number:x}\"", rand::random::<u64>()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn told(modified: Option<&str>, etag: Option<&str>) -> Told {
        let header = |name: &str| match name {
            "etag" => etag,
            "last-modified" => modified,
            "date" => Some(DATE),
            _ => None,
        };
        Told::by(header, Some(0x10))
    }

    fn etag(told: &Told) -> Option<String> {
        told.object("k").unwrap().version.etag.as_deref().map(str::to_owned)
    }

    #[test]
    fn a_strong_tag_is_the_version_and_a_weak_one_is_none() {
        let settled = Some("Sun, 06 Nov 1994 08:49:35 GMT");
        assert_eq!(etag(&told(settled, Some("\"a\""))).as_deref(), Some("\"a\""));
        for weak in ["W/\"a\"", "a", "\"\"", ""] {
            assert_eq!(etag(&told(settled, Some(weak))), None, "{weak}");
        }
    }

    #[test]
    fn a_tag_made_of_time_and_size_is_time_and_size() {
        let settled = "Sun, 06 Nov 1994 08:49:35 GMT";
        assert_eq!(etag(&told(Some(settled), Some("\"2ebc989f-10\""))), None);
        assert!(etag(&told(Some(settled), Some("\"2ebc989f-11\""))).is_some());
    }

    #[test]
    fn a_time_of_a_moment_ago_is_no_version() {
        for (modified, settled) in [
            ("Sun, 06 Nov 1994 08:49:35 GMT", true),
            ("Sun, 06 Nov 1994 08:49:36 GMT", false),
            ("Sun, 06 Nov 1994 08:49:37 GMT", false),
            ("Sun, 06 Nov 1994 08:50:30 GMT", false),
            // No clock is so wrong: it was set.
            ("Sun, 06 Nov 1994 09:00:00 GMT", true),
        ] {
            for tag in [None, Some("W/\"a\"")] {
                let told = told(Some(modified), tag);
                assert_eq!(told.unsettled_for().is_none(), settled, "{modified}");
                assert_eq!(etag(&told).is_none(), settled, "{modified}");
            }
            assert_eq!(told(Some(modified), Some("\"a\"")).unsettled_for(), None);
        }
        assert_ne!(etag(&told(None, None)), etag(&told(None, None)));
    }

    #[test]
    fn what_is_made_up_is_not_asked_for() {
        let object = told(None, None).object("k").unwrap();
        assert!(object.version.etag.is_some() && server_tag(&object).is_none());
        assert_eq!(comparable(&object).version, Version::default());
    }
}
