//! From keys to directory entries.

use std::sync::Arc;

use super::inode::Node;
use crate::store::{ListPage, ObjectMeta};

/// The longest name of a path component, in bytes (`NAME_MAX` of Linux).
pub const NAME_MAX: usize = 255;

/// A name in a directory and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The path component.
    pub name: Arc<str>,
    /// The file or directory.
    pub node: Node,
}

/// The entries of the directory `prefix` in one page of its delimited listing, in the order of the keys. A `dir/`
/// marker is the directory itself; keys that cannot be a path are returned apart.
pub fn entries(prefix: &str, page: ListPage) -> (Vec<Entry>, Vec<String>) {
    let files = page.objects.into_iter().map(|object| (object.key.clone(), Some(object)));
    let directories = page.prefixes.into_iter().map(|directory| (directory, None));
    let mut listed: Vec<(String, Option<ObjectMeta>)> = files.chain(directories).collect();
    listed.sort_by(|a, b| a.0.cmp(&b.0));
    let mut skipped = Vec::new();
    let entries = listed
        .into_iter()
        .filter(|(key, _)| key != prefix)
        .filter_map(|(key, object)| match name_of(prefix, &key, object.is_none()) {
            Some(name) => Some(Entry { name: name.into(), node: node(&key, object) }),
            None => {
                skipped.push(key);
                None
            }
        })
        .collect();
    (entries, skipped)
}

fn node(key: &str, object: Option<ObjectMeta>) -> Node {
    match object {
        Some(object) => Node::File { object: Arc::new(object) },
        None => Node::Directory { prefix: key.into() },
    }
}

/// The path component that a listed key is, unless it cannot be one.
fn name_of<'a>(prefix: &str, key: &'a str, directory: bool) -> Option<&'a str> {
    let name = key.strip_prefix(prefix)?;
    let name = if directory { name.strip_suffix('/')? } else { name };
    is_name(name).then_some(name)
}

/// Whether a string can be a component of a path.
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && name.len() <= NAME_MAX && !name.contains(['/', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    fn page(keys: &[&str], prefixes: &[&str]) -> ListPage {
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
            continuation: None,
        }
    }

    #[test]
    fn keys_become_names_in_the_order_of_keys() {
        let (entries, skipped) = entries("d/", page(&["d/", "d/b c+%41", "d/a"], &["d/é/", "d/a/"]));
        let names: Vec<_> = entries.iter().map(|e| &*e.name).collect();
        assert_eq!(names, ["a", "a", "b c+%41", "é"]);
        assert!(matches!(entries[1].node, Node::Directory { .. }));
        assert!(skipped.is_empty());
    }

    #[test]
    fn what_cannot_be_a_path_is_skipped() {
        let long = format!("d/{}", "x".repeat(256));
        let (entries, skipped) = entries("d/", page(&["d/.", "d/..", &long, "d/ok"], &["d//", "d/../"]));
        assert_eq!(entries.len(), 1);
        assert_eq!(skipped.len(), 5);
    }
}
