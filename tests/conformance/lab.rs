//! The lab's S3 server, bare and as a mount has it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use fitsfs::metrics::Metrics;
use fitsfs::store::{self, AsOf, ErrorKind, ListRequest, S3Options, Source, SourceUrl, Store, StoreOptions};
use fitsfs_lab::{Fault, Kind, Lab, Op};
use futures::TryStreamExt;

use super::suite::{Contents, Subject};

const BUCKET: &str = "conformance";

#[async_trait]
impl Contents for Lab {
    async fn put(&self, key: &str, bytes: Vec<u8>) {
        Lab::put(self, BUCKET, key, bytes);
    }

    async fn delete(&self, key: &str) {
        assert!(Lab::delete(self, BUCKET, key), "{key:?} is there");
    }

    async fn archive(&self, key: &str) -> bool {
        self.set_storage_class(BUCKET, key, "GLACIER");
        true
    }
}

/// The lab as another store than S3, whose archive it does not have.
struct Elsewhere(Lab);

#[async_trait]
impl Contents for Elsewhere {
    async fn put(&self, key: &str, bytes: Vec<u8>) {
        Contents::put(&self.0, key, bytes).await;
    }

    async fn delete(&self, key: &str) {
        Contents::delete(&self.0, key).await;
    }

    async fn archive(&self, _key: &str) -> bool {
        false
    }
}

async fn opened(lab: &Lab) -> Arc<dyn Store> {
    let s3 = S3Options { endpoint_url: Some(lab.endpoint()), no_sign_request: true, ..S3Options::default() };
    let source = SourceUrl::parse(&format!("s3://{BUCKET}")).unwrap();
    store::open(&source, &StoreOptions::from(s3)).await.unwrap()
}

fn lab() -> Lab {
    let lab = Lab::builder().anonymous().start().unwrap();
    lab.create_bucket(BUCKET);
    lab
}

#[tokio::test]
async fn s3_conforms() {
    let lab = lab();
    Subject { store: opened(&lab).await, contents: Box::new(lab), lacks: &[] }.conforms().await;
}

/// The bucket by another interface of the lab, at this URL.
async fn elsewhere(source: &str, endpoint: Option<String>) -> Arc<dyn Store> {
    let s3 = S3Options { endpoint_url: endpoint, no_sign_request: true, ..S3Options::default() };
    let source = SourceUrl::parse(source).unwrap();
    let options = source.resolve_options(StoreOptions::from(s3), |_| None).unwrap();
    store::open(&source, &options).await.unwrap()
}

/// What the benchmarks measure other stores by has to answer as they do.
#[tokio::test]
async fn what_the_lab_speaks_of_azure_and_google_conforms() {
    for (source, path) in [(format!("az://lab/{BUCKET}"), "/_azure/lab"), (format!("gs://{BUCKET}"), "/_gcs")] {
        let lab = lab();
        let store = elsewhere(&source, Some(format!("{}{path}", lab.endpoint()))).await;
        Subject { store, contents: Box::new(Elsewhere(lab)), lacks: &[] }.conforms().await;
    }
}

/// The same of its web server, whose keys begin with a folder, which those of the suite do not.
#[tokio::test]
async fn what_the_lab_speaks_of_web_servers_is_what_it_has() {
    let lab = lab();
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    for key in ["d/a b.fits", "d/é", "d/sub/x", "other"] {
        Lab::put(&lab, BUCKET, key, key);
        lab.set_last_modified(BUCKET, key, long_ago);
    }
    let store = elsewhere(&format!("{}/_web/{BUCKET}/", lab.endpoint()), None).await;
    let below = |key: &str| format!("_web/{BUCKET}/{key}");
    let request = ListRequest { prefix: below("d/"), delimited: true, max_keys: 1000, continuation: None };
    let page = store.list(&request).await.unwrap();
    assert_eq!(page.prefixes, [below("d/sub/")]);
    assert_eq!(
        page.objects.iter().map(|object| object.key.clone()).collect::<Vec<_>>(),
        ["d/a b.fits", "d/é"].map(below)
    );
    for object in &page.objects {
        assert_eq!(store.head(&object.key).await.unwrap(), *object);
    }
    let part = store.get(&page.objects[0], 2..5).await.unwrap().stream.try_collect::<Vec<_>>().await.unwrap();
    assert_eq!(part.concat(), b"a b");
    assert_eq!(store.head(&below("d/none")).await.unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(lab.count(|request| request.op.is_list()), 1);
}

/// Retries, hedges and meters change no answer.
#[tokio::test]
async fn the_store_of_a_mount_conforms() {
    let lab = lab();
    let store = Source::new(opened(&lab).await, &Arc::new(Metrics::new())).store;
    Subject { store, contents: Box::new(lab), lacks: &[] }.conforms().await;
}

/// As of a time that all that the suite does comes before.
#[tokio::test]
async fn a_bucket_as_it_was_conforms() {
    let lab = lab();
    lab.keep_versions(BUCKET);
    let tomorrow = SystemTime::now() + Duration::from_secs(24 * 3600);
    let store = Arc::new(AsOf::new(opened(&lab).await, tomorrow));
    const KEPT: &str = "a version stays readable by its id";
    let lacks = &[
        ("replaced_object_is_another_version", KEPT),
        ("deleted_object_is_not_found", KEPT),
        ("missing_is_not_found", "an id that there is not is that of a version that is gone"),
    ];
    Subject { store, contents: Box::new(lab), lacks }.conforms().await;
}

/// A suite that finds nothing proves nothing.
#[tokio::test]
async fn what_is_wrong_is_named() {
    let lab = lab();
    lab.fault(Fault::new(Kind::IgnoreRange).on(Op::GetObject));
    let store = opened(&lab).await;
    let lacks = &[("ranges_are_exact", "as the test wants it"), ("listing_has_all_keys", "which is not so")];
    let wrong = Subject { store, contents: Box::new(lab), lacks }.wrong().await;
    let names: Vec<_> = wrong.iter().filter_map(|line| line.split([':', ' ']).next()).collect();
    assert!(names.contains(&"many_ranges_at_once_are_exact"), "{wrong:?}");
    assert!(!names.contains(&"ranges_are_exact"), "{wrong:?}");
    assert!(wrong.contains(&"listing_has_all_keys passes, and was said to be lacking".to_owned()), "{wrong:?}");
}
