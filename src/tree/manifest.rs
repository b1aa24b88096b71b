//! The tree of a list of files, each with its path and its object. Nothing has to be listed.
//!
//! A list says where objects are, and perhaps how long. Which version there is only the store knows: it is asked when a
//! name is looked up whose length the list does not say, and else when the file is opened. Until then the file is
//! *provisional* ([`Object::is_provisional`]), so that a folder of a thousand files is shown without a request.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{Ahead, Directory, Entry, Found, Node, Peeks, Tree, Ttl};
use crate::cache::names::{Remembered, now};
use crate::store::{ErrorKind, Object, ObjectMeta, Result, Source, StoreError, Version};

/// Objects that were looked at, and are remembered for their TTL.
const MAX_LOOKED_AT: u64 = 100_000;

/// What came along with an open is for the look-up that follows at once.
const HEAD_TTL: Duration = Duration::from_secs(10);

/// A store that files of the list are in.
#[derive(Debug)]
pub struct Place {
    /// The store.
    pub source: Arc<Source>,
    /// What is known of its objects.
    pub names: Remembered,
}

/// A file of the list.
#[derive(Clone, Debug)]
pub struct File {
    /// Its path.
    pub path: Box<str>,
    /// The number of its store.
    pub place: usize,
    /// Its raw key there.
    pub key: Box<str>,
    /// Its length in bytes, where the list says it.
    pub size: Option<u64>,
}

/// A list of files as a tree.
pub struct Manifest(Arc<Inner>);

struct Inner {
    places: Vec<Place>,
    /// In the order of their paths, of which none is a directory of another.
    files: Vec<File>,
    ttl: Ttl,
    /// Questions to the stores, by the number of the file: one at a time, however many wait for the answer.
    asked: moka::future::Cache<usize, Object>,
    /// What they have told.
    told: moka::sync::Cache<usize, Object>,
    peeks: Arc<Peeks>,
    /// Heads that came along, for the look-up that follows.
    heads: Mutex<HashMap<usize, Head>>,
}

impl std::fmt::Debug for Manifest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Manifest").field("files", &self.0.files.len()).finish_non_exhaustive()
    }
}

/// The head of a version of a file.
struct Head {
    since: Instant,
    of: Arc<ObjectMeta>,
    ahead: Ahead,
}

/// A directory: the files below it are side by side.
struct Listing {
    tree: Arc<Inner>,
    path: Box<str>,
}

impl Manifest {
    /// The tree of these files, whose paths differ and are no directories of each other; in any order.
    pub fn new(places: Vec<Place>, mut files: Vec<File>, ttl: Ttl, peeks: Arc<Peeks>) -> Self {
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let asked = moka::future::Cache::builder().max_capacity(MAX_LOOKED_AT).time_to_live(ttl.positive).build();
        // The look-up that follows an open must find what that was told, however short names are valid.
        let told = moka::sync::Cache::builder().max_capacity(MAX_LOOKED_AT).time_to_live(ttl.positive.max(HEAD_TTL));
        Self(Arc::new(Inner { places, files, ttl, asked, told: told.build(), peeks, heads: Mutex::default() }))
    }
}

impl Inner {
    fn find(&self, path: &str) -> Option<usize> {
        self.files.binary_search_by(|file| (*file.path).cmp(path)).ok()
    }

    /// The number of the first file below a directory, or of what follows it.
    fn first_below(&self, directory: &str) -> usize {
        self.files.partition_point(|file| *file.path < *directory)
    }

    /// A file as far as it is known without a request.
    fn known(&self, number: usize) -> Object {
        if let Some(object) = self.told.get(&number) {
            return object;
        }
        let File { place, key, size, .. } = &self.files[number];
        let meta = ObjectMeta {
            key: key.to_string(),
            size: size.unwrap_or(0),
            last_modified: SystemTime::UNIX_EPOCH,
            version: Version::default(),
            storage_class: None,
        };
        let source = self.places[*place].source.clone();
        Object { source, meta: Arc::new(meta), is_provisional: true }
    }

    /// What the store says of a file; none if it is not there.
    async fn look_at(&self, number: usize, wants_head: bool) -> Result<Option<Object>> {
        match self.asked.try_get_with(number, self.ask(number, wants_head)).await {
            Ok(object) => Ok(Some(object)),
            // It is not kept: what is not there may be there soon.
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::clone(&error)),
        }
    }

    async fn ask(&self, number: usize, wants_head: bool) -> Result<Object> {
        let File { place, key, .. } = &self.files[number];
        let Place { source, names } = &self.places[*place];
        self.heads.lock().retain(|_, head| head.since.elapsed() < HEAD_TTL);
        let asked = now();
        let peek = match names.known_head(key).await {
            None if wants_head => self.peeks.send(&source.store, key),
            _ => None,
        };
        let peeked = match peek {
            Some(peek) => Some(peek.object().await),
            None => None,
        };
        let told = match peeked {
            Some(Ok((meta, ahead))) => {
                names.learn_head(asked, &meta);
                let head = Head { since: Instant::now(), of: Arc::new(meta.clone()), ahead };
                self.heads.lock().insert(number, head);
                Ok(meta)
            }
            Some(Err(error)) if error.kind != ErrorKind::Archived => Err(error),
            // Archived objects can be asked for all the same.
            Some(Err(_)) | None => names.head(key).await.map(|(meta, _)| meta),
        };
        let object = Object { source: source.clone(), meta: Arc::new(told?), is_provisional: false };
        self.told.insert(number, object.clone());
        Ok(object)
    }
}

#[async_trait]
impl Tree for Manifest {
    fn ttl(&self) -> Ttl {
        self.0.ttl
    }

    async fn look_up(&self, directory: &str, name: &str) -> Result<Option<Found>> {
        let path = format!("{directory}{name}");
        let Some(number) = self.0.find(&path) else {
            let below = format!("{path}/");
            let first = self.0.files.get(self.0.first_below(&below));
            let is_directory = first.is_some_and(|file| file.path.starts_with(&below));
            return Ok(is_directory.then_some(Found { node: Node::Directory, head: None }));
        };
        let known = self.0.known(number);
        if known.is_provisional && self.0.files[number].size.is_some() {
            return Ok(Some(Found { node: Node::File(known), head: None }));
        }
        let object = self.0.look_at(number, true).await?;
        let head = self.0.heads.lock().remove(&number);
        Ok(object.map(|object| {
            let head = head.filter(|head| head.of.is_same(&object.meta)).map(|head| head.ahead);
            Found { node: Node::File(object), head }
        }))
    }

    fn open(&self, directory: &str) -> Arc<dyn Directory> {
        Arc::new(Listing { tree: self.0.clone(), path: directory.into() })
    }

    fn known(&self, directory: &str) -> Option<Arc<dyn Directory>> {
        Some(self.open(directory))
    }

    async fn foresee(&self, path: &str) -> Option<(String, Object)> {
        let object = self.0.look_at(self.0.find(path)?, false).await.ok()??;
        Some((path.to_owned(), object))
    }

    async fn look_again(&self, path: &str, object: &Object) -> Result<Object> {
        let Some(number) = self.0.find(path).filter(|_| object.is_provisional) else { return Ok(object.clone()) };
        let missing = || StoreError::new(ErrorKind::NotFound, format!("{}: there is no such object", object.url()));
        self.0.look_at(number, true).await?.ok_or_else(missing)
    }

    async fn invalidate(&self, path: &str) {
        let Some(number) = self.0.find(path) else { return };
        let File { place, key, .. } = &self.0.files[number];
        self.0.places[*place].names.forget(super::split(key).0).await;
        self.0.asked.invalidate(&number).await;
        self.0.told.invalidate(&number);
        self.0.heads.lock().remove(&number);
    }
}

impl Listing {
    /// The entry that file `number` belongs to, and the number of the first file behind it; none behind the directory.
    fn entry(&self, number: usize) -> Option<(&str, Option<usize>, usize)> {
        let below = self.tree.files.get(number)?.path.strip_prefix(&*self.path)?;
        match below.split_once('/') {
            None => Some((below, Some(number), number + 1)),
            Some((name, _)) => {
                let inside = format!("{}{name}/", self.path);
                let beyond = self.tree.files[number..].partition_point(|file| file.path.starts_with(&inside));
                Some((name, None, number + beyond))
            }
        }
    }

    fn node(&self, file: Option<usize>) -> Node {
        file.map_or(Node::Directory, |number| Node::File(self.tree.known(number)))
    }
}

#[async_trait]
impl Directory for Listing {
    /// A place is how many files of the directory are before it.
    async fn entries(&self, place: u64, count: usize) -> Result<Vec<(Entry, u64)>> {
        let first = self.tree.first_below(&self.path);
        let mut number = first.saturating_add(usize::try_from(place).unwrap_or(usize::MAX));
        let mut entries = Vec::new();
        while entries.len() < count
            && let Some((name, file, next)) = self.entry(number)
        {
            entries.push((Entry { name: name.into(), node: self.node(file) }, (next - first) as u64));
            number = next;
        }
        Ok(entries)
    }

    /// Only files, and as they are listed: what comes next is looked at before it is fetched.
    fn beyond(&self, name: &str, direction: isize, count: usize) -> Vec<Entry> {
        let Some(at) = self.tree.find(&format!("{}{name}", self.path)) else { return Vec::new() };
        let is_here = |number: &usize| {
            let below = self.tree.files[*number].path.strip_prefix(&*self.path);
            below.is_some_and(|below| !below.contains('/'))
        };
        let entry = |number: usize| {
            let name = self.tree.files[number].path[self.path.len()..].into();
            Entry { name, node: self.node(Some(number)) }
        };
        match direction > 0 {
            true => (at + 1..self.tree.files.len()).take_while(is_here).take(count).map(entry).collect(),
            false => (0..at).rev().take_while(is_here).take(count).map(entry).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
