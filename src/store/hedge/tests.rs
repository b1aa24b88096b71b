//! Hedging of GETs to a store whose answers take as long as told, in paused time.

use std::time::Duration;

use bytes::Bytes;
use futures::stream::TryStreamExt;

use super::*;
use crate::metrics::{Health, PaceMeter};
use crate::store::scripted::{Op, Scripted, Step, content, object};
use crate::store::{Metered, Retry, RetryPolicy};

const MS: Duration = Duration::from_millis(1);
const USUAL: Duration = Duration::from_millis(30);
const SLOW: Duration = Duration::from_secs(2);

/// The first byte of the answer takes so long.
fn slow() -> Step {
    Step::answers().after(SLOW)
}

struct Bench {
    script: Arc<Scripted>,
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
}

/// The layers of a mount over such a store.
fn bench(script: Scripted) -> Bench {
    let (script, metrics) = (Arc::new(script), Arc::new(Metrics::new()));
    script.always(Step::answers().after(USUAL));
    let inner: Arc<dyn Store> = Arc::clone(&script) as _;
    let metered = Arc::new(Metered::new(inner, Arc::clone(&metrics), PaceMeter::default(), Health::default()));
    let hedge = Arc::new(Hedge::new(metered, Arc::clone(&metrics)));
    let store = Arc::new(Retry::new(hedge, RetryPolicy::default(), Arc::clone(&metrics)));
    Bench { script, store, metrics }
}

/// One that has seen so many usual GETs.
async fn used(gets: usize) -> Bench {
    let bench = bench(Scripted::of_size(1000));
    for _ in 0..gets {
        bench.read().await.unwrap();
    }
    bench
}

impl Bench {
    async fn read(&self) -> Result<Vec<u8>> {
        let body = self.store.get(&object("k", 1000), 10..20).await?;
        let chunks: Vec<Bytes> = body.stream.try_collect().await?;
        Ok(chunks.concat())
    }

    /// Reads, where the next requests go so; returns how long it took.
    async fn read_with(&self, steps: impl IntoIterator<Item = Step>) -> Duration {
        self.script.next(steps);
        let start = Instant::now();
        assert_eq!(self.read().await.unwrap(), content(10..20));
        start.elapsed()
    }

    /// So many reads at once.
    async fn read_at_once(&self, count: usize) {
        let reads = futures::future::join_all((0..count).map(|_| self.read())).await;
        assert!(reads.into_iter().all(|read| read.is_ok()));
    }

    /// Hedges sent and won.
    fn hedges(&self) -> (u64, u64) {
        (self.metrics.hedged_requests.get(), self.metrics.hedges_won.get())
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_get_is_sent_again_for_the_same_range_and_the_first_answer_wins() {
    let bench = used(10).await;
    let took = bench.read_with([slow()]).await;
    assert!(took < 5 * USUAL, "{took:?}");
    assert_eq!(bench.hedges(), (1, 1));
    assert!(bench.script.asked().iter().all(|asked| asked.range == (10..20)));
    let snapshot = bench.metrics.snapshot();
    assert_eq!((snapshot.requests.get, snapshot.in_flight, snapshot.counters.retries), (12, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_first_request_may_win_after_all() {
    let bench = used(10).await;
    let took = bench.read_with([Step::answers().after(200 * MS), slow()]).await;
    assert!(took <= 201 * MS, "{took:?}");
    assert_eq!((bench.hedges(), bench.metrics.in_flight.get()), ((1, 0), 0));
}

#[tokio::test(start_paused = true)]
async fn where_one_fails_the_other_is_waited_for() {
    let (failed, answered) = (Step::fails(ErrorKind::Network).after(200 * MS), Step::answers().after(300 * MS));
    for (steps, won) in [([failed.clone(), answered.clone()], 1), ([answered, failed], 0)] {
        let bench = used(10).await;
        bench.read_with(steps).await;
        let snapshot = bench.metrics.snapshot();
        assert_eq!((bench.hedges(), snapshot.errors.network, snapshot.counters.retries), ((1, won), 1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn where_both_fail_it_is_the_retries_turn() {
    let bench = used(10).await;
    bench
        .read_with([Step::fails(ErrorKind::Network).after(200 * MS), Step::fails(ErrorKind::Server).after(300 * MS)])
        .await;
    assert_eq!((bench.hedges(), bench.metrics.retries.get()), ((1, 0), 1));
}

#[tokio::test(start_paused = true)]
async fn an_error_that_waiting_does_not_cure_is_the_answer() {
    let bench = used(10).await;
    bench.script.next([slow(), Step::fails(ErrorKind::VersionChanged).after(USUAL)]);
    assert_eq!(bench.read().await.unwrap_err().kind, ErrorKind::VersionChanged);
    assert_eq!((bench.hedges(), bench.script.count(Op::Get)), ((1, 0), 12));
}

/// Regression: a GET failed that was paid for, since there was no more for its hedge.
#[tokio::test(start_paused = true)]
async fn a_budget_that_lasts_for_the_first_request_only_fails_none() {
    let bench = used(10).await;
    let took = bench.read_with([slow(), Step::fails(ErrorKind::OverBudget)]).await;
    assert!(took >= SLOW, "{took:?}");
    assert_eq!(bench.hedges(), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_hedged_before_it_is_known_what_is_usual() {
    let bench = used(9).await;
    assert!(bench.read_with([slow()]).await >= SLOW);
    assert_eq!(bench.hedges(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_spent_budget_fills_up_with_further_gets() {
    let bench = used(10).await;
    assert_eq!(bench.metrics.hedge_budget.get(), 1);
    bench.read_with([slow()]).await;
    assert_eq!((bench.hedges(), bench.metrics.hedge_budget.get()), ((1, 1), 0));
    assert!(bench.read_with([slow()]).await >= SLOW);
    assert_eq!(bench.hedges(), (1, 1));
    for _ in 0..20 {
        bench.read().await.unwrap();
    }
    bench.read_with([slow()]).await;
    assert_eq!(bench.hedges(), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn at_most_one_in_twenty_is_hedged() {
    let bench = used(10).await;
    for _ in 0..100 {
        for _ in 0..9 {
            bench.read().await.unwrap();
        }
        bench.read_with([slow()]).await;
    }
    let (hedged, gets) = (bench.hedges().0, 10 + 100 * 10);
    assert!((10..=1 + gets / 20).contains(&hedged), "{hedged} of {gets}");
}

#[tokio::test(start_paused = true)]
async fn silence_of_the_whole_store_costs_one_request() {
    let bench = used(500).await;
    assert_eq!(bench.metrics.hedge_budget.get(), 4);
    bench.script.next(vec![slow(); 50]);
    bench.read_at_once(40).await;
    assert_eq!(bench.hedges(), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn of_several_that_are_late_the_next_is_hedged_when_one_was_answered() {
    let bench = used(500).await;
    bench.script.next(vec![slow(); 4]);
    let start = Instant::now();
    bench.read_at_once(4).await;
    assert!(start.elapsed() < 15 * USUAL, "{:?}", start.elapsed());
    assert_eq!(bench.hedges(), (4, 4));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_throttles_is_not_asked_for_more() {
    let bench = used(100).await;
    bench.read_with([Step::fails(ErrorKind::Throttled).after(USUAL)]).await;
    assert!(bench.read_with([slow()]).await >= SLOW);
    assert_eq!(bench.hedges(), (0, 0));
    tokio::time::sleep(Duration::from_secs(10)).await;
    bench.read_with([slow()]).await;
    assert_eq!(bench.hedges(), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_throttled_listing_counts_as_well() {
    let bench = used(100).await;
    bench.script.next([Step::fails(ErrorKind::Throttled).after(USUAL)]);
    let request = ListRequest { prefix: String::new(), delimited: true, max_keys: 1, continuation: None };
    bench.store.list(&request).await.unwrap();
    bench.read_with([slow()]).await;
    assert_eq!(bench.hedges(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_burst_that_waits_for_a_full_line_is_not_hedged() {
    // 64 KiB at 12 MB/s: the last of a hundred waits for half a second, where 30 ms are usual.
    let bench = bench(Scripted::of_size(1000).on_line(Duration::from_micros(5_500)));
    for _ in 0..100 {
        bench.read().await.unwrap();
    }
    for _ in 0..5 {
        bench.read_at_once(100).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(bench.hedges(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn one_that_is_lost_in_a_burst_is_hedged() {
    let bench = used(100).await;
    let mut steps = vec![Step::answers().after(USUAL); 100];
    steps[40] = slow();
    bench.script.next(steps);
    let start = Instant::now();
    bench.read_at_once(100).await;
    assert!(start.elapsed() < 10 * USUAL, "{:?}", start.elapsed());
    assert_eq!(bench.hedges(), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_turns_slow_is_the_new_usual() {
    let bench = used(100).await;
    for _ in 0..200 {
        bench.read_with([slow(), slow()]).await;
        bench.script.forget_next();
    }
    assert!(bench.hedges().0 <= 4, "{:?}", bench.hedges());
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_cancelled_leaves_nothing_behind() {
    let bench = used(10).await;
    bench.script.next([slow(), slow()]);
    assert!(tokio::time::timeout(500 * MS, bench.read()).await.is_err());
    assert_eq!((bench.hedges(), bench.metrics.in_flight.get()), ((1, 0), 0));
    tokio::time::sleep(Duration::from_secs(1)).await;
    for _ in 0..20 {
        bench.read().await.unwrap();
    }
    bench.read_with([slow()]).await;
    assert_eq!(bench.hedges(), (2, 1), "it does not wait for its turn for ever");
}
