//! What every store has to answer, whatever it is made of. Each case has keys of its own.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use fitsfs::store::{ErrorKind, ListPage, ListRequest, ObjectMeta, Store, StoreError};
use futures::future::BoxFuture;
use futures::stream::{BoxStream, TryStreamExt};

/// What the store shows, changed by another way than the store.
#[async_trait]
pub trait Contents: Send + Sync {
    /// Puts an object, or another one in its place.
    async fn put(&self, key: &str, bytes: Vec<u8>);

    /// Whether there can be such a key beside the others of its case: a folder holds no empty names, and nothing that is a
    /// file and a folder.
    fn can_hold(&self, _key: &str) -> bool {
        true
    }

    /// Takes an object away.
    async fn delete(&self, key: &str);

    /// Archives an object, so that it has to be restored before it is read; whether that can be done.
    async fn archive(&self, key: &str) -> bool;
}

/// A store to be tested.
pub struct Subject {
    pub store: Arc<dyn Store>,
    pub contents: Box<dyn Contents>,
    /// The cases that the service is known to fail, each with the reason. One that passes is reported as well.
    pub lacks: &'static [(&'static str, &'static str)],
}

type Verdict = Result<(), Failed>;
type Case = (&'static str, for<'a> fn(&'a Subject) -> BoxFuture<'a, Verdict>);

/// Why a case failed.
#[derive(Debug)]
pub struct Failed(String);

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self(format!("{:?}: {error}", error.kind))
    }
}

macro_rules! cases {
    ($($name:ident,)+) => {
        const CASES: &[Case] = &[$((stringify!($name), |subject| Box::pin($name(subject)))),+];
    };
}

cases! {
    touch_is_answered,
    listing_has_all_keys,
    listing_groups_by_delimiter,
    pages_follow_each_other,
    prefixes_may_end_within_names,
    listing_of_nothing_is_empty,
    listing_is_in_order,
    odd_keys_are_kept,
    head_and_listing_agree,
    peek_is_head_and_first_bytes,
    ranges_are_exact,
    many_ranges_at_once_are_exact,
    empty_objects_are_objects,
    replaced_object_is_another_version,
    deleted_object_is_not_found,
    missing_is_not_found,
    impossible_ranges_are_invalid,
    archived_objects_say_so,
    urls_name_keys,
}

macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(Failed(format!($($message)+)));
        }
    };
}

impl Subject {
    /// Fails unless everything is as it should be.
    pub async fn conforms(&self) {
        let wrong = self.wrong().await;
        assert!(wrong.is_empty(), "of {} cases, {} fail:\n{}", CASES.len(), wrong.len(), wrong.join("\n"));
    }

    /// Those of these keys that there can be.
    fn holdable<'a>(&self, keys: &[&'a str]) -> Vec<&'a str> {
        keys.iter().copied().filter(|key| self.contents.can_hold(key)).collect()
    }

    /// Asks everything; what is not as it should be, by name.
    pub async fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (name, case) in CASES {
            let lack = self.lacks.iter().find(|(lacking, _)| lacking == name);
            match (case(self).await, lack) {
                (Ok(()), None) => {}
                (Err(_), Some((_, why))) => println!("{name}: lacking, {why}"),
                (Ok(()), Some(_)) => wrong.push(format!("{name} passes, and was said to be lacking")),
                (Err(Failed(why)), None) => wrong.push(format!("{name}: {why}")),
            }
        }
        wrong
    }

    async fn put(&self, key: &str, bytes: &[u8]) {
        self.contents.put(key, bytes.to_vec()).await;
    }

    async fn read(&self, object: &ObjectMeta, range: Range<u64>) -> Result<Vec<u8>, Failed> {
        let body = self.store.get(object, range).await?;
        ensure!(body.version == object.version, "the answer is of {:?}, not of {:?}", body.version, object.version);
        Ok(all(body.stream).await?)
    }

    /// All pages of so many entries at most.
    async fn pages(&self, prefix: &str, delimited: bool, max_keys: u16) -> Result<Vec<ListPage>, Failed> {
        let mut request = ListRequest { prefix: prefix.to_owned(), delimited, max_keys, continuation: None };
        let mut pages: Vec<ListPage> = Vec::new();
        loop {
            let page = self.store.list(&request).await?;
            ensure!(pages.len() < 100, "a listing without end");
            ensure!(page.senseless.is_empty(), "entries without sense: {:?}", page.senseless);
            let entries = page.objects.len() + page.prefixes.len();
            ensure!(entries <= max_keys.into(), "{entries} entries in a page of {max_keys}");
            request.continuation = page.continuation.clone();
            pages.push(page);
            if request.continuation.is_none() {
                return Ok(pages);
            }
        }
    }

    /// The keys of objects, and the common prefixes, as they come.
    async fn names(&self, prefix: &str, delimited: bool, max_keys: u16) -> Result<[Vec<String>; 2], Failed> {
        let mut names = [Vec::new(), Vec::new()];
        for page in self.pages(prefix, delimited, max_keys).await? {
            names[0].extend(page.objects.into_iter().map(|object| object.key));
            names[1].extend(page.prefixes);
        }
        Ok(names)
    }

    /// Fails unless the listing has exactly these keys, in any order.
    async fn has(&self, prefix: &str, delimited: bool, keys: &[&str], prefixes: &[&str]) -> Verdict {
        let set = |names: &[String]| names.iter().cloned().collect::<BTreeSet<_>>();
        let expected = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let names = self.names(prefix, delimited, 1000).await?;
        for (told, wanted) in names.iter().zip([keys, prefixes]) {
            ensure!(
                told.len() == wanted.len() && set(told) == expected(wanted),
                "{prefix:?}: {told:?}, not {wanted:?}"
            );
        }
        Ok(())
    }
}

async fn all(stream: BoxStream<'static, Result<bytes::Bytes, StoreError>>) -> Result<Vec<u8>, StoreError> {
    let chunks: Vec<_> = stream.try_collect().await?;
    Ok(chunks.concat())
}

/// Bytes of which no two neighbourhoods are alike, so that a wrong range shows.
fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| ((at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect()
}

fn fails_as<T>(kind: ErrorKind, what: &str, answer: Result<T, StoreError>) -> Verdict {
    match answer {
        Err(error) if error.kind == kind => Ok(()),
        Err(error) => Err(Failed(format!("{what}: {:?} instead of {kind:?} ({error})", error.kind))),
        Ok(_) => Err(Failed(format!("{what}: an answer instead of {kind:?}"))),
    }
}

async fn touch_is_answered(subject: &Subject) -> Verdict {
    Ok(subject.store.touch().await?)
}

async fn listing_has_all_keys(subject: &Subject) -> Verdict {
    for key in ["all/a", "all/b/c", "all/b/d", "all/e"] {
        subject.put(key, b"x").await;
    }
    subject.has("all/", false, &["all/a", "all/b/c", "all/b/d", "all/e"], &[]).await?;
    subject.has("all/b/", false, &["all/b/c", "all/b/d"], &[]).await
}

async fn listing_groups_by_delimiter(subject: &Subject) -> Verdict {
    for key in subject.holdable(&["group/a", "group/b/c", "group/b/d/e", "group/f/g", "group/b"]) {
        subject.put(key, b"x").await;
    }
    let objects = subject.holdable(&["group/a", "group/b"]);
    subject.has("group/", true, &objects, &["group/b/", "group/f/"]).await?;
    subject.has("group/b/", true, &["group/b/c"], &["group/b/d/"]).await?;
    subject.has("group", true, &[], &["group/"]).await
}

async fn pages_follow_each_other(subject: &Subject) -> Verdict {
    let keys: Vec<_> = (0..25).map(|n| format!("pages/{n:02}/{}", n % 3)).collect();
    for key in &keys {
        subject.put(key, b"x").await;
    }
    for max_keys in [1, 7, 25, 1000] {
        let [mut told, _] = subject.names("pages/", false, max_keys).await?;
        told.sort();
        ensure!(told == keys, "in pages of {max_keys}: {told:?}");
        let [objects, mut folders] = subject.names("pages/", true, max_keys).await?;
        folders.sort();
        let expected: Vec<_> = (0..25).map(|n| format!("pages/{n:02}/")).collect();
        ensure!(objects.is_empty() && folders == expected, "folders in pages of {max_keys}: {folders:?}");
    }
    Ok(())
}

async fn prefixes_may_end_within_names(subject: &Subject) -> Verdict {
    for key in ["within/ab", "within/abc", "within/abd/e", "within/b", "within/Ab"] {
        subject.put(key, b"x").await;
    }
    subject.has("within/ab", false, &["within/ab", "within/abc", "within/abd/e"], &[]).await?;
    subject.has("within/ab", true, &["within/ab", "within/abc"], &["within/abd/"]).await?;
    subject.has("within/abc", true, &["within/abc"], &[]).await
}

async fn listing_of_nothing_is_empty(subject: &Subject) -> Verdict {
    subject.has("nothing/", true, &[], &[]).await?;
    subject.has("nothing/", false, &[], &[]).await
}

/// Bytes count, not what a language makes of them. Asked only where the store says so.
async fn listing_is_in_order(subject: &Subject) -> Verdict {
    if !subject.store.capabilities().ordered_listings {
        return Ok(());
    }
    let keys = subject.holdable(&[
        "order/A",
        "order/B",
        "order/a",
        "order/a-b",
        "order/a.b",
        "order/a/b",
        "order/a0",
        "order/é",
        "order/\u{10000}",
    ]);
    for key in keys.iter().rev() {
        subject.put(key, b"x").await;
    }
    let [told, _] = subject.names("order/", false, 4).await?;
    ensure!(told == keys, "{told:?}");
    for page in subject.pages("order/", true, 4).await? {
        ensure!(page.objects.is_sorted_by(|a, b| a.key < b.key), "objects: {:?}", page.objects);
        ensure!(page.prefixes.is_sorted(), "prefixes: {:?}", page.prefixes);
    }
    Ok(())
}

/// No key is anything but its characters.
async fn odd_keys_are_kept(subject: &Subject) -> Verdict {
    const KEYS: [&str; 19] = [
        "odd/x//y",
        "odd//z",
        "odd/dir/",
        "odd/k",
        "odd/k/z",
        "odd/a b",
        "odd/a+b",
        "odd/%41",
        "odd/%2F",
        "odd/é",
        "odd/e\u{301}",
        "odd/日本",
        "odd/?q=1&r#f",
        "odd/<&>\"'",
        "odd/a\\b",
        "odd/ ",
        "odd/trailing ",
        "odd/*",
        "odd/~",
    ];
    let keys = subject.holdable(&KEYS);
    for key in &keys {
        subject.put(key, key.as_bytes()).await;
    }
    subject.has("odd/", false, &keys, &[]).await?;
    for key in keys.iter().copied() {
        let object = subject.store.head(key).await?;
        ensure!(object.key == key, "{key:?} became {:?}", object.key);
        let bytes = subject.read(&object, 0..object.size).await?;
        ensure!(bytes == key.as_bytes(), "{key:?} has the bytes of {:?}", String::from_utf8_lossy(&bytes));
        subject
            .has(key, false, &keys.iter().copied().filter(|other| other.starts_with(key)).collect::<Vec<_>>(), &[])
            .await?;
    }
    Ok(())
}

async fn head_and_listing_agree(subject: &Subject) -> Verdict {
    subject.put("agree/k.fits", &content(5000)).await;
    let object = subject.store.head("agree/k.fits").await?;
    ensure!(object.key == "agree/k.fits" && object.size == 5000, "{object:?}");
    ensure!(!object.is_archived(), "archived: {object:?}");
    let pages = subject.pages("agree/", true, 1000).await?;
    ensure!(pages[0].objects == [object.clone()], "{:?}, not {object:?}", pages[0].objects);
    ensure!(object.is_same(&subject.store.head("agree/k.fits").await?), "another version without a change");
    Ok(())
}

async fn peek_is_head_and_first_bytes(subject: &Subject) -> Verdict {
    let bytes = content(5000);
    subject.put("peek", &bytes).await;
    let object = subject.store.head("peek").await?;
    for len in [1, 2880, 5000, 64 << 10] {
        let peeked = subject.store.peek("peek", len).await?;
        ensure!(peeked.object == object, "{:?}, not {object:?}", peeked.object);
        ensure!(peeked.head.version == object.version, "{:?}", peeked.head.version);
        let head = all(peeked.head.stream).await?;
        ensure!(head == bytes[..bytes.len().min(len as usize)], "{} bytes of a peek of {len}", head.len());
    }
    Ok(())
}

async fn ranges_are_exact(subject: &Subject) -> Verdict {
    let bytes = content(3 << 20);
    subject.put("ranges", &bytes).await;
    let object = subject.store.head("ranges").await?;
    for range in [0..1, 0..2880, 2880..5760, 1_000_000..2_999_999, object.size - 1..object.size, 0..object.size] {
        let told = subject.read(&object, range.clone()).await?;
        ensure!(told == bytes[range.start as usize..range.end as usize], "wrong bytes at {range:?}");
    }
    Ok(())
}

async fn many_ranges_at_once_are_exact(subject: &Subject) -> Verdict {
    let bytes = content(1 << 20);
    subject.put("many", &bytes).await;
    let object = subject.store.head("many").await?;
    let ranges = (0..16u64).map(|n| n * 65_000..n * 65_000 + 60_000);
    let reads = ranges.clone().map(|range| subject.read(&object, range));
    for (range, told) in ranges.zip(futures::future::join_all(reads).await) {
        ensure!(told? == bytes[range.start as usize..range.end as usize], "wrong bytes at {range:?}");
    }
    Ok(())
}

async fn empty_objects_are_objects(subject: &Subject) -> Verdict {
    subject.put("empty/k", b"").await;
    let object = subject.store.head("empty/k").await?;
    ensure!(object.size == 0, "{object:?}");
    let pages = subject.pages("empty/", true, 1000).await?;
    ensure!(pages[0].objects == [object.clone()], "{:?}", pages[0].objects);
    let peeked = subject.store.peek("empty/k", 2880).await?;
    ensure!(peeked.object == object, "{:?}", peeked.object);
    ensure!(all(peeked.head.stream).await?.is_empty(), "bytes of nothing");
    Ok(())
}

/// Of the same size, of another, and of none.
async fn replaced_object_is_another_version(subject: &Subject) -> Verdict {
    for (key, size) in
        [("replaced/same", 5000), ("replaced/longer", 9000), ("replaced/shorter", 100), ("replaced/empty", 0)]
    {
        subject.put(key, &content(5000)).await;
        let before = subject.store.head(key).await?;
        subject.put(key, &vec![b'n'; size]).await;
        fails_as(ErrorKind::VersionChanged, key, subject.store.get(&before, 10..20).await)?;
        fails_as(ErrorKind::VersionChanged, key, subject.store.get(&before, 4000..5000).await)?;
        let after = subject.store.head(key).await?;
        ensure!(!after.is_same(&before) && after.size == size as u64, "{after:?}");
        if size > 20 {
            ensure!(subject.read(&after, 10..20).await? == [b'n'; 10], "{key} has the bytes of before");
        }
    }
    Ok(())
}

async fn deleted_object_is_not_found(subject: &Subject) -> Verdict {
    subject.put("deleted/k", b"0123456789").await;
    let object = subject.store.head("deleted/k").await?;
    subject.contents.delete("deleted/k").await;
    fails_as(ErrorKind::NotFound, "head", subject.store.head("deleted/k").await)?;
    fails_as(ErrorKind::NotFound, "get", subject.store.get(&object, 0..5).await)?;
    subject.has("deleted/", true, &[], &[]).await
}

async fn missing_is_not_found(subject: &Subject) -> Verdict {
    subject.put("missing/folder/k", b"0123456789").await;
    let object = subject.store.head("missing/folder/k").await?;
    // A folder is no object.
    for key in ["missing/k", "missing/folder", "missing/folder/", "missing/folder/k/"] {
        fails_as(ErrorKind::NotFound, "head", subject.store.head(key).await)?;
        fails_as(ErrorKind::NotFound, "peek", subject.store.peek(key, 5).await)?;
        let missing = ObjectMeta { key: key.to_owned(), ..object.clone() };
        fails_as(ErrorKind::NotFound, "get", subject.store.get(&missing, 0..5).await)?;
    }
    Ok(())
}

async fn impossible_ranges_are_invalid(subject: &Subject) -> Verdict {
    subject.put("impossible", b"0123456789").await;
    let object = subject.store.head("impossible").await?;
    for range in [5..5, 0..11, 10..11] {
        fails_as(ErrorKind::Invalid, "get", subject.store.get(&object, range).await)?;
    }
    Ok(())
}

/// Asked only where the store has an archive, and the test can put something there.
async fn archived_objects_say_so(subject: &Subject) -> Verdict {
    if subject.store.capabilities().restore.is_none() {
        return Ok(());
    }
    subject.put("archive/k", b"0123456789").await;
    if !subject.contents.archive("archive/k").await {
        return Ok(());
    }
    let object = subject.store.head("archive/k").await?;
    let pages = subject.pages("archive/", true, 1000).await?;
    ensure!(pages[0].objects == [object.clone()], "{:?}", pages[0].objects);
    ensure!(object.is_archived(), "{object:?} does not say that it is archived");
    fails_as(ErrorKind::Archived, "get", subject.store.get(&object, 0..5).await)
}

async fn urls_name_keys(subject: &Subject) -> Verdict {
    let store = &subject.store;
    ensure!(!store.id().is_empty(), "no identity");
    ensure!(store.url("d/k.fits").ends_with("/d/k.fits"), "{}", store.url("d/k.fits"));
    ensure!(!store.url("a\x1b[2Jb").contains('\x1b'), "a URL that steers terminals");
    Ok(())
}
