//! Messages to the kernel that may block: data for its page cache, and names to forget.

use std::io;
use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

use fuser::{INodeNo, Notifier};

use crate::read::PageCache;

/// Names waiting to be dropped by the kernel. More than this at once means a bucket rewritten under its readers; the
/// surplus expires with its time to live.
const MAX_PENDING: usize = 1024;

/// The kernel's page cache of one mount.
#[derive(Debug)]
pub struct KernelPages(pub Notifier);

impl PageCache for KernelPages {
    fn store(&self, ino: u64, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.store(INodeNo(ino), offset, data)
    }
}

/// Tells the kernel, from a thread of its own, that names have changed their meaning.
#[derive(Debug, Default)]
pub struct Invalidator {
    queue: OnceLock<SyncSender<(u64, String)>>,
}

impl Invalidator {
    /// Starts the thread. It ends when the invalidator is dropped; it is not waited for, since it may be blocked.
    pub fn start(&self, notifier: Notifier) -> io::Result<()> {
        let (sender, receiver) = sync_channel::<(u64, String)>(MAX_PENDING);
        std::thread::Builder::new().name("invalidator".to_owned()).stack_size(256 << 10).spawn(move || {
            for (parent, name) in receiver {
                if let Err(error) = notifier.inval_entry(INodeNo(parent), name.as_ref()) {
                    tracing::debug!(parent, name, %error, "invalidation refused");
                }
            }
        })?;
        // A second start would be a second mount of one adapter, which the types do not allow.
        let _ = self.queue.set(sender);
        Ok(())
    }

    /// The name no longer means what the kernel believes. Never blocks.
    pub fn entry(&self, parent: u64, name: String) {
        if !self.forget(parent, name) {
            tracing::warn!("too many names changed at once; some stay until they expire");
        }
    }

    /// The kernel is to forget a name; false if too many others are to be forgotten before. Never blocks.
    pub fn forget(&self, parent: u64, name: String) -> bool {
        let sent = self.queue.get().map(|queue| queue.try_send((parent, name)));
        !matches!(sent, Some(Err(TrySendError::Full(_))))
    }
}
