//! The S3 server of fitsfs's tests, demo and benchmarks.
