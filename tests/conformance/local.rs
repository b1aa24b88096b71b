//! A folder of this machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use fitsfs::metrics::Metrics;
use fitsfs::store::{self, Source, SourceUrl, StoreOptions};
use tempfile::TempDir;

use super::suite::{Contents, Subject};

struct Folder(TempDir);

impl Folder {
    fn path(&self, key: &str) -> PathBuf {
        self.0.path().join(key)
    }
}

#[async_trait]
impl Contents for Folder {
    /// In the place of what was there, as programs replace files that are read.
    async fn put(&self, key: &str, bytes: Vec<u8>) {
        let path = self.path(key);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
        let new = tempfile::NamedTempFile::new_in(path.parent().unwrap()).unwrap();
        std::fs::write(new.path(), bytes).unwrap();
        new.persist(path).unwrap();
    }

    fn can_hold(&self, key: &str) -> bool {
        !key.contains("//") && !key.ends_with('/') && !["odd/k", "group/b", "order/a"].contains(&key)
    }

    async fn delete(&self, key: &str) {
        std::fs::remove_file(self.path(key)).unwrap();
    }

    async fn archive(&self, _key: &str) -> bool {
        false
    }
}

#[tokio::test]
async fn a_folder_conforms() {
    let folder = TempDir::new().unwrap();
    let source = SourceUrl::parse(&format!("file://{}", folder.path().display())).unwrap();
    let opened = store::open(&source, &StoreOptions::default()).await.unwrap();
    let store = Source::new(opened, &Arc::new(Metrics::new())).store;
    let lacks = &[];
    Subject { store, contents: Box::new(Folder(folder)), lacks }.conforms().await;
}
