//! The examples of "Signature Calculations for the Authorization Header" in the Amazon S3 API reference.

use hyper::header::{HeaderName, HeaderValue};

use super::*;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn sign(method: Method, path: &str, query: &str, payload_hash: &str, extra: &[(&'static str, &str)]) -> String {
    let mut pairs = vec![
        ("host", "examplebucket.s3.amazonaws.com"),
        ("x-amz-content-sha256", payload_hash),
        ("x-amz-date", "20130524T000000Z"),
    ];
    pairs.extend_from_slice(extra);
    pairs.sort_unstable();
    let names: Vec<&str> = pairs.iter().map(|(name, _)| *name).collect();
    let header = format!(
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders={},Signature=0",
        names.join(";")
    );
    let authorization = Authorization::parse(&header).expect("well formed");
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).expect("a header value"));
    }
    signature(&Signed { method: &method, path, query, headers: &headers, payload_hash }, &authorization, SECRET)
}

#[test]
fn get_object_with_a_range() {
    assert_eq!(
        sign(Method::GET, "/test.txt", "", EMPTY, &[("range", "bytes=0-9")]),
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    );
}

#[test]
fn put_object_with_a_dollar_in_its_key() {
    let extra = [("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")];
    let hash = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
    let expected = "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd";
    assert_eq!(sign(Method::PUT, "/test%24file.text", "", hash, &extra), expected);
    // The same request, with the dollar sent as it is.
    assert_eq!(sign(Method::PUT, "/test$file.text", "", hash, &extra), expected);
}

#[test]
fn get_a_subresource_without_a_value() {
    assert_eq!(
        sign(Method::GET, "/", "lifecycle", EMPTY, &[]),
        "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
    );
}

#[test]
fn list_objects() {
    assert_eq!(
        sign(Method::GET, "/", "max-keys=2&prefix=J", EMPTY, &[]),
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
    );
    // Sorted before it is signed, whatever the order on the wire.
    assert_eq!(
        sign(Method::GET, "/", "prefix=J&max-keys=2", EMPTY, &[]),
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
    );
}

#[test]
fn authorization_headers() {
    let good =
        "AWS4-HMAC-SHA256 Credential=A/B/20130524/eu-west-1/s3/aws4_request, SignedHeaders=host;range, Signature=ab";
    let parsed = Authorization::parse(good).expect("well formed");
    assert_eq!((parsed.access_key.as_str(), parsed.region.as_str()), ("A/B", "eu-west-1"));
    assert_eq!(parsed.signed_headers, ["host", "range"]);
    for bad in ["", "Basic abc", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 Credential=A/b/c, SignedHeaders=h, Signature=a"]
    {
        assert_eq!(Authorization::parse(bad), None, "{bad}");
    }
}
