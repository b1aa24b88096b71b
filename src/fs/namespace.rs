//! From paths to nodes: which names exist, at the price of at most one LIST for a look-up.
//!
//! A look-up asks for the keys that begin with `directory/name`, which tells whether the name is a file, a directory
//! or nothing. With the second name that is looked up in a directory its own listing begins to fill in behind (a path
//! that only leads through it does not need it); once complete it answers all further look-ups of that directory
//! until it is too old. Where the store refuses to list, names are tried by HEAD
//! and directories are assumed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;
use tokio::runtime::Handle;

use super::entry::{self, is_name};
use super::inode::Node;
use super::listing::{Answer, Listing};
use crate::metrics::Metrics;
use crate::store::{ErrorKind, ListPage, ListRequest, Result, Store, StoreError};

/// Entries of a page of a directory's listing (the most that S3 gives, API page ListObjectsV2).
const PAGE: u16 = 1000;

/// Entries asked for by a look-up: the name itself and some that begin with it.
const LOOKUP_PAGE: u16 = 32;

/// Pages listed behind a look-up while nobody waits for them: directories up to 10,000 entries. Larger ones are
/// listed as far as someone reads them.
const BACKGROUND_PAGES: usize = 10;

/// Names remembered one by one, and directories remembered whole.
const MAX_NAMES: u64 = 200_000;
const MAX_LISTED_ENTRIES: u64 = 2_000_000;

/// A listing that waits for readers looks at least so rarely whether there can still be any.
const MIN_LOOK_AGAIN: Duration = Duration::from_millis(500);

/// A longer time to live is cut to a year, which is as good as for ever; crate moka panics beyond 1,000 of them.
const MAX_TTL: Duration = Duration::from_secs(365 * 24 * 3600);

/// How long names are believed.
#[derive(Clone, Copy, Debug)]
pub struct Ttl {
    /// Of names that exist, and of whole listings.
    pub positive: Duration,
    /// Of names that do not exist.
    pub negative: Duration,
}

impl Ttl {
    /// Names that are missing are believed for a tenth of the time of those that exist, and no longer than 5 s: new
    /// products show up soon, and the half dozen names that cfitsio probes at each open are still asked for once.
    pub fn new(positive: Duration) -> Self {
        let positive = positive.min(MAX_TTL);
        Self { positive, negative: (positive / 10).min(Duration::from_secs(5)) }
    }
}

impl Expiry<String, Option<Node>> for Ttl {
    fn expire_after_create(&self, _: &String, node: &Option<Node>, _: Instant) -> Option<Duration> {
        Some(if node.is_some() { self.positive } else { self.negative })
    }
}

/// The names of a bucket.
#[derive(Debug)]
pub struct Namespace {
    store: Arc<dyn Store>,
    ttl: Ttl,
    names: moka::future::Cache<String, Option<Node>>,
    listings: moka::sync::Cache<Arc<str>, Arc<Listing>>,
    /// Directories in which a name has been looked up.
    visited: moka::sync::Cache<Arc<str>, ()>,
    /// Directories that the store has refused to list, which may differ and may change.
    unlistable: moka::sync::Cache<Arc<str>, ()>,
    metrics: Arc<Metrics>,
    runtime: Handle,
}

impl Namespace {
    /// The names below a store, believed for `ttl`.
    pub fn new(store: Arc<dyn Store>, ttl: Ttl, metrics: Arc<Metrics>, runtime: Handle) -> Arc<Self> {
        let names = moka::future::Cache::builder().max_capacity(MAX_NAMES).expire_after(ttl).build();
        let listings = moka::sync::Cache::builder()
            .max_capacity(MAX_LISTED_ENTRIES)
            .weigher(|_, listing: &Arc<Listing>| u32::try_from(listing.len()).unwrap_or(u32::MAX).max(1))
            .time_to_live(ttl.positive)
            .build();
        let visited = moka::sync::Cache::builder().max_capacity(MAX_NAMES).time_to_live(ttl.positive).build();
        let unlistable = moka::sync::Cache::builder().max_capacity(MAX_NAMES).time_to_live(ttl.positive).build();
        Arc::new(Self { store, ttl, names, listings, visited, unlistable, metrics, runtime })
    }

    /// How long names are believed.
    pub fn ttl(&self) -> Ttl {
        self.ttl
    }

    /// What the name in the directory `prefix` is. Waits for one LIST at the most (two where more than a page of names
    /// that sort before `name/` begin with it).
    pub async fn look_up(self: &Arc<Self>, prefix: &Arc<str>, name: &str) -> Result<Option<Node>> {
        if !is_name(name) {
            return Ok(None);
        }
        let key = format!("{prefix}{name}");
        let Some(listing) = self.listing_behind(prefix) else { return self.look_up_key(prefix, key).await };
        match listing.answer(name) {
            Answer::Is(node) => return Ok(Some(node)),
            Answer::IsNot => return Ok(None),
            Answer::Unknown => {}
        }
        tokio::select! {
            answer = self.look_up_key(prefix, key) => answer,
            node = known(&listing, name) => Ok(node),
        }
    }

    /// The listing that may answer a look-up in `prefix`: one that is there, or, from the second look-up on, a new one.
    fn listing_behind(self: &Arc<Self>, prefix: &Arc<str>) -> Option<Arc<Listing>> {
        if self.unlistable.contains_key(prefix) {
            return None;
        }
        let first = self.visited.entry(prefix.clone()).or_insert(()).is_fresh();
        if first { self.listings.get(prefix) } else { Some(self.listing(prefix)) }
    }

    /// What a key is: asked once however many wait for it, and remembered.
    async fn look_up_key(&self, prefix: &Arc<str>, key: String) -> Result<Option<Node>> {
        let answer = self.names.try_get_with(key.clone(), self.ask(prefix, &key)).await;
        answer.map_err(|error: Arc<StoreError>| (*error).clone())
    }

    /// The listing of the directory `prefix`, growing while it is read.
    pub fn listing(self: &Arc<Self>, prefix: &Arc<str>) -> Arc<Listing> {
        self.listings.get_with(prefix.clone(), || {
            let listing = Arc::new(Listing::default());
            let (names, prefix) = (self.clone(), prefix.clone());
            let filled = listing.clone();
            self.runtime.spawn(async move { names.fill(&prefix, &filled).await });
            listing
        })
    }

    /// The listing of the directory `prefix` as far as it is there; asks for nothing.
    pub fn listed(&self, prefix: &str) -> Option<Arc<Listing>> {
        self.listings.get(prefix)
    }

    /// Forgets what is known of a key and its directory: it has turned out to be another version.
    pub async fn invalidate(&self, key: &str) {
        self.names.invalidate(key).await;
        let prefix = key.rfind('/').map_or("", |slash| &key[..=slash]);
        self.listings.invalidate(prefix);
    }

    /// Asks the store what a key in the directory `prefix` is.
    async fn ask(&self, prefix: &Arc<str>, key: &str) -> Result<Option<Node>> {
        if self.unlistable.contains_key(prefix) {
            return self.try_key(key).await;
        }
        match self.ask_by_list(key).await {
            Err(error) if error.kind == ErrorKind::AccessDenied => {
                self.unlistable.insert(prefix.clone(), ());
                self.try_key(key).await
            }
            answer => answer,
        }
    }

    async fn ask_by_list(&self, key: &str) -> Result<Option<Node>> {
        let directory = format!("{key}/");
        let page = self.page(key.to_owned(), LOOKUP_PAGE, None).await?;
        let within = page.prefixes.contains(&directory);
        let last = page.objects.last().map(|object| &object.key).max(page.prefixes.last());
        let beyond = page.continuation.is_some() && last.is_some_and(|last| *last < directory);
        if within || (beyond && self.exists_below(&directory).await?) {
            return Ok(Some(Node::Directory { prefix: directory.into() }));
        }
        let file = page.objects.into_iter().find(|object| object.key == key);
        Ok(file.map(|object| Node::File { object: Arc::new(object) }))
    }

    async fn exists_below(&self, directory: &str) -> Result<bool> {
        let page = self.page(directory.to_owned(), 1, None).await?;
        Ok(!page.objects.is_empty() || !page.prefixes.is_empty())
    }

    /// Without listing: what answers HEAD is a file; of the other names those that look like a directory's are one.
    async fn try_key(&self, key: &str) -> Result<Option<Node>> {
        match self.store.head(key).await {
            Ok(object) => Ok(Some(Node::File { object: Arc::new(object) })),
            Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::AccessDenied) => {
                let directory = !has_file_ending(key);
                Ok(directory.then(|| Node::Directory { prefix: format!("{key}/").into() }))
            }
            Err(error) => Err(error),
        }
    }

    /// Lists a directory: some pages at once, the others as far as someone wants them.
    async fn fill(&self, prefix: &str, listing: &Arc<Listing>) {
        let mut continuation = None;
        for page in 0.. {
            if page >= BACKGROUND_PAGES && !self.is_wanted(listing).await {
                return;
            }
            match self.page(prefix.to_owned(), PAGE, continuation).await {
                Ok(page) => {
                    continuation = page.continuation.clone();
                    let (entries, skipped) = entry::entries(prefix, page);
                    skipped.iter().for_each(|key| self.metrics.skipped.note(key));
                    listing.append(entries, continuation.is_none());
                }
                Err(error) => {
                    tracing::warn!(prefix, %error, "cannot list a directory");
                    self.listings.invalidate(prefix);
                    return listing.fail(error);
                }
            }
            if continuation.is_none() {
                return self.weigh_again(prefix, listing);
            }
        }
    }

    /// Waits until someone wants the rest of a listing; false if nobody can any more, since all have let go of it.
    async fn is_wanted(&self, listing: &Arc<Listing>) -> bool {
        let look_again = self.ttl.positive.max(MIN_LOOK_AGAIN);
        while tokio::time::timeout(look_again, listing.wanted()).await.is_err() {
            if Arc::strong_count(listing) == 1 {
                return false;
            }
        }
        true
    }

    /// A listing is weighed when it is put into the cache, which was before it grew.
    fn weigh_again(&self, prefix: &str, listing: &Arc<Listing>) {
        if self.listings.get(prefix).is_some_and(|cached| Arc::ptr_eq(&cached, listing)) {
            self.listings.insert(prefix.into(), listing.clone());
        }
    }

    async fn page(&self, prefix: String, max_keys: u16, continuation: Option<String>) -> Result<ListPage> {
        self.store.list(&ListRequest { prefix, delimited: true, max_keys, continuation }).await
    }
}

/// Waits until a listing knows the name for sure; for ever if it ends without knowing.
async fn known(listing: &Listing, name: &str) -> Option<Node> {
    match listing.answered(name).await {
        Answer::Is(node) => Some(node),
        Answer::IsNot => None,
        Answer::Unknown => std::future::pending().await,
    }
}

/// Whether the last component ends like a file name: a dot and up to five letters or digits that begin with a letter
/// (`.fits`, `.gz`; not the `.0` of a version number).
fn has_file_ending(key: &str) -> bool {
    let name = key.rsplit('/').next().unwrap_or(key);
    name.rsplit_once('.').is_some_and(|(_, ending)| {
        ending.len() <= 5
            && ending.starts_with(|c: char| c.is_ascii_alphabetic())
            && ending.chars().all(|c| c.is_ascii_alphanumeric())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_tell_files_from_directories() {
        assert!(has_file_ending("a/b.fits") && has_file_ending("x.fits.gz") && has_file_ending("x.fits.Z"));
        assert!(!has_file_ending("jw01783") && !has_file_ending("hlsp/v1.0") && !has_file_ending("a.b/c"));
    }

    #[test]
    fn missing_names_are_believed_for_seconds() {
        assert_eq!(Ttl::new(Duration::from_secs(10)).negative, Duration::from_secs(1));
        assert_eq!(Ttl::new(Duration::from_secs(3600)).negative, Duration::from_secs(5));
    }

    #[test]
    fn any_time_to_live_can_be_given() {
        for ttl in [Duration::ZERO, Duration::MAX] {
            moka::sync::Cache::<u8, u8>::builder().time_to_live(Ttl::new(ttl).positive).build();
        }
    }
}
