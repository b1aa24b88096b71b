//! What a failed S3 request means: the SDK's error types, HTTP status and S3 error code as an [`ErrorKind`].
//!
//! The decision is by type, status and code (API reference, "Error responses"), never by message text. Messages are
//! for people: one line with operation, object, status, code and request id; they hold nothing of the request itself,
//! so that no signature or token can get into them.

use std::error::Error;
use std::io;
use std::time::{Duration, SystemTime};

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use rustls::CertificateError;

use super::limit::is_too_long;
use crate::store::{ErrorKind, StoreError};

/// How far a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It could not be built.
    Construction,
    /// No credentials to sign it with.
    Credentials,
    /// Whoever answered could not prove to be the one that was asked.
    Certificate,
    /// It was not answered in time.
    Timeout,
    /// The connection could not be made, or broke before the end of the answer.
    Network,
    /// It was answered with an error.
    Answered(u16),
    /// It was answered with what cannot be parsed.
    Unparsable(u16),
    /// It was answered with more than such an answer can have.
    TooLong(u16),
}

/// The server that was asked.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) host: String,
    /// The bucket is a part of the host's name, which few endpoints but Amazon's provide for.
    pub(super) may_lack_the_bucket: bool,
}

/// A failed request, reduced to what matters here.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) stage: Stage,
    /// The S3 error code.
    pub(super) code: Option<String>,
    /// Where the answer says that the bucket is.
    pub(super) region: Option<String>,
    request_id: Option<String>,
    /// How long the server asks to be left alone.
    retry_after: Option<Duration>,
    /// The innermost cause of a request without answer.
    cause: Option<String>,
}

impl Failure {
    pub(super) fn new<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let stage = stage(error);
        let answer = error.raw_response();
        let code = error.as_service_error().and_then(ProvideErrorMetadata::code).map(str::to_owned);
        let header = |name: &str| answer.and_then(|a| a.headers().get(name)).map(one_line);
        let cause = match stage {
            Stage::Answered(_) | Stage::Unparsable(_) | Stage::TooLong(_) => None,
            Stage::Credentials => Some(credentials_cause(error)),
            Stage::Certificate => certificate_error(error).map(certificate_cause),
            Stage::Construction | Stage::Timeout | Stage::Network => Some(innermost(error)),
        };
        Self {
            stage,
            code: code.as_deref().map(one_line),
            region: answer.and_then(bucket_region),
            request_id: header("x-amz-request-id"),
            retry_after: answer.and_then(retry_after),
            cause,
        }
    }

    pub(super) fn kind(&self) -> ErrorKind {
        match self.stage {
            Stage::Construction => ErrorKind::Invalid,
            Stage::Credentials => ErrorKind::Credentials,
            Stage::Certificate => ErrorKind::Certificate,
            Stage::Timeout => ErrorKind::Timeout,
            Stage::Network => ErrorKind::Network,
            Stage::Answered(status) => answered_kind(status, self.code.as_deref()),
            // An intermediary's error page is an error by its status; a success that cannot be parsed is none.
            Stage::Unparsable(status) | Stage::TooLong(status) if status >= 400 => answered_kind(status, None),
            Stage::Unparsable(_) | Stage::TooLong(_) => ErrorKind::BadResponse,
        }
    }

    /// The region to repeat the request in, where it went to a wrong one (User Guide, "Request redirection and the REST
    /// API"). A HEAD is told so without a body, hence without code.
    pub(super) fn other_region(&self, current: &str) -> Option<&str> {
        let wrong = match self.stage {
            Stage::Answered(301 | 307) | Stage::Unparsable(301 | 307) | Stage::TooLong(301 | 307) => true,
            Stage::Answered(400) | Stage::Unparsable(400) => {
                matches!(
                    self.code.as_deref(),
                    None | Some("AuthorizationHeaderMalformed" | "IllegalLocationConstraintException")
                )
            }
            _ => false,
        };
        self.region.as_deref().filter(|region| wrong && *region != current)
    }

    /// Whether other credentials may cure it.
    pub(super) fn is_stale_credentials(&self) -> bool {
        match self.stage {
            Stage::Answered(status) => status == 401 || self.code.as_deref().is_some_and(is_stale_code),
            _ => false,
        }
    }

    /// Whether the server takes no bucket in the path: Alibaba's and Tencent's say so.
    pub(super) fn refuses_path_style(&self) -> bool {
        matches!(self.code.as_deref(), Some("SecondLevelDomainForbidden" | "PathStyleDomainForbidden"))
    }

    /// The error for the layers above. `request` names the operation and the object.
    pub(super) fn into_error(self, request: &str, peer: &Peer) -> StoreError {
        let mut message = format!("{request}: {}", self.what(&peer.host));
        let is_unreached = matches!(self.stage, Stage::Certificate | Stage::Timeout | Stage::Network);
        if is_unreached && peer.may_lack_the_bucket {
            message.push_str("; the bucket is a part of the host's name, and with --path-style it is not");
        }
        if let Some(id) = &self.request_id {
            message.push_str(&format!(" (request id {id})"));
        }
        StoreError { retry_after: self.retry_after, ..StoreError::new(self.kind(), message) }
    }

    fn what(&self, host: &str) -> String {
        let cause = self.cause.as_deref().unwrap_or("no cause given");
        let code = self.code.as_deref().map(|code| format!(" {code}")).unwrap_or_default();
        match self.stage {
            Stage::Construction => format!("the request cannot be built: {cause}"),
            Stage::Credentials => format!(
                "no usable credentials ({cause}); set AWS_* variables or a profile, or use --no-sign-request for a \
                 public bucket"
            ),
            Stage::Certificate => format!("the certificate of {host} cannot be verified: {cause}"),
            Stage::Timeout => format!("no answer from {host} in time"),
            Stage::Network => format!("connection to {host} failed: {cause}"),
            Stage::Answered(status) => match (status, self.region.as_deref()) {
                (301 | 307, Some(region)) => format!("status {status}{code}: the bucket is in {region}"),
                _ => format!("status {status}{code}"),
            },
            Stage::Unparsable(status) => format!("status {status} with an answer that is not S3's XML"),
            Stage::TooLong(status) => format!("status {status} with an answer longer than any of S3's"),
        }
    }
}

/// Codes that say that the credentials are too old or were replaced.
fn is_stale_code(code: &str) -> bool {
    matches!(
        code,
        "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" | "InvalidToken" | "InvalidAccessKeyId"
    )
}

/// The `Retry-After` of an answer: seconds, or a date (RFC 9110, 10.2.3). A date is compared with that of the server's
/// answer, as the clock here may be wrong.
pub(in crate::store) fn retry_after(answer: &HttpResponse) -> Option<Duration> {
    let text = answer.headers().get("retry-after")?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text: &str| SystemTime::try_from(DateTime::from_str(text, Format::HttpDate).ok()?).ok();
    let now = answer.headers().get("date").and_then(date).unwrap_or_else(SystemTime::now);
    // What is over by now asks for nothing.
    Some(date(text)?.duration_since(now).unwrap_or_default())
}

fn answered_kind(status: u16, code: Option<&str>) -> ErrorKind {
    if let Some(kind) = code.and_then(code_kind) {
        return kind;
    }
    match status {
        401 => ErrorKind::Credentials,
        403 => ErrorKind::AccessDenied,
        404 | 410 => ErrorKind::NotFound,
        408 => ErrorKind::Timeout,
        412 | 416 => ErrorKind::VersionChanged,
        429 | 503 => ErrorKind::Throttled,
        // TemporaryRedirect, where it does not tell another region: a new bucket's names are not everywhere yet.
        307 => ErrorKind::Server,
        // NotImplemented does not get better by asking again.
        501 => ErrorKind::Invalid,
        500..=599 => ErrorKind::Server,
        // A redirection that was not followed, and what the server calls our mistake.
        300..=499 => ErrorKind::Invalid,
        _ => ErrorKind::BadResponse,
    }
}

/// Codes that say more than their status.
fn code_kind(code: &str) -> Option<ErrorKind> {
    Some(match code {
        "NoSuchKey" | "NoSuchBucket" => ErrorKind::NotFound,
        "NoSuchVersion" | "PreconditionFailed" | "InvalidRange" => ErrorKind::VersionChanged,
        "InvalidObjectState" => ErrorKind::Archived,
        "RequestTimeout" => ErrorKind::Timeout,
        "InternalError" => ErrorKind::Server,
        "SlowDown"
        | "SlowDownRead"
        | "ServiceUnavailable"
        | "RequestLimitExceeded"
        | "BandwidthLimitExceeded"
        | "TooManyRequests"
        | "TooManyRequestsException" => ErrorKind::Throttled,
        code if code.starts_with("Throttl") => ErrorKind::Throttled,
        // Not what the caller may do is in question, but who it is.
        "SignatureDoesNotMatch" | "RequestTimeTooSkewed" => ErrorKind::Credentials,
        code if is_stale_code(code) => ErrorKind::Credentials,
        _ => return None,
    })
}

fn stage<E: Error + 'static>(error: &SdkError<E, HttpResponse>) -> Stage {
    match error {
        _ if has_credentials_error(error) => Stage::Credentials,
        _ if certificate_error(error).is_some() => Stage::Certificate,
        SdkError::ConstructionFailure(_) => Stage::Construction,
        SdkError::TimeoutError(_) => Stage::Timeout,
        SdkError::DispatchFailure(failure) if failure.is_timeout() => Stage::Timeout,
        SdkError::DispatchFailure(failure) if failure.is_user() => Stage::Construction,
        SdkError::DispatchFailure(_) => Stage::Network,
        SdkError::ResponseError(cut) if chain(error).any(is_too_long) => Stage::TooLong(cut.raw().status().as_u16()),
        // Its body could not be read to the end.
        SdkError::ResponseError(_) => Stage::Network,
        SdkError::ServiceError(service) => match service.raw().status().as_u16() {
            // The SDK reports a success whose body was read but not understood as an error of the service.
            status @ 200..300 => Stage::Unparsable(status),
            status => Stage::Answered(status),
        },
        // The enum is open: a variant that this version does not know had no usable answer.
        _ => Stage::Network,
    }
}

/// An error and its causes. What an I/O error was made of is not its source, but one of its causes.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    })
}

pub(in crate::store) fn certificate_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a CertificateError> {
    chain(error).find_map(|cause| match cause.downcast_ref() {
        Some(rustls::Error::InvalidCertificate(error)) => Some(error),
        _ => None,
    })
}

/// What is wrong with a certificate, and what to do about it.
pub(in crate::store) fn certificate_cause(error: &CertificateError) -> String {
    use CertificateError::*;
    match error {
        UnknownIssuer => {
            "nobody that this machine trusts has signed it; AWS_CA_BUNDLE names the certificates of others"
        }
        Expired | ExpiredContext { .. } => "it has expired, or the clock of this machine is wrong",
        NotValidYet | NotValidYetContext { .. } => "it is not valid yet, or the clock of this machine is wrong",
        NotValidForName | NotValidForNameContext { .. } => "it is for another host",
        Revoked => "it was revoked",
        other => return one_line(&other.to_string()),
    }
    .to_owned()
}

fn has_credentials_error<E: Error + 'static>(error: &SdkError<E, HttpResponse>) -> bool {
    chain(error).any(|cause| cause.is::<CredentialsError>())
}

/// Why there are no credentials. That nothing was found at all is told by type, since the innermost error then names
/// only the provider that was asked last.
pub(super) fn credentials_cause(error: &(dyn Error + 'static)) -> String {
    let nothing =
        |cause: &(dyn Error + 'static)| matches!(cause.downcast_ref(), Some(CredentialsError::CredentialsNotLoaded(_)));
    if chain(error).any(nothing) {
        "none found in the environment, profile files, web identity, container or instance metadata".to_owned()
    } else {
        innermost(error)
    }
}

/// The innermost error's text: what the operating system, the TLS library or the credentials provider said.
pub(in crate::store) fn innermost(error: &(dyn Error + 'static)) -> String {
    one_line(&chain(error).last().map(ToString::to_string).unwrap_or_default())
}

/// Text of others, for a message: one line, no control characters, not long.
pub(in crate::store) fn one_line(text: &str) -> String {
    text.chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The bucket's region by the header of the answer or, where there is none, the `Region` element of its body.
pub(super) fn bucket_region(answer: &HttpResponse) -> Option<String> {
    let header = answer.headers().get("x-amz-bucket-region");
    let element = || region_element(answer.body().bytes()?);
    header.or_else(element).filter(|region| is_region(region)).map(str::to_owned)
}

fn region_element(body: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(body).ok()?;
    let (_, rest) = text.split_once("<Region>")?;
    rest.split_once("</Region>").map(|(region, _)| region)
}

/// A region becomes a part of host names, so nothing else may pass for one.
fn is_region(text: &str) -> bool {
    (1..=40).contains(&text.len()) && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

#[cfg(test)]
mod tests {
    use aws_smithy_types::body::SdkBody;

    use super::*;

    fn failure(stage: Stage, code: Option<&str>, region: Option<&str>) -> Failure {
        Failure {
            stage,
            code: code.map(str::to_owned),
            region: region.map(str::to_owned),
            request_id: Some("4442587FB7D0A2F9".to_owned()),
            retry_after: None,
            cause: None,
        }
    }

    #[test]
    fn the_time_that_a_server_asks_for_is_in_seconds_or_a_date() {
        let asked = |text: &'static str, date: Option<&'static str>| {
            let mut answer = HttpResponse::new(503.try_into().expect("a status"), SdkBody::empty());
            answer.headers_mut().insert("retry-after", text);
            date.map(|date| answer.headers_mut().insert("date", date));
            retry_after(&answer)
        };
        let now = Some("Fri, 31 Dec 1999 23:59:50 GMT");
        assert_eq!(asked(" 120 ", None), Some(Duration::from_secs(120)));
        assert_eq!(asked("Sat, 01 Jan 2000 00:00:20 GMT", now), Some(Duration::from_secs(30)));
        assert_eq!(asked("Fri, 31 Dec 1999 00:00:00 GMT", now), Some(Duration::ZERO));
        for senseless in ["", "-1", "soon", "1.5", "99999999999999999999999"] {
            assert_eq!(asked(senseless, now), None, "{senseless}");
        }
    }

    #[test]
    fn status_and_code_decide_the_kind() {
        use ErrorKind::*;
        for (status, code, kind) in [
            (404, Some("NoSuchKey"), NotFound),
            (404, Some("NoSuchBucket"), NotFound),
            (404, None, NotFound),
            (404, Some("NoSuchVersion"), VersionChanged),
            (403, Some("AccessDenied"), AccessDenied),
            (403, Some("SignatureDoesNotMatch"), Credentials),
            (403, Some("RequestTimeTooSkewed"), Credentials),
            (403, None, AccessDenied),
            (403, Some("InvalidObjectState"), Archived),
            (400, Some("ExpiredToken"), Credentials),
            (400, Some("InvalidToken"), Credentials),
            (403, Some("InvalidAccessKeyId"), Credentials),
            (401, None, Credentials),
            (412, Some("PreconditionFailed"), VersionChanged),
            (416, Some("InvalidRange"), VersionChanged),
            (416, None, VersionChanged),
            (429, None, Throttled),
            (503, Some("SlowDown"), Throttled),
            (503, None, Throttled),
            (400, Some("ThrottlingException"), Throttled),
            (500, Some("InternalError"), Server),
            (502, None, Server),
            (504, None, Server),
            (501, Some("NotImplemented"), Invalid),
            (400, Some("RequestTimeout"), Timeout),
            (408, None, Timeout),
            (400, Some("InvalidArgument"), Invalid),
            (301, Some("PermanentRedirect"), Invalid),
            (307, Some("TemporaryRedirect"), Server),
            (200, None, BadResponse),
            (700, None, BadResponse),
        ] {
            assert_eq!(failure(Stage::Answered(status), code, None).kind(), kind, "{status} {code:?}");
        }
    }

    #[test]
    fn stages_without_a_parsed_answer_decide_alone() {
        for (stage, kind) in [
            (Stage::Construction, ErrorKind::Invalid),
            (Stage::Credentials, ErrorKind::Credentials),
            (Stage::Certificate, ErrorKind::Certificate),
            (Stage::Timeout, ErrorKind::Timeout),
            (Stage::Network, ErrorKind::Network),
            (Stage::Unparsable(200), ErrorKind::BadResponse),
            (Stage::Unparsable(302), ErrorKind::BadResponse),
            (Stage::Unparsable(403), ErrorKind::AccessDenied),
            (Stage::Unparsable(502), ErrorKind::Server),
            (Stage::TooLong(200), ErrorKind::BadResponse),
            (Stage::TooLong(404), ErrorKind::NotFound),
        ] {
            assert_eq!(failure(stage, None, None).kind(), kind, "{stage:?}");
        }
    }

    #[test]
    fn only_a_wrong_region_sends_elsewhere() {
        let elsewhere = |status, code, region| {
            failure(Stage::Answered(status), code, region).other_region("us-east-1").map(str::to_owned)
        };
        let west = Some("us-west-2".to_owned());
        assert_eq!(elsewhere(301, Some("PermanentRedirect"), Some("us-west-2")), west);
        assert_eq!(elsewhere(301, None, Some("us-west-2")), west);
        assert_eq!(elsewhere(307, Some("TemporaryRedirect"), Some("us-west-2")), west);
        assert_eq!(elsewhere(400, Some("AuthorizationHeaderMalformed"), Some("us-west-2")), west);
        assert_eq!(elsewhere(400, None, Some("us-west-2")), west);
        assert_eq!(elsewhere(400, Some("ExpiredToken"), Some("us-west-2")), None);
        assert_eq!(elsewhere(403, Some("AccessDenied"), Some("us-west-2")), None);
        assert_eq!(elsewhere(301, Some("PermanentRedirect"), Some("us-east-1")), None);
        assert_eq!(elsewhere(301, None, None), None);
    }

    #[test]
    fn regions_are_taken_from_bodies_and_nothing_else_passes_for_one() {
        assert_eq!(region_element(b"<Error><Region>eu-west-1</Region></Error>"), Some("eu-west-1"));
        assert_eq!(region_element(b"<Error/>"), None);
        assert!(is_region("ap-southeast-2") && is_region("garage"));
        for bad in ["", "evil.example.org/", "a b", "A"] {
            assert!(!is_region(bad), "{bad}");
        }
    }

    fn peer(may_lack_the_bucket: bool) -> Peer {
        Peer { host: "b.minio.example".to_owned(), may_lack_the_bucket }
    }

    #[test]
    fn certificates_are_told_by_type_wherever_the_error_is_wrapped() {
        let rejected = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let wrapped = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, rejected));
        assert!(certificate_error(&wrapped).is_some_and(|error| certificate_cause(error).contains("AWS_CA_BUNDLE")));
        let other = io::Error::other(rustls::Error::HandshakeNotComplete);
        assert!(certificate_error(&other).is_none());
        assert_eq!(innermost(&other), "handshake not complete");
    }

    #[test]
    fn messages_name_the_host_that_was_not_reached() {
        for stage in [Stage::Network, Stage::Timeout, Stage::Certificate] {
            let message = |lacking| failure(stage, None, None).into_error("LIST s3://b/", &peer(lacking)).message;
            assert!(message(false).contains("b.minio.example") && !message(false).contains("--path-style"));
            assert!(message(true).contains("--path-style"), "{}", message(true));
        }
    }

    #[test]
    fn a_message_is_one_line_that_names_request_status_code_and_id() {
        let error = failure(Stage::Answered(403), Some("AccessDenied"), None)
            .into_error("GET s3://b/k bytes 0-9", &peer(false));
        assert_eq!(error.message, "GET s3://b/k bytes 0-9: status 403 AccessDenied (request id 4442587FB7D0A2F9)");
        assert_eq!(one_line("a\r\nb\x1b"), "a  b ");
    }
}
