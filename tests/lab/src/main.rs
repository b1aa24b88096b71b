//! The S3 server of fitsfs's tests, demo and benchmarks, as a command.

fn main() {}
