//! What the environment says of Google Cloud Storage, in the words of its SDKs and of gcloud. Pure.
//!
//! Precedence, highest first:
//! - endpoint: `--endpoint-url`, `STORAGE_EMULATOR_HOST`, Google itself
//! - credentials: `--no-sign-request` (none), an emulator (none), the file of `GOOGLE_APPLICATION_CREDENTIALS`, the file
//!   of `gcloud auth application-default login`, the metadata service of the machine

use std::path::PathBuf;

use crate::store::Result;
use crate::store::rest::endpoint::Endpoint;
use crate::store::scheme::Env;

const GOOGLE: &str = "https://storage.googleapis.com";

/// How to reach Google Cloud Storage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GcsOptions {
    /// Another endpoint than Google's: an `http` or `https` URL without credentials.
    pub endpoint: Option<String>,
    /// Send requests without credentials, for public buckets and emulators.
    pub anonymous: bool,
    /// Agree to pay for requests to a requester-pays bucket.
    pub requester_pays: bool,
    /// The project that pays.
    pub(super) project: Option<String>,
    /// A file of credentials that was named.
    pub(super) credentials_file: Option<PathBuf>,
    /// The one that gcloud writes, if it is there.
    pub(super) gcloud_file: Option<PathBuf>,
    /// Another host for the metadata service.
    pub(super) metadata_host: Option<String>,
}

impl GcsOptions {
    /// Fills what the options leave open from the environment, and checks it.
    pub(super) fn resolve(self, env: Env<'_>) -> Result<Self> {
        let get = |name: &str| env(name).filter(|value| !value.is_empty());
        // It is a host and port with most SDKs, a URL with some.
        let emulator = get("STORAGE_EMULATOR_HOST")
            .filter(|_| self.endpoint.is_none())
            .map(|host| if host.contains("://") { host } else { format!("http://{host}") });
        let of_home = || get("HOME").map(|home| PathBuf::from(home).join(".config/gcloud"));
        let gcloud = get("CLOUDSDK_CONFIG").map(PathBuf::from).or_else(of_home);
        let resolved = Self {
            anonymous: self.anonymous || emulator.is_some(),
            endpoint: self.endpoint.or(emulator),
            requester_pays: self.requester_pays,
            project: get("GOOGLE_CLOUD_QUOTA_PROJECT").or_else(|| get("GOOGLE_CLOUD_PROJECT")),
            credentials_file: get("GOOGLE_APPLICATION_CREDENTIALS").map(PathBuf::from),
            gcloud_file: gcloud.map(|folder| folder.join("application_default_credentials.json")),
            metadata_host: get("GCE_METADATA_HOST"),
        };
        resolved.endpoint()?;
        Ok(resolved)
    }

    pub(super) fn endpoint(&self) -> Result<Endpoint> {
        Endpoint::parse("the endpoint URL", self.endpoint.as_deref().unwrap_or(GOOGLE))
    }

    /// The project that pays for requests.
    pub(super) fn payer(&self) -> Option<String> {
        self.project.clone().filter(|_| self.requester_pays)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(given: GcsOptions, set: &[(&str, &str)]) -> Result<GcsOptions> {
        given.resolve(&|name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn an_emulator_is_a_host_or_a_url_and_wants_no_credentials() {
        for (host, url) in [("localhost:9023", "http://localhost:9023"), ("http://h:1/", "http://h:1")] {
            let options = resolved(GcsOptions::default(), &[("STORAGE_EMULATOR_HOST", host)]).unwrap();
            assert_eq!((options.endpoint().unwrap().as_str(), options.anonymous), (url, true));
        }
        let given = GcsOptions { endpoint: Some("https://mine".to_owned()), ..GcsOptions::default() };
        let options = resolved(given, &[("STORAGE_EMULATOR_HOST", "localhost:1")]).unwrap();
        assert_eq!((options.endpoint().unwrap().as_str(), options.anonymous), ("https://mine", false));
        assert_eq!(GcsOptions::default().endpoint().unwrap().as_str(), GOOGLE);
    }

    #[test]
    fn what_cannot_work_is_told_without_secrets() {
        let message =
            resolved(GcsOptions::default(), &[("STORAGE_EMULATOR_HOST", "me:hunter2@h")]).unwrap_err().message;
        assert!(!message.contains("hunter2"), "{message}");
    }

    #[test]
    fn nobody_pays_unasked() {
        let set = [("GOOGLE_CLOUD_PROJECT", "mine")];
        assert_eq!(resolved(GcsOptions::default(), &set).unwrap().payer(), None);
        let pays = GcsOptions { requester_pays: true, ..GcsOptions::default() };
        assert_eq!(resolved(pays, &set).unwrap().payer().as_deref(), Some("mine"));
    }
}
