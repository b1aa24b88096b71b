//! The record of what happens: a ring in memory. It is always on, since a trace is asked for after the fact.
//!
//! An event is some 70 bytes. Recording one takes a short lock, which is the innermost of all, and allocates nothing:
//! 0.06 us for a READ, 0.15 us for a fetch and 0.01 us for each chunk of it that arrives.
//! When the ring is full the oldest event is dropped, and counted.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use super::{Fetch, FileFacts, FileTrace, LateRead, Moment, Outcome, Push, Read, Summary, Trace};
use crate::cache::Origin;
use crate::metrics::Cause;

/// So many events are kept, 4 MB of them: a program that opens 5,000 files for their headers, or reads 2 GB.
const CAPACITY: usize = 50_000;

#[derive(Clone, Copy, Debug)]
enum Event {
    Opened(u64),
    /// The last program that had the file open has closed it.
    Closed(u64),
    Read(Read),
    Wait(LateRead),
    Fetch(Fetch),
    Push(Push),
}

#[derive(Debug)]
struct Ring {
    /// Each with the inode number of its file.
    events: VecDeque<(u64, Event)>,
    /// The number of the event at the front, counted from the mount.
    first: u64,
    dropped: u64,
}

/// What happened to the files of one mount.
#[derive(Debug)]
pub struct Journal {
    began: Instant,
    began_unix_seconds: f64,
    capacity: usize,
    ring: Mutex<Ring>,
}

impl Default for Journal {
    fn default() -> Self {
        Self::with_capacity(CAPACITY)
    }
}

impl Journal {
    /// An empty journal of at most `capacity` events. Its memory is used as it fills.
    fn with_capacity(capacity: usize) -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            began: Instant::now(),
            began_unix_seconds: since_1970.as_secs_f64(),
            capacity,
            ring: Mutex::new(Ring { events: VecDeque::with_capacity(capacity), first: 0, dropped: 0 }),
        }
    }

    /// A program opened a file that none had open.
    pub fn opened(&self, ino: u64) {
        self.record(ino, Event::Opened(self.now()));
    }

    /// No program has the file open any more.
    pub fn closed(&self, ino: u64) {
        self.record(ino, Event::Closed(self.now()));
    }

    /// Answers a READ by `answer`. If that is not there at once, the READ waits for bytes to arrive.
    pub async fn read<T, E>(
        &self,
        ino: u64,
        range: Range<u64>,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let asked_us = self.now();
        let mut answer = pin!(answer);
        let (waited, answer) = match futures::poll!(answer.as_mut()) {
            Poll::Ready(answer) => (false, answer),
            Poll::Pending => (true, answer.await),
        };
        let (answered_us, failed) = (self.now(), answer.is_err());
        let read = Read { start: range.start, end: range.end, asked_us, answered_us, waited, failed };
        self.record(ino, Event::Read(read));
        answer
    }

    /// A READ has waited for the store for so long.
    pub fn waited(&self, ino: u64, range: &Range<u64>, cause: Cause, time: Duration) {
        let waited_us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let wait = LateRead { start: range.start, end: range.end, cause, ended_us: self.now(), waited_us };
        self.record(ino, Event::Wait(wait));
    }

    /// A fetch was decided on. It has failed if nothing else is said before the returned note is dropped.
    pub fn fetching(&self, ino: u64, range: Range<u64>, decision: Origin) -> Fetching<'_> {
        let fetch = Fetch {
            start: range.start,
            end: range.end,
            decision,
            decided_us: self.now(),
            sent_us: None,
            first_byte_us: None,
            ended_us: None,
            bytes: 0,
            disk_bytes: 0,
            outcome: Outcome::UnderWay,
        };
        let number = self.record(ino, Event::Fetch(fetch));
        Fetching { journal: self, number, fetch }
    }

    /// Data was put into the kernel's page cache.
    pub fn pushed(&self, ino: u64, range: Range<u64>) {
        self.record(ino, Event::Push(Push { start: range.start, end: range.end, at_us: self.now() }));
    }

    /// What is recorded, by file; `clear` forgets it. `facts` says what a file is, unless it is not known any more.
    /// The sources and the mountpoint are empty: the caller knows them.
    pub fn trace(&self, clear: bool, facts: impl Fn(u64) -> Option<FileFacts>) -> Trace {
        let now_us = self.now();
        let mut ring = self.ring.lock();
        let mut dropped_events = ring.dropped;
        let events: Vec<_> = ring.events.iter().copied().collect();
        if clear {
            ring.first += events.len() as u64;
            ring.events.clear();
            ring.dropped = 0;
        }
        drop(ring);
        let mut files = Vec::new();
        let mut places: HashMap<u64, Option<usize>> = HashMap::new();
        for (ino, event) in events {
            let place = places.entry(ino).or_insert_with(|| {
                files.push(FileTrace::new(facts(ino)?));
                Some(files.len() - 1)
            });
            match place {
                Some(place) => add(&mut files[*place], event),
                None => dropped_events += 1,
            }
        }
        files.iter_mut().for_each(|file| file.summary = Summary::of(file, now_us));
        Trace {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            sources: Vec::new(),
            mountpoint: String::new(),
            mounted_unix_seconds: self.began_unix_seconds,
            now_us,
            dropped_events,
            files,
        }
    }

    /// Microseconds since the mount, at least 1.
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX).max(1)
    }

    /// Appends an event and returns its number.
    fn record(&self, ino: u64, event: Event) -> u64 {
        let mut ring = self.ring.lock();
        if ring.events.len() >= self.capacity {
            ring.events.pop_front();
            ring.first += 1;
            ring.dropped += 1;
        }
        ring.events.push_back((ino, event));
        ring.first + ring.events.len() as u64 - 1
    }

    /// Brings a fetch up to date, unless it was dropped or cleared in the meantime.
    fn update(&self, number: u64, now: Fetch) {
        let mut ring = self.ring.lock();
        let index = number.checked_sub(ring.first).and_then(|index| usize::try_from(index).ok());
        if let Some((_, Event::Fetch(fetch))) = index.and_then(|index| ring.events.get_mut(index)) {
            *fetch = now;
        }
    }
}

fn add(file: &mut FileTrace, event: Event) {
    match event {
        Event::Opened(at) => file.opened_us.push(at),
        Event::Closed(at) => file.closed_us.push(at),
        Event::Read(read) => file.reads.push(read),
        Event::Wait(wait) => file.waits.push(wait),
        Event::Fetch(fetch) => file.fetches.push(fetch),
        Event::Push(push) => file.pushes.push(push),
    }
}

/// A fetch that is being recorded.
#[derive(Debug)]
pub struct Fetching<'a> {
    journal: &'a Journal,
    number: u64,
    fetch: Fetch,
}

impl Fetching<'_> {
    /// It is about to be sent.
    pub fn sent(&mut self) {
        self.fetch.sent_us = Moment::new(self.journal.now());
        self.journal.update(self.number, self.fetch);
    }

    /// Bytes arrived.
    pub fn received(&mut self, bytes: usize) {
        self.fetch.first_byte_us = self.fetch.first_byte_us.or_else(|| Moment::new(self.journal.now()));
        self.fetch.bytes += bytes as u64;
        self.journal.update(self.number, self.fetch);
    }

    /// Bytes were on disk.
    pub fn found_on_disk(&mut self, bytes: usize) {
        self.fetch.disk_bytes += bytes as u64;
        self.journal.update(self.number, self.fetch);
    }

    /// All bytes have arrived.
    pub fn done(&mut self) {
        self.fetch.outcome = Outcome::Done;
    }

    /// It is not wanted any more.
    pub fn cancelled(&mut self) {
        self.fetch.outcome = Outcome::Cancelled;
    }
}

impl Drop for Fetching<'_> {
    fn drop(&mut self) {
        if self.fetch.outcome == Outcome::UnderWay {
            self.fetch.outcome = Outcome::Failed;
        }
        self.fetch.ended_us = Moment::new(self.journal.now());
        self.journal.update(self.number, self.fetch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(ino: u64) -> Option<FileFacts> {
        Some(FileFacts { path: format!("/m/{ino}"), size: 1000, ..FileFacts::default() })
    }

    #[tokio::test]
    async fn events_are_told_by_file_in_the_order_of_their_first() {
        let journal = Journal::default();
        journal.opened(7);
        journal.opened(3);
        let mut fetching = journal.fetching(7, 0..100, Origin::Demand);
        fetching.sent();
        fetching.received(60);
        fetching.received(40);
        fetching.done();
        drop(fetching);
        assert_eq!(journal.read(7, 5..10, async { Ok::<_, ()>(1) }).await, Ok(1));
        assert_eq!(journal.read(7, 5..10, async { Err::<(), _>(2) }).await, Err(2));
        journal.pushed(7, 10..20);
        journal.closed(7);
        let trace = journal.trace(false, known);
        assert_eq!(trace.files.iter().map(|file| &*file.path).collect::<Vec<_>>(), ["/m/7", "/m/3"]);
        let file = &trace.files[0];
        let fetch = file.fetches[0];
        assert_eq!((fetch.start, fetch.end, fetch.bytes, fetch.outcome), (0, 100, 100, Outcome::Done));
        assert!(Some(fetch.decided_us) <= fetch.sent_us.map(Moment::get));
        assert!(fetch.sent_us <= fetch.first_byte_us && fetch.first_byte_us <= fetch.ended_us);
        assert_eq!(
            file.reads.iter().map(|r| (r.start, r.waited, r.failed)).collect::<Vec<_>>(),
            [(5, false, false), (5, false, true)]
        );
        assert_eq!((file.pushes.len(), file.opened_us.len(), file.closed_us.len()), (1, 1, 1));
    }

    #[tokio::test]
    async fn a_read_whose_answer_is_not_there_at_once_has_waited() {
        let journal = Journal::default();
        let later = async {
            tokio::task::yield_now().await;
            Ok::<_, ()>(())
        };
        journal.read(1, 0..1, later).await.unwrap();
        assert!(journal.trace(false, known).files[0].reads[0].waited);
    }

    #[test]
    fn the_oldest_events_are_dropped_and_counted() {
        let journal = Journal::with_capacity(10);
        let mut old = journal.fetching(0, 0..9, Origin::Chain);
        for ino in 1..=14 {
            journal.opened(ino);
        }
        // Another event has its place now.
        old.sent();
        drop(old);
        let trace = journal.trace(true, known);
        assert_eq!((trace.files.len(), trace.dropped_events), (10, 5));
        assert!(trace.files.iter().all(|file| file.fetches.is_empty()));
        assert_eq!(trace.files[0].path, "/m/5");
        let cleared = journal.trace(false, known);
        assert_eq!((cleared.files.len(), cleared.dropped_events), (0, 0));
    }

    #[test]
    fn what_is_cleared_stays_cleared() {
        let journal = Journal::with_capacity(10);
        let mut fetching = journal.fetching(1, 0..9, Origin::Chain);
        fetching.received(5);
        let fetch = journal.trace(true, known).files[0].fetches[0];
        assert_eq!((fetch.outcome, fetch.bytes), (Outcome::UnderWay, 5));
        journal.opened(2);
        drop(fetching);
        let trace = journal.trace(false, known);
        assert_eq!((trace.files.len(), trace.files[0].fetches.len(), trace.files[0].opened_us.len()), (1, 0, 1));
    }

    #[test]
    fn events_of_files_that_are_forgotten_count_as_dropped() {
        let journal = Journal::default();
        (1..=4).for_each(|ino| journal.opened(ino));
        let trace = journal.trace(false, |ino| known(ino).filter(|_| ino % 2 == 0));
        assert_eq!((trace.files.len(), trace.dropped_events), (2, 2));
    }

    #[test]
    fn a_fetch_that_ends_without_a_word_has_failed() {
        let journal = Journal::default();
        drop(journal.fetching(1, 0..9, Origin::Demand));
        let mut cancelled = journal.fetching(1, 9..18, Origin::Sequential);
        cancelled.cancelled();
        drop(cancelled);
        let outcomes: Vec<_> = journal.trace(false, known).files[0].fetches.iter().map(|f| f.outcome).collect();
        assert_eq!(outcomes, [Outcome::Failed, Outcome::Cancelled]);
    }

    #[test]
    fn the_ring_takes_a_few_megabytes() {
        assert!(CAPACITY * size_of::<(u64, Event)>() <= 5 << 20, "{} bytes an event", size_of::<(u64, Event)>());
    }
}
