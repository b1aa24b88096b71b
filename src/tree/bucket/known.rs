//! What LISTs have shown of the names in one directory: those that are there, and how far it is sure that there are no
//! others. Pure.
//!
//! Keys are listed in the order of their bytes, in which a directory is its name with a `/`: `x`, `x-1`, `x/`. So a
//! listing that has come to a key has shown all names before it, but whether the file `x` is hidden by a directory `x/`
//! only from there on. Some stores list by the name without the `/`, and some in no order: nothing is taken for absent
//! that could still come in either order, nor anything once a page has come out of order.
//!
//! Names that were dropped to make room are as unknown as those that are still to come.

use super::entry::{Entry, Node, Page};
use super::packed::Packed;

/// What is known of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The name is there.
    Is(Node),
    /// The name is not there.
    IsNot,
    /// Not listed as far as that.
    Unknown,
}

/// The names of a directory that begin with a stem, page by page.
#[derive(Debug)]
pub struct Known {
    stem: Box<str>,
    entries: Packed,
    reached: Reached,
    /// The last name, in the order of bytes, of those that were dropped.
    dropped: Option<String>,
}

/// How far the names are known.
#[derive(Debug)]
enum Reached {
    /// Up to this name (of a directory, with its `/`), in order.
    To(String),
    /// Pages came out of order: nothing is sure before the last.
    Anywhere,
    /// All of them.
    End,
}

impl Known {
    /// Nothing yet of the names in the directory `prefix` that begin with `stem`; `in_order` says whether the store lists
    /// them in order.
    pub fn new(prefix: &str, stem: &str, in_order: bool) -> Self {
        let reached = if in_order { Reached::To(String::new()) } else { Reached::Anywhere };
        Self { stem: stem.into(), entries: Packed::new(prefix), reached, dropped: None }
    }

    /// Adds the page that follows. A name that turns out to be a directory as well as a file becomes the directory, in
    /// the place of the file, so that no entry ever moves.
    pub fn append(&mut self, page: Page) {
        self.reached = match std::mem::replace(&mut self.reached, Reached::Anywhere) {
            _ if page.complete => Reached::End,
            Reached::To(last) => match page.span {
                Some((first, to)) if page.in_order && last < first => Reached::To(to),
                Some(_) => Reached::Anywhere,
                None => Reached::To(last),
            },
            reached => reached,
        };
        page.entries.into_iter().for_each(|entry| self.add(entry));
    }

    /// A file that was dropped before its directory came is listed as both.
    fn add(&mut self, entry: Entry) {
        match self.entries.find(&entry.name) {
            Some(position) if matches!(entry.node, Node::Directory) => self.entries.replace(position, &entry),
            Some(_) => {}
            None => self.entries.push(&entry),
        }
    }

    /// Drops the oldest entries until the others take no more than so many bytes.
    pub fn shrink(&mut self, bytes: usize) {
        while self.entries.bytes() > bytes {
            let dropped = &mut self.dropped;
            self.entries.drop_oldest(|name| {
                if dropped.as_deref().is_none_or(|last| last < name) {
                    *dropped = Some(name.to_owned());
                }
            });
        }
    }

    /// What is known of a name.
    pub fn answer(&self, name: &str) -> Answer {
        if !name.starts_with(&*self.stem) {
            return Answer::Unknown;
        }
        match self.get(name).map(|entry| entry.node) {
            Some(node) if matches!(node, Node::Directory) || self.has_passed(name) => Answer::Is(node),
            None if self.has_passed(name) && self.dropped.as_deref().is_none_or(|last| last < name) => Answer::IsNot,
            Some(_) | None => Answer::Unknown,
        }
    }

    fn get(&self, name: &str) -> Option<Entry> {
        self.entries.get(self.entries.find(name)?)
    }

    /// Whether neither a file nor a directory of this name can follow.
    fn has_passed(&self, name: &str) -> bool {
        match &self.reached {
            Reached::End => true,
            Reached::Anywhere => false,
            Reached::To(last) => {
                let as_directory = name.bytes().chain(*b"/");
                as_directory.le(last.bytes()) && name < last.trim_end_matches('/')
            }
        }
    }

    /// Up to `count` entries beyond a name, forwards (1) or backwards (-1); none if the name is not known.
    pub fn beyond(&self, name: &str, direction: isize, count: usize) -> Vec<Entry> {
        let Some(position) = self.entries.find(name) else { return Vec::new() };
        match direction > 0 {
            true => self.from(position + 1, count),
            false => (0..position).rev().take(count).map_while(|position| self.entries.get(position)).collect(),
        }
    }

    /// Up to `count` entries from a position on, in the order in which they came.
    pub fn from(&self, position: usize, count: usize) -> Vec<Entry> {
        (position..).take(count).map_while(|position| self.entries.get(position)).collect()
    }

    /// The entries, by position.
    pub fn entries(&self) -> &Packed {
        &self.entries
    }
}

#[cfg(test)]
mod tests;
