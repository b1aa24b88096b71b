//! What fitsfs promises for any file and any program, held against cases that nobody has chosen.

use fitsfs_sim::case::{self, Case};
use fitsfs_sim::report::{self, Summary};

/// How many seeds are played; `FITSFS_SIM_SEEDS` in the environment says otherwise.
const SEEDS: u64 = 2000;

// The bounds are what holds today, and are only ever made tighter; what is aimed at stands in brackets.

/// No case takes longer than this many times the best plain policy, chosen for each case by knowing all of them: one of
/// these fetches whole files on sixteen connections [2].
const WORST: f64 = 3.8;
/// 99 of 100 cases take at most this many times as long [1.1].
const NEARLY_ALL: f64 = 3.2;
/// Half of them take at most this many times as long as with the best policy that mounts have [0.5]. The optimum, which
/// knows all reads in advance, takes 0.43 of that.
const MEDIAN: f64 = 0.93;

/// Half of all cases take at most this many times as long as is possible at all [1.5], and 99 of 100 at most that many [4].
const MEDIAN_TO_OPTIMUM: f64 = 2.08;
const NEARLY_ALL_TO_OPTIMUM: f64 = 37.4;

/// Bytes are at most so many times those that are allowed: three times what was touched, and what waiting has earned [1].
const BYTES: f64 = 1.3;

/// Cases that took 14 to 200 times as long as with the best plain policy once, by what they are and their seed; they take at
/// most twice as long now.
const REGRESSIONS: &[(&str, u64)] = &[
    ("planes one after the other", 1344),
    ("one plane of a cube", 1708),
    ("a compressed image as a whole", 1217),
    ("rows of a table in order", 1795),
    ("two readers in turn", 76),
    ("all tiles, in rows", 1488),
    ("a heap in the order of the rows", 1405),
    ("the data of one of several compressed images", 1541),
    ("a diagonal", 1865),
    ("columns of a cube", 124),
    ("a box of tiles", 1049),
    ("threads at random in a table", 1296),
];
const REGRESSION: f64 = 2.0;

#[test]
fn no_case_is_slower_than_on_a_plain_mount() {
    let seeds = std::env::var("FITSFS_SIM_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(SEEDS);
    let played = case::play(0..seeds, None, None);
    println!("{}\n{}\n{}", report::table(&played), report::histogram(&played), report::worst(&played, 20));
    let summary = Summary::of(played.iter());
    let asked = [
        ("worst case against the best plain policy", summary.to_plain.percentile(1.0), WORST),
        ("99 of 100 against the best plain policy", summary.to_plain.percentile(0.99), NEARLY_ALL),
        ("median against the best policy that mounts have", summary.to_mounts.percentile(0.5), MEDIAN),
        ("median against the optimum", summary.to_optimum.percentile(0.5), MEDIAN_TO_OPTIMUM),
        ("99 of 100 against the optimum", summary.to_optimum.percentile(0.99), NEARLY_ALL_TO_OPTIMUM),
        ("worst case of bytes against those allowed", summary.bytes.percentile(1.0), BYTES),
    ];
    let failed: Vec<String> = asked
        .into_iter()
        .filter(|(_, is, bound)| is > bound)
        .map(|(what, is, bound)| format!("{what}: {is:.2}, and {bound} is allowed"))
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn cases_that_were_lost_once_are_not_lost_again() {
    for (name, seed) in REGRESSIONS {
        let played = Case::new(*seed, None).play();
        assert!(played.ratio() <= REGRESSION, "{name}: {}", report::describe(&played));
        assert!(played.bytes_ratio() <= BYTES, "{name}: {}", report::describe(&played));
    }
}
