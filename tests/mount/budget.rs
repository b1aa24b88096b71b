//! Budgets: what the requests of a mount come to has a bound.

use std::fs;
use std::io::Read;

use serde_json::Value;

use crate::support::*;

const BUDGET: u64 = 8 * MIB;

fn bounded(options: &[&str], fill: impl FnOnce(&fitsfs_lab::Lab)) -> Rig {
    Rig::with(&[&["--budget-bytes", "8MiB"], options].concat(), fill)
}

/// Bytes of objects that the server has sent.
fn sent(rig: &Rig) -> u64 {
    let is_get = |request: &&fitsfs_lab::Request| request.op == fitsfs_lab::Op::GetObject;
    rig.lab.requests().iter().filter(is_get).map(|request| request.bytes).sum()
}

/// Reads a file as far as it goes: the bytes, and the error that ended it.
fn read_as_far_as_possible(rig: &Rig, key: &str) -> (u64, Option<i32>) {
    let (mut file, mut buffer, mut read) = (rig.open(key), vec![0; 64 << 10], 0);
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return (read, None),
            Ok(n) => read += n as u64,
            Err(error) => return (read, error.raw_os_error()),
        }
    }
}

#[test]
fn the_server_sends_no_more_bytes_than_the_budget() {
    let rig = bounded(&[], |lab| drop(lab.put(BUCKET, "d/large.fits", pattern(64 * MIB, 1))));
    let (read, error) = read_as_far_as_possible(&rig, "d/large.fits");
    assert_eq!(error, Some(libc::EDQUOT), "after {read} bytes");
    rig.rest();
    let (sent, status) = (sent(&rig), rig.status());
    assert!(sent <= BUDGET, "{sent} bytes");
    // Readahead leaves the last tenth to what is waited for, and that uses it, but for less than a READ.
    let spent = status["budget"]["bytes_spent"].as_u64().unwrap();
    assert!(spent <= BUDGET && spent > BUDGET - 256 * 1024, "{spent} bytes spent");
    assert!(read > BUDGET / 2, "{read} bytes read");
    assert_eq!(status["budget"]["bytes_limit"], BUDGET);
    let log = fs::read_to_string(rig.log_file()).unwrap();
    assert_eq!(log.matches("the budget of this mount is spent").count(), 1, "{log}");
    assert!(!log.contains("read failed"), "{log}");
}

#[test]
fn several_readers_together_stay_within_the_budget() {
    let rig = bounded(&[], |lab| {
        for n in 0..8 {
            lab.put(BUCKET, &format!("d/{n}.fits"), pattern(4 * MIB, n));
        }
    });
    let read = |n| read_as_far_as_possible(&rig, &format!("d/{n}.fits"));
    let read: Vec<_> = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..8).map(|n| scope.spawn(move || read(n))).collect();
        readers.into_iter().map(|reader| reader.join().unwrap()).collect()
    });
    assert!(read.iter().any(|(_, error)| *error == Some(libc::EDQUOT)), "{read:?}");
    rig.rest();
    assert!(sent(&rig) <= BUDGET, "{} bytes", sent(&rig));
}

#[test]
fn no_more_requests_are_sent_than_the_budget() {
    let rig = Rig::with(&["--budget-requests", "30"], |lab| {
        for n in 0..100 {
            lab.put(BUCKET, &format!("{n:03}/f.fits"), pattern(10_000, n));
        }
    });
    let failed = (0..100).find_map(|n| fs::read(rig.path(&format!("{n:03}/f.fits"))).err());
    assert_eq!(failed.and_then(|error| error.raw_os_error()), Some(libc::EDQUOT));
    rig.rest();
    assert!(rig.lab.requests().len() <= 30, "{} requests", rig.lab.requests().len());
    let left = rig.status()["budget"]["requests_spent"].as_u64().unwrap();
    assert_eq!(left, 30, "what is waited for uses all of it");
}

#[test]
fn what_is_in_the_cache_is_served_when_the_budget_is_spent() {
    let rig = Rig::unmounted(|lab| {
        lab.put(BUCKET, "d/kept.fits", pattern(2 * MIB, 1));
        lab.put(BUCKET, "d/large.fits", pattern(64 * MIB, 2));
    });
    let cache = rig.outside().join("cache");
    rig.mount(&["--budget-bytes", "8MiB", "--cache-dir", cache.to_str().unwrap()]);
    let kept = rig.path("d/kept.fits");
    assert!(fitsfs(&["warm", kept.to_str().unwrap()]).status.success());
    let file = rig.open("d/kept.fits");
    assert_eq!(read_as_far_as_possible(&rig, "d/large.fits").1, Some(libc::EDQUOT));
    forget_pages(&file);
    assert_eq!(sha256(&file), sha256_of_pattern(1, 2 * MIB));
    assert!(sent(&rig) <= BUDGET, "{} bytes", sent(&rig));
}

#[test]
fn a_mount_without_a_budget_has_no_bound() {
    let rig = Rig::new(|lab| drop(lab.put(BUCKET, "d/a.fits", pattern(MIB, 1))));
    assert_eq!(fs::read(rig.path("d/a.fits")).unwrap().len(), MIB as usize);
    assert_eq!(rig.status()["budget"]["bytes_limit"], Value::Null);
}
