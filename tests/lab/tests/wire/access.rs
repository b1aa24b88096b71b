//! Who is let in: signatures are checked against AWS's vectors beside the code, so here it is policies.

use crate::client::Client;
use fitsfs_lab::{Lab, Op};

const SIGNED: &str =
    "AWS4-HMAC-SHA256 Credential=AKIDLAB/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=00";

fn code(lab: &Lab, target: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let answer = Client::new(lab).get(target, headers);
    (answer.status, answer.elements("Code").concat())
}

#[test]
fn credentials_are_demanded() {
    let lab = Lab::builder().credentials("AKIDLAB", "secret").start().expect("a port");
    lab.put("b", "k", "hello");
    assert_eq!(code(&lab, "/b/k", &[]), (403, "AccessDenied".into()));
    assert_eq!(code(&lab, "/b/k", &[("Authorization", SIGNED)]), (403, "SignatureDoesNotMatch".into()));
    let other = SIGNED.replace("AKIDLAB", "AKIDOTHER");
    assert_eq!(code(&lab, "/b/k", &[("Authorization", &other)]), (403, "InvalidAccessKeyId".into()));
    assert_eq!(code(&lab, "/b/k", &[("Authorization", "Basic x")]), (400, "AuthorizationHeaderMalformed".into()));
    lab.public("b");
    assert_eq!(code(&lab, "/b/k", &[]), (200, String::new()));
    assert_eq!(Client::new(&lab).ask("PUT", "/b/k", &[], b"x").expect("an answer").status, 403);
}

#[test]
fn without_credentials_everyone_is_let_in() {
    let lab = Lab::builder().anonymous().start().expect("a port");
    lab.put("b", "k", "hello");
    assert_eq!(code(&lab, "/b/k", &[]).0, 200);
    assert_eq!(code(&lab, "/b/k", &[("Authorization", SIGNED)]).0, 200);
    assert_eq!(lab.count(|r| r.signed), 1);
}

#[test]
fn a_bucket_that_may_not_be_listed_hides_what_is_missing() {
    let lab = Lab::builder().start().expect("a port");
    lab.put("b", "k", "hello");
    lab.deny_list("b");
    assert_eq!(code(&lab, "/b?list-type=2", &[]), (403, "AccessDenied".into()));
    assert_eq!(code(&lab, "/b/k", &[]).0, 200);
    assert_eq!(code(&lab, "/b/missing", &[]), (403, "AccessDenied".into()));
    assert_eq!(Client::new(&lab).head("/b/missing").status, 403);
}

#[test]
fn the_requester_pays() {
    let lab = Lab::builder().start().expect("a port");
    lab.put("b", "k", "hello");
    lab.requester_pays("b");
    let payer = ("x-amz-request-payer", "requester");
    assert_eq!(code(&lab, "/b/k", &[("Authorization", SIGNED)]).0, 403);
    assert_eq!(code(&lab, "/b/k", &[payer]).0, 403, "anonymous");
    assert_eq!(code(&lab, "/b/k", &[("Authorization", SIGNED), payer]).0, 200);
    assert_eq!(lab.requests()[2].request_payer.as_deref(), Some("requester"));
}

#[test]
fn buckets_elsewhere_tell_where() {
    let lab = Lab::builder().start().expect("a port");
    lab.put("b", "k", "hello");
    lab.bucket_region("b", "eu-west-1");
    let ask = |target: &str, region: &str| {
        let signed = SIGNED.replace("us-east-1", region);
        Client::new(&lab).get(target, &[("Authorization", &signed)])
    };
    let redirect = ask("/b/k", "us-east-1");
    assert_eq!((redirect.status, redirect.elements("Code").concat()), (301, "PermanentRedirect".into()));
    assert_eq!(redirect.header("x-amz-bucket-region"), Some("eu-west-1"));
    let malformed = ask("/b/k", "ap-south-1");
    assert_eq!((malformed.status, malformed.elements("Region").concat()), (400, "eu-west-1".into()));
    assert_eq!(ask("/b/k", "eu-west-1").status, 200);
    assert!(ask("/b?location", "us-east-1").text().contains(">eu-west-1<"));
    assert_eq!(lab.count(|r| r.op == Op::GetBucketLocation && r.status == 200), 1);
}
