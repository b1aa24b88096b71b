//! Several trees in one, the first of which wins.
//!
//! A name is what the first member says that has it. A directory is all directories of its path together. Members are
//! asked at the same time, so that a look-up takes as long as the slowest of them; and where a directory is known to be
//! in some of them, only those are asked for what is in it.
//!
//! A member that fails is not one in which a name is absent: a look-up that would come to a later member fails, so that
//! never another file is found in the place of one that cannot be reached. Listings show what the others have.
//!
//! A member may be placed at a path: then its root is there, and the directories above exist.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures::future::join_all;
use parking_lot::Mutex;

use super::{Directory, Entry, Found, Node, Tree, Ttl};
use crate::store::{ErrorKind, Object, ObjectMeta, Result, StoreError};

/// Directories of which it is remembered which members have them.
const MAX_REMEMBERED: u64 = 10_000;

/// The bits of a place that are one of its member.
const PLACE_BITS: u32 = 56;

/// A tree, and where it is.
#[derive(Clone, Debug)]
pub struct Member {
    /// The path of its root: empty or ending with `/`.
    pub at: String,
    /// The tree.
    pub tree: Arc<dyn Tree>,
}

/// Several trees as one.
#[derive(Debug)]
pub struct Union {
    members: Vec<Member>,
    ttl: Ttl,
    /// The members that have a directory, which was looked up.
    present: moka::sync::Cache<String, Arc<[usize]>>,
}

/// What a member says of a path.
enum Within<'a> {
    /// It is this path of its own.
    Inside(&'a str),
    /// It is a directory above its root, in which this is the next name.
    Above(&'a str),
    /// Nothing.
    Outside,
}

/// The directories of one path. A place is the member's number and a place of its own.
struct Merged {
    parts: Vec<Part>,
    hasher: RandomState,
    /// Whether a part could not be listed: what those behind it show may be hidden by what it has.
    is_partial: AtomicBool,
    /// By the hash of a name, the first part that has it. Parts are read one after the other, so that what comes before
    /// an entry is here when the entry is read.
    first: Mutex<HashMap<u64, usize>>,
}

enum Part {
    Member(Arc<dyn Directory>),
    /// The directory that leads to the root of a member.
    Placed(Arc<str>),
}

impl Member {
    fn within<'a>(&'a self, path: &'a str) -> Within<'a> {
        match (path.strip_prefix(&*self.at), self.at.strip_prefix(path)) {
            (Some(inside), _) => Within::Inside(inside),
            (None, Some(below)) => Within::Above(below.split('/').next().unwrap_or(below)),
            (None, None) => Within::Outside,
        }
    }
}

impl Union {
    /// These trees as one; the first wins.
    pub fn new(members: Vec<Member>, ttl: Ttl) -> Self {
        // What a directory is missing in may be there soon.
        let present = moka::sync::Cache::builder().max_capacity(MAX_REMEMBERED).time_to_live(ttl.negative).build();
        Self { members, ttl, present }
    }

    /// The members that may have something in a directory.
    fn having(&self, directory: &str) -> Arc<[usize]> {
        self.present.get(directory).unwrap_or_else(|| (0..self.members.len()).collect())
    }

    /// The members that may have something in a directory, with its path in them.
    fn inside<'a>(&'a self, path: &'a str, having: &'a [usize]) -> impl Iterator<Item = (&'a Member, &'a str)> {
        having.iter().filter_map(|index| {
            let member = self.members.get(*index)?;
            match member.within(path) {
                Within::Inside(inside) => Some((member, inside)),
                Within::Above(_) | Within::Outside => None,
            }
        })
    }

    /// What each member says of a name.
    async fn ask(&self, directory: &str, name: &str) -> Vec<(usize, Result<Option<Found>>)> {
        let having = self.having(directory);
        let ask = async |index: usize| {
            let member = &self.members[index];
            let answer = match member.within(directory) {
                Within::Inside(inside) => member.tree.look_up(inside, name).await,
                Within::Above(next) if next == name => Ok(Some(Found { node: Node::Directory, head: None })),
                Within::Above(_) | Within::Outside => Ok(None),
            };
            (index, answer)
        };
        join_all(having.iter().map(|index| ask(*index))).await
    }
}

#[async_trait]
impl Tree for Union {
    fn ttl(&self) -> Ttl {
        self.ttl
    }

    async fn look_up(&self, directory: &str, name: &str) -> Result<Option<Found>> {
        let mut answers = self.ask(directory, name).await;
        // Whether a member that failed has the directory is not known.
        let may_be_directory = |answer: &Result<Option<Found>>| match answer {
            Ok(found) => found.as_ref().is_some_and(|found| matches!(found.node, Node::Directory)),
            Err(_) => true,
        };
        let present = answers.iter().filter(|(_, answer)| may_be_directory(answer)).map(|(index, _)| *index).collect();
        let first = answers.iter().position(|(_, answer)| !matches!(answer, Ok(None)));
        let Some(first) = first else { return Ok(None) };
        let found = answers.swap_remove(first).1?;
        if let Some(Found { node: Node::Directory, .. }) = &found {
            self.present.insert(format!("{directory}{name}/"), present);
        }
        Ok(found)
    }

    fn open(&self, directory: &str) -> Arc<dyn Directory> {
        let having = self.having(directory);
        let part = |index: &usize| {
            let member = &self.members[*index];
            match member.within(directory) {
                Within::Inside(inside) => Some(Part::Member(member.tree.open(inside))),
                Within::Above(next) => Some(Part::Placed(next.into())),
                Within::Outside => None,
            }
        };
        let parts = having.iter().filter_map(part).collect();
        Arc::new(Merged {
            parts,
            hasher: RandomState::new(),
            is_partial: AtomicBool::new(false),
            first: Mutex::default(),
        })
    }

    fn known(&self, directory: &str) -> Option<Arc<dyn Directory>> {
        let having = self.having(directory);
        let known = self.inside(directory, &having).filter_map(|(member, inside)| member.tree.known(inside));
        let parts: Vec<_> = known.map(Part::Member).collect();
        let merged =
            Merged { parts, hasher: RandomState::new(), is_partial: AtomicBool::new(false), first: Mutex::default() };
        (!merged.parts.is_empty()).then(|| Arc::new(merged) as Arc<dyn Directory>)
    }

    async fn foresee(&self, path: &str) -> Option<(String, Object)> {
        let having = self.having(super::split(path).0);
        for (member, inside) in self.inside(path, &having) {
            if let Some((path, object)) = member.tree.foresee(inside).await {
                return Some((format!("{}{path}", member.at), object));
            }
        }
        None
    }

    async fn look_again(&self, path: &str, object: &Object) -> Result<Object> {
        let all: Vec<_> = (0..self.members.len()).collect();
        let mut object = object.clone();
        if object.is_provisional {
            // It may have been listed while a member before its own could not be.
            let (directory, name) = super::split(path);
            let missing = || StoreError::new(ErrorKind::NotFound, format!("{}: there is no such file", object.url()));
            let Some(Found { node: Node::File(found), .. }) = self.look_up(directory, name).await? else {
                return Err(missing());
            };
            object = found;
        }
        for (member, inside) in self.inside(path, &all) {
            object = member.tree.look_again(inside, &object).await?;
        }
        Ok(object)
    }

    async fn invalidate(&self, path: &str) {
        let all: Vec<_> = (0..self.members.len()).collect();
        for (member, inside) in self.inside(path, &all) {
            member.tree.invalidate(inside).await;
        }
    }
}

impl Merged {
    /// Whether an entry of a part is not hidden by one of a part before it.
    fn is_first(&self, part: usize, name: &str) -> bool {
        if self.parts.len() == 1 {
            return true;
        }
        let first =
            *self.first.lock().entry(self.hasher.hash_one(name)).and_modify(|n| *n = part.min(*n)).or_insert(part);
        first == part
    }

    /// An entry, of which only the name is sure where a part before could not be listed: it is looked up when it is
    /// wanted, which fails as long as that part does.
    fn as_far_as_known(&self, entry: Entry) -> Entry {
        match (entry.node, self.is_partial.load(Ordering::Relaxed)) {
            (Node::File(object), true) => {
                let meta = ObjectMeta { size: 0, ..ObjectMeta::clone(&object.meta) };
                let object = Object { meta: Arc::new(meta), is_provisional: true, ..object };
                Entry { node: Node::File(object), ..entry }
            }
            (node, _) => Entry { node, ..entry },
        }
    }

    async fn entries_of(&self, part: usize, place: u64, count: usize) -> Result<Vec<(Entry, u64)>> {
        match &self.parts[part] {
            Part::Member(directory) => directory.entries(place, count).await,
            Part::Placed(name) if place == 0 => Ok(vec![(Entry { name: name.clone(), node: Node::Directory }, 1)]),
            Part::Placed(_) => Ok(Vec::new()),
        }
    }
}

#[async_trait]
impl Directory for Merged {
    async fn entries(&self, place: u64, count: usize) -> Result<Vec<(Entry, u64)>> {
        let (first, mut within) = ((place >> PLACE_BITS) as usize, place & ((1 << PLACE_BITS) - 1));
        let mut failed = None;
        for part in first..self.parts.len() {
            loop {
                let entries = match self.entries_of(part, within, count).await {
                    Ok(entries) => entries,
                    // A budget is that of all of them, and no source that is down: what it hides is not told elsewhere.
                    Err(error) if self.parts.len() == 1 || error.kind == ErrorKind::OverBudget => return Err(error),
                    Err(error) => {
                        tracing::warn!(%error, "a source cannot be listed; the directory shows what the others have");
                        self.is_partial.store(true, Ordering::Relaxed);
                        failed = Some(error);
                        break;
                    }
                };
                let Some((_, last)) = entries.last() else { break };
                within = *last;
                let place = |within: u64| (part as u64) << PLACE_BITS | within;
                let shown = entries.into_iter().map(|(entry, within)| (self.as_far_as_known(entry), place(within)));
                let mut shown: Vec<_> = shown.collect();
                shown.retain(|(entry, _)| self.is_first(part, &entry.name));
                if !shown.is_empty() {
                    return Ok(shown);
                }
            }
            within = 0;
        }
        // Where none could be listed there is nothing to show.
        match failed {
            Some(error) if self.first.lock().is_empty() => Err(error),
            _ => Ok(Vec::new()),
        }
    }

    fn beyond(&self, name: &str, direction: isize, count: usize) -> Vec<Entry> {
        let beyond = self.parts.iter().map(|part| match part {
            Part::Member(directory) => directory.beyond(name, direction, count),
            Part::Placed(_) => Vec::new(),
        });
        beyond.into_iter().find(|entries| !entries.is_empty()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
