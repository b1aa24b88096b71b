//! Connections that die, and servers that give few of them.

use std::fs;
use std::time::{Duration, Instant};

use fitsfs_lab::{Beyond, Fault, Kind, Lab, Op, Shape};

use crate::support::*;

const SIZE: u64 = 12 * MIB + 321;

fn rig() -> Rig {
    let rig = Rig::new(|lab| {
        (0..8).for_each(|n| drop(lab.put(BUCKET, &format!("d/{n}.fits"), pattern(SIZE, n))));
        lab.put(BUCKET, "e/x", "bytes");
    });
    assert_eq!(fs::metadata(rig.path("d/0.fits")).unwrap().len(), SIZE);
    rig.settle();
    rig
}

/// As after a laptop was woken, or a VPN was connected anew.
#[test]
fn the_first_listing_after_all_connections_died_works() {
    let rig = rig();
    rig.lab.silence_connections();
    let started = Instant::now();
    assert_eq!(names(&rig.path("e")).unwrap(), ["x"]);
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
}

#[test]
fn reads_after_all_connections_died_do_not_wait_one_after_the_other() {
    let rig = rig();
    let files: Vec<_> = (1..5).map(|n| rig.open(&format!("d/{n}.fits"))).collect();
    files.iter().for_each(|file| drop(read_at(file, 0, 4096).unwrap()));
    rig.settle();
    rig.lab.silence_connections();
    let started = Instant::now();
    for (file, n) in files.iter().zip(1..) {
        assert_eq!(read_at(file, 8 * MIB, 4096).unwrap(), pattern_at(n, 8 * MIB, 4096));
    }
    assert!(started.elapsed() < Duration::from_millis(4500), "{:?}", started.elapsed());
}

#[test]
fn bodies_whose_connections_die_go_on_by_others() {
    let rig = rig();
    rig.lab.shape(Shape { per_connection: Some(Shape::mbps(4.0)), ..Shape::default() });
    let reader = std::thread::spawn({
        let file = rig.open("d/1.fits");
        move || sha256(file)
    });
    eventually("it reads", || rig.gets().1 > MIB);
    rig.lab.silence_connections();
    rig.lab.shape(Shape::default());
    let started = Instant::now();
    assert_eq!(reader.join().unwrap(), sha256_of_pattern(1, SIZE));
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
}

/// How long it takes to read much in parallel of a server that gives 16 connections, or all.
fn time_by(beyond: Option<Beyond>) -> Duration {
    let shape = Shape { ttfb: Duration::from_millis(100), connect: Duration::from_millis(200), ..Shape::default() };
    let rig = Rig::of_lab(Lab::builder().anonymous().shape(shape), |lab| {
        (0..96).for_each(|n| drop(lab.put(BUCKET, &format!("d/{n}"), pattern(100_000, n))));
    });
    if let Some(beyond) = beyond {
        rig.lab.give_connections(16, beyond);
    }
    rig.mount(&[]);
    let started = Instant::now();
    for _ in 0..2 {
        std::thread::scope(|scope| {
            let rig = &rig;
            (0..96).for_each(|n| {
                scope.spawn(move || assert_eq!(sha256(rig.open(&format!("d/{n}"))), sha256_of_pattern(n, 100_000)));
            });
        });
        (0..96).for_each(|n| forget_pages(&rig.open(&format!("d/{n}"))));
    }
    started.elapsed()
}

#[test]
fn a_server_that_gives_few_connections_is_asked_by_those() {
    let usual = time_by(None);
    for beyond in [Beyond::Wait, Beyond::Reset, Beyond::Busy] {
        let time = time_by(Some(beyond));
        assert!(time < 3 * usual + Duration::from_secs(6), "{beyond:?}: {time:?}, usually {usual:?}");
    }
}

#[test]
fn a_drip_of_bytes_keeps_no_reader() {
    let rig = rig();
    rig.lab.fault(Fault::new(Kind::Drip(Duration::from_secs(4))).on(Op::GetObject).times(1));
    let started = Instant::now();
    assert_eq!(sha256(rig.open("d/2.fits")), sha256_of_pattern(2, SIZE));
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
}

#[test]
fn a_server_that_says_when_to_come_back_is_not_asked_before() {
    let rig = rig();
    rig.lab.fault(Fault::new(Kind::RetryAfter("3".into())).on(Op::ListObjectsV2).prefix("e/").times(1));
    assert_eq!(names(&rig.path("e")).unwrap(), ["x"]);
    let asked: Vec<_> = rig.lab.requests().into_iter().filter(|request| request.key == "e/").collect();
    assert!(asked.len() >= 2 && asked[1].start_ms - asked[0].start_ms >= 2900.0, "{asked:?}");
}
