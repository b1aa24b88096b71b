//! What is written down: one answer of the store, or that a directory is to be forgotten, as a line that proves itself.
//!
//! A line is the checksum of the rest (16 hexadecimal digits of xxh3), a space, JSON and a line end. Each record names
//! the store and what was asked, so that it counts wherever it is found, and nothing else does.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::store::{ListPage, ListRequest, ObjectMeta, StorageClass, Version};

/// The hexadecimal digits of a checksum.
pub(super) const DIGITS: usize = 16;

/// A line of a log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The identity of the bucket.
    pub(super) store: String,
    /// When the store was asked, in milliseconds since 1970.
    pub(super) asked: u64,
    /// What was asked and answered.
    pub(super) what: What,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum What {
    List {
        prefix: String,
        delimited: bool,
        max_keys: u16,
        continuation: Option<String>,
        page: Page,
    },
    Head {
        object: Object,
    },
    /// What was asked for in this directory before is outdated.
    Forget {
        directory: String,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Page {
    pub(super) objects: Vec<Object>,
    pub(super) prefixes: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    senseless: Vec<String>,
    pub(super) next: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Object {
    pub(super) key: String,
    size: u64,
    /// In nanoseconds since 1970.
    modified: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    class: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    archived: bool,
}

impl Record {
    /// The answer to a LIST; none if it cannot be written down.
    pub(super) fn of_list(store: &str, asked: u64, request: &ListRequest, page: &ListPage) -> Option<Self> {
        let page = Page {
            objects: page.objects.iter().map(Object::new).collect::<Option<_>>()?,
            prefixes: page.prefixes.clone(),
            senseless: page.senseless.clone(),
            next: page.continuation.clone(),
        };
        let ListRequest { prefix, delimited, max_keys, continuation } = request.clone();
        Some(Self {
            store: store.to_owned(),
            asked,
            what: What::List { prefix, delimited, max_keys, continuation, page },
        })
    }

    /// The answer to a HEAD; none if it cannot be written down.
    pub(super) fn of_head(store: &str, asked: u64, object: &ObjectMeta) -> Option<Self> {
        Some(Self { store: store.to_owned(), asked, what: What::Head { object: Object::new(object)? } })
    }

    /// That a directory is to be forgotten.
    pub(super) fn of_forget(store: &str, asked: u64, directory: &str) -> Self {
        Self { store: store.to_owned(), asked, what: What::Forget { directory: directory.to_owned() } }
    }

    /// The directory in whose log it belongs.
    pub(super) fn directory(&self) -> &str {
        match &self.what {
            What::List { prefix, .. } => directory_of(prefix),
            What::Head { object } => directory_of(&object.key),
            What::Forget { directory } => directory,
        }
    }

    /// Its line.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let json = serde_json::to_vec(self).ok()?;
        let mut line = checksum(&json).to_vec();
        line.push(b' ');
        line.extend_from_slice(&json);
        line.push(b'\n');
        Some(line)
    }

    /// The record that a line holds, without its line end.
    pub(super) fn decode(line: &[u8]) -> Option<Self> {
        let (sum, rest) = line.split_at_checked(DIGITS)?;
        let json = rest.strip_prefix(b" ")?;
        if checksum(json) != sum {
            return None;
        }
        serde_json::from_slice(json).ok()
    }
}

pub(super) fn checksum(json: &[u8]) -> [u8; DIGITS] {
    let mut digits = [0; DIGITS];
    for (digit, shift) in digits.iter_mut().zip((0..DIGITS as u32).rev()) {
        *digit = b"0123456789abcdef"[(xxh3_64(json) >> (4 * shift)) as usize & 0xf];
    }
    digits
}

impl Object {
    fn new(object: &ObjectMeta) -> Option<Self> {
        let text = |text: &Option<std::sync::Arc<str>>| text.as_deref().map(str::to_owned);
        Some(Self {
            key: object.key.clone(),
            size: object.size,
            modified: nanoseconds(object.last_modified)?,
            etag: text(&object.version.etag),
            id: text(&object.version.id),
            class: object.storage_class.as_ref().map(|class| class.name.to_string()),
            archived: object.is_archived(),
        })
    }

    /// As the store told it.
    pub(super) fn restore(self) -> Option<ObjectMeta> {
        let Self { key, size, modified, etag, id, class, archived } = self;
        let storage_class = class.map(|name| StorageClass::from((&*name, archived)));
        let version = Version { etag: etag.map(Into::into), id: id.map(Into::into) };
        Some(ObjectMeta { key, size, last_modified: time(modified)?, version, storage_class })
    }
}

impl Page {
    /// As the store told it.
    pub(super) fn restore(self) -> Option<ListPage> {
        let Self { objects, prefixes, senseless, next: continuation } = self;
        let objects = objects.into_iter().map(Object::restore).collect::<Option<_>>()?;
        Some(ListPage { objects, prefixes, senseless, continuation })
    }
}

fn nanoseconds(time: SystemTime) -> Option<i64> {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_nanos()).ok(),
        Err(before) => i64::try_from(before.duration().as_nanos()).ok().map(std::ops::Neg::neg),
    }
}

fn time(nanoseconds: i64) -> Option<SystemTime> {
    let distance = Duration::from_nanos(nanoseconds.unsigned_abs());
    if nanoseconds < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) }
}

/// Now, as records have it.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The directory of a key or of a prefix: as far as its last `/`.
pub(super) fn directory_of(key: &str) -> &str {
    key.rfind('/').map_or("", |slash| &key[..=slash])
}

/// What stands for a request.
pub(super) fn id_of_list(prefix: &str, delimited: bool, max_keys: u16, continuation: Option<&str>) -> u128 {
    let mut hash = Xxh3::new();
    hash.update(&[1, u8::from(delimited), u8::from(continuation.is_some())]);
    hash.update(&max_keys.to_le_bytes());
    hash.update(&(prefix.len() as u64).to_le_bytes());
    hash.update(prefix.as_bytes());
    hash.update(continuation.unwrap_or_default().as_bytes());
    hash.digest128()
}

/// What stands for a HEAD.
pub(super) fn id_of_head(key: &str) -> u128 {
    let mut hash = Xxh3::new();
    hash.update(&[2]);
    hash.update(key.as_bytes());
    hash.digest128()
}
