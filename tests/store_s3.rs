//! The S3 store against a real server that logs each request and goes wrong on demand.
//!
//! Each test says how many requests the server may see: a store that is right but asks twice is wrong.

#![allow(clippy::unwrap_used)] // clippy.toml exempts test functions, not their helpers

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fitsfs::check::{CheckReport, Outcome};
use fitsfs::metrics::{Health, Metrics, PaceMeter};
use fitsfs::store::{
    ErrorKind, ListRequest, Metered, ObjectMeta, Result, Retry, RetryPolicy, S3Options, S3Store, Store,
};
use fitsfs_lab::{Content, Fault, Kind, Lab, Op, pattern_bytes};
use futures::stream::TryStreamExt;

const BUCKET: &str = "lab-data";
const KEY: &str = "a/b.fits";
const SIZE: u64 = 1 << 20;
const SEED: u64 = 7;

/// A server with one object, open to everyone.
fn lab() -> Lab {
    let lab = Lab::builder().start().unwrap();
    lab.put(BUCKET, KEY, Content::Pattern { len: SIZE, seed: SEED });
    lab
}

fn unsigned(lab: &Lab) -> S3Options {
    S3Options { endpoint_url: Some(lab.endpoint()), no_sign_request: true, ..Default::default() }
}

async fn open(options: &S3Options) -> S3Store {
    S3Store::open(BUCKET, options).await.unwrap()
}

async fn plain(lab: &Lab) -> S3Store {
    open(&unsigned(lab)).await
}

/// The store as a mount has it, with delays that a test can wait for.
async fn retrying(lab: &Lab) -> (Retry, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new());
    let policy = RetryPolicy {
        base: Duration::from_millis(2),
        cap: Duration::from_millis(20),
        metadata_deadline: Duration::from_secs(2),
        data_deadline: Duration::from_secs(5),
        stall: Duration::from_millis(200),
        ..Default::default()
    };
    let metered =
        Metered::new(Arc::new(plain(lab).await), Arc::clone(&metrics), PaceMeter::default(), Health::default());
    (Retry::new(Arc::new(metered), policy, Arc::clone(&metrics)), metrics)
}

async fn read(store: &dyn Store, object: &ObjectMeta, range: Range<u64>) -> Result<Vec<u8>> {
    let chunks: Vec<_> = store.get(object, range).await?.stream.try_collect().await?;
    Ok(chunks.concat())
}

fn expected(range: Range<u64>) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap()];
    pattern_bytes(SEED, range.start, &mut bytes);
    bytes
}

fn all(prefix: &str) -> ListRequest {
    ListRequest { prefix: prefix.to_owned(), delimited: false, max_keys: 1000, continuation: None }
}

async fn keys(store: &dyn Store, mut request: ListRequest) -> Vec<String> {
    let mut keys = Vec::new();
    loop {
        let page = store.list(&request).await.unwrap();
        keys.extend(page.objects.into_iter().map(|object| object.key));
        match page.continuation {
            Some(token) => request.continuation = Some(token),
            None => return keys,
        }
    }
}

fn gets(lab: &Lab) -> usize {
    lab.count(|request| request.op == Op::GetObject)
}

#[tokio::test]
async fn head_list_and_get_agree_and_cost_one_request_each() {
    let lab = lab();
    let store = plain(&lab).await;
    let object = store.head(KEY).await.unwrap();
    assert_eq!(object.size, SIZE);
    assert_eq!(store.list(&all("a/")).await.unwrap().objects, std::slice::from_ref(&object));
    for range in [0..SIZE, 5..6, SIZE - 1..SIZE, 1000..300_000] {
        assert_eq!(read(&store, &object, range.clone()).await.unwrap(), expected(range));
    }
    let requests = lab.requests();
    assert_eq!(requests.len(), 6);
    assert!(requests.iter().all(|request| request.accept_encoding.as_deref() == Some("identity") && !request.signed));
    assert!(requests.iter().all(|request| request.connection == requests[0].connection), "connections are reused");
    let get = &requests[3];
    assert_eq!(get.range.as_deref(), Some("bytes=5-5"));
    assert_eq!(get.if_match.as_deref(), object.version.etag.as_deref());
    assert_eq!(store.id(), format!("s3+http://127.0.0.1:{}/{BUCKET}", lab.port()));
    assert_eq!(store.url(KEY), format!("s3://{BUCKET}/{KEY}"));
}

#[tokio::test]
async fn a_peek_is_a_head_and_the_first_bytes_in_one_request() {
    let lab = lab();
    let store = plain(&lab).await;
    let object = store.head(KEY).await.unwrap();
    lab.clear_log();
    for (len, expected) in [(64 << 10, expected(0..64 << 10)), (2 * SIZE, expected(0..SIZE))] {
        let peeked = store.peek(KEY, len).await.unwrap();
        assert_eq!(peeked.object, object);
        assert_eq!(peeked.head.version, object.version);
        let chunks: Vec<_> = peeked.head.stream.try_collect().await.unwrap();
        assert!(chunks.concat() == expected, "the first {len} bytes");
    }
    let requests = lab.requests();
    assert_eq!(requests.len(), 2);
    assert!(requests.iter().all(|request| request.op == Op::GetObject && request.if_match.is_none()));
}

#[tokio::test]
async fn a_peek_at_nothing_tells_what_there_is() {
    let lab = lab();
    lab.put(BUCKET, "empty.fits", Content::Bytes("".into()));
    let store = plain(&lab).await;
    let peeked = store.peek("empty.fits", 100).await.unwrap();
    assert_eq!(peeked.object, store.head("empty.fits").await.unwrap());
    assert!(peeked.head.stream.try_collect::<Vec<_>>().await.unwrap().is_empty());
    assert_eq!(store.peek("missing", 100).await.err().map(|error| error.kind), Some(ErrorKind::NotFound));
    lab.set_storage_class(BUCKET, KEY, "GLACIER");
    assert_eq!(store.peek(KEY, 100).await.err().map(|error| error.kind), Some(ErrorKind::Archived));
}

#[tokio::test]
async fn a_peek_takes_nothing_for_the_head_that_is_not() {
    for kind in [
        Kind::WrongContentRange,
        Kind::IgnoreRange,
        Kind::GzipEncoding,
        Kind::HtmlInsteadOfXml,
        Kind::TruncateBody,
        Kind::CutBodyAfter(100),
        Kind::DropConnection,
        Kind::Stall(Duration::from_secs(30)),
        Kind::slow_down(),
    ] {
        let lab = lab();
        lab.fault(Fault::new(kind.clone()).on(Op::GetObject).times(1));
        let (store, metrics) = retrying(&lab).await;
        let peeked = store.peek(KEY, 5000).await.unwrap();
        assert_eq!(peeked.object.size, SIZE, "{kind:?}");
        let chunks: Vec<_> = peeked.head.stream.try_collect().await.unwrap();
        assert_eq!(chunks.concat(), expected(0..5000), "{kind:?}");
        assert_eq!((gets(&lab), metrics.snapshot().counters.retries), (2, 1), "{kind:?}");
        assert_eq!((metrics.in_flight.get(), metrics.snapshot().requests.get), (0, 2), "{kind:?}");
    }
}

#[tokio::test]
async fn odd_keys_are_listed_and_read_as_they_are() {
    let lab = lab();
    let odd =
        ["x//y", "a b", "a+b", "p%41", "é/ü.fits", "dir/", "k", "k/z", "q?r#s&t=u", "a/./b", "..", "<&>\"'", "\u{1}"];
    for key in odd {
        lab.put(BUCKET, key, Content::Bytes(format!("<{key}>").into_bytes().into()));
    }
    let store = plain(&lab).await;
    let listed = keys(&store, all("")).await;
    for key in odd {
        assert!(listed.iter().any(|listed| listed == key), "{key:?} is not listed: {listed:?}");
        let object = store.head(key).await.unwrap();
        assert_eq!(read(&store, &object, 0..object.size).await.unwrap(), format!("<{key}>").as_bytes(), "{key:?}");
    }
    let grouped = store.list(&ListRequest { delimited: true, ..all("") }).await.unwrap();
    assert_eq!(grouped.prefixes, ["a/", "dir/", "k/", "x/", "é/"]);
}

#[tokio::test]
async fn long_listings_continue_page_by_page() {
    let lab = lab();
    let names: Vec<String> = (0..2500).map(|i| format!("many/{i:05}")).collect();
    lab.put_many(BUCKET, names.clone(), Content::Bytes("x".into()));
    let store = plain(&lab).await;
    assert_eq!(keys(&store, all("many/")).await, names);
    assert_eq!(lab.requests().len(), 3);
}

#[tokio::test]
async fn a_replaced_object_is_another_version() {
    let lab = lab();
    let store = plain(&lab).await;
    let object = store.head(KEY).await.unwrap();
    lab.put(BUCKET, KEY, Content::Pattern { len: SIZE, seed: SEED + 1 });
    let changed = |error: fitsfs::store::StoreError| error.kind == ErrorKind::VersionChanged;
    assert!(changed(read(&store, &object, 0..10).await.unwrap_err()));
    // A server that ignores If-Match sends the new bytes: they must not come through.
    lab.fault(Fault::new(Kind::IgnoreIfMatch));
    assert!(changed(read(&store, &object, 0..10).await.unwrap_err()));
    lab.put(BUCKET, KEY, Content::Pattern { len: 5, seed: SEED });
    assert!(changed(read(&store, &object, 100..200).await.unwrap_err()), "416 of a shorter object");
    assert_eq!(gets(&lab), 3);
}

#[tokio::test]
async fn an_answer_to_another_question_never_comes_through() {
    for (kind, error) in [
        (Kind::WrongContentRange, ErrorKind::BadResponse),
        (Kind::IgnoreRange, ErrorKind::BadResponse),
        (Kind::GzipEncoding, ErrorKind::BadResponse),
        (Kind::HtmlInsteadOfXml, ErrorKind::BadResponse),
        (Kind::TruncateBody, ErrorKind::BadResponse),
        (Kind::MissingEtag, ErrorKind::BadResponse),
        (Kind::CutBodyAfter(100), ErrorKind::Network),
        (Kind::DropConnection, ErrorKind::Network),
        (Kind::slow_down(), ErrorKind::Throttled),
        (Kind::internal_error(), ErrorKind::Server),
        (Kind::access_denied(), ErrorKind::AccessDenied),
        (Kind::not_found(), ErrorKind::NotFound),
    ] {
        let lab = lab();
        let store = plain(&lab).await;
        let object = store.head(KEY).await.unwrap();
        lab.fault(Fault::new(kind.clone()).on(Op::GetObject));
        let got = read(&store, &object, 1000..500_000).await.unwrap_err();
        assert_eq!(got.kind, error, "{kind:?}: {got}");
        assert!(!got.message.contains('\n') && got.message.contains(KEY), "{got}");
        assert_eq!(gets(&lab), 1, "{kind:?}");
        // The same once, under the retries: the bytes come all the same where the cause is transient.
        lab.clear_faults();
        lab.clear_log();
        lab.fault(Fault::new(kind.clone()).on(Op::GetObject).times(1));
        let (retry, metrics) = retrying(&lab).await;
        let read = read(&retry, &object, 1000..500_000).await;
        if error.is_transient() {
            assert_eq!(read.unwrap(), expected(1000..500_000), "{kind:?}");
            assert_eq!((gets(&lab), metrics.snapshot().counters.retries), (2, 1), "{kind:?}");
        } else {
            assert_eq!((read.unwrap_err().kind, gets(&lab)), (error, 1), "{kind:?}");
        }
        assert_eq!(metrics.in_flight.get(), 0);
    }
}

#[tokio::test]
async fn listings_and_heads_meet_the_same_faults() {
    for (kind, error) in [
        (Kind::HtmlInsteadOfXml, ErrorKind::BadResponse),
        (Kind::CutBodyAfter(20), ErrorKind::Network),
        (Kind::DropConnection, ErrorKind::Network),
        (Kind::slow_down(), ErrorKind::Throttled),
        (Kind::access_denied(), ErrorKind::AccessDenied),
        (Kind::Status(404, "NoSuchBucket".into()), ErrorKind::NotFound),
        (Kind::Status(502, "BadGateway".into()), ErrorKind::Server),
    ] {
        let lab = lab();
        lab.fault(Fault::new(kind.clone()));
        let store = plain(&lab).await;
        let got = store.list(&all("")).await.unwrap_err();
        assert_eq!(got.kind, error, "LIST {kind:?}: {got}");
        assert!(!got.message.contains('\n'), "{got}");
        if !matches!(kind, Kind::HtmlInsteadOfXml | Kind::CutBodyAfter(_)) {
            assert_eq!(store.head(KEY).await.unwrap_err().kind, error, "HEAD {kind:?}");
        }
    }
}

#[tokio::test]
async fn errors_of_any_length_are_told_by_what_they_begin_with() {
    for (kind, error) in [(Kind::Padding(40 << 20), ErrorKind::NotFound), (Kind::Padding(70_000), ErrorKind::NotFound)]
    {
        let lab = lab();
        let store = plain(&lab).await;
        lab.fault(Fault::new(kind).on(Op::GetObject));
        let missing = ObjectMeta { key: "missing".to_owned(), ..store.head(KEY).await.unwrap() };
        assert_eq!(store.get(&missing, 0..10).await.err().map(|error| error.kind), Some(error));
        let bytes = lab.requests().iter().map(|request| request.bytes).max();
        assert!(bytes < Some(20 << 20), "{bytes:?} bytes of an error");
    }
}

#[tokio::test]
async fn a_storm_of_503_passes() {
    let lab = lab();
    lab.fault(Fault::new(Kind::slow_down()).probability(0.5, 42));
    let (store, metrics) = retrying(&lab).await;
    let object = store.head(KEY).await.unwrap();
    for i in 0..20 {
        assert_eq!(read(&store, &object, i * 100..i * 100 + 100).await.unwrap(), expected(i * 100..i * 100 + 100));
    }
    let snapshot = metrics.snapshot();
    assert_eq!(snapshot.requests.total, lab.requests().len() as u64);
    assert_eq!(snapshot.counters.retries, snapshot.requests.total - 21);
    assert_eq!(snapshot.errors.throttled, snapshot.counters.retries);
    assert_eq!(snapshot.counters.bytes_fetched, 2000);
}

#[tokio::test]
async fn a_storm_that_does_not_pass_ends() {
    let lab = lab();
    lab.fault(Fault::new(Kind::slow_down()));
    let (store, _) = retrying(&lab).await;
    let start = Instant::now();
    let error = store.head(KEY).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Throttled);
    assert!(error.message.contains("gave up after"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn a_body_cut_again_and_again_goes_on_at_its_byte() {
    let lab = lab();
    let (store, metrics) = retrying(&lab).await;
    let object = store.head(KEY).await.unwrap();
    lab.fault(Fault::new(Kind::CutBodyAfter(300_000)).on(Op::GetObject));
    assert_eq!(read(&store, &object, 0..SIZE).await.unwrap(), expected(0..SIZE));
    let requests = lab.requests();
    let starts: Vec<u64> = requests.iter().filter_map(|request| Some(request.span()?.0)).collect();
    assert_eq!(starts[0], 0);
    assert!(starts.is_sorted() && starts.len() >= 4, "{starts:?}");
    assert!(requests.iter().filter(|r| r.op == Op::GetObject).all(|r| r.if_match.is_some()));
    assert_eq!(metrics.snapshot().counters.bytes_fetched, SIZE);
}

#[tokio::test]
async fn a_stalled_body_is_given_up_and_resumed() {
    let lab = lab();
    let (store, metrics) = retrying(&lab).await;
    let object = store.head(KEY).await.unwrap();
    lab.fault(Fault::new(Kind::Stall(Duration::from_secs(30))).on(Op::GetObject).times(1));
    let start = Instant::now();
    assert_eq!(read(&store, &object, 0..1000).await.unwrap(), expected(0..1000));
    assert!(start.elapsed() < Duration::from_secs(3));
    assert_eq!((gets(&lab), metrics.snapshot().counters.retries), (2, 1));
}

#[tokio::test]
async fn a_first_byte_that_does_not_come_is_a_timeout() {
    let lab = lab();
    let store = plain(&lab).await;
    lab.fault(Fault::new(Kind::Delay(Duration::from_secs(60))));
    let start = Instant::now();
    assert_eq!(store.head(KEY).await.unwrap_err().kind, ErrorKind::Timeout);
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}

#[tokio::test]
async fn without_etags_versions_are_pinned_by_size_and_time() {
    let lab = lab();
    lab.fault(Fault::new(Kind::MissingEtag));
    let store = plain(&lab).await;
    let listed = store.list(&all("a/")).await.unwrap().objects.remove(0);
    assert_eq!(listed.version.etag, None);
    assert_eq!(read(&store, &listed, 10..20).await.unwrap(), expected(10..20));
    lab.clear_faults();
    let body = store.get(&listed, 10..20).await.unwrap();
    assert!(body.version.etag.is_some(), "the answer's version is reported");
    lab.set_last_modified(BUCKET, KEY, listed.last_modified + Duration::from_secs(1));
    assert_eq!(read(&store, &listed, 10..20).await.unwrap_err().kind, ErrorKind::VersionChanged);
    assert!(lab.requests().iter().all(|request| request.if_match.is_none()));
}

#[tokio::test]
async fn a_bucket_without_listing_still_serves_its_keys() {
    let lab = lab();
    lab.deny_list(BUCKET);
    let store = plain(&lab).await;
    assert_eq!(store.list(&all("")).await.unwrap_err().kind, ErrorKind::AccessDenied);
    assert_eq!(store.head("nothing").await.unwrap_err().kind, ErrorKind::AccessDenied);
    let object = store.head(KEY).await.unwrap();
    assert_eq!(read(&store, &object, 0..10).await.unwrap(), expected(0..10));
}

#[tokio::test]
async fn what_is_not_there_is_not_found_and_what_is_archived_is_archived() {
    let lab = lab();
    let store = plain(&lab).await;
    let gone = store.head("nothing").await.unwrap_err();
    assert_eq!(gone.kind, ErrorKind::NotFound);
    assert!(gone.message.contains("HEAD s3://lab-data/nothing: status 404"), "{gone}");
    lab.set_storage_class(BUCKET, KEY, "GLACIER");
    let object = store.head(KEY).await.unwrap();
    assert_eq!(object.storage_class.as_ref().map(|class| &*class.name), Some("GLACIER"));
    assert!(object.is_archived());
    assert_eq!(read(&store, &object, 0..10).await.unwrap_err().kind, ErrorKind::Archived);
    assert_eq!(store.list(&all("")).await.unwrap().objects, [object]);
}

#[tokio::test]
async fn a_range_that_the_object_does_not_have_is_not_even_asked_for() {
    let lab = lab();
    let store = plain(&lab).await;
    let object = store.head(KEY).await.unwrap();
    for range in [5..5, SIZE..SIZE + 1, 0..SIZE + 1] {
        assert_eq!(store.get(&object, range).await.err().map(|error| error.kind), Some(ErrorKind::Invalid));
    }
    assert_eq!(gets(&lab), 0);
}

#[tokio::test]
async fn a_check_of_a_good_bucket_finds_nothing_wrong() {
    let lab = lab();
    let source = [format!("s3://{BUCKET}/a")];
    let report = CheckReport::run(&source, &unsigned(&lab).into(), |_| None).await.remove(0);
    let names: Vec<_> = report.checks.iter().map(|check| check.name).collect();
    let asked = ["source", "endpoint", "credentials", "clock", "region", "listing", "history", "ranges", "versions"];
    assert_eq!(names[..10], [&asked[..], &["capabilities"]].concat());
    assert!(report.checks[..10].iter().all(|check| check.outcome == Outcome::Ok), "{}", report.render(false));
}

#[tokio::test]
async fn a_check_tells_what_the_store_can_do() {
    let lab = lab();
    let checked =
        async || CheckReport::run(&[format!("s3://{BUCKET}")], &unsigned(&lab).into(), |_| None).await.remove(0);
    let report = checked().await;
    let capabilities = &serde_json::to_value(&report).unwrap()["capabilities"];
    let all = ["ordered_listings", "conditional_get", "version_ids"];
    assert!(all.iter().all(|name| capabilities[name] == true), "{capabilities}");
    assert_eq!(capabilities["restore"], "fitsfs restore");
    let line = "ok    capabilities  ordered listings, conditional GET, version ids, archive\n";
    assert!(report.render(false).contains(line), "{}", report.render(false));

    lab.fault(Fault::new(Kind::IgnoreIfMatch).on(Op::GetObject));
    let report = checked().await;
    assert!(!report.capabilities.unwrap().conditional_get, "{}", report.render(false));
    assert!(report.render(false).contains("; without conditional GET\n"));

    let missing = CheckReport::run(&["s3://missing".to_owned()], &unsigned(&lab).into(), |_| None).await.remove(0);
    assert_eq!(missing.capabilities, None, "there is no bucket to say it of");
}

#[tokio::test]
async fn a_check_tells_what_is_wrong() {
    for (kind, op, name, outcome) in [
        (Kind::IgnoreIfMatch, Op::GetObject, "versions", Outcome::Warn),
        (Kind::IgnoreRange, Op::GetObject, "ranges", Outcome::Fail),
        (Kind::HtmlInsteadOfXml, Op::ListObjectsV2, "listing", Outcome::Fail),
        (Kind::access_denied(), Op::ListObjectsV2, "listing", Outcome::Fail),
        (Kind::MissingEtag, Op::ListObjectsV2, "versions", Outcome::Warn),
    ] {
        let lab = lab();
        lab.fault(Fault::new(kind.clone()).on(op));
        let report = CheckReport::run(&[format!("s3://{BUCKET}")], &unsigned(&lab).into(), |_| None).await.remove(0);
        let check = report.checks.iter().find(|check| check.name == name).unwrap();
        assert_eq!(check.outcome, outcome, "{kind:?}: {}", report.render(false));
        assert!(check.remedy.is_some());
    }
}

/// What came by http could have been written by anyone on the way.
#[tokio::test]
async fn what_came_by_http_is_kept_apart_from_what_came_by_https() {
    let id = async |scheme: &str| {
        let endpoint_url = Some(format!("{scheme}://s3.example.org"));
        open(&S3Options { endpoint_url, no_sign_request: true, ..Default::default() }).await.id().to_owned()
    };
    assert_ne!(id("http").await, id("https").await);
    assert_eq!(id("https").await, format!("s3://s3.example.org/{BUCKET}"));
}
