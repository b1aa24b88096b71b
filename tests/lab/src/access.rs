//! Who asks and whether they may: signatures, regions, and the policies of buckets.

use std::collections::BTreeMap;

use hyper::StatusCode;
use sha2::{Digest, Sha256};

use crate::bucket::{Bucket, Buckets};
use crate::error::Refusal;
use crate::op::{Call, Op};
use crate::sigv4::{Authorization, Signed, signature};

/// The SHA-256 of nothing, for requests that do not state the hash of their payload.
const EMPTY_PAYLOAD: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Who may do what.
#[derive(Debug)]
pub(crate) struct Access {
    /// Secrets by access key; `None` lets everyone in without a look at signatures.
    pub credentials: Option<BTreeMap<String, String>>,
    pub region: String,
}

impl Access {
    /// Lets the request pass or says why not.
    pub(crate) fn check(&self, call: &Call, buckets: &Buckets) -> Result<(), Refusal> {
        let authorization = self.authenticate(call)?;
        let policy = buckets.read(&call.bucket, Policy::of).unwrap_or_default();
        let anonymous = authorization.is_none();
        if anonymous && self.credentials.is_some() && !(policy.public && call.op.is_read()) {
            return Err(Refusal::access_denied());
        }
        if let Some(authorization) = authorization {
            self.check_region(&authorization, call, policy.region.as_deref())?;
        }
        if policy.requester_pays && (anonymous || call.header("x-amz-request-payer") != Some("requester")) {
            return Err(Refusal::access_denied());
        }
        if policy.deny_list && (call.op.is_list() || call.op == Op::HeadBucket) {
            return Err(Refusal::access_denied());
        }
        Ok(())
    }

    /// The checked Authorization header; `None` if there is none.
    fn authenticate(&self, call: &Call) -> Result<Option<Authorization>, Refusal> {
        let Some(header) = call.header("authorization") else { return Ok(None) };
        let Some(credentials) = &self.credentials else { return Ok(Authorization::parse(header)) };
        let Some(authorization) = Authorization::parse(header) else {
            let message = "The authorization header is malformed.";
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "AuthorizationHeaderMalformed", message));
        };
        let Some(secret) = credentials.get(&authorization.access_key) else {
            let message = "The AWS Access Key Id you provided does not exist in our records.";
            let refusal = Refusal::new(StatusCode::FORBIDDEN, "InvalidAccessKeyId", message);
            return Err(refusal.element("AWSAccessKeyId", authorization.access_key));
        };
        let signed = Signed {
            method: &call.method,
            path: &call.raw_path,
            query: &call.raw_query,
            headers: &call.headers,
            payload_hash: call.header("x-amz-content-sha256").unwrap_or(EMPTY_PAYLOAD),
        };
        if signature(&signed, &authorization, secret) != authorization.signature {
            let message = "The request signature we calculated does not match the signature you provided. \
                           Check your key and signing method.";
            return Err(Refusal::new(StatusCode::FORBIDDEN, "SignatureDoesNotMatch", message));
        }
        Ok(Some(authorization))
    }

    /// A request signed for the server's region but of a bucket elsewhere is redirected; one signed for any other
    /// wrong region is told the right one. Without credentials only buckets with a region of their own are particular.
    fn check_region(&self, auth: &Authorization, call: &Call, bucket: Option<&str>) -> Result<(), Refusal> {
        let expected = bucket.unwrap_or(&self.region);
        let particular = bucket.is_some() || self.credentials.is_some();
        let at_home = auth.region == self.region;
        // The server's own region answers for buckets everywhere where they are.
        let answered = at_home && matches!(call.op, Op::GetBucketLocation | Op::ListBuckets);
        if !particular || answered || auth.region == expected {
            return Ok(());
        }
        let refusal = if at_home {
            let message = "The bucket you are attempting to access must be addressed using the specified endpoint. \
                           Please send all future requests to this endpoint.";
            Refusal::new(StatusCode::MOVED_PERMANENTLY, "PermanentRedirect", message)
                .element("Endpoint", format!("{}.s3.{expected}.amazonaws.com", call.bucket))
                .element("Bucket", &call.bucket)
        } else {
            let message = format!(
                "The authorization header is malformed; the region '{}' is wrong; expecting '{expected}'",
                auth.region
            );
            Refusal::new(StatusCode::BAD_REQUEST, "AuthorizationHeaderMalformed", message).element("Region", expected)
        };
        Err(refusal.header("x-amz-bucket-region", expected))
    }
}

/// The body must be the one whose hash was signed; the words that stand for a hash leave it open.
pub(crate) fn check_payload(call: &Call, body: &[u8]) -> Result<(), Refusal> {
    match call.header("x-amz-content-sha256") {
        Some(hash) if hash.len() == 64 && hash != hex::encode(Sha256::digest(body)) => {
            let message = "The provided 'x-amz-content-sha256' header does not match what was computed.";
            Err(Refusal::new(StatusCode::BAD_REQUEST, "XAmzContentSHA256Mismatch", message))
        }
        _ => Ok(()),
    }
}

/// What a bucket's policy says, apart from its objects.
#[derive(Debug, Default)]
struct Policy {
    region: Option<String>,
    deny_list: bool,
    requester_pays: bool,
    public: bool,
}

impl Policy {
    fn of(bucket: &Bucket) -> Policy {
        let Bucket { region, deny_list, requester_pays, public, .. } = bucket;
        Policy { region: region.clone(), deny_list: *deny_list, requester_pays: *requester_pays, public: *public }
    }
}
