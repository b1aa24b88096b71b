//! Blobs in the tier Archive: what headers tell of them (pure), and the request that moves them to a tier where they can
//! be read.
//!
//! There is no copy that expires, as S3 has: a blob that was rehydrated is in the tier Hot until it is archived again.

use async_trait::async_trait;

use super::page::ARCHIVE_TIER;
use super::{AzureOptions, AzureStore, Call, Credentials};
use crate::store::archive::{ArchiveState, RestoreOrder, RestoreTier, Restorer};
use crate::store::{ErrorKind, ObjectMeta, Result, Store, StoreError};

/// The tier that blobs come back to: one in which reading costs no more than elsewhere, and nothing is charged for being
/// moved again.
const TARGET_TIER: &str = "Hot";

/// The state that `x-ms-access-tier` and `x-ms-archive-status` tell; none for a blob that can be read.
pub(super) fn state(tier: &str, archive_status: Option<&str>) -> Option<ArchiveState> {
    match archive_status {
        _ if tier != ARCHIVE_TIER => None,
        // The status is there only while the blob is on its way, and names the tier that it comes to.
        Some(_) => Some(ArchiveState::Restoring),
        None => Some(ArchiveState::Archived),
    }
}

/// Rehydrates the blobs of a container.
pub(super) struct AzureRestorer(AzureStore);

impl AzureRestorer {
    pub(super) fn open(root: &str, options: &AzureOptions) -> Result<Self> {
        let store = AzureStore::open(root, options)?;
        match store.credentials {
            Credentials::Anonymous => Err(StoreError::invalid(
                "rehydrating is paid for, so it is never anonymous: leave out --no-sign-request, and use credentials \
                 that may write blobs",
            )),
            _ => Ok(Self(store)),
        }
    }
}

#[async_trait]
impl Restorer for AzureRestorer {
    /// REST reference, "Set Blob Tier".
    async fn restore(&self, object: &ObjectMeta, order: RestoreOrder) -> Result<()> {
        if order.days.is_some() {
            return Err(StoreError::invalid("blobs are rehydrated until they are archived again: leave out --days"));
        }
        let priority = match order.tier {
            RestoreTier::Standard | RestoreTier::Bulk => "Standard",
            RestoreTier::Expedited => "High",
        };
        let headers =
            vec![("x-ms-access-tier", TARGET_TIER.to_owned()), ("x-ms-rehydrate-priority", priority.to_owned())];
        let parameters = vec![("comp", "tier".to_owned())];
        let call = Call { method: "PUT", key: Some(&object.key), parameters, headers };
        match self.0.call(&format!("RESTORE {}", self.0.url(&object.key)), &call).await {
            // It is being rehydrated already.
            Err(error) if error.kind == ErrorKind::Archived => Ok(()),
            Err(error) if error.kind == ErrorKind::AccessDenied => {
                let message = format!("{error}; rehydrating needs a role such as Storage Blob Data Contributor");
                Err(StoreError { message, ..error })
            }
            answer => answer.map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_tell_how_far_a_blob_is_from_being_read() {
        use ArchiveState::*;
        for (tier, status, expected) in [
            ("Hot", None, None),
            ("", None, None),
            ("Archive", None, Some(Archived)),
            ("Archive", Some("rehydrate-pending-to-hot"), Some(Restoring)),
            ("Archive", Some("rehydrate-pending-to-cool"), Some(Restoring)),
        ] {
            assert_eq!(state(tier, status), expected, "{tier} {status:?}");
        }
    }
}
