//! Whether a source answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// Told of each answer of a source, and of each attempt that got none.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<Option<Failing>>>);

#[derive(Debug)]
struct Failing {
    since: Instant,
    error: String,
}

/// A source that does not answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FailingSource {
    /// Its URL, with its place in the mount.
    pub source: String,
    /// Seconds since the first attempt that got no answer.
    pub seconds: f64,
    /// What the last one came to.
    pub error: String,
}

impl Health {
    /// The source has answered, whatever that was.
    pub fn answered(&self) {
        *self.0.lock() = None;
    }

    /// An attempt got no answer.
    pub fn failed(&self, error: &str) {
        let mut failing = self.0.lock();
        let since = failing.as_ref().map_or_else(Instant::now, |failing| failing.since);
        *failing = Some(Failing { since, error: error.to_owned() });
    }

    /// For how long it has not answered, and why; none if the last attempt was answered.
    pub fn failing(&self) -> Option<(Duration, String)> {
        self.0.lock().as_ref().map(|failing| (failing.since.elapsed(), failing.error.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_fails_from_its_first_failure_to_its_next_answer() {
        let health = Health::default();
        assert_eq!(health.failing(), None);
        health.failed("one");
        let (first, _) = health.failing().unwrap();
        health.failed("two");
        let (then, error) = health.failing().unwrap();
        assert!(then >= first && error == "two");
        health.answered();
        assert_eq!(health.failing(), None);
    }
}
