//! Refusals: S3 error codes with their HTTP status.

use hyper::StatusCode;

/// An error answer.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub status: StatusCode,
    pub code: String,
    pub message: String,
    /// Further elements of the XML body.
    pub elements: Vec<(&'static str, String)>,
    pub headers: Vec<(&'static str, String)>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: impl Into<String>, message: impl Into<String>) -> Refusal {
        Refusal { status, code: code.into(), message: message.into(), elements: Vec::new(), headers: Vec::new() }
    }

    pub(crate) fn element(mut self, name: &'static str, value: impl Into<String>) -> Refusal {
        self.elements.push((name, value.into()));
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Refusal {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn access_denied() -> Refusal {
        Refusal::new(StatusCode::FORBIDDEN, "AccessDenied", "Access Denied")
    }

    pub(crate) fn no_such_key(key: &str) -> Refusal {
        Refusal::new(StatusCode::NOT_FOUND, "NoSuchKey", "The specified key does not exist.").element("Key", key)
    }

    pub(crate) fn no_such_bucket(bucket: &str) -> Refusal {
        Refusal::new(StatusCode::NOT_FOUND, "NoSuchBucket", "The specified bucket does not exist")
            .element("BucketName", bucket)
    }

    pub(crate) fn invalid_argument(name: &str, value: &str) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, "InvalidArgument", format!("Provided {name} is not valid"))
            .element("ArgumentName", name)
            .element("ArgumentValue", value)
    }

    pub(crate) fn not_implemented() -> Refusal {
        let message = "A header or query you provided implies functionality that is not implemented";
        Refusal::new(StatusCode::NOT_IMPLEMENTED, "NotImplemented", message)
    }

    pub(crate) fn precondition_failed(condition: &str) -> Refusal {
        let message = "At least one of the pre-conditions you specified did not hold";
        Refusal::new(StatusCode::PRECONDITION_FAILED, "PreconditionFailed", message).element("Condition", condition)
    }
}
