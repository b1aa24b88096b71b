//! Every store answers alike: one suite, run on each store that there is.
//!
//! `suite` is what is asked, in the terms of the trait; the other modules are the servers. A store that cannot do
//! something says so by the name of the case, which must fail then.

#![allow(clippy::unwrap_used)] // clippy.toml exempts test functions, not their helpers

mod azure;
mod emulator;
mod gcs;
mod lab;
mod s3;
mod suite;
