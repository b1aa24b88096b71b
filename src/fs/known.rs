//! What LISTs have shown of the names in one directory: those that are there, and how far it is sure that there are no
//! others. Pure.
//!
//! Keys are listed in the order of their bytes, in which a directory is its name with a `/`: `x`, `x-1`, `x/`. So a
//! listing that has come to a key has shown all names before it, but whether the file `x` is hidden by a directory `x/`
//! only from there on. Some stores list by the name without the `/`, and some in no order: nothing is taken for absent
//! that could still come in either order, nor anything once a page has come out of order.

use std::collections::HashMap;
use std::sync::Arc;

use super::entry::{Entry, Page};
use super::inode::Node;

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
    entries: Vec<Entry>,
    by_name: HashMap<Arc<str>, usize>,
    reached: Reached,
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
    /// Nothing yet of the names that begin with `stem`; `in_order` says whether the store lists them in order.
    pub fn new(stem: &str, in_order: bool) -> Self {
        let reached = if in_order { Reached::To(String::new()) } else { Reached::Anywhere };
        Self { stem: stem.into(), entries: Vec::new(), by_name: HashMap::new(), reached }
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

    fn add(&mut self, entry: Entry) {
        match self.by_name.get(&entry.name) {
            Some(index) if matches!(entry.node, Node::Directory { .. }) => self.entries[*index] = entry,
            Some(_) => {}
            None => {
                self.by_name.insert(entry.name.clone(), self.entries.len());
                self.entries.push(entry);
            }
        }
    }

    /// What is known of a name.
    pub fn answer(&self, name: &str) -> Answer {
        if !name.starts_with(&*self.stem) {
            return Answer::Unknown;
        }
        let node = self.by_name.get(name).map(|index| &self.entries[*index].node);
        match node {
            Some(node) if matches!(node, Node::Directory { .. }) || self.has_passed(name) => Answer::Is(node.clone()),
            None if self.has_passed(name) => Answer::IsNot,
            Some(_) | None => Answer::Unknown,
        }
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
        let Some(index) = self.by_name.get(name).copied() else { return Vec::new() };
        match direction > 0 {
            true => self.entries.iter().skip(index + 1).take(count).cloned().collect(),
            false => self.entries[..index].iter().rev().take(count).cloned().collect(),
        }
    }

    /// The entries in the order in which they came.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

#[cfg(test)]
mod tests;
