//! Puts data into the kernel's page cache before a program asks for it.
//!
//! Storing blocks while a page is locked by a READ that is not answered, so it happens on threads of its own, without a
//! caller that waits, and never on two for one inode: a slow object blocks one thread and nothing else. Pages under a known
//! unanswered READ are left out. Pieces go in from the last one to the first, since the reader's own READs lock
//! pages at the start.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::FileState;
use super::stride::PAGE;
use crate::cache::{Origin, Segment};
use crate::metrics::Metrics;
use crate::trace::Journal;

/// How many inodes may be pushed at once: more than one, so that a blocked push does not stop all, and few, since
/// one thread stores 3 GB a second.
const THREADS: usize = 3;

/// Pushes that wait; what comes on top is answered from memory when the reader asks for it.
const MAX_QUEUE: usize = 1024;

/// What is stored at once; any size is equally fast.
const CHUNK: u64 = 1 << 20;

/// The start of each segment stays unpushed, so that any reader passing by asks for some.
pub const SENTINEL: u64 = PAGE;

/// The kernel's page cache.
pub trait PageCache: Send + Sync + 'static {
    /// Stores `data` at `offset` of the inode. May block.
    fn store(&self, ino: u64, offset: u64, data: &[u8]) -> io::Result<()>;
}

#[derive(Debug)]
struct Job {
    file: Weak<FileState>,
    segment: Weak<Segment>,
    /// What of it.
    range: Range<u64>,
    /// Dropped when the job is done or cancelled.
    done: Option<oneshot::Sender<()>>,
}

#[derive(Default, Debug)]
struct Queue {
    jobs: VecDeque<Job>,
    busy: HashSet<u64>,
    stopped: bool,
}

/// The queue and the threads that empty it.
#[derive(Debug)]
pub struct Pusher {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    metrics: Arc<Metrics>,
    journal: Arc<Journal>,
}

impl Pusher {
    /// A queue without threads: pushing begins with [`Pusher::start`].
    pub(super) fn new(metrics: Arc<Metrics>, journal: Arc<Journal>) -> Self {
        let shared = Shared { queue: Mutex::default(), changed: Condvar::new(), metrics, journal };
        Self { shared: Arc::new(shared), threads: Mutex::default() }
    }

    /// Starts the threads that push into `pages`.
    pub fn start(&self, pages: Arc<dyn PageCache>) -> io::Result<()> {
        for n in 0..THREADS {
            let (shared, pages) = (self.shared.clone(), pages.clone());
            let thread = std::thread::Builder::new()
                .name(format!("pusher-{n}"))
                .stack_size(256 << 10)
                .spawn(move || shared.run(pages.as_ref()))?;
            self.threads.lock().push(thread);
        }
        Ok(())
    }

    /// Queues a part of a segment of a stream that has arrived, but for the start of the segment: by asking for that, the
    /// reader shows where it is.
    pub(super) fn push(&self, file: &Arc<FileState>, segment: &Arc<Segment>, range: Range<u64>) {
        self.queue(file, segment, range.start.max(segment.range().start + SENTINEL)..range.end, None);
    }

    /// Queues all of a completed segment. What is returned ends when it has been pushed, or will not be.
    pub(super) fn push_whole(&self, file: &Arc<FileState>, segment: &Arc<Segment>) -> oneshot::Receiver<()> {
        let (done, pushed) = oneshot::channel();
        self.queue(file, segment, segment.range(), Some(done));
        pushed
    }

    fn queue(
        &self,
        file: &Arc<FileState>,
        segment: &Arc<Segment>,
        range: Range<u64>,
        done: Option<oneshot::Sender<()>>,
    ) {
        let mut queue = self.shared.queue.lock();
        if queue.stopped || queue.jobs.len() >= MAX_QUEUE {
            self.shared.metrics.dropped_pushes.inc();
            return;
        }
        queue.jobs.push_back(Job { file: Arc::downgrade(file), segment: Arc::downgrade(segment), range, done });
        self.shared.changed.notify_one();
    }

    /// Begins no further push.
    pub fn halt(&self) {
        let mut queue = self.shared.queue.lock();
        queue.stopped = true;
        queue.jobs.clear();
        drop(queue);
        self.shared.changed.notify_all();
    }

    /// Ends the threads. Call it when the mount is gone, so that none of them can be blocked in the kernel.
    pub fn stop(&self) {
        self.halt();
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!("a pusher thread panicked");
            }
        }
    }
}

impl Shared {
    fn run(&self, pages: &dyn PageCache) {
        while let Some((file, segment, job)) = self.next() {
            for range in pushable(&file, &segment, job.range.clone()) {
                self.store(pages, &file, &segment, range);
            }
            if job.range.end == segment.range().end {
                segment.mark_pushed();
            }
            // A region may be larger than the memory that is allowed, and no READ comes by to have its parts dropped.
            if segment.origin() == Origin::Region {
                file.evict(&segment);
            }
            drop(job.done);
            // What waits for this inode is found by this thread, which looks for its next job now.
            self.queue.lock().busy.remove(&file.ino());
        }
    }

    /// The next job on an inode that no other thread pushes into; none once stopped.
    fn next(&self) -> Option<(Arc<FileState>, Arc<Segment>, Job)> {
        let mut queue = self.queue.lock();
        loop {
            if queue.stopped {
                return None;
            }
            let mut index = 0;
            while index < queue.jobs.len() {
                match (queue.jobs[index].file.upgrade(), queue.jobs[index].segment.upgrade()) {
                    (Some(file), Some(_)) if queue.busy.contains(&file.ino()) => index += 1,
                    (Some(file), Some(segment)) => {
                        let job = queue.jobs.remove(index)?;
                        queue.busy.insert(file.ino());
                        return Some((file, segment, job));
                    }
                    _ => drop(queue.jobs.remove(index)),
                }
            }
            self.changed.wait(&mut queue);
        }
    }

    fn store(&self, pages: &dyn PageCache, file: &FileState, segment: &Segment, range: Range<u64>) {
        let Some(slices) = segment.slices(range.clone()) else { return };
        let mut at = range.start;
        for slice in slices {
            if let Err(error) = pages.store(file.ino(), at, &slice) {
                self.metrics.dropped_pushes.inc();
                tracing::debug!(ino = file.ino(), %error, "push refused");
                return;
            }
            at += slice.len() as u64;
        }
        self.metrics.pushes.inc();
        self.metrics.pushed_bytes.add(range.end - range.start);
        self.journal.pushed(file.ino(), range);
    }
}

/// The chunks of a part of a segment that may go into the page cache, the last ones first.
fn pushable(file: &FileState, segment: &Segment, part: Range<u64>) -> Vec<Range<u64>> {
    let size = file.object().size();
    let mut start = part.start;
    for delivered in segment.delivered() {
        if delivered.start <= start {
            start = start.max(delivered.end);
        }
    }
    if start >= part.end {
        return Vec::new();
    }
    let mut chunks: Vec<_> = file
        .free_of_reads(start..part.end)
        .into_iter()
        .filter_map(|range| whole_pages(range, size))
        .flat_map(|range| {
            (range.start..range.end).step_by(CHUNK as usize).map(move |at| at..(at + CHUNK).min(range.end))
        })
        .collect();
    chunks.reverse();
    chunks
}

/// The whole pages within `range`. The last page of a file is whole where the file ends: storing beyond that would
/// make bytes that do not exist.
fn whole_pages(range: Range<u64>, size: u64) -> Option<Range<u64>> {
    let start = range.start.div_ceil(PAGE) * PAGE;
    let end = if range.end >= size { size } else { range.end / PAGE * PAGE };
    (start < end).then_some(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_ends_with_the_file_or_a_page() {
        assert_eq!(whole_pages(100..20_000, 1 << 20), Some(4096..16_384));
        assert_eq!(whole_pages(4096..9_000, 9_000), Some(4096..9_000));
        assert_eq!(whole_pages(8_192..9_000, 9_001), None);
        assert_eq!(whole_pages(5_000..6_000, 1 << 20), None);
    }
}
