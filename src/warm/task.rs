//! What is wanted of [`run`](super::run), what it tells while it works, and what came of it.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// What is to be fetched, and how.
#[derive(Debug)]
pub struct Task {
    /// Files and folders in mounts whose daemons answer.
    pub paths: Vec<PathBuf>,
    /// The mounts that they are in.
    pub mounts: BTreeSet<PathBuf>,
    /// Whether only headers are fetched.
    pub headers: bool,
    /// How much is fetched at once.
    pub jobs: usize,
}

/// Hears what happens.
pub trait Observer: Sync {
    /// A file is going to be read.
    fn found(&self, path: &Path, size: u64);
    /// So many bytes of a file were read.
    fn read(&self, path: &Path, bytes: u64);
    /// A file is done with.
    fn done(&self);
    /// Something failed; the rest goes on.
    fn failed(&self, failure: &Failure);
}

/// A file or folder that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Which.
    pub path: PathBuf,
    /// Why.
    pub error: String,
}

impl Failure {
    pub(super) fn new(path: &Path, error: &io::Error) -> Self {
        Self { path: path.to_owned(), error: error.to_string() }
    }
}

/// A file of which not all is in the cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Incomplete {
    /// Which.
    pub path: PathBuf,
    /// Its length in bytes.
    pub size: u64,
    /// How many of them are there.
    pub cached: u64,
}

/// What was fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Warmed {
    /// Files that were read.
    pub files: u64,
    /// Bytes that were read of them: those that were in the cache came from there.
    pub bytes: u64,
    /// Files that were complete in the cache, and not read.
    pub complete: u64,
    /// Files that have no headers, where only those are wanted.
    pub skipped: u64,
    /// What failed.
    pub failed: Vec<Failure>,
    /// What was read and is not complete in the cache all the same.
    pub incomplete: Vec<Incomplete>,
}

impl Warmed {
    /// How many bytes of files that were read are not in the cache.
    pub(super) fn missing(&self) -> u64 {
        self.incomplete.iter().map(|file| file.size - file.cached).sum()
    }
}
