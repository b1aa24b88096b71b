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
use crate::store::{self, Allowance, ErrorKind, Source, SourceUrl, StoreError, StoreOptions};
use crate::tree::manifest::{File, Place};
use crate::tree::{Bucket, Manifest, Member, Namespace, Peeks, Tree, Union, is_name, split};

/// A store must answer the first listing within this time, or the mount fails.
const PATIENCE: Duration = Duration::from_secs(15);

/// What sources are opened with.
pub struct Opener<'a> {
    pub config: &'a MountConfig,
    /// What their requests may come to together.
    pub allowance: Option<&'a Arc<Allowance>>,
    pub metrics: &'a Arc<Metrics>,
}

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

/// Opens a source. Sends no request, unless earlier versions are wanted.
pub async fn open<'a>(source: &'a MountSource, opener: &Opener<'_>) -> Result<Opened<'a>, String> {
    match &source.what {
        Wanted::Store { url, options } => {
            if let Some(folder) = url.folder()
                && is_within(&opener.config.mountpoint, &folder)
            {
                // The daemon would wait for itself.
                let mountpoint = opener.config.mountpoint.display();
                return Err(format!("{mountpoint} is in {url}, which would be in itself: mount elsewhere"));
            }
            let opened = opener.store(url, options).await.map_err(|error| refuse(url, &error))?;
            Ok(Opened::Store(url, opened))
        }
        Wanted::List { path, layout, options } => {
            Ok(Opened::List(list::open(path, layout.as_ref(), options, opener).await?))
        }
    }
}

impl Opener<'_> {
    /// A store as a mount uses it. Asks whether it keeps versions, if earlier ones are wanted.
    async fn store(&self, url: &SourceUrl, options: &StoreOptions) -> store::Result<Arc<Source>> {
        let opened = store::open(url, options).await?;
        let source = match self.config.offline {
            true => Source::offline(opened),
            false => Source::within(opened, self.allowance, self.metrics),
        };
        let Some(time) = self.config.at else { return Ok(Arc::new(source)) };
        if source.store.keeps_versions().await? == Some(false) {
            return Err(StoreError::new(
                ErrorKind::Invalid,
                "it keeps no versions, so that it cannot be shown as it was: leave out --at",
            ));
        }
        Ok(Arc::new(source.at(time)))
    }
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
                self.of_store(url, source, ttl, memory).await.map_err(|error| refuse(url, &error))
            }
            Opened::List(List { stores, files, odd }) => {
                let place = |(_, source): (SourceUrl, Arc<Source>)| Place { names: names(&source), source };
                let tree = Manifest::new(stores.into_iter().map(place).collect(), files, ttl, peeks);
                Ok((Arc::new(tree), odd.map_or(Shown::Names, Shown::Odd)))
            }
        }
    }
}

impl Trees<'_> {
    /// The tree of what is at a URL: what is below it in a store, or the one object that it names.
    ///
    /// Where URLs of folders end with a slash, one without it is asked for as a file first; some servers answer it with
    /// the index of a folder. Elsewhere it is a folder, unless that has nothing in it or may not be listed.
    async fn of_store(
        &self,
        url: &SourceUrl,
        source: Arc<Source>,
        ttl: Ttl,
        memory: u64,
    ) -> store::Result<(Arc<dyn Tree>, Shown)> {
        let file = || self.one_file(url, &source, ttl);
        let named = if url.ends_like_file() { file().await } else { Ok(None) };
        if let Ok(Some((tree, true))) = named {
            return Ok((tree, Shown::Names));
        }
        let names = self.cache.names(source.store.clone(), self.config, ttl);
        let (metrics, runtime) = (self.metrics.clone(), self.runtime.clone());
        let namespace = Namespace::new(names, ttl, memory, self.peeks.clone(), metrics, runtime);
        let folder = Bucket::new(source.clone(), namespace, &url.prefix);
        let shown = fs::probe(&folder, PATIENCE).await;
        let lists_nothing = match &shown {
            Ok(shown) => matches!(shown, Shown::Nothing | Shown::Refusal),
            // That a folder is empty is not remembered.
            Err(error) => error.kind == ErrorKind::Offline,
        };
        let named = match lists_nothing && !url.ends_like_file() {
            true => Ok(file().await.unwrap_or_default()),
            false => named,
        };
        match (named, shown) {
            (Err(error), Err(_) | Ok(Shown::Nothing)) => Err(error),
            (Ok(Some((tree, _))), Err(_) | Ok(Shown::Nothing | Shown::Refusal)) => Ok((tree, Shown::Names)),
            (_, shown) => Ok((Arc::new(folder), shown?)),
        }
    }

    /// The tree of the one object that a URL names, and whether its name ends as those of files do; none if there is no
    /// such object.
    async fn one_file(
        &self,
        url: &SourceUrl,
        source: &Arc<Source>,
        ttl: Ttl,
    ) -> store::Result<Option<(Arc<dyn Tree>, bool)>> {
        let Some(key) = url.key().filter(|key| is_name(split(key).1)) else { return Ok(None) };
        let names = self.cache.names(source.store.clone(), self.config, ttl);
        let late = |_| StoreError::new(ErrorKind::Timeout, format!("the store did not tell of {url} in time"));
        let size = match tokio::time::timeout(PATIENCE, names.head(key)).await.map_err(late)? {
            Ok((object, _)) => object.size,
            Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Offline) => return Ok(None),
            Err(error) => return Err(error),
        };
        let name = split(key).1;
        let file = File { path: name.into(), place: 0, key: key.into(), size: Some(size) };
        let place = Place { names, source: source.clone() };
        let tree = Manifest::new(vec![place], vec![file], ttl, self.peeks.clone());
        Ok(Some((Arc::new(tree), name.contains('.'))))
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
