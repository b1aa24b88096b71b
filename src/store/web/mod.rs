//! What stores that speak HTTP have in common, whatever they say by it. Imports no store.
//!
//! - [`http`]: the clients; [`pool`]: when connections are abandoned; [`crowd`]: how many requests run at once; [`limit`]: how
//!   long answers may be
//! - [`authorities`]: which certificates are trusted; [`proxy`]: which requests go by no proxy
//! - [`answer`]: whether a range GET was answered as asked; `cause`: why a request failed
//! - [`elements`]: those of documents in which some make no sense; [`encoding`]: keys, entity tags and times

pub mod answer;
pub mod authorities;
mod cause;
pub mod crowd;
pub mod elements;
pub mod encoding;
pub mod http;
pub mod limit;
pub mod pool;
pub mod proxy;

pub use cause::{certificate_cause, certificate_error, chain, innermost, kind_of_status, one_line, retry_after};
