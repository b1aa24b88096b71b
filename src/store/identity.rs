//! Which content of which key something is: what caches and inode numbers are found by, in all mounts and for ever.

use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use super::{ObjectMeta, Version};

/// A version of an object in a store.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// The identity of the store.
    pub store: String,
    /// The raw key.
    pub key: String,
    /// The entity tag.
    pub etag: Option<String>,
    /// The version id.
    pub id: Option<String>,
    /// The time of the content in nanoseconds since 1970, where nothing else tells its version.
    pub modified_ns: Option<u64>,
    /// Its length in bytes.
    pub size: u64,
}

impl Identity {
    /// The identity of an object version in the store `store`.
    pub fn new(store: &str, object: &ObjectMeta) -> Self {
        let is_unversioned = object.version == Version::default();
        let since_1970 = object.last_modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            store: store.to_owned(),
            key: object.key.clone(),
            etag: object.version.etag.as_deref().map(str::to_owned),
            id: object.version.id.as_deref().map(str::to_owned),
            modified_ns: is_unversioned.then(|| u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX)),
            size: object.size,
        }
    }

    /// A hash of all of it.
    pub fn hash(&self) -> u128 {
        let modified = self.modified_ns.map(|time| time.to_string());
        let parts = [Some(&self.store), Some(&self.key), self.etag.as_ref(), self.id.as_ref(), modified.as_ref()];
        let mut bytes = self.size.to_le_bytes().to_vec();
        for part in parts {
            // Lengths keep parts apart, and a missing one from an empty one.
            bytes.extend(part.map_or(u64::MAX, |part| part.len() as u64).to_le_bytes());
            bytes.extend(part.map_or(&[][..], |part| part.as_bytes()));
        }
        xxh3_128(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn identities_differ_by_each_part() {
        let etag = Some("\"a\"".to_owned());
        let (store, key) = ("s3://here/bucket".to_owned(), "a".to_owned());
        let one = Identity { store, key, etag, id: None, modified_ns: None, size: 10_000 };
        let others = [
            Identity { key: "b".into(), ..one.clone() },
            Identity { etag: None, ..one.clone() },
            Identity { etag: None, id: one.etag.clone(), ..one.clone() },
            Identity { modified_ns: Some(1), ..one.clone() },
            Identity { size: 1, ..one.clone() },
            Identity { store: "s3://here/bucke".into(), key: "ta".into(), ..one.clone() },
        ];
        assert!(others.iter().all(|other| other.hash() != one.hash()));
    }

    #[test]
    fn a_content_without_a_version_is_told_by_its_time() {
        let at = |nanoseconds, etag: Option<&str>| ObjectMeta {
            key: "k".into(),
            size: 1,
            last_modified: UNIX_EPOCH + Duration::from_nanos(nanoseconds),
            version: Version { etag: etag.map(Into::into), id: None },
            storage_class: None,
        };
        let hash = |object: ObjectMeta| Identity::new("s", &object).hash();
        assert_ne!(hash(at(1, None)), hash(at(2, None)));
        assert_eq!(hash(at(1, Some("e"))), hash(at(2, Some("e"))));
    }
}
