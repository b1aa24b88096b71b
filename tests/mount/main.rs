//! Real mounts of a real S3 server, read by system calls and compared with the truth.

mod reading;
mod support;
