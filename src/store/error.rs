//! What can go wrong at a store, in the terms that the layers above act on.

use std::fmt;
use std::time::Duration;

use crate::printable::printable;

/// The result of a store operation.
pub type Result<T> = std::result::Result<T, StoreError>;

/// The cause of a failed store operation. What is retried and which errno a program sees follow from this alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The key (404) or the bucket does not exist.
    NotFound,
    /// 403: the caller may not do this.
    AccessDenied,
    /// No credentials could be found or they cannot be refreshed.
    Credentials,
    /// The certificate of the server cannot be verified.
    Certificate,
    /// The key no longer has the version (or size) asked for: 412, or an answer of another version.
    VersionChanged,
    /// The object is in an archive tier and must be restored before it can be read.
    Archived,
    /// 429 or 503 SlowDown: the server asks for patience.
    Throttled,
    /// Another 5xx.
    Server,
    /// No answer, or no further byte, in time.
    Timeout,
    /// The connection could not be made or broke.
    Network,
    /// An answer that is not what was asked for: wrong status, Content-Range, length, or not XML.
    BadResponse,
    /// A request that the server calls wrong (other 4xx), or a configuration that cannot work.
    Invalid,
    /// The object arrived as it is stored, and is not what its format says.
    Damaged,
    /// It is not in the cache, and the store may not be asked.
    Offline,
    /// The budget of the mount is spent.
    OverBudget,
    /// A fetch was cancelled, as no reader was expected to want it.
    Cancelled,
}

impl ErrorKind {
    /// Whether the store has answered so, as it may while it works.
    pub fn is_answer(self) -> bool {
        match self {
            Self::NotFound
            | Self::AccessDenied
            | Self::VersionChanged
            | Self::Archived
            | Self::Invalid
            | Self::Damaged
            | Self::Throttled
            | Self::Cancelled => true,
            Self::Credentials
            | Self::Certificate
            | Self::Server
            | Self::Timeout
            | Self::Network
            | Self::BadResponse
            | Self::OverBudget
            | Self::Offline => false,
        }
    }

    /// Whether the same request may succeed a little later.
    pub fn is_transient(self) -> bool {
        match self {
            Self::Throttled | Self::Server | Self::Timeout | Self::Network | Self::BadResponse => true,
            Self::NotFound
            | Self::AccessDenied
            | Self::Credentials
            | Self::Certificate
            | Self::VersionChanged
            | Self::Archived
            | Self::Invalid
            | Self::Damaged
            | Self::Offline
            | Self::OverBudget
            | Self::Cancelled => false,
        }
    }
}

/// A failed store operation. `message` is one line for people and never holds a secret.
#[derive(Clone, Debug)]
pub struct StoreError {
    /// What the caller acts on.
    pub kind: ErrorKind,
    /// What people read: what was asked, what came back.
    pub message: String,
    /// How long the server asks to be left alone (`Retry-After`).
    pub retry_after: Option<Duration>,
}

impl StoreError {
    /// An error of this kind with a message that is made one line, whatever keys and answers it holds.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: printable(&message.into()).into_owned(), retry_after: None }
    }

    /// A configuration that cannot work.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for StoreError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_whatever_it_tells_of() {
        let error = StoreError::new(ErrorKind::Network, "GET s3://b/a\n\x1b[2Jb: no answer");
        assert_eq!(error.to_string(), "GET s3://b/a\\n\\u{1b}[2Jb: no answer");
    }
}
