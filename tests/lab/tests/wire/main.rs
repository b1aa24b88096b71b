//! The server on the wire: its S3, its policies, its faults.

mod access;
mod client;
mod faults;
mod protocol;
mod tls;
