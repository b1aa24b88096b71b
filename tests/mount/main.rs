//! Real mounts of a real S3 server, read by system calls and compared with the truth.

mod crash;
mod faults;
mod lifecycle;
mod limits;
mod map;
mod mmap;
mod namespace;
mod reading;
mod status;
mod support;
mod versions;
