//! The store of a folder on disk, against the folder.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use futures::TryStreamExt;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn folder(files: &[&str]) -> (TempDir, LocalStore) {
    let folder = TempDir::new().unwrap();
    for file in files {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
    let store = LocalStore::open(folder.path()).unwrap();
    (folder, store)
}

/// All keys and prefixes that a listing gives, page by page.
async fn list(store: &LocalStore, prefix: &str, delimited: bool, max_keys: u16) -> Vec<String> {
    let mut request = ListRequest { prefix: prefix.to_owned(), delimited, max_keys, continuation: None };
    let mut all = Vec::new();
    loop {
        let page = store.list(&request).await.unwrap();
        let mut names: Vec<_> = page.objects.into_iter().map(|object| object.key).chain(page.prefixes).collect();
        assert!(names.len() <= usize::from(max_keys));
        names.sort();
        all.extend(names);
        request.continuation = page.continuation;
        if request.continuation.is_none() {
            return all;
        }
    }
}

async fn read(store: &LocalStore, object: &ObjectMeta, range: Range<u64>) -> Result<Vec<u8>> {
    let chunks: Vec<Bytes> = store.get(object, range).await?.stream.try_collect().await?;
    Ok(chunks.concat())
}

#[tokio::test]
async fn a_folder_reads_as_a_bucket() {
    let (_folder, store) = folder(&["a", "d/x", "d-1", "d/e/y", "d0", "é"]);
    assert_eq!(list(&store, "", true, 1000).await, ["a", "d-1", "d/", "d0", "é"]);
    assert_eq!(list(&store, "d", true, 1000).await, ["d-1", "d/", "d0"]);
    assert_eq!(list(&store, "", false, 2).await, ["a", "d-1", "d/e/y", "d/x", "d0", "é"]);
    assert_eq!(list(&store, "d/", false, 1000).await, ["d/e/y", "d/x"]);
    assert!(list(&store, "nothing/", true, 1000).await.is_empty() && list(&store, "a/", true, 9).await.is_empty());
    let object = store.head("d/e/y").await.unwrap();
    assert_eq!(read(&store, &object, 1..4).await.unwrap(), b"/e/");
    let peeked = store.peek("a", 100).await.unwrap();
    let head: Vec<Bytes> = peeked.head.stream.try_collect().await.unwrap();
    assert_eq!((peeked.object.size, head.concat()), (1, b"a".to_vec()));
    for missing in ["x", "d", "d/", "a/b", "d/../a", "./a", "d//x", ""] {
        assert_eq!(store.head(missing).await.unwrap_err().kind, ErrorKind::NotFound, "{missing}");
        assert_eq!(store.peek(missing, 1).await.err().unwrap().kind, ErrorKind::NotFound, "{missing}");
    }
}

#[tokio::test]
async fn what_is_written_to_or_replaced_is_another_version() {
    let (folder, store) = folder(&["same", "replaced", "long"]);
    let before = store.head("same").await.unwrap();
    assert!(read(&store, &before, 0..4).await.is_ok());
    // Of the same length, and in the same second.
    fs::write(folder.path().join("same"), "SAME").unwrap();
    assert_eq!(read(&store, &before, 0..4).await.unwrap_err().kind, ErrorKind::VersionChanged);
    let before = store.head("replaced").await.unwrap();
    fs::write(folder.path().join("new"), "REPLACED").unwrap();
    fs::rename(folder.path().join("new"), folder.path().join("replaced")).unwrap();
    assert_eq!(read(&store, &before, 0..8).await.unwrap_err().kind, ErrorKind::VersionChanged);
    fs::write(folder.path().join("long"), vec![1; 3 << 20]).unwrap();
    let object = store.head("long").await.unwrap();
    let mut body = store.get(&object, 0..3 << 20).await.unwrap();
    assert_eq!(body.stream.try_next().await.unwrap().unwrap().len(), 1 << 20);
    fs::write(folder.path().join("long"), vec![2; 3 << 20]).unwrap();
    assert_eq!(body.stream.try_next().await.unwrap_err().kind, ErrorKind::VersionChanged);
}

#[tokio::test]
async fn links_that_lead_out_of_the_folder_or_in_circles_are_not_shown() {
    let (folder, store) = folder(&["d/file", "e/other"]);
    let outside = TempDir::new().unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    let link = |to: &str, from: &str| symlink(to, folder.path().join(from)).unwrap();
    link(outside.path().join("secret").to_str().unwrap(), "secret");
    link(outside.path().to_str().unwrap(), "out");
    link("../../..", "d/up");
    link("d/file", "inside");
    link("../e", "d/e");
    link("../d", "e/d");
    link("..", "d/round");
    link("nowhere", "dangling");
    link("self", "self");
    assert_eq!(list(&store, "", true, 9).await, ["d/", "e/", "inside"]);
    assert_eq!(list(&store, "", false, 1).await, ["d/e/other", "d/file", "e/d/file", "e/other", "inside"]);
    assert_eq!(store.head("inside").await.unwrap().size, 6);
    for out in ["secret", "out/secret", "d/up/etc/passwd", "dangling", "self"] {
        assert_eq!(store.head(out).await.unwrap_err().kind, ErrorKind::NotFound, "{out}");
    }
}

#[tokio::test]
async fn what_is_no_file_is_neither_shown_nor_waited_for() {
    let (folder, store) = folder(&["file"]);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        folder.path().join("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    let _socket = UnixListener::bind(folder.path().join("socket")).unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    symlink("fifo", folder.path().join("link")).unwrap();
    let no_utf8: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"\xff.fits");
    fs::write(folder.path().join(no_utf8), "x").unwrap();
    assert_eq!(list(&store, "", true, 9).await, ["empty/", "file"]);
    let request = ListRequest { prefix: String::new(), delimited: true, max_keys: 9, continuation: None };
    assert_eq!(store.list(&request).await.unwrap().senseless, ["\u{fffd}.fits"]);
    for other in ["fifo", "socket", "link", "empty"] {
        let peeked = tokio::time::timeout(Duration::from_secs(20), store.peek(other, 1)).await.expect("no wait");
        assert_eq!(peeked.err().unwrap().kind, ErrorKind::NotFound, "{other}");
    }
}

#[tokio::test]
async fn a_listing_shows_what_was_added_since_the_last_one() {
    let (folder, store) = folder(&["a"]);
    for n in 0..50 {
        assert_eq!(list(&store, "", true, 1000).await.len(), 1 + n, "also within a tick of the clock");
        fs::write(folder.path().join(format!("{n:02}")), "x").unwrap();
    }
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_named() {
    let error = LocalStore::open(Path::new("/nowhere/at/all")).unwrap_err();
    assert!(error.kind == ErrorKind::NotFound && error.message.contains("/nowhere/at/all"), "{error}");
    assert!(LocalStore::open(Path::new("/proc/self/exe")).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Pages of any size put together are all the keys in their order.
    #[test]
    fn pages_put_together_are_the_folder(
        files in proptest::collection::btree_set("[a-c-]{1,2}(/[a-c0]{1,2}){0,2}", 0..24),
        prefix in "([a-c-]{1,2}/)?[a-c]{0,1}",
        max_keys in 1u16..5,
    ) {
        // A name is a file or a folder.
        let is_folder = |key: &str| files.iter().any(|other| other.starts_with(&format!("{key}/")));
        let keys: Vec<&str> = files.iter().map(String::as_str).filter(|key| !is_folder(key)).collect();
        let (_folder, store) = folder(&keys);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut flat: Vec<_> = keys.iter().filter(|key| key.starts_with(&prefix)).map(|key| (*key).to_owned()).collect();
        flat.sort();
        prop_assert_eq!(runtime.block_on(list(&store, &prefix, false, max_keys)), flat.clone());
        let group = |key: &String| match key[prefix.len()..].find('/') {
            Some(slash) => key[..=prefix.len() + slash].to_owned(),
            None => key.clone(),
        };
        let mut grouped: Vec<_> = flat.iter().map(group).collect();
        grouped.dedup();
        prop_assert_eq!(runtime.block_on(list(&store, &prefix, true, max_keys)), grouped);
    }
}
