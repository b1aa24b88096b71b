//! What the log of one directory holds, and where: pure, fed with records.
//!
//! Answers stay on disk. In memory are their places, when they were asked for, and of the pages of the directory's
//! listing which names they span: so that a look-up is also answered by a listing that was made before it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use super::Ttl;
use super::record::{Page, Record, What, id_of_head, id_of_list};
use crate::store::ListRequest;

/// Pages of a listing that one look-up may be answered from. Names that begin alike are on one page, or on two.
const MAX_PAGES: usize = 4;

/// Which answers count.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trust {
    /// Those that are not too old at this time.
    Fresh(Ttl, u64),
    /// All: the store cannot be asked.
    Any,
}

/// Where a line is, without its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) len: u32,
}

/// An answer that is on disk.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) place: Place,
    asked: u64,
    /// The token of the page that follows.
    next: Option<Box<str>>,
    /// Not so of a look-up that found nothing.
    found: bool,
    /// Whether a page comes before it.
    follows: bool,
    /// Of a page of the directory's listing.
    span: Option<Span>,
}

/// The names on a page, without the directory.
#[derive(Debug)]
struct Span {
    first: Box<str>,
    last: Box<str>,
    /// The last one if directories are ordered by their names without `/`, as in some stores.
    last_bare: Box<str>,
    in_order: bool,
}

/// What the pages of a listing say of the names that begin with a stem.
#[derive(Debug)]
pub(super) struct Cover {
    /// The pages that may have such names.
    pub(super) pages: Vec<Place>,
    /// When the oldest page was asked for that proves it.
    pub(super) asked: u64,
}

/// The log of a directory.
#[derive(Debug)]
pub(super) struct Index {
    store: Arc<str>,
    directory: Box<str>,
    entries: HashMap<u128, Entry>,
    /// Hashes of all keys that were ever told of.
    keys: HashSet<u64>,
    /// What was asked for until then is outdated, and where that stands.
    forgotten: Option<(u64, Place)>,
    /// The size of the pages that the directory was listed with.
    page_size: u16,
    bytes: usize,
}

impl Trust {
    /// How old an answer may be taken to be; none if it does not count.
    fn age(self, asked: u64, found: bool) -> Option<Duration> {
        let Self::Fresh(ttl, now) = self else { return Some(Duration::ZERO) };
        // What comes from the future tells nothing of its age.
        let age = Duration::from_millis(now.checked_sub(asked)?);
        (age < if found { ttl.positive } else { ttl.negative }).then_some(age)
    }
}

impl Index {
    /// Of a log of which nothing was read.
    pub(super) fn new(store: Arc<str>, directory: &str) -> Self {
        Self {
            store,
            directory: directory.into(),
            entries: HashMap::new(),
            keys: HashSet::new(),
            forgotten: None,
            page_size: 0,
            bytes: 0,
        }
    }

    /// Takes up a record, if it is one of this directory.
    pub(super) fn note(&mut self, place: Place, record: &Record) {
        if record.store != *self.store || record.directory() != &*self.directory {
            return;
        }
        match &record.what {
            What::Forget { .. } => {
                if self.forgotten.is_none_or(|(until, _)| record.asked >= until) {
                    self.forgotten = Some((record.asked, place));
                }
            }
            What::Head { object } => {
                self.keys.insert(xxh3_64(object.key.as_bytes()));
                let entry = Entry { place, asked: record.asked, next: None, found: true, follows: false, span: None };
                self.insert(id_of_head(&object.key), entry);
            }
            What::List { prefix, delimited, max_keys, continuation, page } => {
                self.keys.extend(page.objects.iter().map(|object| xxh3_64(object.key.as_bytes())));
                let listing = *delimited && *prefix == *self.directory;
                if listing && continuation.is_none() {
                    self.page_size = self.page_size.max(*max_keys);
                }
                let entry = Entry {
                    place,
                    asked: record.asked,
                    next: page.next.as_deref().map(Into::into),
                    found: *max_keys > ListRequest::LOOK_UP || shows(prefix, page),
                    follows: continuation.is_some(),
                    span: if listing { span(prefix, page) } else { None },
                };
                self.insert(id_of_list(prefix, *delimited, *max_keys, continuation.as_deref()), entry);
            }
        }
    }

    fn insert(&mut self, id: u128, entry: Entry) {
        let bytes = entry.bytes();
        let before = self.entries.insert(id, entry).map_or(0, |before| before.bytes());
        self.bytes = self.bytes + bytes - before.min(self.bytes);
    }

    /// An answer to exactly this request, and its age.
    pub(super) fn exact(&self, id: u128, trust: Trust) -> Option<(&Entry, Duration)> {
        let entry = self.entries.get(&id)?;
        Some((entry, self.age(entry.asked, entry.found, trust)?))
    }

    /// The pages of the directory's listing that answer a look-up in it. `in_order` says whether the store lists in the
    /// order of the keys.
    pub(super) fn cover(&self, request: &ListRequest, trust: Trust, in_order: bool) -> Option<(Cover, Duration)> {
        let stem = request.prefix.strip_prefix(&*self.directory)?;
        if !request.delimited || request.continuation.is_some() || stem.contains('/') {
            return None;
        }
        let mut cover = Cover { pages: Vec::new(), asked: u64::MAX };
        let (mut token, mut in_order, mut before) = (None, in_order, "");
        // As many steps as there are entries: tokens could lead in a circle.
        for _ in 0..self.entries.len() {
            let entry = self.entries.get(&id_of_list(&self.directory, true, self.page_size, token))?;
            cover.asked = cover.asked.min(entry.asked);
            if let Some(span) = &entry.span {
                in_order &= span.in_order && (before.is_empty() || before < &*span.first);
                before = &span.last;
                if span.may_have(stem) {
                    cover.pages.push(entry.place);
                }
            }
            let passed = in_order && entry.span.as_ref().is_some_and(|span| span.is_beyond(stem));
            if passed || entry.next.is_none() {
                let age = self.age(cover.asked, true, trust)?;
                return (cover.pages.len() <= MAX_PAGES).then_some((cover, age));
            }
            token = entry.next.as_deref();
        }
        None
    }

    fn age(&self, asked: u64, found: bool, trust: Trust) -> Option<Duration> {
        let outdated = matches!(trust, Trust::Fresh(..)) && self.forgotten.is_some_and(|(until, _)| asked <= until);
        if outdated { None } else { trust.age(asked, found) }
    }

    /// Whether a key was ever told of.
    pub(super) fn knows(&self, key: &str) -> bool {
        self.keys.contains(&xxh3_64(key.as_bytes()))
    }

    /// The lines that are of use, in their order: the last answers, but for pages that no page leads to any more.
    pub(super) fn live(&self) -> Vec<Place> {
        let mut led_to: HashSet<u128> = HashSet::new();
        let mut token = None;
        loop {
            let id = id_of_list(&self.directory, true, self.page_size, token);
            let Some(entry) = self.entries.get(&id).filter(|_| led_to.insert(id)) else { break };
            let Some(next) = entry.next.as_deref() else { break };
            token = Some(next);
        }
        let of_use = |(id, entry): &(&u128, &Entry)| !entry.follows || led_to.contains(id);
        let mut live: Vec<Place> = self.entries.iter().filter(of_use).map(|(_, entry)| entry.place).collect();
        live.extend(self.forgotten.map(|(_, place)| place));
        live.sort_unstable_by_key(|place| place.offset);
        live
    }

    /// About how much memory it takes.
    pub(super) fn weight(&self) -> usize {
        // A hash table is half full on the average.
        self.bytes + self.keys.len() * 16 + self.directory.len() + size_of::<Self>()
    }
}

impl Entry {
    fn bytes(&self) -> usize {
        let span = self.span.as_ref().map_or(0, |span| span.first.len() + span.last.len() + span.last_bare.len());
        2 * (size_of::<u128>() + size_of::<Self>()) + span + self.next.as_ref().map_or(0, |next| next.len())
    }
}

impl Span {
    /// Whether names that begin with `stem` can be on the page.
    fn may_have(&self, stem: &str) -> bool {
        let begins_beyond = &*self.first > stem && !self.first.starts_with(stem);
        &*self.last >= stem && !begins_beyond
    }

    /// Whether no name that begins with `stem` follows the page, in either order.
    fn is_beyond(&self, stem: &str) -> bool {
        let beyond = |last: &str| last > stem && !last.starts_with(stem);
        beyond(&self.last) && beyond(&self.last_bare)
    }
}

/// Whether the page of a look-up shows what was looked up.
fn shows(prefix: &str, page: &Page) -> bool {
    if prefix.is_empty() || prefix.ends_with('/') {
        return !page.objects.is_empty() || !page.prefixes.is_empty();
    }
    page.objects.iter().any(|object| object.key == prefix)
        || page.prefixes.iter().any(|directory| directory.strip_suffix('/') == Some(prefix))
}

fn span(directory: &str, page: &Page) -> Option<Span> {
    let in_order = page.objects.is_sorted_by(|a, b| a.key < b.key) && page.prefixes.is_sorted_by(|a, b| a < b);
    let keys = || page.objects.iter().map(|object| &object.key).chain(&page.prefixes);
    // The marker of a directory is no name in it, and comes first in any order.
    let names = || keys().filter_map(|key| key.strip_prefix(directory)).filter(|name| !name.is_empty());
    Some(Span {
        first: names().min()?.into(),
        last: names().max()?.into(),
        last_bare: names().map(|name| name.trim_end_matches('/')).max()?.into(),
        in_order,
    })
}
