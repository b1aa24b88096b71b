//! One page of a listing, as a pure function of the objects and the query.
//!
//! Keys are walked by ranges of the ordered map, and a common prefix is passed by one seek behind its last key, so a
//! page costs what it returns and not what lies below it.

use std::ops::Bound;
use std::sync::Arc;

use crate::bucket::{History, Object, Objects, Past};

/// The most entries that S3 puts on a page.
pub(crate) const MAX_KEYS: usize = 1000;

/// Where a page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Beginning,
    /// After this key (start-after; marker; a page that ended with a key).
    AfterKey(String),
    /// After every key that begins so (a page that ended with a common prefix).
    AfterPrefix(String),
}

/// What to list.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    pub prefix: String,
    /// Empty for none.
    pub delimiter: String,
    pub max_keys: usize,
    pub start: Start,
}

/// A page.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub objects: Vec<(String, Arc<Object>)>,
    pub common_prefixes: Vec<String>,
    /// Where the next page begins, if there is one.
    pub next: Option<Start>,
}

impl Page {
    pub(crate) fn len(&self) -> usize {
        self.objects.len() + self.common_prefixes.len()
    }
}

/// Lists one page.
pub(crate) fn list(objects: &Objects, query: &Query) -> Page {
    let mut page = Page::default();
    if query.max_keys == 0 {
        return page;
    }
    let mut last = Start::Beginning;
    let Some(mut from) = first_bound(query) else { return page };
    while let Some((key, object)) = next_entry(objects, &from, &query.prefix) {
        if page.len() == query.max_keys {
            page.next = Some(last);
            break;
        }
        match common_prefix(key, query) {
            Some(group) => {
                page.common_prefixes.push(group.to_owned());
                last = Start::AfterPrefix(group.to_owned());
                let Some(next) = successor(group) else { break };
                from = Bound::Included(next);
            }
            None => {
                page.objects.push((key.clone(), Arc::clone(object)));
                last = Start::AfterKey(key.clone());
                from = Bound::Excluded(key.clone());
            }
        }
    }
    page
}

/// A page of a listing of versions.
#[derive(Debug, Default)]
pub(crate) struct VersionsPage {
    /// Each with whether it is the latest of its key.
    pub versions: Vec<(String, Past, bool)>,
    pub common_prefixes: Vec<String>,
    /// The last key or common prefix, and the version, if another page follows.
    pub next: Option<(String, Option<String>)>,
}

/// Lists one page of all versions, behind a key, or behind a version of it.
pub(crate) fn list_versions(history: &History, query: &Query, after: Option<(&str, Option<&str>)>) -> VersionsPage {
    let mut page = VersionsPage::default();
    let mut last = None;
    for (key, pasts) in history.range(query.prefix.clone()..).take_while(|(key, _)| key.starts_with(&query.prefix)) {
        let full = |page: &VersionsPage| page.versions.len() + page.common_prefixes.len() == query.max_keys;
        if let Some(group) = common_prefix(key, query) {
            let is_known = page.common_prefixes.last().is_some_and(|last| last == group);
            if is_known || after.is_some_and(|(after, _)| group <= after) {
                continue;
            }
            if full(&page) {
                page.next = last;
                return page;
            }
            page.common_prefixes.push(group.to_owned());
            last = Some((group.to_owned(), None));
            continue;
        }
        let skipped = match after {
            Some((after, None)) if key.as_str() <= after => continue,
            Some((after, Some(_))) if key.as_str() < after => continue,
            Some((after, Some(id))) if key == after => {
                pasts.iter().position(|past| past.id == id).map_or(pasts.len(), |place| place + 1)
            }
            _ => 0,
        };
        for (place, past) in pasts.iter().enumerate().skip(skipped) {
            if full(&page) {
                page.next = last;
                return page;
            }
            page.versions.push((key.clone(), past.clone(), place == 0));
            last = Some((key.clone(), Some(past.id.clone())));
        }
    }
    page
}

fn next_entry<'a>(objects: &'a Objects, from: &Bound<String>, prefix: &str) -> Option<(&'a String, &'a Arc<Object>)> {
    let entry = objects.range((from.clone(), Bound::Unbounded)).next()?;
    entry.0.starts_with(prefix).then_some(entry)
}

/// The later of the prefix itself and the place where the page begins; `None` behind the last possible key.
fn first_bound(query: &Query) -> Option<Bound<String>> {
    let prefix = &query.prefix;
    Some(match &query.start {
        Start::AfterKey(key) if key >= prefix => Bound::Excluded(key.clone()),
        Start::AfterPrefix(group) => Bound::Included(successor(group)?.max(prefix.clone())),
        _ => Bound::Included(prefix.clone()),
    })
}

/// The key up to and with the first delimiter behind the prefix.
fn common_prefix<'a>(key: &'a str, query: &Query) -> Option<&'a str> {
    if query.delimiter.is_empty() {
        return None;
    }
    let at = key[query.prefix.len()..].find(&query.delimiter)?;
    Some(&key[..query.prefix.len() + at + query.delimiter.len()])
}

/// The least string greater than every string that begins with `prefix`. UTF-8 bytes order as their characters do, so
/// it is the prefix with its last character raised by one.
fn successor(prefix: &str) -> Option<String> {
    let mut text = prefix.to_owned();
    while let Some(last) = text.pop() {
        let next = match last {
            '\u{D7FF}' => Some('\u{E000}'),
            c => char::from_u32(c as u32 + 1),
        };
        if let Some(next) = next {
            text.push(next);
            return Some(text);
        }
    }
    None
}

#[cfg(test)]
mod tests;
