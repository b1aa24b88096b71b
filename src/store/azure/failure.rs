//! What an answer means that is none: the status and the error code of the service ("Blob service error codes").
//!
//! The code comes in a header, also with a HEAD. Bodies are not shown: they repeat what was signed.

use std::time::SystemTime;

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;

use super::credentials::Credentials;
use crate::store::rest::answer::Answer;
use crate::store::web::elements::{Elements, text};
use crate::store::web::{kind_of_status, one_line};
use crate::store::{ErrorKind, StoreError};

/// The error of an answer.
pub(super) async fn error(answer: &mut Answer, credentials: &Credentials) -> StoreError {
    let code = match answer.header("x-ms-error-code") {
        Some(code) => Some(one_line(code)),
        None => answer.document().await.ok().and_then(|document| code_of(&document)),
    };
    let kind = match kind(answer.status(), code.as_deref()) {
        // A key may do everything: what is refused is the key, or the machine. Azurite says no more.
        ErrorKind::AccessDenied if matches!(credentials, Credentials::Key { .. }) => ErrorKind::Credentials,
        kind => kind,
    };
    let mut message = format!("{}: status {}", answer.name(), answer.status());
    if let Some(code) = &code {
        message.push_str(&format!(" {code}"));
    }
    if let Some(why) = reason(kind, credentials) {
        message.push_str(&format!(": {why}"));
    }
    if let Some(id) = answer.header("x-ms-request-id") {
        message.push_str(&format!(" (request id {})", one_line(id)));
    }
    StoreError { retry_after: answer.retry_after(), ..StoreError::new(kind, message) }
}

fn code_of(document: &[u8]) -> Option<String> {
    let (_, error) = Elements(document).find(|(name, _)| *name == b"Error")?;
    let (_, code) = Elements(error).find(|(name, _)| *name == b"Code")?;
    text(code).map(|code| one_line(&code))
}

/// What the service does not say clearly.
fn reason(kind: ErrorKind, credentials: &Credentials) -> Option<String> {
    if !matches!(kind, ErrorKind::Credentials | ErrorKind::AccessDenied | ErrorKind::NotFound) {
        return None;
    }
    match (credentials, credentials.expiry()) {
        (_, Some(end)) if kind != ErrorKind::NotFound && end <= SystemTime::now() => {
            Some(format!("the shared access signature expired at {}", date(end)))
        }
        (Credentials::Anonymous, _) => {
            Some("no such thing, or the container is not public, as requests are not signed".to_owned())
        }
        (Credentials::Key { .. }, _) if kind == ErrorKind::Credentials => Some(
            "the key is not that of the account, the clock of this machine is wrong, or the account's firewall \
                 refuses this machine"
                .to_owned(),
        ),
        (Credentials::Sas(_), _) if kind == ErrorKind::Credentials => {
            Some("the shared access signature is not valid".to_owned())
        }
        (Credentials::Identity { .. }, _) if kind == ErrorKind::AccessDenied => {
            Some("the identity lacks a role such as Storage Blob Data Reader".to_owned())
        }
        _ => None,
    }
}

pub(super) fn date(time: SystemTime) -> String {
    DateTime::from(time).fmt(Format::DateTime).unwrap_or_default()
}

/// The kind by code, or by status where the code says no more.
pub(super) fn kind(status: u16, code: Option<&str>) -> ErrorKind {
    match code {
        Some("BlobArchived" | "BlobBeingRehydrated") => ErrorKind::Archived,
        Some("BlobNotFound" | "ContainerNotFound" | "ResourceNotFound" | "ContainerBeingDeleted") => {
            ErrorKind::NotFound
        }
        // The request is not signed as it should be; what its signer may do is another question.
        Some("AuthenticationFailed" | "InvalidAuthenticationInfo" | "NoAuthenticationInformation") => {
            ErrorKind::Credentials
        }
        Some("PublicAccessNotPermitted" | "AccountIsDisabled") => ErrorKind::AccessDenied,
        Some("ServerBusy") => ErrorKind::Throttled,
        Some("OperationTimedOut") => ErrorKind::Timeout,
        _ => kind_of_status(status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_code_decide_the_kind() {
        use ErrorKind::*;
        for (status, code, expected) in [
            (404, Some("BlobNotFound"), NotFound),
            (404, None, NotFound),
            (403, Some("AuthenticationFailed"), Credentials),
            (403, Some("AuthorizationPermissionMismatch"), AccessDenied),
            (409, Some("PublicAccessNotPermitted"), AccessDenied),
            (409, Some("BlobArchived"), Archived),
            (401, None, Credentials),
            (412, Some("ConditionNotMet"), VersionChanged),
            (416, Some("InvalidRange"), VersionChanged),
            (429, None, Throttled),
            (503, Some("ServerBusy"), Throttled),
            (503, None, Throttled),
            (500, Some("OperationTimedOut"), Timeout),
            (500, None, Server),
            (501, None, Invalid),
            (400, Some("InvalidHeaderValue"), Invalid),
            (302, None, Invalid),
            (700, None, BadResponse),
        ] {
            assert_eq!(kind(status, code), expected, "{status} {code:?}");
        }
    }

    #[test]
    fn a_code_is_read_from_a_body_too() {
        let body = b"\xef\xbb\xbf<?xml version=\"1.0\"?><Error><Code>BlobNotFound</Code><Message>x</Message></Error>";
        assert_eq!(code_of(body).as_deref(), Some("BlobNotFound"));
        assert_eq!(code_of(b"<html>"), None);
    }
}
