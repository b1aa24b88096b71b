//! Keeps reading from running away from the disk: a daemon drops what it fetches faster than it can write, which would
//! have to be fetched again.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::control;

/// Readers wait while more than so many bytes wait to be written: little beside the 128 MiB that daemons let wait if they
/// have 512 MiB of memory, as what they lead their readers by arrives all the same.
const MAX_WAITING: u64 = 8 << 20;

/// How often the daemons are asked.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A disk that writes nothing for so long is waited for no longer: the next pass tells what became of it.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the readers share.
#[derive(Debug)]
pub struct Brake<'a> {
    mounts: &'a BTreeSet<PathBuf>,
    /// Held by the reader that asks: the others wait for its answer.
    looked: Mutex<Option<Instant>>,
}

impl<'a> Brake<'a> {
    /// For what is read from these mounts.
    pub fn new(mounts: &'a BTreeSet<PathBuf>) -> Self {
        Self { mounts, looked: Mutex::new(None) }
    }

    /// Waits until the daemons have written most of what they have fetched.
    pub fn wait(&self) {
        let mut looked = self.looked.lock();
        if looked.is_some_and(|looked| looked.elapsed() < LOOK_AGAIN) {
            return;
        }
        let (mut least, mut since) = (u64::MAX, Instant::now());
        loop {
            let waiting = self.waiting();
            if waiting <= MAX_WAITING || since.elapsed() > PATIENCE {
                break;
            }
            if waiting < least {
                (least, since) = (waiting, Instant::now());
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        *looked = Some(Instant::now());
    }

    /// The most that waits in one of the mounts, in bytes; daemons that do not answer write nothing.
    fn waiting(&self) -> u64 {
        let status = self.mounts.iter().filter_map(|mount| control::status(mount).ok());
        status.map(|status| status.disk.waiting_bytes).max().unwrap_or(0)
    }
}
