//! What the JSON interface tells of objects ("Objects resource representation"), one by one or in a listing. Pure.
//!
//! An entry that makes no sense hides no other: it is left out, and named.

use std::time::{Duration, SystemTime};

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use serde::Deserialize;
use serde_json::Value;

use crate::store::{ListPage, ObjectMeta, StorageClass, Version};

/// What is asked for of each object.
pub(super) const FIELDS: &str = "name,size,timeCreated,updated,generation,storageClass";

/// What is asked for of each generation, also of those that were replaced or deleted.
pub(super) const FIELDS_OF_GENERATIONS: &str = "name,size,timeCreated,timeDeleted,updated,generation,storageClass";

/// The class that buckets have by default, and that of which nothing is to be said.
const STANDARD: &str = "STANDARD";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listing {
    #[serde(default)]
    items: Vec<Value>,
    #[serde(default)]
    prefixes: Vec<Value>,
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    name: String,
    /// Numbers are written as text, since JavaScript has none of 64 bits.
    size: String,
    generation: Option<String>,
    /// When this generation was made. `updated` also changes with the metadata of the same content.
    time_created: Option<String>,
    updated: Option<String>,
    storage_class: Option<String>,
}

/// Reads a page; none if it is not one.
pub(super) fn read(document: &[u8]) -> Option<ListPage> {
    read_where(document, |_| true)
}

/// Reads a page of all generations: of each key the one that was there at a time, if one was.
pub(super) fn read_as_of(document: &[u8], moment: SystemTime) -> Option<ListPage> {
    let told = |item: &Value, name: &str| item.get(name).and_then(Value::as_str).and_then(time);
    read_where(document, |item| {
        // What does not tell when it was made makes no sense, and is named as such.
        let was_made = told(item, "timeCreated").is_none_or(|made| made <= moment);
        was_made && told(item, "timeDeleted").is_none_or(|deleted| deleted > moment)
    })
}

fn read_where(document: &[u8], counts: impl Fn(&Value) -> bool) -> Option<ListPage> {
    let value: Value = serde_json::from_slice(document).ok()?;
    // Of nothing, it has neither entries nor prefixes.
    value.is_object().then_some(())?;
    let listing: Listing = serde_json::from_value(value).ok()?;
    let mut page =
        ListPage { continuation: listing.next_page_token.filter(|token| !token.is_empty()), ..ListPage::default() };
    for item in listing.items.into_iter().filter(counts) {
        match meta(&item) {
            Some(object) => page.objects.push(object),
            None => page.senseless.push(shown(&item)),
        }
    }
    for prefix in listing.prefixes {
        match prefix.as_str().filter(|prefix| !prefix.is_empty()) {
            Some(prefix) => page.prefixes.push(prefix.to_owned()),
            None => page.senseless.push(shown(&prefix)),
        }
    }
    Some(page)
}

/// Reads what is told of one object.
pub(super) fn object(document: &[u8]) -> Option<ObjectMeta> {
    meta(&serde_json::from_slice(document).ok()?)
}

fn meta(value: &Value) -> Option<ObjectMeta> {
    let entry = Entry::deserialize(value).ok().filter(|entry| !entry.name.is_empty())?;
    let class = entry.storage_class.filter(|class| class != STANDARD);
    Some(ObjectMeta {
        size: entry.size.parse().ok()?,
        last_modified: time(entry.time_created.as_ref().or(entry.updated.as_ref())?)?,
        version: Version { etag: None, id: entry.generation.filter(|id| !id.is_empty()).map(Into::into) },
        // All classes are read at once.
        storage_class: class.map(|name| StorageClass { name: name.into(), is_archived: false }),
        key: entry.name,
    })
}

fn shown(entry: &Value) -> String {
    entry.get("name").and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn time(text: &str) -> Option<SystemTime> {
    let time = DateTime::from_str(text, Format::DateTimeWithOffset).ok()?;
    let seconds = Duration::new(time.secs().try_into().ok()?, time.subsec_nanos());
    SystemTime::UNIX_EPOCH.checked_add(seconds)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn entry(name: &str, size: &str) -> Value {
        json!({"name": name, "size": size, "generation": "17", "timeCreated": "1970-01-01T00:00:10.500Z",
               "updated": "1970-01-01T00:00:20Z", "storageClass": "STANDARD"})
    }

    #[test]
    fn of_all_generations_the_one_of_a_time_counts() {
        let generation = |name: &str, id: &str, made: &str, deleted: Option<&str>| {
            let mut item = json!({ "name": name, "size": "1", "generation": id, "timeCreated": made });
            if let Some(deleted) = deleted {
                item["timeDeleted"] = json!(deleted);
            }
            item
        };
        let (ten, twenty, thirty) = ("2026-01-01T10:00:00.5Z", "2026-01-01T20:00:00.5Z", "2026-01-02T06:00:00.5Z");
        let items = [
            generation("a", "1", ten, Some(twenty)),
            generation("a", "2", twenty, Some(thirty)),
            generation("a", "3", thirty, None),
            generation("b", "4", ten, Some(twenty)),
        ];
        let document = json!({ "items": items, "prefixes": ["d/"] }).to_string();
        let ids = |text: &str| {
            let page = read_as_of(document.as_bytes(), time(text).unwrap()).unwrap();
            let ids: Vec<_> = page.objects.iter().filter_map(|object| object.version.id.clone()).collect();
            ids.join(",")
        };
        assert_eq!(ids("2026-01-01T09:00:00Z"), "");
        assert_eq!(ids(ten), "1,4");
        assert_eq!(ids(twenty), "2", "what was replaced at that moment is not there any more");
        assert_eq!(ids("2026-02-01T00:00:00Z"), "3");
    }

    #[test]
    fn a_page_has_objects_prefixes_and_a_token() {
        let mut cold = entry("b", "0");
        cold["storageClass"] = json!("ARCHIVE");
        let document = json!({"items": [entry("a//%41", "12"), cold], "prefixes": ["d/"], "nextPageToken": "next"});
        let page = read(document.to_string().as_bytes()).unwrap();
        assert_eq!((page.objects[0].key.as_str(), page.objects[0].size), ("a//%41", 12));
        assert_eq!(page.objects[0].version, Version { etag: None, id: Some("17".into()) });
        assert_eq!(page.objects[0].last_modified, SystemTime::UNIX_EPOCH + Duration::from_millis(10_500));
        assert!(page.objects[0].storage_class.is_none());
        let class = page.objects[1].storage_class.as_ref().unwrap();
        assert_eq!((&*class.name, class.is_archived), ("ARCHIVE", false));
        assert_eq!((page.prefixes, page.continuation.as_deref()), (vec!["d/".to_owned()], Some("next")));
        assert!(read(b"{\"kind\": \"storage#objects\"}").is_some());
    }

    #[test]
    fn an_entry_without_sense_hides_no_other() {
        let mut untimed = entry("time", "1");
        untimed["timeCreated"] = json!("yesterday");
        let items = json!([entry("good", "1"), entry("size", "-1"), untimed, 5, {"size": "1"}, entry("", "1"), entry("last", "2")]);
        let page = read(json!({"items": items, "prefixes": [7, "p/"]}).to_string().as_bytes()).unwrap();
        let keys: Vec<_> = page.objects.iter().map(|object| object.key.as_str()).collect();
        assert_eq!(keys, ["good", "last"]);
        assert_eq!(page.senseless, ["size", "time", "", "", "", ""]);
        assert_eq!(page.prefixes, ["p/"]);
    }

    #[test]
    fn what_is_no_listing_is_not_read() {
        for other in ["", "<html>", "[]", "5", "{\"items\": 5}"] {
            assert!(read(other.as_bytes()).is_none(), "{other}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
            let _ = object(&bytes);
        }
    }
}
