//! The sums of a trace: how much, for which decision, and how much of it was not used.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::{Fetch, FileTrace, Moment, decision};
use crate::metrics::Cause;

/// The sums of one file, or of several.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// READ requests of the kernel.
    pub reads: u64,
    /// Bytes that they asked for.
    pub read_bytes: u64,
    /// READs that had to wait for bytes to arrive.
    pub reads_waited: u64,
    /// For how long together, in microseconds.
    pub waited_us: u64,
    /// Those that waited for the store, by cause: `header`, `expected` (a pattern had foreseen it), `unforeseen`.
    #[serde(default)]
    pub by_cause: BTreeMap<Cause, Waited>,
    /// READs that were answered with an error.
    pub reads_failed: u64,
    /// Fetches that were sent.
    pub fetches: u64,
    /// Fetches that failed.
    pub fetches_failed: u64,
    /// Fetches that were cancelled, before or after they were sent.
    pub fetches_cancelled: u64,
    /// Bytes that arrived.
    pub fetched_bytes: u64,
    /// Bytes that the cache on disk had.
    pub disk_bytes: u64,
    /// Those by decision.
    pub by_decision: BTreeMap<String, Share>,
    /// Bytes that were put into the page cache, where programs read them without a READ.
    pub pushed_bytes: u64,
    /// Bytes that arrived, and were neither asked for by a READ nor put into the page cache; or arrived once more.
    pub unused_bytes: u64,
    /// The longest sequence of fetches of which each was sent after the one before it had ended.
    pub rounds: u64,
    /// The first event, in microseconds since the mount.
    pub first_us: u64,
    /// The last event.
    pub last_us: u64,
}

/// What one decision caused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Fetches that were sent.
    pub fetches: u64,
    /// Bytes that arrived.
    pub bytes: u64,
}

/// READs that waited for one cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waited {
    /// How many.
    pub reads: u64,
    /// For how long together, in microseconds.
    pub us: u64,
}

impl Waited {
    fn add(&mut self, other: Self) {
        self.reads += other.reads;
        self.us += other.us;
    }
}

impl Summary {
    /// The sums of a file. What is under way is so until `now`.
    pub(super) fn of(file: &FileTrace, now: u64) -> Self {
        let mut summary = Self { rounds: rounds(file.fetches.iter()), ..Self::default() };
        for read in &file.reads {
            summary.reads += 1;
            summary.read_bytes += read.end - read.start;
            summary.reads_failed += u64::from(read.failed);
            if read.waited {
                summary.reads_waited += 1;
                summary.waited_us += read.answered_us.saturating_sub(read.asked_us);
            }
        }
        for wait in &file.waits {
            summary.by_cause.entry(wait.cause).or_default().add(Waited { reads: 1, us: wait.waited_us });
        }
        file.fetches.iter().for_each(|fetch| summary.add_fetch(fetch));
        summary.pushed_bytes = file.pushes.iter().map(|push| push.end - push.start).sum();
        let arrived = union(file.fetches.iter().map(Fetch::arrived));
        let reads = file.reads.iter().filter(|read| !read.failed).map(|read| read.start..read.end);
        let used = union(reads.chain(file.pushes.iter().map(|push| push.start..push.end)));
        let unused = summary.fetched_bytes + summary.disk_bytes - overlap(&arrived, &used);
        summary.unused_bytes = unused.min(summary.fetched_bytes);
        let moments = moments(file, now);
        summary.first_us = moments.clone().min().unwrap_or(now);
        summary.last_us = moments.max().unwrap_or(now);
        summary
    }

    fn add_fetch(&mut self, fetch: &Fetch) {
        let sent = u64::from(fetch.sent_us.is_some());
        self.fetches += sent;
        self.fetched_bytes += fetch.bytes;
        self.disk_bytes += fetch.disk_bytes;
        self.fetches_failed += u64::from(fetch.outcome == super::Outcome::Failed);
        self.fetches_cancelled += u64::from(fetch.outcome == super::Outcome::Cancelled);
        let share = self.by_decision.entry(decision::name(fetch.decision).to_owned()).or_default();
        share.fetches += sent;
        share.bytes += fetch.bytes;
    }

    /// The sums of several files.
    pub(super) fn total<'a>(files: impl IntoIterator<Item = &'a FileTrace> + Clone) -> Self {
        let mut total = Self { first_us: u64::MAX, ..Self::default() };
        for one in files.clone().into_iter().map(|file| &file.summary) {
            total.reads += one.reads;
            total.read_bytes += one.read_bytes;
            total.reads_waited += one.reads_waited;
            total.waited_us += one.waited_us;
            total.reads_failed += one.reads_failed;
            total.fetches += one.fetches;
            total.fetches_failed += one.fetches_failed;
            total.fetches_cancelled += one.fetches_cancelled;
            total.fetched_bytes += one.fetched_bytes;
            total.disk_bytes += one.disk_bytes;
            total.pushed_bytes += one.pushed_bytes;
            total.unused_bytes += one.unused_bytes;
            total.first_us = total.first_us.min(one.first_us);
            total.last_us = total.last_us.max(one.last_us);
            for (cause, waited) in &one.by_cause {
                total.by_cause.entry(*cause).or_default().add(*waited);
            }
            for (name, share) in &one.by_decision {
                let sum = total.by_decision.entry(name.clone()).or_default();
                sum.fetches += share.fetches;
                sum.bytes += share.bytes;
            }
        }
        total.rounds = rounds(files.into_iter().flat_map(|file| &file.fetches));
        total.first_us = total.first_us.min(total.last_us);
        total
    }

    /// What files are ranked by: bytes that came, and bytes that went to programs.
    pub(super) fn traffic(&self) -> u64 {
        self.fetched_bytes.saturating_add(self.read_bytes)
    }

    /// From the first event to the last, in microseconds.
    pub(super) fn duration(&self) -> u64 {
        self.last_us.saturating_sub(self.first_us)
    }

    /// The shares in the order of legends, each with its decision's name.
    pub(super) fn shares(&self) -> impl Iterator<Item = (&'static str, &Share)> {
        let share = |name: &'static str| self.by_decision.get(name).map(|share| (name, share));
        decision::DECISIONS.iter().map(|origin| decision::name(*origin)).filter_map(share)
    }

    /// `7 GETs of 1.2 MB in 3 rounds`
    pub(super) fn fetched(&self) -> String {
        let gets = super::count(self.fetches, "GET");
        format!("{gets} of {} in {}", super::size(self.fetched_bytes), super::count(self.rounds, "round"))
    }

    /// `12 READs of 0.9 MB, 3 waited 41 ms together`
    pub(super) fn read(&self) -> String {
        let reads = format!("{} of {}", super::count(self.reads, "READ"), super::size(self.read_bytes));
        let failed = if self.reads_failed > 0 { format!(", {} failed", self.reads_failed) } else { String::new() };
        match self.reads_waited {
            0 => reads + &failed,
            n => format!("{reads}, {n} waited {} together{failed}", super::span(self.waited_us)),
        }
    }

    /// `20 unforeseen 620 ms, 1 header 31 ms`, if any READ has waited for the store
    pub(super) fn waits(&self) -> Option<String> {
        let mut causes: Vec<_> = self.by_cause.iter().collect();
        causes.sort_by_key(|(_, waited)| std::cmp::Reverse(waited.us));
        let parts: Vec<_> = causes
            .iter()
            .map(|(cause, waited)| format!("{} {cause} {}", waited.reads, super::span(waited.us)))
            .collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    /// Failed and cancelled fetches, if there are any.
    pub(super) fn mishaps(&self) -> Option<String> {
        let part = |n: u64, what: &str| (n > 0).then(|| format!("{n} {what}"));
        let parts = [part(self.fetches_failed, "failed"), part(self.fetches_cancelled, "cancelled")];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

/// When something happened to a file. That it was opened and closed counts only where that is all: an interactive
/// user may pause in between.
fn moments(file: &FileTrace, now: u64) -> impl Iterator<Item = u64> + Clone {
    let reads = file.reads.iter().flat_map(|read| [read.asked_us, read.answered_us]);
    let fetches = file.fetches.iter().flat_map(move |fetch| [fetch.decided_us, fetch.end_or(now)]);
    let pushes = file.pushes.iter().map(|push| push.at_us);
    let idle = file.reads.is_empty() && file.fetches.is_empty();
    let uses = file.opened_us.iter().chain(&file.closed_us).copied().filter(move |_| idle);
    reads.chain(fetches).chain(pushes).chain(uses)
}

/// How many fetches had to wait for each other: those that end first leave the most room for others behind them.
fn rounds<'a>(fetches: impl Iterator<Item = &'a Fetch>) -> u64 {
    let times = |fetch: &Fetch| Some((fetch.ended_us.map_or(u64::MAX, Moment::get), fetch.sent_us?.get()));
    let mut times: Vec<_> = fetches.filter_map(times).collect();
    times.sort_unstable();
    let (mut rounds, mut over) = (0, 0);
    for (ended, sent) in times {
        if sent >= over {
            rounds += 1;
            over = ended;
        }
    }
    rounds
}

/// The bytes that any of the ranges has, as sorted ranges that are apart.
pub(super) fn union(ranges: impl Iterator<Item = Range<u64>>) -> Vec<Range<u64>> {
    let mut ranges: Vec<_> = ranges.filter(|range| range.start < range.end).collect();
    ranges.sort_unstable_by_key(|range| range.start);
    let mut merged: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

/// How many bytes two unions share.
pub(super) fn overlap(a: &[Range<u64>], b: &[Range<u64>]) -> u64 {
    let (mut i, mut j, mut shared) = (0, 0, 0);
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        shared += x.end.min(y.end).saturating_sub(x.start.max(y.start));
        if x.end <= y.end { i += 1 } else { j += 1 }
    }
    shared
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Outcome, Push, Read};
    use super::*;
    use crate::cache::Origin;

    fn fetch(range: Range<u64>, sent: u64, ended: u64) -> Fetch {
        Fetch {
            start: range.start,
            end: range.end,
            decision: Origin::Demand,
            decided_us: sent,
            sent_us: Moment::new(sent),
            first_byte_us: None,
            ended_us: Moment::new(ended),
            bytes: range.end - range.start,
            disk_bytes: 0,
            outcome: Outcome::Done,
        }
    }

    fn read(range: Range<u64>, waited: bool) -> Read {
        Read { start: range.start, end: range.end, asked_us: 10, answered_us: 60, waited, failed: false }
    }

    #[test]
    fn sums_of_a_file() {
        let mut file = FileTrace { size: 1000, opened_us: vec![5], ..FileTrace::default() };
        file.fetches = vec![fetch(0..100, 10, 50), fetch(100..300, 20, 60), fetch(50..100, 60, 90)];
        file.reads = vec![read(0..80, true), read(10..30, false)];
        file.pushes = vec![Push { start: 200, end: 250, at_us: 70 }];
        let summary = Summary::of(&file, 1000);
        assert_eq!((summary.reads, summary.read_bytes, summary.reads_waited, summary.waited_us), (2, 100, 1, 50));
        assert_eq!((summary.fetches, summary.fetched_bytes, summary.rounds), (3, 350, 2));
        assert_eq!((summary.pushed_bytes, summary.unused_bytes), (50, 350 - 80 - 50));
        assert_eq!((summary.first_us, summary.last_us), (10, 90));
        assert_eq!(summary.by_decision["demand"], Share { fetches: 3, bytes: 350 });
    }

    #[test]
    fn sums_of_files_are_the_sums() {
        let mut file = FileTrace { fetches: vec![fetch(0..100, 10, 50)], ..FileTrace::default() };
        file.summary = Summary::of(&file, 100);
        let total = Summary::total(&[file.clone(), file]);
        assert_eq!((total.fetches, total.fetched_bytes, total.rounds), (2, 200, 1));
        assert_eq!(total.by_decision["demand"], Share { fetches: 2, bytes: 200 });
        assert_eq!((total.first_us, total.last_us), (10, 50));
        assert_eq!(Summary::total(&[]).duration(), 0);
    }

    proptest! {
        #[test]
        fn unions_and_overlaps_count_bytes(
            a in proptest::collection::vec((0u64..60, 0u64..20), 0..8),
            b in proptest::collection::vec((0u64..60, 0u64..20), 0..8),
        ) {
            let ranges = |list: &[(u64, u64)]| list.iter().map(|(s, l)| *s..s + l).collect::<Vec<_>>();
            let (a, b) = (ranges(&a), ranges(&b));
            let has = |list: &[Range<u64>], at: u64| list.iter().any(|range| range.contains(&at));
            let expected = (0..100).filter(|at| has(&a, *at) && has(&b, *at)).count() as u64;
            prop_assert_eq!(overlap(&union(a.into_iter()), &union(b.into_iter())), expected);
        }
    }
}
