//! Keys that a listing showed and that are no files: how many, and a few of them by name.

use std::collections::HashSet;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::printable::printable;

/// Distinct keys are told apart up to this many (8 bytes each), so that listing a directory again does not count them
/// again; a bucket with more of them has a problem that a larger number does not describe better.
const MAX_TOLD_APART: usize = 10_000;

/// As many examples as fit a screen of `status`.
const MAX_EXAMPLES: usize = 20;

/// An example is cut here, since keys go up to 1,024 bytes.
const MAX_EXAMPLE_CHARS: usize = 120;

/// Counts skipped keys, each once.
#[derive(Debug, Default)]
pub struct SkippedKeys(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    seen: HashSet<u64>,
    examples: Vec<String>,
}

impl SkippedKeys {
    /// Counts a raw key, unless it was counted before.
    pub fn note(&self, key: &str) {
        let mut state = self.0.lock();
        if state.seen.len() < MAX_TOLD_APART
            && state.seen.insert(xxh3_64(key.as_bytes()))
            && state.examples.len() < MAX_EXAMPLES
        {
            let example: String = key.chars().take(MAX_EXAMPLE_CHARS).collect();
            state.examples.push(printable(&example).into_owned());
        }
    }

    /// What was counted so far.
    pub fn snapshot(&self) -> SkippedSnapshot {
        let state = self.0.lock();
        SkippedSnapshot { count: state.seen.len() as u64, examples: state.examples.clone() }
    }
}

/// The skipped keys at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SkippedSnapshot {
    /// Distinct keys, told apart up to 10,000.
    pub count: u64,
    /// The first of them, escaped and cut for display.
    pub examples: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_count_once_and_examples_are_bounded() {
        let skipped = SkippedKeys::default();
        for i in 0..30 {
            skipped.note(&format!("a//{i}"));
            skipped.note(&format!("a//{i}"));
        }
        let snapshot = skipped.snapshot();
        assert_eq!((snapshot.count, snapshot.examples.len()), (30, MAX_EXAMPLES));
        assert_eq!(snapshot.examples[0], "a//0");
    }

    #[test]
    fn an_example_cannot_write_to_the_terminal() {
        let skipped = SkippedKeys::default();
        skipped.note("x//\x1b[2J");
        assert_eq!(skipped.snapshot().examples, [r"x//\u{1b}[2J"]);
    }
}
