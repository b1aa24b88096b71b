//! Why a request failed: an error of the transport, or the status of an answer. Messages are one line.

use std::error::Error;
use std::io;
use std::time::{Duration, SystemTime};

use aws_smithy_runtime_api::http::Headers;
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use rustls::CertificateError;

use crate::store::ErrorKind;

/// What a status means where nothing else is known (RFC 9110, 15).
pub fn kind_of_status(status: u16) -> ErrorKind {
    match status {
        401 => ErrorKind::Credentials,
        403 => ErrorKind::AccessDenied,
        404 | 410 => ErrorKind::NotFound,
        408 => ErrorKind::Timeout,
        412 | 416 => ErrorKind::VersionChanged,
        429 | 503 => ErrorKind::Throttled,
        // Where it leads nowhere. TemporaryRedirect of S3: a new bucket's names are not everywhere yet.
        307 => ErrorKind::Server,
        // NotImplemented does not get better by asking again.
        501 => ErrorKind::Invalid,
        500..=599 => ErrorKind::Server,
        // A redirection that was not followed, and what the server calls our mistake.
        300..=499 => ErrorKind::Invalid,
        _ => ErrorKind::BadResponse,
    }
}

/// The `Retry-After` of an answer: seconds, or a date (RFC 9110, 10.2.3). A date is compared with that of the server's
/// answer, as the clock here may be wrong.
pub fn retry_after(headers: &Headers) -> Option<Duration> {
    let text = headers.get("retry-after")?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text: &str| SystemTime::try_from(DateTime::from_str(text, Format::HttpDate).ok()?).ok();
    let now = headers.get("date").and_then(date).unwrap_or_else(SystemTime::now);
    // What is over by now asks for nothing.
    Some(date(text)?.duration_since(now).unwrap_or_default())
}

/// An error and its causes. What an I/O error was made of is not its source, but one of its causes.
pub fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    })
}

/// The error of a certificate that could not be verified, if that is the cause.
pub fn certificate_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a CertificateError> {
    chain(error).find_map(|cause| match cause.downcast_ref() {
        Some(rustls::Error::InvalidCertificate(error)) => Some(error),
        _ => None,
    })
}

/// What is wrong with a certificate, and what to do about it.
pub fn certificate_cause(error: &CertificateError, variable: &str) -> String {
    use CertificateError::*;
    match error {
        UnknownIssuer => {
            return format!(
                "no authority that this machine trusts has signed it; {variable} names the certificates of others"
            );
        }
        Expired | ExpiredContext { .. } => "it has expired, or the clock of this machine is wrong",
        NotValidYet | NotValidYetContext { .. } => "it is not valid yet, or the clock of this machine is wrong",
        NotValidForName | NotValidForNameContext { .. } => "it is for another host",
        Revoked => "it was revoked",
        other => return one_line(&other.to_string()),
    }
    .to_owned()
}

/// The innermost error's text: what the operating system, the TLS library or the credentials provider said.
pub fn innermost(error: &(dyn Error + 'static)) -> String {
    one_line(&chain(error).last().map(ToString::to_string).unwrap_or_default())
}

/// Text of others, for a message: one line, no control characters, not long.
pub fn one_line(text: &str) -> String {
    text.chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_told_by_type_wherever_the_error_is_wrapped() {
        let rejected = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let wrapped = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, rejected));
        assert!(
            certificate_error(&wrapped)
                .is_some_and(|error| certificate_cause(error, "AWS_CA_BUNDLE").contains("AWS_CA_BUNDLE"))
        );
        let other = io::Error::other(rustls::Error::HandshakeNotComplete);
        assert!(certificate_error(&other).is_none());
        assert_eq!(innermost(&other), "handshake not complete");
    }

    #[test]
    fn text_of_others_is_one_line() {
        assert_eq!(one_line("a\r\nb\x1b"), "a  b ");
    }
}
