//! Trees of names: which files there are, wherever they come from.
//!
//! Paths are relative to the root. That of a directory is empty, or ends with `/`; that of a file is a path of a
//! directory and a name. A path is not a key: which object of which source is behind a file is what the tree knows, and
//! tells by an [`Object`].
//!
//! - [`Tree`]: look up, list, forget; [`Bucket`]: the keys of a bucket as a tree; [`Manifest`]: a list of files; [`Union`]: several trees as one;
//!   [`Unpacked`]: what is in compressed files, beside them
//! - [`Peeks`]: the heads of files, which come along with look-ups

mod bucket;
pub mod manifest;
#[cfg(test)]
pub mod paths;
mod peek;
mod union;
mod unpacked;

use std::sync::Arc;

use async_trait::async_trait;

use crate::store::{Object, Result};

pub use crate::cache::names::Ttl;
pub use bucket::{Bucket, Namespace};
pub use manifest::Manifest;
pub use peek::{Ahead, Peeks};
pub use union::{Member, Union};
pub use unpacked::Unpacked;

/// The longest name of a path component, in bytes (`NAME_MAX` of Linux).
pub const NAME_MAX: usize = 255;

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node<F = Object> {
    /// A directory.
    Directory,
    /// A file, and where its bytes are.
    File(F),
}

impl<F> Node<F> {
    /// With what `f` makes of the file.
    pub fn map<G>(self, f: impl FnOnce(F) -> G) -> Node<G> {
        match self {
            Self::Directory => Node::Directory,
            Self::File(file) => Node::File(f(file)),
        }
    }

    /// The path of a name in the directory `directory` that stands for this.
    pub fn path(&self, directory: &str, name: &str) -> String {
        match self {
            Self::Directory => format!("{directory}{name}/"),
            Self::File(_) => format!("{directory}{name}"),
        }
    }
}

/// A name in a directory and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<F = Object> {
    /// The path component.
    pub name: Arc<str>,
    /// The file or directory.
    pub node: Node<F>,
}

/// What a look-up has found.
pub struct Found<F = Object> {
    /// The file or directory.
    pub node: Node<F>,
    /// The head of the file, where it comes along.
    pub head: Option<Ahead>,
}

/// Names and what they stand for.
#[async_trait]
pub trait Tree: Send + Sync + std::fmt::Debug {
    /// How long names are valid.
    fn ttl(&self) -> Ttl;

    /// What a name in a directory stands for; none if it does not exist.
    async fn look_up(&self, directory: &str, name: &str) -> Result<Option<Found>>;

    /// The entries of a directory as they are now, for a program that reads them. Asks for nothing.
    fn open(&self, directory: &str) -> Arc<dyn Directory>;

    /// The entries of a directory as far as they are known by now.
    fn known(&self, directory: &str) -> Option<Arc<dyn Directory>>;

    /// The path and the object of the file that a program is about to look up at `path`, or of one that is named alike in
    /// its directory. Costs few requests, or none while many others are in flight.
    async fn foresee(&self, path: &str) -> Option<(String, Object)>;

    /// What the file at a path is, as the store tells it, of which that was not asked yet: what is provisional, or listed as
    /// empty, as some stores list what has bytes. The same object where it belongs to another tree.
    async fn look_again(&self, path: &str, object: &Object) -> Result<Object>;

    /// The file at a path has turned out to be another version, or gone: what is known of it and of its directory is not
    /// valid any more.
    async fn invalidate(&self, path: &str);
}

/// The entries of one directory, as a program that has it open sees them.
#[async_trait]
pub trait Directory: Send + Sync {
    /// Up to `count` entries from `place` on, each with the place behind it; none at the end of the directory. The first
    /// place is 0. Places stay valid as long as this lives, whatever comes and goes in the directory.
    async fn entries(&self, place: u64, count: usize) -> Result<Vec<(Entry, u64)>>;

    /// Up to `count` entries beyond a name, forwards (1) or backwards (-1), as far as they are known by now.
    fn beyond(&self, name: &str, direction: isize, count: usize) -> Vec<Entry>;
}

/// Where the path of a file is split into its directory and its name.
pub fn split(path: &str) -> (&str, &str) {
    path.split_at(path.rfind('/').map_or(0, |slash| slash + 1))
}

/// Whether a string can be a component of a path.
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && name.len() <= NAME_MAX && !name.contains(['/', '\0'])
}
