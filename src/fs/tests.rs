//! Operations on a tree that is a list of paths.

use tokio::runtime::Handle;

use super::*;
use crate::cache::Budget;
use crate::read::ReaderConfig;
use crate::tree::paths::Paths;

fn filesystem(paths: &[&'static str]) -> Filesystem {
    let (metrics, runtime, memory) = (Arc::new(Metrics::new()), Handle::current(), 8 << 20);
    let budget = Budget::new(memory, metrics.clone());
    let (disk, max_ahead, max_region) = (None, memory, memory);
    let peeks = Arc::new(Peeks::new(runtime.clone()));
    let config = ReaderConfig { disk, budget, max_ahead, max_region, metrics: metrics.clone(), runtime };
    let tree = Paths::new("tree", paths);
    Filesystem::new(Parts { tree, peeks, reader: Reader::new(config), metrics, memory })
}

#[tokio::test]
async fn a_handle_of_another_directory_is_refused() {
    let fs = filesystem(&["a/1", "a/2", "b/3"]);
    let a = fs.look_up(ROOT, "a").await.unwrap().unwrap().ino;
    let b = fs.look_up(ROOT, "b").await.unwrap().unwrap().ino;
    let handle = fs.open_directory(a).unwrap();
    let listed = fs.read_directory(a, handle, 0, 9).await.unwrap();
    let names: Vec<_> = listed.entries.iter().map(|(entry, _)| &*entry.name).collect();
    assert_eq!((&*listed.directory, names), ("a/", vec!["1", "2"]));
    assert_eq!(fs.read_directory(b, handle, 0, 9).await.err(), Some(Errno::EBADF));
    fs.release_directory(handle);
    assert_eq!(fs.read_directory(a, handle, 0, 9).await.err(), Some(Errno::EBADF));
}

#[tokio::test]
async fn an_entry_has_the_number_that_its_look_up_finds() {
    let fs = filesystem(&["a/1", "a/2"]);
    let a = fs.look_up(ROOT, "a").await.unwrap().unwrap().ino;
    let handle = fs.open_directory(a).unwrap();
    let Listed { directory, entries } = fs.read_directory(a, handle, 1, 9).await.unwrap();
    let (entry, _) = &entries[0];
    let found = fs.look_up(a, "2").await.unwrap().unwrap();
    assert_eq!((fs.number(&directory, entry), &*found.path), (found.ino, "a/2"));
    assert_eq!(fs.place(found.ino), Some((a, "2".to_owned())));
    assert_eq!(fs.place(a), None);
}
