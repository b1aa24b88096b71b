//! The cache on disk: where it is made, and what becomes of a mount without it.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

use crate::cache::names::{Belief, Names, Remembered};
use crate::config::MountConfig;
use crate::fs::Ttl;
use crate::store::Store;

/// Nobody else reads what a private bucket holds.
const PRIVATE: u32 = 0o600;

/// The store with a memory of names on disk, where there is a cache. A cache that cannot be had is missed only by a mount
/// that has nothing else.
pub fn remembering(store: Arc<dyn Store>, config: &MountConfig, ttl: Ttl) -> Result<Arc<dyn Store>, String> {
    let Some(dir) = &config.cache_dir else { return Ok(store) };
    match make(dir).and_then(|()| Names::open(dir, PRIVATE)) {
        Ok(names) => {
            let belief = Belief { found: ttl.positive, missing: ttl.negative };
            Ok(Arc::new(Remembered::new(store, Arc::new(names), belief, config.offline)))
        }
        Err(error) if config.offline => Err(format!("cannot use the cache {}: {error}", dir.display())),
        Err(error) => {
            tracing::warn!(%error, dir = %dir.display(), "mounting without a cache");
            Ok(store)
        }
    }
}

/// Makes the directory, for its owner alone, and those above it that are missing.
fn make(dir: &Path) -> io::Result<()> {
    if let Some(parent) = dir.parent() {
        std::fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        outcome => outcome,
    }
}
