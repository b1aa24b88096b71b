//! Google Cloud Storage: `gs://bucket[/prefix]`, by its JSON interface.
//!
//! - [`mod@scheme`]: URLs and names of buckets; [`options`]: what the environment says
//! - [`credentials`]: in whose name requests are sent; [`account`]: files of credentials, and the tokens that they give
//! - [`page`]: a page of a listing, and what is told of an object; [`failure`]: what an error means
//! - [`diagnosis`]: why a bucket cannot be mounted
//!
//! A version is the generation of an object, by which each GET asks for it. [`super::rest`] says why there is no SDK
//! below this.

mod account;
mod credentials;
mod diagnosis;
mod failure;
mod options;
mod page;
mod scheme;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::time::SystemTime;

use async_trait::async_trait;
use futures::stream::{StreamExt, TryStreamExt};

use self::credentials::Credentials;
use super::rest::answer::Answer;
use super::rest::client::{Client, Request};
use super::rest::endpoint::Endpoint;
use super::rest::path;
use super::{
    ArchiveState, Body, Capabilities, ErrorKind, ListPage, ListRequest, ObjectMeta, Peeked, Result, Store, StoreError,
    Version,
};
use crate::printable::printable;

pub use options::GcsOptions;
pub(super) use scheme::GCS;

/// A bucket. All keys are raw; the prefix of a source is the caller's.
#[derive(Debug)]
pub struct GcsStore {
    bucket: String,
    id: String,
    endpoint: Endpoint,
    /// Whose project pays for requests, where the bucket's owner does not.
    payer: Option<String>,
    credentials: Credentials,
    client: Client,
}

/// One request, in the terms of the service.
struct Call<'a> {
    /// None for the bucket itself.
    key: Option<&'a str>,
    is_listing: bool,
    parameters: Vec<(&'static str, String)>,
    headers: Vec<(&'static str, String)>,
}

impl GcsStore {
    /// A bucket. Reads the file of credentials, sends nothing.
    pub(super) fn open(bucket: &str, options: &GcsOptions) -> Result<Self> {
        let endpoint = options.endpoint()?;
        let scheme = if endpoint.is_open() { "gs+http" } else { "gs" };
        Ok(Self {
            id: format!("{scheme}://{}/{bucket}", endpoint.identity()),
            credentials: Credentials::new(options, &endpoint)?,
            client: Client::new()?,
            bucket: bucket.to_owned(),
            payer: options.payer(),
            endpoint,
        })
    }

    /// Sends a request; once more where a token was refused that may be too old.
    async fn call(&self, name: &str, call: &Call<'_>) -> Result<Answer> {
        let mut refreshed = false;
        loop {
            let grant = self.credentials.grant(&self.client).await?;
            let mut request = self.request(call);
            if let Some(token) = &grant {
                request = request.with("authorization", format!("Bearer {}", token.text.reveal()));
            }
            let mut answer = self.client.send(name, &request).await?;
            if answer.is_success() {
                return Ok(answer);
            }
            if answer.status() == 401 && !refreshed && self.credentials.forget(&grant).await {
                tracing::info!(bucket = self.bucket, "the token is refused, fetching another");
                refreshed = true;
                continue;
            }
            return Err(failure::error(&mut answer, &self.credentials).await);
        }
    }

    fn request(&self, call: &Call<'_>) -> Request {
        let mut url = format!("{}/storage/v1/b/{}", self.endpoint.as_str(), path::encode(&self.bucket));
        if call.is_listing || call.key.is_some() {
            url.push_str("/o");
        }
        if let Some(key) = call.key {
            // A key is one segment, whose slashes are escaped as well.
            url.push('/');
            url.push_str(&path::encode(key));
        }
        let mut parameters = call.parameters.clone();
        parameters.extend(self.payer.clone().map(|project| ("userProject", project)));
        let mut request = Request::get(format!("{url}?{}", path::query(&parameters)));
        for (name, value) in &call.headers {
            request = request.with(*name, value.clone());
        }
        request
    }

    fn name_of_get(&self, key: &str, range: &Range<u64>) -> String {
        format!("GET {} bytes {}-{}", self.url(key), range.start, range.end.saturating_sub(1))
    }

    async fn get_range(&self, name: &str, key: &str, range: &Range<u64>, version: &Version) -> Result<Answer> {
        let mut parameters = vec![("alt", "media".to_owned())];
        parameters.extend(version.id.as_deref().map(|generation| ("generation", generation.to_owned())));
        let headers = vec![
            ("range", format!("bytes={}-{}", range.start, range.end - 1)),
            // Objects that were stored compressed are expanded for those that do not say this, and ranges ignored.
            ("accept-encoding", "gzip".to_owned()),
        ];
        self.call(name, &Call { key: Some(key), is_listing: false, parameters, headers }).await
    }

    /// The bytes of an answer that does not tell its generation, as those of emulators: as generations never come again,
    /// one that is the current one after the last byte was it before. Only then is another request sent, since a server
    /// may answer one at a time.
    async fn proved(&self, answer: Answer, object: &ObjectMeta, range: Range<u64>) -> Result<Body> {
        let name = answer.name().to_owned();
        let version = object.version.clone();
        let read = async { answer.range(object, range, version.clone())?.stream.try_collect::<Vec<_>>().await }.await;
        // What makes no sense for this version may be of another.
        if !self.head(&object.key).await?.is_same(object) {
            return Err(Self::changed(&name));
        }
        Ok(Body { version, stream: futures::stream::iter(read?).map(Ok).boxed() })
    }

    /// A page of what there is, or was at a time.
    async fn list_as_of(&self, request: &ListRequest, time: Option<SystemTime>) -> Result<ListPage> {
        let name = format!("LIST {}", self.url(&request.prefix));
        let fields = if time.is_some() { page::FIELDS_OF_GENERATIONS } else { page::FIELDS };
        let mut parameters = vec![
            ("fields", format!("nextPageToken,prefixes,items({fields})")),
            ("maxResults", request.max_keys.to_string()),
            ("prefix", request.prefix.clone()),
        ];
        parameters.extend(time.is_some().then(|| ("versions", "true".to_owned())));
        parameters.extend(request.delimited.then(|| ("delimiter", "/".to_owned())));
        parameters.extend(request.continuation.clone().map(|token| ("pageToken", token)));
        let call = Call { key: None, is_listing: true, parameters, headers: Vec::new() };
        let mut answer = self.call(&name, &call).await?;
        let document = answer.document().await?;
        let page = match time {
            Some(time) => page::read_as_of(&document, time),
            None => page::read(&document),
        };
        let page = page.ok_or_else(|| answer.bad("an answer that is not a listing"))?;
        if page
            .objects
            .iter()
            .map(|object| &object.key)
            .chain(&page.prefixes)
            .any(|key| !key.starts_with(&request.prefix))
        {
            return Err(answer.bad("keys that do not begin with the prefix"));
        }
        let entries = page.objects.len() + page.prefixes.len() + page.senseless.len();
        // An emulator that knows no pages sends all at once, and nothing to follow.
        if entries > usize::from(request.max_keys) && (page.continuation.is_some() || request.continuation.is_some()) {
            return Err(answer.bad("more entries than were asked for"));
        }
        Ok(page)
    }

    fn changed(name: &str) -> StoreError {
        StoreError::new(ErrorKind::VersionChanged, format!("{name}: the object changed: another generation"))
    }
}

#[async_trait]
impl Store for GcsStore {
    fn id(&self) -> &str {
        &self.id
    }

    fn url(&self, key: &str) -> String {
        format!("gs://{}/{}", self.bucket, printable(key))
    }

    fn capabilities(&self) -> Capabilities {
        // Objects of the class ARCHIVE are read like any other.
        Capabilities { ordered_listings: true, conditional_get: true, version_ids: true, restore: None }
    }

    /// JSON reference, "Buckets: get".
    async fn touch(&self) -> Result<()> {
        self.probe().await.map(drop)
    }

    /// JSON reference, "Objects: list".
    async fn list(&self, request: &ListRequest) -> Result<ListPage> {
        self.list_as_of(request, None).await
    }

    /// The same, `versions`.
    async fn list_at(&self, request: &ListRequest, time: SystemTime) -> Result<ListPage> {
        self.list_as_of(request, Some(time)).await
    }

    /// JSON reference, "Buckets: get", which those that may read objects are often not allowed to.
    async fn keeps_versions(&self) -> Result<Option<bool>> {
        let name = format!("GET {} versioning", self.url(""));
        let parameters = vec![("fields", "versioning".to_owned())];
        let call = Call { key: None, is_listing: false, parameters, headers: Vec::new() };
        let mut answer = match self.call(&name, &call).await {
            Err(error) if error.kind == ErrorKind::AccessDenied => return Ok(None),
            answer => answer?,
        };
        let document: serde_json::Value = serde_json::from_slice(&answer.document().await?).unwrap_or_default();
        Ok(Some(document["versioning"]["enabled"] == true))
    }

    /// JSON reference, "Objects: get".
    async fn head(&self, key: &str) -> Result<ObjectMeta> {
        let name = format!("HEAD {}", self.url(key));
        let parameters = vec![("fields", page::FIELDS.to_owned())];
        let call = Call { key: Some(key), is_listing: false, parameters, headers: Vec::new() };
        let mut answer = self.call(&name, &call).await?;
        let document = answer.document().await?;
        let object = page::object(&document).ok_or_else(|| answer.bad("an answer that does not tell of an object"))?;
        if object.key != key {
            return Err(answer.bad("an answer that tells of another object"));
        }
        Ok(object)
    }

    /// Objects of the class ARCHIVE are read like any other.
    async fn archive(&self, _object: &ObjectMeta) -> Result<Option<ArchiveState>> {
        Ok(None)
    }

    /// What a HEAD tells and the first bytes, asked for at once.
    async fn peek(&self, key: &str, len: u64) -> Result<Peeked> {
        let name = self.name_of_get(key, &(0..len));
        let (object, answer) =
            futures::join!(self.head(key), async { self.get_range(&name, key, &(0..len), &Version::default()).await });
        let object = object?;
        let range = 0..len.min(object.size);
        if range.is_empty() {
            let head = Body { version: object.version.clone(), stream: futures::stream::empty().boxed() };
            return Ok(Peeked { object, head });
        }
        let told = |answer: &Answer| {
            answer.header("x-goog-generation").is_some_and(|told| object.version.id.as_deref() == Some(told))
        };
        let head = match answer {
            Ok(answer) if told(&answer) => answer.range(&object, range, object.version.clone())?,
            // Of another version, or of one that is not told.
            Ok(_) => self.get(&object, range).await?,
            Err(error) if error.kind == ErrorKind::VersionChanged => self.get(&object, range).await?,
            Err(error) => return Err(error),
        };
        Ok(Peeked { object, head })
    }

    /// JSON reference, "Objects: get", `alt=media`.
    async fn get(&self, object: &ObjectMeta, range: Range<u64>) -> Result<Body> {
        let name = self.name_of_get(&object.key, &range);
        if range.start >= range.end || range.end > object.size {
            return Err(StoreError::invalid(format!("{name}: not a range of an object of {} bytes", object.size)));
        }
        let answer = match self.get_range(&name, &object.key, &range, &object.version).await {
            // That generation is not there; perhaps another is.
            Err(error) if error.kind == ErrorKind::NotFound => {
                self.head(&object.key).await?;
                return Err(Self::changed(&name));
            }
            answer => answer?,
        };
        match (answer.header("x-goog-generation"), object.version.id.as_deref()) {
            (Some(told), Some(asked)) if told == asked => answer.range(object, range, object.version.clone()),
            (Some(_), Some(_)) => Err(Self::changed(&name)),
            _ => self.proved(answer, object, range).await,
        }
    }
}
