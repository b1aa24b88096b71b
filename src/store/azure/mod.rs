//! Azure Blob Storage: `az://account/container[/prefix]`.
//!
//! - [`mod@scheme`]: URLs, and names of accounts and containers; [`options`]: what the environment says
//! - [`credentials`]: in whose name requests are sent; [`signature`]: shared keys; [`identity`]: where tokens come from
//! - [`archive`]: blobs that must be rehydrated before they are read
//! - [`page`]: a page of a listing; [`failure`]: what an error means
//! - [`diagnosis`]: why a container cannot be mounted
//!
//! A version is the ETag, which every answer has and `If-Match` names. One call of a [`Store`] method is one request,
//! but for a token that was refused, which is fetched anew once. [`super::rest`] says why there is no SDK below this.

mod archive;
mod credentials;
mod diagnosis;
mod failure;
mod identity;
mod options;
mod page;
mod scheme;
mod signature;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures::stream::StreamExt;

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

pub use options::AzureOptions;
pub(super) use scheme::AZURE;

/// The version of the REST interface: the first that escapes names that XML cannot hold was 2021-02-12, the first with
/// the tier `Cold` this one.
const API_VERSION: &str = "2021-12-02";

/// A container. All keys are raw; the prefix of a source is the caller's.
#[derive(Debug)]
pub struct AzureStore {
    account: String,
    container: String,
    id: String,
    endpoint: Endpoint,
    credentials: Credentials,
    client: Client,
    /// The account has a hierarchical namespace, which lists the folders themselves, and in another order.
    hierarchical: AtomicBool,
}

/// One request, in the terms of the service.
struct Call<'a> {
    method: &'static str,
    /// None for the container itself.
    key: Option<&'a str>,
    parameters: Vec<(&'static str, String)>,
    headers: Vec<(&'static str, String)>,
}

impl AzureStore {
    /// The container of a root `account/container`. Sends nothing.
    pub(super) fn open(root: &str, options: &AzureOptions) -> Result<Self> {
        let place = || StoreError::invalid("the source names no container: az://account/container");
        let (account, container) = root.split_once('/').ok_or_else(place)?;
        let endpoint = options.endpoint(account)?;
        let scheme = if endpoint.is_open() { "az+http" } else { "az" };
        Ok(Self {
            id: format!("{scheme}://{}/{account}/{container}", endpoint.identity()),
            credentials: Credentials::new(account, options, &endpoint)?,
            client: Client::new()?,
            account: account.to_owned(),
            container: container.to_owned(),
            endpoint,
            hierarchical: AtomicBool::new(false),
        })
    }

    /// Sends a request; once more where a token was refused that may be too old.
    async fn call(&self, name: &str, call: &Call<'_>) -> Result<Answer> {
        let mut refreshed = false;
        loop {
            let grant = self.credentials.grant(&self.client).await?;
            let request = self.credentials.sign(self.request(call), &grant);
            let mut answer = self.client.send(name, &request).await?;
            if answer.is_success() {
                return Ok(answer);
            }
            if answer.status() == 401 && !refreshed && self.credentials.forget(&grant).await {
                tracing::info!(container = self.container, "the token is refused, fetching another");
                refreshed = true;
                continue;
            }
            return Err(failure::error(&mut answer, &self.credentials).await);
        }
    }

    fn request(&self, call: &Call<'_>) -> signature::Unsigned {
        let mut path = format!("{}/{}", self.endpoint.path(), path::encode(&self.container));
        if let Some(key) = call.key {
            path.push('/');
            path.push_str(&path::encode_path(key));
        }
        let base = self.endpoint.as_str();
        let origin = &base[..base.len() - self.endpoint.path().len()];
        let mut request = Request::new(call.method, format!("{origin}{path}"));
        // The service wants to be told that there is no body.
        request.body = (call.method == "PUT").then(String::new);
        for (name, value) in &call.headers {
            request = request.with(*name, value.clone());
        }
        let request = request.with("x-ms-version", API_VERSION);
        signature::Unsigned { request, path, parameters: call.parameters.clone() }
    }

    /// What the headers of a HEAD or GET tell of a blob.
    fn object(&self, key: &str, answer: &Answer) -> Result<ObjectMeta> {
        Ok(ObjectMeta {
            key: key.to_owned(),
            size: answer.size().ok_or_else(|| answer.bad("an answer that does not tell the size"))?,
            last_modified: answer.time("last-modified").ok_or_else(|| answer.bad("no Last-Modified"))?,
            version: Version { etag: answer.etag(), id: None },
            storage_class: answer.header("x-ms-access-tier").and_then(page::storage_class),
        })
    }

    fn name_of_get(&self, key: &str, range: &Range<u64>) -> String {
        format!("GET {} bytes {}-{}", self.url(key), range.start, range.end.saturating_sub(1))
    }

    async fn get_range(&self, name: &str, key: &str, range: &Range<u64>, version: &Version) -> Result<Answer> {
        let mut headers = vec![
            ("range", format!("bytes={}-{}", range.start, range.end - 1)),
            ("accept-encoding", "identity".to_owned()),
        ];
        headers.extend(version.etag.as_deref().map(|etag| ("if-match", etag.to_owned())));
        self.call(name, &Call { method: "GET", key: Some(key), parameters: Vec::new(), headers }).await
    }
}

#[async_trait]
impl Store for AzureStore {
    fn id(&self) -> &str {
        &self.id
    }

    fn url(&self, key: &str) -> String {
        format!("az://{}/{}/{}", self.account, self.container, printable(key))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            ordered_listings: !self.hierarchical.load(Ordering::Relaxed),
            conditional_get: true,
            version_ids: false,
            restore: Some("fitsfs restore"),
        }
    }

    /// REST reference, "Get Container Properties".
    async fn touch(&self) -> Result<()> {
        self.probe().await.map(drop)
    }

    /// REST reference, "List Blobs".
    async fn list(&self, request: &ListRequest) -> Result<ListPage> {
        let name = format!("LIST {}", self.url(&request.prefix));
        let mut parameters = vec![
            ("comp", "list".to_owned()),
            ("maxresults", request.max_keys.to_string()),
            ("prefix", request.prefix.clone()),
            ("restype", "container".to_owned()),
        ];
        parameters.extend(request.delimited.then(|| ("delimiter", "/".to_owned())));
        parameters.extend(request.continuation.clone().map(|marker| ("marker", marker)));
        // An empty parameter is as good as none, but not to all that verify signatures.
        parameters.retain(|(_, value)| !value.is_empty());
        let mut answer = self.call(&name, &Call { method: "GET", key: None, parameters, headers: Vec::new() }).await?;
        let document = answer.document().await?;
        let listed = page::read(&document).ok_or_else(|| answer.bad("an answer that is not a listing"))?;
        self.hierarchical.fetch_or(listed.hierarchical, Ordering::Relaxed);
        let page = listed.page;
        let strange = page.objects.iter().map(|object| &object.key).chain(&page.prefixes);
        if strange.into_iter().any(|key| !key.starts_with(&request.prefix)) {
            return Err(answer.bad("keys that do not begin with the prefix"));
        }
        if page.objects.len() + page.prefixes.len() + page.senseless.len() > usize::from(request.max_keys) {
            return Err(answer.bad("more entries than were asked for"));
        }
        Ok(page)
    }

    /// REST reference, "Get Blob Properties".
    async fn head(&self, key: &str) -> Result<ObjectMeta> {
        let name = format!("HEAD {}", self.url(key));
        let call = Call { method: "HEAD", key: Some(key), parameters: Vec::new(), headers: Vec::new() };
        let answer = self.call(&name, &call).await?;
        // A folder of a hierarchical namespace is no blob, though it answers.
        if answer.header("x-ms-resource-type") == Some("directory") || answer.header("x-ms-meta-hdi_isfolder").is_some()
        {
            return Err(StoreError::new(ErrorKind::NotFound, format!("{name}: a folder")));
        }
        self.object(key, &answer)
    }

    /// REST reference, "Get Blob Properties".
    async fn archive(&self, object: &ObjectMeta) -> Result<Option<ArchiveState>> {
        let name = format!("HEAD {}", self.url(&object.key));
        let call = Call { method: "HEAD", key: Some(&object.key), parameters: Vec::new(), headers: Vec::new() };
        let answer = self.call(&name, &call).await?;
        Ok(archive::state(answer.header("x-ms-access-tier").unwrap_or_default(), answer.header("x-ms-archive-status")))
    }

    /// REST reference, "Get Blob", without condition: the answer says of which version it is.
    async fn peek(&self, key: &str, len: u64) -> Result<Peeked> {
        let name = self.name_of_get(key, &(0..len));
        let answer = match self.get_range(&name, key, &(0..len), &Version::default()).await {
            Ok(answer) => answer,
            // 416: nothing has no first byte.
            Err(error) if error.kind == ErrorKind::VersionChanged => return self.peek_nothing(&name, key).await,
            Err(error) => return Err(error),
        };
        let object = self.object(key, &answer)?;
        let (range, version) = (0..len.min(object.size), object.version.clone());
        let head = answer.range(&object, range, version)?;
        Ok(Peeked { object, head })
    }

    /// REST reference, "Get Blob".
    async fn get(&self, object: &ObjectMeta, range: Range<u64>) -> Result<Body> {
        let name = self.name_of_get(&object.key, &range);
        if range.start >= range.end || range.end > object.size {
            return Err(StoreError::invalid(format!("{name}: not a range of an object of {} bytes", object.size)));
        }
        let answer = match self.get_range(&name, &object.key, &range, &object.version).await {
            // No version of what is not there can be the one that is asked for: servers may say that first.
            Err(changed) if changed.kind == ErrorKind::VersionChanged => {
                let gone = self.head(&object.key).await.err().filter(|error| error.kind == ErrorKind::NotFound);
                return Err(gone.unwrap_or(changed));
            }
            answer => answer?,
        };
        let version = Version { etag: answer.etag(), id: None };
        answer.range(object, range, version)
    }
}

impl AzureStore {
    async fn peek_nothing(&self, name: &str, key: &str) -> Result<Peeked> {
        let object = self.head(key).await?;
        if object.size > 0 {
            return Err(StoreError::new(ErrorKind::BadResponse, format!("{name}: no first byte, but a size")));
        }
        let head = Body { version: object.version.clone(), stream: futures::stream::empty().boxed() };
        Ok(Peeked { object, head })
    }
}
