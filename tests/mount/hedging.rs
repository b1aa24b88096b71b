//! Slow requests are sent again, few of them, and never because many are under way.

use std::collections::HashMap;
use std::time::Duration;

use fitsfs_lab::{Fault, Kind, Lab, Op, Shape};

use crate::support::*;

const SIZE: u64 = 256 * MIB;
const LEN: usize = 4096;

/// Offsets that no pattern explains, each in a block of its own.
fn scattered(count: u64) -> Vec<u64> {
    (1..=count).map(|n| (n * 40_503 % 65_521) % (SIZE / (64 << 10)) * (64 << 10)).collect()
}

fn reads_right(rig: &Rig, offset: u64, len: usize) -> bool {
    read_at(&rig.open("d/a"), offset, len).unwrap() == pattern_at(1, offset, len)
}

/// What the status says: GETs sent, hedged, and won by the hedge.
fn hedges(rig: &Rig) -> (u64, u64, u64) {
    let status = rig.status();
    let number = |value: &serde_json::Value| value.as_u64().unwrap();
    (number(&status["requests"]["get"]), number(&status["hedged_requests"]), number(&status["hedges_won"]))
}

/// How many GETs the server saw for a range that it had been asked for before.
fn repeated(rig: &Rig) -> u64 {
    let mut seen = HashMap::new();
    for request in rig.lab.requests().into_iter().filter(|request| request.op == Op::GetObject) {
        *seen.entry(request.range).or_insert(0) += 1;
    }
    seen.into_values().map(|times: u64| times - 1).sum()
}

#[test]
fn requests_that_wait_for_a_first_byte_are_sent_again_within_the_budget() {
    let rig = Rig::new(|lab| drop(lab.put(BUCKET, "d/a", pattern(SIZE, 1))));
    for nth in 1..=5 {
        let late = Fault::new(Kind::Delay(Duration::from_secs(2))).on(Op::GetObject);
        rig.lab.fault(late.skip(nth * 25).times(1));
    }
    for offset in scattered(150) {
        assert!(reads_right(&rig, offset, LEN), "at {offset}");
    }
    let (gets, hedged, won) = hedges(&rig);
    assert!(hedged >= 1 && won >= 1, "{hedged} hedged, {won} won");
    assert!(hedged <= 1 + gets / 20, "{hedged} of {gets} hedged");
    assert!(repeated(&rig) <= hedged, "{} for {hedged} hedges", repeated(&rig));
    eventually("the requests that lost are given up", || rig.status()["in_flight"] == 0);
}

#[test]
fn many_requests_on_a_full_line_are_not_sent_again() {
    let shape = Shape { ttfb: Duration::from_millis(30), total: Some(Shape::mbps(12.0)), ..Shape::default() };
    let lab = Lab::builder().anonymous().shape(shape);
    let rig = Rig::of_lab(lab, |lab| drop(lab.put(BUCKET, "d/a", pattern(SIZE, 1))));
    rig.mount(&[]);
    let offsets = scattered(130);
    let (few, many) = offsets.split_at(30);
    assert!(few.iter().all(|offset| reads_right(&rig, *offset, LEN)));
    std::thread::scope(|scope| {
        let rig = &rig;
        many.iter().for_each(|offset| drop(scope.spawn(move || assert!(reads_right(rig, *offset, 32 << 10)))));
    });
    let (gets, hedged, _) = hedges(&rig);
    assert!(gets >= 130, "{gets} GETs: the reads are requests");
    assert!(hedged <= gets / 40, "{hedged} of {gets} hedged");
}
