//! The sources of a mount: opened, asked whether they answer, and made into one tree.

mod list;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use tokio::runtime::Handle;

use self::list::List;
use super::cache::Cache;
use crate::cache::names::Ttl;
use crate::config::{MountConfig, MountSource, Wanted};
use crate::fs::{self, Shown};
use crate::metrics::{FailingSource, Health, Metrics};
use crate::store::{self, ErrorKind, Source, SourceUrl, StoreError, StoreOptions};
use crate::tree::manifest::Place;
use crate::tree::{Bucket, Manifest, Member, Namespace, Peeks, Tree, Union};

/// A store must answer the first listing within this time, or the mount fails.
const PATIENCE: Duration = Duration::from_secs(15);

/// What trees are made of, beside their sources.
pub struct Trees<'a> {
    pub config: &'a MountConfig,
    pub cache: &'a Cache,
    /// How much memory data may take, in bytes: names have a share of it.
    pub memory: u64,
    pub peeks: &'a Arc<Peeks>,
    pub metrics: &'a Arc<Metrics>,
    pub runtime: &'a Handle,
}

/// A source that is open.
pub enum Opened<'a> {
    /// A store, of which what is below the prefix of a URL is shown.
    Store(&'a SourceUrl, Arc<Source>),
    /// A list of files, in these stores.
    List(List),
}

/// Opens a source. Sends no request.
pub async fn open<'a>(
    source: &'a MountSource,
    config: &MountConfig,
    metrics: &Arc<Metrics>,
) -> Result<Opened<'a>, String> {
    match &source.what {
        Wanted::Store { url, options } => {
            if let Some(folder) = url.folder()
                && is_within(&config.mountpoint, &folder)
            {
                // The daemon would wait for itself.
                let mountpoint = config.mountpoint.display();
                return Err(format!("{mountpoint} is in {url}, which would be in itself: mount elsewhere"));
            }
            let opened = open_store(url, options, config, metrics).await.map_err(|error| refuse(url, &error))?;
            Ok(Opened::Store(url, opened))
        }
        Wanted::List { path, layout, options } => {
            Ok(Opened::List(list::open(path, layout.as_ref(), options, config, metrics).await?))
        }
    }
}

/// A store as a mount uses it.
async fn open_store(
    url: &SourceUrl,
    options: &StoreOptions,
    config: &MountConfig,
    metrics: &Arc<Metrics>,
) -> store::Result<Arc<Source>> {
    let opened = store::open(url, options).await?;
    Ok(Arc::new(if config.offline { Source::offline(opened) } else { Source::new(opened, metrics) }))
}

impl Opened<'_> {
    /// The stores, each with its URL.
    fn stores(&self) -> Vec<(String, &Arc<Source>)> {
        match self {
            Self::Store(url, source) => vec![(url.to_string(), source)],
            Self::List(list) => list.stores.iter().map(|(url, source)| (url.to_string(), source)).collect(),
        }
    }
}

/// What a mount of these sources is known by in the cache.
pub fn identity(sources: &[Opened<'_>]) -> String {
    let ids: Vec<_> = sources.iter().flat_map(Opened::stores).map(|(_, source)| source.store.id().to_owned()).collect();
    ids.join("\n")
}

/// Whether the stores of a mount answer, by their URLs.
pub fn health(sources: &[Opened<'_>]) -> Vec<(String, Health)> {
    sources.iter().flat_map(Opened::stores).map(|(url, source)| (url, source.health.clone())).collect()
}

/// What is mounted, in the words of a list of mounts.
pub fn name(config: &MountConfig) -> String {
    let names: Vec<_> = config.sources.iter().map(ToString::to_string).collect();
    names.join("+")
}

/// Whether a path is below a folder, and not the folder itself: a mount over its own source hides nothing from it.
fn is_within(path: &Path, folder: &Path) -> bool {
    folder.canonicalize().is_ok_and(|folder| path.starts_with(&folder) && path != folder)
}

/// Those of the sources of a mount that do not answer.
pub fn failing(health: &[(String, Health)]) -> Vec<FailingSource> {
    let failing = health.iter().filter_map(|(source, health)| {
        let (time, error) = health.failing()?;
        Some(FailingSource { source: source.clone(), seconds: time.as_secs_f64(), error })
    });
    failing.collect()
}

impl Trees<'_> {
    /// The tree of all sources, and what each of them shows.
    pub async fn of(&self, sources: Vec<Opened<'_>>) -> Result<(Arc<dyn Tree>, Vec<Shown>), String> {
        let ttl = Ttl::new(self.config.metadata_ttl);
        let share = self.memory / sources.len().max(1) as u64;
        let trees = try_join_all(sources.into_iter().map(|source| self.tree(source, ttl, share))).await?;
        let (trees, shown): (Vec<_>, Vec<_>) = trees.into_iter().unzip();
        let placed = self.config.sources.iter().map(|source| source.at.clone());
        let members: Vec<_> = placed.zip(trees).map(|(at, tree)| Member { at, tree }).collect();
        let tree = match &members[..] {
            [Member { at, tree }] if at.is_empty() => tree.clone(),
            _ => Arc::new(Union::new(members, ttl)),
        };
        Ok((tree, shown))
    }

    async fn tree(&self, source: Opened<'_>, ttl: Ttl, memory: u64) -> Result<(Arc<dyn Tree>, Shown), String> {
        let names = |source: &Arc<Source>| self.cache.names(source.store.clone(), self.config, ttl);
        let peeks = self.peeks.clone();
        match source {
            Opened::Store(url, source) => {
                let (metrics, runtime) = (self.metrics.clone(), self.runtime.clone());
                let namespace = Namespace::new(names(&source), ttl, memory, peeks, metrics, runtime);
                let tree = Bucket::new(source, namespace, &url.prefix);
                let shown = fs::probe(&tree, PATIENCE).await.map_err(|error| refuse(url, &error))?;
                Ok((Arc::new(tree), shown))
            }
            Opened::List(List { stores, files, odd }) => {
                let place = |(_, source): (SourceUrl, Arc<Source>)| Place { names: names(&source), source };
                let tree = Manifest::new(stores.into_iter().map(place).collect(), files, ttl, peeks);
                Ok((Arc::new(tree), odd.map_or(Shown::Names, Shown::Odd)))
            }
        }
    }
}

/// Why a store cannot be mounted, with what to do about it.
fn refuse(url: &SourceUrl, error: &StoreError) -> String {
    let remedy = match error.kind {
        ErrorKind::Offline => "; mount once without --offline, with the same --cache-dir",
        _ => url.remedy_of_mount(error),
    };
    format!("cannot mount {url}: {error}{remedy} (fitsfs check {url} tells more)")
}
