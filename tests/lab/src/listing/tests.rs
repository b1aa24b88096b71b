//! The listing against a naive filter, for random keys, delimiters and page sizes.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::content::Content;

fn objects(keys: &[String]) -> Objects {
    let object = Arc::new(Object::new(Content::from("x")).expect("bytes in memory"));
    keys.iter().map(|key| (key.clone(), Arc::clone(&object))).collect()
}

/// All pages, one after another.
fn walk(objects: &Objects, mut query: Query) -> (Vec<String>, Vec<String>, usize) {
    let (mut keys, mut groups, mut pages) = (Vec::new(), Vec::new(), 0);
    loop {
        let page = list(objects, &query);
        pages += 1;
        assert!(page.len() <= query.max_keys);
        keys.extend(page.objects.into_iter().map(|(key, _)| key));
        groups.extend(page.common_prefixes);
        match page.next {
            Some(next) => query.start = next,
            None => return (keys, groups, pages),
        }
    }
}

fn naive(objects: &Objects, query: &Query) -> (Vec<String>, Vec<String>) {
    let (mut keys, mut groups) = (Vec::new(), BTreeSet::new());
    for key in objects.keys() {
        let Some(rest) = key.strip_prefix(&query.prefix) else { continue };
        if matches!(&query.start, Start::AfterKey(after) if key <= after) {
            continue;
        }
        match rest.find(&query.delimiter) {
            Some(at) if !query.delimiter.is_empty() => {
                groups.insert(key[..query.prefix.len() + at + query.delimiter.len()].to_owned());
            }
            _ => keys.push(key.clone()),
        }
    }
    (keys, groups.into_iter().collect())
}

proptest! {
    #[test]
    fn equals_a_naive_filter(
        keys in prop::collection::vec("[ab/+ é\u{D7FF}\u{10FFFF}]{1,6}", 0..60),
        prefix in "[ab/é\u{10FFFF}]{0,2}",
        delimiter in prop::sample::select(vec!["", "/", "a", "//", "é", "\u{10FFFF}"]),
        max_keys in 1..9usize,
        after in prop::option::of("[ab/é]{0,3}"),
    ) {
        let objects = objects(&keys);
        let start = after.map_or(Start::Beginning, Start::AfterKey);
        let query = Query { prefix, delimiter: delimiter.into(), max_keys, start };
        let (keys, groups, pages) = walk(&objects, query.clone());
        let entries = keys.len() + groups.len();
        prop_assert_eq!((keys, groups), naive(&objects, &query));
        prop_assert_eq!(pages, entries.div_ceil(max_keys).max(1));
    }
}

#[test]
fn no_entries_are_asked_for() {
    let query = Query { prefix: String::new(), delimiter: String::new(), max_keys: 0, start: Start::Beginning };
    let page = list(&objects(&["a".into()]), &query);
    assert_eq!((page.len(), page.next), (0, None));
}

#[test]
fn successor_skips_surrogates_and_the_end() {
    assert_eq!(successor("a/").as_deref(), Some("a0"));
    assert_eq!(successor("a\u{D7FF}").as_deref(), Some("a\u{E000}"));
    assert_eq!(successor("a\u{10FFFF}").as_deref(), Some("b"));
    assert_eq!(successor("\u{10FFFF}"), None);
    assert_eq!(successor(""), None);
}
