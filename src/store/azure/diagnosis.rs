//! Why a container cannot be mounted: the endpoint, the credentials, the clock, and what to do about each.

use std::time::{Instant, SystemTime};

use async_trait::async_trait;

use super::credentials::Credentials;
use super::failure::date;
use super::{API_VERSION, AzureOptions, AzureStore, Call};
use crate::store::rest::client::Request;
use crate::store::s3::diagnosis::clock;
use crate::store::{Check, Diagnosis, ErrorKind, ObjectMeta, Question, Reached, Result, Store, StoreError, Version};

/// A container that is asked why it cannot be mounted.
pub(super) struct AzureDiagnosis {
    store: AzureStore,
}

/// What anybody is answered.
pub(super) struct Probe {
    status: u16,
    date: Option<SystemTime>,
}

impl AzureDiagnosis {
    pub(super) fn open(root: &str, options: &AzureOptions) -> Result<Self> {
        Ok(Self { store: AzureStore::open(root, options)? })
    }
}

impl AzureStore {
    /// REST reference, "Get Container Properties", without credentials. Any answer is a success.
    pub(super) async fn probe(&self) -> Result<Probe> {
        let url = format!("{}/{}?restype=container", self.endpoint.as_str(), self.container);
        let request = Request::new("HEAD", url).with("x-ms-version", API_VERSION);
        let answer = self.client.send(&format!("HEAD {}", self.url("")), &request).await?;
        Ok(Probe { status: answer.status(), date: answer.time("date") })
    }

    /// Whether a GET for another entity tag than the blob's is refused, as it must be.
    async fn enforces_if_match(&self, object: &ObjectMeta) -> Result<bool> {
        let name = format!("GET {} If-Match", self.url(&object.key));
        let headers = vec![("range", "bytes=0-0".to_owned()), ("if-match", "\"no-such-version\"".to_owned())];
        let call = Call { method: "GET", key: Some(&object.key), parameters: Vec::new(), headers };
        match self.call(&name, &call).await {
            Ok(_) => Ok(false),
            Err(error) if error.kind == ErrorKind::VersionChanged => Ok(true),
            Err(error) => Err(error),
        }
    }

    async fn credentials_check(&self) -> Check {
        const NAME: &str = "credentials";
        match (self.credentials.expiry(), self.credentials.grant(&self.client).await) {
            (Some(end), _) if end <= SystemTime::now() => {
                let finding = format!("the shared access signature expired at {}", date(end));
                Check::fail(NAME, finding, "make another, and set AZURE_STORAGE_SAS_TOKEN")
            }
            (_, Ok(Some(token))) => Check::ok(NAME, format!("token from {}", token.provider)),
            (_, Ok(None)) => Check::ok(NAME, self.credentials.kind()),
            (_, Err(error)) => {
                let remedy =
                    "az login, AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN; --no-sign-request if it is public";
                Check::fail(NAME, error.message, remedy)
            }
        }
    }
}

#[async_trait]
impl Diagnosis for AzureDiagnosis {
    fn store(&self) -> &dyn Store {
        &self.store
    }

    async fn reach(&mut self) -> Reached {
        let start = Instant::now();
        let probe = match self.store.probe().await {
            Ok(probe) => probe,
            Err(error) => return Reached { checks: vec![unreachable(&error)], answers: false },
        };
        let (endpoint, ms) = (self.store.endpoint.identity(), start.elapsed().as_millis());
        let finding = format!("{endpoint} answered in {ms} ms (status {})", probe.status);
        let credentials = self.store.credentials_check().await;
        let answers = credentials.outcome != crate::store::Outcome::Fail;
        let mut checks = vec![Check::ok("endpoint", finding), credentials];
        checks.extend(clock(probe.date, SystemTime::now()));
        Reached { checks, answers }
    }

    fn learnt(&self) -> Vec<Check> {
        Vec::new()
    }

    async fn versions(&self, object: &ObjectMeta) -> Check {
        const NAME: &str = "versions";
        match self.store.enforces_if_match(object).await {
            _ if object.version == Version::default() => {
                let remedy = "a replaced object is noticed by size and time only: do not replace objects in use";
                Check::warn(NAME, "listings have no ETags", remedy)
            }
            Ok(true) => Check::ok(NAME, "If-Match is enforced"),
            Ok(false) => {
                let remedy = "nothing to do: the ETag of each answer is compared instead";
                Check::warn(NAME, "the server ignores If-Match", remedy)
            }
            Err(error) => Check::warn(NAME, error.message, "try again; if it persists, check the network"),
        }
    }

    fn remedy(&self, question: Question, error: &StoreError) -> &'static str {
        match (error.kind, &self.store.credentials) {
            (ErrorKind::NotFound | ErrorKind::AccessDenied | ErrorKind::Credentials, Credentials::Anonymous) => {
                "check the names; if the container is private, leave --no-sign-request out"
            }
            (ErrorKind::Credentials, Credentials::Key { .. }) => {
                "look at AZURE_STORAGE_KEY or the connection string, the clock, and the account's firewall"
            }
            (ErrorKind::Credentials, Credentials::Sas(_)) => "make another signature, and set AZURE_STORAGE_SAS_TOKEN",
            (ErrorKind::Credentials, Credentials::Identity { .. }) => "log in again: az login",
            (ErrorKind::AccessDenied, Credentials::Sas(_)) => {
                "the signature must be valid here and now, and allow to read and list (sp=rl)"
            }
            (ErrorKind::AccessDenied, _) => {
                "assign the role Storage Blob Data Reader, and look at the account's firewall"
            }
            (ErrorKind::NotFound, _) => "check the name of the container, and the account",
            (ErrorKind::BadResponse, _) => match question {
                Question::Listing => "what answers is not Azure: check --endpoint-url and proxies",
                Question::Range => "the server or a proxy does not serve byte ranges: ask it directly",
            },
            _ => "try again; if it persists, check --endpoint-url and the network",
        }
    }
}

fn unreachable(error: &StoreError) -> Check {
    let remedy = match error.kind {
        ErrorKind::Certificate => "name the file of its authority in SSL_CERT_FILE; check the clock",
        _ => "check the name of the account, the network, a proxy or firewall, and --endpoint-url",
    };
    Check::fail("endpoint", &error.message, remedy)
}
