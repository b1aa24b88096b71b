//! The cache on disk of a mount: refused where it would be wrong to use it, done without where it only cannot be used.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::cache::disk::{Directory, DiskCache, Unfit};
use crate::cache::names::{Names, Notes, Remembered, Ttl};
use crate::cache::{Device, OFFLINE_PATIENCE, PATIENCE};
use crate::config::MountConfig;
use crate::metrics::Metrics;
use crate::store::Store;

/// What waits to be written to disk may hold this share of the memory budget.
const WAITING_SHARE: u64 = 4;

/// What notes on gzip files are of: all stores, since each says what it is of.
const GUNZIP: &str = "gunzip";

/// What a mount has of the cache on disk.
#[derive(Debug, Default)]
pub struct Cache {
    /// What was fetched before.
    pub disk: Option<Arc<DiskCache>>,
    /// What was learnt of files before.
    pub notes: Option<Arc<Notes>>,
    /// What was learnt of gzip files, whichever mounts they were in.
    pub gunzip_notes: Option<Arc<Notes>>,
    names: Option<Arc<Names>>,
}

/// Opens the cache of a mount. A mount that has nothing else does not do without. An error is one line with the cause and
/// the remedy.
pub async fn open(config: &MountConfig, store_id: &str, memory: u64, metrics: &Arc<Metrics>) -> Result<Cache, String> {
    let Some(place) = &config.cache_dir else { return Ok(Cache::default()) };
    let shown = place.display();
    let patience = if config.offline { OFFLINE_PATIENCE } else { PATIENCE };
    let device = match Device::start(shown.to_string(), patience) {
        Ok(device) => device,
        Err(error) => return go_without(config, format!("cannot use the cache {shown}: {error}")),
    };
    let (opening, store_id, metrics, opener) = (device.clone(), store_id.to_owned(), metrics.clone(), config.clone());
    match device.ask(move || open_on(&opening, &opener, &store_id, memory, &metrics)).await {
        Some(opened) => opened,
        None => go_without(config, format!("the disk of the cache {shown} does not answer")),
    }
}

/// The same on a thread that may wait for the disk.
fn open_on(
    device: &Arc<Device>,
    config: &MountConfig,
    store_id: &str,
    memory: u64,
    metrics: &Arc<Metrics>,
) -> Result<Cache, String> {
    let Some(directory) = directory(config)? else { return Ok(Cache::default()) };
    let (waiting, place) = (memory / WAITING_SHARE, directory.root().display());
    let failed = |error: io::Error| format!("cannot use the cache {place}: {error}");
    let disk = DiskCache::open(directory.clone(), device.clone(), config.cache_size, waiting, metrics.clone());
    let disk = match disk {
        Ok(disk) => disk,
        Err(error) => return go_without(config, failed(error)),
    };
    // The room keeps the folder held in which the base is a path.
    let names = match Names::open(directory.base(), directory.file_mode(), Box::new(disk.room())) {
        Ok(names) => Some(Arc::new(names)),
        Err(error) if config.offline => return Err(failed(error)),
        Err(error) => {
            tracing::warn!(%error, dir = %place, "names are not remembered");
            None
        }
    };
    let notes_of = |store: &str| {
        let notes = Notes::open(directory.base(), directory.file_mode(), Box::new(disk.room()), store);
        notes.inspect_err(|error| tracing::debug!(%error, "nothing is noted of files")).ok().map(Arc::new)
    };
    let (notes, gunzip_notes) = (notes_of(store_id), notes_of(GUNZIP));
    Ok(Cache { disk: Some(disk), notes, gunzip_notes, names })
}

/// The directory of the cache, made if need be.
fn directory(config: &MountConfig) -> Result<Option<Directory>, String> {
    let Some(place) = &config.cache_dir else { return Ok(None) };
    let within = |path: &Path| path.starts_with(&config.mountpoint);
    match Directory::open(place, config.cache_shared) {
        _ if within(place) => Err(in_itself(place)),
        // By a symbolic link.
        Ok(directory) if within(directory.root()) => Err(in_itself(place)),
        Ok(directory) => Ok(Some(directory)),
        Err(Unfit::Untrusted(why)) => Err(why),
        Err(Unfit::Unusable(why)) => go_without(config, why).map(|_| None),
    }
}

fn go_without(config: &MountConfig, why: String) -> Result<Cache, String> {
    if config.offline {
        return Err(why);
    }
    tracing::warn!(why, "mounting without a cache: what is read is fetched each time");
    Ok(Cache::default())
}

impl Cache {
    /// The names in a store, with a memory on disk, where there is one.
    pub fn names(&self, store: Arc<dyn Store>, config: &MountConfig, ttl: Ttl) -> Remembered {
        let Some((names, disk)) = self.names.clone().zip(self.disk.as_ref()) else { return Remembered::nothing(store) };
        let ttl = (!config.offline).then_some(ttl);
        Remembered::new(store, names, disk.device().clone(), ttl)
    }
}

fn in_itself(place: &Path) -> String {
    format!("the cache directory {} is in the mount itself: name another one (--cache-dir)", place.display())
}
