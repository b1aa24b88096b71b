//! A page of a listing (REST reference, "List Blobs"). Pure.
//!
//! An entry that makes no sense hides no other: it is left out, and named.

use std::time::SystemTime;

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use percent_encoding::percent_decode_str;

use crate::store::web::elements::{Elements, text};
use crate::store::web::encoding::{opaque_tag, whole_seconds};
use crate::store::{ListPage, ObjectMeta, StorageClass, Version};

/// The tier that accounts have by default, and that of which nothing is to be said.
const STANDARD_TIER: &str = "Hot";

/// The tier in which blobs cannot be read. A blob that is being rehydrated is in it until it can.
pub(super) const ARCHIVE_TIER: &str = "Archive";

/// What a page has, and what it tells of the account.
#[derive(Debug, Default)]
pub(super) struct Listed {
    pub(super) page: ListPage,
    /// Entries say whether they are folders.
    pub(super) hierarchical: bool,
}

/// The class of a tier.
pub(super) fn storage_class(tier: &str) -> Option<StorageClass> {
    let is_archived = tier == ARCHIVE_TIER;
    (!tier.is_empty() && tier != STANDARD_TIER).then(|| StorageClass { name: tier.into(), is_archived })
}

/// Reads a page; none if it is not one, or not all of it.
pub(super) fn read(document: &[u8]) -> Option<Listed> {
    let (_, results) = Elements(document).find(|(name, _)| *name == b"EnumerationResults")?;
    let mut listed = Listed::default();
    let mut found = false;
    let mut elements = Elements(results);
    for (name, inner) in &mut elements {
        match name {
            b"Blobs" => {
                found = true;
                entries(inner, &mut listed)?;
            }
            b"NextMarker" => listed.page.continuation = Some(text(inner)?).filter(|marker| !marker.is_empty()),
            _ => {}
        }
    }
    (found && elements.0.trim_ascii().is_empty()).then_some(listed)
}

fn entries(blobs: &[u8], listed: &mut Listed) -> Option<()> {
    let mut elements = Elements(blobs);
    for (name, inner) in &mut elements {
        let key = key(inner);
        match (name, key) {
            (b"Blob", Ok(key)) => match blob(&key, inner) {
                Some(Entry { is_folder: Some(true), .. }) => listed.hierarchical = true,
                Some(Entry { object, is_folder }) => {
                    listed.hierarchical |= is_folder.is_some();
                    listed.page.objects.push(object);
                }
                None => listed.page.senseless.push(key),
            },
            (b"BlobPrefix", Ok(prefix)) => listed.page.prefixes.push(prefix),
            (b"Blob" | b"BlobPrefix", Err(shown)) => listed.page.senseless.push(shown),
            _ => {}
        }
    }
    elements.0.trim_ascii().is_empty().then_some(())
}

struct Entry {
    object: ObjectMeta,
    /// Whether it is a folder; none where there are only blobs.
    is_folder: Option<bool>,
}

fn blob(key: &str, inner: &[u8]) -> Option<Entry> {
    let (_, properties) = Elements(inner).find(|(name, _)| *name == b"Properties")?;
    let property =
        |name: &[u8]| Elements(properties).find(|(known, _)| *known == name).and_then(|(_, inner)| text(inner));
    let is_folder = property(b"ResourceType").map(|kind| kind == "directory");
    let object = ObjectMeta {
        key: key.to_owned(),
        size: property(b"Content-Length")?.parse().ok()?,
        last_modified: time(&property(b"Last-Modified")?)?,
        version: Version { etag: property(b"Etag").and_then(|etag| opaque_tag(&etag)), id: None },
        storage_class: property(b"AccessTier").and_then(|tier| storage_class(&tier)),
    };
    Some(Entry { object, is_folder })
}

fn time(text: &str) -> Option<SystemTime> {
    DateTime::from_str(text, Format::HttpDate).ok().map(whole_seconds)
}

/// The key of an entry, or how it can be shown. Names that XML cannot hold are escaped, which an attribute says.
fn key(inner: &[u8]) -> Result<String, String> {
    const ENCODED: &[u8] = b"<Name Encoded=\"true\">";
    let raw = Elements(inner).find(|(name, _)| *name == b"Name").map(|(_, inner)| inner).unwrap_or_default();
    let shown = || String::from_utf8_lossy(raw).into_owned();
    let name = text(raw).filter(|name| !name.is_empty()).ok_or_else(shown)?;
    if !inner.trim_ascii_start().starts_with(ENCODED) {
        return Ok(name);
    }
    percent_decode_str(&name).decode_utf8().map(std::borrow::Cow::into_owned).map_err(|_| shown())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const TIME: &str = "Thu, 01 Jan 1970 00:00:10 GMT";

    fn document(entries: &str, marker: &str) -> Vec<u8> {
        let head = "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ServiceEndpoint=\"https://a/\" \
                    ContainerName=\"c\"><Prefix>a</Prefix><MaxResults>5</MaxResults>";
        format!("{head}<Blobs>{entries}</Blobs><NextMarker>{marker}</NextMarker></EnumerationResults>").into_bytes()
    }

    fn entry(name: &str, size: &str, time: &str, more: &str) -> String {
        format!(
            "<Blob><Name>{name}</Name><Properties><Last-Modified>{time}</Last-Modified><Etag>0x8D</Etag>\
             <Content-Length>{size}</Content-Length>{more}</Properties></Blob>"
        )
    }

    #[test]
    fn a_page_has_blobs_prefixes_and_a_marker() {
        let entries = [
            entry("a&amp;b", "12", TIME, "<AccessTier>Hot</AccessTier>"),
            entry(
                "b",
                "0",
                TIME,
                "<AccessTier>Archive</AccessTier><ArchiveStatus>rehydrate-pending-to-hot</ArchiveStatus>",
            ),
            entry("c", "1", TIME, "<AccessTier>Cool</AccessTier>"),
            "<BlobPrefix><Name>d/</Name></BlobPrefix>".to_owned(),
        ];
        let Listed { page, hierarchical } = read(&document(&entries.concat(), "2!a&amp;b")).unwrap();
        assert_eq!(page.objects[0].key, "a&b");
        assert_eq!((page.objects[0].size, page.objects[0].version.etag.as_deref()), (12, Some("\"0x8D\"")));
        assert_eq!(page.objects[0].last_modified, SystemTime::UNIX_EPOCH + Duration::from_secs(10));
        let archived: Vec<_> = page.objects.iter().map(ObjectMeta::is_archived).collect();
        assert_eq!(archived, [false, true, false]);
        assert!(page.objects[0].storage_class.is_none());
        assert_eq!(page.objects[2].storage_class.as_ref().map(|class| &*class.name), Some("Cool"));
        assert_eq!((page.prefixes, page.continuation.as_deref()), (vec!["d/".to_owned()], Some("2!a&b")));
        assert!(!hierarchical && read(&document("", "")).unwrap().page.continuation.is_none());
    }

    #[test]
    fn an_entry_without_sense_hides_no_other() {
        let entries = [
            entry("good", "12", TIME, ""),
            entry("bad\u{1}", "12", TIME, ""),
            entry("size", "-1", TIME, ""),
            entry("time", "1", "yesterday", ""),
            "<Blob/>".to_owned(),
            "<Blob><Name>none</Name></Blob>".to_owned(),
            entry("last", "1", TIME, "").replace("<Name>last", "<Name Encoded=\"true\">la%01st%2541"),
        ];
        let page = read(&document(&entries.concat(), "")).unwrap().page;
        let keys: Vec<_> = page.objects.iter().map(|object| object.key.as_str()).collect();
        assert_eq!(keys, ["good", "la\u{1}st%41"]);
        assert_eq!(page.senseless, ["bad\u{1}", "size", "time", "", "none"]);
    }

    #[test]
    fn folders_of_a_hierarchical_namespace_are_no_blobs() {
        let entries = [
            entry("d", "0", TIME, "<ResourceType>directory</ResourceType>"),
            entry("d/f", "1", TIME, "<ResourceType>file</ResourceType>"),
        ];
        let Listed { page, hierarchical } = read(&document(&entries.concat(), "")).unwrap();
        assert_eq!((page.objects.len(), page.objects[0].key.as_str(), hierarchical), (1, "d/f", true));
    }

    #[test]
    fn what_is_no_listing_or_not_all_of_one_is_not_read() {
        let whole = document(&entry("a", "1", TIME, ""), "");
        assert!(read(&whole).is_some() && read(&whole[..whole.len() - 5]).is_none());
        for other in ["", "<html><body>Sign in</body></html>", "<EnumerationResults></EnumerationResults>"] {
            assert!(read(other.as_bytes()).is_none(), "{other}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..200), tags in "[<>/a&;#!?]{0,60}") {
            let _ = read(&document(&tags, &tags));
            let _ = read(&[&b"<EnumerationResults><Blobs>"[..], &bytes, b"</Blobs></EnumerationResults>"].concat());
        }
    }
}
