//! Files that the kernel reads by itself, from the cache on disk (`FUSE_PASSTHROUGH`, Linux 6.9).
//!
//! The kernel knows such a file by a number, the same for all who have it open, until the last of them closes it. It
//! must not be mixed with opens that this daemon serves. Where the kernel does not take a file (no privilege, files on a
//! stacked filesystem), none is tried any more.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, Ordering};

use fuser::{BackingId, FileHandle, FopenFlags, ReplyOpen};
use parking_lot::Mutex;

use crate::cache::disk::Backing;

/// In a file handle: the kernel reads the file. The flags of the open are below.
const BACKED: u64 = 1 << 32;

/// The files that the kernel reads, by inode number, with how often they are open.
#[derive(Debug, Default)]
pub struct Passthrough {
    files: Mutex<HashMap<u64, (BackingId, usize)>>,
    able: AtomicBool,
}

impl Passthrough {
    /// The kernel has said that it can.
    pub fn enable(&self) {
        self.able.store(true, Ordering::Relaxed);
    }

    /// Whether files may be given to the kernel.
    pub fn is_enabled(&self) -> bool {
        self.able.load(Ordering::Relaxed)
    }

    /// Answers an open by giving the file to the kernel. Returns the reply where it does not take it.
    pub fn open(&self, ino: u64, handle: FileHandle, backing: &Backing, reply: ReplyOpen) -> Option<ReplyOpen> {
        let mut files = self.files.lock();
        if let Entry::Vacant(place) = files.entry(ino) {
            // Another open may have been refused meanwhile, and is served.
            if !self.is_enabled() {
                return Some(reply);
            }
            match reply.open_backing(backing) {
                Ok(id) => {
                    place.insert((id, 0));
                }
                Err(error) => {
                    tracing::info!(%error, "the kernel does not read cached files by itself; this daemon does");
                    self.able.store(false, Ordering::Relaxed);
                    return Some(reply);
                }
            }
        }
        if let Some((id, opens)) = files.get_mut(&ino) {
            *opens += 1;
            reply.opened_passthrough(FileHandle(handle.0 | BACKED), FopenFlags::FOPEN_NOFLUSH, id);
        }
        None
    }

    /// A handle is closed.
    pub fn release(&self, ino: u64, handle: FileHandle) {
        if handle.0 & BACKED == 0 {
            return;
        }
        let mut files = self.files.lock();
        if let Some((_, opens)) = files.get_mut(&ino) {
            *opens -= 1;
            if *opens == 0 {
                files.remove(&ino);
            }
        }
    }
}
