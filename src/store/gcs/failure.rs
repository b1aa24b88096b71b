//! What an answer means that is none: the status and the reason of the service ("HTTP status and error codes for JSON").
//!
//! Messages of the service are not shown: they name accounts, and repeat what was sent.

use serde::Deserialize;

use super::credentials::Credentials;
use crate::store::rest::answer::Answer;
use crate::store::web::{kind_of_status, one_line};
use crate::store::{ErrorKind, StoreError};

#[derive(Deserialize)]
struct Document {
    error: Errors,
}

#[derive(Deserialize)]
struct Errors {
    #[serde(default)]
    errors: Vec<Reason>,
}

#[derive(Deserialize)]
struct Reason {
    reason: String,
}

/// The error of an answer.
pub(super) async fn error(answer: &mut Answer, credentials: &Credentials) -> StoreError {
    let document = answer.document().await.unwrap_or_default();
    let reason = reason(&document);
    let kind = kind(answer.status(), reason.as_deref());
    let mut message = format!("{}: status {}", answer.name(), answer.status());
    if let Some(reason) = &reason {
        message.push_str(&format!(" {reason}"));
    }
    if let Some(why) = explained(kind, reason.as_deref(), credentials) {
        message.push_str(&format!(": {why}"));
    }
    StoreError { retry_after: answer.retry_after(), ..StoreError::new(kind, message) }
}

fn reason(document: &[u8]) -> Option<String> {
    let Document { error } = serde_json::from_slice(document).ok()?;
    error.errors.into_iter().next().map(|Reason { reason }| one_line(&reason))
}

/// What the service does not say clearly.
fn explained(kind: ErrorKind, reason: Option<&str>, credentials: &Credentials) -> Option<&'static str> {
    match (kind, reason) {
        (_, Some("userProjectMissing" | "required")) if kind == ErrorKind::Invalid => {
            Some("the bucket is requester-pays: --requester-pays, and the project in GOOGLE_CLOUD_PROJECT")
        }
        (ErrorKind::Credentials | ErrorKind::AccessDenied, _) if credentials.is_anonymous() => {
            Some("the bucket is not public, and requests are not signed")
        }
        (ErrorKind::Credentials, _) => Some("the credentials are not valid, or the clock of this machine is wrong"),
        (ErrorKind::AccessDenied, _) => Some("the account lacks a role such as Storage Object Viewer"),
        _ => None,
    }
}

/// The kind by reason, or by status where that says no more.
fn kind(status: u16, reason: Option<&str>) -> ErrorKind {
    match reason {
        Some("rateLimitExceeded" | "userRateLimitExceeded" | "quotaExceeded" | "dailyLimitExceeded") => {
            ErrorKind::Throttled
        }
        Some("authError" | "invalidCredentials") => ErrorKind::Credentials,
        _ => kind_of_status(status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_reason_decide_the_kind() {
        use ErrorKind::*;
        for (status, reason, expected) in [
            (404, Some("notFound"), NotFound),
            (403, Some("forbidden"), AccessDenied),
            (403, Some("rateLimitExceeded"), Throttled),
            (403, None, AccessDenied),
            (401, Some("required"), Credentials),
            (412, Some("conditionNotMet"), VersionChanged),
            (416, None, VersionChanged),
            (429, None, Throttled),
            (503, Some("backendError"), Throttled),
            (500, None, Server),
            (501, None, Invalid),
            (400, Some("userProjectMissing"), Invalid),
            (302, None, Invalid),
            (700, None, BadResponse),
        ] {
            assert_eq!(kind(status, reason), expected, "{status} {reason:?}");
        }
    }

    #[test]
    fn a_reason_is_read_from_the_document() {
        let body = br#"{"error": {"code": 404, "errors": [{"reason": "notFound", "message": "x"}]}}"#;
        assert_eq!(reason(body).as_deref(), Some("notFound"));
        assert_eq!((reason(b"Not Found"), reason(b"{\"error\": \"invalid_grant\"}")), (None, None));
    }
}
