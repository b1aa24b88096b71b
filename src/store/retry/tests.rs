//! Retries against a store that follows a script, in paused time.

use futures::stream::TryStreamExt;
use proptest::prelude::*;

use super::*;
use crate::metrics::{Health, PaceMeter};
use crate::store::scripted::{self, Rest, Scripted, Step, content};
use crate::store::{Metered, Version};

const SIZE: u64 = 1000;

fn object() -> ObjectMeta {
    ObjectMeta { version: Version::default(), ..scripted::object("k", SIZE) }
}

struct Bench {
    script: Arc<Scripted>,
    store: Retry,
    metrics: Arc<Metrics>,
}

/// The store with a script whose last step repeats.
fn bench(steps: impl IntoIterator<Item = Step>) -> Bench {
    let script = Arc::new(Scripted::of_size(SIZE));
    let mut steps: Vec<_> = steps.into_iter().collect();
    steps.pop().into_iter().for_each(|last| script.always(last));
    script.next(steps);
    let metrics = Arc::new(Metrics::new());
    let inner: Arc<dyn Store> = Arc::clone(&script) as _;
    let metered = Arc::new(Metered::new(inner, Arc::clone(&metrics), PaceMeter::default(), Health::default()));
    let store = Retry::new(metered, RetryPolicy::default(), Arc::clone(&metrics));
    Bench { script, store, metrics }
}

impl Bench {
    async fn read(&self, range: Range<u64>) -> Result<Vec<u8>> {
        let body = self.store.get(&object(), range).await?;
        let chunks: Vec<Bytes> = body.stream.try_collect().await?;
        Ok(chunks.concat())
    }

    fn requests(&self) -> usize {
        self.script.asked().len()
    }
}

#[tokio::test(start_paused = true)]
async fn transient_errors_are_repeated_until_they_pass() {
    let mut steps =
        vec![Step::fails(ErrorKind::Throttled), Step::fails(ErrorKind::Network), Step::fails(ErrorKind::Server)];
    steps.push(Step::answers());
    let bench = bench(steps);
    assert_eq!(bench.store.head("k").await.unwrap().key, "k");
    let snapshot = bench.metrics.snapshot();
    assert_eq!((bench.requests(), snapshot.requests.head, snapshot.counters.retries), (4, 4, 3));
    assert_eq!((snapshot.errors.throttled, snapshot.errors.network, snapshot.errors.server), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn permanent_errors_are_not_repeated_and_keep_their_message() {
    for kind in [ErrorKind::NotFound, ErrorKind::AccessDenied, ErrorKind::VersionChanged, ErrorKind::Archived] {
        let bench = bench([Step::fails(kind)]);
        let error = bench.store.head("k").await.unwrap_err();
        assert_eq!((error.kind, error.message.as_str(), bench.requests()), (kind, "scripted", 1));
    }
}

#[tokio::test(start_paused = true)]
async fn metadata_ends_at_its_deadline_with_the_last_error_and_its_attempts() {
    for step in [Step::fails(ErrorKind::Throttled), Step::hangs()] {
        let bench = bench([step]);
        let start = Instant::now();
        let error = bench.store.head("k").await.unwrap_err();
        assert!(start.elapsed() <= Duration::from_secs(10), "{:?}", start.elapsed());
        assert!(matches!(error.kind, ErrorKind::Throttled | ErrorKind::Timeout));
        if bench.requests() > 1 {
            assert!(error.message.ends_with(&format!("gave up after {} attempts", bench.requests())), "{error}");
        }
        assert_eq!(bench.metrics.in_flight.get(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn nonsense_is_worth_few_attempts() {
    let bench = bench([Step::fails(ErrorKind::BadResponse)]);
    assert_eq!(bench.read(0..10).await.unwrap_err().kind, ErrorKind::BadResponse);
    assert_eq!(bench.requests(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_or_stalls_goes_on_from_its_byte_at_its_version() {
    let bench = bench([
        Step::sends(300, Rest::Fails(ErrorKind::Network)),
        Step::fails(ErrorKind::Throttled),
        Step::sends(200, Rest::Stalls),
        Step::answers(),
    ]);
    assert_eq!(bench.read(100..900).await.unwrap(), content(100..900));
    let asked = bench.script.asked();
    let ranges: Vec<_> = asked.iter().map(|asked| asked.range.clone()).collect();
    assert_eq!(ranges, [100..900, 400..900, 400..900, 600..900]);
    let pinned: Vec<_> = asked.iter().map(|asked| asked.version.etag.as_deref()).collect();
    assert_eq!(pinned, [None, Some("\"v\""), Some("\"v\""), Some("\"v\"")]);
    let snapshot = bench.metrics.snapshot();
    assert_eq!((snapshot.counters.bytes_fetched, snapshot.counters.retries, snapshot.in_flight), (800, 3, 0));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_gains_a_byte_each_time_ends() {
    let bench = bench([Step::sends(1, Rest::Fails(ErrorKind::Network))]);
    assert_eq!(bench.read(0..SIZE).await.unwrap_err().kind, ErrorKind::Network);
    assert_eq!(bench.requests(), RetryPolicy::default().max_failures as usize);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_comes_ends_at_its_deadline() {
    for step in [Step::hangs(), Step::sends(0, Rest::Stalls), Step::fails(ErrorKind::Server)] {
        let bench = bench([step]);
        let start = Instant::now();
        assert!(bench.read(0..SIZE).await.is_err());
        assert!(start.elapsed() <= Duration::from_secs(66), "{:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_version_that_changes_in_the_middle_is_an_error() {
    let bench = bench([Step::sends(300, Rest::Fails(ErrorKind::Network)), Step::fails(ErrorKind::VersionChanged)]);
    let error = bench.read(0..SIZE).await.unwrap_err();
    assert_eq!((error.kind, bench.requests()), (ErrorKind::VersionChanged, 2));
}

proptest! {
    #[test]
    fn delays_grow_to_the_cap_and_jitter_down_to_zero(failures in 1u32..100, random in 0.0..=1.0f64) {
        let policy = RetryPolicy::default();
        prop_assert!(policy.delay(failures, random) <= policy.cap);
        prop_assert!(policy.delay(failures, 1.0) <= policy.delay(failures + 1, 1.0));
        prop_assert_eq!(policy.delay(failures, 0.0), Duration::ZERO);
    }

    #[test]
    fn any_sequence_of_breaks_yields_the_exact_bytes_or_an_error(cuts in proptest::collection::vec(0u64..200, 0..20)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let steps = cuts.iter().map(|count| Step::sends(*count, Rest::Fails(ErrorKind::Network)));
        let bench = bench(steps.chain([Step::answers()]));
        let read = runtime.block_on(bench.read(7..SIZE));
        if let Ok(read) = read {
            prop_assert_eq!(read, content(7..SIZE));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_peek_that_breaks_off_goes_on_at_the_version_that_it_saw() {
    let broken = Step::sends(40, Rest::Fails(ErrorKind::Network));
    let bench = bench([Step::fails(ErrorKind::Throttled), broken, Step::answers()]);
    let peeked = bench.store.peek("k", 100).await.unwrap();
    assert_eq!((peeked.object.size, peeked.object.version.etag.as_deref()), (SIZE, Some("\"v\"")));
    let chunks: Vec<Bytes> = peeked.head.stream.try_collect().await.unwrap();
    assert_eq!(chunks.concat(), content(0..100));
    let asked = bench.script.asked();
    let last = asked.last().unwrap();
    assert_eq!((&last.range, &last.version), (&(40..100), &peeked.object.version));
    assert_eq!((asked.len(), bench.metrics.snapshot().counters.bytes_fetched), (3, 100));
}

const DRIP: Rest = Rest::Drips(Duration::from_secs(4));

#[tokio::test(start_paused = true)]
async fn a_drip_is_resumed_where_it_was() {
    let bench = bench([Step::sends(100, DRIP), Step::answers()]);
    let started = Instant::now();
    assert_eq!(bench.read(0..SIZE).await.unwrap(), content(0..SIZE));
    assert!(started.elapsed() < 2 * rate::WINDOW, "{:?}", started.elapsed());
    assert_eq!(bench.script.asked()[1].range, 103..SIZE);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_always_drips_ends_at_its_deadline() {
    let bench = bench([Step::sends(0, DRIP)]);
    let started = Instant::now();
    assert_eq!(bench.read(0..SIZE).await.unwrap_err().kind, ErrorKind::Timeout);
    let deadline = RetryPolicy::default().data_deadline;
    assert!(started.elapsed() < deadline + rate::WINDOW, "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_its_time_is_no_drip() {
    let bench = bench([Step::sends(0, Rest::Drips(Duration::ZERO))]);
    let mut body = bench.store.get(&object(), 0..100).await.unwrap();
    while body.stream.try_next().await.unwrap().is_some() {
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    assert_eq!(bench.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_for_patience_gets_it() {
    let asked = Duration::from_secs(7);
    let bench = bench([Step::is_busy(asked), Step::answers()]);
    bench.store.head("k").await.unwrap();
    let times: Vec<_> = bench.script.asked().iter().map(|asked| asked.at).collect();
    assert!(times[1] - times[0] >= asked && times[1] - times[0] < asked + Duration::from_secs(1), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_for_too_much_patience_is_asked_once_more_before_the_deadline() {
    let bench = bench([Step::is_busy(Duration::from_secs(u64::MAX)), Step::is_busy(Duration::from_secs(600))]);
    let (started, deadline) = (Instant::now(), RetryPolicy::default().metadata_deadline);
    let error = bench.store.head("k").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Throttled);
    assert!(error.message.contains("left alone for 600 s") && error.message.contains("2 attempts"), "{error}");
    assert_eq!(bench.requests(), 2);
    assert!(started.elapsed() < deadline && started.elapsed() > deadline / 2, "{:?}", started.elapsed());
}
