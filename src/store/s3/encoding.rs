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
pub(in crate::store) fn whole_seconds(time: DateTime) -> SystemTime {
    match u64::try_from(time.secs()) {
        Ok(seconds) => SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
        Err(_) => SystemTime::UNIX_EPOCH,
    }
}

/// Whether an entity tag is a weak one (RFC 9110, 8.8.1): proxies make them of strong ones.
pub(in crate::store) fn is_weak(etag: &str) -> bool {
    etag.starts_with(WEAK)
}

const WEAK: &str = "W/";

/// The opaque tag of an entity tag, with its quotes, which some servers leave out in listings. It is the same whether
/// the tag is weak or strong, which may differ from one answer to the next.
pub(in crate::store) fn opaque_tag(etag: &str) -> Option<Arc<str>> {
    match etag.strip_prefix(WEAK).unwrap_or(etag) {
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
    fn etags_get_their_quotes_and_lose_their_weakness() {
        for etag in ["abc", "\"abc\"", "W/\"abc\""] {
            assert_eq!(opaque_tag(etag).as_deref(), Some("\"abc\""), "{etag}");
        }
        assert!(is_weak("W/\"abc\"") && !is_weak("\"W/\""));
        assert_eq!((opaque_tag(""), opaque_tag("\"\""), opaque_tag("W/\"\"")), (None, None, None));
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
