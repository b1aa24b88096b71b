//! From keys to directory entries.

use std::sync::Arc;
use std::time::Duration;

use crate::store::{ListPage, ObjectMeta};
use crate::tree::{self, is_name};

/// What a key stands for.
pub type Node = tree::Node<Arc<ObjectMeta>>;

/// A name in a directory and what its key stands for.
pub type Entry = tree::Entry<Arc<ObjectMeta>>;

/// A page of a directory's listing, as names.
#[derive(Debug, Default)]
pub struct Page {
    /// The entries in the order of their keys.
    pub entries: Vec<Entry>,
    /// Keys that cannot be a path.
    pub skipped: Vec<String>,
    /// The first and the last key without that of the directory: of another directory its name and a `/`.
    pub span: Option<(String, String)>,
    /// Whether the keys came in order, as far as a page shows it.
    pub in_order: bool,
    /// Whether no page follows.
    pub complete: bool,
    /// How long ago the store was asked for it.
    pub age: Duration,
}

/// The names in the directory `prefix` that one page of its delimited listing shows, of no age. A `dir/` marker is the directory
/// itself.
pub fn page(prefix: &str, page: ListPage) -> Page {
    let in_order = page.objects.is_sorted_by(|a, b| a.key < b.key) && page.prefixes.is_sorted_by(|a, b| a < b);
    let complete = page.continuation.is_none();
    let files = page.objects.into_iter().map(|object| (object.key.clone(), Some(object)));
    let directories = page.prefixes.into_iter().map(|directory| (directory, None));
    let mut listed: Vec<(String, Option<ObjectMeta>)> = files.chain(directories).collect();
    listed.sort_by(|a, b| a.0.cmp(&b.0));
    listed.retain(|(key, _)| key != prefix);
    let relative = |(key, _): &(String, _)| key.strip_prefix(prefix).unwrap_or(key).to_owned();
    let span = listed.first().map(relative).zip(listed.last().map(relative));
    let mut skipped = Vec::new();
    let entries = listed
        .into_iter()
        .filter_map(|(key, object)| match name_of(prefix, &key, object.is_none()) {
            Some(name) => Some(Entry { name: name.into(), node: node(object) }),
            None => {
                skipped.push(key);
                None
            }
        })
        .collect();
    Page { entries, skipped, span, in_order, complete, age: Duration::ZERO }
}

fn node(object: Option<ObjectMeta>) -> Node {
    object.map_or(Node::Directory, |object| Node::File(Arc::new(object)))
}

/// The path component that a listed key is, unless it cannot be one.
fn name_of<'a>(prefix: &str, key: &'a str, directory: bool) -> Option<&'a str> {
    let name = key.strip_prefix(prefix)?;
    let name = if directory { name.strip_suffix('/')? } else { name };
    is_name(name).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    fn listed(keys: &[&str], prefixes: &[&str]) -> ListPage {
        let object = |key: &&str| ObjectMeta {
            key: (*key).to_owned(),
            size: 1,
            last_modified: SystemTime::UNIX_EPOCH,
            version: Default::default(),
            storage_class: None,
        };
        ListPage {
            objects: keys.iter().map(object).collect(),
            prefixes: prefixes.iter().map(|p| (*p).to_owned()).collect(),
            ..ListPage::default()
        }
    }

    #[test]
    fn keys_become_names_in_the_order_of_keys() {
        let page = page("d/", listed(&["d/", "d/a", "d/b c+%41"], &["d/a/", "d/é/"]));
        let names: Vec<_> = page.entries.iter().map(|e| &*e.name).collect();
        assert_eq!(names, ["a", "a", "b c+%41", "é"]);
        assert!(matches!(page.entries[1].node, Node::Directory));
        assert_eq!(page.span, Some(("a".into(), "é/".into())));
        assert!(page.skipped.is_empty() && page.in_order && page.complete);
    }

    #[test]
    fn a_page_shows_whether_it_is_in_order() {
        assert!(!page("", listed(&["b", "a"], &[])).in_order);
        assert!(!page("", listed(&[], &["a/", "a-1/"])).in_order);
    }

    #[test]
    fn what_cannot_be_a_path_is_skipped() {
        let long = format!("d/{}", "x".repeat(256));
        let page = page("d/", listed(&["d/.", "d/..", "d/ok", &long], &["d//", "d/../"]));
        assert_eq!(page.entries.len(), 1);
        assert_eq!(page.skipped.len(), 5);
    }
}
