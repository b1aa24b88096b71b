//! How many requests may run at once, where a server has shown that it gives no more connections.
//!
//! What a server does with a connection beyond those that it gives differs: it is refused, answered with 503, or never
//! answered. All of them are slower than to wait for one that is free. The limit is what was seen to work; it is
//! doubled after a while, since the others that the server had connections for may have gone.
//!
//! It is a soft one: no request waits for a place longer than for a server, so that a limit that is wrong costs only
//! time.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// A look-up beside a read is possible at any server.
const FEWEST: usize = 2;

/// How long a limit holds before twice as many are tried.
const HOLDS: Duration = Duration::from_secs(60);

/// With so many at once there is no limit: more than ever run.
const UNLIMITED: usize = 512;

/// The longest wait for a place: below the time for an attempt, so that one that waited can still be answered.
const LONGEST_WAIT: Duration = Duration::from_secs(4);

/// The requests that run, and how many may.
#[derive(Debug, Default)]
pub(in crate::store) struct Crowd {
    state: Mutex<State>,
    left: Notify,
}

#[derive(Debug, Default)]
struct State {
    inside: usize,
    /// The limit and since when it holds.
    limit: Option<(usize, Instant)>,
}

impl State {
    fn enter(&mut self, now: Instant) -> bool {
        if let Some((most, since)) = self.limit
            && now.duration_since(since) >= HOLDS
        {
            self.limit = Some((most * 2, now)).filter(|_| most * 2 < UNLIMITED);
        }
        let has_room = self.limit.is_none_or(|(most, _)| self.inside < most);
        self.inside += usize::from(has_room);
        has_room
    }

    fn lower(&mut self, working: usize, now: Instant) {
        let most = working.max(self.inside).max(FEWEST);
        self.limit = Some((self.limit.map_or(most, |(before, _)| before.min(most)), now));
    }
}

impl Crowd {
    /// Takes a place when there is one, or after some time.
    pub(in crate::store) async fn enter(self: &Arc<Self>) -> Place {
        let until = Instant::now() + LONGEST_WAIT;
        loop {
            let left = self.left.notified();
            if self.state.lock().enter(Instant::now()) {
                return self.place();
            }
            if timeout_at(until, left).await.is_err() {
                return self.enter_at_once();
            }
        }
    }

    /// Takes a place whether there is one or not.
    pub(in crate::store) fn enter_at_once(self: &Arc<Self>) -> Place {
        self.state.lock().inside += 1;
        self.place()
    }

    fn place(self: &Arc<Self>) -> Place {
        Place { crowd: self.clone(), is_taken: Mutex::new(true) }
    }
}

/// A request that runs.
#[derive(Debug)]
pub(in crate::store) struct Place {
    crowd: Arc<Crowd>,
    is_taken: Mutex<bool>,
}

impl Place {
    /// The connection of this one has not come: no more are to run than there are `working` connections, or others that
    /// run now.
    pub(in crate::store) fn set_aside(&self, working: usize) {
        self.leave();
        let mut state = self.crowd.state.lock();
        let before = state.limit.map(|(most, _)| most);
        state.lower(working, Instant::now());
        let most = state.limit.map(|(most, _)| most);
        if before != most {
            tracing::info!(most, "the server gives no more connections: fewer requests run at once for a while");
        }
    }

    fn leave(&self) {
        if std::mem::replace(&mut *self.is_taken.lock(), false) {
            self.crowd.state.lock().inside -= 1;
            self.crowd.left.notify_one();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn connections_that_do_not_come_lower_the_number_for_a_while() {
        let crowd = Arc::new(Crowd::default());
        let mut places = Vec::new();
        for _ in 0..50 {
            places.push(crowd.enter().await);
        }
        places.drain(16..).for_each(|place| place.set_aside(16));
        let started = Instant::now();
        let waiting = tokio::spawn({
            let crowd = crowd.clone();
            async move { crowd.enter().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "16 run");
        places.pop();
        places.push(waiting.await.expect("no panic"));
        assert_eq!(started.elapsed(), Duration::ZERO, "one that ends makes room at once");
        tokio::time::advance(HOLDS).await;
        for _ in 0..16 {
            places.push(crowd.enter().await);
        }
        assert_eq!(started.elapsed(), HOLDS, "twice as many are tried");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_for_a_server() {
        let crowd = Arc::new(Crowd::default());
        crowd.enter().await.set_aside(0);
        let (_one, _two) = (crowd.enter().await, crowd.enter().await);
        let started = Instant::now();
        drop(crowd.enter().await);
        assert_eq!(started.elapsed(), LONGEST_WAIT);
    }
}
