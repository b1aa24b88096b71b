//! The interfaces of other stores, below paths of their own: the same buckets over the same network, in the same log. So
//! what a store costs in requests and bytes is counted where that of S3 is.
//!
//! Each is read as the S3 call that means the same, and its listings and errors are written in its own words. It is the part
//! that a reader without credentials needs; the emulators of the conformance suite show whether that is how the services
//! answer.
//!
//! | path | interface | a source of it |
//! |---|---|---|
//! | `/_azure/ACCOUNT/` | Azure Blob | `az://ACCOUNT/BUCKET`, endpoint `URL/_azure/ACCOUNT` |
//! | `/_gcs/` | Google Cloud Storage, JSON | `gs://BUCKET`, endpoint `URL/_gcs` |
//! | `/_web/` | nginx with an index in JSON | `URL/_web/BUCKET/` |

use std::fmt::Write;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use hyper::header::HeaderName;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::bucket::Object;
use crate::clock::iso8601;
use crate::error::Refusal;
use crate::listing::Page;
use crate::op::{Call, Op, decode};
use crate::reply::Reply;
use crate::xml::{ListingHead, escape};

/// How a request is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Dialect {
    #[default]
    S3,
    Azure,
    Google,
    Web,
}

impl Dialect {
    /// That of a path, and what follows its beginning.
    pub(crate) fn of(path: &str) -> (Dialect, &str) {
        let account = |rest: &'static str| path.strip_prefix(rest).and_then(|rest| rest.split_once('/'));
        if let Some((_, rest)) = account("/_azure/") {
            (Dialect::Azure, rest)
        } else if let Some(rest) = path.strip_prefix("/_gcs/storage/v1/b/") {
            (Dialect::Google, rest)
        } else if let Some(rest) = path.strip_prefix("/_web/") {
            (Dialect::Web, rest)
        } else {
            (Dialect::S3, path.strip_prefix('/').unwrap_or(path))
        }
    }

    /// Makes a call of what follows the beginning of the path.
    pub(crate) fn read(self, call: &mut Call, path: &str) -> Result<(), Refusal> {
        let (bucket, rest) = path.split_once('/').unwrap_or((path, ""));
        call.bucket = decode(bucket)?;
        let is_read = matches!(call.method, Method::GET | Method::HEAD);
        match self {
            Dialect::S3 => {}
            Dialect::Azure if rest.is_empty() && call.param("comp") == Some("list") => {
                list(call, [("maxresults", "max-keys"), ("marker", "continuation-token")]);
            }
            Dialect::Google if rest == "o" => {
                list(call, [("maxResults", "max-keys"), ("pageToken", "continuation-token")]);
            }
            Dialect::Web if rest.is_empty() || rest.ends_with('/') => {
                call.op = Op::ListObjectsV2;
                call.query = vec![("prefix".into(), decode(rest)?), ("delimiter".into(), "/".into())];
            }
            Dialect::Azure | Dialect::Google if rest.is_empty() => call.op = Op::HeadBucket,
            Dialect::Google => {
                call.key = decode(rest.strip_prefix("o/").unwrap_or(rest))?;
                call.op = if call.param("alt") == Some("media") { Op::GetObject } else { Op::HeadObject };
            }
            Dialect::Azure | Dialect::Web => {
                call.key = decode(rest)?;
                call.op = if call.method == Method::HEAD { Op::HeadObject } else { Op::GetObject };
            }
        }
        match is_read || self == Dialect::S3 {
            true => Ok(()),
            false => Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "It is read-only")),
        }
    }

    /// A page of a listing in its words.
    pub(crate) fn listing(self, head: &ListingHead, page: &Page) -> Option<Reply> {
        match self {
            Dialect::S3 => None,
            Dialect::Azure => Some(Reply::xml(enumeration(head, page))),
            Dialect::Google => Some(json_reply(&items(head, page))),
            Dialect::Web if page.len() == 0 && !head.prefix.is_empty() => Some(Reply::empty(StatusCode::NOT_FOUND)),
            Dialect::Web => Some(json_reply(&index(head, page))),
        }
    }

    /// What is told of an object where that is a document.
    pub(crate) fn told(self, call: &Call, object: &Object) -> Option<Reply> {
        let is_document = self == Dialect::Google && call.op == Op::HeadObject;
        is_document.then(|| json_reply(&item(&call.key, object)))
    }

    /// Whether a call asks for another version than there is, in words that S3 has not.
    pub(crate) fn is_of_another_version(self, call: &Call, object: &Object) -> bool {
        let asked = call.param("generation").filter(|_| self == Dialect::Google);
        asked.is_some_and(|asked| asked != generation(object))
    }

    /// The object as it is seen by this interface: nginx makes the entity tag of the time and the size.
    pub(crate) fn seen(self, object: Arc<Object>) -> Arc<Object> {
        match self {
            Dialect::Web => Arc::new(Object { etag: nginx_tag(&object), ..(*object).clone() }),
            Dialect::S3 | Dialect::Azure | Dialect::Google => object,
        }
    }

    /// The headers that it has beside those of S3.
    pub(crate) fn describe(self, reply: &mut Reply, object: &Object) {
        if self == Dialect::Google {
            reply.header(HeaderName::from_static("x-goog-generation"), &generation(object));
        }
    }

    /// Whether a page has all that there is.
    pub(crate) fn has_no_pages(self) -> bool {
        self == Dialect::Web
    }
}

/// A listing, with the parameters that S3 calls otherwise.
fn list(call: &mut Call, names: [(&str, &str); 2]) {
    call.op = Op::ListObjectsV2;
    for (name, _) in &mut call.query {
        if let Some((_, ours)) = names.iter().find(|(theirs, _)| theirs == name) {
            *name = (*ours).to_owned();
        }
    }
}

fn json_reply(value: &Value) -> Reply {
    Reply::text(StatusCode::OK, "application/json", value.to_string())
}

/// "List Blobs".
fn enumeration(head: &ListingHead, page: &Page) -> String {
    let mut text = "<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults><Blobs>".to_owned();
    for (key, object) in &page.objects {
        text += "<Blob><Name>";
        escape(key, &mut text);
        let (time, etag) = (httpdate::fmt_http_date(object.last_modified), object.etag.trim_matches('"'));
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "</Name><Properties><Last-Modified>{time}</Last-Modified><Etag>{etag}</Etag>\
             <Content-Length>{}</Content-Length></Properties></Blob>",
            object.len
        );
    }
    for prefix in &page.common_prefixes {
        text += "<BlobPrefix><Name>";
        escape(prefix, &mut text);
        text += "</Name></BlobPrefix>";
    }
    let next = head.next.as_deref().unwrap_or_default();
    text + &format!("</Blobs><NextMarker>{next}</NextMarker></EnumerationResults>")
}

/// "Objects: list".
fn items(head: &ListingHead, page: &Page) -> Value {
    let items: Vec<_> = page.objects.iter().map(|(key, object)| item(key, object)).collect();
    json!({"items": items, "prefixes": page.common_prefixes, "nextPageToken": head.next})
}

fn item(key: &str, object: &Object) -> Value {
    let time = iso8601(object.last_modified);
    json!({"name": key, "size": object.len.to_string(), "generation": generation(object), "timeCreated": time,
           "updated": time, "storageClass": "STANDARD"})
}

/// A number for a version: the beginning of its tag.
fn generation(object: &Object) -> String {
    let digits: String = object.etag.chars().filter(char::is_ascii_hexdigit).take(15).collect();
    u64::from_str_radix(&digits, 16).unwrap_or(1).to_string()
}

/// `autoindex_format json`.
fn index(head: &ListingHead, page: &Page) -> Value {
    let below = |key: &str| key[head.prefix.len()..].trim_end_matches('/').to_owned();
    let folders = page.common_prefixes.iter().map(|prefix| json!({"name": below(prefix), "type": "directory"}));
    let file = |(key, object): &(String, Arc<Object>)| {
        let time = httpdate::fmt_http_date(object.last_modified);
        json!({"name": below(key), "type": "file", "mtime": time, "size": object.len})
    };
    folders.chain(page.objects.iter().map(file)).collect()
}

fn nginx_tag(object: &Object) -> String {
    let seconds = object.last_modified.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    format!("\"{seconds:x}-{:x}\"", object.len)
}
