//! What a mount is to be: the options of the command line and the environment, resolved once.

use std::path::PathBuf;
use std::time::Duration;

use crate::store::{SourceUrl, StoreOptions};

/// Everything that a mount needs to know.
#[derive(Clone, Debug)]
pub struct MountConfig {
    /// What to mount.
    pub source: SourceUrl,
    /// How to reach it.
    pub store: StoreOptions,
    /// Where to mount it: an absolute path.
    pub mountpoint: PathBuf,
    /// The bound on bytes in memory.
    pub memory: u64,
    /// How long names are believed.
    pub metadata_ttl: Duration,
    /// Where what was fetched is kept on disk: an absolute path. None without a cache.
    pub cache_dir: Option<PathBuf>,
    /// The bound on bytes there.
    pub cache_size: u64,
    /// Whether the group of the cache directory may use it, too.
    pub cache_shared: bool,
    /// Serve what is in the cache, and ask the network for nothing.
    pub offline: bool,
    /// Whether users other than the one who mounts may use the mount.
    pub allow_other: bool,
    /// Owner and permissions of everything in it.
    pub ownership: Ownership,
}

/// Owner and permissions of everything in a mount.
#[derive(Clone, Debug)]
pub struct Ownership {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits that are taken away.
    pub umask: u16,
}
