//! How to reach the stores, and under which names the environment has what the options leave open.

use super::{AzureOptions, GcsOptions, HttpOptions, S3Options};

/// How to reach the stores: the options of each, of which a source needs those of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreOptions {
    /// Those of S3.
    pub s3: S3Options,
    /// Those of Azure.
    pub azure: AzureOptions,
    /// Those of Google Cloud Storage.
    pub gcs: GcsOptions,
    /// Those of web servers.
    pub http: HttpOptions,
    /// What the names of variables begin with. Sources of one mount may have credentials of their own.
    pub env_prefix: Option<String>,
}

/// Variables that say whom this machine trusts: they are those of all sources.
const OF_MACHINE: [&str; 3] = ["AWS_CA_BUNDLE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"];

impl StoreOptions {
    /// The name of a variable in the environment: with the prefix, if there is one and the variable is a source's own.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        self.env_prefix.as_ref().filter(|_| !OF_MACHINE.contains(&name)).map(|prefix| format!("{prefix}{name}"))
    }
}

impl From<S3Options> for StoreOptions {
    fn from(s3: S3Options) -> Self {
        Self { s3, ..Self::default() }
    }
}
