//! Web servers that are installed here, with each kind of index that they have.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use fitsfs::store::{self, ListRequest, SourceUrl, Store, StoreOptions};

use super::suite::{Contents, Subject};
use super::web_server::{Folder, Server, apache, nginx};

/// What no server of files can have.
const LACKS: &[(&str, &str)] = &[
    ("listing_groups_by_delimiter", "a file of a filesystem is no folder as well"),
    ("listing_is_in_order", "a file of a filesystem is no folder as well"),
    ("odd_keys_are_kept", "a file of a filesystem is no folder as well, and no name is empty"),
];

#[async_trait]
impl Contents for Arc<Folder> {
    async fn put(&self, key: &str, bytes: Vec<u8>) {
        // What a filesystem cannot have is not there, which the suite will find.
        let _ = self.write(key, &bytes);
    }

    async fn delete(&self, key: &str) {
        fs::remove_file(self.path(key)).unwrap();
    }

    async fn archive(&self, _key: &str) -> bool {
        false
    }
}

async fn store(server: &Server) -> Arc<dyn Store> {
    let source = SourceUrl::parse(&server.url()).unwrap();
    store::open(&source, &StoreOptions::default()).await.unwrap()
}

async fn conforms(server: Server) {
    Subject { store: store(&server).await, contents: Box::new(server.folder.clone()), lacks: LACKS }.conforms().await;
    keeps_names(&server).await;
}

/// What a filesystem can have of the odd keys of the suite, in order.
async fn keeps_names(server: &Server) {
    const NAMES: &str = "a b|a+b|%41|%2F|é|e\u{301}|日本|?q=1&r#f|<&>\"'| |trailing |*|~|a;b=c|sub:x|\u{10000}";
    let names: Vec<_> = NAMES.split('|').collect();
    for name in &names {
        server.folder.write(&format!("names/{name}"), name.as_bytes()).unwrap();
        server.folder.write(&format!("names/in {name}/x"), b"x").unwrap();
    }
    let store = store(server).await;
    let request = ListRequest { prefix: "names/".to_owned(), delimited: true, max_keys: 1000, continuation: None };
    let page = store.list(&request).await.unwrap();
    let mut expected: Vec<_> = names.iter().map(|name| format!("names/{name}")).collect();
    expected.sort();
    assert_eq!(page.objects.iter().map(|object| object.key.clone()).collect::<Vec<_>>(), expected);
    assert_eq!(page.prefixes.len(), names.len(), "{:?}", page.prefixes);
    for object in &page.objects {
        assert_eq!(store.head(&object.key).await.unwrap(), *object);
    }
    let flat = store.list(&ListRequest { delimited: false, ..request.clone() }).await.unwrap();
    assert_eq!(flat.objects.len(), 2 * names.len());
    assert!(flat.objects.is_sorted_by(|a, b| a.key < b.key), "{:?}", flat.objects);
}

#[tokio::test]
async fn nginx_with_json_conforms() {
    let Some(server) = nginx("", "autoindex on; autoindex_format json;") else { return };
    conforms(server).await;
}

#[tokio::test]
async fn nginx_with_links_conforms() {
    let Some(server) = nginx("", "autoindex on;") else { return };
    conforms(server).await;
}

#[tokio::test]
async fn nginx_with_webdav_conforms() {
    const MODULE: &str = "/usr/lib/nginx/modules/ngx_http_dav_ext_module.so";
    if !Path::new(MODULE).exists() {
        return fitsfs_lab::untested("nginx has no module for PROPFIND");
    }
    let Some(server) = nginx(&format!("load_module {MODULE};"), "dav_ext_methods PROPFIND;") else { return };
    conforms(server).await;
}

#[tokio::test]
async fn apache_with_links_conforms() {
    let Some(server) = apache(&["autoindex"], "Options +Indexes\nIndexOptions FancyIndexing") else { return };
    conforms(server).await;
}

#[tokio::test]
async fn apache_with_webdav_conforms() {
    let Some(server) = apache(&["dav", "dav_fs"], "Dav On") else { return };
    conforms(server).await;
}
