//! Pages of keys in the order of their bytes, in which a folder is its name with a `/`.
//!
//! A server gives all of a folder in one page of its own, so that is kept for the pages and look-ups that follow. Which
//! [`Index`] it has is found out with the first folder: a page of JSON is taken as it is; of other servers it is asked
//! whether they speak WebDAV, which has exact sizes; what is left are links.
//!
//! What an index claims of files is compared with a HEAD of the first one. If that agrees, listings cost nothing more.
//! Where it does not, or nothing is claimed, the files of the page that is asked for get a HEAD each, at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant, SystemTime};

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt};

use super::client::{Answer, Request};
use super::files::{Files, Found};
use super::index::{Entry, Index, PROPFIND, parse_dav, parse_html, parse_json};
use super::redirect::failure;
use super::version::{Told, http_date};
use crate::store::{ErrorKind, ListPage, ListRequest, ObjectMeta, Result, StoreError};

/// An index that is longer is none: some 80,000 entries.
const MAX_INDEX: usize = 8 << 20;

/// An index that takes longer than this to arrive is an error.
const INDEX_TIMEOUT: Duration = Duration::from_secs(30);

/// HEADs at once: a page of 1,000 files takes some 30 round trips.
const HEADS_AT_ONCE: usize = 32;

/// Indexes that are kept may take so much memory, about.
const MAX_KEPT: u64 = 64 << 20;

/// What an entry takes beside its name, in bytes, about.
const ENTRY: usize = 200;

/// How long an index is kept for the pages that follow the first one.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// An index that is as fresh as this answers look-ups as well: those of one `ls -l` come in a burst.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// How long the answer to a HEAD counts for further listings, such as one that is repeated since it took too long.
const HEADS_KEPT_FOR: Duration = Duration::from_secs(10);

/// The most HEADs that are kept.
const MAX_HEADS: u64 = 20_000;

/// A page reads no more folders than this, so that a tree without files, or without end, costs what a page may.
const MAX_FOLDERS: usize = 100;

/// Symbolic links on the server can make a tree without end.
const MAX_DEPTH: usize = 40;

/// What is known of the server's folders.
#[derive(Debug)]
pub struct Listings {
    files: Arc<Files>,
    folders: moka::sync::Cache<String, Arc<Folder>>,
    heads: moka::sync::Cache<String, Arc<ObjectMeta>>,
    index: AtomicU8,
    claims: AtomicU8,
}

/// What [`Listings::claims`] holds.
const UNKNOWN: u8 = 0;
const EXACT: u8 = 1;
const WRONG: u8 = 2;

/// The values of [`Listings::index`] from 1 on.
const INDEXES: [Index; 3] = [Index::Json, Index::Dav, Index::Html];

/// The index of a folder.
#[derive(Debug)]
struct Folder {
    read: Instant,
    /// The clock of the server then.
    date: Option<SystemTime>,
    /// By the end of the key: the name of a folder has its `/`.
    entries: BTreeMap<String, Entry>,
}

/// A page that is being filled.
struct Filling<'a> {
    request: &'a ListRequest,
    keys: Vec<(String, Listed)>,
    folders: usize,
    is_full: bool,
}

enum Listed {
    Folder,
    /// With what is claimed of it.
    File(Option<Told>),
}

impl Listings {
    /// Nothing is known yet of the folders that `files` are in.
    pub fn new(files: Arc<Files>) -> Self {
        let weigh = |_: &String, folder: &Arc<Folder>| {
            let bytes: usize = folder.entries.keys().map(|name| ENTRY + 2 * name.len()).sum();
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        Self {
            files,
            folders: moka::sync::Cache::builder().max_capacity(MAX_KEPT).time_to_live(KEPT_FOR).weigher(weigh).build(),
            heads: moka::sync::Cache::builder().max_capacity(MAX_HEADS).time_to_live(HEADS_KEPT_FOR).build(),
            index: AtomicU8::new(0),
            claims: AtomicU8::new(UNKNOWN),
        }
    }

    /// The index that the server has, once that is known.
    pub fn index(&self) -> Option<Index> {
        INDEXES.get(usize::from(self.index.load(Ordering::Relaxed)).checked_sub(1)?).copied()
    }

    /// Whether what the index claims of files is not what a HEAD tells.
    pub fn are_wrong(&self) -> bool {
        self.claims.load(Ordering::Relaxed) == WRONG
    }

    /// A file was looked up.
    pub fn note(&self, object: &ObjectMeta) {
        self.heads.insert(object.key.clone(), Arc::new(object.clone()));
    }

    fn learn(&self, index: Index) {
        let number = INDEXES.iter().position(|known| *known == index).map_or(0, |place| place + 1);
        if self.index.swap(number as u8, Ordering::Relaxed) == 0 {
            tracing::info!(index = index.summary(), "the server's index of folders");
        }
    }

    /// The page that answers a request. Its token is the last key of the page before.
    pub async fn page(&self, request: &ListRequest) -> Result<ListPage> {
        if let Some(key) = self.files.root.only_key() {
            return self.only_page(key, request).await;
        }
        let folder = request.prefix.rfind('/').map_or("", |slash| &request.prefix[..=slash]);
        let mut filling = Filling { request, keys: Vec::new(), folders: 0, is_full: false };
        self.add_folder(&mut filling, folder.to_owned()).await?;
        let continuation = filling.keys.last().map(|(key, _)| key.clone()).filter(|_| filling.is_full);
        let mut page = self.described(filling.keys, &request.prefix, request.delimited).await?;
        page.continuation = continuation;
        Ok(page)
    }

    async fn only_page(&self, key: &str, request: &ListRequest) -> Result<ListPage> {
        let is_meant = key.starts_with(&request.prefix) && request.continuation.is_none();
        let objects = if is_meant { vec![self.look_up(key).await?] } else { Vec::new() };
        Ok(ListPage { objects, ..ListPage::default() })
    }

    /// Adds the keys in a folder, in order.
    fn add_folder<'a>(&'a self, filling: &'a mut Filling<'_>, folder: String) -> BoxFuture<'a, Result<()>> {
        async move {
            let request = filling.request;
            filling.folders += 1;
            let Some(index) = self.folder(&folder, request.continuation.is_some()).await? else { return Ok(()) };
            // Below the folder that the prefix is in, all names count.
            let stem = request.prefix.strip_prefix(&folder).unwrap_or_default();
            let after = request.continuation.as_deref().and_then(|last| last.strip_prefix(&folder)).unwrap_or_default();
            let after = after.find('/').map_or(after, |slash| &after[..=slash]);
            let names = index.entries.range(stem.max(after).to_owned()..);
            for (name, entry) in names.take_while(|(name, _)| name.starts_with(stem)) {
                // The last key of the page before. A folder in which that is has others.
                if **name == *after && (request.delimited || !entry.is_folder) {
                    continue;
                }
                if filling.keys.len() == usize::from(request.max_keys) {
                    filling.is_full = true;
                }
                if filling.is_full {
                    return Ok(());
                }
                let key = format!("{folder}{name}");
                match entry.is_folder {
                    true if request.delimited => filling.keys.push((key, Listed::Folder)),
                    true if filling.folders == MAX_FOLDERS => {
                        filling.keys.push((key, Listed::Folder));
                        filling.is_full = true;
                    }
                    true if key.matches('/').count() > MAX_DEPTH => {}
                    true => self.add_folder(filling, key).await?,
                    false => {
                        let told = entry.told.clone().map(|told| Told { date: index.date, ..told });
                        filling.keys.push((key, Listed::File(told)));
                    }
                }
            }
            Ok(())
        }
        .boxed()
    }

    /// A page of these keys, in whose order they stay.
    async fn described(&self, keys: Vec<(String, Listed)>, wanted: &str, delimited: bool) -> Result<ListPage> {
        self.test_claims(&keys).await;
        let is_exact = self.claims.load(Ordering::Relaxed) == EXACT;
        let mut known = BTreeMap::new();
        let mut unknown = Vec::new();
        for (key, listed) in &keys {
            let Listed::File(told) = listed else { continue };
            let claimed = told.as_ref().filter(|_| is_exact).and_then(|told| claim(key, told));
            match claimed.or_else(|| self.heads.get(key).map(|head| (*head).clone())) {
                Some(object) => drop(known.insert(key.clone(), Ok(Found::File(object)))),
                None => unknown.push(key.clone()),
            }
        }
        known.extend(self.look_up_all(unknown).await);
        let mut page = ListPage::default();
        for (key, listed) in keys {
            match (listed, known.remove(&key)) {
                (Listed::Folder, _) if delimited => page.prefixes.push(key),
                (Listed::File(_), Some(Ok(Found::File(object)))) => page.objects.push(object),
                (Listed::File(_), Some(Ok(Found::Folder))) if delimited => page.prefixes.push(key + "/"),
                (_, Some(Ok(Found::Sizeless))) => page.senseless.push(key),
                // It has gone since the index was written.
                (_, Some(Err(error))) if error.kind == ErrorKind::NotFound => {}
                // Among others; a look-up asks for this one, and an error is no answer that it is not there.
                (_, Some(Err(error))) if error.kind == ErrorKind::AccessDenied && key != wanted => {
                    page.senseless.push(key)
                }
                (_, Some(Err(error))) => return Err(error),
                (Listed::Folder | Listed::File(_), _) => {}
            }
        }
        page.prefixes.sort_unstable();
        page.prefixes.dedup();
        Ok(page)
    }

    /// Compares what the index claims of the first of these files with what a HEAD tells, once.
    async fn test_claims(&self, keys: &[(String, Listed)]) {
        let claims = &self.claims;
        let mut claimed = keys.iter().filter_map(|(key, listed)| match listed {
            Listed::File(Some(told)) => claim(key, told),
            Listed::File(None) | Listed::Folder => None,
        });
        let Some(claimed) = claimed.next().filter(|_| claims.load(Ordering::Relaxed) == UNKNOWN) else { return };
        let Ok(object) = self.look_up(&claimed.key).await else { return };
        let found = if object.is_same(&claimed) { EXACT } else { WRONG };
        if claims.swap(found, Ordering::Relaxed) == UNKNOWN && found == WRONG {
            tracing::info!(
                "the server's index tells other sizes, times or ETags than its files: each one is asked for"
            );
        }
    }

    /// What HEADs tell of keys.
    async fn look_up_all(&self, keys: Vec<String>) -> Vec<(String, Result<Found>)> {
        let told: Vec<_> = self.ask_all(keys).await;
        // Those that were changed a moment ago have to wait, all of them together.
        let wait = told.iter().filter_map(|(_, told)| told.as_ref().ok()?.as_ref()?.unsettled_for()).max();
        let (again, mut found): (Vec<_>, Vec<_>) =
            told.into_iter().partition(|(_, told)| matches!(told, Ok(Some(told)) if told.unsettled_for().is_some()));
        if let Some(wait) = wait {
            tokio::time::sleep(wait).await;
            found.extend(self.ask_all(again.into_iter().map(|(key, _)| key).collect()).await);
        }
        found.into_iter().map(|(key, told)| (key.clone(), told.and_then(|told| self.found(&key, told)))).collect()
    }

    async fn ask_all(&self, keys: Vec<String>) -> Vec<(String, Result<Option<Told>>)> {
        let asked = stream::iter(keys).map(|key| async move {
            let told = self.files.told_of(&key).await;
            (key, told)
        });
        asked.buffer_unordered(HEADS_AT_ONCE).collect().await
    }

    fn found(&self, key: &str, told: Option<Told>) -> Result<Found> {
        let Some(told) = told else { return Ok(Found::Folder) };
        let Some(object) = told.object(key) else { return Ok(Found::Sizeless) };
        self.note(&object);
        Ok(Found::File(object))
    }

    /// What a HEAD tells of a file, once its time says which content it is.
    pub async fn look_up(&self, key: &str) -> Result<ObjectMeta> {
        let found = self.look_up_all(vec![key.to_owned()]).await.pop().map(|(_, found)| found);
        match found.unwrap_or(Ok(Found::Folder))? {
            Found::File(object) => Ok(object),
            Found::Sizeless => {
                let what = format!("HEAD {}: the server does not tell the size", self.files.root.shown(key));
                Err(StoreError::new(ErrorKind::Invalid, what))
            }
            Found::Folder => Err(self.files.absent("HEAD", key)),
        }
    }

    /// The index of a folder; none if there is no such folder.
    async fn folder(&self, folder: &str, is_continued: bool) -> Result<Option<Arc<Folder>>> {
        if let Some(known) = self.folders.get(folder)
            && (is_continued || known.read.elapsed() < FRESH_FOR)
        {
            return Ok(Some(known));
        }
        let name = format!("LIST {}", self.files.root.shown(folder));
        let read = Instant::now();
        let late = |_| StoreError::new(ErrorKind::Timeout, format!("{name}: the index does not arrive in time"));
        let arrived = tokio::time::timeout(INDEX_TIMEOUT, self.index_of(&name, folder)).await.map_err(late)?;
        let Some((entries, date)) = arrived? else {
            return match folder {
                "" => Err(StoreError::new(ErrorKind::NotFound, format!("{name}: there is no such folder"))),
                _ => Ok(None),
            };
        };
        let key_end = |entry: &Entry| format!("{}{}", entry.name, if entry.is_folder { "/" } else { "" });
        let entries = entries.into_iter().map(|entry| (key_end(&entry), entry)).collect();
        let index = Arc::new(Folder { read, date, entries });
        self.folders.insert(folder.to_owned(), index.clone());
        Ok(Some(index))
    }

    async fn index_of(&self, name: &str, folder: &str) -> Result<Option<(Vec<Entry>, Option<SystemTime>)>> {
        let Some(url) = self.files.root.folder(folder) else { return Ok(None) };
        if self.index() == Some(Index::Dav)
            && let Some(listed) = self.propfind(name, &url).await?
        {
            return Ok(Some(listed));
        }
        let request = Request::new("GET").with("accept", "application/json, text/html;q=0.9, */*;q=0.5");
        let answer = self.files.web.ask(name, &url, &request).await?;
        let (status, date) = (answer.status(), date_of(&answer));
        let is =
            |kind: &str| answer.header("content-type").is_some_and(|told| told.to_ascii_lowercase().contains(kind));
        let (is_json, is_html) = (is("json"), is("html"));
        if status == 200 && is_json {
            let page = answer.into_bytes(name, MAX_INDEX).await?;
            if let Some(entries) = parse_json(&page) {
                self.learn(Index::Json);
                return Ok(Some((entries, date)));
            }
        } else if self.index().is_none()
            && let Some(listed) = self.propfind(name, &url).await?
        {
            self.learn(Index::Dav);
            return Ok(Some(listed));
        } else if status == 200 && is_html {
            let base = answer.url.clone();
            if !is_page_of(&url, &base) {
                let what = format!("{name}: the server leads to another page, such as one for signing in");
                return Err(StoreError::new(ErrorKind::BadResponse, what));
            }
            let page = answer.into_bytes(name, MAX_INDEX).await?;
            self.learn(Index::Html);
            return Ok(Some((parse_html(&base, &page), date)));
        } else if matches!(status, 404 | 410) {
            return Ok(None);
        } else if status != 200 {
            return Err(failure(name, &answer));
        }
        Err(StoreError::new(ErrorKind::Invalid, format!("{name}: what is there is no index of a folder")))
    }

    /// The index of a folder by WebDAV; none where the server does not speak that.
    async fn propfind(&self, name: &str, url: &url::Url) -> Result<Option<(Vec<Entry>, Option<SystemTime>)>> {
        let request = Request::new("PROPFIND").with("depth", "1").with("content-type", "application/xml");
        let answer = self.files.web.ask(name, url, &request.with_body(PROPFIND)).await?;
        match answer.status() {
            207 => {}
            // It does not know the method, or not here.
            200..=299 | 400 | 403 | 404 | 405 | 410 | 411 | 415 | 501 => return Ok(None),
            _ => return Err(failure(name, &answer)),
        }
        let (base, date) = (answer.url.clone(), date_of(&answer));
        let page = answer.into_bytes(name, MAX_INDEX).await?;
        Ok(parse_dav(&base, &page).map(|entries| (entries, date)))
    }
}

/// Whether a page that redirections have led to is that of the folder: of another host, perhaps, but of its name.
fn is_page_of(folder: &url::Url, page: &url::Url) -> bool {
    let name = |url: &url::Url| url.path().trim_end_matches('/').rsplit('/').next().map(str::to_owned);
    folder == page || page.path().ends_with('/') && name(folder) == name(page)
}

fn date_of(answer: &Answer) -> Option<SystemTime> {
    answer.header("date").and_then(http_date)
}

/// What an index claims of a file, if it is all that a HEAD would tell.
fn claim(key: &str, told: &Told) -> Option<ObjectMeta> {
    let is_complete = told.modified.is_some() && told.date.is_some() && told.unsettled_for().is_none();
    told.object(key).filter(|_| is_complete)
}
