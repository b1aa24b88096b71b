//! The cache on disk of a mount: refused where it would be wrong to use it, done without where it only cannot be used.

use std::path::Path;
use std::sync::Arc;

use crate::cache::disk::{Directory, DiskCache, Unfit};
use crate::cache::names::{Belief, Names, Notes, Remembered};
use crate::config::MountConfig;
use crate::fs::Ttl;
use crate::metrics::Metrics;
use crate::store::Store;

/// What waits to be written to disk may hold this share of the memory budget.
const WAITING_SHARE: u64 = 4;

/// The directory of the cache, made if need be. A mount that has nothing else does not do without. An error is one line
/// with the cause and the remedy.
pub fn directory(config: &MountConfig) -> Result<Option<Directory>, String> {
    let Some(place) = &config.cache_dir else { return Ok(None) };
    let within = |path: &Path| path.starts_with(&config.mountpoint);
    match Directory::open(place, config.cache_shared) {
        _ if within(place) => Err(in_itself(place)),
        // By a symbolic link.
        Ok(directory) if within(directory.root()) => Err(in_itself(place)),
        Ok(directory) => Ok(Some(directory)),
        Err(Unfit::Untrusted(why)) => Err(why),
        Err(Unfit::Unusable(why)) if config.offline => Err(why),
        Err(Unfit::Unusable(why)) => {
            tracing::warn!(why, "mounting without a cache: what is read is fetched each time");
            Ok(None)
        }
    }
}

/// The store with a memory of names on disk, where there is a cache.
pub fn remembering(
    store: Arc<dyn Store>,
    directory: Option<&Directory>,
    disk: Option<&Arc<DiskCache>>,
    config: &MountConfig,
    ttl: Ttl,
) -> Result<Arc<dyn Store>, String> {
    let Some((directory, disk)) = directory.zip(disk) else { return Ok(store) };
    // The room keeps the folder held in which the base is a path.
    match Names::open(directory.base(), directory.file_mode(), Box::new(disk.room())) {
        Ok(names) => {
            let belief = Belief { found: ttl.positive, missing: ttl.negative };
            Ok(Arc::new(Remembered::new(store, Arc::new(names), belief, config.offline)))
        }
        Err(error) if config.offline => Err(format!("cannot use the cache {}: {error}", directory.root().display())),
        Err(error) => {
            tracing::warn!(%error, dir = %directory.root().display(), "names are not remembered");
            Ok(store)
        }
    }
}

/// What mounts before have learnt of files, where there is a cache.
pub fn notes(directory: Option<&Directory>, disk: Option<&Arc<DiskCache>>, store_id: &str) -> Option<Arc<Notes>> {
    let (directory, disk) = directory.zip(disk)?;
    let notes = Notes::open(directory.base(), directory.file_mode(), Box::new(disk.room()), store_id);
    notes.inspect_err(|error| tracing::debug!(%error, "nothing is noted of files")).ok().map(Arc::new)
}

/// What was fetched before, where there is a cache.
pub fn disk(
    directory: Option<&Directory>,
    config: &MountConfig,
    store_id: &str,
    memory: u64,
    metrics: &Arc<Metrics>,
) -> Result<Option<Arc<DiskCache>>, String> {
    let Some(directory) = directory else { return Ok(None) };
    let (waiting, place) = (memory / WAITING_SHARE, directory.root().display());
    match DiskCache::open(directory.clone(), store_id, config.cache_size, waiting, metrics.clone()) {
        Ok(disk) => Ok(Some(disk)),
        Err(error) if config.offline => Err(format!("cannot use the cache {place}: {error}")),
        Err(error) => {
            tracing::warn!(%error, dir = %place, "mounting without a cache: what is read is fetched each time");
            Ok(None)
        }
    }
}

fn in_itself(place: &Path) -> String {
    format!("the cache directory {} is in the mount itself: name another one (--cache-dir)", place.display())
}
