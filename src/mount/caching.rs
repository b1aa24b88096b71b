//! The cache on disk of a mount: refused where it would be wrong to use it, done without where it only cannot be used.

use std::path::Path;
use std::sync::Arc;

use crate::cache::disk::{Directory, DiskCache, Unfit};
use crate::config::MountConfig;
use crate::metrics::Metrics;

/// What waits to be written to disk may hold this share of the memory budget.
const WAITING_SHARE: u64 = 8;

/// Opens the cache that is asked for. An error is one line with the cause and the remedy.
pub fn open(
    config: &MountConfig,
    store_id: &str,
    memory: u64,
    metrics: &Arc<Metrics>,
) -> Result<Option<Arc<DiskCache>>, String> {
    let Some(place) = &config.cache_dir else { return Ok(None) };
    let within = |path: &Path| path.starts_with(&config.mountpoint);
    let directory = match Directory::open(place, config.cache_shared) {
        _ if within(place) => return Err(in_itself(place)),
        // By a symbolic link.
        Ok(directory) if within(directory.root()) => return Err(in_itself(place)),
        Ok(directory) => directory,
        Err(Unfit::Untrusted(why)) => return Err(why),
        Err(Unfit::Unusable(why)) => return Ok(do_without(place, &why)),
    };
    match DiskCache::open(directory, store_id, config.cache_size, memory / WAITING_SHARE, metrics.clone()) {
        Ok(cache) => Ok(Some(cache)),
        Err(error) => Ok(do_without(place, &error.to_string())),
    }
}

fn in_itself(place: &Path) -> String {
    format!("the cache directory {} is in the mount itself: name another one (--cache-dir)", place.display())
}

fn do_without(place: &Path, why: &str) -> Option<Arc<DiskCache>> {
    tracing::warn!(why, "no cache in {}: what is read is fetched each time", place.display());
    None
}
