//! When connections are opened, by a store that counts.

use std::sync::atomic::AtomicUsize;

use super::*;
use crate::store::{ErrorKind, StoreError};

#[derive(Debug, Default)]
struct Counts {
    fails: AtomicBool,
    touched: AtomicUsize,
    /// How long a touch takes, but for the first ones, which find idle connections.
    far: Mutex<Option<(Duration, usize)>>,
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
        let far = *self.far.lock();
        if let Some((time, _)) = far.filter(|(_, idle)| before >= *idle) {
            tokio::time::sleep(time).await;
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
async fn touched_by_list(warm: &Warm, counts: &Counts) -> usize {
    let before = counts.touched.load(Ordering::SeqCst);
    let request = ListRequest { prefix: String::new(), delimited: true, max_keys: 1, continuation: None };
    let _ = warm.list(&request).await;
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
    let warm = Warm::new(counts.clone());
    counts.fails.store(true, Ordering::SeqCst);
    assert_eq!(touched_by_list(&warm, &counts).await, 0, "nobody answers there");
    counts.fails.store(false, Ordering::SeqCst);
    assert_eq!(touched_by_list(&warm, &counts).await, CONNECTIONS);
    assert_eq!(touched_by_list(&warm, &counts).await, 0, "they are there");
    *warm.last.lock() -= REST;
    assert_eq!(touched_by_list(&warm, &counts).await, CONNECTIONS);
    assert_eq!(touched_by_list(&warm, &counts).await, 0);
}

#[tokio::test]
async fn a_way_is_long_although_some_connections_were_there() {
    for (idle, expected) in [(3, CONNECTIONS_AFAR), (6, CONNECTIONS)] {
        let counts = Arc::new(Counts::default());
        *counts.far.lock() = Some((AFAR, idle));
        assert_eq!(touched_by_list(&Warm::new(counts.clone()), &counts).await, expected, "{idle} were idle");
    }
}
