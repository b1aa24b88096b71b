//! The disk that the cache is on, as something that may stop answering: a frozen filesystem, a server of NFS that is gone,
//! a volume whose connection broke. Threads that wait for such a disk cannot be ended, so that nothing else may
//! wait for them.
//!
//! - What is waited for ([`Device::ask`]) runs on one of a few threads, and is waited for with a deadline. When that has
//!   passed, the cache is off: nothing is asked any more, and callers go to the store.
//! - What no caller waits for ([`Device::later`], [`Device::surely`]) runs on one thread, in order: small writes, and closing
//!   files, which waits for the disk on some filesystems ([`Held`]).
//! - What takes its time on a thread of its own says so step by step ([`Device::watch`]).
//!
//! The operations that hang are also what tells when the disk answers again: the cache is on again when the last of them
//! has ended, and a pause is over.

use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Operations that are waited for at once, and so threads that a hung disk can take. Solid-state disks are busy with so
/// many; the runtime has 512 such threads, and others need them: names of hosts are looked up there.
const MAX_ASKED: usize = 32;

/// A spinning disk takes up to 15 ms for each of [`MAX_ASKED`] operations, half a second in all: four times that is no
/// answer.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// Where there is no store to ask, a disk that has to spin up is waited for, which takes some 10 s.
pub const OFFLINE_PATIENCE: Duration = Duration::from_secs(30);

/// What no caller waits for may take so many times longer. A kernel that has too much to write makes writers wait.
const UNWAITED_SHARE: u32 = 5;

/// The cache stays off for so many times the patience at least: a disk that answers now and then costs programs no more
/// than a fifth of their time.
const PAUSE_SHARE: u32 = 4;

/// So many small writes wait at most; others are not made.
const MAX_LATER: usize = 1024;

/// Work for a thread.
type Job = Box<dyn FnOnce() + Send>;

/// The disk of a cache.
#[derive(Debug)]
pub struct Device {
    /// For people.
    place: String,
    patience: Duration,
    places: Arc<Semaphore>,
    off: AtomicBool,
    /// When it was turned off last.
    since: Mutex<Instant>,
    /// Operations that were waited for in vain, and have not ended.
    hung: AtomicUsize,
    jobs: Sender<Job>,
    clerk: Arc<Clerk>,
    writer: Watched,
}

/// The thread for what no caller waits for.
#[derive(Debug)]
struct Clerk {
    watched: Watched,
    /// How many small writes wait.
    waiting: AtomicUsize,
}

/// When the step that is under way began, in milliseconds after `epoch`; 0 if there is none.
#[derive(Debug)]
struct Watched {
    epoch: Instant,
    began: AtomicU64,
}

impl Watched {
    fn new() -> Self {
        Self { epoch: Instant::now(), began: AtomicU64::new(0) }
    }

    fn begin(&self) -> Step<'_> {
        self.began.store(self.now().max(1), Ordering::Relaxed);
        Step(self)
    }

    fn takes_longer_than(&self, patience: Duration) -> bool {
        let began = self.began.load(Ordering::Relaxed);
        began > 0 && self.now().saturating_sub(began) > patience.as_millis() as u64
    }

    fn now(&self) -> u64 {
        self.epoch.elapsed().as_millis() as u64
    }
}

/// A step that is under way until this is dropped.
pub struct Step<'a>(&'a Watched);

impl Drop for Step<'_> {
    fn drop(&mut self) {
        self.0.began.store(0, Ordering::Relaxed);
    }
}

/// The states of an operation: it waits for a thread, is under way, has missed its deadline, has ended.
const QUEUED: u8 = 0;
const BEGUN: u8 = 1;
const TIMED_OUT: u8 = 2;
const ENDED: u8 = 3;

/// An operation that is under way until this is dropped, however it ends.
struct Asked {
    device: Arc<Device>,
    state: Arc<AtomicU8>,
    _place: OwnedSemaphorePermit,
}

impl Drop for Asked {
    fn drop(&mut self) {
        if self.state.swap(ENDED, Ordering::SeqCst) == TIMED_OUT {
            self.device.hung.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Device {
    /// The disk of the cache in `place`, which is to answer within `patience`.
    pub fn start(place: String, patience: Duration) -> io::Result<Arc<Self>> {
        let (jobs, work) = mpsc::channel();
        let clerk = Arc::new(Clerk { watched: Watched::new(), waiting: AtomicUsize::new(0) });
        std::thread::Builder::new().name("cache-clerk".to_owned()).spawn({
            let clerk = clerk.clone();
            move || clerk.run(&work)
        })?;
        Ok(Arc::new(Self {
            place,
            patience,
            places: Arc::new(Semaphore::new(MAX_ASKED)),
            off: AtomicBool::new(false),
            since: Mutex::new(Instant::now()),
            hung: AtomicUsize::new(0),
            jobs,
            clerk,
            writer: Watched::new(),
        }))
    }

    /// Does something that may wait for the disk on a thread for that. None if the cache is off, or is so from now on,
    /// since there was no answer in time.
    pub async fn ask<T: Send + 'static>(self: &Arc<Self>, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        if self.is_off() {
            return None;
        }
        let state = Arc::new(AtomicU8::new(QUEUED));
        let answer = async {
            let place = self.places.clone().acquire_owned().await.ok()?;
            state.store(BEGUN, Ordering::SeqCst);
            let asked = Asked { device: self.clone(), state: state.clone(), _place: place };
            let job = move || {
                let _asked = asked;
                work()
            };
            tokio::task::spawn_blocking(job).await.ok()
        };
        match tokio::time::timeout(self.patience, answer).await {
            Ok(answer) => answer,
            Err(_) => {
                self.timed_out(&state);
                None
            }
        }
    }

    /// An operation has not ended by its deadline: it counts as hanging until it does.
    fn timed_out(&self, state: &AtomicU8) {
        self.hung.fetch_add(1, Ordering::SeqCst);
        if state.compare_exchange(BEGUN, TIMED_OUT, Ordering::SeqCst, Ordering::SeqCst).is_err() {
            // It had no place, or has just ended.
            self.hung.fetch_sub(1, Ordering::SeqCst);
        }
        self.turn_off();
    }

    /// Writes something small, in a while. False if it will not be: the cache is off, or too much of that waits.
    pub fn later(&self, work: impl FnOnce() + Send + 'static) -> bool {
        let has_place = || self.clerk.waiting.fetch_add(1, Ordering::Relaxed) < MAX_LATER;
        if self.is_off() {
            return false;
        }
        if !has_place() {
            self.clerk.waiting.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        let clerk = self.clerk.clone();
        self.surely(move || {
            work();
            clerk.waiting.fetch_sub(1, Ordering::Relaxed);
        });
        true
    }

    /// Closes or unlocks something, in a while: what was opened is the bound for how much of that there is.
    pub fn surely(&self, work: impl FnOnce() + Send + 'static) {
        // The thread ends after the last sender.
        let _ = self.jobs.send(Box::new(work));
    }

    /// Waits until all that [`Device::later`] and [`Device::surely`] were given is done, at most so long.
    pub fn finish(&self, patience: Duration) {
        let (done, is_done) = mpsc::channel();
        self.surely(move || {
            // The caller may have stopped waiting.
            let _ = done.send(());
        });
        let _ = is_done.recv_timeout(patience);
    }

    /// A step of the thread that writes begins, and ends when this is dropped.
    pub fn watch(&self) -> Step<'_> {
        self.writer.begin()
    }

    /// Whether the disk does not answer, or did not a moment ago.
    pub fn is_off(&self) -> bool {
        let unwaited = self.patience * UNWAITED_SHARE;
        let hangs = self.writer.takes_longer_than(unwaited) || self.clerk.watched.takes_longer_than(unwaited);
        if hangs {
            self.turn_off();
        }
        if !self.off.load(Ordering::Relaxed) {
            return false;
        }
        let rests = self.since.lock().elapsed() < self.patience * PAUSE_SHARE;
        if hangs || rests || self.hung.load(Ordering::SeqCst) > 0 {
            return true;
        }
        if self.off.swap(false, Ordering::Relaxed) {
            tracing::info!("the disk of the cache in {} answers again", self.place);
        }
        false
    }

    fn turn_off(&self) {
        let mut since = self.since.lock();
        if !self.off.swap(true, Ordering::Relaxed) {
            *since = Instant::now();
            drop(since);
            let patience = self.patience.as_secs_f64();
            tracing::warn!(
                "the disk of the cache in {} does not answer for {patience} s: going without it",
                self.place
            );
        }
    }
}

impl Clerk {
    fn run(&self, work: &Receiver<Job>) {
        for job in work {
            let _step = self.watched.begin();
            job();
        }
    }
}

/// An open file that is closed where that may wait for the disk: filesystems of networks write then what was not written.
#[derive(Debug)]
pub struct Held {
    file: ManuallyDrop<File>,
    device: Option<Arc<Device>>,
}

impl Held {
    /// A file of this disk; without one it is closed where it is dropped, on a thread that may wait.
    pub fn new(file: File, device: Option<Arc<Device>>) -> Self {
        Self { file: ManuallyDrop::new(file), device }
    }
}

impl Deref for Held {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: the file is not used after this, nor taken a second time: this is dropped once.
        let file = unsafe { ManuallyDrop::take(&mut self.file) };
        match &self.device {
            Some(device) => device.surely(move || drop(file)),
            None => drop(file),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Condvar;

    const PATIENCE: Duration = Duration::from_millis(50);

    /// A disk that hangs until what is returned is dropped, and a task that waits for that.
    fn hanging() -> (Sender<()>, impl FnOnce() + Send + 'static) {
        let (answer, answered) = mpsc::channel();
        let wait = move || {
            // An error is its end.
            let _ = answered.recv();
        };
        (answer, wait)
    }

    async fn until(mut holds: impl FnMut() -> bool) {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn a_disk_that_does_not_answer_is_not_asked_until_it_does() {
        let device = Device::start("a test".to_owned(), PATIENCE).unwrap();
        assert_eq!(device.ask(|| 7).await, Some(7));
        let (answer, hang) = hanging();
        assert_eq!(device.ask(hang).await, None);
        assert!(device.is_off() && device.ask(|| 7).await.is_none() && !device.later(|| ()));
        tokio::time::sleep(PATIENCE * (PAUSE_SHARE + 1)).await;
        assert!(device.is_off(), "it hangs still");
        drop(answer);
        until(|| !device.is_off()).await;
        assert_eq!(device.ask(|| 7).await, Some(7));
    }

    #[tokio::test]
    async fn few_threads_hang_however_many_ask() {
        let device = Device::start("a test".to_owned(), PATIENCE).unwrap();
        let (answers, hung) = (Arc::new((Mutex::new(false), Condvar::new())), Arc::new(AtomicUsize::new(0)));
        let asked = (0..3 * MAX_ASKED).map(|_| {
            let (answers, hung) = (answers.clone(), hung.clone());
            device.ask(move || {
                hung.fetch_add(1, Ordering::SeqCst);
                answers.1.wait_while(&mut answers.0.lock(), |answers| !*answers);
            })
        });
        assert!(futures::future::join_all(asked).await.iter().all(Option::is_none));
        assert_eq!(hung.load(Ordering::SeqCst), MAX_ASKED);
        *answers.0.lock() = true;
        answers.1.notify_all();
        until(|| !device.is_off()).await;
        assert_eq!(hung.load(Ordering::SeqCst), MAX_ASKED, "what had no place is not begun");
    }

    #[tokio::test]
    async fn what_no_caller_waits_for_is_bounded_and_tells_that_the_disk_hangs() {
        let device = Device::start("a test".to_owned(), PATIENCE).unwrap();
        let (answer, hang) = hanging();
        device.surely(hang);
        let taken = (0..2 * MAX_LATER).filter(|_| device.later(|| ())).count();
        assert!(taken <= MAX_LATER, "{taken}");
        until(|| device.is_off()).await;
        let began = Instant::now();
        device.finish(PATIENCE);
        assert!(began.elapsed() >= PATIENCE);
        drop(answer);
        until(|| !device.is_off()).await;
        assert!(device.later(|| ()));
    }

    #[tokio::test]
    async fn a_writer_that_hangs_turns_the_cache_off_and_one_that_goes_on_does_not() {
        let device = Device::start("a test".to_owned(), PATIENCE).unwrap();
        let step = device.watch();
        until(|| device.is_off()).await;
        drop(step);
        until(|| !device.is_off()).await;
        drop(device.watch());
        assert!(!device.is_off());
    }

    #[test]
    fn a_file_is_closed_by_the_thread_for_that() {
        let device = Device::start("a test".to_owned(), PATIENCE).unwrap();
        let (answer, hang) = hanging();
        device.surely(hang);
        let (read, write) = io::pipe().unwrap();
        drop(Held::new(File::from(std::os::fd::OwnedFd::from(write)), Some(device.clone())));
        let end = std::thread::spawn(move || io::read_to_string(read).unwrap());
        assert!(!end.is_finished());
        drop(answer);
        assert_eq!(end.join().unwrap(), "");
    }
}
