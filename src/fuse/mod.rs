//! The FUSE adapter: decodes a request, starts the operation, replies. No logic.
//!
//! Event-loop threads do not wait: what needs the network or the disk runs as a task and replies from there. Reads of what
//! is in memory are answered where they arrive, in that of this process or of the kernel.
//! Notifications to the kernel come from threads of their own ([`notify`]), since each can block behind an unanswered
//! request.

mod attributes;
mod killed;
mod notify;
mod passthrough;

use std::ffi::OsStr;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use fuser::{
    AccessFlags, Errno as FuseErrno, FileHandle, FopenFlags, Generation, INodeNo, InitFlags, IoctlFlags, KernelConfig,
    LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl,
    ReplyLseek, ReplyOpen, ReplyStatfs, ReplyXattr, Request,
};
use futures::FutureExt;
use tokio::runtime::Handle;

use crate::cache::disk::Backing;
use crate::config::Ownership;
use crate::fs::{Errno, Filesystem, Listed, Result};
use crate::tree::{NAME_MAX, Node};

use killed::unless_killed;
use passthrough::Passthrough;

pub use notify::{Invalidator, KernelPages};

/// What a number stands for never changes, so its attributes are valid for ever (a year).
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Readahead requests that the kernel may have under way: its default of 12 throttles parallel readers.
const MAX_BACKGROUND: u16 = 128;

/// Entries decoded at once for a readdir: about what fits its buffer of 4 to 128 KiB.
const DIRECTORY_BATCH: usize = 512;

/// What `df` shows: a filesystem of this many blocks of [`BLOCK_SIZE`] bytes, empty and full being no notions of a
/// store: 1 PiB.
const BLOCKS: u64 = 1 << 38;
const BLOCK_SIZE: u32 = 4096;

/// The longest value of an extended attribute that the kernel passes on (`limits.h` of Linux).
const XATTR_SIZE_MAX: u32 = 65_536;

/// The entries `.` and `..` come before those of the listing.
const DOTS: u64 = 2;

/// A filesystem as the kernel sees it.
pub struct Adapter {
    fs: Arc<Filesystem>,
    ownership: Ownership,
    invalidator: Arc<Invalidator>,
    passthrough: Arc<Passthrough>,
    runtime: Handle,
}

impl Adapter {
    /// An adapter that runs its tasks on `runtime`.
    pub fn new(fs: Arc<Filesystem>, ownership: Ownership, invalidator: Arc<Invalidator>, runtime: Handle) -> Self {
        Self { fs, ownership, invalidator, passthrough: Arc::default(), runtime }
    }

    /// Runs a read, here as far as it need not wait: a task on another thread costs more than an answer from memory. The
    /// rest of it is a task. A fault ends the read with EIO, as it would there, and not the event loop.
    fn begin_read(&self, operation: impl Future<Output = ()> + Send + 'static) {
        let _in_runtime = self.runtime.enter();
        let mut operation = Box::pin(operation);
        let begun = std::panic::catch_unwind(AssertUnwindSafe(|| operation.as_mut().now_or_never()));
        if matches!(begun, Ok(None)) {
            self.runtime.spawn(operation);
        }
    }

    fn directory_entries(
        &self,
        program: u32,
        ino: u64,
        handle: u64,
        offset: u64,
    ) -> impl Future<Output = Result<Listed>> + use<> {
        let (fs, place) = (self.fs.clone(), offset.saturating_sub(DOTS));
        async move { unless_killed(program, fs.read_directory(ino, handle, place, DIRECTORY_BATCH)).await }
    }
}

impl fuser::Filesystem for Adapter {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let wanted =
            [InitFlags::FUSE_PARALLEL_DIROPS, InitFlags::FUSE_DO_READDIRPLUS, InitFlags::FUSE_READDIRPLUS_AUTO];
        for flag in wanted {
            if config.add_capabilities(flag).is_err() {
                tracing::warn!(?flag, "this kernel lacks a capability; directories may be slower");
            }
        }
        // Cached files are not stacked on each other. Where the kernel cannot, this daemon reads them.
        if config.add_capabilities(InitFlags::FUSE_PASSTHROUGH).is_ok() && config.set_max_stack_depth(1).is_ok() {
            self.passthrough.enable();
        }
        // Nonzero is always accepted.
        let _ = config.set_max_background(MAX_BACKGROUND);
        let _ = config.set_max_readahead(crate::read::PAGE as u32);
        Ok(())
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let Some(name) = name.to_str().map(str::to_owned) else { return reply.error(FuseErrno::ENOENT) };
        let (fs, ownership, program) = (self.fs.clone(), self.ownership.clone(), request.pid());
        let invalidator = self.invalidator.clone();
        self.runtime.spawn(async move {
            match unless_killed(program, fs.look_up(parent.0, &name)).await {
                Ok(Some(inode)) => {
                    let attributes = ownership.attributes(inode.ino, &inode.node, fs.mounted());
                    let (of_attributes, of_name) = match inode.is_unproved() {
                        true => (Duration::ZERO, Duration::ZERO),
                        false => (FOREVER, fs.ttl().positive),
                    };
                    reply.entry_with_ttls(&of_attributes, &of_name, &attributes, Generation(0));
                    fs.make_room(1, |parent, name| invalidator.forget(parent, name));
                }
                // Inode 0 is a name that the kernel may remember as missing.
                Ok(None) => reply.entry(&fs.ttl().negative, &ownership.no_attributes(), Generation(0)),
                Err(errno) => reply.error(errno.into()),
            }
        });
    }

    fn forget(&self, _request: &Request, ino: INodeNo, lookups: u64) {
        self.fs.forget(ino.0, lookups);
        // Look-ups may have ended while more was to be forgotten than could be asked for at once.
        self.fs.make_room(1, |parent, name| self.invalidator.forget(parent, name));
    }

    fn getattr(&self, _request: &Request, ino: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        match self.fs.inode(ino.0) {
            Ok(inode) => {
                let ttl = if inode.is_unproved() { Duration::ZERO } else { FOREVER };
                reply.attr(&ttl, &self.ownership.attributes(inode.shown(), &inode.node, self.fs.mounted()));
            }
            Err(errno) => reply.error(errno.into()),
        }
    }

    fn access(&self, _request: &Request, _ino: INodeNo, _mask: AccessFlags, reply: ReplyEmpty) {
        // The kernel checks permissions itself (default_permissions).
        reply.ok();
    }

    fn open(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let (fs, passthrough, program) = (self.fs.clone(), self.passthrough.clone(), request.pid());
        // A program may change the flags before the release, which comes with those of its time.
        let handle = FileHandle(u64::from(flags.0.cast_unsigned()));
        self.runtime.spawn(async move {
            let opened = opened(&fs, program, ino.0, flags.0, passthrough.is_enabled()).await;
            let reply = match opened {
                Ok(None) => reply,
                Ok(Some(backing)) => match passthrough.open(ino.0, handle, &backing, reply) {
                    None => return,
                    Some(reply) => {
                        fs.not_backed(ino.0, flags.0).await;
                        reply
                    }
                },
                Err(errno) => return reply.error(errno.into()),
            };
            reply.opened(handle, FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH);
        });
    }

    fn read(
        &self,
        request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let (fs, invalidator, program) = (self.fs.clone(), self.invalidator.clone(), request.pid());
        self.begin_read(async move {
            match unless_killed(program, fs.read(ino.0, offset, size)).await {
                Ok(answered) => {
                    reply.data(&answered.data);
                    answered.delivered();
                }
                Err(errno) => {
                    reply.error(errno.into());
                    if let (Errno::ESTALE, Some((parent, name))) = (errno, fs.place(ino.0)) {
                        invalidator.entry(parent, name);
                    }
                }
            }
        });
    }

    fn release(
        &self,
        _request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.passthrough.release(ino.0, handle);
        self.fs.release(ino.0, handle.0 as i32);
        reply.ok();
    }

    fn lseek(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        match self.fs.seek(ino.0, offset, whence) {
            Ok(offset) => reply.offset(offset),
            Err(errno) => reply.error(errno.into()),
        }
    }

    fn opendir(&self, _request: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        match self.fs.open_directory(ino.0) {
            Ok(handle) => reply.opened(FileHandle(handle), FopenFlags::empty()),
            Err(errno) => reply.error(errno.into()),
        }
    }

    fn readdir(&self, request: &Request, ino: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let (fs, entries) = (self.fs.clone(), self.directory_entries(request.pid(), ino.0, handle.0, offset));
        self.runtime.spawn(async move {
            for (position, name) in dots(offset) {
                if reply.add(ino, position, fuser::FileType::Directory, name) {
                    return reply.ok();
                }
            }
            let Listed { directory, entries } = match entries.await {
                Ok(listed) => listed,
                Err(errno) => return reply.error(errno.into()),
            };
            for (entry, place) in entries {
                let (ino, kind) = (INodeNo(fs.number(&directory, &entry)), attributes::kind(&entry.node));
                if reply.add(ino, place.saturating_add(DOTS), kind, &*entry.name) {
                    break;
                }
            }
            reply.ok();
        });
    }

    fn readdirplus(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let (fs, ownership, invalidator) = (self.fs.clone(), self.ownership.clone(), self.invalidator.clone());
        let entries = self.directory_entries(request.pid(), ino.0, handle.0, offset);
        self.runtime.spawn(async move {
            for (position, name) in dots(offset) {
                let own = ownership.attributes(ino.0, &Node::Directory, fs.mounted());
                if reply.add(ino, position, name, &Duration::ZERO, &own, Generation(0)) {
                    return reply.ok();
                }
            }
            let Listed { directory, entries } = match entries.await {
                Ok(listed) => listed,
                Err(errno) => return reply.error(errno.into()),
            };
            let (ttl, mut brought) = (fs.ttl().positive, 0);
            for (entry, place) in entries {
                let (name, offset) = (entry.name.clone(), place.saturating_add(DOTS));
                let inode = fs.adopt(&directory, entry);
                let attributes = ownership.attributes(inode.ino, &inode.node, fs.mounted());
                // What is not known to be so is asked for when it is wanted.
                let ttl = if is_unknown(&inode.node) { Duration::ZERO } else { ttl };
                if reply.add(INodeNo(inode.ino), offset, &*name, &ttl, &attributes, Generation(0)) {
                    // It did not fit, so the kernel has not looked it up.
                    fs.forget(inode.ino, 1);
                    break;
                }
                brought += 1;
            }
            reply.ok();
            fs.make_room(brought, |parent, name| invalidator.forget(parent, name));
        });
    }

    fn releasedir(&self, _request: &Request, _ino: INodeNo, handle: FileHandle, _flags: OpenFlags, reply: ReplyEmpty) {
        self.fs.release_directory(handle.0);
        reply.ok();
    }

    fn statfs(&self, _request: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        reply.statfs(BLOCKS, 0, 0, 0, 0, BLOCK_SIZE, NAME_MAX as u32, BLOCK_SIZE);
    }

    fn getxattr(&self, request: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let Some(name) = name.to_str().map(str::to_owned) else { return reply.error(FuseErrno::ENODATA) };
        let (fs, program) = (self.fs.clone(), request.pid());
        self.runtime.spawn(async move {
            match unless_killed(program, fs.attribute(ino.0, &name)).await {
                Ok(value) => reply_attribute(&value, size, reply),
                Err(errno) => reply.error(errno.into()),
            }
        });
    }

    fn ioctl(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _handle: FileHandle,
        _flags: IoctlFlags,
        _command: u32,
        _data: &[u8],
        _out_size: u32,
        reply: ReplyIoctl,
    ) {
        // Python asks at each open whether the file is a terminal.
        reply.error(FuseErrno::ENOTTY);
    }

    fn listxattr(&self, _request: &Request, _ino: INodeNo, size: u32, reply: ReplyXattr) {
        // Programs that copy files copy what is listed, and fail where it is longer than another filesystem takes.
        reply_attribute(&[], size, reply);
    }
}

/// Whether a list has told of a file, but not how long it is; or that it is one that is made of another, which may have
/// been shown before one by the same name that goes before it.
fn is_unknown(node: &Node) -> bool {
    matches!(node, Node::File(object) if object.source.is_derived || (object.is_provisional && object.size() == 0))
}

/// Opens a file for a program. One that is killed meanwhile has no handle, so what is opened for it is closed.
async fn opened(
    fs: &Arc<Filesystem>,
    program: u32,
    ino: u64,
    flags: i32,
    may_back: bool,
) -> Result<Option<Arc<Backing>>> {
    let (opener, closer) = (fs.clone(), fs.clone());
    let mut opening = tokio::spawn(async move { opener.open(ino, flags, may_back).await });
    match unless_killed(program, async { Ok((&mut opening).await) }).await {
        Ok(opened) => opened.unwrap_or(Err(Errno(libc::EIO))),
        Err(killed) => {
            tokio::spawn(async move {
                if matches!(opening.await, Ok(Ok(_))) {
                    closer.release(ino, flags);
                }
            });
            Err(killed)
        }
    }
}

/// The entries `.` and `..` from a directory offset on, each with the offset of what follows.
fn dots(offset: u64) -> impl Iterator<Item = (u64, &'static str)> {
    [(1, "."), (2, "..")].into_iter().filter(move |(position, _)| *position > offset)
}

/// The two-step protocol of extended attributes: the size first, then the value (`getxattr(2)`).
fn reply_attribute(value: &[u8], size: u32, reply: ReplyXattr) {
    match (u32::try_from(value.len()), size) {
        (Ok(length), 0) => reply.size(length),
        (Ok(length), _) if length <= size => reply.data(value),
        // No buffer is large enough.
        (Ok(length), _) if length > XATTR_SIZE_MAX => reply.error(FuseErrno::E2BIG),
        _ => reply.error(FuseErrno::ERANGE),
    }
}

impl From<Errno> for FuseErrno {
    fn from(errno: Errno) -> Self {
        Self::from_i32(errno.0)
    }
}
