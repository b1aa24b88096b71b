//! What stores that speak HTTP have in common, whatever they say by it. Imports no store.
//!
//! - [`answer`]: whether a range GET was answered as asked
//! - [`authorities`]: whose certificates count; [`proxy`]: which requests go by no proxy
//! - `cause`: why a request failed

pub mod answer;
pub mod authorities;
mod cause;
pub mod proxy;

pub use cause::{certificate_cause, certificate_error, chain, innermost, kind_of_status, one_line, retry_after};
