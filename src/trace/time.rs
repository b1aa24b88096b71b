//! The vertical axis of a picture: time, downwards. What a file sees is moments of work and, with a person at the
//! keyboard, minutes of nothing between them: long idle times are cut short, and say how long they were.

use std::ops::Range;

use super::summary::union;

/// The height that an idle time is cut to, in pixels.
const IDLE_HEIGHT: f64 = 20.0;

/// No more idle times than this are cut: the longest.
const MAX_CUTS: usize = 5;

/// An idle time is not cut unless it is longer than this, in microseconds, and than a quarter of the work.
const MIN_IDLE: u64 = 100_000;

/// Labelled moments on the axis are at least so far apart, in pixels.
const TICK_DISTANCE: f64 = 24.0;

/// A piece of the axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Stretch {
    /// From when to when, in microseconds.
    pub time: Range<u64>,
    /// From where to where, in pixels from the top.
    pub y: Range<f64>,
    /// Whether it is an idle time that was cut short.
    pub idle: bool,
}

/// Maps moments to pixels: never backwards.
#[derive(Clone, Debug)]
pub struct TimeAxis {
    stretches: Vec<Stretch>,
}

impl TimeAxis {
    /// The axis on which something happened during `work`, `height` pixels high.
    pub fn new(work: impl Iterator<Item = Range<u64>>, height: f64) -> Self {
        // A moment without duration is work, too.
        let work = union(work.map(|range| range.start..range.end.max(range.start.saturating_add(1))));
        let (Some(first), Some(last)) = (work.first(), work.last()) else { return Self { stretches: Vec::new() } };
        let (start, end) = (first.start, last.end);
        let cuts = cuts(&work);
        let idle: u64 = cuts.iter().map(|cut| cut.end - cut.start).sum();
        let scale = (height - IDLE_HEIGHT * cuts.len() as f64) / (end - start - idle) as f64;
        let mut stretches = Vec::new();
        let (mut at, mut y) = (start, 0.0);
        let mut upto = |time: u64, idle: bool| {
            let high = if idle { IDLE_HEIGHT } else { (time - at) as f64 * scale };
            stretches.push(Stretch { time: at..time, y: y..(y + high).min(height), idle });
            (at, y) = (time, (y + high).min(height));
        };
        for cut in cuts {
            upto(cut.start, false);
            upto(cut.end, true);
        }
        upto(end, false);
        Self { stretches }
    }

    /// Where a moment is, in pixels from the top.
    pub fn position(&self, time: u64) -> f64 {
        let index = self.stretches.partition_point(|stretch| stretch.time.end < time);
        let Some(stretch) = self.stretches.get(index) else {
            return self.stretches.last().map_or(0.0, |last| last.y.end);
        };
        let long = (stretch.time.end - stretch.time.start).max(1) as f64;
        let share = time.saturating_sub(stretch.time.start) as f64 / long;
        stretch.y.start + (stretch.y.end - stretch.y.start) * share
    }

    /// Idle times that were cut short.
    pub fn idle(&self) -> impl Iterator<Item = &Stretch> {
        self.stretches.iter().filter(|stretch| stretch.idle)
    }

    /// Moments to label, round ones of those since the start of the axis, in microseconds after it.
    pub fn ticks(&self) -> Vec<(u64, f64)> {
        let Some(start) = self.stretches.first().map(|stretch| stretch.time.start) else { return Vec::new() };
        let mut ticks: Vec<(u64, f64)> = vec![(0, 0.0)];
        for stretch in self.stretches.iter().filter(|stretch| !stretch.idle) {
            let (long, high) = (stretch.time.end - stretch.time.start, stretch.y.end - stretch.y.start);
            if high < TICK_DISTANCE {
                continue;
            }
            let step = round_up((long as f64 * TICK_DISTANCE / high) as u64);
            let first = (stretch.time.start - start).next_multiple_of(step);
            for after in (first..=stretch.time.end - start).step_by(step as usize) {
                let y = self.position(start + after);
                if ticks.last().is_none_or(|last| y - last.1 >= TICK_DISTANCE / 2.0) {
                    ticks.push((after, y));
                }
            }
        }
        ticks
    }
}

/// The idle times to cut, in order.
fn cuts(work: &[Range<u64>]) -> Vec<Range<u64>> {
    let busy: u64 = work.iter().map(|range| range.end - range.start).sum();
    let gaps = work.windows(2).map(|pair| pair[0].end..pair[1].start);
    let mut gaps: Vec<_> = gaps.filter(|gap| gap.end - gap.start > MIN_IDLE.max(busy / 4)).collect();
    gaps.sort_unstable_by_key(|gap| std::cmp::Reverse(gap.end - gap.start));
    gaps.truncate(MAX_CUTS);
    gaps.sort_unstable_by_key(|gap| gap.start);
    gaps
}

/// The next of 1, 2, 5, 10, 20, 50, ...
fn round_up(n: u64) -> u64 {
    let magnitude = 10_u64.pow(n.max(1).ilog10());
    [1, 2, 5].into_iter().map(|digit| digit * magnitude).find(|step| *step >= n).unwrap_or(magnitude.saturating_mul(10))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn steps_are_round() {
        assert_eq!([0, 1, 3, 10, 11, 21, 51, 99].map(round_up), [1, 1, 5, 10, 20, 50, 100, 100]);
    }

    #[test]
    fn a_coffee_break_takes_no_room() {
        let axis = TimeAxis::new([0..50_000, 600_000_000..600_050_000].into_iter(), 220.0);
        let idle: Vec<_> = axis.idle().map(|stretch| stretch.time.clone()).collect();
        assert_eq!(idle, vec![50_000..600_000_000]);
        assert_eq!(axis.position(50_000), 100.0);
        assert_eq!((axis.position(600_000_000), axis.position(600_050_000)), (120.0, 220.0));
        assert!(axis.ticks().windows(2).all(|pair| pair[1].1 - pair[0].1 >= TICK_DISTANCE / 2.0));
        assert_eq!(axis.ticks().len(), 6);
    }

    #[test]
    fn an_axis_without_work_has_no_length() {
        let axis = TimeAxis::new(std::iter::empty(), 100.0);
        assert_eq!((axis.position(5), axis.ticks().len()), (0.0, 0));
    }

    proptest! {
        #[test]
        fn time_never_runs_backwards(
            work in proptest::collection::vec((0u64..1 << 40, 0u64..1 << 22), 1..30),
            mut moments in proptest::collection::vec(0u64..1 << 41, 2..50),
        ) {
            let axis = TimeAxis::new(work.into_iter().map(|(at, long)| at..at + long), 170.0);
            moments.sort_unstable();
            let positions: Vec<_> = moments.into_iter().map(|at| axis.position(at)).collect();
            prop_assert!(positions.windows(2).all(|pair| pair[0] <= pair[1] + 1e-9));
            prop_assert!(positions.iter().all(|y| (0.0..=170.0 + 1e-6).contains(y)));
            prop_assert!(axis.ticks().len() < 100);
        }
    }
}
