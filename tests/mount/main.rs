//! Real mounts of a real S3 server, read by system calls and compared with the truth.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on is to fail")]

mod archived;
mod at;
mod attributes;
mod bounds;
mod budget;
mod cache;
mod connecting;
mod connections;
mod crash;
mod escaping;
mod faults;
mod frozen;
mod gateways;
mod gunzip;
mod hanging;
mod hedging;
mod http;
mod killed;
mod lifecycle;
mod limits;
mod listings;
mod lists;
mod lookups;
mod map;
mod mmap;
mod model;
mod names;
mod namespace;
mod prefetch;
mod reading;
mod replay;
mod review;
mod sources;
mod sources_file;
mod stacked;
mod status;
mod support;
mod trace;
mod trust;
mod versions;
mod warm;
#[path = "../conformance/web_server.rs"]
#[allow(dead_code, reason = "made for the conformance suite")]
mod web_server;
