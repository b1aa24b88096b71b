//! What a look-up asks for beside its own question: how many rounds that saves, what it costs, and that it is right.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use fitsfs_lab::{Lab, Op, Shape};

use crate::prefetch::noise;
use crate::support::*;

const HEAD: usize = 64 << 10;
const PATH: &str = "jwst/public/jw01783/jw01783004007/jw01783004007_02101_00004_nrcalong_rate.fits";

/// A path as in the archives: 5,000 directories beside each directory on the way, 1,000 files beside the file. Half of
/// them sort before it, so that a first page does not show it.
fn crowd(lab: &Lab, size: u64) {
    for way in ["", "jwst/", "jwst/public/", "jwst/public/jw01783/"] {
        for side in ["a", "z"] {
            lab.put_many(BUCKET, (0..2500).map(|n| format!("{way}{side}-{n:04}/x")), b"x");
        }
    }
    let beside = |n| format!("jwst/public/jw01783/jw01783004007/jw01783004007_{n:05}_rate.fits");
    lab.put_many(BUCKET, (1600..2600).map(beside), b"x");
    lab.put(BUCKET, PATH, pattern(size, 1));
}

fn crowded(size: u64) -> Rig {
    Rig::new(|lab| crowd(lab, size))
}

fn is_there(rig: &Rig, path: &str) -> bool {
    fs::exists(rig.path(path)).unwrap()
}

#[test]
fn a_path_in_a_crowd_is_found_in_three_rounds_and_its_head_comes_along() {
    let rig = crowded(10 * MIB);
    rig.settle();
    rig.lab.shape(Shape::latency(Duration::from_millis(100)));
    assert_eq!(fs::metadata(rig.path(PATH)).unwrap().len(), 10 * MIB);
    // The head is on its way, or here.
    rig.lab.wait_for(1, |request| request.op == Op::GetObject && request.done);
    let asked = rig.lab.requests();
    assert!(rounds(asked.clone()) <= 3, "{asked:#?}");
    assert!(asked.len() <= 9, "{asked:#?}");
    assert_eq!(rig.gets(), (1, HEAD as u64));
    let file = rig.open(PATH);
    assert_eq!(read_at(&file, 0, 4096).unwrap(), pattern_at(1, 0, 4096));
    let again = |request: &fitsfs_lab::Request| request.span().is_some_and(|(first, _)| first < HEAD as u64);
    assert_eq!(rig.lab.count(again), 1, "the head is not fetched again");
    assert_eq!(sha256(&file), sha256_of_pattern(1, 10 * MIB));
    assert_eq!(rig.lab.count(again), 1);
}

#[test]
fn connections_are_there_before_they_are_needed() {
    // A server that takes its time: at one without latency, one connection would serve them all.
    let slow = Lab::builder().anonymous().shape(Shape::latency(Duration::from_millis(60)));
    let rig = Rig::of_lab(slow, |lab| crowd(lab, 10 * MIB));
    rig.mount(&[]);
    rig.lab.wait_for(8, |request| request.op == Op::HeadBucket && request.done);
    rig.settle();
    let opened = rig.lab.connections();
    assert_eq!(read_at(&rig.open(PATH), 0, 4096).unwrap(), pattern_at(1, 0, 4096));
    // A machine that is busy makes the way seem long, so that more are opened.
    let fresh = rig.lab.count(|request| request.connection >= opened && request.op != Op::HeadBucket);
    assert_eq!(fresh, 0, "{:#?}", rig.lab.requests());
}

#[test]
fn a_small_file_comes_whole_with_its_name() {
    let rig = crowded(5_000);
    rig.settle();
    assert_eq!(fs::read(rig.path(PATH)).unwrap(), pattern_at(1, 0, 5_000));
    assert_eq!(rig.gets(), (1, 5_000));
}

#[test]
fn what_a_first_page_shows_is_answered_both_ways_without_a_request() {
    let rig = Rig::new(|lab| {
        lab.put_many(BUCKET, (0..3000).map(|n| format!("d/p/n{n:04}")), b"x");
        lab.put(BUCKET, "d/p/n0000/hides", b"x");
    });
    assert!(is_there(&rig, "d/p"));
    rig.settle();
    assert!(is_there(&rig, "d/p/n0500") && !is_there(&rig, "d/p/n0500.fits") && !is_there(&rig, "d/p/a"));
    assert!(fs::metadata(rig.path("d/p/n0000")).unwrap().is_dir());
    assert_eq!(rig.lab.count(|request| request.key != "d/p/"), 0, "nothing but the listing that goes on");
    assert!(is_there(&rig, "d/p/n2500") && !is_there(&rig, "d/p/n2500.fits"));
    rig.settle();
    assert_eq!(names(&rig.path("d/p")).unwrap().len(), 3000);
    assert_eq!(rig.lists(), 0, "the first page was not asked for again");
}

#[test]
fn a_directory_further_down_hides_the_file_on_the_first_page() {
    let rig = Rig::new(|lab| {
        lab.put_many(BUCKET, (0..1500).map(|n| format!("d/p/k-{n:04}")), b"x");
        lab.put(BUCKET, "d/p/k", b"hidden");
        lab.put(BUCKET, "d/p/k/z", b"z");
    });
    assert!(is_there(&rig, "d/p"));
    rig.settle();
    assert!(fs::metadata(rig.path("d/p/k")).unwrap().is_dir());
    assert_eq!(fs::read(rig.path("d/p/k/z")).unwrap(), b"z");
}

#[test]
fn a_file_that_programs_wait_for_shows_up_in_seconds_where_the_way_to_it_was_known() {
    let rig = Rig::with(&["--metadata-ttl", "20s"], |lab| drop(lab.put(BUCKET, "d/p/a", b"a")));
    assert!(is_there(&rig, "d/p") && !is_there(&rig, "d/p/new.fits"));
    rig.lab.put(BUCKET, "d/p/new.fits", b"new");
    let started = Instant::now();
    eventually("the new name is found", || is_there(&rig, "d/p/new.fits"));
    assert!(started.elapsed() < Duration::from_secs(6), "took {:?}", started.elapsed());
}

#[test]
fn a_name_that_is_no_directory_leaves_no_listing_behind() {
    let rig = Rig::new(|lab| drop(lab.put(BUCKET, "d/a", b"a")));
    assert!(!is_there(&rig, "d/later"));
    rig.lab.put(BUCKET, "d/later/x", b"x");
    eventually("the new directory is found", || is_there(&rig, "d/later"));
    assert_eq!(names(&rig.path("d/later")).unwrap(), ["x"]);
}

/// So many directories with a file each.
fn apart(lab: &Lab, count: usize) {
    let keys = (0..count).map(|n| format!("d/{n:04}/x.fits"));
    lab.put_many(BUCKET, keys, pattern(200_000, 1));
}

#[test]
fn looking_without_reading_fetches_a_handful_of_heads() {
    let rig = Rig::new(|lab| apart(lab, 1000));
    for n in 0..1000 {
        assert_eq!(fs::metadata(rig.path(&format!("d/{n:04}/x.fits"))).unwrap().len(), 200_000);
    }
    let (gets, _) = rig.gets();
    assert!((1..=4).contains(&gets), "{gets} GETs");
}

#[test]
fn the_headers_behind_a_head_are_fetched_for_who_opens_the_file() {
    let hdus: Vec<_> = std::iter::once(("SIMPLE  = T", 300_000))
        .chain(std::iter::repeat_n(("XTENSION= 'IMAGE   '", 300_000), 4))
        .collect();
    let names = ["d/x.fits", "e/x.fits", "f/x.fits"];
    let rig = Rig::new(|lab| names.iter().for_each(|name| drop(lab.put(BUCKET, name, fits(&hdus)))));
    // A request is in the log when it comes, and answered later: what followed a head would be there before the next one.
    rig.lab.shape(Shape::latency(Duration::from_millis(50)));
    let looked_at = names.map(|name| {
        let size = fs::metadata(rig.path(name)).unwrap().len();
        rig.lab.wait_for(1, |request| request.op == Op::GetObject && request.key == name && request.done);
        size
    });
    rig.rest();
    let is_behind = |request: &fitsfs_lab::Request| request.span().is_some_and(|(first, _)| first > 0);
    assert_eq!((rig.gets().0, rig.lab.count(is_behind)), (3, 0), "who looks wants no headers");
    let (file, size) = (rig.open("d/x.fits"), looked_at[0]);
    rig.lab.wait_for(1, is_behind);
    assert_eq!(file.metadata().unwrap().len(), size);
}

#[test]
fn each_head_that_is_read_lets_another_one_come_along() {
    let rig = Rig::new(|lab| apart(lab, 40));
    // In no order: of folders that are opened in theirs, the next files are foreseen.
    let mut order: Vec<_> = (0..40).zip(noise(3)).collect();
    order.sort_by_key(|(_, place)| *place);
    for (n, _) in order {
        let file = rig.open(&format!("d/{n:04}/x.fits"));
        assert_eq!(read_at(&file, 0, 2880).unwrap(), pattern_at(1, 0, 2880));
    }
    let peeks = rig.lab.count(|request| request.op == Op::GetObject && request.if_match.is_none());
    // The first directories are known by the glimpse of the one above them.
    assert!(peeks >= 35, "{peeks} of 40 heads came with the name");
    assert_eq!(rig.lab.count(|request| request.span().is_some_and(|(first, _)| first == 0)), 40, "each head once");
}

#[test]
fn walkers_list_each_directory_once() {
    for (program, arguments) in [("find", &[][..]), ("ls", &["-lR"][..]), ("du", &["-s"][..])] {
        let rig = Rig::new(|lab| lab.put_many(BUCKET, (0..300).map(|n| format!("d/e/jw{n:05}/x.fits")), b"x"));
        rig.settle();
        let output = Command::new(program).args(arguments).arg(rig.path("d")).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        // The root is listed already; `d` and `e`, and each directory in it.
        assert_eq!((rig.lists(), rig.gets().0), (302, 0), "{program}");
    }
}
