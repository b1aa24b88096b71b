//! The network in virtual time: each GET waits, then its bytes flow, all bodies sharing what there is.
//!
//! Every body has the same rate at any moment: that of a connection, or its share of the whole. So one number, the bytes
//! that a body flowing all the time would have got, tells how far each of them is: an event is due when that number comes
//! to a value that was known when the body began, whatever began and ended in between.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// How a network is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Profile {
    /// Its name on the command line.
    pub name: &'static str,
    /// Seconds from a request to the first byte of its answer.
    pub latency: f64,
    /// Bytes per second of one connection.
    pub connection: f64,
    /// Bytes per second of all connections together.
    pub total: f64,
}

/// Within the region of the bucket.
pub const REGION: Profile = Profile { name: "region", latency: 0.03, connection: 90e6, total: 650e6 };
/// At home.
pub const HOME: Profile = Profile { name: "home", latency: 0.1, connection: 12e6, total: 12e6 };
/// At another place with a fast network.
pub const FAR: Profile = Profile { name: "far", latency: 0.1, connection: 90e6, total: 650e6 };
/// All of them.
pub const PROFILES: [Profile; 3] = [REGION, HOME, FAR];

/// Processor time of a request in seconds, on one of so many cores: measured with the AWS SDK on machines of two cores.
pub const REQUEST: f64 = 0.3e-3;
const CORES: usize = 2;

/// Names a GET.
pub type GetId = usize;

/// Requests, timers and the clock. `T` is what is told when something happens.
#[derive(Debug)]
pub struct Network<T> {
    profile: Profile,
    now: f64,
    /// Bytes that a body would have got which has flowed since the start.
    served: f64,
    flowing: usize,
    /// Bytes of all bodies so far.
    delivered: f64,
    cores: [f64; CORES],
    gets: Vec<Get<T>>,
    timers: BinaryHeap<Due<Timed<T>>>,
    marks: BinaryHeap<Due<Mark<T>>>,
    scheduled: u64,
}

#[derive(Debug)]
struct Get<T> {
    length: u64,
    state: State,
    /// What to tell when the body begins, and when it has come to its end.
    begins: Option<T>,
    ends: Option<T>,
    /// Marks that were asked for before the body began.
    early: Vec<(u64, T)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Waiting,
    /// Where the common count of bytes stood when it began.
    Flowing(f64),
    Ended,
    /// Cancelled after so many bytes.
    Cancelled(u64),
}

#[derive(Debug)]
enum Timed<T> {
    Begin(GetId),
    Tell(T),
}

#[derive(Debug)]
enum Mark<T> {
    /// A body of this length ends, unless it was lengthened.
    End(GetId, u64),
    Reached(GetId, T),
}

/// Something that is due at a time, or at a count of bytes; the earliest first, then in the order of scheduling.
#[derive(Debug)]
struct Due<E> {
    at: f64,
    order: u64,
    event: E,
}

impl<E> PartialEq for Due<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl<E> Eq for Due<E> {}
impl<E> PartialOrd for Due<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<E> Ord for Due<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.total_cmp(&self.at).then(other.order.cmp(&self.order))
    }
}

impl<T: Copy> Network<T> {
    /// A network at time 0.
    pub fn new(profile: Profile) -> Self {
        Self {
            profile,
            now: 0.0,
            served: 0.0,
            flowing: 0,
            delivered: 0.0,
            cores: [0.0; CORES],
            gets: Vec::new(),
            timers: BinaryHeap::new(),
            marks: BinaryHeap::new(),
            scheduled: 0,
        }
    }

    /// How the network is.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Seconds since the start.
    pub fn now(&self) -> f64 {
        self.now
    }

    /// Requests so far.
    pub fn requests(&self) -> u64 {
        self.gets.len() as u64
    }

    /// Bytes of all bodies that have arrived so far.
    pub fn delivered(&self) -> f64 {
        self.delivered
    }

    /// Bytes that all requests so far have transferred, or will, as they were not cancelled.
    pub fn transferred(&self) -> u64 {
        let of = |get: &Get<T>| if let State::Cancelled(bytes) = get.state { bytes } else { get.length };
        self.gets.iter().map(of).sum()
    }

    /// Tells `token` after so many seconds.
    pub fn after(&mut self, seconds: f64, token: T) {
        self.schedule(self.now + seconds, Timed::Tell(token));
    }

    /// Sends a request for `length` bytes. `begins` is told with the first byte, `ends` with the last one.
    pub fn get(&mut self, length: u64, begins: Option<T>, ends: Option<T>) -> GetId {
        let id = self.gets.len();
        self.gets.push(Get { length, state: State::Waiting, begins, ends, early: Vec::new() });
        let core = self.cores.iter_mut().min_by(|a, b| a.total_cmp(b)).expect("there are cores");
        *core = core.max(self.now) + REQUEST;
        let at = *core + self.profile.latency;
        self.schedule(at, Timed::Begin(id));
        id
    }

    /// Tells `token` when so many bytes of the body have arrived: soon, if they have already.
    pub fn when(&mut self, id: GetId, bytes: u64, token: T) {
        match self.gets[id].state {
            State::Waiting => self.gets[id].early.push((bytes, token)),
            State::Flowing(begun) => self.mark(begun + bytes as f64, Mark::Reached(id, token)),
            State::Ended => self.after(0.0, token),
            State::Cancelled(_) => {}
        }
    }

    /// How many bytes of the body have arrived.
    pub fn arrived(&self, id: GetId) -> u64 {
        let get = &self.gets[id];
        match get.state {
            State::Waiting => 0,
            // What is due now has arrived, however the sum was rounded.
            State::Flowing(begun) => ((self.served - begun + 1e-3) as u64).min(get.length),
            State::Ended => get.length,
            State::Cancelled(bytes) => bytes,
        }
    }

    /// How long the body is that was asked for.
    pub fn length(&self, id: GetId) -> u64 {
        self.gets[id].length
    }

    /// The body goes on up to `length` bytes, without a new request: one that is read with the window closed until then.
    pub fn lengthen(&mut self, id: GetId, length: u64) {
        let before = self.gets[id].length;
        if length <= before {
            return;
        }
        self.gets[id].length = length;
        match self.gets[id].state {
            State::Flowing(begun) => self.mark(begun + length as f64, Mark::End(id, length)),
            State::Ended => {
                let begun = self.served - before as f64;
                self.gets[id].state = State::Flowing(begun);
                self.flowing += 1;
                self.mark(begun + length as f64, Mark::End(id, length));
            }
            State::Waiting | State::Cancelled(_) => {}
        }
    }

    /// Cancels a request. Nothing more is told of it.
    pub fn cancel(&mut self, id: GetId) {
        let arrived = self.arrived(id);
        match self.gets[id].state {
            State::Flowing(_) => self.flowing -= 1,
            State::Waiting => {}
            State::Ended | State::Cancelled(_) => return,
        }
        self.gets[id].state = State::Cancelled(arrived);
    }

    /// Goes on to what happens next; none if nothing will.
    pub fn go_on(&mut self) -> Option<T> {
        loop {
            let timer = self.timers.peek().map_or(f64::INFINITY, |due| due.at);
            let mark = self.marks.peek().map_or(f64::INFINITY, |due| self.time_of(due.at));
            if timer == f64::INFINITY && mark == f64::INFINITY {
                return None;
            }
            let told = if mark <= timer { self.reach(mark) } else { self.tick(timer) };
            if told.is_some() {
                return told;
            }
        }
    }

    /// When the common count of bytes comes to `served`, if nothing changes.
    fn time_of(&self, served: f64) -> f64 {
        if served <= self.served { self.now } else { self.now + (served - self.served) / self.rate().max(1e-9) }
    }

    /// Bytes per second of each body.
    fn rate(&self) -> f64 {
        if self.flowing == 0 {
            return 0.0;
        }
        self.profile.connection.min(self.profile.total / self.flowing as f64)
    }

    fn advance(&mut self, to: f64) {
        let bytes = self.rate() * (to - self.now).max(0.0);
        self.served += bytes;
        self.delivered += bytes * self.flowing as f64;
        self.now = self.now.max(to);
    }

    fn reach(&mut self, at: f64) -> Option<T> {
        let due = self.marks.pop()?;
        let is_over = |id: GetId| matches!(self.gets[id].state, State::Cancelled(_));
        match due.event {
            Mark::End(id, length) => {
                if is_over(id) || self.gets[id].length != length {
                    return None;
                }
                self.advance(at);
                self.served = self.served.max(due.at);
                self.gets[id].state = State::Ended;
                self.flowing -= 1;
                self.gets[id].ends
            }
            Mark::Reached(id, token) => {
                if is_over(id) {
                    return None;
                }
                self.advance(at);
                self.served = self.served.max(due.at);
                Some(token)
            }
        }
    }

    fn tick(&mut self, at: f64) -> Option<T> {
        let due = self.timers.pop()?;
        match due.event {
            Timed::Tell(token) => {
                self.advance(at);
                Some(token)
            }
            Timed::Begin(id) => {
                if self.gets[id].state != State::Waiting {
                    return None;
                }
                self.advance(at);
                let begun = self.served;
                self.flowing += 1;
                self.gets[id].state = State::Flowing(begun);
                self.mark(begun + self.gets[id].length as f64, Mark::End(id, self.gets[id].length));
                for (bytes, token) in std::mem::take(&mut self.gets[id].early) {
                    self.mark(begun + bytes as f64, Mark::Reached(id, token));
                }
                self.gets[id].begins
            }
        }
    }

    fn schedule(&mut self, at: f64, event: Timed<T>) {
        self.scheduled += 1;
        self.timers.push(Due { at, order: self.scheduled, event });
    }

    fn mark(&mut self, at: f64, event: Mark<T>) {
        self.scheduled += 1;
        self.marks.push(Due { at, order: self.scheduled, event });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When each of some requests for so many bytes, sent at once, has come to its end.
    fn ends(profile: Profile, lengths: &[u64]) -> Vec<f64> {
        let mut network = Network::new(profile);
        for (n, length) in lengths.iter().enumerate() {
            network.get(*length, None, Some(n));
        }
        let mut ends = vec![0.0; lengths.len()];
        while let Some(n) = network.go_on() {
            ends[n] = network.now();
        }
        assert!((network.delivered() - lengths.iter().sum::<u64>() as f64).abs() < 1.0);
        ends
    }

    fn is_near(a: f64, b: f64) -> bool {
        (a - b).abs() < 0.002
    }

    #[test]
    fn one_body_has_the_rate_of_a_connection() {
        assert!(is_near(ends(REGION, &[90_000_000])[0], 1.03), "{:?}", ends(REGION, &[90_000_000]));
    }

    #[test]
    fn eight_bodies_share_the_network() {
        let ends = ends(REGION, &[65_000_000; 8]);
        assert!(ends.iter().all(|end| is_near(*end, 0.83)), "{ends:?}");
    }

    #[test]
    fn a_body_that_ends_leaves_its_share_to_the_others() {
        // 6 MB/s each until the small one has its 6 MB after 1 s, then 12 MB/s for the 12 MB that are left.
        let ends = ends(HOME, &[6_000_000, 18_000_000]);
        assert!(is_near(ends[0], 1.1) && is_near(ends[1], 2.1), "{ends:?}");
    }

    #[test]
    fn requests_take_their_turn_on_the_processor() {
        let ends = ends(REGION, &[1; 2000]);
        assert!(is_near(ends[1999], 0.03 + 1000.0 * REQUEST), "{}", ends[1999]);
    }

    #[test]
    fn marks_and_cancelling() {
        let mut network = Network::new(REGION);
        let get = network.get(90_000_000, Some(1), Some(3));
        network.when(get, 45_000_000, 2);
        assert_eq!(network.go_on(), Some(1));
        assert_eq!(network.go_on(), Some(2));
        assert!(is_near(network.now(), 0.53));
        assert_eq!(network.arrived(get), 45_000_000);
        network.cancel(get);
        assert_eq!((network.go_on(), network.transferred()), (None, 45_000_000));
    }

    #[test]
    fn a_body_that_is_lengthened_goes_on_without_a_new_wait() {
        let mut network = Network::new(REGION);
        let get = network.get(9_000_000, None, Some(1));
        assert_eq!(network.go_on(), Some(1));
        network.lengthen(get, 18_000_000);
        assert_eq!(network.go_on(), Some(1));
        assert!(is_near(network.now(), 0.23), "{}", network.now());
        assert_eq!(network.requests(), 1);
    }
}
