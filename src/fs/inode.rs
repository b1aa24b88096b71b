//! Inode numbers and what they stand for.
//!
//! A file's number is a hash of its path and the identity of its object: the same after a restart, another one for
//! another version. A directory's is a hash of its path. Two nodes with one hash (2^-64 a pair) get different numbers by
//! hashing on. What a number stands for never changes: size and time are those of the version.
//!
//! A file whose size is not proved has two numbers. The kernel knows it by one of its own. Programs are shown the one that
//! it will have when its size is proved: they compare what they looked at with what they have opened.
//!
//! The kernel knows inodes until it forgets them, and forgets them when its own memory is short. Where those of files
//! take more than their share of ours, it is asked to forget the ones that were looked up first.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use lru::LruCache;
use parking_lot::{Mutex, RwLock};
use xxhash_rust::xxh3::Xxh3;

use crate::cache::disk::Backing;
use crate::metrics::Metrics;
use crate::read::FileState;
use crate::store::Identity;
use crate::tree::Node;

/// The number of the root directory (`FUSE_ROOT_ID`).
pub const ROOT: u64 = 1;

/// Where hashing begins for files whose size is not proved.
const UNPROVED: u64 = 1 << 63;

/// What an inode takes beside its texts, in bytes, about.
const INODE: usize = 320;

/// An inode that the kernel knows.
#[derive(Debug)]
pub struct Inode {
    /// Its number.
    pub ino: u64,
    /// Its path in the tree.
    pub path: Arc<str>,
    /// What it is.
    pub node: Node,
    /// A read was refused since the object is archived: it is looked at before it is opened again.
    pub refused_as_archived: AtomicBool,
    /// Held while the file is open.
    pub open: Mutex<Option<Open>>,
    /// How many lookups the kernel has not forgotten.
    lookups: Mutex<u64>,
}

/// A file that programs have open.
#[derive(Clone, Debug)]
pub struct Open {
    /// How many times.
    pub count: usize,
    /// The reading state.
    pub file: Arc<FileState>,
    /// The file that the kernel reads by itself: for all who have it open, or for none.
    pub backing: Option<Arc<Backing>>,
}

/// The inodes that the kernel knows.
#[derive(Debug)]
pub struct InodeTable {
    inodes: RwLock<Inodes>,
    /// How many bytes they may take.
    most: usize,
    metrics: Arc<Metrics>,
}

/// Inodes by number, and what they take.
#[derive(Debug)]
struct Inodes {
    /// In the order in which they were looked up last.
    inodes: LruCache<u64, Arc<Inode>>,
    bytes: usize,
}

impl Inode {
    /// Whether its size is only one that it does not exceed.
    pub fn is_unproved(&self) -> bool {
        is_unproved(&self.node)
    }

    /// The number that programs see.
    pub fn shown(&self) -> u64 {
        if self.is_unproved() { hash(&self.path, identity(&self.node), 0) } else { self.ino }
    }
}

impl InodeTable {
    /// A table with the root only. Inodes may take so many bytes.
    pub fn new(most: usize, metrics: Arc<Metrics>) -> Self {
        let (path, node) = ("".into(), Node::Directory);
        let root = Inode {
            ino: ROOT,
            path,
            node,
            refused_as_archived: AtomicBool::default(),
            open: Mutex::default(),
            lookups: Mutex::new(1),
        };
        let mut inodes = LruCache::unbounded();
        inodes.put(ROOT, Arc::new(root));
        Self { inodes: RwLock::new(Inodes { inodes, bytes: 0 }), most, metrics }
    }

    /// The inode of a number that the kernel knows.
    pub fn get(&self, ino: u64) -> Option<Arc<Inode>> {
        self.inodes.read().inodes.peek(&ino).cloned()
    }

    /// The number that the node at a path has or would have.
    pub fn number(&self, path: &str, node: &Node) -> u64 {
        number_among(&self.inodes.read().inodes, path, node)
    }

    /// The inode of the node at a path, with one more lookup of the kernel.
    pub fn look_up(&self, path: &str, node: Node) -> Arc<Inode> {
        let mut known = self.inodes.write();
        let ino = number_among(&known.inodes, path, &node);
        if !known.inodes.contains(&ino) {
            known.bytes += bytes(path, &node);
        }
        let fresh = || {
            Arc::new(Inode {
                ino,
                path: path.into(),
                node,
                refused_as_archived: AtomicBool::default(),
                open: Mutex::default(),
                lookups: Mutex::new(0),
            })
        };
        let inode = known.inodes.get_or_insert(ino, fresh).clone();
        *inode.lookups.lock() += 1;
        self.metrics.inodes.set(known.inodes.len() as u64);
        inode
    }

    /// The kernel forgets `lookups` lookups of a number.
    pub fn forget(&self, ino: u64, lookups: u64) {
        let mut known = self.inodes.write();
        let Some(inode) = known.inodes.peek(&ino) else { return };
        let left = {
            let mut count = inode.lookups.lock();
            *count = count.saturating_sub(lookups);
            *count
        };
        if left == 0 && ino != ROOT {
            let forgotten = known.inodes.pop(&ino);
            known.bytes -= forgotten.map_or(0, |inode| bytes(&inode.path, &inode.node));
            self.metrics.inodes.set(known.inodes.len() as u64);
        }
    }

    /// Files that the kernel is to forget, as long as inodes take more than their share: those that were looked up first
    /// and are not open, of `looks` inodes. One that it does not forget comes again after all others.
    ///
    /// Not directories: one may be the working directory of a program, which would then not find out where it is.
    pub fn surplus(&self, looks: usize) -> Vec<Arc<Inode>> {
        if self.inodes.read().bytes <= self.most {
            return Vec::new();
        }
        let mut known = self.inodes.write();
        let oldest: Vec<u64> = known.inodes.iter().rev().take(looks).map(|(ino, _)| *ino).collect();
        for ino in &oldest {
            known.inodes.promote(ino);
        }
        let inodes = oldest.iter().filter_map(|ino| known.inodes.peek(ino).cloned());
        inodes.filter(|inode| matches!(inode.node, Node::File(_)) && inode.open.lock().is_none()).collect()
    }
}

fn number_among(inodes: &LruCache<u64, Arc<Inode>>, path: &str, node: &Node) -> u64 {
    let identity = identity(node);
    let first = if is_unproved(node) { UNPROVED } else { 0 };
    for salt in first.. {
        let ino = hash(path, identity, salt);
        let free = inodes.peek(&ino).is_none_or(|inode| *inode.path == *path && is_same(&inode.node, node));
        if ino > ROOT && free {
            return ino;
        }
    }
    unreachable!("2^64 salts do not all collide")
}

/// What the number of a node is a hash of beside its path. The size of what is made of another object follows from that.
fn identity(node: &Node) -> Option<u128> {
    let Node::File(object) = node else { return None };
    let identity = object.identity();
    let size = if object.source.is_derived { 0 } else { identity.size };
    Some(Identity { size, ..identity }.hash())
}

fn is_unproved(node: &Node) -> bool {
    matches!(node, Node::File(object) if object.is_unproved())
}

fn hash(path: &str, identity: Option<u128>, salt: u64) -> u64 {
    let mut hash = Xxh3::with_seed(salt);
    hash.update(path.as_bytes());
    if let Some(identity) = identity {
        hash.update(&identity.to_le_bytes());
    }
    hash.digest()
}

/// How much memory an inode takes, in bytes, about.
fn bytes(path: &str, node: &Node) -> usize {
    let texts = match node {
        Node::Directory => 0,
        Node::File(object) => object.key().len() + object.meta.version.etag.as_ref().map_or(0, |etag| etag.len()),
    };
    INODE + path.len() + texts
}

/// Whether two nodes at one path are one inode: a directory, or the same version of the same object.
fn is_same(one: &Node, other: &Node) -> bool {
    match (one, other) {
        (Node::Directory, Node::Directory) => true,
        (Node::File(one), Node::File(other)) => one.is_same(other),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::store::scripted::Scripted;
    use crate::store::{Object, ObjectMeta, Source, Version};

    fn file(key: &str, etag: &str, size: u64) -> Node {
        let version = Version { etag: Some(etag.into()), id: None };
        let last_modified = SystemTime::UNIX_EPOCH;
        let meta = ObjectMeta { key: key.into(), size, last_modified, version, storage_class: None };
        Node::File(Object::of(Arc::new(Scripted::default()), meta))
    }

    fn table() -> InodeTable {
        InodeTable::new(4000, Arc::new(Metrics::new()))
    }

    #[test]
    fn numbers_are_stable_and_belong_to_a_version() {
        let (one, two) = (table(), table());
        assert_eq!(one.number("k", &file("k", "a", 1)), two.number("k", &file("k", "a", 1)));
        assert_ne!(one.number("k", &file("k", "a", 1)), one.number("k", &file("k", "b", 1)));
        assert_ne!(one.number("k", &file("k", "a", 1)), one.number("k", &file("k", "a", 2)));
        assert_ne!(one.number("k", &file("k", "a", 1)), one.number("l", &file("l", "a", 1)));
    }

    /// Regression: cp leaves a file out whose number has changed since it was looked at.
    #[test]
    fn a_file_shows_one_number_before_and_after_its_size_is_proved() {
        let Node::File(outer) = file("k.gz", "a", 9) else { panic!("it is a file") };
        let source = Arc::new(Source::derived(&outer.source, outer.source.store.clone()));
        let derived = |size, is_provisional| {
            let meta = Arc::new(ObjectMeta { size, ..ObjectMeta::clone(&outer.meta) });
            Node::File(Object { source: source.clone(), meta, is_provisional })
        };
        let table = table();
        let (before, after) = (table.look_up("k", derived(900, true)), table.look_up("k", derived(100, false)));
        assert_ne!(before.ino, after.ino);
        assert_eq!((before.shown(), after.shown()), (after.ino, after.ino));
        assert_eq!(table.look_up("k", derived(900, true)).ino, before.ino);
    }

    #[test]
    fn a_forgotten_inode_is_gone_and_comes_back_with_its_number() {
        let table = table();
        let inode = table.look_up("k", file("k", "a", 1));
        table.look_up("k", file("k", "a", 1));
        table.forget(inode.ino, 1);
        assert!(table.get(inode.ino).is_some());
        table.forget(inode.ino, 1);
        assert!(table.get(inode.ino).is_none());
        assert_eq!(table.look_up("k", file("k", "a", 1)).ino, inode.ino);
    }

    #[test]
    fn the_kernel_is_asked_to_forget_the_files_that_were_looked_up_first() {
        let table = table();
        let (directory, name) = (table.look_up("d/", Node::Directory), |n: usize| format!("{n:02}"));
        let inodes: Vec<_> = (0..100).map(|n| table.look_up(&name(n), file(&name(n), "a", 1)).ino).collect();
        table.look_up("00", file("00", "a", 1));
        let mut asked = Vec::new();
        for _ in 0..100 {
            let surplus: Vec<_> = table.surplus(3).iter().map(|inode| inode.ino).collect();
            surplus.iter().for_each(|ino| table.forget(*ino, 1));
            asked.extend(surplus);
        }
        // Each takes some 320 of the 4,000 bytes.
        assert!((85..95).contains(&asked.len()) && asked[0] == inodes[1], "{}", asked.len());
        assert!([ROOT, directory.ino, inodes[0], inodes[99]].iter().all(|ino| table.get(*ino).is_some()));
    }

    #[test]
    fn the_root_is_never_forgotten() {
        let table = table();
        table.forget(ROOT, 100);
        assert!(table.get(ROOT).is_some());
    }
}
