//! Archived objects of S3: what headers tell of them (pure), and the request that restores them.
//!
//! Classes with an archive are told by listings. The archive tiers of Intelligent-Tiering are told by HEAD alone, in
//! `x-amz-archive-status`: objects move there by themselves, without another class.

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::types::{GlacierJobParameters, RestoreRequest, Tier};
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;

use super::page::is_archive_class;
use super::{S3Options, S3Store};
use crate::store::archive::{ArchiveState, RestoreOrder, RestoreTier, Restorer};
use crate::store::web::encoding::whole_seconds;
use crate::store::{ErrorKind, ObjectMeta, Result, Store, StoreError};

/// The class that archives by use: its objects come back into it, and stay.
const INTELLIGENT_TIERING: &str = "INTELLIGENT_TIERING";

/// For how many days a restored copy is kept where nothing is said: as long as the week in which it is worked with.
const DEFAULT_DAYS: u16 = 7;

/// What `x-amz-restore` tells (API reference, "HeadObject").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Restoration {
    ongoing: bool,
    until: Option<DateTime>,
}

impl Restoration {
    /// `ongoing-request="false", expiry-date="Fri, 21 Dec 2012 00:00:00 GMT"`; none if it does not say whether the
    /// request is ongoing. What else it holds is passed over.
    fn parse(text: &str) -> Option<Self> {
        let (mut ongoing, mut until, mut rest) = (None, None, text);
        while let Some((name, after)) = rest.split_once('=') {
            // Values are quoted, as dates have commas.
            let (value, after) = after.trim_start().strip_prefix('"')?.split_once('"')?;
            match name.trim_matches(|c: char| c == ',' || c.is_ascii_whitespace()) {
                "ongoing-request" => ongoing = Some(value.parse().ok()?),
                "expiry-date" => until = DateTime::from_str(value, Format::HttpDate).ok(),
                _ => {}
            }
            rest = after;
        }
        ongoing.map(|ongoing| Self { ongoing, until })
    }
}

/// The state that the headers of a HEAD tell; none for an object that is in no archive.
pub(super) fn state(class: &str, archive_status: Option<&str>, restore: Option<&str>) -> Option<ArchiveState> {
    let in_archive = is_archive_class(class) || archive_status.is_some();
    match restore.and_then(Restoration::parse) {
        Some(Restoration { ongoing: true, .. }) => Some(ArchiveState::Restoring),
        Some(Restoration { until, .. }) if in_archive => Some(ArchiveState::Restored(until.map(whole_seconds))),
        _ => in_archive.then_some(ArchiveState::Archived),
    }
}

/// Restores the objects of a bucket.
pub(super) struct S3Restorer(S3Store);

impl S3Restorer {
    pub(super) async fn open(bucket: &str, options: &S3Options) -> Result<Self> {
        if options.no_sign_request {
            return Err(StoreError::invalid(
                "restoring is paid for, so it is never anonymous: leave out --no-sign-request, and use credentials that \
                 may (s3:RestoreObject)",
            ));
        }
        Ok(Self(S3Store::open(bucket, options).await?))
    }
}

#[async_trait]
impl Restorer for S3Restorer {
    /// API reference, "RestoreObject".
    async fn restore(&self, object: &ObjectMeta, order: RestoreOrder) -> Result<()> {
        let store = &self.0;
        let name = format!("RESTORE {}", store.url(&object.key));
        let request = request(object, order)?;
        let send = |client: Client| {
            let restore = client.restore_object().bucket(&store.bucket).key(&object.key);
            let restore = restore.set_version_id(object.version.id.as_deref().map(str::to_owned));
            restore.restore_request(request.clone()).set_request_payer(store.payer.clone()).send()
        };
        let answered = store.call_with_code(&name, send).await;
        let (error, code) = match answered {
            Ok(_) => return Ok(()),
            Err(failed) => failed,
        };
        match code.as_deref() {
            // What was asked for is under way, or not needed.
            Some("RestoreAlreadyInProgress" | "ObjectAlreadyInActiveTierError") => Ok(()),
            _ if error.kind == ErrorKind::AccessDenied => {
                let message = format!("{error}; allow s3:RestoreObject to these credentials");
                Err(StoreError { message, ..error })
            }
            _ => Err(error),
        }
    }
}

fn request(object: &ObjectMeta, order: RestoreOrder) -> Result<RestoreRequest> {
    let class = object.storage_class.as_ref().map_or("", |class| &class.name);
    // Objects of this class move back for good: the service refuses a number of days.
    let days = match (class, order.days) {
        (INTELLIGENT_TIERING, Some(_)) => {
            return Err(StoreError::invalid(
                "objects of the class INTELLIGENT_TIERING are restored for good: leave out --days",
            ));
        }
        (INTELLIGENT_TIERING, None) => None,
        (_, days) => Some(days.unwrap_or(DEFAULT_DAYS)),
    };
    let tier = match order.tier {
        RestoreTier::Standard => Tier::Standard,
        RestoreTier::Bulk => Tier::Bulk,
        RestoreTier::Expedited => Tier::Expedited,
    };
    let parameters = GlacierJobParameters::builder().tier(tier).build();
    let parameters = parameters.map_err(|_| StoreError::invalid("the request to restore cannot be built"))?;
    Ok(RestoreRequest::builder().set_days(days.map(i32::from)).glacier_job_parameters(parameters).build())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DATE: &str = "Fri, 21 Dec 2012 00:00:00 GMT";

    #[test]
    fn headers_tell_how_far_an_object_is_from_being_read() {
        let until = DateTime::from_str(DATE, Format::HttpDate).ok().map(whole_seconds);
        let done = format!("ongoing-request=\"false\", expiry-date=\"{DATE}\"");
        let turned = format!("expiry-date=\"{DATE}\",ongoing-request=\"false\"");
        use ArchiveState::*;
        for (class, status, restore, expected) in [
            ("", None, None, None),
            ("STANDARD_IA", None, None, None),
            ("GLACIER_IR", None, None, None),
            ("GLACIER", None, None, Some(Archived)),
            ("DEEP_ARCHIVE", None, Some("ongoing-request=\"true\""), Some(Restoring)),
            ("GLACIER", None, Some(&*done), Some(Restored(until))),
            ("GLACIER", None, Some(&*turned), Some(Restored(until))),
            ("GLACIER", None, Some("ongoing-request=\"false\""), Some(Restored(None))),
            ("GLACIER", None, Some("ongoing-request=\"false\", expiry-date=\"soon\""), Some(Restored(None))),
            ("INTELLIGENT_TIERING", None, None, None),
            ("INTELLIGENT_TIERING", Some("ARCHIVE_ACCESS"), None, Some(Archived)),
            ("INTELLIGENT_TIERING", Some("DEEP_ARCHIVE_ACCESS"), Some("ongoing-request=\"true\""), Some(Restoring)),
            // It has come back: no archive has it any more.
            ("INTELLIGENT_TIERING", None, Some("ongoing-request=\"false\""), None),
            // What makes no sense proves nothing.
            ("GLACIER", None, Some("ongoing-request=false"), Some(Archived)),
            ("GLACIER", None, Some("ongoing-request=\"maybe\""), Some(Archived)),
            ("GLACIER", None, Some("expiry-date=\"x\""), Some(Archived)),
            ("GLACIER", None, Some("ongoing-request=\"false"), Some(Archived)),
            ("", None, Some("ongoing-request=\"false\""), None),
        ] {
            assert_eq!(state(class, status, restore), expected, "{class} {status:?} {restore:?}");
        }
    }

    #[test]
    fn only_copies_that_expire_have_days() {
        let object = |class: &str| ObjectMeta {
            key: "k".into(),
            size: 1,
            last_modified: std::time::UNIX_EPOCH,
            version: Default::default(),
            storage_class: Some((class, true).into()),
        };
        let days = |class, days| {
            request(&object(class), RestoreOrder { days, tier: RestoreTier::Bulk }).map(|request| request.days)
        };
        assert_eq!(days("GLACIER", None).unwrap(), Some(7));
        assert_eq!(days("DEEP_ARCHIVE", Some(30)).unwrap(), Some(30));
        assert_eq!(days(INTELLIGENT_TIERING, None).unwrap(), None);
        assert!(days(INTELLIGENT_TIERING, Some(1)).unwrap_err().message.contains("--days"));
    }

    proptest! {
        #[test]
        fn any_header_is_read_to_an_end(text in "[a-z=\", -]{0,80}|\\PC{0,40}") {
            let _ = Restoration::parse(&text);
        }
    }
}
