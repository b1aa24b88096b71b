//! The operations on buckets and objects.

use bytes::Bytes;
use hyper::header::{self, HeaderName};
use hyper::{Method, StatusCode};

use crate::access::{self, Access};
use crate::aws_chunked;
use crate::bucket::{Bucket, Buckets, Object, Restoration};
use crate::conditions::{self, IfMatch, Verdict};
use crate::content::{Content, Reader};
use crate::error::Refusal;
use crate::fault::Kind;
use crate::listing::{self, MAX_KEYS, Page, Query, Start};
use crate::op::{Call, Op};
use crate::range::{self, Span};
use crate::reply::{Payload, Reply};
use crate::xml::{self, Etags, ListingHead};

/// What S3 serves, to whom.
#[derive(Debug)]
pub(crate) struct Service {
    pub buckets: Buckets,
    pub access: Access,
}

impl Service {
    /// Answers a call whose body was read; `fault` is what may change the meaning of the call.
    pub(crate) async fn answer(&self, call: &Call, body: Bytes, fault: Option<&Kind>) -> Result<Reply, Refusal> {
        self.access.check(call, &self.buckets)?;
        if call.op == Op::ListBuckets {
            return Ok(Reply::xml(xml::buckets(&self.buckets.names())));
        }
        if call.op == Op::Other {
            return Err(Refusal::not_implemented());
        }
        let Some(region) = self.buckets.read(&call.bucket, |bucket| bucket.region.clone()) else {
            return Err(Refusal::no_such_bucket(&call.bucket));
        };
        let region = region.as_deref().unwrap_or(&self.access.region);
        let mut reply = match call.op {
            Op::GetBucketLocation => Reply::xml(xml::location(region)),
            Op::GetBucketVersioning => {
                let keeps = self.buckets.read(&call.bucket, |bucket| bucket.history.is_some());
                Reply::xml(xml::versioning(keeps == Some(true)))
            }
            Op::ListObjects | Op::ListObjectsV2 => self.list(call, fault)?,
            Op::ListObjectVersions => self.list_versions(call)?,
            Op::GetObject | Op::HeadObject => self.object(call, fault).await?,
            Op::PutObject => self.put(call, body)?,
            Op::DeleteObject => self.delete(call),
            Op::RestoreObject => self.restore(call, &body)?,
            Op::HeadBucket | Op::ListBuckets | Op::Other => Reply::empty(StatusCode::OK),
        };
        if call.op == Op::HeadBucket || call.op.is_list() {
            reply.header(HeaderName::from_static("x-amz-bucket-region"), region);
        }
        if call.header("x-amz-request-payer").is_some() {
            reply.header(HeaderName::from_static("x-amz-request-charged"), "requester");
        }
        Ok(reply)
    }

    fn list(&self, call: &Call, fault: Option<&Kind>) -> Result<Reply, Refusal> {
        let mut head = listing_head(call)?;
        head.etags = match fault {
            Some(Kind::MissingEtag) => Etags::Missing,
            Some(Kind::WeakEtag) => Etags::Weak,
            _ => Etags::Strong,
        };
        head.url_encoded &= fault != Some(&Kind::RawKeys);
        head.raw = fault == Some(&Kind::RawKeys);
        let start = match (&head.token, &head.after) {
            (Some(_), _) if matches!(fault, Some(Kind::RepeatToken | Kind::EmptyPages)) => Start::Beginning,
            (Some(token), _) => from_token(token)?,
            (None, Some(after)) => Start::AfterKey(after.clone()),
            (None, None) => Start::Beginning,
        };
        let query = Query {
            // NextMarker may be a common prefix, which the next page must not repeat.
            start: match start {
                Start::AfterKey(key) if !head.version_2 && is_group(&key, &head) => Start::AfterPrefix(key),
                start => start,
            },
            prefix: head.prefix.clone(),
            delimiter: head.delimiter.clone(),
            max_keys: match fault == Some(&Kind::IgnoreMaxKeys) || call.dialect.has_no_pages() {
                true => usize::MAX,
                false => head.max_keys,
            },
        };
        let page = self.buckets.read(&call.bucket, |bucket| listing::list(&bucket.objects, &query));
        let mut page = page.ok_or_else(|| Refusal::no_such_bucket(&call.bucket))?;
        head.next = next_page(&head, &page);
        match fault {
            Some(Kind::RepeatToken) => head.next = Some("again".into()),
            Some(Kind::EmptyPages) => {
                page = Page::default();
                // As long as it is asked for, and never the same.
                head.next = Some(format!("{}.", head.token.as_deref().unwrap_or("empty")));
            }
            _ => {}
        }
        Ok(call.dialect.listing(&head, &page).unwrap_or_else(|| Reply::xml(xml::listing(&head, &page))))
    }

    /// A bucket that keeps no versions lists what is there, as S3 does.
    fn list_versions(&self, call: &Call) -> Result<Reply, Refusal> {
        let head = listing_head(call)?;
        let query = Query {
            start: Start::Beginning,
            prefix: head.prefix.clone(),
            delimiter: head.delimiter.clone(),
            max_keys: head.max_keys,
        };
        let after = call.param("key-marker").filter(|key| !key.is_empty());
        let after = after.map(|key| (key, call.param("version-id-marker").filter(|id| !id.is_empty())));
        let page = self.buckets.read(&call.bucket, |bucket| match &bucket.history {
            Some(history) => listing::list_versions(history, &query, after),
            None => {
                let mut bucket = bucket.clone();
                bucket.keep_versions();
                listing::list_versions(&bucket.history.unwrap_or_default(), &query, after)
            }
        });
        let page = page.ok_or_else(|| Refusal::no_such_bucket(&call.bucket))?;
        Ok(Reply::xml(xml::versions(&head, &page)))
    }

    /// The object that a call names: the version of its id, or what is there.
    fn found(&self, call: &Call) -> Result<std::sync::Arc<Object>, Refusal> {
        if let Some(id) = call.param("versionId") {
            let past = self.buckets.read(&call.bucket, |bucket| bucket.version(&call.key, id).cloned()).flatten();
            let missing =
                || Refusal::new(StatusCode::NOT_FOUND, "NoSuchVersion", "The specified version does not exist");
            let deleted = || Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "It is a delete marker");
            return past.ok_or_else(missing)?.object.ok_or_else(deleted);
        }
        self.buckets.object(&call.bucket, &call.key).ok_or_else(|| {
            // Whoever may not list may not learn what is missing either.
            let hidden = self.buckets.read(&call.bucket, |bucket| bucket.deny_list).unwrap_or(false);
            if hidden { Refusal::access_denied() } else { Refusal::no_such_key(&call.key) }
        })
    }

    /// GET and HEAD; the body of a HEAD is dropped when the answer is sent.
    async fn object(&self, call: &Call, fault: Option<&Kind>) -> Result<Reply, Refusal> {
        let object = self.found(call)?;
        let object = call.dialect.seen(object);
        if call.dialect.is_of_another_version(call, &object) {
            return Err(Refusal::no_such_key(&call.key));
        }
        if let Some(told) = call.dialect.told(call, &object) {
            return Ok(told);
        }
        match conditions::check(&call.headers, &object, IfMatch::under(fault)) {
            Verdict::Failed(condition) => return Err(Refusal::precondition_failed(condition)),
            Verdict::NotModified => {
                let mut reply = Reply::empty(StatusCode::NOT_MODIFIED);
                describe(&mut reply, call, &object, fault);
                return Ok(reply);
            }
            Verdict::Proceed => {}
        }
        if call.method == Method::GET && object.archived() {
            let message = "The operation is not valid for the object's storage class";
            let refusal = Refusal::new(StatusCode::FORBIDDEN, "InvalidObjectState", message);
            return Err(refusal.element("StorageClass", &object.storage_class));
        }
        let span = match fault {
            Some(Kind::IgnoreRange) => Span::Whole,
            Some(Kind::WrongContentRange) => wrong(range::parse(call.header(header::RANGE), object.len), object.len),
            _ => range::parse(call.header(header::RANGE), object.len),
        };
        send(call, &object, span, fault).await
    }

    fn put(&self, call: &Call, body: Bytes) -> Result<Reply, Refusal> {
        let exists = self.buckets.object(&call.bucket, &call.key);
        if let (Some("*"), Some(_)) = (call.header(header::IF_NONE_MATCH), exists) {
            return Err(Refusal::precondition_failed("If-None-Match"));
        }
        access::check_payload(call, &body)?;
        let object = Object::new(Content::Bytes(aws_chunked::unwrap(call, body)?))
            .map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", error.to_string()))?;
        let mut reply = Reply::empty(StatusCode::OK);
        reply.header(header::ETAG, &object.etag);
        self.buckets.edit(&call.bucket, |bucket| bucket.insert(call.key.clone(), object.into()));
        Ok(reply)
    }

    /// The restoration is ongoing until a test says that it is done.
    fn restore(&self, call: &Call, body: &[u8]) -> Result<Reply, Refusal> {
        let Some(object) = self.buckets.object(&call.bucket, &call.key) else {
            return Err(Refusal::no_such_key(&call.key));
        };
        let document = String::from_utf8_lossy(body).into_owned();
        if !object.in_archive() {
            let message = "Restore is not allowed for the object's current storage class";
            return Err(Refusal::new(StatusCode::FORBIDDEN, "InvalidObjectState", message));
        }
        // Copies of classes expire; what comes back out of a tier of Intelligent-Tiering stays.
        if document.contains("<Days>") == object.archive.status.is_some() {
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "MalformedXML", "Days are for copies that expire"));
        }
        let status = match object.archive.restoration {
            Restoration::Ongoing => {
                let message = "Object restore is already in progress";
                return Err(Refusal::new(StatusCode::CONFLICT, "RestoreAlreadyInProgress", message));
            }
            Restoration::None => StatusCode::ACCEPTED,
            Restoration::Done(_) => StatusCode::OK,
        };
        self.buckets.edit(&call.bucket, |bucket| {
            let Some(object) = bucket.objects.get_mut(&call.key) else { return };
            let archive = &mut std::sync::Arc::make_mut(object).archive;
            archive.request = Some(document);
            if status == StatusCode::ACCEPTED {
                archive.restoration = Restoration::Ongoing;
            }
        });
        Ok(Reply::empty(status))
    }

    fn delete(&self, call: &Call) -> Reply {
        self.buckets.edit(&call.bucket, |bucket: &mut Bucket| bucket.remove(&call.key, std::time::SystemTime::now()));
        Reply::empty(StatusCode::NO_CONTENT)
    }
}

async fn send(call: &Call, object: &Object, span: Span, fault: Option<&Kind>) -> Result<Reply, Refusal> {
    let (status, offset, len) = match span {
        Span::Whole => (StatusCode::OK, 0, object.len),
        Span::Part(first, last) => (StatusCode::PARTIAL_CONTENT, first, last - first + 1),
        Span::Unsatisfiable => {
            let message = "The requested range is not satisfiable";
            return Err(Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, "InvalidRange", message)
                .element("RangeRequested", call.header(header::RANGE).unwrap_or_default())
                .element("ActualObjectSize", object.len.to_string())
                .header("content-range", format!("bytes */{}", object.len)));
        }
    };
    let reader = match call.method {
        Method::HEAD => Reader::Memory(Content::Bytes(Bytes::new())),
        _ => Reader::open(&object.content)
            .await
            .map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", error.to_string()))?,
    };
    let mut reply = Reply::empty(status);
    reply.payload = Payload::Span { reader, offset, len };
    describe(&mut reply, call, object, fault);
    if let Span::Part(first, last) = span {
        reply.header(header::CONTENT_RANGE, &format!("bytes {first}-{last}/{}", object.len));
    }
    Ok(reply)
}

/// The headers of an object.
fn describe(reply: &mut Reply, call: &Call, object: &Object, fault: Option<&Kind>) {
    match fault {
        Some(Kind::MissingEtag) => {}
        Some(Kind::WeakEtag) => reply.header(header::ETAG, &format!("W/{}", object.etag)),
        _ => reply.header(header::ETAG, &object.etag),
    }
    if let Some(encoding) = &object.content_encoding {
        reply.header(header::CONTENT_ENCODING, encoding);
    }
    let mut time = httpdate::fmt_http_date(object.last_modified);
    if let Some(Kind::OddHeaders(instead)) = fault {
        time.clone_from(instead);
        for (name, value) in [("x-amz-tagging-count", "many"), ("x-amz-object-lock-retain-until-date", "later")] {
            reply.header(HeaderName::from_static(name), value);
        }
    }
    call.dialect.describe(reply, object);
    reply.header(header::LAST_MODIFIED, &time);
    reply.header(header::ACCEPT_RANGES, "bytes");
    reply.header(header::CONTENT_TYPE, content_type(&call.key));
    let restore = match object.archive.restoration {
        Restoration::None => None,
        Restoration::Ongoing => Some("ongoing-request=\"true\"".to_owned()),
        Restoration::Done(until) => {
            let date = httpdate::fmt_http_date(until);
            Some(format!("ongoing-request=\"false\", expiry-date=\"{date}\""))
        }
    };
    for (name, value) in [("x-amz-restore", &restore), ("x-amz-archive-status", &object.archive.status)] {
        value.iter().for_each(|value| reply.header(HeaderName::from_static(name), value));
    }
    if object.storage_class != "STANDARD" {
        reply.header(HeaderName::from_static("x-amz-storage-class"), &object.storage_class);
    }
}

fn content_type(key: &str) -> &'static str {
    match key.rsplit('.').next() {
        Some("fits" | "fit" | "fz") => "application/fits",
        Some("json") => "application/json",
        Some("txt" | "csv") => "text/plain",
        _ => "binary/octet-stream",
    }
}

/// Another range of the same object, of the same length if there is room for it.
fn wrong(span: Span, size: u64) -> Span {
    match span {
        Span::Part(first, last) if last + 1 < size => Span::Part(first + 1, last + 1),
        Span::Part(first, last) if first > 0 => Span::Part(first - 1, last - 1),
        Span::Part(first, last) if first < last => Span::Part(first, last - 1),
        span => span,
    }
}

fn listing_head(call: &Call) -> Result<ListingHead, Refusal> {
    let version_2 = call.op == Op::ListObjectsV2;
    let text = |name| call.param(name).unwrap_or_default().to_owned();
    let max_keys = match call.param("max-keys") {
        None => MAX_KEYS,
        Some(number) => number.parse().map_err(|_| Refusal::invalid_argument("max-keys", number))?,
    };
    Ok(ListingHead {
        bucket: call.bucket.clone(),
        prefix: text("prefix"),
        delimiter: text("delimiter"),
        max_keys: max_keys.min(MAX_KEYS),
        url_encoded: call.param("encoding-type") == Some("url"),
        after: call.param(if version_2 { "start-after" } else { "marker" }).map(str::to_owned),
        version_2,
        token: call.param("continuation-token").filter(|_| version_2).map(str::to_owned),
        next: None,
        etags: Etags::Strong,
        raw: false,
        with_owner: !version_2 || call.param("fetch-owner") == Some("true"),
    })
}

fn is_group(key: &str, head: &ListingHead) -> bool {
    !head.delimiter.is_empty()
        && key
            .strip_prefix(&head.prefix)
            .is_some_and(|rest| rest.find(&head.delimiter).is_some_and(|at| at + head.delimiter.len() == rest.len()))
}

/// The token of version 2; of version 1 the marker, which S3 states only where there is a delimiter.
fn next_page(head: &ListingHead, page: &Page) -> Option<String> {
    let (kind, name) = match page.next.as_ref()? {
        Start::Beginning => return None,
        Start::AfterKey(key) => ('k', key),
        Start::AfterPrefix(group) => ('p', group),
    };
    match head.version_2 {
        true => Some(hex::encode(format!("{kind}{name}"))),
        false => (!head.delimiter.is_empty()).then(|| name.clone()),
    }
}

fn from_token(token: &str) -> Result<Start, Refusal> {
    let text = hex::decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    match text.split_at_checked(1) {
        Some(("k", key)) => Ok(Start::AfterKey(key.to_owned())),
        Some(("p", group)) => Ok(Start::AfterPrefix(group.to_owned())),
        _ => Err(Refusal::invalid_argument("continuation-token", token)),
    }
}
