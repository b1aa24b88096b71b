//! The S3 server of fitsfs's tests, demo and benchmarks.
//!
//! It speaks the read part of S3 (and plain PutObject and DeleteObject) on the loopback interface, and what a reader needs of
//! Azure, Google Cloud Storage and nginx (`dialect`), logs each request,
//! models a network's latency and rates, and goes wrong on demand:
//!
//! ```
//! use fitsfs_lab::{Content, Fault, Kind, Lab, Op};
//!
//! let lab = Lab::builder().credentials("AKIDLAB", "secret").start()?;
//! lab.put("bucket", "a/b.fits", Content::Pattern { len: 5 << 30, seed: 1 });
//! lab.fault(Fault::new(Kind::slow_down()).on(Op::GetObject).times(2));
//! // … point a client at lab.endpoint() …
//! assert_eq!(lab.count(|request| request.op == Op::GetObject), 0);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! A request passes `server` (log, latency, faults), `op` (what is asked), `service` (the answer, from `access`,
//! `bucket`, `listing`, `range`, `conditions`) and `body` (pacing); `line` is what can go wrong below that. The pure parts are `sigv4`, `listing`, `range`,
//! `conditions`, `fault` and `xml`.

mod access;
mod aws_chunked;
mod body;
mod bucket;
mod clock;
mod conditions;
mod content;
mod control;
mod dialect;
mod error;
mod fault;
mod gzip;
mod lab;
mod line;
mod listing;
mod log;
mod op;
mod range;
mod reply;
mod server;
mod service;
mod shape;
mod sigv4;
mod tls;
mod untested;
mod xml;

pub use bucket::Listed;
pub use content::{Content, pattern_bytes};
pub use fault::{Fault, Kind};
pub use lab::{Builder, Lab};
pub use line::Beyond;
pub use log::Request;
pub use op::Op;
pub use shape::Shape;
pub use tls::CA;
pub use untested::untested;
