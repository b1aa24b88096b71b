//! The S3 that the server speaks, on the wire.

use std::time::{Duration, Instant, UNIX_EPOCH};

use crate::client::Client;
use bytes::Bytes;
use fitsfs_lab::{Content, Lab, Op, Shape, pattern_bytes};

fn lab() -> Lab {
    Lab::builder().start().expect("a port on the loopback interface")
}

#[test]
fn get_ranges_of_every_kind_of_content() {
    let lab = lab();
    let mut truth = vec![0; 20_000];
    pattern_bytes(5, 0, &mut truth);
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(dir.path().join("sub")).expect("a folder");
    std::fs::write(dir.path().join("sub/file"), &truth).expect("a file");
    lab.put("b", "bytes", truth.clone());
    lab.put("b", "pattern", Content::Pattern { len: 20_000, seed: 5 });
    lab.put("b", "sparse", Content::Sparse { len: 20_000, extents: vec![(0, Bytes::from(truth.clone()))] });
    assert_eq!(lab.put_dir("b", dir.path()), 1);
    let mut client = Client::new(&lab);
    for key in ["bytes", "pattern", "sparse", "sub/file"] {
        let whole = client.get(&format!("/b/{key}"), &[]);
        assert_eq!((whole.status, &whole.body), (200, &truth), "{key}");
        let part = client.get(&format!("/b/{key}"), &[("Range", "bytes=4000-9999")]);
        assert_eq!((part.status, &part.body[..]), (206, &truth[4000..10_000]), "{key}");
        assert_eq!(part.header("content-range"), Some("bytes 4000-9999/20000"));
        assert_eq!(part.header("etag"), whole.header("etag"));
    }
    assert!(lab.count(|r| r.connection == 0) == 8, "one connection served all");
}

#[test]
fn a_huge_object_costs_no_memory() {
    let lab = lab();
    let len = 5 << 40;
    lab.put("b", "k", Content::Pattern { len, seed: 1 });
    let mut truth = vec![0; 100];
    pattern_bytes(1, len - 100, &mut truth);
    let tail = Client::new(&lab).get("/b/k", &[("Range", "bytes=-100")]);
    assert_eq!(tail.body, truth);
    assert_eq!(Client::new(&lab).head("/b/k").header("content-length"), Some("5497558138880"));
}

#[test]
fn errors_name_their_cause() {
    let lab = lab();
    lab.put("b", "k", "hello");
    let mut client = Client::new(&lab);
    let mut code = |target: &str, headers: &[(&str, &str)]| {
        let answer = client.get(target, headers);
        (answer.status, answer.elements("Code").concat())
    };
    assert_eq!(code("/nowhere/k", &[]), (404, "NoSuchBucket".into()));
    assert_eq!(code("/b/none", &[]), (404, "NoSuchKey".into()));
    assert_eq!(code("/b/k", &[("Range", "bytes=5-")]), (416, "InvalidRange".into()));
    assert_eq!(code("/b/k", &[("If-Match", "\"other\"")]), (412, "PreconditionFailed".into()));
    assert_eq!(code("/b?list-type=2&max-keys=x", &[]), (400, "InvalidArgument".into()));
    assert_eq!(code("/b?list-type=2&continuation-token=zz", &[]), (400, "InvalidArgument".into()));
    assert_eq!(code("/b/%FF", &[]), (400, "InvalidURI".into()));
    assert_eq!(code("/b?uploads", &[]), (501, "NotImplemented".into()));
    lab.set_storage_class("b", "k", "GLACIER");
    assert_eq!(code("/b/k", &[]), (403, "InvalidObjectState".into()));
    assert_eq!(Client::new(&lab).head("/b/k").header("x-amz-storage-class"), Some("GLACIER"));
}

#[test]
fn a_range_beyond_the_end_tells_the_size() {
    let lab = lab();
    lab.put("b", "k", "hello");
    let answer = Client::new(&lab).get("/b/k", &[("Range", "bytes=9-")]);
    assert_eq!(answer.header("content-range"), Some("bytes */5"));
}

#[test]
fn replacing_an_object_changes_its_version() {
    let lab = lab();
    let old = lab.put("b", "k", "old");
    let new = lab.put("b", "k", "new");
    assert_ne!(old, new);
    lab.set_last_modified("b", "k", UNIX_EPOCH + Duration::from_secs(1_000_000_000));
    let mut client = Client::new(&lab);
    assert_eq!(client.get("/b/k", &[("If-Match", &old)]).status, 412);
    let current = client.get("/b/k", &[("If-Match", &new)]);
    assert_eq!((current.status, current.text().as_str()), (200, "new"));
    assert_eq!(current.header("last-modified"), Some("Sun, 09 Sep 2001 01:46:40 GMT"));
    assert_eq!(client.get("/b/k", &[("If-None-Match", &new)]).status, 304);
    assert!(lab.delete("b", "k"));
    assert_eq!(client.head("/b/k").status, 404);
}

#[test]
fn listing_of_a_huge_bucket_is_quick() {
    let lab = lab();
    lab.put_many("b", (0..100_000).map(|i| format!("dir/{i:06}.fits")), "x");
    lab.put_many("b", (0..3000).map(|i| format!("{i:04}/k")), "x");
    let mut client = Client::new(&lab);
    let started = Instant::now();
    let page = client.get("/b?list-type=2&delimiter=%2F&start-after=2990", &[]);
    assert_eq!(page.elements("KeyCount"), ["11"]);
    assert_eq!(page.elements("IsTruncated"), ["false"]);
    let (mut keys, mut token) = (0, String::new());
    loop {
        let page = client.get(&format!("/b?list-type=2&prefix=dir/&delimiter=/{token}"), &[]);
        keys += page.elements("Key").len();
        let Some(next) = page.elements("NextContinuationToken").pop() else { break };
        token = format!("&continuation-token={next}");
    }
    assert_eq!(keys, 100_000);
    assert_eq!(lab.count(|r| r.op == Op::ListObjectsV2 && r.key == "dir/"), 100);
    // Some hundredths of a second if built for speed; a scan per page would take minutes.
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[test]
fn odd_keys_are_kept_as_they_are() {
    let lab = lab();
    let keys = ["x//y", "dir/", "k", "k/z", "a b", "a+b", "%41", "é", "a/./b", "a/../b", "/lead", "<&>"];
    for key in keys {
        lab.put("b", key, key);
    }
    let mut client = Client::new(&lab);
    for key in keys {
        let path: String = key.bytes().map(|byte| format!("%{byte:02X}")).collect();
        assert_eq!(client.get(&format!("/b/{path}"), &[]).text(), key);
    }
    let mut sorted = keys;
    sorted.sort_unstable();
    let sorted = sorted.map(|key| key.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"));
    assert_eq!(client.get("/b?list-type=2", &[]).elements("Key"), sorted);
    let encoded = client.get("/b?list-type=2&encoding-type=url&prefix=a", &[]);
    assert_eq!(encoded.elements("Key"), ["a%20b", "a%2Bb", "a/../b", "a/./b"]);
}

#[test]
fn put_and_delete_by_http() {
    let lab = lab();
    lab.create_bucket("b");
    let mut client = Client::new(&lab);
    let mut ask = |method: &str, headers: &[(&str, &str)]| {
        client.ask(method, "/b/k", headers, b"hello").expect("an answer").status
    };
    assert_eq!(ask("PUT", &[]), 200);
    assert_eq!(ask("PUT", &[("If-None-Match", "*")]), 412);
    assert_eq!(Client::new(&lab).get("/b/k", &[]).text(), "hello");
    assert_eq!(ask("DELETE", &[]), 204);
}

#[test]
fn chunked_uploads_of_the_sdks_are_unwrapped() {
    let lab = lab();
    lab.create_bucket("b");
    let body = b"5;chunk-signature=00\r\nhello\r\n3\r\n, y\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n";
    let headers = [("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"), ("Content-Encoding", "aws-chunked")];
    let mut client = Client::new(&lab);
    assert_eq!(client.ask("PUT", "/b/k", &headers, body).expect("an answer").status, 200);
    assert_eq!(client.get("/b/k", &[]).text(), "hello, y");
    let cut = client.ask("PUT", "/b/k", &headers, b"5\r\nhel").expect("an answer");
    assert_eq!((cut.status, cut.elements("Code").concat()), (400, "IncompleteBody".into()));
}

#[test]
fn buckets_may_be_named_by_the_host() {
    let lab = lab();
    lab.put("b", "d/k", "hello");
    let answer = Client::of_host(&lab, "b.localhost").get("/d/k", &[]);
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
    assert_eq!(Client::of_host(&lab, "b.localhost").get("/?list-type=2", &[]).elements("Key"), ["d/k"]);
}

#[test]
fn listings_of_version_1_go_on_behind_a_common_prefix() {
    let lab = lab();
    lab.put_many("b", ["a", "b/1", "b/2", "c/1", "d"].map(str::to_owned), "x");
    let mut client = Client::new(&lab);
    let page = client.get("/b?delimiter=/&max-keys=2", &[]);
    assert_eq!((page.elements("Key"), page.elements("NextMarker")), (vec!["a".into()], vec!["b/".into()]));
    let page = client.get("/b?delimiter=/&marker=b/", &[]);
    assert_eq!(page.elements("Key"), ["d"]);
    assert!(page.text().contains("<CommonPrefixes><Prefix>c/</Prefix>") && !page.text().contains("<Prefix>b/"));
}

#[test]
fn a_response_in_flight_keeps_its_version() {
    let lab = lab();
    let old = vec![b'o'; 300_000];
    lab.put("b", "k", old.clone());
    lab.shape(Shape { per_connection: Some(1_000_000), ..Shape::default() });
    let answer = std::thread::scope(|scope| {
        let asked = scope.spawn(|| Client::new(&lab).get("/b/k", &[]));
        lab.wait_for(1, |r| r.bytes > 0);
        lab.put("b", "k", "new");
        asked.join().expect("an answer")
    });
    assert_eq!(answer.body, old);
}

#[test]
fn a_stopped_server_frees_its_port() {
    let lab = lab();
    let (port, mut client) = (lab.port(), Client::new(&lab));
    client.get("/b/k", &[]);
    drop(lab);
    assert!(client.ask("GET", "/b/k", &[], b"").is_err(), "its connections are closed");
    let again = Lab::builder().port(port).start().expect("the same port");
    assert_eq!(Client::new(&again).get("/b/k", &[]).status, 404);
}

#[test]
fn the_log_tells_what_was_asked() {
    let lab = lab();
    let etag = lab.put("b", "d/k", "hello");
    let mut client = Client::new(&lab);
    client.get("/b/d%2Fk", &[("Range", "bytes=1-3"), ("If-Match", &etag), ("User-Agent", "test")]);
    client.get("/b?list-type=2&prefix=d/&delimiter=/", &[("Accept-Encoding", "identity")]);
    let log = lab.requests();
    assert_eq!((log[0].op, log[0].bucket.as_str(), log[0].key.as_str()), (Op::GetObject, "b", "d/k"));
    assert_eq!((log[0].span(), log[0].status, log[0].bytes), (Some((1, 3)), 206, 3));
    assert_eq!((log[0].if_match.as_deref(), log[0].user_agent.as_deref()), (Some(etag.as_str()), Some("test")));
    assert!(log[0].done && !log[0].aborted && !log[0].signed);
    assert_eq!((log[1].op, log[1].key.as_str(), log[1].delimiter.as_deref()), (Op::ListObjectsV2, "d/", Some("/")));
    assert_eq!(log[1].accept_encoding.as_deref(), Some("identity"));
    lab.clear_log();
    client.head("/b/d/k");
    assert_eq!(lab.requests().len(), 1);
    assert_eq!(lab.count(|r| r.op == Op::HeadObject && r.seq == 2), 1);
}

#[test]
fn latency_and_rate_are_kept() {
    let lab = lab();
    lab.put("b", "k", Content::Pattern { len: 1 << 20, seed: 1 });
    lab.shape(Shape { per_connection: Some(10_000_000), ..Shape::latency(Duration::from_millis(50)) });
    let started = Instant::now();
    Client::new(&lab).get("/b/k", &[]);
    let took = started.elapsed();
    // 50 ms and 105 ms, less what the timers are centred by.
    assert!(took > Duration::from_millis(150), "{took:?}");
    lab.shape(Shape::default());
}

#[test]
fn a_client_that_leaves_is_seen() {
    let lab = lab();
    lab.put("b", "k", Content::Pattern { len: 1 << 30, seed: 1 });
    lab.shape(Shape { per_connection: Some(1_000_000), ..Shape::default() });
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", lab.port())).expect("the lab listens");
    std::io::Write::write_all(&mut stream, b"GET /b/k HTTP/1.1\r\nHost: x\r\n\r\n").expect("a request");
    lab.wait_for(1, |r| r.bytes > 0);
    drop(stream);
    lab.wait_for(1, |r| r.done);
    assert_eq!(lab.count(|r| r.aborted && r.bytes < 1 << 30), 1);
}
