//! A test that cannot test here says so where it is seen.
//!
//! The harness shows what a test prints only if it fails, so a test that returns early looks like one that has passed.

use std::fs::OpenOptions;
use std::io::Write;

/// Says that the running test cannot test something on this machine: on standard error, past the harness, and in the
/// file that `FITSFS_UNTESTED_LIST` names, from which `scripts/test` makes its summary.
///
/// # Panics
/// With `FITSFS_TEST_ALL=1`, as in `.ci/run`: there everything can be tested.
pub fn untested(what: &str) {
    let thread = std::thread::current();
    let line = format!("NOT TESTED: {}: {what}\n", thread.name().unwrap_or("a test"));
    let is_demanded = std::env::var("FITSFS_TEST_ALL").is_ok_and(|value| value == "1");
    assert!(!is_demanded, "{line}FITSFS_TEST_ALL=1 demands it; FITSFS_TEST_ALL=0 goes on without");
    // In one piece, so that lines of tests that run at once are not mixed.
    let _ = std::io::stderr().write_all(format!("\n{line}").as_bytes());
    if let Some(list) = std::env::var_os("FITSFS_UNTESTED_LIST") {
        let written = OpenOptions::new().append(true).create(true).open(&list);
        let written = written.and_then(|mut list| list.write_all(line.as_bytes()));
        written.unwrap_or_else(|error| panic!("{}: {error}", list.display()));
    }
}
