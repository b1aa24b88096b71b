//! From paths to nodes: which names exist, in as few rounds of requests as a path can be found with.
//!
//! The kernel asks for a path one component after the other. A look-up asks for the keys that begin with
//! `directory/name`, which tells whether the name is a file, a directory or nothing. What is likely to be wanted next is
//! asked for in the same round, without waiting for it:
//!
//! - the first page of what may be a directory, and the names in it that begin like its own, as archives name datasets
//!   (`jw01783/jw01783004007/jw01783004007_02101_...`): a speculative listing. It answers for the next component, or for
//!   the one after it, without a round. A name that is answered from memory causes none: the look-up of the next
//!   component comes at once, and asks for itself.
//! - the head of what may be a FITS file ([`Peeks`]).
//!
//! With the second name that is looked up in a directory its own listing goes on behind (a path that only leads through
//! it does not need it); once complete it answers all further look-ups of that directory until it is too old. Where the
//! store refuses to list, names are tried by HEAD and directories are assumed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::course::Course;
use super::entry::{self, Entry, Node, Page};
use super::known::{Answer, Known};
use super::listing::{Again, Listing};
use super::listings::Listings;
use super::marks::Mark;
use super::told::Told;
use crate::cache::names::{Recall, Remembered};
use crate::metrics::Metrics;
use crate::read::Class;
use crate::store::{ErrorKind, ListPage, ListRequest, ObjectMeta, Result, StoreError, Version};
use crate::tree::Ttl;
use crate::tree::peek::{Ahead, Peek, Peeks};
use crate::tree::{self, is_name, split};

/// Entries of a page of a directory's listing (the most that S3 gives, API page ListObjectsV2).
const PAGE: u16 = 1000;

/// Speculative LISTs in flight: those of as many programs as look paths up at once. What does not get through is asked for
/// when it is looked up.
const MAX_SPECULATIVE: usize = 16;

/// A speculative LIST was sent with the look-up of its directory, which has been answered: it is due, unless its page takes
/// longer. So much of the time since then is worth the wait, up to this.
const GRACE_DIVISOR: u32 = 2;
const MAX_GRACE: Duration = Duration::from_millis(50);

/// The shortest names of datasets that archives have: `j8pu`, a program of HST.
const MIN_DATASET_NAME: usize = 4;

/// What names may take in memory, as shares of what data may take, and at least so many bytes: listings; names that were
/// looked up one by one; and three times what is noted of some directories and files.
const LISTINGS_DIVISOR: u64 = 4;
const NAMES_DIVISOR: u64 = 16;
const NOTES_DIVISOR: u64 = 64;
const MIN_SHARE: u64 = 1 << 20;

/// What a name takes beside its text in a cache of crate moka, in bytes, about, and what an object that it stands for takes.
const NAME: usize = 256;
const OBJECT: usize = 256;

/// A listing that waits for readers looks at least so rarely whether there can still be any.
const MIN_LOOK_AGAIN: Duration = Duration::from_millis(500);

/// The names of a bucket.
#[derive(Debug)]
pub struct Namespace {
    /// What is asked, and what was.
    source: Remembered,
    ttl: Ttl,
    names: moka::future::Cache<String, Told>,
    listings: Listings,
    /// What was listed as empty, as it is.
    empty: moka::future::Cache<(String, Version), Arc<ObjectMeta>>,
    /// Directories in which a name has been looked up.
    visited: moka::sync::Cache<Arc<str>, ()>,
    /// Directories that the store has refused to list, which may differ and may change.
    unlistable: moka::sync::Cache<Arc<str>, ()>,
    /// Whether any LIST has been answered: where none is, none is tried in advance.
    listable: AtomicBool,
    speculative: Arc<Semaphore>,
    peeks: Arc<Peeks>,
    metrics: Arc<Metrics>,
    runtime: Handle,
}

/// What a look-up has found.
type Found = tree::Found<Arc<ObjectMeta>>;

/// The head of a file beside its look-up: on its way, or known to be that of the file.
#[derive(Default)]
struct Beside {
    peek: Option<Peek>,
    ahead: Option<Ahead>,
}

impl Beside {
    /// With what the name turned out to be.
    fn with(self, node: Node) -> Found {
        let Self { peek, ahead } = self;
        let ahead = match &node {
            Node::File(object) => ahead.or_else(|| peek.map(|peek| peek.of(object))),
            Node::Directory => None,
        };
        Found { node, head: ahead }
    }
}

impl From<Node> for Found {
    fn from(node: Node) -> Self {
        Self { node, head: None }
    }
}

impl Namespace {
    /// The names in a store, valid for `ttl`, on a mount whose data may take so many bytes of memory.
    pub fn new(
        source: Remembered,
        ttl: Ttl,
        memory: u64,
        peeks: Arc<Peeks>,
        metrics: Arc<Metrics>,
        runtime: Handle,
    ) -> Arc<Self> {
        let share = |divisor: u64| (memory / divisor).max(MIN_SHARE);
        let names = moka::future::Cache::builder()
            .max_capacity(share(NAMES_DIVISOR))
            .weigher(|key: &String, told: &Told| weight(key, told.node.is_some()))
            .expire_after(ttl);
        let empty = moka::future::Cache::builder()
            .max_capacity(share(NOTES_DIVISOR))
            .weigher(|(key, _): &(String, Version), _| weight(key, true))
            .time_to_live(ttl.positive);
        let directories = || {
            let cache = moka::sync::Cache::builder().max_capacity(share(NOTES_DIVISOR)).time_to_live(ttl.positive);
            cache.weigher(|prefix: &Arc<str>, ()| weight(prefix, false)).build()
        };
        Arc::new(Self {
            peeks,
            source,
            ttl,
            names: names.build(),
            listings: Listings::new(ttl, usize::try_from(share(LISTINGS_DIVISOR)).unwrap_or(usize::MAX)),
            empty: empty.build(),
            visited: directories(),
            unlistable: directories(),
            listable: AtomicBool::new(false),
            speculative: Arc::new(Semaphore::new(MAX_SPECULATIVE)),
            metrics,
            runtime,
        })
    }

    /// How long names are valid.
    pub fn ttl(&self) -> Ttl {
        self.ttl
    }

    /// What the name in the directory `prefix` is. Waits for one LIST at the most (two where more than a page of names
    /// that sort before `name/` begin with it).
    pub async fn look_up(self: &Arc<Self>, prefix: &Arc<str>, name: &str) -> Result<Option<Found>> {
        match self.look_up_as_listed(prefix, name).await? {
            Some(Found { node: Node::File(object), .. }) if object.size == 0 => {
                Ok(Some(Node::File(self.look_again(&object).await).into()))
            }
            found => Ok(found),
        }
    }

    /// What is listed as empty: some stores list so what has bytes. It is asked for once. What cannot be asked for is what
    /// the listing says.
    pub async fn look_again(&self, object: &Arc<ObjectMeta>) -> Arc<ObjectMeta> {
        let (key, version) = (object.key.clone(), object.version.clone());
        let head = async { self.source.head(&key).await.map(|(object, _)| Arc::new(object)) };
        let seen = self.empty.try_get_with((key.clone(), version), head).await;
        seen.unwrap_or_else(|error: Arc<StoreError>| {
            tracing::debug!(key, %error, "a file that is listed as empty cannot be looked at again");
            object.clone()
        })
    }

    async fn look_up_as_listed(self: &Arc<Self>, prefix: &Arc<str>, name: &str) -> Result<Option<Found>> {
        if !is_name(name) {
            return Ok(None);
        }
        let beside = Mutex::default();
        let Some(listing) = self.listing_behind(prefix) else {
            let node = self.look_up_key(prefix, name, &beside).await?;
            return Ok(node.map(|node| beside.into_inner().with(node)));
        };
        if listing.is_speculative() && listing.answer(name) == Answer::Unknown {
            let grace = (listing.under_way() / GRACE_DIVISOR).min(MAX_GRACE);
            // Over or not, what it says now counts.
            let _ = tokio::time::timeout(grace, listing.asked_in_advance(name)).await;
        }
        match listing.answer(name) {
            Answer::Is(node) => return Ok(Some(node.into())),
            Answer::IsNot if !self.is_outdated(&listing) => return Ok(None),
            Answer::IsNot => self.drop_listing(prefix).await,
            Answer::Unknown => {}
        }
        let node = tokio::select! {
            answer = self.look_up_key(prefix, name, &beside) => answer?,
            node = self.known(&listing, name) => node,
        };
        Ok(node.map(|node| beside.into_inner().with(node)))
    }

    /// The listing that may answer a look-up in `prefix`: one that is there, or, from the second look-up on, one that
    /// goes on by itself.
    fn listing_behind(self: &Arc<Self>, prefix: &Arc<str>) -> Option<Arc<Listing>> {
        if self.unlistable.contains_key(prefix) {
            return None;
        }
        let first = self.visited.entry(prefix.clone()).or_insert(()).is_fresh();
        if first { self.listings.get(prefix) } else { Some(self.listing(prefix)) }
    }

    /// A speculative listing says what is there, but what is not there only for as long as any missing name
    /// is valid: a program that waits for a file shall not have to wait longer because the way to it was known. One
    /// that was remembered for longer than that is a listing like any other.
    fn is_outdated(&self, listing: &Listing) -> bool {
        listing.is_speculative() && listing.age() >= self.ttl.negative && listing.age_at_first() < self.ttl.negative
    }

    /// Waits until a listing knows the name for sure; for ever if it ends without knowing.
    async fn known(&self, listing: &Listing, name: &str) -> Option<Node> {
        match listing.answered(name).await {
            Answer::Is(node) => Some(node),
            Answer::IsNot if !self.is_outdated(listing) => None,
            Answer::IsNot | Answer::Unknown => std::future::pending().await,
        }
    }

    /// What a key is: asked once however many wait for it, and remembered. The head of a file goes to the look-up that asked.
    async fn look_up_key(
        self: &Arc<Self>,
        prefix: &Arc<str>,
        name: &str,
        beside: &Mutex<Beside>,
    ) -> Result<Option<Node>> {
        let key = format!("{prefix}{name}");
        let asked = self.names.try_get_with(key.clone(), self.ask(prefix, &key, beside)).await;
        asked.map(|told| told.node).map_err(|error: Arc<StoreError>| (*error).clone())
    }

    /// The listing of the directory `prefix`, growing while it is read.
    pub fn listing(self: &Arc<Self>, prefix: &Arc<str>) -> Arc<Listing> {
        let most = self.listings.most_of_one();
        let make = || Listing::new(prefix, self.lists_in_order(), most);
        let (listing, is_fresh) = self.listings.get_or_make(prefix, make);
        if is_fresh {
            self.start(prefix, &listing, None);
        }
        listing.grow();
        listing
    }

    /// The speculative listing of a directory that no program has entered yet, and whether it is to be started.
    fn listing_ahead(&self, prefix: &Arc<str>) -> (Arc<Listing>, bool) {
        let most = self.listings.most_of_one();
        self.listings.get_or_make(prefix, || Listing::speculative(prefix, self.lists_in_order(), most))
    }

    /// Up to `count` entries of a listing of the directory `prefix` from position `start`; none at its end.
    pub async fn entries(&self, prefix: &str, listing: &Listing, start: usize, count: usize) -> Result<Vec<Entry>> {
        match listing.entries(start, count).await? {
            Some(entries) => Ok(entries),
            None => self.entries_again(prefix, listing, start, count).await,
        }
    }

    /// Entries that a listing has dropped: the store is asked for their page again.
    async fn entries_again(&self, prefix: &str, listing: &Listing, start: usize, count: usize) -> Result<Vec<Entry>> {
        let mut again = listing.again().lock().await;
        let holds = |again: &Again| (again.position..again.position + again.entries.len()).contains(&start);
        if !again.as_ref().is_some_and(holds) {
            *again = self.page_again(prefix, listing, start).await?;
        }
        let Some(Again { position, entries }) = &*again else { return Ok(Vec::new()) };
        Ok(entries.iter().skip(start - position).take(count).cloned().collect())
    }

    /// The page with the entry at position `start`; none if the listing ends before, since there is less now.
    async fn page_again(&self, prefix: &str, listing: &Listing, start: usize) -> Result<Option<Again>> {
        let Mark { mut position, token } = listing.mark(start);
        let mut token = token.map(String::from);
        let mut course = Course::default();
        loop {
            let (page, _) = self.page(&request(prefix.to_owned(), PAGE, token)).await?;
            token = page.continuation.clone();
            let mut known = Known::new(prefix, "", self.lists_in_order());
            known.append(entry::page(prefix, page));
            let entries = known.from(0, known.entries().end());
            if start < position + entries.len() {
                return Ok(Some(Again { position, entries }));
            }
            position += entries.len();
            course.go_on(entries.len(), token.clone()).map_err(|reason| self.without_progress(prefix, &reason))?;
            if token.is_none() {
                return Ok(None);
            }
        }
    }

    fn start(self: &Arc<Self>, prefix: &Arc<str>, listing: &Arc<Listing>, slot: Option<OwnedSemaphorePermit>) {
        let (names, prefix, listing) = (self.clone(), prefix.clone(), listing.clone());
        self.runtime.spawn(async move { names.fill(&prefix, &listing, slot).await });
    }

    /// Asks for the first names in what may be a directory, and for those that begin like its own. Beside a look-up that
    /// is answered from memory only for what is, too.
    async fn list_ahead(self: &Arc<Self>, key: &str, from_memory: bool) {
        let in_vain = !self.source.store().allows_ahead(0)
            || has_file_ending(key)
            || self.ttl.positive.is_zero()
            || !self.listable.load(Ordering::Relaxed);
        let directory: Arc<str> = format!("{key}/").into();
        if in_vain || self.unlistable.contains_key(&directory) || self.listings.contains(&directory) {
            return;
        }
        let is_due = async |request: ListRequest| !from_memory || self.source.recalls(&request).await == Recall::Answer;
        if !is_due(request(directory.to_string(), PAGE, None)).await {
            return;
        }
        let Ok(slot) = self.speculative.clone().try_acquire_owned() else { return };
        let (listing, is_fresh) = self.listing_ahead(&directory);
        if !is_fresh {
            return;
        }
        self.start(&directory, &listing, Some(slot));
        let name = key.rsplit('/').next().unwrap_or(key);
        if names_a_dataset(name)
            && is_due(request(format!("{directory}{name}"), PAGE, None)).await
            && let Ok(slot) = self.speculative.clone().try_acquire_owned()
        {
            listing.expect_alike();
            let (names, stem) = (self.clone(), name.to_owned());
            self.runtime.spawn(async move {
                listing.settle_alike(names.alike(&directory, &stem).await);
                // The first page may still be to come, and does the same.
                if !listing.is_empty() {
                    names.listings.grew(&directory, &listing, 0);
                }
                drop(slot);
            });
        }
    }

    /// The names in a directory that begin with a stem, as far as one page shows them.
    async fn alike(&self, directory: &str, stem: &str) -> Option<(Known, Duration)> {
        let page = self.page(&request(format!("{directory}{stem}"), PAGE, None)).await;
        let (page, age) =
            page.inspect_err(|error| tracing::debug!(directory, stem, %error, "a speculative LIST failed")).ok()?;
        let mut known = Known::new(directory, stem, self.lists_in_order());
        known.append(entry::page(directory, page));
        Some((known, age))
    }

    /// The file that a program will look up next, or one that is named alike in that directory, if the first page of its
    /// listing shows it. Costs one LIST if there is such a file, two at most, and none while as many are under way as may
    /// be.
    pub async fn foresee(self: &Arc<Self>, key: &str) -> Option<Arc<ObjectMeta>> {
        let (prefix, name) = split(key);
        let prefix: Arc<str> = prefix.into();
        let in_vain = self.ttl.positive.is_zero() || !self.source.store().allows_ahead(0);
        if in_vain || self.unlistable.contains_key(&prefix) {
            return None;
        }
        let slot = self.speculative.clone().try_acquire_owned().ok()?;
        if self.listings.get(&prefix).is_none() {
            // A directory may have more names than a page shows.
            let look_up = request(key.to_owned(), ListRequest::LOOK_UP, None);
            let told = self.names.try_get_with(key.to_owned(), self.ask_by_list(&look_up)).await;
            if let Ok(Told { node: Some(Node::File(object)), .. }) = told {
                return Some(object);
            }
        }
        let (listing, is_fresh) = self.listing_ahead(&prefix);
        if is_fresh {
            self.start(&prefix, &listing, Some(slot));
        }
        listing.asked_in_advance(name).await;
        match listing.answer(name) {
            Answer::Is(Node::File(object)) => Some(object),
            _ => {
                let class = Class::of(name);
                listing.find_file(|name| class.is_of(name))
            }
        }
    }

    /// The listing of the directory `prefix` as far as it is there; asks for nothing.
    pub fn listed(&self, prefix: &str) -> Option<Arc<Listing>> {
        self.listings.get(prefix)
    }

    /// Forgets what is known of a key and its directory: it has turned out to be another version.
    pub async fn invalidate(&self, key: &str) {
        self.names.invalidate(key).await;
        self.drop_listing(split(key).0).await;
    }

    /// Drops the listing of a directory, and what the store remembers of it: the next one is a new one.
    async fn drop_listing(&self, prefix: &str) {
        self.listings.invalidate(prefix);
        self.source.forget(prefix).await;
    }

    /// Asks the store what a key in the directory `prefix` is, and at the same time for what is likely to be wanted next.
    async fn ask(self: &Arc<Self>, prefix: &Arc<str>, key: &str, beside: &Mutex<Beside>) -> Result<Told> {
        let look_up = request(key.to_owned(), ListRequest::LOOK_UP, None);
        let recall = self.source.recalls(&look_up).await;
        // The head of a file that was seen before is likely to be cached.
        if recall == Recall::Nothing {
            beside.lock().peek = self.peeks.send(self.source.store(), key);
        }
        if self.unlistable.contains_key(prefix) {
            return self.try_key(key, beside).await;
        }
        if recall != Recall::Answer
            && let Some(listing) = self.listings.get(prefix)
        {
            listing.earn();
        }
        self.list_ahead(key, recall == Recall::Answer).await;
        match self.ask_by_list(&look_up).await {
            Err(error) if error.kind == ErrorKind::AccessDenied => {
                self.unlistable.insert(prefix.clone(), ());
                self.try_key(key, beside).await
            }
            answer => answer,
        }
    }

    async fn ask_by_list(&self, look_up: &ListRequest) -> Result<Told> {
        let (key, directory) = (&look_up.prefix, format!("{}/", look_up.prefix));
        let (page, age) = self.page_with_names(look_up).await?;
        let within = page.prefixes.contains(&directory);
        let last = page.objects.last().map(|object| &object.key).max(page.prefixes.last());
        let beyond = page.continuation.is_some() && last.is_some_and(|last| *last < directory);
        let below = if beyond && !within { self.below(&directory).await? } else { None };
        let age = age.max(below.unwrap_or_default());
        if within || below.is_some() {
            return Ok(Told { node: Some(Node::Directory), age });
        }
        let file = page.objects.into_iter().find(|object| object.key == *key);
        Ok(Told { node: file.map(|object| Node::File(Arc::new(object))), age })
    }

    /// How long ago the store has told that there are names in a directory, if there are.
    async fn below(&self, directory: &str) -> Result<Option<Duration>> {
        let (page, age) = self.page_with_names(&request(directory.to_owned(), 1, None)).await?;
        Ok((!page.objects.is_empty() || !page.prefixes.is_empty()).then_some(age))
    }

    /// Without listing: what answers HEAD is a file; of the other names those that look like a directory's are one.
    async fn try_key(&self, key: &str, beside: &Mutex<Beside>) -> Result<Told> {
        match self.object(key, beside).await {
            Ok((object, age)) => Ok(Told { node: Some(Node::File(Arc::new(object))), age }),
            Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::AccessDenied) => {
                let directory = !has_file_ending(key);
                let node = directory.then_some(Node::Directory);
                Ok(Told { node, age: Duration::ZERO })
            }
            Err(error) => Err(error),
        }
    }

    /// What a peek on its way tells of an object, or else a HEAD: archived objects have one, too.
    async fn object(&self, key: &str, beside: &Mutex<Beside>) -> Result<(ObjectMeta, Duration)> {
        let peek = beside.lock().peek.take();
        if let Some(peek) = peek {
            match peek.object().await {
                Ok((object, head)) => {
                    beside.lock().ahead = Some(head);
                    return Ok((object, Duration::ZERO));
                }
                Err(error) if error.kind == ErrorKind::Archived => {}
                Err(error) => return Err(error),
            }
        }
        self.source.head(key).await
    }

    /// Lists a directory: some pages at once, the others as far as programs want them. The slot is for the first page.
    async fn fill(&self, prefix: &str, listing: &Arc<Listing>, mut slot: Option<OwnedSemaphorePermit>) {
        let mut course = Course::default();
        while self.is_wanted(listing).await {
            match self.page(&request(prefix.to_owned(), PAGE, course.token().map(str::to_owned))).await {
                Ok((page, age)) => {
                    let next = page.continuation.clone();
                    let page = Page { age, ..entry::page(prefix, page) };
                    page.skipped.iter().for_each(|key| self.metrics.skipped.note(key));
                    let added = listing.append(page, next.as_deref());
                    self.listings.grew(prefix, listing, added.bytes);
                    if let Err(reason) = course.go_on(added.entries, next) {
                        return self.end_without_progress(prefix, listing, &reason).await;
                    }
                }
                Err(error) => {
                    // A program that enters the directory asks again, so a speculative failure is no warning.
                    match listing.is_speculative() {
                        true => tracing::debug!(prefix, %error, "a speculative LIST failed"),
                        false => tracing::warn!(prefix, %error, "cannot list a directory"),
                    }
                    self.listings.invalidate(prefix);
                    return listing.fail(error);
                }
            }
            drop(slot.take());
            if course.token().is_none() {
                return;
            }
        }
    }

    /// A listing comes to no end. What was remembered of it would not either.
    async fn end_without_progress(&self, prefix: &str, listing: &Listing, reason: &str) {
        let error = self.without_progress(prefix, reason);
        tracing::warn!(prefix, "{error}");
        self.drop_listing(prefix).await;
        listing.fail(error);
    }

    fn without_progress(&self, prefix: &str, reason: &str) -> StoreError {
        let message = format!("LIST {}: a listing without progress: {reason}", self.source.store().url(prefix));
        StoreError::new(ErrorKind::BadResponse, message)
    }

    /// Waits until a program wants the rest of a listing; false once all have let go of it.
    async fn is_wanted(&self, listing: &Arc<Listing>) -> bool {
        let look_again = self.ttl.positive.max(MIN_LOOK_AGAIN);
        while Arc::strong_count(listing) > 1 {
            if tokio::time::timeout(look_again, listing.wanted()).await.is_ok() {
                return true;
            }
        }
        false
    }

    fn lists_in_order(&self) -> bool {
        self.source.store().capabilities().ordered_listings
    }

    /// The first page with a name, or the last one, and the age of the oldest that was asked for: where much was deleted,
    /// stores have pages without one.
    async fn page_with_names(&self, request: &ListRequest) -> Result<(ListPage, Duration)> {
        let (mut request, mut course, mut oldest) = (request.clone(), Course::default(), Duration::ZERO);
        loop {
            let (page, age) = self.page(&request).await?;
            oldest = oldest.max(age);
            if page.continuation.is_none() || !page.objects.is_empty() || !page.prefixes.is_empty() {
                return Ok((page, oldest));
            }
            course.go_on(0, page.continuation).map_err(|reason| self.without_progress(&request.prefix, &reason))?;
            request.continuation = course.token().map(str::to_owned);
        }
    }

    /// A page of keys, and its age.
    async fn page(&self, request: &ListRequest) -> Result<(ListPage, Duration)> {
        let page = self.source.list(request).await;
        self.listable.fetch_or(page.is_ok(), Ordering::Relaxed);
        page.iter().flat_map(|(page, _)| &page.senseless).for_each(|key| self.metrics.bad_entries.note(key));
        page
    }
}

/// What a cache of names counts for one, in bytes.
fn weight(key: &str, is_object: bool) -> u32 {
    // An object has its key once more.
    let bytes = if is_object { NAME + OBJECT + 2 * key.len() } else { NAME + key.len() };
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

fn request(prefix: String, max_keys: u16, continuation: Option<String>) -> ListRequest {
    ListRequest { prefix, delimited: true, max_keys, continuation }
}

/// Whether a directory's name looks like that of a dataset, which names in it repeat: it has digits (`jw01783`, `j8pu`,
/// not `public` nor `L3`).
fn names_a_dataset(name: &str) -> bool {
    name.len() >= MIN_DATASET_NAME && name.contains(|c: char| c.is_ascii_digit())
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
    fn digits_tell_datasets_from_other_directories() {
        assert!(["jw01783", "j8pu", "0014", "tess2018206045859-s0001"].into_iter().all(names_a_dataset));
        assert!(["public", "L3", "t", "mast"].into_iter().all(|name| !names_a_dataset(name)));
    }
}
