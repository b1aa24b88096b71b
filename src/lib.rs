//! fitsfs: object stores as local directories of FITS files.
//!
//! The layers, from the top; imports go downward only:
//!
//! - [`check`]: the diagnosis of a source and of this machine
//! - [`store`]: one trait over object stores, its S3 implementation, and its decorators (retry, metering)
//! - [`metrics`]: every number that `fitsfs status` shows, named in one place

pub mod check;
pub mod metrics;
pub mod store;
