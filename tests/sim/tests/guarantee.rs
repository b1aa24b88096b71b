//! What fitsfs promises for any file and any program, held against cases that nobody has chosen.

use fitsfs_sim::case::{self, Case};
use fitsfs_sim::report::{self, Summary};

/// How many seeds are played; `FITSFS_SIM_SEEDS` in the environment says otherwise.
const SEEDS: u64 = 2000;

/// No case takes longer than this many times the best plain policy.
const WORST: f64 = 2.0;
/// 99 of 100 cases take at most this many times as long.
const NEARLY_ALL: f64 = 1.1;
/// Half of them take at most this many times as long as with the best policy that mounts have. Against one that fetches
/// whole files on many connections as well, not even the optimum does: it takes 0.54 of that.
const MEDIAN: f64 = 0.5;

/// Half of all cases take at most this many times as long as is possible at all, and 99 of 100 at most that many.
const MEDIAN_TO_OPTIMUM: f64 = 1.5;
const NEARLY_ALL_TO_OPTIMUM: f64 = 4.0;

/// Bytes are at most so many times those that are allowed: three times what was touched, and what waiting has earned.
const BYTES: f64 = 1.0;

/// Cases that were lost once, by what they are and their seed.
const REGRESSIONS: &[(&str, u64)] = &[];

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
        assert!(played.ratio() <= WORST, "{name}: {}", report::describe(&played));
        assert!(played.bytes_ratio() <= BYTES, "{name}: {}", report::describe(&played));
    }
}
