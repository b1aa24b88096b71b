//! What is in the files of a tree that is a list of paths. None of them is read.

use std::sync::atomic::Ordering;

use tokio::runtime::Handle;

use super::*;
use crate::tree::paths::Paths;

fn unpacked(paths: &Arc<Paths>) -> Unpacked {
    Unpacked::new(paths.clone(), Gunzip::new(None, None, 1 << 20, Handle::current()))
}

/// The names of a directory, so many at a time, those of what is in files with a `+`.
async fn names(listing: &dyn Directory, count: usize) -> Vec<String> {
    let (mut place, mut names) = (0, Vec::new());
    loop {
        let entries = listing.entries(place, count).await.unwrap();
        let Some((_, last)) = entries.last() else { return names };
        assert!(*last > place);
        place = *last;
        names.extend(entries.iter().map(|(entry, _)| match &entry.node {
            Node::File(object) if object.source.is_derived => format!("{}+", entry.name),
            _ => entry.name.to_string(),
        }));
    }
}

const FILES: [&str; 9] =
    ["a.fits", "a.fits.gz", "b.fits.gz", "c.txt.gz", "d.fits-old", "d.fits.gz", "e.FIT", "e.FIT.GZ", "sub/x.fits.gz"];

#[tokio::test]
async fn what_is_in_files_is_beside_them_unless_there_is_one_by_that_name() {
    let tree = unpacked(&Paths::new("t", &FILES));
    let expected = [
        "a.fits",
        "a.fits.gz",
        "b.fits.gz",
        "b.fits+",
        "c.txt.gz",
        "d.fits-old",
        "d.fits.gz",
        "d.fits+",
        "e.FIT",
        "e.FIT.GZ",
        "sub",
    ];
    for count in [1, 2, 3, 100] {
        let listing = tree.open("");
        assert_eq!(names(&*listing, count).await, expected);
        assert_eq!(names(&*listing, 2).await, expected, "the same when a program goes back");
    }
    assert_eq!(names(&*tree.open("sub/"), 10).await, ["x.fits.gz", "x.fits+"]);
    let what = async |directory: &str, name: &str| {
        let found = tree.look_up(directory, name).await.unwrap()?;
        let Node::File(object) = found.node else { return Some("directory".to_owned()) };
        Some(format!("{}{}", object.key(), if object.source.is_derived { "+" } else { "" }))
    };
    for (directory, name, expected) in [
        ("", "a.fits", Some("t:a.fits")),
        ("", "b.fits", Some("t:b.fits+")),
        ("", "b.fits.gz", Some("t:b.fits.gz")),
        ("", "c.txt", None),
        ("", "e.FIT", Some("t:e.FIT")),
        ("sub/", "x.fits", Some("t:sub/x.fits+")),
        ("", "sub", Some("directory")),
        ("", "none.fits", None),
    ] {
        assert_eq!(what(directory, name).await.as_deref(), expected, "{name}");
    }
}

/// A reply may be full between a file and what is in it.
#[tokio::test]
async fn a_listing_goes_on_between_a_file_and_what_is_in_it() {
    let tree = unpacked(&Paths::new("t", &FILES));
    let listing = tree.open("");
    let all = listing.entries(0, 100).await.unwrap();
    for (index, (_, place)) in all.iter().enumerate() {
        let rest = listing.entries(*place, 100).await.unwrap();
        let names = |entries: &[(Entry, u64)]| entries.iter().map(|(entry, _)| entry.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&rest), names(&all[index + 1..]));
    }
}

/// Where names come in no order, one is shown once.
#[tokio::test]
async fn no_name_is_shown_twice() {
    let tree = unpacked(&Paths::new("t", &["b.fits.gz", "b.fits", "a.fits"]));
    let listing = tree.open("");
    for _ in 0..2 {
        assert_eq!(names(&*listing, 1).await, ["b.fits.gz", "b.fits+", "a.fits"]);
    }
    let Some(Found { node: Node::File(found), .. }) = tree.look_up("", "b.fits").await.unwrap() else { panic!() };
    assert!(!found.source.is_derived, "the kernel is told to ask anew");
}

#[tokio::test]
async fn a_tree_that_is_down_shows_nothing_else_in_its_place() {
    let paths = Paths::new("t", &FILES);
    let tree = unpacked(&paths);
    paths.fails.store(true, Ordering::SeqCst);
    assert!(tree.look_up("", "a.fits").await.is_err() && tree.look_up("", "b.fits").await.is_err());
    assert!(tree.open("").entries(0, 10).await.is_err());
}

#[tokio::test]
async fn neighbours_of_what_is_in_a_file_are_found_and_nothing_is_foreseen_unproved() {
    let tree = unpacked(&Paths::new("t", &["a.fits.gz", "b.fits.gz", "c.txt", "d.fits.gz", "e.fits"]));
    let beyond = |name: &str, direction| {
        let entries = tree.known("").unwrap().beyond(name, direction, 3);
        entries.iter().map(|entry| entry.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(beyond("a.fits", 1), ["b.fits", "d.fits"]);
    assert_eq!(beyond("d.fits", -1), ["b.fits", "a.fits"]);
    assert_eq!(tree.foresee("b.fits").await.map(|(path, _)| path), None);
    assert_eq!(tree.foresee("e.fits").await.map(|(path, _)| path).as_deref(), Some("e.fits"));
}
