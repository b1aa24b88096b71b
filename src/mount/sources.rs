//! The sources of a mount: opened, asked whether they answer, and made into one tree.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use tokio::runtime::Handle;

use super::cache::Cache;
use crate::cache::names::Ttl;
use crate::config::{MountConfig, MountSource};
use crate::fs::{self, Shown};
use crate::metrics::{FailingSource, Health, Metrics};
use crate::store::{self, ErrorKind, Source, StoreError};
use crate::tree::{Bucket, Member, Namespace, Peeks, Tree, Union};

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

/// Opens the store of a source as a mount uses it. Sends no request.
pub async fn open(source: &MountSource, config: &MountConfig, metrics: &Arc<Metrics>) -> Result<Arc<Source>, String> {
    if let Some(folder) = source.url.folder()
        && is_within(&config.mountpoint, &folder)
    {
        // The daemon would wait for itself.
        return Err(format!(
            "{} is in {}, which would be in itself: mount elsewhere",
            config.mountpoint.display(),
            source.url
        ));
    }
    let opened = store::open(&source.url, &source.options).await.map_err(|error| refuse(source, &error))?;
    Ok(Arc::new(if config.offline { Source::offline(opened) } else { Source::new(opened, metrics) }))
}

/// What a mount of these sources is known by in the cache.
pub fn identity(sources: &[Arc<Source>]) -> String {
    let ids: Vec<_> = sources.iter().map(|source| source.store.id()).collect();
    ids.join("\n")
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
    pub async fn of(&self, sources: Vec<Arc<Source>>) -> Result<(Arc<dyn Tree>, Vec<Shown>), String> {
        let ttl = Ttl::new(self.config.metadata_ttl);
        let share = self.memory / sources.len().max(1) as u64;
        let trees: Vec<Arc<dyn Tree>> = self
            .config
            .sources
            .iter()
            .zip(sources)
            .map(|(wanted, source)| self.bucket(wanted, source, ttl, share))
            .collect();
        let probes = self
            .config
            .sources
            .iter()
            .zip(&trees)
            .map(async |(source, tree)| fs::probe(&**tree, PATIENCE).await.map_err(|error| refuse(source, &error)));
        let shown = try_join_all(probes).await?;
        let placed = self.config.sources.iter().map(|source| source.at.clone());
        let members: Vec<_> = placed.zip(trees).map(|(at, tree)| Member { at, tree }).collect();
        let tree = match &members[..] {
            [Member { at, tree }] if at.is_empty() => tree.clone(),
            _ => Arc::new(Union::new(members, ttl)),
        };
        Ok((tree, shown))
    }

    fn bucket(&self, wanted: &MountSource, source: Arc<Source>, ttl: Ttl, memory: u64) -> Arc<dyn Tree> {
        let names = self.cache.names(source.store.clone(), self.config, ttl);
        let (peeks, metrics) = (self.peeks.clone(), self.metrics.clone());
        let namespace = Namespace::new(names, ttl, memory, peeks, metrics, self.runtime.clone());
        Arc::new(Bucket::new(source, namespace, &wanted.url.prefix))
    }
}

/// Why a source cannot be mounted, with what to do about it.
fn refuse(source: &MountSource, error: &StoreError) -> String {
    let remedy = match error.kind {
        ErrorKind::Offline => "; mount once without --offline, with the same --cache-dir",
        _ => source.url.remedy_of_mount(error),
    };
    format!("cannot mount {}: {error}{remedy} (fitsfs check {} tells more)", source.url, source.url)
}
