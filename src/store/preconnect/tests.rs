//! When connections are opened, by a store that counts.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;
use crate::store::{ErrorKind, StoreError};

#[derive(Debug, Default)]
struct Counts {
    fails: AtomicBool,
    touched: AtomicUsize,
    /// How long a touch takes, but for the first ones, which find idle connections.
    latency: Mutex<Option<(Duration, usize)>>,
    /// Those beyond take ten times as long.
    given: Mutex<Option<usize>>,
}

#[async_trait]
impl Store for Counts {
    fn id(&self) -> &str {
        "counts"
    }

    fn url(&self, key: &str) -> String {
        key.to_owned()
    }

    async fn touch(&self) -> Result<()> {
        let before = self.touched.fetch_add(1, Ordering::SeqCst);
        let latency = *self.latency.lock();
        if let Some((time, _)) = latency.filter(|(_, idle)| before >= *idle) {
            let is_given = self.given.lock().is_none_or(|given| before < given);
            tokio::time::sleep(time * if is_given { 1 } else { 10 }).await;
        }
        Ok(())
    }

    fn lists_in_order(&self) -> bool {
        true
    }

    async fn list(&self, _: &ListRequest) -> Result<ListPage> {
        match self.fails.load(Ordering::SeqCst) {
            true => Err(StoreError::new(ErrorKind::Network, "no way")),
            false => Ok(ListPage::default()),
        }
    }

    async fn head(&self, _: &str) -> Result<ObjectMeta> {
        Err(StoreError::new(ErrorKind::NotFound, "nothing"))
    }

    async fn peek(&self, _: &str, _: u64) -> Result<Peeked> {
        Err(StoreError::new(ErrorKind::NotFound, "nothing"))
    }

    async fn get(&self, _: &ObjectMeta, _: Range<u64>) -> Result<Body> {
        Err(StoreError::new(ErrorKind::NotFound, "nothing"))
    }
}

/// How many connections a LIST had opened.
async fn touched_by_list(store: &Preconnect, counts: &Counts) -> usize {
    let before = counts.touched.load(Ordering::SeqCst);
    let request = ListRequest { prefix: String::new(), delimited: true, max_keys: 1, continuation: None };
    let _ = store.list(&request).await;
    all_tasks_ended().await;
    counts.touched.load(Ordering::SeqCst) - before
}

/// Waits for the tasks that open connections: what they have not done by then they never do.
async fn all_tasks_ended() {
    while tokio::runtime::Handle::current().metrics().num_alive_tasks() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn connections_are_opened_after_the_first_answer_and_after_a_rest() {
    let counts = Arc::new(Counts::default());
    let store = Preconnect::new(counts.clone());
    counts.fails.store(true, Ordering::SeqCst);
    assert_eq!(touched_by_list(&store, &counts).await, 0, "nobody answers there");
    counts.fails.store(false, Ordering::SeqCst);
    assert_eq!(touched_by_list(&store, &counts).await, FEW);
    assert_eq!(touched_by_list(&store, &counts).await, 0, "they are there");
    store.opened.lock().last -= REST;
    assert_eq!(touched_by_list(&store, &counts).await, FEW);
    assert_eq!(touched_by_list(&store, &counts).await, 0);
}

/// How many connections are opened in all, where some of the first are idle and only so many are given.
async fn opened(idle: usize, given: usize, reads: bool) -> usize {
    let counts = Arc::new(Counts::default());
    (*counts.latency.lock(), *counts.given.lock()) = (Some((HIGH_LATENCY, idle)), Some(given));
    let store = Preconnect::new(counts.clone());
    touched_by_list(&store, &counts).await;
    if reads {
        let _ = store.peek("k", 1).await;
    }
    all_tasks_ended().await;
    counts.touched.load(Ordering::SeqCst)
}

#[tokio::test]
async fn many_are_opened_at_a_high_latency_for_programs_that_read() {
    let (region, home, names, small) = futures::join!(
        opened(6, MANY, true),
        opened(3, MANY, true),
        opened(3, MANY, false),
        opened(3, SOME / 2, true),
    );
    assert_eq!(region, FEW, "the latency is low");
    assert_eq!(home, MANY, "although some connections were there");
    assert_eq!(names, SOME, "names need few");
    assert_eq!(small, SOME, "the server gives no more");
}
