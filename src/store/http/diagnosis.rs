//! Why a web server cannot be mounted, or what a mount of it costs.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::HttpStore;
use super::client::Request;
use super::version::explained;
use crate::store::{Check, Diagnosis, ErrorKind, ObjectMeta, Question, Reached, Store, StoreError};

/// A server that is asked why it cannot be mounted.
pub struct HttpDiagnosis {
    store: HttpStore,
}

impl HttpDiagnosis {
    /// Asks this store.
    pub fn new(store: HttpStore) -> Self {
        Self { store }
    }
}

#[async_trait]
impl Diagnosis for HttpDiagnosis {
    fn store(&self) -> &dyn Store {
        &self.store
    }

    async fn reach(&mut self) -> Reached {
        let origin = &self.store.files.root.origin;
        let start = Instant::now();
        let asked = self.store.files.web.ask(&format!("HEAD {origin}"), origin, &Request::new("HEAD")).await;
        let endpoint = match asked {
            Ok(answer) => reachable(origin.as_str(), answer.status(), start.elapsed()),
            // What the front page of a host is, or where it leads, is nothing to a folder of it.
            Err(error) if error.kind == ErrorKind::Invalid => Check::ok("endpoint", format!("{origin} answers")),
            Err(error) => {
                let failed = Check::fail("endpoint", &error.message, remedy_of_endpoint(&error));
                return Reached { checks: vec![failed], answers: false };
            }
        };
        let credentials = match self.store.files.web.token() {
            Some(variable) => format!("the token of {variable} is sent to this host, and to no other"),
            None => "requests carry none".to_owned(),
        };
        Reached { checks: vec![endpoint, Check::ok("credentials", credentials)], answers: true }
    }

    fn learnt(&self) -> Vec<Check> {
        const NAME: &str = "index";
        let listings = &self.store.listings;
        match listings.index() {
            None => Vec::new(),
            Some(index) if listings.are_wrong() => {
                let finding = format!("{}, which files do not have", index.summary());
                vec![Check::warn(NAME, finding, "nothing to do: each file listed costs a HEAD")]
            }
            Some(index) => vec![Check::ok(NAME, index.summary())],
        }
    }

    async fn versions(&self, object: &ObjectMeta) -> Check {
        const NAME: &str = "versions";
        // The first bytes of a file that are all of it prove nothing.
        let middle = object.size / 2..object.size / 2 + 1;
        let probed = self.store.get(object, middle).await;
        let (version, lack) = explained(object);
        match (probed, self.store.ignores_ranges.load(Ordering::Relaxed)) {
            (Err(error), _) => Check::warn(NAME, &error.message, "try again; if it persists, check the network"),
            (Ok(_), true) => {
                let finding = format!("the version is {version}; the server ignores ranges");
                Check::warn(NAME, finding, "each file that is read is fetched whole, into the folder that TMPDIR names")
            }
            (Ok(_), false) => match lack {
                Some(lack) => Check::warn(NAME, format!("the version is {version}; ranges work"), lack),
                None => Check::ok(NAME, format!("the version is {version}; ranges work")),
            },
        }
    }

    fn remedy(&self, question: Question, error: &StoreError) -> &'static str {
        match (question, error.kind) {
            (_, ErrorKind::AccessDenied | ErrorKind::Credentials) => {
                "the server wants a token: FITSFS_HTTP_TOKEN with FITSFS_HTTP_TOKEN_HOST, or MAST_API_TOKEN"
            }
            (_, ErrorKind::Certificate) => {
                "set CURL_CA_BUNDLE to the certificate of the authority, and check the clock"
            }
            (Question::Listing, ErrorKind::NotFound) => "check the path of the URL; case counts",
            (Question::Listing, ErrorKind::Invalid) => {
                "the folder has no index: name a folder that has one, or a file by its URL"
            }
            (Question::Range, ErrorKind::BadResponse) => {
                "the server or a proxy answers ranges wrongly: ask it directly"
            }
            _ => "try again; if it persists, check the network",
        }
    }
}

fn reachable(origin: &str, status: u16, elapsed: Duration) -> Check {
    Check::ok("endpoint", format!("{origin} answered in {} ms (status {status})", elapsed.as_millis()))
}

fn remedy_of_endpoint(error: &StoreError) -> &'static str {
    match error.kind {
        ErrorKind::Certificate => "set CURL_CA_BUNDLE to the certificate of the authority, and check the clock",
        _ => "check the name of the host, the network, a proxy or firewall",
    }
}

/// What to do about options with which no server can be asked.
pub fn remedy_of_options(error: &StoreError) -> &'static str {
    match error.kind {
        ErrorKind::Credentials => "correct the token in the environment",
        _ => "correct the URL, FITSFS_HTTP_TOKEN_HOST or CURL_CA_BUNDLE",
    }
}

/// What to do about an error that prevents a mount.
pub fn remedy_of_mount(error: &StoreError) -> &'static str {
    match error.kind {
        ErrorKind::NotFound => "; check the path of the URL",
        ErrorKind::AccessDenied | ErrorKind::Credentials => {
            "; the server wants a token: FITSFS_HTTP_TOKEN with FITSFS_HTTP_TOKEN_HOST, or MAST_API_TOKEN"
        }
        ErrorKind::Timeout | ErrorKind::Network => "; check the name of the host, the network, a proxy or firewall",
        _ => "",
    }
}
