//! That the policies take the time that can be worked out by hand.

use super::*;
use crate::file::{File, Writer};
use crate::network::REGION;
use crate::pages::PAGE;
use crate::programs::{Op, Program};
use crate::run::READ;

/// An image of 200 MB.
fn files() -> Vec<File> {
    let mut writer = Writer::default();
    writer.image(&[50_000, 1000], -32, 0);
    vec![writer.finish("test")]
}

fn program(ops: Vec<Op>) -> Program {
    Program {
        family: "test",
        threads: vec![[vec![Op::LookUp(0), Op::Open(0)], ops, vec![Op::Close(0)]].concat()],
        think: 0.0,
    }
}

/// Seconds of one request for so many bytes, look-up not counted.
fn request(bytes: u64) -> f64 {
    REGION.latency + crate::network::REQUEST + bytes as f64 / REGION.connection
}

fn close(a: f64, b: f64) -> bool {
    (a / b - 1.0).abs() < 0.01
}

fn scattered(count: u64) -> Program {
    program((0..count).map(|n| Op::Map(0, (n * 7 + 1) * (1 << 20)..(n * 7 + 1) * (1 << 20) + 4)).collect())
}

#[test]
fn exact_pays_a_round_for_each_touch() {
    let outcome = exact(&files(), &scattered(20), REGION, 1e9);
    assert!(close(outcome.seconds, REGION.latency + 20.0 * (request(PAGE) + READ)), "{outcome:?}");
    assert_eq!((outcome.requests, outcome.bytes, outcome.reads), (20, 20 * PAGE, 20));
    assert!(close(outcome.waited, 20.0 * (request(PAGE) + READ)), "{outcome:?}");
}

#[test]
fn readahead_has_two_requests_in_flight() {
    let outcome = readahead(&files(), &program(vec![Op::Read(0, 0..32 << 20)]), REGION, 1e9);
    let rounds = 128.0 * (request(128 << 10) + READ);
    assert!(close(outcome.seconds, REGION.latency + rounds), "{outcome:?} {rounds}");
    assert_eq!(outcome.bytes, (32 << 20) + (128 << 10));
}

#[test]
fn whole_takes_the_whole_network() {
    let files = files();
    let outcome = whole(&files, &program(vec![Op::Read(0, 0..files[0].size)]), REGION, 1e9);
    let seconds = 2.0 * REGION.latency + files[0].size as f64 / REGION.total;
    assert!(outcome.seconds / seconds < 1.2, "{outcome:?} {seconds}");
    assert_eq!((outcome.bytes, outcome.requests), (files[0].size, files[0].size.div_ceil(8 << 20)));
}

#[test]
fn doubling_comes_to_the_whole_network_and_begins_again_after_a_seek() {
    let files = files();
    let outcome = doubling(&files, &program(vec![Op::Read(0, 0..files[0].size)]), REGION, 1e9);
    assert!((0.4..0.8).contains(&outcome.seconds), "{outcome:?}");
    let outcome = doubling(&files, &scattered(5), REGION, 1e9);
    assert!(outcome.requests <= 10 && outcome.seconds < 0.4, "{outcome:?}");
}

#[test]
fn a_stream_goes_at_the_rate_of_a_connection_and_stops_where_nothing_reads() {
    let outcome = stream(&files(), &program(vec![Op::Read(0, 0..90 << 20)]), REGION, 1e9);
    assert!(close(outcome.seconds, REGION.latency + request(90 << 20)), "{outcome:?}");
    assert_eq!(outcome.requests, 1);
    assert!((106 << 20..107 << 20).contains(&outcome.bytes), "{outcome:?}");
    let outcome = stream(&files(), &scattered(10), REGION, 1e9);
    assert_eq!(outcome.requests, 10);
    assert!(outcome.bytes < 10 * (17 << 20), "{outcome:?}");
}

#[test]
fn no_policy_beats_the_optimum() {
    let (files, program) = (files(), scattered(20));
    let bound = optimum(Touched::by(&files, &program), &program, REGION);
    assert!(close(bound, 0.06), "{bound}");
    for (name, policy) in PLAIN {
        assert!(policy(&files, &program, REGION, 1e9).seconds >= bound, "{name}");
    }
}

#[test]
fn a_program_that_takes_too_long_is_stopped() {
    assert_eq!(exact(&files(), &scattered(20), REGION, 0.1).seconds, f64::INFINITY);
}
