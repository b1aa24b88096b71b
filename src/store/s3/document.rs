//! The document of a listing that no XML reader takes, because of some of its entries: the others are read all the
//! same. Pure.
//!
//! It is read only where the SDK has failed. Entries are told apart by their tags, so that each can be wrong by itself:
//! a key with characters that XML does not allow, a size or a time that is none. What is wrong is left without a size,
//! which [`super::page()`] takes for what it is.
//!
//! Listings of versions are always read so, by [`super::versions`]: [`Document`] keeps what was answered.

use std::sync::Arc;

use aws_sdk_s3::config::{Intercept, RuntimeComponents};
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::{CommonPrefix, EncodingType, Object, ObjectStorageClass};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::AfterDeserializationInterceptorContextRef;
use aws_smithy_types::DateTime;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::date_time::Format;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::store::web::elements::{Elements, text};

/// Keeps the document of an answer, whatever the SDK makes of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Document(Arc<Mutex<Option<Bytes>>>);

impl Document {
    /// The document of the answer to the request that was sent with this, if it was a success.
    pub(super) fn take(&self) -> Option<Bytes> {
        self.0.lock().take()
    }
}

impl Intercept for Document {
    fn name(&self) -> &'static str {
        "Document"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let answer = context.response();
        if answer.status().is_success() {
            *self.0.lock() = answer.body().bytes().map(Bytes::copy_from_slice);
        }
        Ok(())
    }
}

/// The answer to ListObjectsV2 that a document holds; none if it is not one, or not all of it.
pub(super) fn read(document: &[u8]) -> Option<ListObjectsV2Output> {
    let (_, listing) = Elements(document).find(|(name, _)| *name == b"ListBucketResult")?;
    let mut answer = ListObjectsV2Output::builder();
    let mut elements = Elements(listing);
    for (name, inner) in &mut elements {
        answer = match name {
            b"Contents" => answer.contents(entry(inner)),
            b"CommonPrefixes" => answer.common_prefixes(common_prefix(inner)),
            b"IsTruncated" => answer.is_truncated(inner == b"true"),
            b"NextContinuationToken" => answer.next_continuation_token(text(inner)?),
            b"EncodingType" => answer.encoding_type(EncodingType::from(&*text(inner)?)),
            _ => answer,
        };
    }
    // Of what comes after an element that does not end nothing is known: files would be missing.
    elements.0.trim_ascii().is_empty().then(|| answer.build())
}

fn entry(inner: &[u8]) -> Object {
    let field = |name: &[u8]| Elements(inner).find(|(known, _)| *known == name).map(|(_, inner)| inner);
    let key = field(b"Key").unwrap_or_default();
    let told = Object::builder().key(text(key).unwrap_or_else(|| String::from_utf8_lossy(key).into_owned()));
    let time = field(b"LastModified").map(|inner| time(inner).ok_or(()));
    let (Some(_), Ok(time), Some(size)) = (text(key), time.transpose(), field(b"Size").and_then(size)) else {
        return told.build();
    };
    told.size(size)
        .set_last_modified(time)
        .set_e_tag(field(b"ETag").and_then(text))
        .set_storage_class(field(b"StorageClass").and_then(text).map(|class| ObjectStorageClass::from(&*class)))
        .build()
}

fn common_prefix(inner: &[u8]) -> CommonPrefix {
    let prefix = Elements(inner).find(|(name, _)| *name == b"Prefix").and_then(|(_, inner)| text(inner));
    CommonPrefix::builder().set_prefix(prefix).build()
}

fn size(inner: &[u8]) -> Option<i64> {
    text(inner)?.parse().ok()
}

fn time(inner: &[u8]) -> Option<DateTime> {
    DateTime::from_str(&text(inner)?, Format::DateTimeWithOffset).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn document(entries: &str) -> Vec<u8> {
        let head = "<?xml version=\"1.0\"?>\n<ListBucketResult xmlns=\"http://s3\"><Name>b</Name><Prefix/><IsTruncated>true\
                    </IsTruncated><NextContinuationToken>a&amp;b</NextContinuationToken>";
        format!("{head}{entries}</ListBucketResult>").into_bytes()
    }

    fn entry_of(key: &str, size: &str, time: &str) -> String {
        format!(
            "<Contents><Key>{key}</Key><LastModified>{time}</LastModified><ETag>&quot;e&quot;</ETag><Size>{size}</Size></Contents>"
        )
    }

    #[test]
    fn entries_without_sense_are_left_without_a_size() {
        let time = "2026-01-02T03:04:05.000Z";
        let entries = [
            entry_of("a&#x1;&lt;", "12", time),
            entry_of("b\u{1}", "12", time),
            entry_of("c", "9223372036854775808", time),
            entry_of("d", "12", "99999-01-01T00:00:00Z"),
            entry_of("e&unknown;", "12", time),
            "<Contents/>".to_owned(),
            "<CommonPrefixes><Prefix>f/</Prefix></CommonPrefixes>".to_owned(),
        ];
        let answer = read(&document(&entries.concat())).unwrap();
        let told: Vec<_> = answer.contents().iter().map(|entry| (entry.key.as_deref().unwrap(), entry.size)).collect();
        let none = None;
        let expected =
            [("a\u{1}<", Some(12)), ("b\u{1}", none), ("c", none), ("d", none), ("e&unknown;", none), ("", none)];
        assert_eq!(told, expected);
        assert_eq!(answer.contents()[0].e_tag(), Some("\"e\""));
        assert_eq!(answer.common_prefixes()[0].prefix(), Some("f/"));
        assert_eq!((answer.is_truncated, answer.next_continuation_token()), (Some(true), Some("a&b")));
    }

    #[test]
    fn what_is_no_listing_or_not_all_of_one_is_not_read() {
        let whole = document(&entry_of("a", "1", "2026-01-02T03:04:05Z"));
        assert!(read(&whole).is_some() && read(&whole[..whole.len() - 5]).is_none());
        let unclosed = format!("<Contents><Key>a{}", entry_of("b", "1", "2026-01-02T03:04:05Z"));
        assert!(read(&document(&unclosed.replace("</Contents>", ""))).is_none());
        for other in ["", "<html><body>Sign in</body></html>", "<Error><Code>SlowDown</Code></Error>"] {
            assert!(read(other.as_bytes()).is_none(), "{other}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..200), tags in "[<>/a&;#!?]{0,60}") {
            let _ = read(&document(&tags));
            let _ = read(&[&b"<ListBucketResult>"[..], &bytes, b"</ListBucketResult>"].concat());
        }
    }
}
