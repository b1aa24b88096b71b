//! AWS Signature Version 4 in the Authorization header, checked from the specification.
//!
//! Pure: what was received goes in, the signature that it must carry comes out.

use hmac::{Hmac, KeyInit, Mac};
use hyper::Method;
use hyper::header::HeaderMap;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use sha2::{Digest, Sha256};

/// Everything but the unreserved characters of RFC 3986.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const ENCODED_BUT_SLASH: &AsciiSet = &ENCODED.remove(b'/');

/// The parts of `AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authorization {
    pub access_key: String,
    pub date: String,
    pub region: String,
    pub service: String,
    pub signed_headers: Vec<String>,
    pub signature: String,
}

impl Authorization {
    /// `None` if it is not of that form.
    pub(crate) fn parse(header: &str) -> Option<Authorization> {
        let rest = header.strip_prefix("AWS4-HMAC-SHA256")?;
        let field = |name: &str| rest.split(',').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
        // From the right: an access key may have slashes of its own.
        let mut scope = field("Credential")?.rsplitn(5, '/');
        if scope.next()? != "aws4_request" {
            return None;
        }
        let (service, region, date) = (scope.next()?, scope.next()?, scope.next()?);
        Some(Authorization {
            access_key: scope.next()?.to_owned(),
            date: date.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
            signed_headers: field("SignedHeaders")?.split(';').map(str::to_owned).collect(),
            signature: field("Signature")?.to_owned(),
        })
    }

    fn scope(&self) -> String {
        format!("{}/{}/{}/aws4_request", self.date, self.region, self.service)
    }
}

/// The parts of a request that are signed.
#[derive(Debug)]
pub(crate) struct Signed<'a> {
    pub method: &'a Method,
    /// Path and query as received.
    pub path: &'a str,
    pub query: &'a str,
    pub headers: &'a HeaderMap,
    /// x-amz-content-sha256 as received: a hash or one of the words that stand for it.
    pub payload_hash: &'a str,
}

/// The signature that the request must carry.
pub(crate) fn signature(request: &Signed<'_>, authorization: &Authorization, secret: &str) -> String {
    let timestamp = header_value(request.headers, "x-amz-date");
    let canonical = canonical_request(request, &authorization.signed_headers);
    let hash = hex::encode(Sha256::digest(canonical));
    let to_sign = format!("AWS4-HMAC-SHA256\n{timestamp}\n{}\n{hash}", authorization.scope());
    let mut key = hmac(format!("AWS4{secret}").as_bytes(), &authorization.date);
    for part in [&authorization.region, &authorization.service, "aws4_request"] {
        key = hmac(&key, part);
    }
    hex::encode(hmac(&key, &to_sign))
}

fn canonical_request(request: &Signed<'_>, signed_headers: &[String]) -> String {
    let path = percent_encode(&percent_decode_str(request.path).collect::<Vec<u8>>(), ENCODED_BUT_SLASH).to_string();
    let query = canonical_query(request.query);
    let headers: String =
        signed_headers.iter().map(|name| format!("{name}:{}\n", header_value(request.headers, name))).collect();
    let names = signed_headers.join(";");
    format!("{}\n{path}\n{query}\n{headers}\n{names}\n{}", request.method, request.payload_hash)
}

fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (reencode(name), reencode(value)))
        .collect();
    pairs.sort();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

fn reencode(text: &str) -> String {
    percent_encode(&percent_decode_str(text).collect::<Vec<u8>>(), ENCODED).to_string()
}

/// All values of a header, trimmed and with runs of spaces made one.
fn header_value(headers: &HeaderMap, name: &str) -> String {
    let values = headers.get_all(name).iter().map(|value| {
        let text = String::from_utf8_lossy(value.as_bytes());
        text.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    });
    values.collect::<Vec<_>>().join(",")
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests;
