//! A tree in which what is in gzip files is shown beside them: `x.fits` beside `x.fits.gz`.
//!
//! What the tree itself has by that name wins. What is in a file that was not read yet is *provisional*: its size is one
//! that it cannot exceed, which no program may keep, and opening it waits for a pass over the file ([`Gunzip`]).

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::join_all;
use parking_lot::Mutex;

use super::{Directory, Entry, Found, Node, Tree, Ttl, split};
use crate::gunzip::{Gunzip, packed, unpacked};
use crate::store::{ErrorKind, Object, Result, StoreError};

/// A tree, and what is in its files.
#[derive(Debug)]
pub struct Unpacked {
    tree: Arc<dyn Tree>,
    gunzip: Arc<Gunzip>,
}

/// A directory of it. A place is twice that of the directory below, and one more where of the entry there only what is in
/// it is still to come.
struct Listing {
    directory: Arc<dyn Directory>,
    gunzip: Arc<Gunzip>,
    hasher: RandomState,
    /// By the hash of a name by which two things could be shown, the place of the one that is. Mostly a name comes before
    /// those that it is the beginning of, so that what the tree itself has is first.
    first: Mutex<HashMap<u64, u64>>,
}

impl Unpacked {
    /// What is in the files of `tree` is shown as well.
    pub fn new(tree: Arc<dyn Tree>, gunzip: Arc<Gunzip>) -> Self {
        Self { tree, gunzip }
    }

    /// The compressed file that is shown by a path; the first there is.
    async fn outer(&self, directory: &str, name: &str) -> Result<Option<Object>> {
        let names: Vec<_> = packed(name).collect();
        let answers = join_all(names.iter().map(|name| self.tree.look_up(directory, name))).await;
        for (answer, name) in answers.into_iter().zip(&names) {
            if let Some(Found { node: Node::File(object), .. }) = answer? {
                // Of what a list only claims the size is not known to be long enough.
                return match object.is_provisional {
                    true => self.tree.look_again(&format!("{directory}{name}"), &object).await.map(Some),
                    false => Ok(Some(object)),
                };
            }
        }
        Ok(None)
    }

    fn listing(&self, directory: Arc<dyn Directory>) -> Arc<dyn Directory> {
        let gunzip = self.gunzip.clone();
        Arc::new(Listing { directory, gunzip, hasher: RandomState::new(), first: Mutex::default() })
    }

    /// What a path is shown by, once its size is proved. Of a version that is gone the next one is taken.
    async fn prove(&self, path: &str) -> Result<Object> {
        let (directory, name) = split(path);
        let missing = || StoreError::new(ErrorKind::NotFound, format!("{path}: there is no such file any more"));
        let outer = self.outer(directory, name).await?.ok_or_else(missing)?;
        match self.gunzip.prove(&outer).await {
            Err(error) if matches!(error.kind, ErrorKind::VersionChanged | ErrorKind::NotFound) => {
                self.invalidate(path).await;
                let outer = self.outer(directory, name).await?.ok_or_else(missing)?;
                self.gunzip.prove(&outer).await
            }
            proved => proved,
        }
    }
}

#[async_trait]
impl Tree for Unpacked {
    fn ttl(&self) -> Ttl {
        self.tree.ttl()
    }

    async fn look_up(&self, directory: &str, name: &str) -> Result<Option<Found>> {
        // Both at the same time: mostly there is one of them.
        let (own, outer) = futures::join!(self.tree.look_up(directory, name), self.outer(directory, name));
        if let Some(own) = own? {
            return Ok(Some(own));
        }
        let Some(outer) = outer? else { return Ok(None) };
        let object = self.gunzip.recall(&outer).await;
        Ok(Some(Found { node: Node::File(object), head: None }))
    }

    fn open(&self, directory: &str) -> Arc<dyn Directory> {
        self.listing(self.tree.open(directory))
    }

    fn known(&self, directory: &str) -> Option<Arc<dyn Directory>> {
        Some(self.listing(self.tree.known(directory)?))
    }

    /// What is in a file is foreseen only if its size is proved: nothing is passed over that no program has opened.
    async fn foresee(&self, path: &str) -> Option<(String, Object)> {
        let own = self.tree.foresee(path).await;
        if own.as_ref().is_some_and(|(own, _)| own == path) {
            return own;
        }
        for outer in packed(path) {
            if let Some((found, object)) = self.tree.foresee(&outer).await
                && found == outer
            {
                let inner = self.gunzip.recall(&object).await;
                return (!inner.is_provisional).then(|| (path.to_owned(), inner));
            }
        }
        own
    }

    async fn look_again(&self, path: &str, object: &Object) -> Result<Object> {
        match (object.source.is_derived, object.is_provisional) {
            (false, _) => self.tree.look_again(path, object).await,
            (true, false) => Ok(object.clone()),
            (true, true) => self.prove(path).await,
        }
    }

    async fn invalidate(&self, path: &str) {
        self.tree.invalidate(path).await;
        for outer in packed(path) {
            self.tree.invalidate(&outer).await;
        }
    }
}

impl Listing {
    /// What is shown beside an entry.
    fn inside(&self, entry: &Entry) -> Option<Entry> {
        let Node::File(outer) = &entry.node else { return None };
        let name = unpacked(&entry.name)?;
        Some(Entry { name: name.into(), node: Node::File(self.gunzip.object(outer)) })
    }

    /// Whether the entry at a place is the one that is shown by its name.
    fn is_first(&self, name: &str, place: u64) -> bool {
        let is_alone = packed(name).next().is_none();
        is_alone || *self.first.lock().entry(self.hasher.hash_one(name)).or_insert(place) == place
    }
}

#[async_trait]
impl Directory for Listing {
    async fn entries(&self, place: u64, count: usize) -> Result<Vec<(Entry, u64)>> {
        let (mut below, mut is_shown) = (place / 2, place % 2 == 1);
        loop {
            let entries = self.directory.entries(below, count).await?;
            if entries.is_empty() {
                return Ok(Vec::new());
            }
            let mut shown = Vec::new();
            for (entry, behind) in entries {
                let (own, within) = (2 * below, 2 * below + 1);
                let inside = self.inside(&entry).filter(|inside| self.is_first(&inside.name, within));
                if !std::mem::take(&mut is_shown) && self.is_first(&entry.name, own) {
                    shown.push((entry, if inside.is_some() { within } else { 2 * behind }));
                }
                shown.extend(inside.map(|inside| (inside, 2 * behind)));
                below = behind;
            }
            if !shown.is_empty() {
                return Ok(shown);
            }
        }
    }

    fn beyond(&self, name: &str, direction: isize, count: usize) -> Vec<Entry> {
        let own = self.directory.beyond(name, direction, count);
        if !own.is_empty() {
            return own;
        }
        let outer = packed(name).map(|name| self.directory.beyond(&name, direction, count));
        let outer = outer.into_iter().find(|entries| !entries.is_empty()).unwrap_or_default();
        outer.iter().filter_map(|entry| self.inside(entry)).collect()
    }
}

#[cfg(test)]
mod tests;
