//! What a bucket answers: reachable, credentials, clock, region, listing, ranges, pinned versions, archive tiers.

use std::time::{Duration, Instant, SystemTime};

use futures::stream::TryStreamExt;

use super::{Check, Outcome};
use crate::store::{
    CredentialsInfo, ErrorKind, ListPage, ListRequest, ObjectMeta, Probe, Result, S3Options, S3Store, Source, Store,
    StoreError,
};

/// S3 refuses signatures whose time differs by more (API reference, "Error responses": RequestTimeTooSkewed).
const MAX_SKEW: Duration = Duration::from_secs(15 * 60);

/// A clock that is this wrong is not kept by anything, and will be wrong enough one day.
const ODD_SKEW: Duration = Duration::from_secs(60);

/// The first bytes of an object: one FITS block.
const BLOCK: u64 = 2880;

/// The checks of a bucket. `unsigned` is the same bucket without credentials.
pub(super) async fn checks(source: &Source, options: &S3Options, store: &S3Store, unsigned: &S3Store) -> Vec<Check> {
    let start = Instant::now();
    let probe = match unsigned.probe().await {
        Ok(probe) => probe,
        Err(error) => return vec![unreachable(store, &error)],
    };
    let mut checks = vec![reachable(store, &probe, start.elapsed())];
    let credentials = store.credentials().await;
    checks.push(self::credentials(&credentials, &probe));
    checks.extend(clock(probe.date, SystemTime::now()));
    if credentials.is_err() || probe.status == 404 {
        return checks;
    }
    let request = ListRequest { prefix: source.prefix.clone(), delimited: false, max_keys: 1000, continuation: None };
    let begun_in = store.region();
    let listed = store.list(&request).await;
    // A signed request may be told the region where an unsigned one is not.
    let corrected = Some(store.region()).filter(|region| *region != begun_in);
    let told = probe.bucket_region.or(corrected);
    checks.push(region(options.region.as_deref(), &begun_in, told.as_deref()));
    checks.push(listing(&listed, options));
    let Ok(page) = listed else { return checks };
    checks.extend(archive(&page));
    if let Some(object) = page.objects.iter().find(|object| object.size > 0 && !is_archived(object)) {
        let ranges = ranges(store, object).await;
        let readable = ranges.outcome == Outcome::Ok;
        checks.push(ranges);
        if readable {
            checks.push(pinning(object, &store.enforces_if_match(object).await));
        }
    }
    checks
}

fn unreachable(store: &S3Store, error: &StoreError) -> Check {
    if error.kind == ErrorKind::Certificate {
        let remedy = "name the file of its authority in AWS_CA_BUNDLE, or ca_bundle of the profile; check the clock";
        return Check::fail("endpoint", &error.message, remedy);
    }
    let remedy = "check the network, a proxy or firewall, and --endpoint-url";
    Check::fail("endpoint", format!("{} does not answer: {}", store.endpoint(), error.message), remedy)
}

fn reachable(store: &S3Store, probe: &Probe, elapsed: Duration) -> Check {
    let endpoint = store.endpoint();
    match probe.status {
        404 => {
            Check::fail("endpoint", format!("{endpoint}: no such bucket"), "check the bucket's name and --endpoint-url")
        }
        status => Check::ok("endpoint", format!("{endpoint} answered in {} ms (status {status})", elapsed.as_millis())),
    }
}

fn credentials(found: &Result<Option<CredentialsInfo>>, probe: &Probe) -> Check {
    const NAME: &str = "credentials";
    match found {
        Ok(None) => Check::ok(NAME, "requests are not signed"),
        Ok(Some(info)) if info.expires.is_some_and(|time| time <= SystemTime::now()) => {
            Check::fail(NAME, format!("from {}, expired", info.provider), "log in again")
        }
        Ok(Some(info)) => Check::ok(NAME, format!("from {}, key id ...{}", info.provider, info.key_tail)),
        Err(error) if probe.status == 200 => {
            Check::fail(NAME, &error.message, "the bucket is public: --no-sign-request")
        }
        Err(error) => {
            let remedy = "set AWS_* variables, a profile or a role; --no-sign-request for a public bucket";
            Check::fail(NAME, &error.message, remedy)
        }
    }
}

fn clock(server: Option<SystemTime>, here: SystemTime) -> Option<Check> {
    const NAME: &str = "clock";
    let server = server?;
    let (skew, direction) = match here.duration_since(server) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    let finding = format!("{} s {direction} the server's", skew.as_secs());
    Some(if skew >= MAX_SKEW {
        Check::fail(NAME, finding, "set the clock: signatures that are off by 15 minutes are refused")
    } else if skew >= ODD_SKEW {
        Check::warn(NAME, finding, "keep the clock by NTP")
    } else {
        Check::ok(NAME, "agrees with the server's")
    })
}

fn region(given: Option<&str>, begun_in: &str, told: Option<&str>) -> Check {
    const NAME: &str = "region";
    match (given, told) {
        (Some(given), Some(told)) if given != told => {
            Check::warn(NAME, format!("the bucket is in {told}, not in {given}"), format!("use --region {told}"))
        }
        (None, Some(told)) if told != begun_in => Check::ok(NAME, format!("{told}, found by asking")),
        (_, Some(told)) => Check::ok(NAME, told),
        (_, None) => Check::ok(NAME, format!("{begun_in}; the endpoint does not tell the bucket's")),
    }
}

fn listing(listed: &Result<ListPage>, options: &S3Options) -> Check {
    const NAME: &str = "listing";
    let error = match listed {
        Ok(page) if page.objects.is_empty() => {
            return Check::warn(NAME, "no key begins with the prefix", "check the prefix; case counts");
        }
        Ok(page) => {
            let more = if page.continuation.is_some() { " or more" } else { "" };
            return Check::ok(NAME, format!("{}{more} keys", page.objects.len()));
        }
        Err(error) => error,
    };
    let remedy = match error.kind {
        ErrorKind::AccessDenied if !options.requester_pays => {
            "allow s3:ListBucket; if the bucket is requester-pays: --requester-pays; if it is public: --no-sign-request"
        }
        ErrorKind::AccessDenied => "allow s3:ListBucket to these credentials",
        ErrorKind::Credentials => "log in again",
        ErrorKind::NotFound => "check the bucket's name",
        ErrorKind::BadResponse => "what answers is not S3: check --endpoint-url and proxies",
        _ => "try again; if it persists, check --endpoint-url and the network",
    };
    Check::fail(NAME, &error.message, remedy)
}

fn archive(page: &ListPage) -> Option<Check> {
    let archived: Vec<_> = page.objects.iter().filter(|object| is_archived(object)).collect();
    let class = archived.first()?.storage_class.as_deref().unwrap_or_default();
    let finding = format!("{} of the first {} objects are archived ({class})", archived.len(), page.objects.len());
    Some(Check::warn("archive", finding, "restore them before reading: aws s3api restore-object"))
}

/// Storage classes whose objects must be restored before a GET (API reference, "GetObject").
fn is_archived(object: &ObjectMeta) -> bool {
    matches!(object.storage_class.as_deref(), Some("GLACIER" | "DEEP_ARCHIVE"))
}

async fn ranges(store: &S3Store, object: &ObjectMeta) -> Check {
    const NAME: &str = "ranges";
    let start = Instant::now();
    let range = 0..object.size.min(BLOCK);
    let read = async {
        let chunks: Vec<_> = store.get(object, range.clone()).await?.stream.try_collect().await?;
        Ok::<_, StoreError>(chunks.concat())
    };
    match read.await {
        Ok(bytes) => {
            let what = if bytes.starts_with(b"SIMPLE  =") { "a FITS header" } else { "not a FITS header" };
            let ms = start.elapsed().as_millis();
            Check::ok(NAME, format!("the first {} bytes of {:?} in {ms} ms, {what}", bytes.len(), object.key))
        }
        Err(error) => {
            let remedy = match error.kind {
                ErrorKind::AccessDenied => "allow s3:GetObject to these credentials",
                ErrorKind::BadResponse => "the server or a proxy does not serve byte ranges: ask it directly",
                _ => "try again; if it persists, check the network",
            };
            Check::fail(NAME, error.message, remedy)
        }
    }
}

fn pinning(object: &ObjectMeta, enforced: &Result<bool>) -> Check {
    const NAME: &str = "versions";
    match enforced {
        _ if object.version.etag.is_none() => {
            let remedy = "a replaced object is noticed by size and time only: do not replace objects in use";
            Check::warn(NAME, "listings have no ETags", remedy)
        }
        Ok(true) => Check::ok(NAME, "If-Match is enforced"),
        Ok(false) => {
            let remedy = "nothing to do: the ETag of each answer is compared instead";
            Check::warn(NAME, "the server ignores If-Match", remedy)
        }
        Err(error) => Check::warn(NAME, &error.message, "try again; if it persists, check the network"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks() {
        let here = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let outcome = |server| clock(Some(server), here).map(|check| check.outcome);
        assert_eq!(outcome(here - Duration::from_secs(5)), Some(Outcome::Ok));
        assert_eq!(outcome(here + Duration::from_secs(90)), Some(Outcome::Warn));
        assert_eq!(outcome(here - Duration::from_secs(1000)), Some(Outcome::Fail));
        assert_eq!(clock(None, here), None);
    }

    #[test]
    fn regions() {
        assert_eq!(region(Some("a"), "b", Some("b")).outcome, Outcome::Warn);
        assert_eq!(region(None, "b", Some("b")).finding, "b");
        assert!(region(None, "us-east-1", None).finding.contains("does not tell"));
    }

    #[test]
    fn listings_that_are_refused_name_the_ways_in() {
        let denied = Err(StoreError::new(ErrorKind::AccessDenied, "no"));
        let remedy = listing(&denied, &S3Options::default()).remedy.unwrap();
        assert!(remedy.contains("--requester-pays") && remedy.contains("--no-sign-request"));
        let paying = S3Options { requester_pays: true, ..Default::default() };
        assert!(!listing(&denied, &paying).remedy.unwrap().contains("--requester-pays"));
    }

    #[test]
    fn missing_credentials_of_a_public_bucket_have_a_simple_remedy() {
        let none = Err(StoreError::new(ErrorKind::Credentials, "none found"));
        let public = credentials(&none, &Probe { status: 200, ..Default::default() });
        assert_eq!(public.remedy.as_deref(), Some("the bucket is public: --no-sign-request"));
    }
}
