//! Real mounts of a real S3 server, read by system calls and compared with the truth.

mod faults;
mod lifecycle;
mod limits;
mod map;
mod mmap;
mod namespace;
mod reading;
mod review;
mod status;
mod support;
mod versions;
