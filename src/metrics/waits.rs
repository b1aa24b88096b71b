//! What programs have waited for: READs whose bytes had yet to come from the store, by how they were foreseen.

use std::fmt;
use std::num::NonZeroUsize;
use std::time::Duration;

use lru::LruCache;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// So many files are told apart, those that programs have waited for last.
const MAX_FILES: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// How a READ is seen by what decides about fetching.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// It is of a header.
    Header,
    /// A pattern had foreseen it, and its bytes were late.
    Expected,
    /// Nothing had.
    #[default]
    Unforeseen,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Expected => "expected",
            Self::Unforeseen => "unforeseen",
        })
    }
}

/// Counts waits.
#[derive(Debug)]
pub struct Waits(Mutex<State>);

#[derive(Debug)]
struct State {
    all: Causes,
    files: LruCache<String, Causes>,
}

/// Waits by cause.
#[derive(Clone, Copy, Debug, Default)]
struct Causes {
    header: Sum,
    expected: Sum,
    unforeseen: Sum,
}

/// Several waits.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    reads: u64,
    time: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        Self(Mutex::new(State { all: Causes::default(), files: LruCache::new(MAX_FILES) }))
    }
}

impl Waits {
    /// A READ of a file has waited.
    pub fn note(&self, path: &str, cause: Cause, time: Duration) {
        let mut state = self.0.lock();
        state.all.add(cause, time);
        match state.files.get_mut(path) {
            Some(file) => file.add(cause, time),
            None => {
                let mut file = Causes::default();
                file.add(cause, time);
                state.files.put(path.to_owned(), file);
            }
        }
    }

    /// What was counted so far.
    pub fn snapshot(&self) -> WaitsSnapshot {
        let state = self.0.lock();
        let longest = state.files.iter().max_by_key(|(_, file)| file.time());
        WaitsSnapshot {
            header: state.all.header.into(),
            expected: state.all.expected.into(),
            unforeseen: state.all.unforeseen.into(),
            longest_file: longest.map(|(path, _)| path.clone()),
            longest_seconds: longest.map_or(0.0, |(_, file)| file.time().as_secs_f64()),
            longest_cause: longest.map(|(_, file)| file.cause()),
        }
    }
}

impl Causes {
    fn add(&mut self, cause: Cause, time: Duration) {
        let sum = match cause {
            Cause::Header => &mut self.header,
            Cause::Expected => &mut self.expected,
            Cause::Unforeseen => &mut self.unforeseen,
        };
        sum.reads += 1;
        sum.time += time;
    }

    fn time(&self) -> Duration {
        self.header.time + self.expected.time + self.unforeseen.time
    }

    /// The cause of most of it.
    fn cause(&self) -> Cause {
        let causes = [
            (self.header.time, Cause::Header),
            (self.expected.time, Cause::Expected),
            (self.unforeseen.time, Cause::Unforeseen),
        ];
        causes.into_iter().max_by_key(|(time, _)| *time).map_or(Cause::default(), |(_, cause)| cause)
    }
}

/// The waits at one moment. READs that wait at the same time count one by one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WaitsSnapshot {
    /// For headers.
    pub header: WaitSnapshot,
    /// For what a pattern had foreseen.
    pub expected: WaitSnapshot,
    /// For what nothing had foreseen.
    pub unforeseen: WaitSnapshot,
    /// The file that was waited for longest; its key in the store, until the caller knows its path.
    pub longest_file: Option<String>,
    /// How long that was, in seconds.
    pub longest_seconds: f64,
    /// The cause of most of that.
    pub longest_cause: Option<Cause>,
}

/// Several waits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WaitSnapshot {
    /// READs that waited.
    pub reads: u64,
    /// How long together, in seconds.
    pub seconds: f64,
}

impl From<Sum> for WaitSnapshot {
    fn from(sum: Sum) -> Self {
        Self { reads: sum.reads, seconds: sum.time.as_secs_f64() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_that_was_waited_for_longest_is_named_with_the_cause() {
        let waits = Waits::default();
        waits.note("a.fits", Cause::Header, Duration::from_millis(30));
        (0..3).for_each(|_| waits.note("b.fits", Cause::Unforeseen, Duration::from_millis(30)));
        waits.note("b.fits", Cause::Expected, Duration::from_millis(10));
        let snapshot = waits.snapshot();
        assert_eq!((snapshot.header.reads, snapshot.expected.reads, snapshot.unforeseen.reads), (1, 1, 3));
        assert!((snapshot.unforeseen.seconds - 0.09).abs() < 1e-9);
        assert_eq!(snapshot.longest_file.as_deref(), Some("b.fits"));
        assert_eq!(snapshot.longest_cause, Some(Cause::Unforeseen));
        assert!((snapshot.longest_seconds - 0.1).abs() < 1e-9);
    }
}
