//! Classes of storage: what the store calls them, and whether an object must be restored before it can be read.

use std::sync::Arc;

/// The class of an object's storage, if it is not the store's standard one. Two objects of one class may differ in
/// whether they are archived: S3's Intelligent-Tiering archives by use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageClass {
    /// As the store names it (`GLACIER`, ...).
    pub name: Arc<str>,
    /// Whether the object must be restored before it can be read, as far as the store tells without being asked for its
    /// bytes.
    pub is_archived: bool,
}

impl StorageClass {
    /// For writing it down.
    pub fn parts(&self) -> (&str, bool) {
        (&self.name, self.is_archived)
    }
}

/// From what was written down.
impl From<(&str, bool)> for StorageClass {
    fn from((name, is_archived): (&str, bool)) -> Self {
        Self { name: name.into(), is_archived }
    }
}
