//! What is remembered, by a store that counts how often it was asked.

use std::fs;
use std::time::UNIX_EPOCH;

use tempfile::TempDir;

use super::*;
use crate::cache::Device;
use crate::store::scripted::{Scripted, Step};
use crate::store::{ErrorKind, Offline, Result, Store, Version};

const ALWAYS: Ttl = Ttl { positive: Duration::from_secs(3600), negative: Duration::from_secs(3600) };

/// A bucket of which only the names count.
struct Bucket {
    store: Arc<Scripted>,
}

fn object(key: &str, size: u64) -> ObjectMeta {
    ObjectMeta {
        key: key.to_owned(),
        size,
        last_modified: UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
        version: Version { etag: Some(format!("\"{size}\"").into()), id: None },
        storage_class: (size == 7).then(|| ("GLACIER", true).into()),
    }
}

impl Bucket {
    fn new(keys: &[&str]) -> Self {
        let bucket = Self { store: Arc::default() };
        keys.iter().for_each(|key| bucket.put(key, 1));
        bucket
    }

    fn put(&self, key: &str, size: u64) {
        self.store.put(object(key, size));
    }

    fn fails(&self, fails: bool) {
        self.store.always(if fails { Step::fails(ErrorKind::Invalid) } else { Step::answers() });
    }

    /// How often it was asked since this was called.
    fn asked(&self) -> usize {
        self.store.take_asked().len()
    }
}

/// A bucket whose names are remembered.
struct Bench {
    bucket: Bucket,
    dir: TempDir,
}

/// A disk that is waited for however busy the machine is.
fn device() -> Arc<Device> {
    Device::start("a test".to_owned(), Duration::from_secs(60)).unwrap()
}

impl Bench {
    fn new(keys: &[&str]) -> Self {
        Self { bucket: Bucket::new(keys), dir: TempDir::new().unwrap() }
    }

    /// As another mount has it, which has read nothing yet.
    fn names(&self) -> Arc<Names> {
        Arc::new(Names::open(self.dir.path(), 0o600, Box::new(|_| true)).unwrap())
    }

    fn store(&self, ttl: Ttl) -> Remembered {
        Remembered::new(self.bucket.store.clone(), self.names(), device(), Some(ttl))
    }

    fn offline(&self) -> Remembered {
        Remembered::new(Arc::new(Offline::new(self.bucket.store.clone())), self.names(), device(), None)
    }

    fn logs(&self) -> Vec<PathBuf> {
        let folders = fs::read_dir(self.dir.path().join("names")).unwrap().map(|entry| entry.unwrap().path());
        folders.flat_map(|folder| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path())).collect()
    }

    /// The only log.
    fn log(&self) -> PathBuf {
        let logs = self.logs();
        assert_eq!(logs.len(), 1, "{logs:?}");
        logs[0].clone()
    }
}

fn request(prefix: &str, max_keys: u16) -> ListRequest {
    ListRequest { prefix: prefix.to_owned(), delimited: true, max_keys, continuation: None }
}

/// Asks, and waits until all that is to be written is.
async fn ask(store: &Remembered, prefix: &str, max_keys: u16) -> Result<Vec<String>> {
    let page = store.list(&request(prefix, max_keys)).await;
    store.written().await;
    page.map(|(page, _)| page.objects.into_iter().map(|object| object.key).chain(page.prefixes).collect())
}

/// Lists a directory to its end, in pages of two.
async fn list(store: &Remembered, prefix: &str) -> Result<usize> {
    let (mut names, mut request) = (0, request(prefix, 2));
    loop {
        let (page, _) = store.list(&request).await?;
        store.written().await;
        names += page.objects.len() + page.prefixes.len();
        request.continuation = page.continuation;
        if request.continuation.is_none() {
            return Ok(names);
        }
    }
}

#[tokio::test]
async fn what_was_asked_is_not_asked_again_by_another_mount() {
    let bench = Bench::new(&["d/a", "d/b", "d/c/x", "d/e"]);
    bench.bucket.put("d/archived", 7);
    let first = bench.store(ALWAYS);
    assert_eq!(list(&first, "d/").await.unwrap(), 5);
    let (head, _) = first.head("d/a").await.unwrap();
    first.written().await;
    assert_eq!(bench.bucket.asked(), 4);
    let second = bench.store(ALWAYS);
    assert_eq!(list(&second, "d/").await.unwrap(), 5);
    assert_eq!(second.head("d/a").await.unwrap().0, head);
    let (page, age) = second.list(&request("d/", 2)).await.unwrap();
    assert_eq!(page.objects, [object("d/a", 1), object("d/archived", 7)]);
    assert!(age < Duration::from_secs(60));
    assert_eq!(bench.bucket.asked(), 0);
}

#[tokio::test]
async fn a_listing_answers_look_ups_that_were_never_asked() {
    let bench = Bench::new(&["d/a", "d/b", "d/b-1", "d/b/x", "d/c", "d/e", "d/f"]);
    let store = bench.store(ALWAYS);
    list(&store, "d/").await.unwrap();
    bench.bucket.asked();
    let store = bench.store(ALWAYS);
    assert_eq!(ask(&store, "d/b", 32).await.unwrap(), ["d/b", "d/b-1", "d/b/"]);
    assert_eq!(ask(&store, "d/a", 32).await.unwrap(), ["d/a"]);
    assert!(ask(&store, "d/nothing", 32).await.unwrap().is_empty());
    assert_eq!(store.recalls(&request("d/0", 32)).await, Recall::Answer);
    assert_eq!(bench.bucket.asked(), 0);
    assert_eq!(ask(&store, "d/b", 1).await.unwrap(), ["d/b"]);
    assert_eq!(bench.bucket.asked(), 1, "more names than are asked for");
    tokio::time::sleep(Duration::from_millis(2)).await;
    list(&bench.store(Ttl { positive: Duration::ZERO, ..ALWAYS }), "d/").await.unwrap();
    bench.bucket.asked();
    assert_eq!(ask(&store, "d/b", 1).await.unwrap(), ["d/b"]);
    assert_eq!(bench.bucket.asked(), 0, "the older answer is one");
}

#[tokio::test]
async fn a_part_of_a_listing_answers_as_far_as_it_goes() {
    let bench = Bench::new(&["d/a", "d/b", "d/c", "d/e"]);
    let store = bench.store(ALWAYS);
    ask(&store, "d/", 2).await.unwrap();
    bench.bucket.asked();
    assert!(ask(&store, "d/aa", 32).await.unwrap().is_empty());
    assert_eq!(bench.bucket.asked(), 0);
    assert_eq!(ask(&store, "d/b", 32).await.unwrap(), ["d/b"]);
    assert_eq!(bench.bucket.asked(), 1, "d/b/ could follow");
    assert_eq!(bench.offline().list(&request("d/c", 32)).await.unwrap_err().kind, ErrorKind::Offline);
}

#[tokio::test]
async fn answers_count_until_their_ttl_ends() {
    let bench = Bench::new(&["d/a"]);
    ask(&bench.store(ALWAYS), "d/a", 32).await.unwrap();
    ask(&bench.store(ALWAYS), "d/b", 32).await.unwrap();
    bench.bucket.asked();
    let ttl = |found, missing| Ttl { positive: Duration::from_secs(found), negative: Duration::from_secs(missing) };
    for (ttl, asked) in [(ttl(60, 60), 0), (ttl(60, 0), 1), (ttl(0, 0), 2)] {
        let store = bench.store(ttl);
        ask(&store, "d/a", 32).await.unwrap();
        ask(&store, "d/b", 32).await.unwrap();
        assert_eq!(bench.bucket.asked(), asked, "{ttl:?}");
    }
    assert_eq!(ask(&bench.offline(), "d/a", 32).await.unwrap(), ["d/a"]);
    assert!(ask(&bench.offline(), "d/b", 32).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_answer_says_how_old_it_is_and_one_from_the_future_is_none() {
    let bench = Bench::new(&["d/a"]);
    let (names, store, asked) = (bench.names(), Arc::from(bench.bucket.store.id()), request("d/a", 32));
    let page = bench.bucket.store.list(&asked).await.unwrap();
    let trust = |now| Trust::Fresh(ALWAYS, now);
    names.write(&store, &Record::of_list(&store, 5_000, &asked, &page).unwrap());
    assert_eq!(names.page(&store, &asked, trust(15_000), true).unwrap().1, Duration::from_secs(10));
    assert!(names.page(&store, &asked, trust(4_999), true).is_none());
    assert_eq!(names.page(&store, &asked, Trust::Any, true).unwrap().1, Duration::ZERO);
}

#[tokio::test]
async fn the_last_answer_counts_also_for_a_mount_that_read_before() {
    let bench = Bench::new(&["d/a"]);
    let (one, other) = (bench.store(ALWAYS), bench.store(Ttl { positive: Duration::ZERO, ..ALWAYS }));
    ask(&one, "d/", 9).await.unwrap();
    bench.bucket.put("d/b", 1);
    assert_eq!(ask(&other, "d/", 9).await.unwrap(), ["d/a", "d/b"]);
    bench.bucket.asked();
    assert_eq!(ask(&one, "d/", 9).await.unwrap(), ["d/a", "d/b"]);
    assert_eq!(bench.bucket.asked(), 0);
}

#[tokio::test]
async fn failures_and_directories_that_are_not_there_leave_nothing_behind() {
    let bench = Bench::new(&[]);
    let store = bench.store(ALWAYS);
    assert!(ask(&store, "d/", 9).await.unwrap().is_empty());
    store.head("d/a").await.unwrap_err();
    bench.bucket.fails(true);
    ask(&store, "d/a", 32).await.unwrap_err();
    assert!(bench.logs().is_empty());
}

#[tokio::test]
async fn what_is_forgotten_is_asked_again_by_all() {
    let bench = Bench::new(&["d/a", "e/a"]);
    let (one, other) = (bench.store(ALWAYS), bench.store(ALWAYS));
    for prefix in ["d/", "e/"] {
        ask(&one, prefix, 9).await.unwrap();
        ask(&other, prefix, 9).await.unwrap();
    }
    one.forget("d/").await;
    bench.bucket.asked();
    assert_eq!(one.recalls(&request("d/a", 32)).await, Recall::Key);
    assert_eq!(one.recalls(&request("d/b", 32)).await, Recall::Nothing);
    assert_eq!(ask(&bench.offline(), "d/", 9).await.unwrap(), ["d/a"]);
    tokio::time::sleep(Duration::from_millis(2)).await;
    ask(&other, "e/", 9).await.unwrap();
    assert_eq!(bench.bucket.asked(), 0);
    ask(&other, "d/", 9).await.unwrap();
    assert_eq!(bench.bucket.asked(), 1);
    ask(&one, "d/", 9).await.unwrap();
    assert_eq!(bench.bucket.asked(), 0, "the new answer counts again");
}

#[tokio::test]
async fn a_token_that_the_store_does_not_know_any_more_is_not_used_again() {
    let bench = Bench::new(&["d/a", "d/b", "d/c"]);
    let store = bench.store(ALWAYS);
    ask(&store, "d/", 2).await.unwrap();
    bench.bucket.fails(true);
    list(&store, "d/").await.unwrap_err();
    bench.bucket.fails(false);
    tokio::time::sleep(Duration::from_millis(2)).await;
    bench.bucket.asked();
    assert_eq!(list(&store, "d/").await.unwrap(), 3);
    assert_eq!(bench.bucket.asked(), 2, "from the first page on");
}

/// Regression: names that were remembered were lost.
#[tokio::test]
async fn what_the_store_was_not_asked_for_says_nothing_of_a_token() {
    let bench = Bench::new(&["d/a", "d/b", "d/c"]);
    let store = bench.store(ALWAYS);
    ask(&store, "d/", 2).await.unwrap();
    for kind in [ErrorKind::OverBudget, ErrorKind::Credentials] {
        bench.bucket.store.always(Step::fails(kind));
        assert_eq!(list(&store, "d/").await.unwrap_err().kind, kind);
        assert_eq!(ask(&store, "d/", 2).await.unwrap(), ["d/a", "d/b"], "{kind:?}");
    }
}

#[tokio::test]
async fn offline_nothing_is_asked() {
    let bench = Bench::new(&["d/a"]);
    let names = bench.offline();
    let store = names.store();
    assert_eq!(ask(&names, "d/", 9).await.unwrap_err().kind, ErrorKind::Offline);
    assert_eq!(store.head("d/a").await.unwrap_err().kind, ErrorKind::Offline);
    assert_eq!(store.peek("d/a", 1).await.err().unwrap().kind, ErrorKind::Offline);
    assert_eq!(store.get(&object("d/a", 1), 0..1).await.err().unwrap().kind, ErrorKind::Offline);
    assert_eq!(store.touch().await.unwrap_err().kind, ErrorKind::Offline);
    names.forget("d/").await;
    assert_eq!(bench.bucket.asked(), 0);
    assert!(bench.logs().is_empty());
}

#[tokio::test]
async fn a_disk_that_cannot_be_written_is_done_without() {
    let bench = Bench::new(&["d/a"]);
    let store = bench.store(ALWAYS);
    ask(&store, "d/a", 32).await.unwrap();
    let folder = bench.dir.path().join("names");
    let log = bench.log();
    let aside = bench.dir.path().join("aside");
    fs::rename(&folder, &aside).unwrap();
    fs::write(&folder, "").unwrap();
    bench.bucket.asked();
    ask(&store, "d/a", 32).await.unwrap();
    fs::remove_file(&folder).unwrap();
    fs::rename(&aside, &folder).unwrap();
    let size = fs::metadata(&log).unwrap().len();
    ask(&store, "d/b", 32).await.unwrap();
    assert_eq!(fs::metadata(&log).unwrap().len(), size, "nothing is written any more");
    assert_eq!(bench.bucket.asked(), 2);
    ask(&store, "d/a", 32).await.unwrap();
    assert_eq!(bench.bucket.asked(), 0, "what is there is read");
}

#[tokio::test]
async fn where_nothing_can_be_forgotten_nothing_counts() {
    let bench = Bench::new(&["d/a"]);
    let store = bench.store(ALWAYS);
    ask(&store, "d/a", 32).await.unwrap();
    let (log, aside) = (bench.log(), bench.dir.path().join("aside"));
    fs::rename(&log, &aside).unwrap();
    fs::create_dir(&log).unwrap();
    store.forget("d/").await;
    fs::remove_dir(&log).unwrap();
    fs::rename(&aside, &log).unwrap();
    bench.bucket.asked();
    ask(&store, "d/a", 32).await.unwrap();
    assert_eq!(bench.bucket.asked(), 1);
}

mod logs;
