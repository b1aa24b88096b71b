//! Buckets and the objects in them.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::RwLock;

use crate::content::Content;

/// One version of one object; replaced as a whole, so a response in flight keeps the version it began with.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub content: Content,
    pub len: u64,
    /// With its quotes.
    pub etag: String,
    pub last_modified: SystemTime,
    pub storage_class: String,
    pub archive: Archive,
    /// Content-Encoding, as uploaded with the object: nothing is encoded for it.
    pub content_encoding: Option<String>,
    /// What listings say of it instead of the truth.
    pub listed: Listed,
}

/// What listings say of an object, word for word, where that is not the truth.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    /// In place of its size.
    pub size: Option<String>,
    /// In place of its Last-Modified.
    pub last_modified: Option<String>,
}

impl Object {
    pub(crate) fn new(content: Content) -> io::Result<Object> {
        let len = content.len()?;
        let etag = content.etag(len);
        let last_modified = whole_seconds(content.file_modified().unwrap_or_else(SystemTime::now));
        Ok(Object {
            content,
            len,
            etag,
            last_modified,
            storage_class: "STANDARD".into(),
            archive: Archive::default(),
            content_encoding: None,
            listed: Listed::default(),
        })
    }

    /// Objects in an archive must be restored before they can be read.
    pub(crate) fn in_archive(&self) -> bool {
        matches!(self.storage_class.as_str(), "GLACIER" | "DEEP_ARCHIVE") || self.archive.status.is_some()
    }

    /// It cannot be read now.
    pub(crate) fn archived(&self) -> bool {
        self.in_archive() && !matches!(self.archive.restoration, Restoration::Done(_))
    }
}

/// What an archive has done with an object.
#[derive(Clone, Debug, Default)]
pub(crate) struct Archive {
    /// The tier of Intelligent-Tiering that it is in, if that is one of its archives.
    pub status: Option<String>,
    pub restoration: Restoration,
    /// The document of the last request to restore it.
    pub request: Option<String>,
}

/// How far the restoration of an object is.
#[derive(Clone, Debug, Default)]
pub(crate) enum Restoration {
    #[default]
    None,
    Ongoing,
    /// There is a copy until this time.
    Done(SystemTime),
}

/// S3 keeps no fractions of a second; with them, If-Modified-Since would never match.
pub(crate) fn whole_seconds(time: SystemTime) -> SystemTime {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// Objects in the order of their keys' UTF-8 bytes, which is the order of `String`.
pub(crate) type Objects = BTreeMap<String, Arc<Object>>;

/// What a bucket keeps of a key: a version, or that it was deleted.
#[derive(Clone, Debug)]
pub(crate) struct Past {
    pub id: String,
    pub time: SystemTime,
    /// None for a delete marker.
    pub object: Option<Arc<Object>>,
}

/// All that was, by keys, the newest first.
pub(crate) type History = BTreeMap<String, Vec<Past>>;

/// A bucket and what its policy says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bucket {
    pub objects: Objects,
    /// What was replaced and deleted, and what is there, if the bucket keeps versions.
    pub history: Option<History>,
    /// The region if it is not the server's.
    pub region: Option<String>,
    pub deny_list: bool,
    pub requester_pays: bool,
    /// Anonymous requests may read.
    pub public: bool,
}

impl Bucket {
    /// Puts or replaces an object.
    pub(crate) fn insert(&mut self, key: String, object: Arc<Object>) {
        self.note(&key, object.last_modified, Some(object.clone()));
        self.objects.insert(key, object);
    }

    /// Removes an object; whether there was one.
    pub(crate) fn remove(&mut self, key: &str, time: SystemTime) -> bool {
        self.note(key, time, None);
        self.objects.remove(key).is_some()
    }

    fn note(&mut self, key: &str, time: SystemTime, object: Option<Arc<Object>>) {
        let Some(history) = &mut self.history else { return };
        let pasts = history.entry(key.to_owned()).or_default();
        let id = format!("v{}.{}", pasts.len(), crate::content::mix(pasts.len() as u64));
        pasts.insert(0, Past { id, time, object });
    }

    /// What is there was changed without becoming another version.
    pub(crate) fn changed(&mut self, key: &str, object: Arc<Object>) {
        let newest = self.history.as_mut().and_then(|history| history.get_mut(key)?.first_mut());
        newest.into_iter().for_each(|past| {
            past.time = object.last_modified;
            past.object = Some(object.clone());
        });
    }

    /// From now on versions are kept; what is there has the id that such versions have.
    pub(crate) fn keep_versions(&mut self) {
        let past =
            |object: &Arc<Object>| Past { id: "null".into(), time: object.last_modified, object: Some(object.clone()) };
        let history = self.objects.iter().map(|(key, object)| (key.clone(), vec![past(object)]));
        self.history = Some(history.collect());
    }

    /// A version of a key by its id.
    pub(crate) fn version(&self, key: &str, id: &str) -> Option<&Past> {
        self.history.as_ref()?.get(key)?.iter().find(|past| past.id == id)
    }
}

/// All buckets. The lock is held for look-ups and edits only, never while a body is sent.
#[derive(Debug, Default)]
pub(crate) struct Buckets {
    map: RwLock<BTreeMap<String, Bucket>>,
}

impl Buckets {
    /// Reads a bucket; `None` if there is none of that name.
    pub(crate) fn read<T>(&self, name: &str, f: impl FnOnce(&Bucket) -> T) -> Option<T> {
        self.map.read().get(name).map(f)
    }

    /// Edits a bucket, which is made if need be.
    pub(crate) fn edit<T>(&self, name: &str, f: impl FnOnce(&mut Bucket) -> T) -> T {
        f(self.map.write().entry(name.to_owned()).or_default())
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.map.read().keys().cloned().collect()
    }

    pub(crate) fn object(&self, bucket: &str, key: &str) -> Option<Arc<Object>> {
        self.read(bucket, |b| b.objects.get(key).cloned()).flatten()
    }

    /// Replaces the objects and the set of buckets, as a rescan of the served folder does; policies stay.
    pub(crate) fn replace_all(&self, fresh: BTreeMap<String, Objects>) {
        let mut map = self.map.write();
        map.retain(|name, _| fresh.contains_key(name));
        for (name, objects) in fresh {
            map.entry(name).or_default().objects = objects;
        }
    }
}

/// Every regular file below `dir`, by its path relative to it. Names that are not UTF-8 cannot be keys: skipped.
/// Symbolic links are followed, but not to directories.
pub(crate) fn scan(dir: &Path) -> io::Result<Objects> {
    let mut objects = Objects::new();
    let mut pending = vec![(dir.to_path_buf(), String::new())];
    while let Some((path, prefix)) = pending.pop() {
        for entry in std::fs::read_dir(&path)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let key = format!("{prefix}{name}");
            if entry.file_type()?.is_dir() {
                pending.push((entry.path(), format!("{key}/")));
            } else if entry.path().is_file() {
                objects.insert(key, Arc::new(Object::new(Content::File(entry.path()))?));
            }
        }
    }
    Ok(objects)
}
