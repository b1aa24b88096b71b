//! A case: what a seed stands for, and how fitsfs and the plain policies do.

use crate::file::File;
use crate::fitsfs;
use crate::layouts;
use crate::network::{FAR, HOME, Profile, REGION};
use crate::policies::{PLAIN, Touched, WHOLE, optimum};
use crate::programs::{self, Program};
use crate::rng::Rng;
use crate::run::Outcome;

/// fitsfs is stopped when it has taken this much longer than the best plain policy: how much worse it is makes no
/// difference any more.
const PATIENCE: f64 = 200.0;

/// The share of cases with lists of files.
const LISTS: f64 = 0.15;

/// What is played.
#[derive(Clone, Debug)]
pub struct Case {
    /// Names it.
    pub seed: u64,
    /// The network.
    pub profile: Profile,
    /// The files.
    pub files: Vec<File>,
    /// The program.
    pub program: Program,
}

/// How it went.
#[derive(Clone, Debug)]
pub struct Played {
    /// Names the case.
    pub seed: u64,
    /// What was played.
    pub profile: &'static str,
    /// What the file is like.
    pub layout: &'static str,
    /// Bytes of it, or of all files.
    pub size: u64,
    /// The family of the program.
    pub family: &'static str,
    /// fitsfs.
    pub fitsfs: Outcome,
    /// The plain policy that takes the least time, and how it does.
    pub best: (&'static str, Outcome),
    /// Seconds of the best policy that mounts have.
    pub best_mount: f64,
    /// Seconds that no policy beats.
    pub optimum: f64,
    /// What the program touches.
    pub touched: Touched,
    /// Bytes that the network could have brought while the program waited.
    pub earned: f64,
}

impl Case {
    /// The case of a seed; on another network than its own, if one is given.
    pub fn new(seed: u64, profile: Option<Profile>) -> Self {
        let mut rng = Rng::new(seed);
        let own = match rng.below(10) {
            0..=4 => REGION,
            5..=7 => FAR,
            _ => HOME,
        };
        let count = if rng.chance(LISTS) { rng.log(3, 60) } else { 1 };
        let files = layouts::any(&mut rng, count);
        let program = match files.len() {
            1 => programs::any(&mut rng, &files[0]),
            _ => programs::any_list(&mut rng, &files),
        };
        Self { seed, profile: profile.unwrap_or(own), files, program }
    }

    /// Plays it. The plain policies are stopped when they have taken longer than another one.
    pub fn play(&self) -> Played {
        let mut best = ("", Outcome { seconds: f64::INFINITY, ..Outcome::default() });
        let mut best_mount = f64::INFINITY;
        for (name, policy) in PLAIN {
            if name == WHOLE.0 {
                best_mount = best.1.seconds;
            }
            let outcome = policy(&self.files, &self.program, self.profile, best.1.seconds);
            if outcome.seconds < best.1.seconds {
                best = (name, outcome);
            }
        }
        let limit = PATIENCE * best.1.seconds;
        let fitsfs = fitsfs::fitsfs(&self.files, &self.program, self.profile, limit);
        let fitsfs = Outcome { seconds: fitsfs.seconds.min(limit), ..fitsfs };
        let touched = Touched::by(&self.files, &self.program);
        Played {
            seed: self.seed,
            profile: self.profile.name,
            layout: self.files[0].layout,
            size: self.files.iter().map(|file| file.size).sum(),
            family: self.program.family,
            fitsfs,
            best,
            best_mount,
            optimum: optimum(touched, &self.program, self.profile),
            touched,
            earned: fitsfs.waited * self.profile.total,
        }
    }
}

impl Played {
    /// How many times as long fitsfs takes as the best plain policy.
    pub fn ratio(&self) -> f64 {
        self.fitsfs.seconds / self.best.1.seconds
    }

    /// How many times as long it takes as the best policy that mounts have.
    pub fn to_mounts(&self) -> f64 {
        self.fitsfs.seconds / self.best_mount
    }

    /// How many times as long it takes as would be possible.
    pub fn to_optimum(&self) -> f64 {
        self.fitsfs.seconds / self.optimum
    }

    /// The bytes that it fetches, against those that it may.
    pub fn bytes_ratio(&self) -> f64 {
        self.fitsfs.bytes as f64 / (3.0 * self.touched.bytes as f64 + self.earned)
    }

    /// The requests that it sends, against those that it may: one for each place that is touched, one for each 512 KiB,
    /// and 20.
    pub fn requests_ratio(&self) -> f64 {
        let allowed = self.touched.places + self.fitsfs.bytes / (512 << 10) + 20;
        self.fitsfs.requests as f64 / allowed as f64
    }
}

/// Plays the cases of some seeds, on all processors, in the order of the seeds; those of one family, if one is named.
pub fn play(seeds: std::ops::Range<u64>, profile: Option<Profile>, family: Option<&str>) -> Vec<Played> {
    let next = std::sync::atomic::AtomicU64::new(seeds.start);
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get());
    let work = || {
        let mut played = Vec::new();
        loop {
            let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if seed >= seeds.end {
                return played;
            }
            let case = Case::new(seed, profile);
            if family.is_none_or(|family| family == case.program.family) {
                played.push(case.play());
            }
        }
    };
    let mut played: Vec<Played> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no case panics")).collect()
    });
    played.sort_by_key(|played| played.seed);
    played
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_the_same_each_time() {
        for seed in 0..5 {
            let (first, again) = (Case::new(seed, None).play(), Case::new(seed, None).play());
            assert_eq!((first.fitsfs, first.best.1), (again.fitsfs, again.best.1));
        }
    }
}
