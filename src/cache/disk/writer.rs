//! The thread that writes what was fetched, and evicts when that is too much. Reads do not wait for it.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::direct::Way;
use super::evict::Evictor;
use super::map::Worth;
use super::object::Unwritten;
use super::usage::Usage;
use super::{CachedObject, Claim, Directory};
use crate::cache::{Device, Segment};
use crate::metrics::Metrics;

/// After a failure nothing is written for so long: a full disk is not tried with every page.
const PAUSE: Duration = Duration::from_secs(30);

/// The disk is behind when what waits is more than this share of what may wait.
const BEHIND_SHARE: u64 = 4;

/// Memory to write with is kept for so long.
const REST: Duration = Duration::from_secs(1);

/// Something that was fetched.
#[derive(Debug)]
pub struct Fetched {
    /// Where it belongs.
    pub object: Arc<CachedObject>,
    /// What holds its bytes.
    pub segment: Arc<Segment>,
    /// Which of them were fetched.
    pub range: Range<u64>,
    /// Where headers are among them.
    pub headers: Vec<Range<u64>>,
    /// The right to fetch it, which ends when it is written.
    pub claim: Option<Claim>,
}

impl Fetched {
    fn len(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// What it holds of the memory: its segment may be larger than what was fetched of it.
    fn memory(&self) -> u64 {
        self.segment.len()
    }

    fn worth(&self, page: &Range<u64>) -> Worth {
        let is_header = self.headers.iter().any(|header| header.start < page.end && header.end > page.start);
        if is_header { Worth::Header } else { Worth::Data }
    }
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Fetched>,
    waiting: u64,
    /// What is being written.
    writing: u64,
    full: bool,
    busy: bool,
    stopped: bool,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    max_waiting: u64,
    directory: Directory,
    usage: Arc<Usage>,
    device: Arc<Device>,
    metrics: Arc<Metrics>,
}

/// The queue and its thread.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
}

impl Writer {
    /// A thread with nothing to do. What waits for it holds at most `max_waiting` bytes of memory.
    pub fn start(
        directory: Directory,
        usage: Arc<Usage>,
        device: Arc<Device>,
        metrics: Arc<Metrics>,
        max_waiting: u64,
    ) -> io::Result<Self> {
        let (queue, changed) = (Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { queue, changed, max_waiting, directory, usage, device, metrics });
        std::thread::Builder::new().name("cache-writer".to_owned()).spawn({
            let shared = shared.clone();
            move || shared.run()
        })?;
        Ok(Self { shared })
    }

    /// Takes something to write; drops it if there is too much, or the disk does not answer.
    pub fn write(&self, fetched: Fetched) {
        if self.shared.device.is_off() {
            self.shared.metrics.disk_dropped_bytes.add(fetched.len());
            return self.clear();
        }
        let mut queue = self.shared.queue.lock();
        if queue.stopped || queue.waiting + fetched.memory() > self.shared.max_waiting {
            self.shared.metrics.disk_dropped_bytes.add(fetched.len());
            return;
        }
        queue.waiting += fetched.memory();
        queue.jobs.push_back(fetched);
        self.shared.changed.notify_all();
    }

    /// Drops what waits to be written, and its memory is free.
    pub fn clear(&self) {
        let mut queue = self.shared.queue.lock();
        let dropped = std::mem::take(&mut queue.jobs);
        queue.waiting = 0;
        drop(queue);
        self.shared.metrics.disk_dropped_bytes.add(dropped.iter().map(Fetched::len).sum());
    }

    /// Something could not even be begun to be written.
    pub fn make_room(&self) {
        self.shared.queue.lock().full = true;
        self.shared.changed.notify_all();
    }

    /// Bytes of memory that what is still to be written holds.
    pub fn waiting(&self) -> u64 {
        let queue = self.shared.queue.lock();
        queue.waiting + queue.writing
    }

    /// Waits until nothing is left to be written, at most so long.
    pub fn finish(&self, patience: Duration) {
        let mut queue = self.shared.queue.lock();
        let is_busy = |queue: &mut Queue| queue.busy || queue.full || !queue.jobs.is_empty();
        // Over or not, it is not waited for any longer.
        let _ = self.shared.changed.wait_while_for(&mut queue, is_busy, patience);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // The thread ends when it is done: a stuck disk blocks nothing else.
        self.shared.queue.lock().stopped = true;
        self.shared.changed.notify_all();
    }
}

/// What the thread is to do.
enum Task {
    Write(Fetched),
    MakeRoom,
}

impl Shared {
    fn run(&self) {
        let (mut evictor, mut way) = (Evictor::default(), Way::default());
        let mut paused: Option<Instant> = None;
        while let Some(task) = self.next(&mut way) {
            let resting = paused.is_some_and(|since| since.elapsed() < PAUSE);
            let done = match &task {
                Task::MakeRoom => self.make_room(&mut evictor, super::PAGE),
                Task::Write(fetched) if resting => {
                    self.metrics.disk_dropped_bytes.add(fetched.len());
                    Ok(())
                }
                Task::Write(fetched) => self.write(&mut evictor, &mut way, fetched),
            };
            if let Err(error) = done {
                let place = self.directory.root().display();
                match paused.replace(Instant::now()) {
                    None => tracing::warn!(%error, "cannot write to the cache in {place}; tried anew now and then"),
                    Some(_) => tracing::debug!(%error, "cannot write to the cache in {place}"),
                }
            }
            drop(task);
            self.rest();
            self.changed.notify_all();
        }
    }

    /// Nothing is being done.
    fn rest(&self) {
        let mut queue = self.queue.lock();
        queue.busy = false;
        queue.writing = 0;
    }

    /// Whether fetches are faster than the disk.
    fn is_behind(&self) -> bool {
        self.queue.lock().waiting > self.max_waiting / BEHIND_SHARE
    }

    /// The next task; none once stopped and done.
    fn next(&self, way: &mut Way) -> Option<Task> {
        let mut queue = self.queue.lock();
        loop {
            if let Some(fetched) = queue.jobs.pop_front() {
                queue.waiting -= fetched.memory();
                queue.writing = fetched.memory();
                queue.busy = true;
                return Some(Task::Write(fetched));
            }
            if std::mem::take(&mut queue.full) {
                queue.busy = true;
                return Some(Task::MakeRoom);
            }
            if queue.stopped {
                return None;
            }
            if !way.holds_memory() {
                self.changed.wait(&mut queue);
            } else if self.changed.wait_for(&mut queue, REST).timed_out() {
                way.rest();
            }
        }
    }

    fn write(&self, evictor: &mut Evictor, way: &mut Way, fetched: &Fetched) -> io::Result<()> {
        let mut write = || {
            let slices = |range: Range<u64>| fetched.segment.slices(range);
            let worth = |page: &Range<u64>| fetched.worth(page);
            let _step = self.device.watch();
            fetched.object.write(&fetched.range, slices, worth, &self.usage, way.choose(self.is_behind()))
        };
        let written = match write() {
            Err(Unwritten::Refused(_)) => {
                self.make_room(evictor, fetched.len() + super::map::RECORD)?;
                write()
            }
            // The kernel ran out of room before the floor was seen to be reached.
            Err(Unwritten::Failed(error)) if error.kind() == io::ErrorKind::StorageFull => {
                self.make_room(evictor, fetched.len())?;
                write()
            }
            written => written,
        };
        match written {
            Ok(bytes) => self.metrics.disk_bytes_written.add(bytes),
            Err(Unwritten::Refused(why)) => {
                tracing::debug!(?why, "no room in the cache");
                self.metrics.disk_dropped_bytes.add(fetched.len());
            }
            Err(Unwritten::Failed(error)) => {
                self.metrics.disk_dropped_bytes.add(fetched.len());
                return Err(error);
            }
        }
        Ok(())
    }

    fn make_room(&self, evictor: &mut Evictor, bytes: u64) -> io::Result<()> {
        let freed = evictor.make_room(&self.directory, &self.usage, bytes)?;
        self.metrics.disk_evicted_bytes.add(freed);
        Ok(())
    }
}
