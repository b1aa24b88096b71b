//! Plain policies, which know nothing of FITS: what fitsfs is compared with.
//!
//! | policy | what it fetches |
//! |---|---|
//! | [`exact`] | what the program asks for and no more, when it asks |
//! | [`readahead`] | what the kernel asks for that reads 128 KiB ahead |
//! | [`mod@doubling`] | windows that double as long as a reader goes on, as Mountpoint for Amazon S3 does |
//! | [`mod@stream`] | from a touch on, on one connection, as rclone does |
//! | [`mod@whole`] | the file, from its start, on many connections |
//!
//! [`mod@optimum`] is no policy but a bound: it knows what the program will read.

mod direct;
mod doubling;
mod optimum;
mod stream;
mod whole;

use crate::file::File;
use crate::network::Profile;
use crate::programs::Program;
use crate::run::{Outcome, run};

pub use optimum::{Touched, optimum};

/// The plain policies, by name.
pub const PLAIN: [(&str, Policy); 5] =
    [("stream", stream), ("doubling", doubling), ("readahead", readahead), ("exact", exact), WHOLE];

/// The one that no mount has: it would be bad for most that mounts are for.
pub const WHOLE: (&str, Policy) = ("whole", whole);

/// Plays a program with a policy, for so many seconds at most.
pub type Policy = fn(&[File], &Program, Profile, f64) -> Outcome;

/// What was asked for and no more, one request after the other.
pub fn exact(files: &[File], program: &Program, profile: Profile, limit: f64) -> Outcome {
    run(direct::Direct { readahead: false }, files, program, profile, limit).0
}

/// The readahead of the kernel, with a request for each READ.
pub fn readahead(files: &[File], program: &Program, profile: Profile, limit: f64) -> Outcome {
    run(direct::Direct { readahead: true }, files, program, profile, limit).0
}

/// Windows that double.
pub fn doubling(files: &[File], program: &Program, profile: Profile, limit: f64) -> Outcome {
    run(doubling::Doubling::default(), files, program, profile, limit).0
}

/// Streams from a touch on.
pub fn stream(files: &[File], program: &Program, profile: Profile, limit: f64) -> Outcome {
    run(stream::Streams::new(files), files, program, profile, limit).0
}

/// Whole files.
pub fn whole(files: &[File], program: &Program, profile: Profile, limit: f64) -> Outcome {
    run(whole::Whole::new(files), files, program, profile, limit).0
}

#[cfg(test)]
mod tests;
