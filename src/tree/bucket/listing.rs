//! The entries of one directory, as far as they have been listed.
//!
//! Pages are only ever appended, so that a position in the listing stays valid while a program walks through the
//! directory. What they show is beside it answered from, also while pages are missing ([`Known`]). The entries of the
//! first pages are dropped where all would take too much memory; [`Marks`] tell how to ask for them again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use tokio::sync::{Mutex as AsyncMutex, Notify, watch};

use super::entry::{Entry, Page};
use super::known::{Answer, Known};
use super::marks::{Mark, Marks};
use crate::store::{ObjectMeta, StoreError};

/// Pages listed without a program waiting for them: directories up to 10,000 entries. Larger ones are listed as far as
/// programs read them, and a page further with each name that has to be asked for.
const BACKGROUND_PAGES: usize = 10;

/// What a listing takes without entries, in bytes, about: itself, and its place among others.
const EMPTY: usize = 1024;

/// A listing that grows page by page.
#[derive(Debug)]
pub struct Listing {
    all: RwLock<Known>,
    /// The names that begin like the directory's own, where they were asked for by themselves.
    alike: RwLock<Option<Known>>,
    /// How many bytes the entries may take.
    most: usize,
    marks: Mutex<Marks>,
    /// The page that was asked for again last.
    again: AsyncMutex<Option<Again>>,
    progress: watch::Sender<Progress>,
    /// How many entries the readers in wait need.
    demanded: Mutex<Vec<usize>>,
    /// How many pages are listed without a program waiting for them.
    free: AtomicUsize,
    resumed: Notify,
    began: Instant,
    remembered: RwLock<Remembered>,
    speculative: bool,
}

/// How much older a listing is than it seems, since some of its pages were remembered.
#[derive(Clone, Copy, Debug, Default)]
struct Remembered {
    /// How old its first page was.
    first: Duration,
    /// How long before the listing began its oldest page was asked for.
    before: Duration,
}

/// How far a listing has come.
#[derive(Clone, Debug, Default)]
struct Progress {
    pages: usize,
    entries: usize,
    /// Whether there is no room for pages that no program waits for.
    full: bool,
    complete: bool,
    failed: Option<StoreError>,
    /// Whether the names that begin like the directory's are on their way.
    alike_awaited: bool,
}

/// Entries of a page that was asked for again.
#[derive(Clone, Debug, Default)]
pub struct Again {
    /// The position of the first one.
    pub position: usize,
    /// The entries.
    pub entries: Vec<Entry>,
}

/// What a page has added to a listing.
#[derive(Clone, Copy, Debug)]
pub struct Added {
    /// Entries that were not there before.
    pub entries: usize,
    /// Bytes that it takes more.
    pub bytes: usize,
}

impl Listing {
    /// The listing of a directory that a program reads or looks names up in. `in_order` says whether the store lists in
    /// the order of the keys. The entries take at most so many bytes.
    pub fn new(prefix: &str, in_order: bool, most: usize) -> Self {
        Self::with(prefix, in_order, most, BACKGROUND_PAGES, false)
    }

    /// The first page of a directory that no program has entered yet, until it is told to [`Listing::grow`].
    pub fn speculative(prefix: &str, in_order: bool, most: usize) -> Self {
        Self::with(prefix, in_order, most, 1, true)
    }

    fn with(prefix: &str, in_order: bool, most: usize, free: usize, speculative: bool) -> Self {
        Self {
            all: RwLock::new(Known::new(prefix, "", in_order)),
            alike: RwLock::default(),
            most,
            marks: Mutex::default(),
            again: AsyncMutex::default(),
            progress: watch::channel(Progress::default()).0,
            demanded: Mutex::default(),
            free: AtomicUsize::new(free),
            resumed: Notify::new(),
            began: Instant::now(),
            remembered: RwLock::default(),
            speculative,
        }
    }

    /// Goes on with a speculative listing as far as any listing goes by itself.
    pub fn grow(&self) {
        if self.free.fetch_max(BACKGROUND_PAGES, Ordering::SeqCst) < BACKGROUND_PAGES {
            self.resumed.notify_one();
        }
    }

    /// A name had to be asked for that a longer listing would have told: as much is listed as was asked for so, so that
    /// a large directory in which many names are looked up costs twice the better way at the most.
    pub fn earn(&self) {
        let one_more = |free| (free >= BACKGROUND_PAGES).then_some(free + 1);
        if self.free.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).is_ok() {
            self.resumed.notify_one();
        }
    }

    /// Whether it was begun before anyone entered the directory.
    pub fn is_speculative(&self) -> bool {
        self.speculative
    }

    /// Since the oldest of its pages was asked for.
    pub fn age(&self) -> Duration {
        self.began.elapsed() + self.remembered.read().before
    }

    /// Since it was begun.
    pub fn under_way(&self) -> Duration {
        self.began.elapsed()
    }

    /// How old it was already when it began.
    pub fn age_at_first(&self) -> Duration {
        self.remembered.read().first
    }

    /// Appends the page that follows. `token` is that of the next one.
    pub fn append(&self, page: Page, token: Option<&str>) -> Added {
        let (complete, age) = (page.complete, page.age);
        if self.progress.borrow().pages == 0 {
            self.remembered.write().first = age;
        }
        self.count_from(age);
        let mut all = self.all.write();
        let (before, bytes) = (all.entries().end(), all.entries().bytes());
        all.append(page);
        all.shrink(self.most);
        let (entries, bytes_now) = (all.entries().end(), all.entries().bytes());
        if let Some(token) = token {
            self.marks.lock().add(entries, token);
        }
        drop(all);
        self.progress.send_modify(|progress| {
            progress.pages += 1;
            progress.entries = entries;
            progress.full = bytes_now > self.most / 2;
            progress.complete = complete;
            progress.failed = None;
        });
        Added { entries: entries - before, bytes: bytes_now.saturating_sub(bytes) }
    }

    /// Drops all entries, to make room. Returns how many bytes they took.
    pub fn drop_entries(&self) -> usize {
        let before = self.bytes();
        self.all.write().shrink(0);
        *self.alike.write() = None;
        before - self.bytes()
    }

    /// Something in it was asked for so long ago.
    fn count_from(&self, age: Duration) {
        let mut remembered = self.remembered.write();
        remembered.before = remembered.before.max(age.saturating_sub(self.began.elapsed()));
    }

    /// The names that begin like the directory's are asked for.
    pub fn expect_alike(&self) {
        self.progress.send_modify(|progress| progress.alike_awaited = true);
    }

    /// They have come, with how long ago they were asked for, or will not.
    pub fn settle_alike(&self, names: Option<(Known, Duration)>) {
        self.count_from(names.as_ref().map_or(Duration::ZERO, |(_, age)| *age));
        *self.alike.write() = names.map(|(known, _)| known);
        self.progress.send_modify(|progress| progress.alike_awaited = false);
    }

    /// Ends the listing: the rest could not be had.
    pub fn fail(&self, error: StoreError) {
        self.progress.send_modify(|progress| progress.failed = Some(error));
    }

    /// What the listing says of a name.
    pub fn answer(&self, name: &str) -> Answer {
        match self.all.read().answer(name) {
            Answer::Unknown => self.alike.read().as_ref().map_or(Answer::Unknown, |alike| alike.answer(name)),
            answer => answer,
        }
    }

    /// Up to `count` entries beyond a name, forwards (1) or backwards (-1); none if the name is not listed.
    pub fn walk(&self, name: &str, direction: isize, count: usize) -> Vec<Entry> {
        let entries = self.all.read().beyond(name, direction, count);
        match (entries.is_empty(), self.alike.read().as_ref()) {
            (true, Some(alike)) => alike.beyond(name, direction, count),
            _ => entries,
        }
    }

    /// The first file whose name is as asked for.
    pub fn find_file(&self, is_wanted: impl Fn(&str) -> bool) -> Option<Arc<ObjectMeta>> {
        self.all.read().entries().find_file(is_wanted)
    }

    /// How much memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        let alike = self.alike.read().as_ref().map_or(0, |alike| alike.entries().bytes());
        EMPTY + self.all.read().entries().bytes() + alike
    }

    /// Whether nothing is listed (yet).
    pub fn is_empty(&self) -> bool {
        self.all.read().entries().end() == 0
    }

    /// Up to `count` entries from position `start`, waiting for the first of them; an empty list at the end of the
    /// directory. None if they are dropped.
    pub async fn entries(&self, start: usize, count: usize) -> Result<Option<Vec<Entry>>, StoreError> {
        let _waiting = Demand::new(self, start + 1);
        self.resumed.notify_one();
        self.settled(|progress| progress.entries > start).await?;
        let all = self.all.read();
        Ok((start >= all.entries().first()).then(|| all.from(start, count)))
    }

    /// The last page that begins at or before a position.
    pub fn mark(&self, position: usize) -> Mark {
        self.marks.lock().before(position)
    }

    /// The page that was asked for again last. One is asked for at a time.
    pub fn again(&self) -> &AsyncMutex<Option<Again>> {
        &self.again
    }

    /// Waits until the listing answers for a name, or is over without an answer.
    pub async fn answered(&self, name: &str) -> Answer {
        let mut progress = self.progress.subscribe();
        loop {
            let over = {
                let progress = progress.borrow_and_update();
                progress.complete || progress.failed.is_some()
            };
            let answer = self.answer(name);
            if over || answer != Answer::Unknown || progress.changed().await.is_err() {
                return answer;
            }
        }
    }

    /// Waits until the listing answers for a name, or has shown all that was asked for in advance.
    pub async fn asked_in_advance(&self, name: &str) {
        let over = |p: &Progress| (p.pages > 0 || p.failed.is_some()) && !p.alike_awaited;
        // The sender is ours.
        let _ = self.progress.subscribe().wait_for(|p| over(p) || self.answer(name) != Answer::Unknown).await;
    }

    /// Waits until another page is to be listed.
    pub async fn wanted(&self) {
        while !self.is_wanted() {
            self.resumed.notified().await;
        }
    }

    fn is_wanted(&self) -> bool {
        let progress = self.progress.borrow();
        let is_demanded = || self.demanded.lock().iter().any(|entries| *entries > progress.entries);
        let is_free = || progress.pages < self.free.load(Ordering::SeqCst) && !progress.full;
        is_free() || is_demanded()
    }

    async fn settled(&self, enough: impl Fn(&Progress) -> bool) -> Result<(), StoreError> {
        let mut progress = self.progress.subscribe();
        let outcome = progress.wait_for(|p| enough(p) || p.complete || p.failed.is_some()).await;
        match outcome.as_deref() {
            Ok(p) if enough(p) || p.complete => Ok(()),
            Ok(Progress { failed: Some(error), .. }) => Err(error.clone()),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

/// A reader waits for so many entries as long as this lives.
struct Demand<'a> {
    listing: &'a Listing,
    entries: usize,
}

impl<'a> Demand<'a> {
    fn new(listing: &'a Listing, entries: usize) -> Self {
        listing.demanded.lock().push(entries);
        Self { listing, entries }
    }
}

impl Drop for Demand<'_> {
    fn drop(&mut self) {
        let mut demanded = self.listing.demanded.lock();
        if let Some(index) = demanded.iter().position(|entries| *entries == self.entries) {
            demanded.swap_remove(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::{ErrorKind, ListPage};
    use crate::tree::Node;
    use crate::tree::bucket::entry;

    const MOST: usize = 1 << 20;

    fn page(directories: &[&str], complete: bool) -> Page {
        let prefixes = directories.iter().map(|name| format!("{name}/")).collect();
        entry::page("", ListPage { prefixes, continuation: (!complete).then(String::new), ..ListPage::default() })
    }

    async fn is_wanted(listing: &Listing) -> bool {
        tokio::time::timeout(Duration::from_millis(1), listing.wanted()).await.is_ok()
    }

    #[tokio::test]
    async fn readers_wait_for_pages_and_hear_of_failures() {
        let listing = Arc::new(Listing::speculative("", true, MOST));
        let reader = tokio::spawn({
            let listing = listing.clone();
            async move { listing.entries(1, 1).await }
        });
        listing.append(page(&["a"], false), None);
        listing.wanted().await;
        listing.fail(StoreError::new(ErrorKind::Server, "500"));
        assert!(reader.await.unwrap().is_err());
    }

    #[tokio::test]
    async fn a_speculative_listing_is_one_page_until_a_program_enters() {
        let listing = Listing::speculative("", true, MOST);
        assert!(is_wanted(&listing).await);
        listing.append(page(&["a"], false), None);
        assert!(!is_wanted(&listing).await);
        listing.grow();
        for page_number in 1..BACKGROUND_PAGES {
            assert!(is_wanted(&listing).await, "page {page_number}");
            listing.append(page(&[&format!("b{page_number:02}")], false), None);
        }
        assert!(!is_wanted(&listing).await);
        assert_eq!(listing.entries(0, 100).await.unwrap().unwrap().len(), BACKGROUND_PAGES);
    }

    #[tokio::test]
    async fn each_name_that_had_to_be_asked_for_earns_a_page() {
        let listing = Listing::speculative("", true, MOST);
        listing.append(page(&["a"], false), None);
        listing.earn();
        assert!(!is_wanted(&listing).await, "no program has entered it");
        listing.grow();
        for n in 1..BACKGROUND_PAGES {
            listing.append(page(&[&format!("b{n:02}")], false), None);
        }
        listing.earn();
        listing.grow();
        assert!(is_wanted(&listing).await);
        listing.append(page(&["c"], false), None);
        assert!(!is_wanted(&listing).await);
    }

    #[tokio::test]
    async fn who_has_gone_wants_no_more_pages() {
        let listing = Listing::speculative("", true, MOST);
        listing.append(page(&["a"], false), None);
        let reader = tokio::time::timeout(Duration::from_millis(1), listing.entries(5, 1));
        let (read, wanted) = tokio::join!(reader, is_wanted(&listing));
        assert!(read.is_err() && wanted);
        assert!(!is_wanted(&listing).await);
    }

    #[tokio::test]
    async fn names_like_the_directory_are_known_beside_the_first_page() {
        let listing = Listing::speculative("", true, MOST);
        listing.expect_alike();
        listing.append(page(&["a", "b"], false), None);
        assert_eq!(listing.answer("jw01"), Answer::Unknown);
        let waits = tokio::time::timeout(Duration::from_millis(1), listing.asked_in_advance("jw01")).await;
        assert!(waits.is_err(), "they are still to come");
        let mut alike = Known::new("", "jw", true);
        alike.append(page(&["jw01"], true));
        listing.settle_alike(Some((alike, Duration::ZERO)));
        listing.asked_in_advance("c").await;
        assert!(matches!(listing.answer("jw01"), Answer::Is(Node::Directory)));
        assert_eq!((listing.answer("jw02"), listing.answer("a0")), (Answer::IsNot, Answer::IsNot));
        assert_eq!((listing.answer("c"), listing.entries(0, 9).await.unwrap().unwrap().len()), (Answer::Unknown, 2));
    }
}
