//! What a request asks for, read from its method, path, query and host.

use std::fmt;

use hyper::header::{self, HeaderMap};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use crate::dialect::Dialect;
use crate::error::Refusal;

/// The operations that the server tells apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are those of the S3 API")]
pub enum Op {
    ListBuckets,
    HeadBucket,
    GetBucketLocation,
    GetBucketVersioning,
    ListObjects,
    ListObjectsV2,
    ListObjectVersions,
    GetObject,
    HeadObject,
    PutObject,
    DeleteObject,
    RestoreObject,
    /// Anything else: answered with 501 NotImplemented.
    #[default]
    Other,
}

impl Op {
    /// One of the listings.
    pub fn is_list(self) -> bool {
        matches!(self, Op::ListObjects | Op::ListObjectsV2 | Op::ListObjectVersions)
    }

    /// Changes nothing: what a public bucket allows to anyone.
    pub fn is_read(self) -> bool {
        !matches!(self, Op::PutObject | Op::DeleteObject | Op::RestoreObject | Op::ListBuckets | Op::Other)
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A request, understood.
#[derive(Debug)]
pub(crate) struct Call {
    pub dialect: Dialect,
    pub op: Op,
    pub method: Method,
    pub bucket: String,
    pub key: String,
    /// Decoded names and values, in order.
    pub query: Vec<(String, String)>,
    /// As received, for the signature.
    pub raw_path: String,
    pub raw_query: String,
    pub headers: HeaderMap,
}

impl Call {
    pub(crate) fn new(parts: &Parts) -> Result<Call, Refusal> {
        let raw_path = parts.uri.path().to_owned();
        let raw_query = parts.uri.query().unwrap_or_default().to_owned();
        // One slash only: the key may begin with another.
        let (dialect, path) = Dialect::of(&raw_path);
        let (bucket, key) = match virtual_host(parts) {
            _ if dialect != Dialect::S3 => (String::new(), String::new()),
            Some(bucket) => (bucket, decode(path)?),
            None => {
                let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
                (decode(bucket)?, decode(key)?)
            }
        };
        let query = raw_query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| Ok((decode(name)?, decode(&value.replace('+', "%20"))?)))
            .collect::<Result<Vec<_>, Refusal>>()?;
        let path = path.to_owned();
        let mut call = Call {
            dialect,
            op: Op::Other,
            method: parts.method.clone(),
            bucket,
            key,
            query,
            raw_path,
            raw_query,
            headers: parts.headers.clone(),
        };
        match dialect {
            Dialect::S3 => call.op = call.classify(),
            other => other.read(&mut call, &path)?,
        }
        Ok(call)
    }

    /// The key; of a listing the prefix.
    pub(crate) fn subject(&self) -> &str {
        if self.op.is_list() { self.param("prefix").unwrap_or_default() } else { &self.key }
    }

    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn header(&self, name: impl header::AsHeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    fn classify(&self) -> Op {
        match (&self.method, self.bucket.is_empty(), self.key.is_empty()) {
            (&Method::GET, true, true) => Op::ListBuckets,
            (&Method::HEAD, false, true) => Op::HeadBucket,
            (&Method::GET, false, true) => self.classify_bucket_get(),
            (&Method::POST, false, false) if self.param("restore").is_some() => Op::RestoreObject,
            _ if self.query.iter().any(|(name, _)| OBJECT_SUBRESOURCES.contains(&name.as_str())) => Op::Other,
            (&Method::GET, false, false) => Op::GetObject,
            (&Method::HEAD, false, false) => Op::HeadObject,
            (&Method::PUT, false, false) if self.headers.contains_key("x-amz-copy-source") => Op::Other,
            (&Method::PUT, false, false) => Op::PutObject,
            (&Method::DELETE, false, false) => Op::DeleteObject,
            _ => Op::Other,
        }
    }

    fn classify_bucket_get(&self) -> Op {
        const LISTING: [&str; 11] = [
            "prefix",
            "delimiter",
            "max-keys",
            "marker",
            "encoding-type",
            "continuation-token",
            "start-after",
            "fetch-owner",
            "key-marker",
            "version-id-marker",
            // A label that the AWS SDKs add.
            "x-id",
        ];
        let version_2 = self.param("list-type") == Some("2");
        if self.param("location").is_some() {
            Op::GetBucketLocation
        } else if self.param("versioning").is_some() {
            Op::GetBucketVersioning
        } else if self.param("versions").is_some() {
            Op::ListObjectVersions
        } else if self.query.iter().all(|(name, _)| LISTING.contains(&name.as_str()) || name == "list-type") {
            if version_2 { Op::ListObjectsV2 } else { Op::ListObjects }
        } else {
            Op::Other
        }
    }
}

const OBJECT_SUBRESOURCES: [&str; 9] =
    ["acl", "attributes", "legal-hold", "restore", "retention", "tagging", "torrent", "uploads", "uploadId"];

/// `bucket` of the host `bucket.localhost:port`.
fn virtual_host(parts: &Parts) -> Option<String> {
    let host = parts.headers.get(header::HOST)?.to_str().ok()?;
    let host = host.split_once(':').map_or(host, |(host, _)| host);
    host.strip_suffix(".localhost").filter(|bucket| !bucket.is_empty()).map(str::to_owned)
}

pub(crate) fn decode(text: &str) -> Result<String, Refusal> {
    let decoded = percent_decode_str(text).decode_utf8();
    let refuse = |_| Refusal::new(StatusCode::BAD_REQUEST, "InvalidURI", "Couldn't parse the specified URI.");
    decoded.map(|text| text.into_owned()).map_err(refuse)
}
