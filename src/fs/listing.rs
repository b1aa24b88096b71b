//! The entries of one directory, as far as they have been listed.
//!
//! Pages arrive in the order of the keys and are only ever appended, so that a position in the listing stays valid
//! while a program walks through the directory. A name that turns out to be a directory as well as a file becomes the
//! directory, in the place of the file.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::{Notify, watch};

use super::entry::Entry;
use super::inode::Node;
use crate::store::StoreError;

/// A listing that grows page by page.
#[derive(Debug)]
pub struct Listing {
    content: RwLock<Content>,
    progress: watch::Sender<Progress>,
    /// How many entries someone waits for.
    demanded: watch::Sender<usize>,
    resumed: Notify,
}

#[derive(Debug, Default)]
struct Content {
    entries: Vec<Entry>,
    by_name: HashMap<Arc<str>, usize>,
}

/// How far a listing has come.
#[derive(Clone, Debug, Default)]
struct Progress {
    entries: usize,
    complete: bool,
    failed: Option<StoreError>,
}

/// What a listing says of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The name is there.
    Is(Node),
    /// The whole directory has been listed and the name is not there.
    IsNot,
    /// Not listed as far as that.
    Unknown,
}

impl Default for Listing {
    fn default() -> Self {
        Self {
            content: RwLock::default(),
            progress: watch::channel(Progress::default()).0,
            demanded: watch::channel(0).0,
            resumed: Notify::new(),
        }
    }
}

impl Listing {
    /// Appends a page; `last` completes the listing.
    pub fn append(&self, page: Vec<Entry>, last: bool) {
        let mut content = self.content.write();
        for entry in page {
            match content.by_name.get(&entry.name).copied() {
                Some(index) if matches!(entry.node, Node::Directory { .. }) => content.entries[index] = entry,
                Some(_) => {}
                None => {
                    let index = content.entries.len();
                    content.by_name.insert(entry.name.clone(), index);
                    content.entries.push(entry);
                }
            }
        }
        let entries = content.entries.len();
        drop(content);
        self.progress.send_replace(Progress { entries, complete: last, failed: None });
    }

    /// Ends the listing: the rest could not be had.
    pub fn fail(&self, error: StoreError) {
        self.progress.send_modify(|progress| progress.failed = Some(error));
    }

    /// What the listing says of a name.
    pub fn answer(&self, name: &str) -> Answer {
        let complete = self.progress.borrow().complete;
        let content = self.content.read();
        match content.by_name.get(name) {
            // A file may still turn out to be a directory as well, further down.
            Some(index) if complete || matches!(content.entries[*index].node, Node::Directory { .. }) => {
                Answer::Is(content.entries[*index].node.clone())
            }
            None if complete => Answer::IsNot,
            Some(_) | None => Answer::Unknown,
        }
    }

    /// Up to `count` entries beyond a name, forwards (1) or backwards (-1); none if the name is not listed.
    pub fn walk(&self, name: &str, direction: isize, count: usize) -> Vec<Entry> {
        let content = self.content.read();
        let Some(index) = content.by_name.get(name).copied() else { return Vec::new() };
        match direction > 0 {
            true => content.entries.iter().skip(index + 1).take(count).cloned().collect(),
            false => content.entries[..index].iter().rev().take(count).cloned().collect(),
        }
    }

    /// How many entries are listed.
    pub fn len(&self) -> usize {
        self.content.read().entries.len()
    }

    /// Whether nothing is listed (yet).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether all entries are listed.
    pub fn is_complete(&self) -> bool {
        self.progress.borrow().complete
    }

    /// Up to `count` entries from position `start`, waiting for the first of them: none at the end of the directory.
    pub async fn entries(&self, start: usize, count: usize) -> Result<Vec<Entry>, StoreError> {
        self.demanded.send_if_modified(|demanded| {
            let grown = start + 1 > *demanded;
            *demanded = (*demanded).max(start + 1);
            grown
        });
        self.resumed.notify_one();
        self.settled(|progress| progress.entries > start).await?;
        let content = self.content.read();
        Ok(content.entries.iter().skip(start).take(count).cloned().collect())
    }

    /// Waits until the listing is complete, or fails.
    pub async fn finished(&self) -> Result<(), StoreError> {
        self.settled(|_| false).await
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

    /// Waits until someone wants entries beyond those listed.
    pub async fn wanted(&self) {
        while *self.demanded.borrow() <= self.progress.borrow().entries {
            self.resumed.notified().await;
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ObjectMeta;

    fn directory(name: &str) -> Entry {
        Entry { name: name.into(), node: Node::Directory { prefix: format!("{name}/").into() } }
    }

    fn file(name: &str) -> Entry {
        let object = ObjectMeta {
            key: name.into(),
            size: 0,
            last_modified: std::time::SystemTime::UNIX_EPOCH,
            version: Default::default(),
            storage_class: None,
        };
        Entry { name: name.into(), node: Node::File { object: Arc::new(object) } }
    }

    #[tokio::test]
    async fn a_directory_hides_the_file_of_its_name_also_across_pages() {
        let listing = Listing::default();
        listing.append(vec![file("k"), file("k-1")], false);
        assert_eq!(listing.answer("k"), Answer::Unknown);
        assert_eq!(listing.answer("z"), Answer::Unknown);
        listing.append(vec![directory("k")], true);
        assert!(matches!(listing.answer("k"), Answer::Is(Node::Directory { .. })));
        assert_eq!(listing.answer("z"), Answer::IsNot);
        assert_eq!(listing.entries(0, 10).await.unwrap().len(), 2);
        assert!(listing.entries(2, 10).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn readers_wait_for_pages_and_hear_of_failures() {
        let listing = Arc::new(Listing::default());
        let reader = tokio::spawn({
            let listing = listing.clone();
            async move { listing.entries(1, 1).await }
        });
        listing.append(vec![file("a")], false);
        listing.wanted().await;
        listing.fail(StoreError::new(crate::store::ErrorKind::Server, "500"));
        assert!(reader.await.unwrap().is_err());
    }
}
