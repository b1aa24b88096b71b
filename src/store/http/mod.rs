//! Web servers: `https://host/path/`.
//!
//! A key is the path of a URL, decoded. Which files there are is what an index page says; the bytes of a version are
//! those of range GETs, each of which is compared with the version.
//!
//! - [`mod@scheme`]: URLs and variables; [`root`]: which URL a key stands for; [`options`]: tokens and certificates
//! - [`files`]: what a key stands for; [`client`]: one request; [`redirect`]: where redirections lead, and who gets a token
//! - [`version`]: which content an answer is of; [`index`]: what is in a folder, by what a server shows;
//!   [`listing`]: pages of that, with sizes that are true
//! - [`whole`]: files of servers that do not serve ranges
//! - [`diagnosis`]: why a server cannot be mounted

mod client;
mod diagnosis;
mod files;
mod index;
mod listing;
mod options;
mod redirect;
mod root;
mod scheme;
#[cfg(test)]
mod tests;
mod version;
mod whole;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures::stream::StreamExt;

use self::client::{Answer, Client, Request};
use self::files::{Files, is_folder, size_told};
use self::listing::Listings;
use self::redirect::{Web, failure};
use self::root::Root;
use self::version::{Told, comparable, server_tag};
use self::whole::Wholes;
use super::web::answer;
use super::web::authorities;
use super::{
    ArchiveState, Body, Capabilities, ErrorKind, ListPage, ListRequest, ObjectMeta, Peeked, Result, Store, StoreError,
    Version,
};

pub use options::HttpOptions;
pub(super) use scheme::{HTTP, HTTPS};

/// The files of a web server.
#[derive(Debug)]
pub struct HttpStore {
    id: String,
    files: Arc<Files>,
    listings: Listings,
    wholes: Wholes,
    /// A GET of a range was answered with the whole file.
    ignores_ranges: AtomicBool,
}

impl HttpStore {
    /// The files of a root, as [`scheme`] writes it. Sends nothing.
    pub fn open(scheme: &str, root: &str, options: &HttpOptions) -> Result<Self> {
        let root = Root::parse(scheme, root)?;
        let tls = authorities::context(options.ca_bundle.as_deref(), options::BUNDLE)?;
        let (id, web) = (root.id(), Web::new(Client::new(&tls), options.clone(), root.origin.clone()));
        let files = Arc::new(Files::new(root, web));
        Ok(Self {
            id,
            listings: Listings::new(files.clone()),
            files,
            wholes: Wholes::default(),
            ignores_ranges: AtomicBool::new(false),
        })
    }

    /// The bytes of a range, by the answer to a GET of it.
    async fn part(&self, name: String, object: &ObjectMeta, range: Range<u64>, answer: Answer) -> Result<Body> {
        let is_part = match answer.status() {
            206 => true,
            200 => false,
            _ => return Err(failure(&name, &answer)),
        };
        // What is answered is checked as what it says it is; a range that was ignored is cut from the whole.
        let answered = if is_part { range.clone() } else { 0..object.size };
        let told = Told::by(|name| answer.header(name), None);
        answer::check(&name, &comparable(object), &answered, &told.headers(object, |name| answer.header(name)))?;
        let bad = |what: &str| Err(StoreError::new(ErrorKind::BadResponse, format!("{name}: {what}")));
        if is_part && answer.header("content-range").is_none() {
            return bad("a part that does not say which one it is");
        }
        let is_told = answer.header("content-length").is_some();
        if !is_part && !is_told && server_tag(object).is_none() && told.modified.is_none() {
            return bad("a page that nothing tells to be the file");
        }
        let is_by_time = object.version == Version::default();
        if is_by_time && told.modified.is_none() {
            return bad("an answer without Last-Modified");
        }
        let length = answered.end - answered.start;
        let bytes = answer::exactly(name.clone(), length, answer.into_stream(&name));
        let version = object.version.clone();
        if answered == range {
            return Ok(Body { version, stream: bytes });
        }
        if !self.ignores_ranges.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                file = self.files.root.shown(&object.key),
                "the server serves no ranges: files are fetched whole"
            );
        }
        let stream = self.wholes.fetch(object, bytes)?.read(range).await?;
        Ok(Body { version, stream })
    }

    fn name_of_get(&self, key: &str, range: &Range<u64>) -> String {
        format!("GET {} bytes {}-{}", self.files.root.shown(key), range.start, range.end.saturating_sub(1))
    }
}

#[async_trait]
impl Store for HttpStore {
    fn id(&self) -> &str {
        &self.id
    }

    fn url(&self, key: &str) -> String {
        self.files.root.shown(key)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { ordered_listings: true, conditional_get: self.files.has_tags(), ..Capabilities::default() }
    }

    async fn touch(&self) -> Result<()> {
        let name = format!("HEAD {}", self.files.root.origin);
        self.files.web.ask(&name, &self.files.root.origin, &Request::new("HEAD")).await.map(drop)
    }

    async fn list(&self, request: &ListRequest) -> Result<ListPage> {
        self.listings.page(request).await
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta> {
        self.listings.look_up(key).await
    }

    async fn archive(&self, _object: &ObjectMeta) -> Result<Option<ArchiveState>> {
        Ok(None)
    }

    async fn peek(&self, key: &str, len: u64) -> Result<Peeked> {
        let (url, name) = (self.files.url_of("GET", key)?, self.name_of_get(key, &(0..len)));
        let request = Request::new("GET").with("range", format!("bytes=0-{}", len.saturating_sub(1)));
        let answer = self.files.web.ask_for_file(&name, &url, &request).await?;
        if is_folder(&url, &answer) {
            return Err(self.files.absent("GET", key));
        }
        let told = self.files.noted(Told::by(|name| answer.header(name), size_told(&answer)));
        match (answer.status(), told.object(key)) {
            (200 | 206, Some(object)) if told.unsettled_for().is_none() && object.size > 0 => {
                let head = self.part(name, &object, 0..len.min(object.size), answer).await?;
                self.listings.note(&object);
                return Ok(Peeked { object, head });
            }
            // Nothing has no first byte, and of a file that was changed a moment ago the version is to be found first.
            (200 | 206 | 416, _) => {}
            _ => return Err(failure(&name, &answer)),
        }
        drop(answer);
        let object = self.listings.look_up(key).await?;
        let head = match object.size {
            0 => Body { version: object.version.clone(), stream: futures::stream::empty().boxed() },
            size => self.get(&object, 0..len.min(size)).await?,
        };
        Ok(Peeked { object, head })
    }

    async fn get(&self, object: &ObjectMeta, range: Range<u64>) -> Result<Body> {
        let (url, name) = (self.files.url_of("GET", &object.key)?, self.name_of_get(&object.key, &range));
        if range.start >= range.end || range.end > object.size {
            let message = format!("{name}: not a range of a file of {} bytes", object.size);
            return Err(StoreError::new(ErrorKind::Invalid, message));
        }
        if let Some(whole) = self.wholes.find(object) {
            return Ok(Body { version: object.version.clone(), stream: whole.read(range).await? });
        }
        let mut request = Request::new("GET").with("range", format!("bytes={}-{}", range.start, range.end - 1));
        if let Some(tag) = server_tag(object) {
            request = request.with("if-match", tag);
        }
        let answer = self.files.web.ask_for_file(&name, &url, &request).await?;
        if is_folder(&url, &answer) {
            return Err(self.files.absent("GET", &object.key));
        }
        self.part(name, object, range, answer).await
    }
}
