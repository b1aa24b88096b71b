//! How to reach the stores.

use super::{AzureOptions, GcsOptions, S3Options};

/// How to reach the stores: the options of each, of which a source needs those of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreOptions {
    /// Those of S3.
    pub s3: S3Options,
    /// Those of Azure.
    pub azure: AzureOptions,
    /// Those of Google Cloud Storage.
    pub gcs: GcsOptions,
}

impl From<S3Options> for StoreOptions {
    fn from(s3: S3Options) -> Self {
        Self { s3, ..Self::default() }
    }
}
