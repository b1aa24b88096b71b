//! Requests signed with a shared key ("Authorize with Shared Key"). Pure but for the time.

use std::fmt;
use std::time::SystemTime;

use aws_smithy_types::date_time::Format;
use aws_smithy_types::{DateTime, base64};
use ring::hmac;

use crate::store::rest::client::Request;
use crate::store::rest::path;
use crate::store::rest::secret::Secret;
use crate::store::{Result, StoreError};

/// A request before it is signed: the URL is without its query, since credentials may belong there.
pub(super) struct Unsigned {
    pub(super) request: Request,
    /// The path of the URL, encoded.
    pub(super) path: String,
    pub(super) parameters: Vec<(&'static str, String)>,
}

impl Unsigned {
    /// The request with its query, and another after it.
    pub(super) fn finish(self, more: &str) -> Request {
        let own = path::query(&self.parameters);
        let parts: Vec<_> = [own.as_str(), more].into_iter().filter(|part| !part.is_empty()).collect();
        let mut request = self.request;
        if !parts.is_empty() {
            request.url = format!("{}?{}", request.url, parts.join("&"));
        }
        request
    }
}

/// A shared key.
#[derive(Clone)]
pub(super) struct Key(hmac::Key);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    /// Keys are written in base64.
    pub(super) fn parse(text: &Secret) -> Result<Self> {
        let invalid = |_| StoreError::invalid("the key of the storage account is not one: it is not in base64");
        let bytes = base64::decode(text.reveal().trim()).map_err(invalid)?;
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// The request with date and signature.
    pub(super) fn sign(&self, account: &str, mut unsigned: Unsigned, now: SystemTime) -> Request {
        // A time of this era can be written.
        let date = DateTime::from(now).fmt(Format::HttpDate).unwrap_or_default();
        unsigned.request = unsigned.request.with("x-ms-date", date);
        let signed = hmac::sign(&self.0, string_to_sign(account, &unsigned).as_bytes());
        let authorization = format!("SharedKey {account}:{}", base64::encode(signed.as_ref()));
        unsigned.finish("").with("authorization", authorization)
    }
}

/// The headers that are signed by position. None of the requests has a body, so most are empty.
const POSITIONS: [&str; 11] = [
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
];

fn string_to_sign(account: &str, unsigned: &Unsigned) -> String {
    let headers = &unsigned.request.headers;
    let header = |name: &str| headers.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value.as_str());
    let mut text = format!("{}\n", unsigned.request.method);
    for name in POSITIONS {
        text.push_str(header(name));
        text.push('\n');
    }
    let mut own: Vec<_> = headers.iter().filter(|(name, _)| name.starts_with("x-ms-")).collect();
    own.sort_unstable();
    for (name, value) in own {
        text.push_str(&format!("{name}:{value}\n"));
    }
    text.push_str(&format!("/{account}{}", unsigned.path));
    let mut parameters: Vec<_> = unsigned.parameters.iter().collect();
    parameters.sort_unstable();
    for (name, value) in parameters {
        text.push_str(&format!("\n{name}:{value}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn unsigned() -> Unsigned {
        let request = Request::get("https://acc.blob.core.windows.net/c".to_owned())
            .with("range", "bytes=0-9")
            .with("if-match", "\"0x1\"")
            .with("x-ms-version", "2021-12-02");
        let parameters =
            vec![("restype", "container".to_owned()), ("comp", "list".to_owned()), ("prefix", "a b".into())];
        Unsigned { request, path: "/c".to_owned(), parameters }
    }

    #[test]
    fn what_is_signed_is_what_the_documentation_says() {
        let text = "GET\n\n\n\n\n\n\n\n\"0x1\"\n\n\nbytes=0-9\nx-ms-version:2021-12-02\n/acc/c\ncomp:list\nprefix:a b\n\
                    restype:container";
        assert_eq!(string_to_sign("acc", &unsigned()), text);
    }

    #[test]
    fn a_signed_request_has_a_date_and_no_key() {
        let key = Key::parse(&Secret::new("aHVudGVyMg==")).unwrap();
        let request = key.sign("acc", unsigned(), UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        assert_eq!(request.url, "https://acc.blob.core.windows.net/c?restype=container&comp=list&prefix=a%20b");
        let header = |name| request.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
        assert_eq!(header("x-ms-date"), Some("Fri, 15 Jan 2027 08:00:00 GMT"));
        let authorization = header("authorization").unwrap();
        assert!(authorization.starts_with("SharedKey acc:") && !authorization.contains("hunter2"), "{authorization}");
        assert_eq!(format!("{key:?}"), "Key");
        assert!(Key::parse(&Secret::new("no base64!")).is_err());
    }
}
