//! Keys as listings write them (`encoding-type=url`), and times as S3 rounds them. Pure.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_smithy_types::DateTime;
use percent_encoding::percent_decode_str;

/// Decodes a key of a listing: percent escapes of UTF-8, and `+` for a space (API reference, "ListObjectsV2":
/// EncodingType). None where the escapes are not UTF-8, which no key can be.
pub(super) fn decode_key(encoded: &str) -> Option<String> {
    let spaced: Cow<'_, str> =
        if encoded.contains('+') { encoded.replace('+', " ").into() } else { Cow::Borrowed(encoded) };
    percent_decode_str(&spaced).decode_utf8().ok().map(Cow::into_owned)
}

/// A time in whole seconds. Listings may carry milliseconds where the `Last-Modified` header cannot: the same object
/// must have the same time by either way.
pub(super) fn whole_seconds(time: DateTime) -> SystemTime {
    match u64::try_from(time.secs()) {
        Ok(seconds) => SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
        Err(_) => SystemTime::UNIX_EPOCH,
    }
}

/// An entity tag with its quotes, which some servers leave out in listings.
pub(super) fn quoted_etag(etag: &str) -> Option<Arc<str>> {
    match etag {
        "" | "\"\"" => None,
        quoted if quoted.ends_with('"') => Some(quoted.into()),
        bare => Some(format!("\"{bare}\"").into()),
    }
}

#[cfg(test)]
mod tests {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plus_is_a_space_and_an_escaped_plus_is_a_plus() {
        assert_eq!(decode_key("a+b%2Bc%2541/d%20%C3%A9").as_deref(), Some("a b+c%41/d é"));
        assert_eq!(decode_key("%FF"), None);
    }

    #[test]
    fn etags_get_their_quotes() {
        assert_eq!(quoted_etag("abc").as_deref(), Some("\"abc\""));
        assert_eq!(quoted_etag("\"abc\"").as_deref(), Some("\"abc\""));
        assert_eq!(quoted_etag("W/\"abc\"").as_deref(), Some("W/\"abc\""));
        assert_eq!((quoted_etag(""), quoted_etag("\"\"")), (None, None));
    }

    #[test]
    fn times_lose_their_fraction() {
        let time = whole_seconds(DateTime::from_secs_and_nanos(1_700_000_000, 987_000_000));
        assert_eq!(time, SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        assert_eq!(whole_seconds(DateTime::from_secs(-5)), SystemTime::UNIX_EPOCH);
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(key in "\\PC{0,60}") {
            let encoded = utf8_percent_encode(&key, NON_ALPHANUMERIC).to_string();
            prop_assert_eq!(decode_key(&encoded), Some(key.clone()));
            prop_assert_eq!(decode_key(&encoded.replace("%20", "+")), Some(key));
        }
    }
}
