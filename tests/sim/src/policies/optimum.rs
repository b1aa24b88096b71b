//! What no policy can beat: a program whose reads are all known in advance.

use crate::file::File;
use crate::network::Profile;
use crate::pages::{PAGE, Pages};
use crate::programs::{Op, Program};

/// What a program touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touched {
    /// Bytes, in whole pages.
    pub bytes: u64,
    /// Places: runs of neighbouring pages.
    pub places: u64,
}

impl Touched {
    /// What a program touches of its files.
    pub fn by(files: &[File], program: &Program) -> Self {
        let mut pages: Vec<Pages> = files.iter().map(|file| Pages::new(file.size)).collect();
        for op in program.threads.iter().flatten() {
            if let Op::Map(file, range) | Op::Read(file, range) = op {
                pages[*file].insert(range);
            }
        }
        let bytes = pages.iter().map(|pages| pages.count() * PAGE).sum();
        Self { bytes, places: pages.iter().map(Pages::runs).sum() }
    }
}

/// Seconds that a program takes at least: the round of its look-up, since no file is asked for before its name; one
/// round for all that is read; the bytes, by the whole network; and what the longest of its threads computes.
pub fn optimum(touched: Touched, program: &Program, profile: Profile) -> f64 {
    let think = |thread: &Vec<Op>| -> f64 {
        let of = |op: &Op| match op {
            Op::Think(seconds) => *seconds,
            Op::Map(..) | Op::Read(..) => program.think,
            _ => 0.0,
        };
        thread.iter().map(of).sum()
    };
    let think = program.threads.iter().map(think).fold(0.0, f64::max);
    2.0 * profile.latency + touched.bytes as f64 / profile.total + think
}
