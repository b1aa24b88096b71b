//! A list of files, whose store counts what it is asked.

use tokio::runtime::Handle;

use super::*;
use crate::store::scripted::{Op, Scripted};

const SIZE: u64 = 5000;

fn manifest(files: &[(&str, Option<u64>)]) -> (Arc<Scripted>, Manifest) {
    let store = Arc::new(Scripted::of_size(SIZE));
    let object = Object::of(store.clone(), crate::store::scripted::object("any", SIZE));
    let names = Remembered::nothing(store.clone());
    let file =
        |(path, size): &(&str, Option<u64>)| File { path: (*path).into(), place: 0, key: (*path).into(), size: *size };
    let files = files.iter().map(file).collect();
    let ttl = Ttl::new(Duration::from_secs(600));
    let peeks = Arc::new(Peeks::new(Handle::current()));
    (store, Manifest::new(vec![Place { source: object.source, names }], files, ttl, peeks))
}

async fn names(tree: &Manifest, directory: &str, count: usize) -> Vec<String> {
    let (opened, mut place, mut names) = (tree.open(directory), 0, Vec::new());
    loop {
        let entries = opened.entries(place, count).await.unwrap();
        let Some((_, last)) = entries.last() else { return names };
        place = *last;
        names.extend(entries.into_iter().map(|(entry, _)| entry.node.path("", &entry.name)));
    }
}

fn asked(store: &Scripted) -> usize {
    store.count(Op::Head) + store.count(Op::Peek)
}

#[tokio::test]
async fn a_list_is_a_tree_without_a_request() {
    let paths = ["a-1", "a/x", "a/y/z", "a0", "b/c"].map(|path| (path, Some(SIZE)));
    let (store, tree) = manifest(&paths);
    for count in [1, 2, 100] {
        assert_eq!(names(&tree, "", count).await, ["a-1", "a/", "a0", "b/"]);
        assert_eq!(names(&tree, "a/", count).await, ["x", "y/"]);
        assert_eq!(names(&tree, "a/y/", count).await, ["z"]);
    }
    assert!(names(&tree, "none/", 9).await.is_empty());
    for (directory, name, there) in
        [("", "a", true), ("a/", "y", true), ("", "a-", false), ("a/y/", "z", true), ("", "c", false)]
    {
        assert_eq!(tree.look_up(directory, name).await.unwrap().is_some(), there, "{directory}{name}");
    }
    assert_eq!(asked(&store), 0);
}

/// Where the list does not say how long a file is, only the store can.
#[tokio::test]
async fn a_file_is_looked_at_once_before_it_is_read() {
    let (store, tree) = manifest(&[("known.fits", Some(1)), ("unknown.fits", None)]);
    let node = async |name: &str| match tree.look_up("", name).await.unwrap().unwrap().node {
        Node::File(object) => object,
        Node::Directory => panic!("a file"),
    };
    assert_eq!((node("unknown.fits").await.size(), asked(&store)), (SIZE, 1));
    let listed = node("known.fits").await;
    assert!(listed.is_provisional && listed.size() == 1);
    assert_eq!(asked(&store), 1);
    let told = tree.look_again("known.fits", &listed).await.unwrap();
    assert!(!told.is_provisional && told.size() == SIZE && !told.is_same(&listed));
    assert!(node("known.fits").await.is_same(&told));
    assert_eq!(asked(&store), 2);
    // And anew, when it has turned out to be another one.
    tree.invalidate("known.fits").await;
    assert!(node("known.fits").await.is_provisional);
}

#[tokio::test]
async fn neighbours_are_files_of_the_directory() {
    let paths = ["d/1", "d/2", "d/3", "d/e/4", "f"].map(|path| (path, Some(SIZE)));
    let (_, tree) = manifest(&paths);
    let beyond = |name, direction| {
        let entries = tree.open("d/").beyond(name, direction, 9);
        entries.into_iter().map(|entry| entry.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!((beyond("1", 1), beyond("3", -1)), (vec!["2".to_owned(), "3".into()], vec!["2".to_owned(), "1".into()]));
    assert_eq!(tree.foresee("d/2").await.unwrap().1.size(), SIZE);
}
