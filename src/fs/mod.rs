//! File operations on a bucket, without a kernel: what the FUSE adapter decodes ends here.
//!
//! - [`namespace`]: which names exist; [`ttl`]: how long they are believed; [`peek`]: the heads that come along
//! - [`listings`]: the directories; [`listing`]: one of them; [`course`]: whether it gets on; [`known`]: what is proven by
//!   a part of it; [`packed`]: its entries; [`marks`]: where its pages begin
//! - [`sweep`]: which files a program that goes through directories opens next
//! - [`xattr`]: what is told of files by name; [`layout`]: the one that takes requests
//! - [`inode`]: numbers and what they stand for; [`entry`]: from keys to names
//! - [`Filesystem`]: the operations
//!
//! File handles carry no state: they are the flags of the open. Directory handles name a listing, so that a program
//! sees one listing from its first entry to the last; where that is unknown the current listing takes its place.

mod course;
mod entry;
mod error;
pub mod inode;
mod known;
mod layout;
mod listing;
mod listings;
mod marks;
mod namespace;
mod packed;
mod peek;
mod sweep;
mod ttl;
pub mod xattr;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use parking_lot::Mutex;

pub use entry::{Entry, NAME_MAX};
pub use error::{Errno, Result};
pub use inode::{Inode, Node, ROOT};
pub use namespace::Namespace;
pub use ttl::Ttl;

use crate::cache::disk::Backing;
use crate::metrics::Metrics;
use crate::read::{FileState, Reader, Unanswered};
use crate::store::{ErrorKind, ObjectMeta, Store, StoreError};
use crate::trace::Trace;
use inode::{InodeTable, Open};
use layout::Layouts;
use listing::Listing;
use sweep::{Expected, Sweeps};

/// What inodes may take in memory, as a share of what data may take, and at least so many bytes.
const INODES_DIVISOR: u64 = 8;
const MIN_INODES: u64 = 1 << 20;

/// What a filesystem is made of.
pub struct Parts {
    /// The bucket.
    pub store: Arc<dyn Store>,
    /// Its names.
    pub namespace: Arc<Namespace>,
    /// Its bytes.
    pub reader: Arc<Reader>,
    /// Where to count.
    pub metrics: Arc<Metrics>,
    /// The key prefix that is the root directory: empty or ending with `/`.
    pub prefix: String,
    /// How much memory data may take, in bytes: what is known of files takes a share of that.
    pub memory: u64,
}

/// A bucket as a filesystem.
pub struct Filesystem {
    store: Arc<dyn Store>,
    namespace: Arc<Namespace>,
    reader: Arc<Reader>,
    inodes: InodeTable,
    directories: Mutex<HashMap<u64, Arc<Listing>>>,
    next_directory: AtomicU64,
    sweeps: Sweeps,
    layouts: Layouts,
    mounted: SystemTime,
    metrics: Arc<Metrics>,
}

/// The bytes that answer a READ, and the note that it is unanswered until then.
pub struct Answered {
    /// The bytes.
    pub data: Bytes,
    unanswered: Option<Unanswered>,
}

impl Answered {
    /// The kernel has taken the bytes.
    pub fn delivered(self) {
        if let Some(unanswered) = self.unanswered {
            unanswered.delivered();
        }
    }
}

impl Filesystem {
    /// The filesystem of a bucket.
    pub fn new(parts: Parts) -> Self {
        let Parts { store, namespace, reader, metrics, prefix, memory } = parts;
        let inodes = (memory / INODES_DIVISOR).max(MIN_INODES);
        Self {
            inodes: InodeTable::new(
                store.id(),
                &prefix,
                usize::try_from(inodes).unwrap_or(usize::MAX),
                metrics.clone(),
            ),
            store,
            namespace,
            reader,
            directories: Mutex::default(),
            next_directory: AtomicU64::new(1),
            sweeps: Sweeps::default(),
            layouts: Layouts::default(),
            mounted: SystemTime::now(),
            metrics,
        }
    }

    /// When the filesystem was mounted: the time of its directories.
    pub fn mounted(&self) -> SystemTime {
        self.mounted
    }

    /// How long names are believed.
    pub fn ttl(&self) -> Ttl {
        self.namespace.ttl()
    }

    /// The inode of a number.
    pub fn inode(&self, ino: u64) -> Result<Arc<Inode>> {
        self.inodes.get(ino).ok_or(Errno::ESTALE)
    }

    /// Looks a name up; none if it does not exist. The kernel then knows the inode once more.
    pub async fn look_up(&self, parent: u64, name: &str) -> Result<Option<Arc<Inode>>> {
        let prefix = self.prefix(parent)?;
        if name.len() > NAME_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        match self.namespace.look_up(&prefix, name).await {
            Ok(found) => Ok(found.map(|found| self.found(found))),
            Err(error) => {
                tracing::warn!(prefix = &*prefix, name, %error, "look-up failed");
                Err(Errno::from(&error))
            }
        }
    }

    fn found(&self, found: namespace::Found) -> Arc<Inode> {
        let inode = self.inodes.look_up(found.node);
        if let Node::File { object } = &inode.node {
            let head = found.ahead.map(|ahead| self.namespace.peeks().looked_up(inode.ino, ahead));
            self.reader.looked_up(inode.ino, object, head);
        }
        inode
    }

    /// The kernel forgets an inode so many times.
    pub fn forget(&self, ino: u64, lookups: u64) {
        self.inodes.forget(ino, lookups);
    }

    /// Opens a file. Waits for no request, unless the object may have to be restored from an archive. Returns the file that
    /// the kernel is to read by itself, if `may_back` says that it can and there is one.
    pub async fn open(self: &Arc<Self>, ino: u64, flags: i32, may_back: bool) -> Result<Option<Arc<Backing>>> {
        let inode = self.inode(ino)?;
        let object = object_of(&inode)?;
        if flags & libc::O_ACCMODE != libc::O_RDONLY {
            return Err(Errno::EROFS);
        }
        self.check_empty(object).await?;
        self.check_restored(object).await?;
        let Open { file, backing, .. } = self.opened(&inode, object, may_back).await;
        self.metrics.open_files.add(1);
        self.namespace.peeks().read(ino);
        if backing.is_none() {
            self.reader.acquaint(&object.key).await;
            // What the program is about to read goes before what it may read later.
            self.reader.opening(&file);
        }
        self.expect_next(&object.key);
        match &backing {
            Some(_) => {
                self.metrics.passthrough_opens.inc();
                self.reader.opened_in_kernel(&file, is_direct(flags));
            }
            None => self.reader.opened(&file, is_direct(flags)).await,
        }
        Ok(backing)
    }

    /// Notes an open. The first one decides who reads.
    async fn opened(&self, inode: &Inode, object: &Arc<ObjectMeta>, may_back: bool) -> Open {
        let is_first = inode.open.lock().is_none();
        let disk = self.reader.disk().filter(|_| may_back && is_first);
        // Of several that are the first, one has its way.
        let backing = if let Some(disk) = disk { disk.backing(object).await.map(Arc::new) } else { None };
        let mut open = inode.open.lock();
        let first = || Open { count: 0, file: self.reader.file(inode.ino, object), backing };
        let now = open.get_or_insert_with(first);
        now.count += 1;
        now.clone()
    }

    /// The kernel does not take the file after all: this daemon reads it.
    pub async fn not_backed(&self, ino: u64, flags: i32) {
        let Ok(inode) = self.inode(ino) else { return };
        let open = inode.open.lock().as_mut().map(|open| {
            open.backing = None;
            open.file.clone()
        });
        if let Some(file) = open {
            self.reader.served_after_all(&file, is_direct(flags)).await;
        }
    }

    /// A file was opened: the next ones, if a program goes through its directory, or through others like it, are going to
    /// be.
    fn expect_next(self: &Arc<Self>, key: &str) {
        if !crate::fits::is_fits_name(key) {
            return;
        }
        let Expected { files, keys } = self.sweeps.opened(key, |prefix| self.namespace.listed(prefix));
        files.iter().zip(1..).for_each(|(entry, place)| self.expect(&entry.node, place));
        for (key, place) in keys.into_iter().zip(1..) {
            let fs = self.clone();
            self.reader.spawn(async move {
                if let Some(node) = fs.namespace.foresee(&key).await {
                    fs.expect(&node, place);
                }
            });
        }
    }

    /// A file will be the next one that is opened, or that after so many others.
    fn expect(&self, node: &Node, place: u64) {
        if let Node::File { object } = node
            && !object.is_archived()
        {
            self.reader.foresee(&self.reader.file(self.inodes.number(node), object), place);
        }
    }

    /// Closes a file that was opened with these flags.
    pub fn release(&self, ino: u64, flags: i32) {
        let Ok(inode) = self.inode(ino) else { return };
        let mut slot = inode.open.lock();
        if let Some(open) = slot.take() {
            self.reader.released(&open.file, is_direct(flags));
            if open.count > 1 {
                *slot = Some(Open { count: open.count - 1, ..open });
            }
            self.metrics.open_files.sub(1);
            if self.metrics.open_files.get() == 0 {
                self.reader.rest();
            }
        }
    }

    /// Reads at most `length` bytes at `offset`; fewer only at the end of the file.
    pub async fn read(&self, ino: u64, offset: u64, length: u32) -> Result<Answered> {
        let inode = self.inode(ino)?;
        let object = object_of(&inode)?;
        let range = offset.min(object.size)..offset.saturating_add(u64::from(length)).min(object.size);
        self.metrics.reads.inc();
        if range.is_empty() {
            return Ok(Answered { data: Bytes::new(), unanswered: None });
        }
        let file = self.state(&inode, object);
        let unanswered = Some(file.unanswered(range.clone()));
        let answer = self.reader.read(&file, range.clone());
        match self.reader.journal().read(ino, range.clone(), answer).await {
            Ok(data) => {
                self.metrics.bytes_delivered.add(data.len() as u64);
                Ok(Answered { data, unanswered })
            }
            Err(error) => {
                let url = self.store.url(&object.key);
                tracing::error!(url, start = range.start, end = range.end, %error, "read failed");
                if error.kind == ErrorKind::VersionChanged || error.kind == ErrorKind::NotFound {
                    self.namespace.invalidate(&object.key).await;
                }
                Err(Errno::of_read(&error))
            }
        }
    }

    /// The directory and the name under which an inode was found, for the kernel to drop what it cached of it.
    pub fn place(&self, ino: u64) -> Option<(u64, String)> {
        self.place_of(&*self.inodes.get(ino)?, &self.prefix(ROOT).ok()?)
    }

    fn place_of(&self, inode: &Inode, root: &str) -> Option<(u64, String)> {
        let object = object_of(inode).ok()?;
        let slash = object.key.rfind('/').map_or(0, |slash| slash + 1);
        let (prefix, name) = object.key.split_at(slash);
        let directory = || self.inodes.number(&Node::Directory { prefix: prefix.into() });
        Some((if prefix == root { ROOT } else { directory() }, name.to_owned()))
    }

    /// Asks the kernel to forget files, where those that it knows take too much memory. `ask` is given the directory and
    /// the name, and says whether it can be asked. To be called with each look-up, with how many inodes it has brought.
    pub fn make_room(&self, brought: usize, mut ask: impl FnMut(u64, String) -> bool) {
        let Ok(root) = self.prefix(ROOT) else { return };
        // Twice as many: some are open, and are passed over.
        let surplus = self.inodes.surplus(2 * brought);
        let places = surplus.iter().filter_map(|inode| self.place_of(inode, &root));
        for (parent, name) in places {
            if !ask(parent, name) {
                return;
            }
        }
    }

    /// What was read and fetched since the mount, or since this was cleared; paths are those below `mountpoint`.
    pub fn trace(&self, clear: bool, mountpoint: &str) -> Trace {
        let place = |object: &ObjectMeta| (self.path(&object.key, mountpoint), self.store.url(&object.key));
        self.reader.trace(clear, place)
    }

    /// Where the file of a key is.
    pub fn path(&self, key: &str, mountpoint: &str) -> String {
        let prefix = self.prefix(ROOT).unwrap_or_default();
        let within = key.strip_prefix(&*prefix).unwrap_or(key);
        format!("{}/{within}", mountpoint.trim_end_matches('/'))
    }

    /// Opens a directory; the handle names its listing.
    pub fn open_directory(&self, ino: u64) -> Result<u64> {
        let listing = self.namespace.listing(&self.prefix(ino)?);
        let handle = self.next_directory.fetch_add(1, Ordering::Relaxed);
        self.directories.lock().insert(handle, listing);
        Ok(handle)
    }

    /// Closes a directory.
    pub fn release_directory(&self, handle: u64) {
        self.directories.lock().remove(&handle);
    }

    /// Up to `count` entries of a directory from position `start`; none at its end.
    pub async fn read_directory(&self, ino: u64, handle: u64, start: usize, count: usize) -> Result<Vec<Entry>> {
        let prefix = self.prefix(ino)?;
        let held = self.directories.lock().get(&handle).cloned();
        let listing = held.unwrap_or_else(|| self.namespace.listing(&prefix));
        let entries = self.namespace.entries(&prefix, &listing, start, count).await;
        entries.map_err(|error| Errno::from(&error))
    }

    /// The number that a node has.
    pub fn number(&self, node: &Node) -> u64 {
        self.inodes.number(node)
    }

    /// The inode of an entry that is handed to the kernel with its attributes.
    pub fn adopt(&self, node: Node) -> Arc<Inode> {
        self.inodes.look_up(node)
    }

    /// The value of an extended attribute.
    pub async fn attribute(&self, ino: u64, name: &str) -> Result<Vec<u8>> {
        let inode = self.inode(ino)?;
        let object = object_of(&inode).map_err(|_| Errno::ENODATA)?;
        match name {
            xattr::LAYOUT => self.layout(&inode, object).await,
            xattr::CACHED => self.cached(object).await,
            _ => xattr::value(self.store.as_ref(), object, name).ok_or(Errno::ENODATA),
        }
    }

    /// How much of an object is in the cache on disk.
    async fn cached(&self, object: &ObjectMeta) -> Result<Vec<u8>> {
        let disk = self.reader.disk().ok_or(Errno::ENODATA)?;
        let bytes = disk.present(object).await.map_err(|error| {
            tracing::warn!(key = object.key, %error, "cannot tell what of a file is in the cache");
            Errno(libc::EIO)
        })?;
        Ok(bytes.to_string().into_bytes())
    }

    async fn layout(&self, inode: &Inode, object: &Arc<ObjectMeta>) -> Result<Vec<u8>> {
        let file = self.state(inode, object);
        let url = self.store.url(&object.key);
        self.layouts.of(&self.reader, &file, inode.ino, &url).await.map(|json| json.to_vec())
    }

    /// Where data (or a hole) begins at or after `offset`: objects have no holes but the one at their end.
    pub fn seek(&self, ino: u64, offset: i64, whence: i32) -> Result<i64> {
        let inode = self.inode(ino)?;
        let size = i64::try_from(object_of(&inode)?.size).map_err(|_| Errno::EINVAL)?;
        match whence {
            libc::SEEK_DATA | libc::SEEK_HOLE if offset < 0 || offset >= size => Err(Errno::ENXIO),
            libc::SEEK_DATA => Ok(offset),
            libc::SEEK_HOLE => Ok(size),
            _ => Err(Errno::EINVAL),
        }
    }

    /// The reading state of a file: the one that is open, or one that is made now (by a READ after a take-over).
    fn state(&self, inode: &Inode, object: &Arc<ObjectMeta>) -> Arc<FileState> {
        let open = inode.open.lock().as_ref().map(|open| open.file.clone());
        open.unwrap_or_else(|| self.reader.file(inode.ino, object))
    }

    /// A file that is listed as empty, and is not, is another file: the kernel looks its name up again.
    async fn check_empty(&self, object: &Arc<ObjectMeta>) -> Result<()> {
        let is_empty = object.size > 0 || self.namespace.look_again(object).await.size == 0;
        if is_empty { Ok(()) } else { Err(Errno::ESTALE) }
    }

    /// Archived objects open only if they have been restored, which their first byte shows.
    async fn check_restored(&self, object: &Arc<ObjectMeta>) -> Result<()> {
        if !object.is_archived() || object.size == 0 {
            return Ok(());
        }
        let first: Range<u64> = 0..1;
        match self.store.get(object, first).await {
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::error!(url = self.store.url(&object.key), %error, "cannot open an archived object; restore it first");
                Err(Errno::from(&error))
            }
        }
    }

    fn prefix(&self, ino: u64) -> Result<Arc<str>> {
        match &self.inode(ino)?.node {
            Node::Directory { prefix } => Ok(prefix.clone()),
            Node::File { .. } => Err(Errno::ENOTDIR),
        }
    }
}

/// What the first listing of a source shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Names.
    Names,
    /// That it can be listed and has no keys.
    Nothing,
    /// That it must not be listed. Known paths may be readable all the same.
    Refusal,
}

/// Lists the root directory, as the test of whether the store can be used: an error is the reason to refuse a mount.
pub async fn probe(
    namespace: &Arc<Namespace>,
    prefix: &str,
    patience: Duration,
) -> std::result::Result<Found, StoreError> {
    let listing = namespace.listing(&prefix.into());
    match tokio::time::timeout(patience, namespace.entries(prefix, &listing, 0, 1)).await {
        Ok(Ok(entries)) if entries.is_empty() => Ok(Found::Nothing),
        Ok(Ok(_)) => Ok(Found::Names),
        Ok(Err(error)) if error.kind == ErrorKind::AccessDenied => Ok(Found::Refusal),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(StoreError::new(ErrorKind::Timeout, "the store did not answer the first listing in time")),
    }
}

fn object_of(inode: &Inode) -> Result<&Arc<ObjectMeta>> {
    match &inode.node {
        Node::File { object } => Ok(object),
        Node::Directory { .. } => Err(Errno::EISDIR),
    }
}

fn is_direct(flags: i32) -> bool {
    flags & libc::O_DIRECT != 0
}
