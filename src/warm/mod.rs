//! Fetching files into the cache of their mount, by reading them through it: the daemon keeps what it fetches.
//!
//! - [`place`]: which mount a path is in
//! - [`task`]: what is wanted, and what came of it
//! - [`walk`]: the files below it
//! - [`fetch`]: reads them, several at a time
//! - [`brake`]: no faster than the disk can take it
//! - [`run`]: all of that, until it is on disk

mod brake;
mod fetch;
pub mod place;
mod task;
pub mod walk;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::control;
use crate::metrics::Snapshot;
use fetch::cached;
pub use task::{Failure, Incomplete, Observer, Task, Warmed};
use walk::{Target, Walk};

/// What could not be kept, since the disk was slower than the network in spite of the brake, is read again: as long as
/// that helps, and at most so often.
const MAX_PASSES: usize = 4;

/// How long a daemon may take to write something of what waits, and how often to look. What is not complete after that
/// may become so for a moment longer: a fetch is handed to be written just after its reader has its bytes.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
const LAST_LOOKS: usize = 10;

/// Fetches what is wanted and waits until it is on disk.
pub fn run(task: &Task, observer: &dyn Observer) -> Warmed {
    let mut warmed = Warmed::default();
    let mut wanted: Box<dyn Iterator<Item = Result<Target, Failure>> + Send> = Box::new(Walk::of(task.paths.clone()));
    let mut missing = u64::MAX;
    for _ in 0..MAX_PASSES {
        let before = Written::by(&task.mounts);
        let pass = fetch::all(task, wanted, observer);
        let incomplete = settle(&task.mounts, pass.read);
        // A file that is read again counts once.
        if missing == u64::MAX {
            warmed = Warmed { incomplete: Vec::new(), ..pass.warmed };
        } else {
            warmed.failed.extend(pass.warmed.failed);
        }
        warmed.incomplete = incomplete;
        let missing_before = std::mem::replace(&mut missing, warmed.missing());
        if missing == 0 || missing >= missing_before || !Written::by(&task.mounts).has_only_dropped_since(&before) {
            break;
        }
        let again = warmed.incomplete.iter().map(|file| Ok(Target { path: file.path.clone(), size: file.size }));
        wanted = Box::new(again.collect::<Vec<_>>().into_iter());
    }
    warmed
}

/// What daemons have done with what they fetched, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Written {
    waiting: u64,
    dropped: u64,
    evicted: u64,
}

impl Written {
    /// That of several mounts together; those whose daemons do not answer any more write nothing.
    fn by(mounts: &BTreeSet<PathBuf>) -> Self {
        let add = |sum: Self, status: Snapshot| Self {
            waiting: sum.waiting + status.disk.waiting_bytes,
            dropped: sum.dropped + status.counters.disk_dropped_bytes,
            evicted: sum.evicted + status.counters.disk_evicted_bytes,
        };
        mounts.iter().filter_map(|mount| control::status(mount).ok()).fold(Self::default(), add)
    }

    /// Whether reading again would help: what was dropped came too fast, but what was evicted had no room.
    fn has_only_dropped_since(&self, before: &Self) -> bool {
        self.dropped > before.dropped && self.evicted == before.evicted
    }
}

/// Waits until the daemons have written what they fetched. Returns those of the files that are not complete.
fn settle(mounts: &BTreeSet<PathBuf>, files: Vec<Target>) -> Vec<Incomplete> {
    let (mut last, mut since) = (Written::default(), Instant::now());
    loop {
        let now = Written::by(mounts);
        // Looked at twice: what was just read may be about to be handed over.
        if now.waiting == 0 && last.waiting == 0 && since.elapsed() >= LOOK_AGAIN || since.elapsed() > WRITE_PATIENCE {
            break;
        }
        if now != last {
            (last, since) = (now, Instant::now());
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    let look = |Target { path, size }: Target| {
        // What cannot be told has failed before, or its file was replaced.
        let cached = cached(&path).unwrap_or(size);
        (cached < size).then_some(Incomplete { path, size, cached })
    };
    let mut incomplete: Vec<_> = files.into_iter().filter_map(look).collect();
    for _ in 0..LAST_LOOKS {
        if incomplete.is_empty() {
            break;
        }
        std::thread::sleep(LOOK_AGAIN);
        let files = incomplete.into_iter().map(|file| Target { path: file.path, size: file.size });
        incomplete = files.filter_map(look).collect();
    }
    incomplete
}
