//! The guarantee: no pattern of reads takes much longer than fetching the whole region around it would.
//!
//! This is the ski rental argument. Fetching exactly what a program asks for is renting: each READ waits. Fetching the
//! whole region around it is buying: the price is its missing bytes at the measured bandwidth. Once the READs in a
//! region have waited as long as that, the region is bought, whatever the pattern and whatever other predictors
//! predict. So a program takes at most about twice the time of the better way, and what is fetched beyond its
//! reads is bounded by what its waits would have transferred.
//!
//! Regions are nested: 64 KiB, and four times as much at each level, up to the data unit, then as far beyond it, up to the
//! file. Within a data unit they begin at its start. A READ that waits buys the largest region that has earned its price and in which the READs
//! are not all in one part, so neighbourhoods are bought before planes, and planes before cubes.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use lru::LruCache;
use rangemap::RangeSet;

use crate::metrics::{Cause, Pace};

/// The smallest region: what one READ fetches at most is less, so two waits in a region are two places.
const SMALLEST: u64 = 64 << 10;

/// Each level has so many times the bytes of the one below. Larger steps would buy up to as many times more than needed,
/// smaller ones would wait more often.
const FANOUT: u64 = 4;

/// So many regions are remembered, the last ones: all levels of the last thousand places, in about 64 bytes each.
const MAX_REGIONS: usize = 8192;

/// So many separate ranges are remembered as fetched. Beyond that the set is begun anew, and some bytes may be bought
/// twice.
const MAX_RANGES: usize = 65_536;

/// A region of this many bytes or more has to earn one round trip beyond its price, smaller ones less in proportion:
/// two touches that are near each other by chance buy little.
const PROVEN: u64 = 1 << 20;

/// Waits of READs that a pattern expected, the walk along the headers among them, count less: that pattern mostly makes
/// further ones rare.
const EXPECTED: f64 = 0.25;

/// What one connection to a store transfers, in bytes per second (Amazon S3: 80 to 90 MB/s).
const CONNECTION: f64 = 90e6;

/// What is left of a file is looked at if that has at most so many times the bytes that a round trip transfers.
const FREE_SHARE: u64 = 8;

/// So many of the last READs that waited tell whether a region has more of them than others.
const RECENT: usize = 16;

/// A region is bought from so many READs that waited on: one may be there by chance.
const MIN_READS: u32 = 2;

/// A region of a data unit (`unit` is its start), one of several units beside one another, or the whole file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Region {
    Part { unit: u64, level: u32, index: u64 },
    Neighbours { length: u64, index: u64 },
    File,
}

/// How long READs in a region have waited.
#[derive(Clone, Copy, Debug, Default)]
struct Waited {
    seconds: f64,
    reads: u32,
    /// The end of the last wait: READs that wait at the same time count once.
    until: Duration,
}

/// A READ that had to wait for the store.
#[derive(Clone, Debug)]
pub struct Wait {
    /// From when to when, since the mount began.
    pub from: Duration,
    /// See `from`.
    pub to: Duration,
    /// How the planner saw the READ.
    pub cause: Cause,
    /// Some of a region that was bought is in flight: it may be what is going to end such waits, and no other is bought
    /// until it is there.
    pub is_buying: bool,
}

/// The regions of one object, and what was fetched of it.
#[derive(Debug)]
pub(super) struct Regions {
    size: u64,
    /// No region beyond so many bytes is bought: it could not be kept.
    max_region: u64,
    fetched: RangeSet<u64>,
    /// What of it was bought, and is in the page cache as far as is known.
    bought: RangeSet<u64>,
    waited: LruCache<Region, Waited>,
    /// Where the last READs have waited.
    recent: VecDeque<u64>,
}

impl Regions {
    /// Regions of an object of `size` bytes, of which none has been fetched. Regions of up to `max_region` bytes may be
    /// bought.
    pub fn new(size: u64, max_region: u64) -> Self {
        Self {
            size,
            max_region,
            fetched: RangeSet::new(),
            bought: RangeSet::new(),
            waited: LruCache::unbounded(),
            recent: VecDeque::new(),
        }
    }

    /// `range` is going to be fetched.
    pub fn note_fetched(&mut self, range: &Range<u64>) {
        if range.start >= range.end {
            return;
        }
        if self.fetched.len() >= MAX_RANGES {
            self.fetched.clear();
            self.bought.clear();
        }
        self.fetched.insert(range.clone());
    }

    /// `range` was not fetched, or was evicted since.
    pub fn note_missing(&mut self, range: &Range<u64>) {
        if range.start < range.end {
            self.fetched.remove(range.clone());
            self.bought.remove(range.clone());
        }
    }

    /// The kernel asks for `range`, which is not in memory. Where that was bought it has dropped it, and more of it too.
    pub fn note_dropped(&mut self, range: &Range<u64>) {
        self.note_missing(range);
        let around: Vec<_> = self.bought.overlapping(range.start..range.end + 1).cloned().collect();
        around.into_iter().for_each(|bought| self.bought.remove(bought));
    }

    /// What of `range` was not bought: another prediction need not fetch the rest.
    pub fn not_bought(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        self.bought.gaps(range).collect()
    }

    /// A READ at `at`, in the data unit `unit`, has waited for the store. Returns what is missing of the largest region
    /// around it whose waits have earned its price, the nearest bytes first; nothing if there is none.
    pub fn waited(&mut self, at: u64, unit: &Range<u64>, wait: &Wait, pace: &Pace) -> Vec<Range<u64>> {
        let longest = pace.seconds(SMALLEST);
        for (region, _) in self.around(at, unit) {
            let waited = self.waited.get_or_insert_mut(region, Waited::default);
            // What else is in flight makes waits longer, and must not count as a reason to fetch more.
            let seconds = wait.to.saturating_sub(wait.from.max(waited.until)).as_secs_f64().min(longest);
            let weight = if wait.cause == Cause::Unforeseen { 1.0 } else { EXPECTED };
            waited.seconds += weight * seconds;
            waited.reads += 1;
            waited.until = waited.until.max(wait.to);
        }
        self.recent.push_front(at);
        self.recent.truncate(RECENT);
        while self.waited.len() > MAX_REGIONS {
            self.waited.pop_lru();
        }
        if wait.is_buying { Vec::new() } else { self.buy(at, unit, pace) }
    }

    /// What is missing of the file, if one connection transfers that in a round trip: no wait can be so short.
    pub fn rest(&mut self, pace: &Pace) -> Vec<Range<u64>> {
        let free = (pace.latency * pace.bandwidth.min(CONNECTION)) as u64;
        let file = 0..self.size;
        // Files that are much larger are not looked at closely.
        if self.size > FREE_SHARE * free || self.missing(&file) > free {
            return Vec::new();
        }
        let rest: Vec<_> = self.fetched.gaps(&file).collect();
        self.fetched.insert(file);
        self.bought.extend(rest.iter().cloned());
        rest
    }

    fn buy(&mut self, at: u64, unit: &Range<u64>, pace: &Pace) -> Vec<Range<u64>> {
        let is_earned = |(region, range): &(Region, Range<u64>)| {
            let missing = self.missing(range);
            let grace = pace.latency * (missing as f64 / PROVEN as f64).min(1.0);
            let price = missing as f64 / pace.bandwidth + grace;
            let pays = |waited: &Waited| waited.reads >= MIN_READS && waited.seconds >= price;
            missing > 0 && self.waited.peek(region).is_some_and(pays)
        };
        let fits = |(_, range): &(Region, Range<u64>)| range.end - range.start <= self.max_region;
        // A region whose waits are all in one part of it is no larger than that part.
        let reads = |region: &Region| self.waited.peek(region).map_or(0, |waited| waited.reads);
        let mut within = 0;
        let is_wider =
            |(region, _): &(Region, Range<u64>)| reads(region) > std::mem::replace(&mut within, reads(region));
        let regions = self.around(at, unit).into_iter().filter(fits).filter(is_wider);
        let regions = regions.filter(|(_, range)| self.is_dense(range));
        let Some((_, range)) = regions.filter(is_earned).last() else { return Vec::new() };
        // The nearest first: the parts of each region that those within it leave, from the reader on and then before it.
        let mut bought = Vec::new();
        for (_, around) in self.around(at, unit) {
            let here = at.clamp(around.start, around.end);
            for part in [here..around.end, around.start..here].into_iter().filter(|part| part.start < part.end) {
                let gaps: Vec<_> = self.fetched.gaps(&part).collect();
                self.fetched.insert(part);
                bought.extend(gaps);
            }
            if around == range {
                break;
            }
        }
        self.bought.extend(bought.iter().cloned());
        bought
    }

    /// Whether more READs have waited in a region of late than chance would have there. Of places all over the file, some are
    /// near each other: that says nothing of those to come.
    fn is_dense(&self, region: &Range<u64>) -> bool {
        let within = self.recent.iter().filter(|at| region.contains(at)).count() as f64 / self.recent.len() as f64;
        within >= ((region.end - region.start) as f64 / self.size as f64).sqrt()
    }

    /// Bytes of `range` that were not fetched.
    pub fn missing(&self, range: &Range<u64>) -> u64 {
        if range.start >= range.end {
            return 0;
        }
        self.fetched.gaps(range).map(|gap| gap.end - gap.start).sum()
    }

    /// The regions around a place, the smallest first, with their bytes.
    fn around(&self, at: u64, unit: &Range<u64>) -> Vec<(Region, Range<u64>)> {
        let unit = unit.start.min(self.size)..unit.end.min(self.size);
        let mut regions = Vec::new();
        if unit.contains(&at) {
            let mut length = SMALLEST;
            for level in 0.. {
                let index = (at - unit.start) / length;
                let start = unit.start + index * length;
                let range = start..start.saturating_add(length).min(unit.end);
                regions.push((Region::Part { unit: unit.start, level, index }, range));
                if length >= unit.end - unit.start {
                    break;
                }
                length = length.saturating_mul(FANOUT);
            }
        }
        if unit.start > 0 || unit.end < self.size || regions.is_empty() {
            // Neighbouring units, before all of them.
            let mut length = (unit.end - unit.start).max(SMALLEST).saturating_mul(FANOUT);
            while length.saturating_mul(FANOUT) <= self.size {
                let index = at / length;
                let range = index * length..((index + 1) * length).min(self.size);
                regions.push((Region::Neighbours { length, index }, range));
                length = length.saturating_mul(FANOUT);
            }
            regions.push((Region::File, 0..self.size));
        }
        regions
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PACE: Pace = Pace::measured(0.03, 600e6);
    const MIB: u64 = 1 << 20;

    fn wait(from: f64, to: f64) -> Wait {
        Wait {
            from: Duration::from_secs_f64(from),
            to: Duration::from_secs_f64(to),
            cause: Cause::Unforeseen,
            is_buying: false,
        }
    }

    fn bytes_of(ranges: &[Range<u64>]) -> u64 {
        ranges.iter().map(|range| range.end - range.start).sum()
    }

    /// A program touches places one after the other, and waits for each that was not fetched. Returns its seconds, as if
    /// what is bought took its time alone, and the bytes that were fetched.
    fn run(size: u64, places: impl Iterator<Item = u64>) -> (f64, u64) {
        let mut regions = Regions::new(size, u64::MAX);
        let (mut now, mut bytes) = (0.0, 0);
        for at in places {
            let page = at / 4096 * 4096..(at / 4096 * 4096 + 4096).min(size);
            if regions.missing(&page) == 0 {
                continue;
            }
            regions.note_fetched(&page);
            let bought = bytes_of(&regions.waited(page.start, &(0..size), &wait(now, now + PACE.latency), &PACE));
            now += PACE.latency + bought as f64 / PACE.bandwidth;
            bytes += page.end - page.start + bought;
        }
        (now, bytes)
    }

    proptest! {
        #[test]
        fn no_pattern_costs_much_more_than_the_better_of_renting_and_buying(
            size in MIB..2000 * MIB, stride in 1u64..1 << 24, count in 1u64..400, jitter in 0u64..1 << 22, seed: u64,
        ) {
            let noise = |n: u64| xxhash_rust::xxh3::xxh3_64(&[seed, n].map(u64::to_le_bytes).concat());
            let places: Vec<_> = (0..count).map(|n| (n * stride + noise(n) % (jitter + 1)) % size).collect();
            let mut pages: Vec<_> = places.iter().map(|at| at / 4096).collect();
            pages.sort_unstable();
            pages.dedup();
            let rent = pages.len() as f64 * PACE.latency;
            let buy = PACE.latency + size as f64 / PACE.bandwidth;
            let (seconds, bytes) = run(size, places.into_iter());
            // A wait counts in each of the regions around it, so some of them are paid with the same waits.
            prop_assert!(seconds <= 2.5 * rent.min(buy) + 12.0 * PACE.latency, "{seconds} s, {rent} or {buy}");
            let earned = (seconds * PACE.bandwidth) as u64;
            prop_assert!(bytes <= pages.len() as u64 * 4096 + earned, "{bytes} bytes, {earned} earned");
        }
    }

    #[test]
    fn one_touch_buys_nothing_and_neighbours_buy_their_neighbourhood() {
        let (_, one) = run(1000 * MIB, std::iter::once(5 * MIB));
        assert_eq!(one, 4096);
        let (seconds, bytes) = run(1000 * MIB, (0..256).map(|n| 300 * MIB + n * 4096));
        assert!(seconds < 0.2 && bytes < 8 * MIB, "{seconds} s, {bytes} bytes");
    }

    #[test]
    fn waits_at_the_same_time_count_once() {
        let mut regions = Regions::new(100 * MIB, 0);
        let unit = 0..100 * MIB;
        for n in 0..10 {
            regions.waited(n * MIB, &unit, &wait(0.0, 0.03), &PACE);
        }
        let all = regions.waited.peek(&regions.around(0, &unit).last().unwrap().0).unwrap();
        assert!((all.seconds - 0.03).abs() < 1e-9 && all.reads == 10);
    }

    #[test]
    fn a_region_that_could_not_be_kept_is_not_bought() {
        let mut regions = Regions::new(1000 * MIB, 10 * MIB);
        let mut buy = |n: u32| {
            let wait = wait(f64::from(100 * n), f64::from(100 * n) + 100.0);
            bytes_of(&regions.waited(u64::from(n) * 700_000, &(0..1000 * MIB), &wait, &PACE))
        };
        let bought: Vec<_> = (0..8).map(&mut buy).collect();
        assert!(bought.iter().all(|bytes| *bytes <= 4 * MIB) && bought.iter().sum::<u64>() >= 4 * MIB, "{bought:?}");
    }

    #[test]
    fn what_is_bought_begins_where_the_reader_is() {
        let mut regions = Regions::new(60 * MIB, u64::MAX);
        let unit = 0..60 * MIB;
        regions.note_fetched(&(0..16 * MIB));
        // All at one place: its neighbourhood is no larger than that.
        let elsewhere = |n: u32| wait(f64::from(n), f64::from(n) + 0.03);
        (0..5).for_each(|n| drop(regions.waited(40 * MIB, &unit, &elsewhere(n), &PACE)));
        let bought = regions.waited(20 * MIB, &unit, &elsewhere(6), &PACE);
        assert_eq!(bought.first(), Some(&(20 * MIB..20 * MIB + SMALLEST)));
        assert_eq!(bytes_of(&bought), 44 * MIB - SMALLEST);
        assert_eq!(regions.missing(&unit), 0);
    }
}
