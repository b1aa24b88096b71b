//! Limits reading to the speed of the disk: a daemon drops what it fetches faster than it can write, which would have to
//! be fetched again.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::control;

/// Readers wait while this share of a daemon's memory waits to be written. It drops what comes when that is a quarter, and
/// its readahead arrives all the same.
const WAITING_SHARE: u64 = 64;

/// How often the daemons are asked.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A disk that has written nothing for so long is not waited for: the next pass tells what became of it.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the readers share.
#[derive(Debug)]
pub struct Brake<'a> {
    mounts: &'a BTreeSet<PathBuf>,
    /// Held by the reader that asks: the others wait for its answer.
    seen: Mutex<Seen>,
}

/// What daemons have told.
#[derive(Debug)]
struct Seen {
    looked: Option<Instant>,
    /// Bytes, by all of them together.
    written: u64,
    /// When that became more.
    since: Instant,
}

impl<'a> Brake<'a> {
    /// For what is read from these mounts.
    pub fn new(mounts: &'a BTreeSet<PathBuf>) -> Self {
        Self { mounts, seen: Mutex::new(Seen { looked: None, written: 0, since: Instant::now() }) }
    }

    /// Waits until all daemons have written most of what they have fetched.
    pub fn wait(&self) {
        let mut seen = self.seen.lock();
        if seen.looked.is_some_and(|looked| looked.elapsed() < LOOK_AGAIN) {
            return;
        }
        while self.is_too_much(&mut seen) && seen.since.elapsed() < PATIENCE {
            std::thread::sleep(LOOK_AGAIN);
        }
        seen.looked = Some(Instant::now());
    }

    /// Asks the daemons; those that do not answer write nothing.
    fn is_too_much(&self, seen: &mut Seen) -> bool {
        let all: Vec<_> = self.mounts.iter().filter_map(|mount| control::status(mount).ok()).collect();
        let written = all.iter().map(|status| status.counters.disk_bytes_written).sum();
        if std::mem::replace(&mut seen.written, written) != written {
            seen.since = Instant::now();
        }
        all.iter().any(|status| status.disk.waiting_bytes > status.memory.budget_bytes / WAITING_SHARE)
    }
}
