//! What the stores with a REST interface of their own share: requests and answers over HTTP, and bearer tokens.
//!
//! The official SDKs were looked at first. `azure_storage_blob` 1.1 knows no shared keys, which is what a connection
//! string and Azurite have. `google-cloud-storage` 1.21 lists by gRPC only, which no emulator speaks and few proxies
//! pass, and brings 41 crates more to compile. Both read a page of a listing as a whole, so that an entry without sense
//! hides all others, and have their own connections. The crate `object_store` changes keys (`x//y`, `dir/`). What is
//! needed of each protocol is three requests; they go over the same connections as those of S3, with the same cures for
//! connections that die.
//!
//! - [`client`]: one request, its time limits, and what it means that none was answered
//! - [`answer`]: headers and bodies, of bounded length where they are held as a whole
//! - [`endpoint`]: URLs of services; [`path`]: keys in them; [`secret`]: what no log may show
//! - [`token`]: bearer tokens, kept until shortly before they expire

pub(in crate::store) mod answer;
pub(in crate::store) mod client;
pub(in crate::store) mod endpoint;
pub(in crate::store) mod path;
pub(in crate::store) mod secret;
#[cfg(test)]
pub(in crate::store) mod server;
pub(in crate::store) mod token;
