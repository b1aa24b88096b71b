//! When connections are opened, by a store that counts.

use super::*;
use crate::store::ErrorKind;
use crate::store::scripted::{Op, Scripted, Step};

/// How many connections a LIST had opened.
async fn touched_by_list(store: &Preconnect, counts: &Scripted) -> usize {
    let before = counts.count(Op::Touch);
    let request = ListRequest { prefix: String::new(), delimited: true, max_keys: 1, continuation: None };
    let _ = store.list(&request).await;
    all_tasks_ended().await;
    counts.count(Op::Touch) - before
}

/// Waits for the tasks that open connections: what they have not done by then they never do.
async fn all_tasks_ended() {
    while tokio::runtime::Handle::current().metrics().num_alive_tasks() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn connections_are_opened_after_the_first_answer_and_after_a_rest() {
    let counts = Arc::new(Scripted::default());
    let store = Preconnect::new(counts.clone());
    counts.always(Step::fails(ErrorKind::Network));
    assert_eq!(touched_by_list(&store, &counts).await, 0, "there is no answer");
    counts.always(Step::answers());
    assert_eq!(touched_by_list(&store, &counts).await, FEW);
    assert_eq!(touched_by_list(&store, &counts).await, 0, "they are there");
    store.opened.lock().last -= REST;
    assert_eq!(touched_by_list(&store, &counts).await, FEW);
    assert_eq!(touched_by_list(&store, &counts).await, 0);
}

/// How many connections are opened in all, where some of the first are idle and only so many are given.
async fn opened(idle: usize, given: usize, reads: bool) -> usize {
    let counts = Arc::new(Scripted::default());
    let (found, opened) = (Step::answers(), Step::answers().after(HIGH_LATENCY));
    let next = [vec![found; idle], vec![opened; given.saturating_sub(idle)]].concat();
    // The server lets those beyond wait.
    counts.touches(next, Step::answers().after(10 * HIGH_LATENCY));
    let store = Preconnect::new(counts.clone());
    touched_by_list(&store, &counts).await;
    if reads {
        let _ = store.peek("k", 1).await;
    }
    all_tasks_ended().await;
    counts.count(Op::Touch)
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
