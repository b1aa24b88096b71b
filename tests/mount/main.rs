//! Real mounts of a real S3 server, read by system calls and compared with the truth.

mod faults;
mod lifecycle;
mod limits;
mod map;
mod mmap;
mod model;
mod namespace;
mod reading;
mod status;
mod support;
mod versions;
