//! Keys and parameters in URLs. Pure.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All but the unreserved characters of RFC 3986, 2.3.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The same but for `/`, which parts a path.
const PATH: &AsciiSet = &VALUE.remove(b'/');

/// A value of a query, or one segment of a path.
pub(in crate::store) fn encode(text: &str) -> String {
    utf8_percent_encode(text, VALUE).to_string()
}

/// A key whose slashes part the path.
pub(in crate::store) fn encode_path(key: &str) -> String {
    utf8_percent_encode(key, PATH).to_string()
}

/// A query, in the order of the parameters.
pub(in crate::store) fn query(parameters: &[(&str, String)]) -> String {
    let pairs: Vec<_> = parameters.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
    pairs.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_raw() {
        assert_eq!(encode_path("a//b/../%41 +?#é"), "a//b/../%2541%20%2B%3F%23%C3%A9");
        assert_eq!(encode("a/b"), "a%2Fb");
        assert_eq!(query(&[("a", "1&2".into()), ("b", String::new())]), "a=1%262&b=");
    }
}
