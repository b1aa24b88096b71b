//! Headers that the SDK cannot read, and that are not needed.
//!
//! It reads all headers of an object that have a type (dates, numbers, truth values), and one that it cannot read makes
//! the whole answer an error. So an object would have no bytes for a date in another format. What it says of the object
//! beside its version is not asked for: it is taken out, and so is a time that is none.

use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextMut;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::DateTime;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::date_time::Format;

/// Headers with a type of the answers to `GetObject` and `HeadObject`, but for the length and the time.
const UNUSED: [&str; 9] = [
    "x-amz-delete-marker",
    "x-amz-missing-meta",
    "x-amz-mp-parts-count",
    "x-amz-object-lock-event-hold-duration-days",
    "x-amz-object-lock-event-hold-duration-years",
    "x-amz-object-lock-retain-until-date",
    "x-amz-server-side-encryption-bucket-key-enabled",
    "x-amz-tagging-count",
    "expires",
];

const LAST_MODIFIED: &str = "last-modified";

/// Takes out what the SDK could stumble over.
#[derive(Debug)]
pub(super) struct WithoutOddHeaders;

impl Intercept for WithoutOddHeaders {
    fn name(&self) -> &'static str {
        "WithoutOddHeaders"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let headers = context.response_mut().headers_mut();
        for name in UNUSED {
            headers.remove(name);
        }
        match headers.get(LAST_MODIFIED).map(readable) {
            Some(Some(time)) => drop(headers.insert(LAST_MODIFIED, time)),
            Some(None) => drop(headers.remove(LAST_MODIFIED)),
            None => {}
        }
        Ok(())
    }
}

/// A time as HTTP has it (RFC 9110, 5.6.7), also where it was written as listings have it.
fn readable(time: &str) -> Option<String> {
    let formats = [Format::HttpDate, Format::DateTimeWithOffset];
    let parsed = formats.into_iter().find_map(|format| DateTime::from_str(time.trim(), format).ok());
    parsed.and_then(|time| time.fmt(Format::HttpDate).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_http_or_none() {
        let time = Some("Mon, 01 Jan 2024 00:00:00 GMT".to_owned());
        for same in ["Mon, 01 Jan 2024 00:00:00 GMT", "2024-01-01T00:00:00Z", " 2024-01-01T01:00:00+01:00 "] {
            assert_eq!(readable(same), time, "{same}");
        }
        for none in ["", "yesterday", "Thu, 32 Foo 99999 00:00:00 GMT", "1704067200"] {
            assert_eq!(readable(none), None, "{none}");
        }
    }
}
