//! fitsfs: object stores as local directories of FITS files.
//!
//! The layers, from the top; imports go downward only:
//!
//! - [`cli`]: the command line: parses, runs, sets the exit status
//! - [`mount`]: builds the layers for one mount and takes them down; [`control`]: its status socket
//! - [`warm`]: fetches files into the cache of their mount, by reading them
//! - [`restore`]: makes archived files readable
//! - [`check`]: why a source cannot be mounted, question by question
//! - [`fuse`]: decodes the kernel's requests and replies to them
//! - [`fs`]: file operations without a kernel: inodes, open files and directories, errors
//! - [`tree`]: which names there are: the keys of a bucket
//! - [`gunzip`]: what is in gzip files, read at random
//! - [`read`]: what to fetch, fetching it, handing it to the kernel ahead of the reader
//! - [`trace`]: what the network did for each file: recorded for `fitsfs trace`, and drawn
//! - [`cache`]: bytes in flight, under one budget, and names on disk; [`fits`]: the structure of FITS files, pure
//! - [`store`]: one trait over object stores, its S3 implementation, and its decorators (retry, metering)
//! - [`presets`]: public archives by name; `mast`: where MAST's products are in its bucket
//! - `printable`: text of others, made fit for terminals and logs
//! - [`config`]: what a mount is to be, resolved once; [`metrics`]: every number that `fitsfs status` shows, named in one place

pub mod cache;
pub mod check;
pub mod cli;
pub mod config;
pub mod control;
pub mod fits;
pub mod fs;
pub mod fuse;
pub mod gunzip;
pub mod manifest;
mod mast;
pub mod metrics;
pub mod mount;
pub mod presets;
mod printable;
pub mod read;
pub mod restore;
pub mod store;
pub mod trace;
pub mod tree;
pub mod warm;
