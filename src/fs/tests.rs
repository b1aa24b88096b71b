//! Operations on a tree that is a list of paths.

use async_trait::async_trait;
use tokio::runtime::Handle;

use super::*;
use crate::cache::Budget;
use crate::read::ReaderConfig;
use crate::store::{self, ObjectMeta, Version, nowhere};

/// Files by path.
#[derive(Debug)]
struct Paths(Vec<&'static str>);

/// The entries of a directory.
struct Entries(Vec<Entry>);

impl Paths {
    fn node(&self, path: &str) -> Option<Node> {
        let meta = || ObjectMeta {
            key: path.to_owned(),
            size: 1,
            last_modified: SystemTime::UNIX_EPOCH,
            version: Version::default(),
            storage_class: None,
        };
        let below = format!("{path}/");
        match self.0.contains(&path) {
            true => Some(Node::File(nowhere::object(meta()))),
            false => self.0.iter().any(|file| file.starts_with(&below)).then_some(Node::Directory),
        }
    }
}

#[async_trait]
impl Tree for Paths {
    fn ttl(&self) -> Ttl {
        Ttl::new(Duration::from_secs(1))
    }

    async fn look_up(&self, directory: &str, name: &str) -> store::Result<Option<Found>> {
        Ok(self.node(&format!("{directory}{name}")).map(|node| Found { node, head: None }))
    }

    fn open(&self, directory: &str) -> Arc<dyn Directory> {
        let entry = |path: &&'static str| {
            let name = path.strip_prefix(directory)?;
            Some(Entry { name: name.into(), node: self.node(path)? })
        };
        Arc::new(Entries(self.0.iter().filter_map(entry).collect()))
    }

    fn known(&self, _: &str) -> Option<Arc<dyn Directory>> {
        None
    }

    async fn foresee(&self, _: &str) -> Option<(String, Object)> {
        None
    }

    async fn look_again(&self, object: &Object) -> Object {
        object.clone()
    }

    async fn invalidate(&self, _: &str) {}
}

#[async_trait]
impl Directory for Entries {
    async fn entries(&self, place: u64, count: usize) -> store::Result<Vec<(Entry, u64)>> {
        Ok(self.0.iter().cloned().zip(1..).skip(place as usize).take(count).collect())
    }

    fn beyond(&self, _: &str, _: isize, _: usize) -> Vec<Entry> {
        Vec::new()
    }
}

fn filesystem(paths: &[&'static str]) -> Filesystem {
    let (metrics, runtime, memory) = (Arc::new(Metrics::new()), Handle::current(), 8 << 20);
    let budget = Budget::new(memory, metrics.clone());
    let (disk, max_ahead, max_region) = (None, memory, memory);
    let peeks = Arc::new(Peeks::new(runtime.clone()));
    let config = ReaderConfig { disk, budget, max_ahead, max_region, metrics: metrics.clone(), runtime };
    let tree = Arc::new(Paths(paths.to_vec()));
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
