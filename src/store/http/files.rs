//! Files of a web server, one request each: which URL a key stands for, and what the server tells of it.

use std::sync::atomic::{AtomicBool, Ordering};

use url::Url;

use super::client::{Answer, Request};
use super::redirect::{Web, failure};
use super::root::Root;
use super::version::Told;
use crate::store::web::answer::ContentRange;
use crate::store::{ErrorKind, ObjectMeta, Result, StoreError};

/// The files below a root.
#[derive(Debug)]
pub struct Files {
    /// What is mounted.
    pub root: Root,
    /// How it is asked.
    pub web: Web,
    /// The server refuses HEADs.
    refuses_heads: AtomicBool,
    /// A file has an entity tag that is its version, by which it is asked for.
    has_tags: AtomicBool,
}

/// What a URL stands for.
pub enum Found {
    /// A folder.
    Folder,
    /// A file whose size the server does not tell.
    Sizeless,
    /// A file.
    File(ObjectMeta),
}

impl Files {
    /// The files below `root`, asked for by `web`.
    pub fn new(root: Root, web: Web) -> Self {
        Self { root, web, refuses_heads: AtomicBool::new(false), has_tags: AtomicBool::new(false) }
    }

    /// Whether files are known to have entity tags that are versions.
    pub fn has_tags(&self) -> bool {
        self.has_tags.load(Ordering::Relaxed)
    }

    /// There is no such file.
    pub fn absent(&self, what: &str, key: &str) -> StoreError {
        let message = format!("{what} {}: there is no such file", self.root.shown(key));
        StoreError::new(ErrorKind::NotFound, message)
    }

    /// The URL of a key, for what is asked.
    pub fn url_of(&self, what: &str, key: &str) -> Result<Url> {
        self.root.file(key).ok_or_else(|| self.absent(what, key))
    }

    /// What the server tells of a key by itself; none of a folder.
    pub async fn told_of(&self, key: &str) -> Result<Option<Told>> {
        let (url, name) = (self.url_of("HEAD", key)?, format!("HEAD {}", self.root.shown(key)));
        let mut is_refused = self.refuses_heads.load(Ordering::Relaxed);
        if !is_refused {
            let answer = self.web.ask(&name, &url, &Request::new("HEAD")).await?;
            if is_folder(&url, &answer) {
                return Ok(None);
            }
            let size = answer.header("content-length").and_then(|size| size.parse().ok());
            match answer.status() {
                200 if size.is_some() => return Ok(Some(self.noted(Told::by(|name| answer.header(name), size)))),
                // Signatures of URLs are for one method, and that is GET. Others know no HEAD.
                400 | 403 | 405 | 501 => is_refused = true,
                200 => {}
                _ => return Err(failure(&name, &answer)),
            }
        }
        let answer = self.web.ask_for_file(&name, &url, &Request::new("GET").with("range", "bytes=0-0")).await?;
        if is_folder(&url, &answer) {
            return Ok(None);
        }
        match answer.status() {
            200 | 206 | 416 => {}
            _ => return Err(failure(&name, &answer)),
        }
        self.refuses_heads.fetch_or(is_refused, Ordering::Relaxed);
        Ok(Some(self.noted(Told::by(|name| answer.header(name), size_told(&answer)))))
    }

    /// Takes note of what was told of a file.
    pub fn noted(&self, told: Told) -> Told {
        self.has_tags.fetch_or(told.own_tag().is_some(), Ordering::Relaxed);
        told
    }
}

/// Whether an answer was redirected to the same with a slash, which is how servers tell folders. What has a query is made
/// by a program, whose path may be with a slash or without.
pub fn is_folder(asked: &Url, answer: &Answer) -> bool {
    asked.query().is_none() && answer.url.path().strip_suffix('/') == Some(asked.path())
}

/// The size of the whole file that an answer to a GET of a range tells.
pub fn size_told(answer: &Answer) -> Option<u64> {
    match (answer.status(), answer.header("content-range")) {
        (206, Some(range)) => ContentRange::parse(range)?.total,
        (416, Some(range)) => range.strip_prefix("bytes */")?.parse().ok(),
        (200, _) => answer.header("content-length")?.parse().ok(),
        _ => None,
    }
}
