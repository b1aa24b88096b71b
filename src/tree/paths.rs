//! A tree that is a list of paths, for tests of what is built on trees.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use super::{Directory, Entry, Found, Node, Tree, Ttl};
use crate::store::scripted::Scripted;
use crate::store::{ErrorKind, Object, ObjectMeta, Result, StoreError, Version};

/// Files by path. Their keys begin with the name of the tree.
#[derive(Debug)]
pub struct Paths {
    name: &'static str,
    files: Vec<&'static str>,
    /// Whether every question fails.
    pub fails: Arc<AtomicBool>,
    /// How.
    kind: ErrorKind,
    /// How often a name was looked up.
    pub asked: AtomicUsize,
}

/// The entries of a directory.
struct Entries {
    entries: Vec<Entry>,
    fails: Arc<AtomicBool>,
    kind: ErrorKind,
}

impl Paths {
    /// The tree of these files.
    pub fn new(name: &'static str, files: &[&'static str]) -> Arc<Self> {
        Self::failing(name, files, ErrorKind::Server)
    }

    /// The same, whose failures are of a kind.
    pub fn failing(name: &'static str, files: &[&'static str], kind: ErrorKind) -> Arc<Self> {
        Arc::new(Self { name, files: files.to_vec(), fails: Arc::default(), kind, asked: AtomicUsize::new(0) })
    }

    fn node(&self, path: &str) -> Option<Node> {
        let meta = || ObjectMeta {
            key: format!("{}:{path}", self.name),
            size: 1,
            last_modified: SystemTime::UNIX_EPOCH,
            version: Version::default(),
            storage_class: None,
        };
        let below = format!("{path}/");
        match self.files.contains(&path) {
            true => Some(Node::File(Object::of(Arc::new(Scripted::default()), meta()))),
            false => self.files.iter().any(|file| file.starts_with(&below)).then_some(Node::Directory),
        }
    }

    fn entries(&self, directory: &str) -> Entries {
        let name = |path: &&'static str| path.strip_prefix(directory).and_then(|rest| rest.split('/').next());
        let mut names: Vec<&str> = self.files.iter().filter_map(name).collect();
        names.dedup();
        let entry = |name| Some(Entry { name: Arc::from(name), node: self.node(&format!("{directory}{name}"))? });
        Entries { entries: names.into_iter().filter_map(entry).collect(), fails: self.fails.clone(), kind: self.kind }
    }
}

fn failing(fails: &AtomicBool, kind: ErrorKind) -> Result<()> {
    match fails.load(Ordering::SeqCst) {
        true => Err(StoreError::new(kind, "the tree is down")),
        false => Ok(()),
    }
}

#[async_trait]
impl Tree for Paths {
    fn ttl(&self) -> Ttl {
        Ttl::new(Duration::from_secs(60))
    }

    async fn look_up(&self, directory: &str, name: &str) -> Result<Option<Found>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        failing(&self.fails, self.kind)?;
        Ok(self.node(&format!("{directory}{name}")).map(|node| Found { node, head: None }))
    }

    fn open(&self, directory: &str) -> Arc<dyn Directory> {
        Arc::new(self.entries(directory))
    }

    fn known(&self, directory: &str) -> Option<Arc<dyn Directory>> {
        Some(self.open(directory))
    }

    async fn foresee(&self, path: &str) -> Option<(String, Object)> {
        match self.node(path)? {
            Node::File(object) => Some((path.to_owned(), object)),
            Node::Directory => None,
        }
    }

    async fn look_again(&self, _: &str, object: &Object) -> Result<Object> {
        Ok(object.clone())
    }

    async fn invalidate(&self, _: &str) {}
}

#[async_trait]
impl Directory for Entries {
    async fn entries(&self, place: u64, count: usize) -> Result<Vec<(Entry, u64)>> {
        failing(&self.fails, self.kind)?;
        Ok(self.entries.iter().cloned().zip(1..).skip(place as usize).take(count).collect())
    }

    fn beyond(&self, name: &str, direction: isize, count: usize) -> Vec<Entry> {
        let Some(at) = self.entries.iter().position(|entry| *entry.name == *name) else { return Vec::new() };
        match direction > 0 {
            true => self.entries[at + 1..].iter().take(count).cloned().collect(),
            false => self.entries[..at].iter().rev().take(count).cloned().collect(),
        }
    }
}
