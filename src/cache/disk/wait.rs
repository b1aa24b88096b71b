//! Where to wait for the disk.
//!
//! To wake another thread and be woken by it takes about as long as a good disk takes to answer. So what is little is
//! waited for where it is asked for, if that is no worker of the runtime, where others would wait as well. But a disk may
//! hang: one thread of this process waits like that at a time, and the other event loop of the kernel's requests goes on.

use std::io;

use tokio::sync::Semaphore;

/// So many bytes take a disk hardly longer than one.
const LITTLE: u64 = 128 << 10;

/// Whoever waits where it is asked.
static HERE: Semaphore = Semaphore::const_new(1);

/// Does what has to wait for the disk, for `length` bytes of it.
pub(super) async fn wait_for<T: Send + 'static>(
    length: u64,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let is_worker = tokio::task::try_id().is_some();
    if !is_worker
        && length <= LITTLE
        && let Ok(_alone) = HERE.try_acquire()
    {
        return work();
    }
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn workers_never_wait_and_of_other_threads_one() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let waits_here = |length| {
            let id = runtime.block_on(wait_for(length, || Ok(thread::current().id())));
            id.unwrap() == thread::current().id()
        };
        // Other tests of this process wait as well.
        assert!((0..10_000).any(|_| waits_here(4096)));
        assert!(!waits_here(LITTLE + 1));
        let of_task =
            runtime.spawn(async { (thread::current().id(), wait_for(0, || Ok(thread::current().id())).await) });
        let (task, waited) = runtime.block_on(of_task).unwrap();
        assert_ne!(task, waited.unwrap());
        let another_waits = runtime.block_on(HERE.acquire()).unwrap();
        assert!(!waits_here(0));
        drop(another_waits);
    }
}
