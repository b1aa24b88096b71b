//! Which keys a bucket had at a time: a page of all versions (API reference, "ListObjectVersions"), as the listing that
//! the bucket would have given then. Pure.
//!
//! Versions of a key follow each other, the newest first, and a page may end among them. What a page has to know of the
//! one before is whether the key that it ended with is decided: then the next page begins behind all of its versions, and
//! else with the next one. So the continuation holds everything.
//!
//! The SDK sorts versions and delete markers into two lists, so that of a key that was written and deleted within a
//! second nobody could tell which came first. So the document itself is read, in its order.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use serde::{Deserialize, Serialize};

use super::page::storage_class;
use crate::store::web::elements::{Elements, text};
use crate::store::web::encoding::{decode_key, opaque_tag, whole_seconds};
use crate::store::{ListPage, ObjectMeta, Version};

/// Where a page of versions begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Marker {
    /// Behind this key or common prefix.
    pub(super) key: String,
    /// Still among the versions of the key, behind this one.
    pub(super) version: Option<String>,
}

impl Marker {
    /// From a continuation.
    pub(super) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    fn continuation(&self) -> Option<String> {
        serde_json::to_string(self).ok()
    }

    /// Whether a name is behind it. Some servers begin again with the key of the marker.
    fn is_before(&self, name: &str) -> bool {
        match self.version {
            Some(_) => name >= self.key.as_str(),
            None => name > self.key.as_str(),
        }
    }
}

/// A version of a key, or that it was deleted.
#[derive(Debug)]
struct Entry {
    time: SystemTime,
    is_latest: bool,
    /// None for a delete marker; what of it makes no sense is an error.
    object: Option<Result<ObjectMeta, ()>>,
}

/// A page of versions as the server has written it.
#[derive(Debug, Default)]
pub(super) struct Versions {
    keys: BTreeMap<String, Vec<Entry>>,
    prefixes: Vec<String>,
    senseless: Vec<String>,
    /// The last name of the page, if another one follows.
    next: Option<Marker>,
}

/// Reads a page of versions; none if it is not one, or not all of it.
pub(super) fn read(document: &[u8]) -> Option<Versions> {
    let (_, listing) = Elements(document).find(|(name, _)| *name == b"ListVersionsResult")?;
    let top = |name: &[u8]| Elements(listing).find(|(known, _)| *known == name).map(|(_, inner)| inner);
    let encoded = top(b"EncodingType") == Some(b"url");
    let decode = |inner: &[u8]| {
        let text = text(inner)?;
        if encoded { decode_key(&text) } else { Some(text) }
    };
    let mut versions = Versions::default();
    let (mut is_truncated, mut next_key, mut next_version) = (false, None, None);
    let mut elements = Elements(listing);
    for (name, inner) in &mut elements {
        match name {
            b"Version" | b"DeleteMarker" => {
                let raw = field(inner, b"Key").unwrap_or_default();
                let Some(key) = decode(raw) else {
                    versions.senseless.push(String::from_utf8_lossy(raw).into_owned());
                    continue;
                };
                match entry(&key, inner, name == b"DeleteMarker") {
                    Some(entry) => versions.keys.entry(key).or_default().push(entry),
                    None => versions.senseless.push(key),
                }
            }
            b"CommonPrefixes" => {
                let raw = field(inner, b"Prefix").unwrap_or_default();
                match decode(raw) {
                    Some(prefix) => versions.prefixes.push(prefix),
                    None => versions.senseless.push(String::from_utf8_lossy(raw).into_owned()),
                }
            }
            b"IsTruncated" => is_truncated = inner == b"true",
            b"NextKeyMarker" => next_key = Some(decode(inner)?),
            b"NextVersionIdMarker" => next_version = text(inner).filter(|id| !id.is_empty()),
            _ => {}
        }
    }
    if is_truncated {
        versions.next = Some(Marker { key: next_key?, version: next_version });
    }
    // Of what comes after an element that does not end nothing is known: files would be missing.
    elements.0.trim_ascii().is_empty().then_some(versions)
}

/// Whether a bucket keeps versions, or has kept some (API reference, "GetBucketVersioning"): it has a status then. None if
/// the document does not tell.
pub(super) fn are_kept(document: &[u8]) -> Option<bool> {
    // The latter is what moto calls it.
    const ROOTS: [&[u8]; 2] = [b"VersioningConfiguration", b"GetBucketVersioningResponse"];
    let (_, configuration) = Elements(document).find(|(name, _)| ROOTS.contains(name))?;
    Some(field(configuration, b"Status").is_some_and(|status| !status.is_empty()))
}

fn field<'a>(inner: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    Elements(inner).find(|(known, _)| *known == name).map(|(_, inner)| inner)
}

/// An entry; none where its time, on which all depends, is none.
fn entry(key: &str, inner: &[u8], is_deletion: bool) -> Option<Entry> {
    let field = |name: &[u8]| field(inner, name).and_then(text);
    let time = DateTime::from_str(&field(b"LastModified")?, Format::DateTimeWithOffset).ok()?;
    let object = || {
        Some(ObjectMeta {
            key: key.to_owned(),
            size: field(b"Size")?.parse().ok().filter(|size| i64::try_from(*size).is_ok())?,
            last_modified: whole_seconds(time),
            version: Version {
                etag: field(b"ETag").as_deref().and_then(opaque_tag),
                // Also `null`, the id of what was written while versioning was off, names a version.
                id: Some(field(b"VersionId").filter(|id| !id.is_empty())?.into()),
            },
            storage_class: field(b"StorageClass").as_deref().and_then(storage_class),
        })
    };
    Some(Entry {
        time: exact(time)?,
        is_latest: field(b"IsLatest").as_deref() == Some("true"),
        object: (!is_deletion).then(|| object().ok_or(())),
    })
}

/// A time with its fraction of a second, which listings of some servers have.
fn exact(time: DateTime) -> Option<SystemTime> {
    let since_1970 = Duration::new(u64::try_from(time.secs()).ok()?, time.subsec_nanos());
    SystemTime::UNIX_EPOCH.checked_add(since_1970)
}

impl Versions {
    /// What the bucket listed at a time, of this page: at most `most` entries. `begin` is where the page was asked to
    /// begin.
    pub(super) fn listed_at(self, time: SystemTime, begin: Option<&Marker>, most: usize) -> ListPage {
        let is_wanted = |name: &str| begin.is_none_or(|begin| begin.is_before(name));
        let mut next = self.next;
        let mut found = BTreeMap::new();
        let mut page = ListPage { senseless: self.senseless, ..ListPage::default() };
        for (key, entries) in self.keys.into_iter().filter(|(key, _)| is_wanted(key)) {
            let newest = newest(entries, time);
            if let Some(next) = next.as_mut().filter(|next| next.key == key && newest.is_some()) {
                next.version = None;
            }
            match newest.and_then(|entry| entry.object) {
                Some(Ok(object)) => drop(found.insert(key, Some(object))),
                Some(Err(())) => page.senseless.push(key),
                None => {}
            }
        }
        found.extend(self.prefixes.into_iter().filter(|prefix| is_wanted(prefix)).map(|prefix| (prefix, None)));
        let surplus = found.keys().nth(most).cloned();
        if let Some(surplus) = surplus {
            let _later = found.split_off(&surplus);
            next = found.keys().next_back().map(|last| Marker { key: last.clone(), version: None });
        }
        page.continuation = next.as_ref().and_then(Marker::continuation);
        for (name, object) in found {
            match object {
                Some(object) => page.objects.push(object),
                None => page.prefixes.push(name),
            }
        }
        page
    }
}

/// What a key was at a time: the newest of its versions and delete markers that are not later. Of several of one second,
/// as the server orders them, and the latest first.
fn newest(mut entries: Vec<Entry>, time: SystemTime) -> Option<Entry> {
    entries.retain(|entry| entry.time <= time);
    entries.sort_by_key(|entry| (std::cmp::Reverse(entry.time), !entry.is_latest));
    entries.into_iter().next()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A version, or a delete marker where the size is none, at a second.
    fn entry(key: &str, id: &str, second: u64, size: Option<u64>) -> String {
        let common = format!(
            "<Key>{key}</Key><VersionId>{id}</VersionId><IsLatest>false</IsLatest>\
             <LastModified>2026-01-01T00:00:{second:02}.000Z</LastModified>"
        );
        match size {
            Some(size) => {
                format!("<Version>{common}<ETag>&quot;{id}&quot;</ETag><Size>{size}</Size></Version>")
            }
            None => format!("<DeleteMarker>{common}</DeleteMarker>"),
        }
    }

    fn document(entries: &[String], more: &str) -> Vec<u8> {
        let entries = entries.concat();
        format!(
            "<?xml version=\"1.0\"?><ListVersionsResult xmlns=\"x\"><Name>b</Name>{more}{entries}</ListVersionsResult>"
        )
        .into_bytes()
    }

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600 + second)
    }

    fn listed(entries: &[String], more: &str, second: u64) -> (Vec<(String, u64)>, Option<Marker>) {
        let page = read(&document(entries, more)).unwrap().listed_at(at(second), None, 1000);
        let objects = page.objects.into_iter().map(|object| (object.key, object.size)).collect();
        (objects, page.continuation.as_deref().and_then(Marker::parse))
    }

    #[test]
    fn a_key_is_the_newest_version_that_is_not_later() {
        let entries = [
            entry("a", "3", 30, Some(3)),
            entry("a", "2", 20, None),
            entry("a", "1", 10, Some(1)),
            entry("b", "1", 15, Some(7)),
        ];
        let keys = |second| listed(&entries, "", second).0;
        assert_eq!(keys(9), []);
        assert_eq!(keys(10), [("a".to_owned(), 1)]);
        assert_eq!(keys(19), [("a".to_owned(), 1), ("b".to_owned(), 7)]);
        assert_eq!(keys(29), [("b".to_owned(), 7)]);
        assert_eq!(keys(30), [("a".to_owned(), 3), ("b".to_owned(), 7)]);
    }

    #[test]
    fn a_bucket_that_keeps_versions_or_has_kept_some_has_a_status() {
        let kept = |status: &str| {
            let text = format!("\n <VersioningConfiguration xmlns=\"x\">{status}</VersioningConfiguration>");
            are_kept(text.as_bytes())
        };
        assert_eq!((kept(""), kept("<Status>Enabled</Status>")), (Some(false), Some(true)));
        assert_eq!((kept("<Status/>"), kept("<Status>Suspended</Status>")), (Some(false), Some(true)));
        assert_eq!(are_kept(b"<html></html>"), None);
    }

    #[test]
    fn of_one_second_the_order_of_the_server_counts() {
        let written_last = [entry("a", "2", 10, Some(2)), entry("a", "1", 10, None)];
        let deleted_last = [entry("a", "2", 10, None), entry("a", "1", 10, Some(2))];
        assert_eq!(listed(&written_last, "", 10).0, [("a".to_owned(), 2)]);
        assert_eq!(listed(&deleted_last, "", 10).0, []);
    }

    #[test]
    fn a_page_that_ends_among_the_versions_of_a_key_goes_on_where_it_has_to() {
        let more = "<IsTruncated>true</IsTruncated><NextKeyMarker>a</NextKeyMarker>\
                    <NextVersionIdMarker>2</NextVersionIdMarker>";
        let entries = [entry("a", "3", 30, Some(3)), entry("a", "2", 20, Some(2))];
        let marker = |version: Option<&str>| Some(Marker { key: "a".into(), version: version.map(str::to_owned) });
        assert_eq!(listed(&entries, more, 10), (vec![], marker(Some("2"))));
        assert_eq!(listed(&entries, more, 25), (vec![("a".to_owned(), 2)], marker(None)));
        let unfinished = "<IsTruncated>true</IsTruncated>";
        assert!(read(&document(&entries, unfinished)).is_none(), "it cannot be gone on with");
    }

    #[test]
    fn a_server_that_begins_with_the_key_of_the_marker_shows_it_once() {
        let versions = || read(&document(&[entry("a", "1", 5, Some(1)), entry("b", "1", 5, Some(2))], "")).unwrap();
        let behind = Marker { key: "a".into(), version: None };
        let page = versions().listed_at(at(10), Some(&behind), 1000);
        assert_eq!(page.objects.len(), 1);
        let among = Marker { version: Some("2".into()), ..behind };
        assert_eq!(versions().listed_at(at(10), Some(&among), 1000).objects.len(), 2);
    }

    #[test]
    fn no_more_is_handed_out_than_was_asked_for_and_nothing_is_lost() {
        let entries = ["a", "c", "d"].map(|key| entry(key, "1", 5, Some(1)));
        let more = "<CommonPrefixes><Prefix>b/</Prefix></CommonPrefixes>";
        let first = read(&document(&entries, more)).unwrap().listed_at(at(10), None, 2);
        assert_eq!((first.objects.len(), first.prefixes.len()), (1, 1));
        let marker = first.continuation.as_deref().and_then(Marker::parse).unwrap();
        assert_eq!(marker, Marker { key: "b/".into(), version: None });
        let second = read(&document(&entries, more)).unwrap().listed_at(at(10), Some(&marker), 2);
        assert_eq!((second.objects.len(), second.prefixes.len(), second.continuation), (2, 0, None));
    }

    #[test]
    fn names_are_decoded_and_what_makes_no_sense_is_named() {
        let encoded = "<EncodingType>url</EncodingType>";
        let entries = [
            entry("a+b%2F", "1", 5, Some(1)),
            entry("c", "1", 5, Some(u64::MAX)),
            entry("%FF", "1", 5, Some(1)),
            "<Version><Key>d</Key></Version>".to_owned(),
        ];
        let page = read(&document(&entries, encoded)).unwrap().listed_at(at(10), None, 1000);
        assert_eq!(page.objects[0].key, "a b/");
        assert_eq!(page.objects[0].version.id.as_deref(), Some("1"));
        assert_eq!(page.senseless, ["%FF", "d", "c"]);
        let whole = document(&entries, encoded);
        assert!(read(&whole[..whole.len() - 5]).is_none() && read(b"<ListBucketResult/>").is_none());
    }

    proptest! {
        /// Whatever the pages, the listing is that of one page.
        #[test]
        fn pages_of_any_length_list_the_same(
            stamps in proptest::collection::vec((0u8..4, 0u64..30, any::<bool>()), 0..24), page in 1usize..6, second in 0u64..30,
        ) {
            let mut stamps = stamps;
            stamps.sort_by_key(|(key, time, _)| (*key, std::cmp::Reverse(*time)));
            let entries: Vec<(String, String, String)> = stamps.iter().enumerate().map(|(place, (key, time, is_file))| {
                let (key, id) = (format!("k{key}"), place.to_string());
                let xml = entry(&key, &id, *time, is_file.then_some(place as u64));
                (key, id, xml)
            }).collect();
            let all: Vec<String> = entries.iter().map(|(_, _, xml)| xml.clone()).collect();
            let expected = listed(&all, "", second).0;
            let (mut told, mut begin) = (Vec::new(), None::<Marker>);
            loop {
                let start = begin.as_ref().map_or(0, |marker| entries.iter().position(|(key, id, _)| match &marker.version {
                    Some(version) => id == version,
                    None => *key > marker.key,
                }).map_or(entries.len(), |place| place + usize::from(marker.version.is_some())));
                let part = &entries[start..entries.len().min(start + page)];
                let more = match part.last() {
                    Some((key, id, _)) if start + page < entries.len() => format!(
                        "<IsTruncated>true</IsTruncated><NextKeyMarker>{key}</NextKeyMarker><NextVersionIdMarker>{id}</NextVersionIdMarker>"
                    ),
                    _ => String::new(),
                };
                let xml: Vec<String> = part.iter().map(|(_, _, xml)| xml.clone()).collect();
                let listed = read(&document(&xml, &more)).unwrap().listed_at(at(second), begin.as_ref(), 1000);
                told.extend(listed.objects.into_iter().map(|object| (object.key, object.size)));
                match listed.continuation {
                    Some(next) => begin = Marker::parse(&next),
                    None => break,
                }
            }
            prop_assert_eq!(told, expected);
        }

        #[test]
        fn any_bytes_are_read_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..200), tags in "[<>/a&;#!?]{0,60}") {
            let _ = read(tags.as_bytes());
            let _ = read(&[&b"<ListVersionsResult>"[..], &bytes, b"</ListVersionsResult>"].concat());
        }
    }
}
