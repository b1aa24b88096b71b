//! Where to wait for the disk.
//!
//! To wake another thread and be woken by it takes about as long as a good disk takes to answer. So what is little is
//! waited for where it is asked for, if that is no worker of the runtime, where others would wait as well. But a disk may
//! hang: one thread of this process waits like that at a time, and the other event loop of the kernel's requests goes on.

use std::io;

use tokio::sync::{Semaphore, SemaphorePermit};

/// So many bytes take a disk hardly longer than one.
const LITTLE: u64 = 128 << 10;

/// Whoever waits where it is asked.
static HERE: Semaphore = Semaphore::const_new(1);

/// The right to wait for `length` bytes of the disk in this place, if it is one for that.
pub(super) fn here(length: u64) -> Option<SemaphorePermit<'static>> {
    let is_worker = tokio::task::try_id().is_some();
    if is_worker || length > LITTLE { None } else { HERE.try_acquire().ok() }
}

/// Does what has to wait for the disk on a thread that is there for it.
pub(super) async fn elsewhere<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_never_wait_and_of_other_threads_one() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        // Other tests of this process wait as well, for a moment.
        let alone = runtime.block_on(HERE.acquire()).unwrap();
        assert!(here(0).is_none());
        drop(alone);
        assert!((0..100_000).any(|_| here(LITTLE).is_some()));
        assert!(here(LITTLE + 1).is_none());
        let of_task = runtime.spawn(async { (0..1000).any(|_| here(0).is_some()) });
        assert!(!runtime.block_on(of_task).unwrap());
    }
}
