//! When a GET is to be sent a second time: what is usual, whose turn it is, and what may be spent. Pure; times are
//! given.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Times to first byte that are remembered, the latest: a burst of requests changes what is usual while it lasts, and a
/// store that turned slow does so after a few answers.
const REMEMBERED: usize = 64;

/// Fewer answers do not tell what is usual.
const ENOUGH: usize = 10;

/// Far beyond the usual is three times what 95 % of the answers took: a new connection costs up to three round trips
/// more than one that is open, and is usual.
const TIMES_USUAL: u32 = 3;

/// And not less than this beyond the median: below it, the second request could hardly win anything.
const GRACE: Duration = Duration::from_millis(50);

/// What a hedge costs, in the shares that each GET earns: one in twenty may be hedged.
const COST: u64 = 20;

/// Hedges that may be saved up: a part of a store that fails loses several of a reader's parallel requests at once.
const MOST: u64 = 4;

/// How long a store that asked for patience gets it.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is to be done about a GET that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing; ask again after this long.
    Wait(Duration),
    /// Send it again. It is paid for.
    Hedge,
}

/// What is known of the GETs of a store.
#[derive(Debug)]
pub(super) struct ResponseTimes {
    /// Times to first byte, the latest last.
    recent: VecDeque<Duration>,
    /// GETs so far, and those of them that wait no more. Hedges are not among them.
    sent: u64,
    ended: u64,
    /// What may be spent, in shares: GETs earn one, hedges cost [`COST`].
    shares: u64,
    throttled: Option<Instant>,
}

impl Default for ResponseTimes {
    fn default() -> Self {
        // One to begin with: a program that reads a single header deserves it too.
        Self { recent: VecDeque::with_capacity(REMEMBERED), sent: 0, ended: 0, shares: COST, throttled: None }
    }
}

impl ResponseTimes {
    /// Counts a GET; returns its number.
    pub(super) fn sent(&mut self) -> u64 {
        self.sent += 1;
        self.shares = (self.shares + 1).min(MOST * COST);
        self.sent - 1
    }

    /// Counts a GET that waits no more, whatever came of it.
    pub(super) fn ended(&mut self) {
        self.ended += 1;
    }

    /// Learns the time to first byte of a GET.
    pub(super) fn answered(&mut self, time: Duration) {
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(time);
    }

    /// Learns that the store asks for fewer requests.
    pub(super) fn throttled(&mut self, now: Instant) {
        self.throttled = Some(now);
    }

    /// How many GETs may be hedged now.
    pub(super) fn budget(&self) -> u64 {
        self.shares / COST
    }

    /// Decides about the GET of this number; a hedge is paid for at once.
    ///
    /// Asked again after each wait, because the usual may have changed meanwhile.
    pub(super) fn judge(&mut self, number: u64, sent: Instant, now: Instant) -> Verdict {
        let Some(limit) = self.limit() else { return Verdict::Wait(GRACE) };
        let waited = now.saturating_duration_since(sent);
        if waited < limit {
            return Verdict::Wait(limit - waited);
        }
        if !self.is_its_turn(number) || self.asks_for_patience(now) || self.budget() == 0 {
            return Verdict::Wait(GRACE);
        }
        self.shares -= COST;
        Verdict::Hedge
    }

    /// The wait that is far beyond the usual one.
    fn limit(&self) -> Option<Duration> {
        let count = self.recent.len();
        if count < ENOUGH {
            return None;
        }
        let mut times: Vec<_> = self.recent.iter().copied().collect();
        times.sort_unstable();
        Some((times[count * 95 / 100] * TIMES_USUAL).max(times[count / 2] + GRACE))
    }

    /// Whether as many GETs have ended as were sent before this one. Where many wait in a queue, at the store or on a
    /// line that is full, those at its end are not late; and of many that wait for a store that is silent, one is sent
    /// again, the next only when that one was answered.
    fn is_its_turn(&self, number: u64) -> bool {
        self.ended >= number
    }

    fn asks_for_patience(&self, now: Instant) -> bool {
        self.throttled.is_some_and(|last| now.saturating_duration_since(last) < PATIENCE)
    }
}
