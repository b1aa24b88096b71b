//! File operations on a tree of names, without a kernel: what the FUSE adapter decodes ends here.
//!
//! - [`sweep`]: which files a program that goes through directories opens next
//! - [`xattr`]: what is told of files by name; [`layout`]: the one that takes requests
//! - [`inode`]: numbers and what they stand for
//! - [`Filesystem`]: the operations
//!
//! File handles carry no state: they are the flags of the open. Directory handles name a [`Directory`], so that a
//! program sees one listing from its first entry to the last.

mod error;
pub mod inode;
mod layout;
mod sweep;
pub mod xattr;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use parking_lot::Mutex;

pub use error::{Errno, Result};
pub use inode::{Inode, ROOT};

use crate::cache::disk::Backing;
use crate::metrics::Metrics;
use crate::read::{FileState, Reader, Unanswered};
use crate::store::{ErrorKind, Object, StoreError};
use crate::trace::Trace;
use crate::tree::{Directory, Entry, Found, NAME_MAX, Node, Peeks, Tree, Ttl, split};
use inode::{InodeTable, Open};
use layout::Layouts;
use sweep::{Expected, Sweeps};

/// What inodes may take in memory, as a share of what data may take, and at least so many bytes.
const INODES_DIVISOR: u64 = 8;
const MIN_INODES: u64 = 1 << 20;

/// What a filesystem is made of.
pub struct Parts {
    /// Which files there are.
    pub tree: Arc<dyn Tree>,
    /// The heads that the tree fetches with look-ups.
    pub peeks: Arc<Peeks>,
    /// What reads files.
    pub reader: Arc<Reader>,
    /// Where to count.
    pub metrics: Arc<Metrics>,
    /// How much memory data may take, in bytes: what is known of files takes a share of that.
    pub memory: u64,
}

/// A tree as a filesystem.
pub struct Filesystem {
    tree: Arc<dyn Tree>,
    peeks: Arc<Peeks>,
    reader: Arc<Reader>,
    inodes: InodeTable,
    directories: Mutex<HashMap<u64, Opened>>,
    next_directory: AtomicU64,
    sweeps: Sweeps,
    layouts: Layouts,
    mounted: SystemTime,
    metrics: Arc<Metrics>,
}

/// A directory that a program has open.
struct Opened {
    ino: u64,
    entries: Arc<dyn Directory>,
}

/// Entries of a directory.
pub struct Listed {
    /// The path of the directory.
    pub directory: Arc<str>,
    /// The entries, each with the place behind it.
    pub entries: Vec<(Entry, u64)>,
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
    /// The filesystem of a tree.
    pub fn new(parts: Parts) -> Self {
        let Parts { tree, peeks, reader, metrics, memory } = parts;
        let inodes = (memory / INODES_DIVISOR).max(MIN_INODES);
        Self {
            inodes: InodeTable::new(usize::try_from(inodes).unwrap_or(usize::MAX), metrics.clone()),
            tree,
            peeks,
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

    /// How long names are valid.
    pub fn ttl(&self) -> Ttl {
        self.tree.ttl()
    }

    /// The inode of a number.
    pub fn inode(&self, ino: u64) -> Result<Arc<Inode>> {
        self.inodes.get(ino).ok_or(Errno::ESTALE)
    }

    /// Looks a name up; none if it does not exist. The kernel then knows the inode once more.
    pub async fn look_up(&self, parent: u64, name: &str) -> Result<Option<Arc<Inode>>> {
        let directory = self.directory(parent)?;
        if name.len() > NAME_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        match self.tree.look_up(&directory, name).await {
            Ok(found) => Ok(found.map(|found| self.found(&directory, name, found))),
            Err(error) => {
                if error.kind != ErrorKind::OverBudget {
                    tracing::warn!(directory = &*directory, name, %error, "look-up failed");
                }
                Err(Errno::from(&error))
            }
        }
    }

    fn found(&self, directory: &str, name: &str, found: Found) -> Arc<Inode> {
        let inode = self.inodes.look_up(&found.node.path(directory, name), found.node);
        if let Node::File(object) = &inode.node {
            let head = found.head.map(|ahead| self.peeks.looked_up(inode.ino, ahead));
            self.reader.looked_up(inode.ino, &inode.path, object, head);
        }
        inode
    }

    /// The kernel forgets an inode so many times.
    pub fn forget(&self, ino: u64, lookups: u64) {
        self.inodes.forget(ino, lookups);
    }

    /// Opens a file. Waits for no request, unless the object may have to be restored from an archive, or its size is not
    /// proved. Returns the file that the kernel is to read by itself, if `may_back` says that it can and there is one.
    pub async fn open(self: &Arc<Self>, ino: u64, flags: i32, may_back: bool) -> Result<Option<Arc<Backing>>> {
        let inode = self.inode(ino)?;
        let object = object_of(&inode)?;
        if flags & libc::O_ACCMODE != libc::O_RDONLY {
            return Err(Errno::EROFS);
        }
        self.check_current(&inode.path, object).await?;
        self.check_restored(&inode, object).await?;
        let Open { file, backing, .. } = self.opened(&inode, object, may_back).await;
        self.metrics.open_files.add(1);
        self.peeks.read(ino);
        if backing.is_none() {
            self.reader.acquaint(object.key()).await;
            // What the program is about to read goes before what it may read later.
            self.reader.opening(&file);
        }
        self.expect_next(&inode.path);
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
    async fn opened(&self, inode: &Inode, object: &Object, may_back: bool) -> Open {
        let is_first = inode.open.lock().is_none();
        let disk = self.reader.disk().filter(|_| may_back && is_first);
        // Of several that are the first, one has its way.
        let backing = if let Some(disk) = disk { disk.backing(&object.identity()).await.map(Arc::new) } else { None };
        let mut open = inode.open.lock();
        let first = || Open { count: 0, file: self.reader.file(inode.ino, &inode.path, object), backing };
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
    fn expect_next(self: &Arc<Self>, path: &str) {
        if !crate::fits::is_fits_name(path) {
            return;
        }
        let Expected { files, mut paths } = self.sweeps.opened(path, |directory| self.tree.known(directory));
        let (directory, _) = split(path);
        for (entry, place) in files.iter().zip(1..) {
            let path = entry.node.path(directory, &entry.name);
            match &entry.node {
                Node::File(object) if object.is_provisional => paths.push(path),
                Node::File(object) => self.expect(&path, object, place),
                Node::Directory => {}
            }
        }
        for (path, place) in paths.into_iter().zip(1..) {
            let fs = self.clone();
            self.reader.spawn(async move {
                if let Some((path, object)) = fs.tree.foresee(&path).await {
                    fs.expect(&path, &object, place);
                }
            });
        }
    }

    /// A file will be the next one that is opened, or that after so many others.
    fn expect(&self, path: &str, object: &Object, place: u64) {
        if !object.meta.is_archived() {
            let ino = self.inodes.number(path, &Node::File(object.clone()));
            self.reader.foresee(&self.reader.file(ino, &path.into(), object), place);
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
        let range = offset.min(object.size())..offset.saturating_add(u64::from(length)).min(object.size());
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
                // That a budget is spent is told once.
                if error.kind != ErrorKind::OverBudget {
                    tracing::error!(url = object.url(), start = range.start, end = range.end, %error, "read failed");
                }
                match error.kind {
                    ErrorKind::VersionChanged | ErrorKind::NotFound => self.tree.invalidate(&inode.path).await,
                    ErrorKind::Archived => inode.refused_as_archived.store(true, Ordering::Relaxed),
                    _ => {}
                }
                Err(Errno::of_read(&error))
            }
        }
    }

    /// The directory and the name under which a file was found, for the kernel to drop what it cached of it.
    pub fn place(&self, ino: u64) -> Option<(u64, String)> {
        self.place_of(&*self.inodes.get(ino)?)
    }

    fn place_of(&self, inode: &Inode) -> Option<(u64, String)> {
        let Node::File(_) = inode.node else { return None };
        let (directory, name) = split(&inode.path);
        let parent = if directory.is_empty() { ROOT } else { self.inodes.number(directory, &Node::Directory) };
        Some((parent, name.to_owned()))
    }

    /// Asks the kernel to forget files, where those that it knows take too much memory. `ask` is given the directory and
    /// the name, and says whether it can be asked. To be called with each look-up, with how many inodes it has brought.
    pub fn make_room(&self, brought: usize, mut ask: impl FnMut(u64, String) -> bool) {
        // Twice as many: some are open, and are passed over.
        let surplus = self.inodes.surplus(2 * brought);
        let places = surplus.iter().filter_map(|inode| self.place_of(inode));
        for (parent, name) in places {
            if !ask(parent, name) {
                return;
            }
        }
    }

    /// What was read and fetched since the mount, or since this was cleared; paths are those below `mountpoint`.
    pub fn trace(&self, clear: bool, mountpoint: &str) -> Trace {
        self.reader.trace(clear, |path| path_below(mountpoint, path))
    }

    /// Opens a directory; the handle names its listing.
    pub fn open_directory(&self, ino: u64) -> Result<u64> {
        let entries = self.tree.open(&self.directory(ino)?);
        let handle = self.next_directory.fetch_add(1, Ordering::Relaxed);
        self.directories.lock().insert(handle, Opened { ino, entries });
        Ok(handle)
    }

    /// Closes a directory.
    pub fn release_directory(&self, handle: u64) {
        self.directories.lock().remove(&handle);
    }

    /// Up to `count` entries of a directory that is open, from `place` on; none at its end. A handle of another directory
    /// is refused.
    pub async fn read_directory(&self, ino: u64, handle: u64, place: u64, count: usize) -> Result<Listed> {
        let directory = self.directory(ino)?;
        let opened = self.directories.lock().get(&handle).map(|opened| (opened.ino, opened.entries.clone()));
        let entries = opened.filter(|(of, _)| *of == ino).ok_or(Errno::EBADF)?.1;
        let entries = entries.entries(place, count).await.map_err(|error| Errno::from(&error))?;
        Ok(Listed { directory, entries })
    }

    /// The number of an entry of a directory.
    pub fn number(&self, directory: &str, entry: &Entry) -> u64 {
        self.inodes.number(&entry.node.path(directory, &entry.name), &entry.node)
    }

    /// The inode of an entry of a directory that is handed to the kernel with its attributes.
    pub fn adopt(&self, directory: &str, entry: Entry) -> Arc<Inode> {
        self.inodes.look_up(&entry.node.path(directory, &entry.name), entry.node)
    }

    /// The value of an extended attribute.
    pub async fn attribute(&self, ino: u64, name: &str) -> Result<Vec<u8>> {
        let inode = self.inode(ino)?;
        let mut object = object_of(&inode).map_err(|_| Errno::ENODATA)?;
        let told;
        if object.is_provisional && !object.source.is_derived && xattr::is_of_version(name) {
            told = self.look_again(&inode.path, object).await?;
            object = &told;
        }
        match name {
            xattr::LAYOUT => {
                self.check_current(&inode.path, object).await?;
                self.layout(&inode, object).await
            }
            xattr::CACHED => self.cached(object).await,
            xattr::ARCHIVE => archive(object).await,
            _ => xattr::value(object, name).ok_or(Errno::ENODATA),
        }
    }

    /// How much of an object is in the cache on disk.
    async fn cached(&self, object: &Object) -> Result<Vec<u8>> {
        let disk = self.reader.disk().ok_or(Errno::ENODATA)?;
        let bytes = disk.present(&object.identity()).await.map_err(|error| {
            tracing::warn!(key = object.key(), %error, "cannot tell what of a file is in the cache");
            Errno(libc::EIO)
        })?;
        Ok(bytes.to_string().into_bytes())
    }

    async fn layout(&self, inode: &Inode, object: &Object) -> Result<Vec<u8>> {
        let file = self.state(inode, object);
        self.layouts.of(&self.reader, &file, inode.ino, &object.url()).await.map(|json| json.to_vec())
    }

    /// Where data (or a hole) begins at or after `offset`: objects have no holes but the one at their end.
    pub fn seek(&self, ino: u64, offset: i64, whence: i32) -> Result<i64> {
        let inode = self.inode(ino)?;
        let size = i64::try_from(object_of(&inode)?.size()).map_err(|_| Errno::EINVAL)?;
        match whence {
            libc::SEEK_DATA | libc::SEEK_HOLE if offset < 0 || offset >= size => Err(Errno::ENXIO),
            libc::SEEK_DATA => Ok(offset),
            libc::SEEK_HOLE => Ok(size),
            _ => Err(Errno::EINVAL),
        }
    }

    /// The reading state of a file: the one that is open, or one that is made now (by a READ after a take-over).
    fn state(&self, inode: &Inode, object: &Object) -> Arc<FileState> {
        let open = inode.open.lock().as_ref().map(|open| open.file.clone());
        open.unwrap_or_else(|| self.reader.file(inode.ino, &inode.path, object))
    }

    /// A file that turns out to be another one than was said of it, so provisional ones, and those that are listed as
    /// empty, is stale: the kernel looks its name up again.
    async fn check_current(&self, path: &str, object: &Object) -> Result<()> {
        if !object.is_provisional && object.size() > 0 {
            return Ok(());
        }
        let now = self.look_again(path, object).await?;
        if now.is_same(object) { Ok(()) } else { Err(Errno::ESTALE) }
    }

    /// A file as its store tells of it, which may not have been asked yet.
    async fn look_again(&self, path: &str, object: &Object) -> Result<Object> {
        self.tree.look_again(path, object).await.map_err(|error| {
            tracing::error!(url = object.url(), %error, "cannot open a file");
            Errno::from(&error)
        })
    }

    /// Archived objects open only if they have been restored, which their first byte shows: those of an archive class, and
    /// those that a read was refused of, since not all that is archived has a class of its own.
    async fn check_restored(&self, inode: &Inode, object: &Object) -> Result<()> {
        let may_be_archived = object.meta.is_archived() || inode.refused_as_archived.load(Ordering::Relaxed);
        if !may_be_archived || object.size() == 0 {
            return Ok(());
        }
        let first: Range<u64> = 0..1;
        match object.get(first).await {
            Ok(_) => {
                inode.refused_as_archived.store(false, Ordering::Relaxed);
                Ok(())
            }
            Err(error) => {
                tracing::error!(url = object.url(), %error, "cannot open an archived file; fitsfs restore makes it readable");
                Err(Errno::from(&error))
            }
        }
    }

    /// The path of a directory.
    fn directory(&self, ino: u64) -> Result<Arc<str>> {
        let inode = self.inode(ino)?;
        match inode.node {
            Node::Directory => Ok(inode.path.clone()),
            Node::File(_) => Err(Errno::ENOTDIR),
        }
    }
}

/// Where the file at a path of the tree is.
pub fn path_below(mountpoint: &str, path: &str) -> String {
    format!("{}/{path}", mountpoint.trim_end_matches('/'))
}

/// What the root directory shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Names.
    Names,
    /// That it can be listed and holds nothing.
    Nothing,
    /// That it must not be listed. Known paths may be readable all the same.
    Refusal,
    /// Names, and something that is odd, in one line.
    Odd(String),
}

/// Lists the root directory, as the test of whether the stores can be used: an error is the reason to refuse a mount.
pub async fn probe(tree: &dyn Tree, patience: Duration) -> std::result::Result<Shown, StoreError> {
    let root = tree.open("");
    match tokio::time::timeout(patience, root.entries(0, 1)).await {
        Ok(Ok(entries)) if entries.is_empty() => Ok(Shown::Nothing),
        Ok(Ok(_)) => Ok(Shown::Names),
        Ok(Err(error)) if error.kind == ErrorKind::AccessDenied => Ok(Shown::Refusal),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(StoreError::new(ErrorKind::Timeout, "the store did not answer the first listing in time")),
    }
}

/// Whether an object in an archive can be read, as the store tells now.
async fn archive(object: &Object) -> Result<Vec<u8>> {
    let state = object.archive().await.map_err(|error| {
        tracing::warn!(url = object.url(), %error, "cannot tell whether a file is archived");
        Errno::from(&error)
    })?;
    state.map(|state| state.to_string().into_bytes()).ok_or(Errno::ENODATA)
}

fn object_of(inode: &Inode) -> Result<&Object> {
    match &inode.node {
        Node::File(object) => Ok(object),
        Node::Directory => Err(Errno::EISDIR),
    }
}

fn is_direct(flags: i32) -> bool {
    flags & libc::O_DIRECT != 0
}

#[cfg(test)]
mod tests;
