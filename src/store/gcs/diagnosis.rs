//! Why a bucket cannot be mounted: the endpoint, the credentials, the clock, and what to do about each.

use std::time::{Instant, SystemTime};

use async_trait::async_trait;

use super::{GcsOptions, GcsStore};
use crate::store::rest::client::Request;
use crate::store::rest::path;
use crate::store::s3::diagnosis::clock;
use crate::store::{
    Check, Diagnosis, ErrorKind, ObjectMeta, Outcome, Question, Reached, Result, Store, StoreError, Version,
};

/// A bucket that is asked why it cannot be mounted.
pub(super) struct GcsDiagnosis {
    store: GcsStore,
}

/// What anybody is answered.
pub(super) struct Probe {
    status: u16,
    date: Option<SystemTime>,
}

impl GcsDiagnosis {
    pub(super) fn open(bucket: &str, options: &GcsOptions) -> Result<Self> {
        Ok(Self { store: GcsStore::open(bucket, options)? })
    }
}

impl GcsStore {
    /// JSON reference, "Buckets: get", without credentials. Any answer is a success.
    pub(super) async fn probe(&self) -> Result<Probe> {
        let bucket = path::encode(&self.bucket);
        let request = Request::get(format!("{}/storage/v1/b/{bucket}?fields=name", self.endpoint.as_str()));
        let mut answer = self.client.send(&format!("GET {}", self.url("")), &request).await?;
        let probe = Probe { status: answer.status(), date: answer.time("date") };
        // The connection is only used again when the answer has been read.
        let _ = answer.document().await;
        Ok(probe)
    }

    /// Whether a GET names a generation that is not there in vain, as it must.
    async fn refuses_others(&self, object: &ObjectMeta) -> Result<bool> {
        let name = format!("GET {} generation", self.url(&object.key));
        let other = Version { etag: None, id: Some("1".into()) };
        match self.get_range(&name, &object.key, &(0..1), &other).await {
            Ok(_) => Ok(false),
            Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::VersionChanged) => Ok(true),
            Err(error) => Err(error),
        }
    }

    async fn credentials_check(&self) -> Check {
        const NAME: &str = "credentials";
        match self.credentials.grant(&self.client).await {
            Ok(Some(token)) => Check::ok(NAME, format!("token from {}", token.provider)),
            Ok(None) => Check::ok(NAME, "requests are not signed"),
            Err(error) => {
                let remedy = "gcloud auth application-default login, or GOOGLE_APPLICATION_CREDENTIALS; \
                              --no-sign-request if the bucket is public";
                Check::fail(NAME, error.message, remedy)
            }
        }
    }
}

#[async_trait]
impl Diagnosis for GcsDiagnosis {
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
        let reached = match probe.status {
            404 => Check::fail("endpoint", format!("{endpoint}: no such bucket"), "check the name of the bucket"),
            status => Check::ok("endpoint", format!("{endpoint} answered in {ms} ms (status {status})")),
        };
        let mut checks = vec![reached, self.store.credentials_check().await];
        let answers = checks.iter().all(|check| check.outcome != Outcome::Fail);
        checks.extend(clock(probe.date, SystemTime::now()));
        Reached { checks, answers }
    }

    fn learnt(&self) -> Vec<Check> {
        Vec::new()
    }

    async fn versions(&self, object: &ObjectMeta) -> Check {
        const NAME: &str = "versions";
        match self.store.refuses_others(object).await {
            _ if object.version == Version::default() => {
                let remedy = "a replaced object is noticed by size and time only: do not replace objects in use";
                Check::warn(NAME, "listings have no generations", remedy)
            }
            Ok(true) => Check::ok(NAME, "the generation that is asked for is the one that is sent"),
            Ok(false) => {
                let remedy = "nothing to do: the generation is compared after each answer instead";
                Check::warn(NAME, "the server ignores the generation", remedy)
            }
            Err(error) => Check::warn(NAME, error.message, "try again; if it persists, check the network"),
        }
    }

    fn remedy(&self, question: Question, error: &StoreError) -> &'static str {
        match error.kind {
            ErrorKind::AccessDenied | ErrorKind::Credentials if self.store.credentials.is_anonymous() => {
                "if the bucket is private, leave --no-sign-request out"
            }
            ErrorKind::Credentials => "log in again: gcloud auth application-default login; or make another key",
            ErrorKind::AccessDenied => "give the account the role Storage Object Viewer (roles/storage.objectViewer)",
            ErrorKind::NotFound => "check the name of the bucket",
            ErrorKind::BadResponse => match question {
                Question::Listing => "what answers is not Cloud Storage: check --endpoint-url and proxies",
                Question::Range => "the server or a proxy does not serve byte ranges: ask it directly",
            },
            _ => "try again; if it persists, check --endpoint-url and the network",
        }
    }
}

fn unreachable(error: &StoreError) -> Check {
    let remedy = match error.kind {
        ErrorKind::Certificate => "name the file of its authority in SSL_CERT_FILE; check the clock",
        _ => "check the network, a proxy or firewall, and --endpoint-url or STORAGE_EMULATOR_HOST",
    };
    Check::fail("endpoint", &error.message, remedy)
}
