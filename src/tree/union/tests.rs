//! Unions of trees that are lists of paths.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::*;
use crate::store::ErrorKind;
use crate::tree::paths::Paths;

fn union(members: &[(&str, &Arc<Paths>)]) -> Union {
    let member = |(at, tree): &(&str, &Arc<Paths>)| Member { at: (*at).to_owned(), tree: (*tree).clone() };
    Union::new(members.iter().map(member).collect(), Ttl::new(Duration::from_secs(600)))
}

/// The key of a file, `/` for a directory.
async fn what(union: &Union, directory: &str, name: &str) -> Result<Option<String>> {
    let found = union.look_up(directory, name).await?;
    Ok(found.map(|found| match found.node {
        Node::Directory => "/".to_owned(),
        Node::File(object) => object.key().to_owned(),
    }))
}

/// The names of a directory, read so many at a time.
async fn names(union: &Union, directory: &str, count: usize) -> Result<Vec<String>> {
    let (opened, mut place, mut names) = (union.open(directory), 0, Vec::new());
    loop {
        let entries = opened.entries(place, count).await?;
        let Some((_, last)) = entries.last() else { return Ok(names) };
        place = *last;
        names.extend(entries.into_iter().map(|(entry, _)| entry.name.to_string()));
    }
}

#[tokio::test]
async fn the_first_member_that_has_a_name_wins() {
    let (one, two) =
        (Paths::new("1", &["a", "both", "d/x", "file"]), Paths::new("2", &["both", "d/y", "d/x", "file/z"]));
    let union = union(&[("", &one), ("", &two)]);
    for (directory, name, expected) in [
        ("", "a", Some("1:a")),
        ("", "both", Some("1:both")),
        ("", "d", Some("/")),
        ("d/", "x", Some("1:d/x")),
        ("d/", "y", Some("2:d/y")),
        ("", "file", Some("1:file")),
        ("", "none", None),
        ("d/", "none", None),
    ] {
        assert_eq!(what(&union, directory, name).await.unwrap().as_deref(), expected, "{directory}{name}");
    }
    for count in [1, 2, 100] {
        assert_eq!(names(&union, "", count).await.unwrap(), ["a", "both", "d", "file"]);
        assert_eq!(names(&union, "d/", count).await.unwrap(), ["x", "y"]);
    }
}

#[tokio::test]
async fn members_are_placed_at_paths() {
    let (one, two) = (Paths::new("1", &["a", "mast/x"]), Paths::new("2", &["jwst/y"]));
    let union = union(&[("", &one), ("mast/", &two), ("far/away/", &two)]);
    assert_eq!(names(&union, "", 9).await.unwrap(), ["a", "mast", "far"]);
    assert_eq!(names(&union, "mast/", 9).await.unwrap(), ["x", "jwst"]);
    assert_eq!(names(&union, "far/", 9).await.unwrap(), ["away"]);
    assert_eq!(what(&union, "", "far").await.unwrap().as_deref(), Some("/"));
    assert_eq!(what(&union, "far/", "away").await.unwrap().as_deref(), Some("/"));
    assert_eq!(what(&union, "far/", "near").await.unwrap(), None);
    assert_eq!(what(&union, "far/away/jwst/", "y").await.unwrap().as_deref(), Some("2:jwst/y"));
    assert_eq!(what(&union, "mast/jwst/", "y").await.unwrap().as_deref(), Some("2:jwst/y"));
    let (path, object) = union.foresee("far/away/jwst/y").await.unwrap();
    assert_eq!((&*path, object.key()), ("far/away/jwst/y", "2:jwst/y"));
}

/// A file of another source in the place of one that cannot be reached would be wrong data.
#[tokio::test]
async fn where_a_member_is_down_no_later_one_takes_its_place() {
    let (one, two) = (Paths::new("1", &["a", "both", "d/x"]), Paths::new("2", &["both", "b", "d/y"]));
    let union = union(&[("", &one), ("", &two)]);
    one.fails.store(true, Ordering::SeqCst);
    for name in ["a", "both", "b"] {
        assert_eq!(what(&union, "", name).await.unwrap_err().kind, ErrorKind::Server, "{name}");
    }
    assert_eq!(names(&union, "", 9).await.unwrap(), ["both", "b", "d"], "what the others have");
    one.fails.store(false, Ordering::SeqCst);
    two.fails.store(true, Ordering::SeqCst);
    assert_eq!(what(&union, "", "both").await.unwrap().as_deref(), Some("1:both"), "the first one answers");
    assert_eq!(what(&union, "", "d").await.unwrap().as_deref(), Some("/"));
    assert!(what(&union, "", "b").await.is_err() && what(&union, "d/", "y").await.is_err());
    two.fails.store(false, Ordering::SeqCst);
    assert_eq!(what(&union, "d/", "y").await.unwrap().as_deref(), Some("2:d/y"), "it may have had the directory");
    one.fails.store(true, Ordering::SeqCst);
    two.fails.store(true, Ordering::SeqCst);
    assert!(names(&union, "", 9).await.is_err(), "an outage is no empty directory");
}

/// Regression: names were missing, without a sign of it.
#[tokio::test]
async fn a_spent_budget_hides_no_name() {
    let one = Paths::failing("1", &["a"], ErrorKind::OverBudget);
    let two = Paths::new("2", &["b"]);
    for members in [[("", &one), ("", &two)], [("", &two), ("", &one)]] {
        let union = union(&members);
        one.fails.store(true, Ordering::SeqCst);
        assert_eq!(names(&union, "", 9).await.unwrap_err().kind, ErrorKind::OverBudget);
        one.fails.store(false, Ordering::SeqCst);
        assert_eq!(names(&union, "", 9).await.unwrap().len(), 2);
    }
}

#[tokio::test]
async fn only_members_that_have_a_directory_are_asked_for_what_is_in_it() {
    let (one, two) = (Paths::new("1", &["d/x"]), Paths::new("2", &["e/y"]));
    let union = union(&[("", &one), ("", &two)]);
    what(&union, "", "d").await.unwrap();
    for _ in 0..5 {
        what(&union, "d/", "x").await.unwrap();
        what(&union, "d/", "none").await.unwrap();
    }
    assert_eq!((one.asked.load(Ordering::SeqCst), two.asked.load(Ordering::SeqCst)), (11, 1));
}
