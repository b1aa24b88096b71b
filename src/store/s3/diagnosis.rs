//! Why a bucket cannot be mounted: the endpoint, the credentials, the clock, the region, and what to do about each.

use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;

use super::{CredentialsInfo, Probe, S3Options, S3Store};
use crate::store::{Check, Diagnosis, ErrorKind, ObjectMeta, Question, Reached, Result, Store, StoreError};

/// S3 refuses signatures whose time differs by more (API reference, "Error responses": RequestTimeTooSkewed).
const MAX_SKEW: Duration = Duration::from_secs(15 * 60);

/// A clock that is this wrong is not kept by anything, and will be wrong enough one day.
const ODD_SKEW: Duration = Duration::from_secs(60);

/// A bucket that is asked why it cannot be mounted.
pub(super) struct S3Diagnosis {
    options: S3Options,
    store: S3Store,
    /// The same bucket without credentials: any bucket answers that somehow.
    unsigned: S3Store,
    /// The region that requests went to at first.
    begun_in: String,
    /// The region that an answer to an unsigned request has told.
    told: Option<String>,
}

impl S3Diagnosis {
    pub(super) async fn open(bucket: &str, options: &S3Options) -> Result<Self> {
        let without = S3Options { no_sign_request: true, ..options.clone() };
        let (store, unsigned) = (S3Store::open(bucket, options).await?, S3Store::open(bucket, &without).await?);
        Ok(Self { options: options.clone(), begun_in: store.region(), store, unsigned, told: None })
    }
}

#[async_trait]
impl Diagnosis for S3Diagnosis {
    fn store(&self) -> &dyn Store {
        &self.store
    }

    async fn reach(&mut self) -> Reached {
        let start = Instant::now();
        let probe = match self.unsigned.probe().await {
            Ok(probe) => probe,
            Err(error) => return Reached { checks: vec![unreachable(&self.store, &error)], answers: false },
        };
        let found = self.store.credentials().await;
        let mut checks = vec![reachable(&self.store, &probe, start.elapsed()), credentials(&found, &probe)];
        checks.extend(clock(probe.date, SystemTime::now()));
        self.told = probe.bucket_region;
        Reached { checks, answers: found.is_ok() && probe.status != 404 }
    }

    /// A signed request may be told the region where an unsigned one is not.
    fn learnt(&self) -> Vec<Check> {
        let corrected = Some(self.store.region()).filter(|region| *region != self.begun_in);
        let told = self.told.clone().or(corrected);
        vec![region(self.options.region.as_deref(), &self.begun_in, told.as_deref())]
    }

    async fn versions(&self, object: &ObjectMeta) -> Check {
        pinning(object, &self.store.enforces_if_match(object).await)
    }

    fn remedy(&self, question: Question, error: &StoreError) -> &'static str {
        match question {
            Question::Listing => remedy_of_listing(error.kind, self.options.requester_pays),
            Question::Range => remedy_of_range(error.kind),
        }
    }
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

pub(in crate::store) fn clock(server: Option<SystemTime>, here: SystemTime) -> Option<Check> {
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

fn remedy_of_listing(kind: ErrorKind, pays: bool) -> &'static str {
    match kind {
        ErrorKind::AccessDenied if !pays => {
            "allow s3:ListBucket; if the bucket is requester-pays: --requester-pays; if it is public: --no-sign-request"
        }
        ErrorKind::AccessDenied => "allow s3:ListBucket to these credentials",
        ErrorKind::Credentials => "log in again",
        ErrorKind::NotFound => "check the bucket's name",
        ErrorKind::BadResponse => "what answers is not S3: check --endpoint-url and proxies",
        _ => "try again; if it persists, check --endpoint-url and the network",
    }
}

fn remedy_of_range(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::AccessDenied => "allow s3:GetObject to these credentials",
        ErrorKind::BadResponse => "the server or a proxy does not serve byte ranges: ask it directly",
        _ => "try again; if it persists, check the network",
    }
}

/// What to do about options with which no bucket can be opened.
pub(super) fn remedy_of_options(error: &StoreError) -> &'static str {
    match error.kind {
        ErrorKind::Invalid => "correct --endpoint-url, its environment variable, or the profile",
        _ => "look at ~/.aws/config and the AWS_* environment",
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
    use crate::store::Outcome;

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
        let remedy = remedy_of_listing(ErrorKind::AccessDenied, false);
        assert!(remedy.contains("--requester-pays") && remedy.contains("--no-sign-request"));
        assert!(!remedy_of_listing(ErrorKind::AccessDenied, true).contains("--requester-pays"));
    }

    #[test]
    fn missing_credentials_of_a_public_bucket_have_a_simple_remedy() {
        let none = Err(StoreError::new(ErrorKind::Credentials, "none found"));
        let public = credentials(&none, &Probe { status: 200, ..Default::default() });
        assert_eq!(public.remedy.as_deref(), Some("the bucket is public: --no-sign-request"));
    }
}
