//! Known names against the bucket that they were listed from.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::store::{ListPage, ObjectMeta};
use crate::tree::bucket::entry;
use crate::tree::is_name;

fn object(key: &str) -> ObjectMeta {
    ObjectMeta {
        key: key.into(),
        size: 1,
        last_modified: std::time::SystemTime::UNIX_EPOCH,
        version: Default::default(),
        storage_class: None,
    }
}

/// In which order a store lists.
#[derive(Clone, Copy, Debug)]
enum Order {
    /// By key, a directory being its name and a `/`.
    Keys,
    /// By name, whatever it is.
    Names,
    /// By nothing: the names reversed.
    None,
}

/// The pages of a delimited listing of all keys that begin with a stem.
fn pages(keys: &BTreeSet<String>, stem: &str, order: Order, length: usize) -> Vec<ListPage> {
    let group = |key: &String| key.find('/').map_or(key.clone(), |slash| key[..=slash].to_owned());
    let groups: BTreeSet<String> = keys.iter().filter(|key| key.starts_with(stem)).map(group).collect();
    let mut groups: Vec<String> = groups.into_iter().collect();
    groups.sort_by_key(|key| match order {
        Order::Keys => key.clone(),
        Order::Names => key.trim_end_matches('/').to_owned(),
        Order::None => key.chars().rev().collect(),
    });
    let count = groups.len().div_ceil(length).max(1);
    (0..count)
        .map(|page| {
            let on_page = groups.iter().skip(page * length).take(length);
            let (prefixes, files): (Vec<_>, Vec<_>) = on_page.cloned().partition(|key| key.ends_with('/'));
            let objects = files.iter().map(|key| object(key)).collect();
            ListPage {
                objects,
                prefixes,
                continuation: (page + 1 < count).then(|| "more".into()),
                ..ListPage::default()
            }
        })
        .collect()
}

/// What a name is in the bucket.
fn truth(keys: &BTreeSet<String>, name: &str) -> Answer {
    let directory = format!("{name}/");
    if keys.iter().any(|key| key.starts_with(&directory)) {
        Answer::Is(Node::Directory)
    } else if keys.contains(name) {
        Answer::Is(Node::File(object(name).into()))
    } else {
        Answer::IsNot
    }
}

fn key() -> impl Strategy<Value = String> {
    // Around the slash there are characters on both sides of it; `é` has bytes beyond ASCII.
    "[a.b/0-]{1,3}(é)?".prop_filter("a path", |key| !key.starts_with('/') && !key.contains("//"))
}

proptest! {
    #[test]
    fn an_answer_is_always_the_truth_and_there_is_one_at_the_end(
        keys in proptest::collection::btree_set(key(), 0..25),
        names in proptest::collection::vec("[a.b0-]{1,3}(é)?", 1..20),
        stem in "[ab]?",
        length in 1usize..6,
        order in prop_oneof![Just(Order::Keys), Just(Order::Names), Just(Order::None)],
        most in prop_oneof![Just(usize::MAX), 0usize..400],
    ) {
        // A store that lists in no order says so: one short page need not show it.
        let mut known = Known::new("", &stem, !matches!(order, Order::None));
        for page in pages(&keys, &stem, order, length) {
            let complete = page.continuation.is_none();
            known.append(entry::page("", page));
            known.shrink(most);
            for name in names.iter().filter(|name| is_name(name)) {
                let answer = known.answer(name);
                prop_assert!(answer == Answer::Unknown || answer == truth(&keys, name), "{} is {:?}", name, answer);
                let known_at_the_end = most < usize::MAX || !complete || !name.starts_with(&stem) || answer != Answer::Unknown;
                prop_assert!(known_at_the_end, "{} is unknown", name);
            }
        }
    }

    #[test]
    fn a_listing_in_order_knows_all_before_its_last_key(
        keys in proptest::collection::btree_set("[a-z]{3}", 6..25), name in "[a-z]{3}",
    ) {
        let mut known = Known::new("", "", true);
        let first = pages(&keys, "", Order::Keys, 5).remove(0);
        let last = first.objects.last().unwrap().key.clone();
        known.append(entry::page("", first));
        // The last key itself may be hidden by a directory.
        let expected = if name < last { truth(&keys, &name) } else { Answer::Unknown };
        prop_assert_eq!(known.answer(&name), expected);
    }
}

fn known(in_order: bool, listed: &[(&[&str], &[&str], bool)]) -> Known {
    let mut known = Known::new("", "", in_order);
    for (files, directories, complete) in listed {
        known.append(entry::page(
            "",
            ListPage {
                objects: files.iter().map(|key| object(key)).collect(),
                prefixes: directories.iter().map(|prefix| (*prefix).to_owned()).collect(),
                continuation: (!complete).then(|| "more".into()),
                ..ListPage::default()
            },
        ));
    }
    known
}

#[test]
fn a_file_is_one_once_its_directory_cannot_follow() {
    let hidden = known(true, &[(&["k", "k-1"], &[], false)]);
    assert_eq!((hidden.answer("k"), hidden.answer("j")), (Answer::Unknown, Answer::IsNot));
    let shown = known(true, &[(&["k", "k-1", "k0"], &[], false)]);
    assert!(matches!(shown.answer("k"), Answer::Is(Node::File(_))));
    let directory = known(true, &[(&["k", "k-1"], &[], false), (&[], &["k/"], false)]);
    assert!(matches!(directory.answer("k"), Answer::Is(Node::Directory)));
    assert_eq!(directory.entries().end(), 2, "the directory took the place of the file");
}

#[test]
fn pages_out_of_order_prove_nothing_absent() {
    let within = known(true, &[(&["m", "c", "x"], &[], false)]);
    let across = known(true, &[(&["m", "x"], &[], false), (&["b", "d"], &[], false)]);
    let told = known(false, &[(&["b", "x"], &[], false)]);
    for known in [within, across, told] {
        assert_eq!(known.answer("c1"), Answer::Unknown);
    }
    let complete = known(false, &[(&["m", "c"], &[], false), (&["b"], &[], true)]);
    assert_eq!(complete.answer("c1"), Answer::IsNot);
}
