//! S3 and what speaks its protocol, through aws-sdk-s3.
//!
//! - [`options`] and [`profile`]: how to reach an endpoint; [`credentials`]: what signs requests; [`connection`]: the SDK client
//! - [`failure`]: what an error means
//! - [`archive`]: objects that must be restored before they are read
//! - [`mod@page`]: a page of a listing; [`document`]: one that has entries without sense
//! - [`versions`]: which keys there were at a time
//! - [`mod@scheme`]: `s3://` URLs and names of buckets; [`diagnosis`]: why a bucket cannot be mounted, and the requests for
//!   it, [`probe`]
//!
//! One call of a [`Store`] method is one request, but for four cures that a retry of the same request is not: a wrong
//! region is corrected once, stale credentials are fetched anew once, a condition that cannot hold is left out, and the
//! bucket is named in the host once the server has said that it takes none in the path.

mod archive;
mod connection;
mod credentials;
mod diagnosis;
mod document;
mod failure;
mod odd_headers;
mod options;
mod page;
mod probe;
mod profile;
mod scheme;
mod versions;

use std::error::Error;
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::list_objects_v2::{ListObjectsV2Error, ListObjectsV2Output};
use aws_sdk_s3::types::{EncodingType, RequestPayer};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use bytes::Bytes;
use futures::stream::StreamExt;

use self::connection::Connector;
use self::document::Document;
use self::failure::Failure;
use self::page::{page, storage_class};
use self::scheme::is_directory_bucket;
use self::versions::Marker;
use super::web::answer::{self, ContentRange};
use super::{
    ArchiveState, Body, Capabilities, ErrorKind, ListPage, ListRequest, ObjectMeta, Peeked, Result, StorageClass,
    Store, StoreError, Version,
};
use crate::printable::printable;
use crate::store::web::encoding::{is_weak, opaque_tag, whole_seconds};

pub use credentials::{CredentialsInfo, key_tail};
pub use options::S3Options;
pub use probe::Probe;
pub(super) use scheme::{BACKEND, S3};

/// Versions in a page (the most that S3 gives, API reference, "ListObjectVersions").
const VERSIONS_PAGE: i32 = 1000;

/// A bucket. All keys are raw; the prefix of a source is the caller's, and so is the check of the bucket's name.
#[derive(Debug)]
pub struct S3Store {
    bucket: String,
    id: String,
    payer: Option<RequestPayer>,
    connector: Connector,
    /// No conditions are sent: entity tags may be weak, so that none holds (RFC 9110, 13.1.1), or the server ignores them.
    unconditional: AtomicBool,
}

impl S3Store {
    /// Reads the AWS configuration files; sends nothing before the first request.
    pub async fn open(bucket: &str, options: &S3Options) -> Result<Self> {
        let connector = Connector::new(options).await?;
        Ok(Self {
            id: format!("{}/{}", connector.store_id(), bucket),
            bucket: bucket.to_owned(),
            payer: options.requester_pays.then_some(RequestPayer::Requester),
            connector,
            unconditional: AtomicBool::new(false),
        })
    }

    /// The region that requests go to now.
    pub fn region(&self) -> String {
        self.connector.current().region.clone()
    }

    /// Sends a request; once more where the answer tells the right region, that the credentials are stale, or that the
    /// bucket is to be named in the host.
    async fn call<T, E, F, Sent>(&self, request: &str, send: F) -> Result<T>
    where
        F: Fn(Client) -> Sent,
        Sent: Future<Output = std::result::Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        self.call_with_code(request, send).await.map_err(|(error, _)| error)
    }

    /// The same, with the code of an error beside it.
    async fn call_with_code<T, E, F, Sent>(
        &self,
        request: &str,
        send: F,
    ) -> std::result::Result<T, (StoreError, Option<String>)>
    where
        F: Fn(Client) -> Sent,
        Sent: Future<Output = std::result::Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let (mut moved, mut refreshed, mut renamed) = (false, false, false);
        loop {
            let connection = self.connector.current();
            let failure = match send(connection.client.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(error) => Failure::new(&error),
            };
            if let Some(region) = failure.other_region(&connection.region).filter(|_| !moved) {
                tracing::info!(bucket = self.bucket, from = connection.region, to = region, "the bucket's region");
                moved = true;
                self.connector.replace(&connection, region, connection.path_style);
            } else if failure.is_stale_credentials() && !refreshed && self.connector.credentials().is_some() {
                tracing::info!(bucket = self.bucket, code = failure.code, "credentials are stale, fetching them anew");
                refreshed = true;
                self.connector.replace(&connection, &connection.region, connection.path_style);
            } else if failure.refuses_path_style() && !renamed && self.connector.may_change_style() {
                tracing::info!(bucket = self.bucket, "the server wants the bucket in the name of the host");
                renamed = true;
                self.connector.replace(&connection, &connection.region, false);
            } else {
                let code = failure.code.clone();
                return Err((failure.into_error(request, &self.connector.peer(&connection)), code));
            }
        }
    }

    fn bad_answer(request: &str, what: &str) -> StoreError {
        StoreError::new(ErrorKind::BadResponse, format!("{request}: {what}"))
    }
}

#[async_trait]
impl Store for S3Store {
    fn id(&self) -> &str {
        &self.id
    }

    fn url(&self, key: &str) -> String {
        format!("s3://{}/{}", self.bucket, printable(key))
    }

    fn capabilities(&self) -> Capabilities {
        let is_general = !is_directory_bucket(&self.bucket);
        Capabilities {
            ordered_listings: is_general,
            conditional_get: !self.unconditional.load(Ordering::Relaxed),
            version_ids: is_general,
            restore: is_general.then_some("fitsfs restore"),
        }
    }

    /// API reference, "HeadBucket".
    async fn touch(&self) -> Result<()> {
        self.probe().await.map(drop)
    }

    /// API reference, "ListObjectsV2".
    async fn list(&self, request: &ListRequest) -> Result<ListPage> {
        let name = format!("LIST {}", self.url(&request.prefix));
        let send = |client: Client| {
            let list = client
                .list_objects_v2()
                .bucket(&self.bucket)
                .prefix(&request.prefix)
                .set_delimiter(request.delimited.then(|| "/".to_owned()))
                .max_keys(i32::from(request.max_keys))
                .set_continuation_token(request.continuation.clone())
                // Keys may hold characters that XML cannot.
                .encoding_type(EncodingType::Url)
                .set_request_payer(self.payer.clone());
            async move {
                match list.send().await {
                    Err(error) => in_spite_of(&error).ok_or(error),
                    answer => answer,
                }
            }
        };
        let answer = self.call(&name, send).await?;
        answer.contents().iter().for_each(|entry| self.note_tag(entry.e_tag.as_deref()));
        let page = page(&answer).map_err(|what| Self::bad_answer(&name, what))?;
        let entries = page.objects.len() + page.prefixes.len() + page.senseless.len();
        if entries > usize::from(request.max_keys) {
            return Err(Self::bad_answer(&name, "more entries than were asked for"));
        }
        Ok(page)
    }

    /// API reference, "ListObjectVersions".
    async fn list_at(&self, request: &ListRequest, time: SystemTime) -> Result<ListPage> {
        let name = format!("LIST {} (versions)", self.url(&request.prefix));
        let bad = |what| Self::bad_answer(&name, what);
        let begin = match &request.continuation {
            Some(text) => Some(Marker::parse(text).ok_or_else(|| bad("a continuation that is none"))?),
            None => None,
        };
        let send = |client: Client| {
            let (read, begin) = (Document::default(), begin.clone());
            let list = client
                .list_object_versions()
                .bucket(&self.bucket)
                .prefix(&request.prefix)
                .set_delimiter(request.delimited.then(|| "/".to_owned()))
                // Versions are many, and most of them do not count.
                .max_keys(VERSIONS_PAGE)
                .set_version_id_marker(begin.as_ref().and_then(|begin| begin.version.clone()))
                .set_key_marker(begin.map(|begin| begin.key))
                .encoding_type(EncodingType::Url)
                .set_request_payer(self.payer.clone());
            async move {
                let sent = list.customize().interceptor(read.clone()).send().await;
                match read.take() {
                    Some(document) => Ok(document),
                    None => sent.map(|_| Bytes::new()),
                }
            }
        };
        let document = self.call(&name, send).await?;
        let versions = versions::read(&document).ok_or_else(|| bad("an answer that is not a listing of versions"))?;
        Ok(versions.listed_at(time, begin.as_ref(), request.max_keys.into()))
    }

    /// API reference, "GetBucketVersioning". Credentials that may read are often not allowed to ask, and some servers do
    /// not know the question: what they list is to show.
    async fn keeps_versions(&self) -> Result<Option<bool>> {
        let name = format!("GET {} versioning", self.url(""));
        let send = |client: Client| {
            let (read, get) = (Document::default(), client.get_bucket_versioning().bucket(&self.bucket));
            async move {
                let sent = get.customize().interceptor(read.clone()).send().await;
                match read.take() {
                    Some(document) => Ok(document),
                    None => sent.map(|_| Bytes::new()),
                }
            }
        };
        match self.call(&name, send).await {
            Ok(document) => Ok(versions::are_kept(&document)),
            Err(error) if matches!(error.kind, ErrorKind::AccessDenied | ErrorKind::Invalid) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// API reference, "HeadObject".
    async fn head(&self, key: &str) -> Result<ObjectMeta> {
        let name = format!("HEAD {}", self.url(key));
        let send = |client: Client| {
            client.head_object().bucket(&self.bucket).key(key).set_request_payer(self.payer.clone()).send()
        };
        let answer = self.call(&name, send).await?;
        self.note_tag(answer.e_tag.as_deref());
        let bad = |what| Self::bad_answer(&name, what);
        let size = answer.content_length.and_then(|size| u64::try_from(size).ok());
        Ok(ObjectMeta {
            key: key.to_owned(),
            size: size.ok_or_else(|| bad("no Content-Length"))?,
            last_modified: whole_seconds(answer.last_modified.ok_or_else(|| bad("no Last-Modified"))?),
            version: version(answer.e_tag.as_deref(), answer.version_id.as_deref()),
            storage_class: answer.storage_class.as_ref().and_then(|class| {
                let class = storage_class(class.as_str())?;
                Some(StorageClass { is_archived: class.is_archived || answer.archive_status.is_some(), ..class })
            }),
        })
    }

    /// API reference, "HeadObject".
    async fn archive(&self, object: &ObjectMeta) -> Result<Option<ArchiveState>> {
        let name = format!("HEAD {}", self.url(&object.key));
        let send = |client: Client| {
            let head = client.head_object().bucket(&self.bucket).key(&object.key);
            let head = head.set_version_id(object.version.id.as_deref().map(str::to_owned));
            head.set_request_payer(self.payer.clone()).send()
        };
        let answer = self.call(&name, send).await?;
        let class = answer.storage_class.as_ref().map_or("", |class| class.as_str());
        Ok(archive::state(
            class,
            answer.archive_status.as_ref().map(|status| status.as_str()),
            answer.restore.as_deref(),
        ))
    }

    /// API reference, "GetObject".
    async fn get(&self, object: &ObjectMeta, range: Range<u64>) -> Result<Body> {
        let name = self.name_of_get(&object.key, &range);
        if range.start >= range.end || range.end > object.size {
            let message = format!("{name}: not a range of an object of {} bytes", object.size);
            return Err(StoreError::new(ErrorKind::Invalid, message));
        }
        let answer = self.get_version(&name, object, &range).await?;
        self.note_tag(answer.e_tag.as_deref());
        answer::check(&name, object, &range, &headers(&answer))?;
        let body = body(name, range, answer);
        // What was asked for by its id is asked for by it again.
        let version = if object.version.id.is_some() { object.version.clone() } else { body.version };
        Ok(Body { version, ..body })
    }

    /// API reference, "GetObject", without condition: the answer says of which version it is.
    async fn peek(&self, key: &str, len: u64) -> Result<Peeked> {
        let asked = 0..len;
        let name = self.name_of_get(key, &asked);
        let sent = self.call(&name, |client| self.send_get(client, key, &Version::default(), &asked)).await;
        let answer = match sent {
            Ok(answer) => answer,
            // 416: nothing has no first byte.
            Err(error) if error.kind == ErrorKind::VersionChanged => return self.peek_nothing(&name, key).await,
            Err(error) => return Err(error),
        };
        self.note_tag(answer.e_tag.as_deref());
        let object = self.peeked_object(&name, key, &answer)?;
        let range = 0..len.min(object.size);
        answer::check(&name, &object, &range, &headers(&answer))?;
        Ok(Peeked { object, head: body(name, range, answer) })
    }
}

impl S3Store {
    fn name_of_get(&self, key: &str, range: &Range<u64>) -> String {
        format!("GET {} bytes {}-{}", self.url(key), range.start, range.end.saturating_sub(1))
    }

    /// What a GET without condition tells of its object.
    fn peeked_object(&self, name: &str, key: &str, answer: &GetObjectOutput) -> Result<ObjectMeta> {
        let bad = |what| Self::bad_answer(name, what);
        let headers = headers(answer);
        let size = match headers.content_range {
            Some(text) => ContentRange::parse(text).and_then(|range| range.total),
            None => headers.content_length,
        };
        Ok(ObjectMeta {
            key: key.to_owned(),
            size: size.ok_or_else(|| bad("an answer that does not tell the size"))?,
            last_modified: headers.last_modified.ok_or_else(|| bad("no Last-Modified"))?,
            version: headers.version,
            storage_class: answer.storage_class.as_ref().and_then(|class| storage_class(class.as_str())),
        })
    }

    async fn peek_nothing(&self, name: &str, key: &str) -> Result<Peeked> {
        let object = self.head(key).await?;
        if object.size > 0 {
            return Err(Self::bad_answer(name, "no first byte, but a size"));
        }
        let head = Body { version: object.version.clone(), stream: futures::stream::empty().boxed() };
        Ok(Peeked { object, head })
    }

    /// A GET of a version. One that is refused although the tag is the same had a condition that cannot hold, since the
    /// tag is a weak one there: the same is asked without.
    async fn get_version(&self, name: &str, object: &ObjectMeta, range: &Range<u64>) -> Result<GetObjectOutput> {
        let send = |client| self.send_get(client, &object.key, &object.version, range);
        let conditional = self.sends_conditions(&object.version);
        let refused = match self.call(name, send).await {
            Err(error) if error.kind == ErrorKind::VersionChanged && conditional => error,
            answer => return answer,
        };
        let now = self.head(&object.key).await;
        if !now.is_ok_and(|now| now.version == object.version && now.size == object.size) {
            return Err(refused);
        }
        tracing::info!(bucket = self.bucket, "If-Match is refused for versions that there are: it is left out");
        self.unconditional.store(true, Ordering::Relaxed);
        self.call(name, send).await
    }

    /// Whether requests for this version name it.
    fn sends_conditions(&self, version: &Version) -> bool {
        version.etag.is_some() && !self.unconditional.load(Ordering::Relaxed)
    }

    fn note_tag(&self, etag: Option<&str>) {
        self.unconditional.fetch_or(etag.is_some_and(is_weak), Ordering::Relaxed);
    }

    fn send_get(
        &self,
        client: Client,
        key: &str,
        version: &Version,
        range: &Range<u64>,
    ) -> impl Future<Output = std::result::Result<GetObjectOutput, SdkError<GetObjectError, HttpResponse>>> + use<>
    {
        // The tag of the answer is compared in any case.
        let condition = version.etag.as_deref().filter(|_| self.sends_conditions(version));
        client
            .get_object()
            .bucket(&self.bucket)
            .key(key)
            .range(format!("bytes={}-{}", range.start, range.end - 1))
            .set_if_match(condition.map(str::to_owned))
            .set_version_id(version.id.as_deref().map(str::to_owned))
            .set_request_payer(self.payer.clone())
            .send()
    }
}

/// The bytes of an answer that was found to be of this range.
fn body(name: String, range: Range<u64>, answer: GetObjectOutput) -> Body {
    let version = headers(&answer).version;
    let broken = name.clone();
    let chunks = futures::stream::unfold(answer.body, move |mut body| {
        let broken = broken.clone();
        async move {
            let chunk = body.next().await?;
            // The SDK knows one kind of error here: the transport's.
            let chunk = chunk.map_err(|_| StoreError::new(ErrorKind::Network, format!("{broken}: the body broke off")));
            Some((chunk, body))
        }
    });
    Body { version, stream: answer::exactly(name, range.end - range.start, chunks.boxed()) }
}

/// The answer that a LIST has all the same, if the SDK did not understand it.
fn in_spite_of(error: &SdkError<ListObjectsV2Error, HttpResponse>) -> Option<ListObjectsV2Output> {
    let answer = error.raw_response().filter(|answer| answer.status().is_success())?;
    document::read(answer.body().bytes()?)
}

type GetObjectError = aws_sdk_s3::operation::get_object::GetObjectError;

fn headers(answer: &GetObjectOutput) -> answer::Headers<'_> {
    answer::Headers {
        content_range: answer.content_range.as_deref(),
        content_length: answer.content_length.and_then(|length| u64::try_from(length).ok()),
        content_encoding: answer.content_encoding.as_deref(),
        last_modified: answer.last_modified.map(whole_seconds),
        version: version(answer.e_tag.as_deref(), answer.version_id.as_deref()),
        weak: answer.e_tag.as_deref().is_some_and(is_weak),
    }
}

/// Listings have no version ids. So that an object has one version whichever way it was seen, the id counts only where
/// there is no entity tag. The id `null` stands for any content written while versioning is off.
fn version(etag: Option<&str>, id: Option<&str>) -> Version {
    match etag.and_then(opaque_tag) {
        Some(etag) => Version { etag: Some(etag), id: None },
        None => Version { etag: None, id: id.filter(|id| !matches!(*id, "" | "null")).map(Arc::from) },
    }
}
