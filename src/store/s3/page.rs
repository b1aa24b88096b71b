//! Pages of listings, as the layers above see them. Pure.
//!
//! An entry that makes no sense hides no other: it is left out, and named.

use std::time::SystemTime;

use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::{EncodingType, Object};

use super::version;
use crate::store::web::encoding::{decode_key, whole_seconds};
use crate::store::{ListPage, ObjectMeta, StorageClass};

/// A page of a listing, or what is wrong with it.
pub(super) fn page(answer: &ListObjectsV2Output) -> Result<ListPage, &'static str> {
    let encoded = answer.encoding_type == Some(EncodingType::Url);
    let decode = |text: &str| if encoded { decode_key(text) } else { Some(text.to_owned()) };
    let continuation = match (answer.is_truncated, &answer.next_continuation_token) {
        (Some(true), None) => return Err("a truncated page without continuation token"),
        (Some(true), token) => token.clone(),
        (Some(false) | None, _) => None,
    };
    let mut page = ListPage { continuation, ..ListPage::default() };
    for entry in answer.contents() {
        match object(entry, decode) {
            Some(object) => page.objects.push(object),
            None => page.senseless.push(named(entry.key.as_deref(), decode)),
        }
    }
    for common in answer.common_prefixes() {
        match common.prefix.as_deref().and_then(decode) {
            Some(prefix) => page.prefixes.push(prefix),
            None => page.senseless.push(named(common.prefix.as_deref(), decode)),
        }
    }
    Ok(page)
}

/// An object; none if its key is not UTF-8, or its size is none that a file can have.
fn object(entry: &Object, decode: impl Fn(&str) -> Option<String>) -> Option<ObjectMeta> {
    Some(ObjectMeta {
        key: entry.key.as_deref().and_then(decode)?,
        size: entry.size.and_then(|size| u64::try_from(size).ok())?,
        // A listing without times is none of S3's, but its objects can be read all the same.
        last_modified: entry.last_modified.map_or(SystemTime::UNIX_EPOCH, whole_seconds),
        version: version(entry.e_tag.as_deref(), None),
        storage_class: entry.storage_class.as_ref().and_then(|class| storage_class(class.as_str())),
    })
}

/// What an entry calls itself, for people.
fn named(key: Option<&str>, decode: impl Fn(&str) -> Option<String>) -> String {
    let key = key.unwrap_or("(an entry without a key)");
    decode(key).unwrap_or_else(|| key.to_owned())
}

/// Storage classes whose objects must be restored before they can be read (API reference, "GetObject",
/// InvalidObjectState).
const ARCHIVE_CLASSES: [&str; 2] = ["GLACIER", "DEEP_ARCHIVE"];

/// Whether all objects of a class must be restored before they can be read.
pub(super) fn is_archive_class(name: &str) -> bool {
    ARCHIVE_CLASSES.contains(&name)
}

/// A storage class that is not the standard one.
pub(super) fn storage_class(name: &str) -> Option<StorageClass> {
    let class = || StorageClass { name: name.into(), is_archived: is_archive_class(name) };
    (!matches!(name, "" | "STANDARD")).then(class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_without_sense_is_named_and_hides_no_other() {
        let entry = |key: &str, size: i64| Object::builder().key(key).size(size).build();
        let answer = ListObjectsV2Output::builder()
            .encoding_type(EncodingType::Url)
            .set_contents(Some(vec![entry("a+b", 1), entry("c%20", -5), entry("%FF", 1), Object::builder().build()]))
            .build();
        let page = page(&answer).unwrap();
        assert_eq!(page.objects.iter().map(|object| &*object.key).collect::<Vec<_>>(), ["a b"]);
        assert_eq!(page.senseless, ["c ", "%FF", "(an entry without a key)"]);
    }

    #[test]
    fn an_entry_says_whether_it_must_be_restored() {
        let is_archived = |class: &str| storage_class(class).map(|class| class.is_archived);
        assert_eq!((is_archived(""), is_archived("STANDARD")), (None, None));
        assert_eq!((is_archived("STANDARD_IA"), is_archived("GLACIER_IR")), (Some(false), Some(false)));
        assert_eq!((is_archived("GLACIER"), is_archived("DEEP_ARCHIVE")), (Some(true), Some(true)));
    }

    #[test]
    fn a_truncated_page_leads_on() {
        let truncated = ListObjectsV2Output::builder().is_truncated(true);
        assert!(page(&truncated.clone().build()).is_err());
        let next = page(&truncated.next_continuation_token("t").build()).unwrap().continuation;
        assert_eq!(next.as_deref(), Some("t"));
    }
}
