//! Who may read: signatures, profiles, expired tokens, regions, requester pays.
//!
//! One test, because it sets the environment of its process before anything else runs there.

#![allow(clippy::unwrap_used)] // clippy.toml exempts test functions, not their helpers

use std::path::Path;

use fitsfs::check::{CheckReport, Outcome};
use fitsfs::store::{ErrorKind, ListRequest, S3Options, S3Store, Store};
use fitsfs_lab::{Content, Fault, Kind, Lab, Op};
use futures::stream::TryStreamExt;

const BUCKET: &str = "lab-data";
const KEY: &str = "a.fits";

fn lab() -> Lab {
    let lab = Lab::builder().credentials("AKIDLABLABLAB", "secret").start().unwrap();
    lab.put(BUCKET, KEY, Content::Bytes("SIMPLE  = T".into()));
    lab
}

fn options(lab: &Lab) -> S3Options {
    S3Options { endpoint_url: Some(lab.endpoint()), ..Default::default() }
}

fn with_profile(lab: &Lab, name: &str) -> S3Options {
    S3Options { profile: Some(name.to_owned()), ..options(lab) }
}

async fn open(options: S3Options) -> S3Store {
    S3Store::open(BUCKET, &options).await.unwrap()
}

async fn head(store: &S3Store) -> Result<u64, ErrorKind> {
    store.head(KEY).await.map(|object| object.size).map_err(|error| error.kind)
}

fn write_profile(file: &Path, secret: &str) {
    let good = "[good]\naws_access_key_id = AKIDLABLABLAB\naws_secret_access_key = secret\n";
    let file_text = format!("{good}[rotated]\naws_access_key_id = AKIDLABLABLAB\naws_secret_access_key = {secret}\n");
    std::fs::write(file, file_text).unwrap();
}

#[test]
fn who_may_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("credentials");
    write_profile(&file, "old");
    let variables = [
        ("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap()),
        ("AWS_CONFIG_FILE", "/nonexistent"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ];
    for (name, value) in variables {
        // SAFETY: this is the only test of its process, and it has started no thread yet.
        unsafe { std::env::set_var(name, value) };
    }
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION"] {
        // SAFETY: as above.
        unsafe { std::env::remove_var(name) };
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        signatures().await;
        no_credentials().await;
        stale_credentials().await;
        rotated_profile(&file).await;
        regions().await;
        requester_pays().await;
        diagnosis().await;
    });
}

async fn signatures() {
    let lab = lab();
    let store = open(with_profile(&lab, "good")).await;
    assert_eq!(head(&store).await, Ok(11));
    let object = store.head(KEY).await.unwrap();
    let chunks: Vec<_> = store.get(&object, 0..6).await.unwrap().stream.try_collect().await.unwrap();
    assert_eq!(chunks.concat(), b"SIMPLE");
    let page = ListRequest { prefix: String::new(), delimited: true, max_keys: 10, continuation: None };
    assert_eq!(store.list(&page).await.unwrap().objects.len(), 1);
    assert!(lab.requests().iter().all(|request| request.signed));

    let unsigned = || S3Options { no_sign_request: true, ..options(&lab) };
    assert_eq!(head(&open(unsigned()).await).await, Err(ErrorKind::AccessDenied));
    lab.public(BUCKET);
    assert_eq!(head(&open(unsigned()).await).await, Ok(11));
}

async fn no_credentials() {
    let lab = lab();
    for options in [options(&lab), with_profile(&lab, "nobody")] {
        let error = open(options).await.head(KEY).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Credentials, "{error}");
        assert!(error.message.contains("--no-sign-request") && !error.message.contains('\n'), "{error}");
    }
    assert_eq!(lab.requests().len(), 0);
}

async fn stale_credentials() {
    let lab = lab();
    let store = open(with_profile(&lab, "good")).await;
    lab.fault(Fault::new(Kind::Status(400, "ExpiredToken".into())).on(Op::GetObject).times(1));
    let object = store.head(KEY).await.unwrap();
    assert!(store.get(&object, 0..6).await.is_ok(), "cured by new credentials");
    assert_eq!(lab.requests().len(), 3);
    lab.clear_log();
    lab.fault(Fault::new(Kind::Status(400, "ExpiredToken".into())).on(Op::GetObject));
    assert_eq!(store.get(&object, 0..6).await.err().map(|error| error.kind), Some(ErrorKind::Credentials));
    assert_eq!(lab.requests().len(), 2, "once more and no more");
}

/// A tool that logs the user in writes new keys into the profile of a mount that runs.
async fn rotated_profile(file: &Path) {
    let lab = lab();
    let store = open(with_profile(&lab, "rotated")).await;
    assert_eq!(head(&store).await, Err(ErrorKind::AccessDenied));
    write_profile(file, "secret");
    lab.fault(Fault::new(Kind::Status(403, "InvalidAccessKeyId".into())).on(Op::ListObjectsV2).times(1));
    let page = ListRequest { prefix: String::new(), delimited: true, max_keys: 10, continuation: None };
    assert_eq!(store.list(&page).await.unwrap().objects.len(), 1);
    assert_eq!(head(&store).await, Ok(11));
}

async fn regions() {
    let lab = lab();
    lab.bucket_region(BUCKET, "eu-central-1");
    for region in [None, Some("ap-south-1".to_owned())] {
        lab.clear_log();
        let store = open(S3Options { region, ..with_profile(&lab, "good") }).await;
        assert_eq!(head(&store).await, Ok(11));
        assert_eq!(head(&store).await, Ok(11));
        assert_eq!(store.region(), "eu-central-1");
        assert_eq!(lab.requests().len(), 3, "one redirected request, once");
    }
}

async fn requester_pays() {
    let lab = lab();
    lab.requester_pays(BUCKET);
    assert_eq!(head(&open(with_profile(&lab, "good")).await).await, Err(ErrorKind::AccessDenied));
    let paying = open(S3Options { requester_pays: true, ..with_profile(&lab, "good") }).await;
    let object = paying.head(KEY).await.unwrap();
    assert!(paying.get(&object, 0..6).await.is_ok());
    let page = ListRequest { prefix: String::new(), delimited: true, max_keys: 10, continuation: None };
    assert!(paying.list(&page).await.is_ok());
    assert_eq!(lab.count(|request| request.request_payer.as_deref() == Some("requester")), 3);
}

async fn diagnosis() {
    let lab = lab();
    let source = [format!("s3://{BUCKET}")];
    let report = CheckReport::run(&source, &with_profile(&lab, "good").into(), |_| None).await.remove(0);
    let credentials = report.checks.iter().find(|check| check.name == "credentials").unwrap();
    assert_eq!(credentials.finding, "from profile files, key id ...BLAB");
    assert!(!report.render(false).contains("AKIDLAB"), "{}", report.render(false));
    assert!(report.checks.iter().any(|check| check.finding.contains("a FITS header")));

    lab.bucket_region(BUCKET, "eu-central-1");
    let elsewhere = S3Options { region: Some("us-west-1".to_owned()), ..with_profile(&lab, "good") };
    let report = CheckReport::run(&source, &elsewhere.into(), |_| None).await.remove(0);
    let region = report.checks.iter().find(|check| check.name == "region").unwrap();
    assert_eq!((region.outcome, region.remedy.as_deref()), (Outcome::Warn, Some("use --region eu-central-1")));

    lab.requester_pays(BUCKET);
    let report = CheckReport::run(&source, &with_profile(&lab, "good").into(), |_| None).await.remove(0);
    let listing = report.checks.iter().find(|check| check.name == "listing").unwrap();
    assert!(report.failed() && listing.remedy.as_deref().unwrap().contains("--requester-pays"));
}
