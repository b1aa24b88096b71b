//! Each fault, as a client sees it.

use std::time::{Duration, Instant};

use crate::client::{Answer, Client};
use fitsfs_lab::{Fault, Kind, Lab, Listed, Op};

fn lab() -> Lab {
    let lab = Lab::builder().start().expect("a port on the loopback interface");
    lab.put("b", "k", "0123456789");
    lab
}

/// The answer to a read of bytes 2 to 5 under a fault that strikes once, and the next one's, which must be sound.
fn struck(kind: Kind) -> std::io::Result<Answer> {
    let lab = lab();
    lab.fault(Fault::new(kind).on(Op::GetObject).times(1));
    let answer = Client::new(&lab).ask("GET", "/b/k", &[("Range", "bytes=2-5"), ("If-Match", "\"old\"")], b"");
    assert!(lab.requests()[0].fault.is_some() && lab.requests()[0].done);
    let next = Client::new(&lab).get("/b/k", &[("Range", "bytes=2-5")]);
    assert_eq!((next.status, next.text().as_str()), (206, "2345"));
    answer
}

/// The same without a condition.
fn struck_read(kind: Kind) -> Answer {
    let lab = lab();
    lab.fault(Fault::new(kind).on(Op::GetObject));
    Client::new(&lab).get("/b/k", &[("Range", "bytes=2-5")])
}

#[test]
fn error_answers() {
    let answer = struck(Kind::slow_down()).expect("an answer");
    assert_eq!((answer.status, answer.elements("Code").concat()), (503, "SlowDown".into()));
    let answer = struck(Kind::HtmlInsteadOfXml).expect("an answer");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/html")));
}

#[test]
fn connections_that_end() {
    assert!(struck(Kind::DropConnection).is_err());
    let answer = struck_read(Kind::CutBodyAfter(3));
    assert_eq!((answer.status, answer.text().as_str(), answer.cut), (206, "234", true));
    let answer = struck_read(Kind::CutBodyAfter(4));
    assert_eq!((answer.text().as_str(), answer.cut), ("2345", false));
    let answer = struck_read(Kind::Stall(Duration::from_millis(30)));
    assert_eq!((answer.status, answer.body.len(), answer.cut), (206, 0, true));
}

#[test]
fn answers_to_another_question() {
    let answer = struck_read(Kind::TruncateBody);
    assert_eq!((answer.text().as_str(), answer.header("content-range")), ("23", Some("bytes 2-5/10")));
    let lab = lab();
    lab.fault(Fault::new(Kind::TruncateBody));
    assert_eq!(Client::new(&lab).head("/b/k").header("content-length"), Some("10"), "the size is what it is");
    let answer = struck_read(Kind::WrongContentRange);
    assert_eq!((answer.text().as_str(), answer.header("content-range")), ("3456", Some("bytes 3-6/10")));
    let answer = struck_read(Kind::IgnoreRange);
    assert_eq!((answer.status, answer.text().as_str()), (200, "0123456789"));
    let answer = struck(Kind::IgnoreIfMatch).expect("an answer");
    assert_eq!((answer.status, answer.text().as_str()), (206, "2345"));
}

#[test]
fn headers_that_lie_or_lack() {
    assert_eq!(struck_read(Kind::MissingEtag).header("etag"), None);
    let answer = struck_read(Kind::GzipEncoding);
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    assert_eq!(answer.body[..2], [0x1f, 0x8b]);
    let lab = lab();
    lab.fault(Fault::new(Kind::MissingEtag).on(Op::ListObjectsV2));
    let listing = Client::new(&lab).get("/b?list-type=2", &[]);
    assert_eq!((listing.elements("Key").concat(), listing.elements("ETag").len()), ("k".into(), 0));
    lab.clear_faults();
    assert_eq!(Client::new(&lab).get("/b?list-type=2", &[]).elements("ETag").len(), 1);
}

#[test]
fn weak_tags_meet_no_condition() {
    let lab = lab();
    let etag = lab.put("b", "k", "0123456789");
    lab.fault(Fault::new(Kind::WeakEtag));
    let mut client = Client::new(&lab);
    let answer = client.get("/b/k", &[]);
    assert_eq!((answer.status, answer.header("etag")), (200, Some(&*format!("W/{etag}"))));
    assert_eq!(client.get("/b/k", &[("If-Match", &etag)]).status, 412);
    assert_eq!(client.get("/b?list-type=2", &[]).elements("ETag").concat(), format!("W/{etag}").replace('"', "&quot;"));
}

#[test]
fn what_is_stored_or_listed_with_an_object_is_told_of_it() {
    let lab = lab();
    lab.set_content_encoding("b", "k", "gzip");
    let size = |size: &str| Listed { size: Some(size.into()), ..Listed::default() };
    lab.set_listed("b", "k", Listed { last_modified: Some("99999-01-01".into()), ..size("-5") });
    let mut client = Client::new(&lab);
    let answer = client.get("/b/k", &[]);
    assert_eq!((answer.header("content-encoding"), answer.text().as_str()), (Some("gzip"), "0123456789"));
    let listing = client.get("/b?list-type=2", &[]);
    assert_eq!(
        (listing.elements("Size").concat(), listing.elements("LastModified").concat()),
        ("-5".into(), "99999-01-01".into())
    );
}

#[test]
fn listings_that_come_to_no_end() {
    let lab = lab();
    let mut client = Client::new(&lab);
    let mut pages = |kind| {
        lab.clear_faults();
        lab.fault(Fault::new(kind));
        let mut token = None::<String>;
        [(); 3].map(|()| {
            let more = token.as_deref().map(|token| format!("&continuation-token={token}")).unwrap_or_default();
            let page = client.get(&format!("/b?list-type=2{more}"), &[]);
            assert_eq!(page.elements("IsTruncated").concat(), "true");
            token = Some(page.elements("NextContinuationToken").concat());
            (page.elements("Key").concat(), token.clone().unwrap_or_default())
        })
    };
    assert_eq!(pages(Kind::RepeatToken), [(); 3].map(|()| ("k".into(), "again".into())));
    assert_eq!(pages(Kind::EmptyPages), ["empty.", "empty..", "empty..."].map(|token| (String::new(), token.into())));
}

#[test]
fn listings_and_errors_of_any_length() {
    let lab = lab();
    lab.put("b", "a\u{1}b", "x");
    let mut client = Client::new(&lab);
    let mut struck = |kind, target| {
        lab.clear_faults();
        lab.fault(Fault::new(kind));
        client.get(target, &[])
    };
    let raw = struck(Kind::RawKeys, "/b?list-type=2&encoding-type=url");
    assert_eq!((raw.elements("Key"), raw.elements("EncodingType").len()), (vec!["a\u{1}b".into(), "k".into()], 0));
    let all = struck(Kind::IgnoreMaxKeys, "/b?list-type=2&max-keys=1");
    assert_eq!(all.elements("Size").len(), 2);
    let plain = struck(Kind::Padding(0), "/b?list-type=2").body.len();
    assert_eq!(struck(Kind::Padding(5000), "/b?list-type=2").body.len(), plain + 5000);
    let refused = struck(Kind::Padding(70_000), "/b/missing");
    assert!(refused.status == 404 && refused.body.len() > 70_000);
}

#[test]
fn a_delay_lets_the_object_change_meanwhile() {
    let lab = lab();
    let etag = lab.put("b", "k", "old");
    lab.fault(Fault::new(Kind::Delay(Duration::from_millis(100))));
    let started = Instant::now();
    let answer = std::thread::scope(|scope| {
        let asked = scope.spawn(|| Client::new(&lab).get("/b/k", &[("If-Match", &etag)]));
        lab.wait_for(1, |_| true);
        lab.put("b", "k", "new");
        asked.join().expect("an answer")
    });
    assert_eq!(answer.status, 412);
    assert!(started.elapsed() > Duration::from_millis(95));
}

#[test]
fn a_prefix_narrows_listings_too() {
    let lab = lab();
    lab.fault(Fault::new(Kind::access_denied()).prefix("x/").bucket("b"));
    let mut client = Client::new(&lab);
    assert_eq!(client.get("/b?list-type=2&prefix=x/y", &[]).status, 403);
    assert_eq!(client.get("/b?list-type=2&prefix=y/", &[]).status, 200);
    assert_eq!(client.get("/b/x/k", &[]).status, 403);
    assert_eq!(client.get("/b/k", &[]).status, 200);
}

#[test]
fn scripts_may_do_what_tests_do() {
    let lab = lab();
    let mut client = Client::new(&lab);
    let mut post = |path: &str, body: &str| client.ask("POST", path, &[], body.as_bytes()).expect("an answer").status;
    let fault = r#"{"kind": "status", "status": 503, "code": "SlowDown", "ops": ["GetObject"], "times": 1}"#;
    assert_eq!(post("/_lab/fault", fault), 204);
    assert_eq!(post("/_lab/fault", r#"{"kind": "nonsense"}"#), 400);
    assert_eq!(post("/_lab/fault", r#"{"kind": "stall", "msec": 3}"#), 400);
    assert_eq!(post("/_lab/shape", r#"{"ttfb_ms": 30, "per_connection_mbps": 90}"#), 204);
    assert_eq!(post("/_lab/nothing", ""), 404);
    let started = Instant::now();
    assert_eq!(client.get("/b/k", &[]).status, 503);
    assert!(started.elapsed() > Duration::from_millis(28), "shaped");
    assert!(client.get("/_lab/requests", &[]).text().contains(r#""fault":"status""#));
    assert!(client.get("/_lab/summary", &[]).text().contains(r#""GetObject":{"requests":1,"#));
    assert_eq!(client.ask("POST", "/_lab/clear", &[], b"").expect("an answer").status, 204);
    assert_eq!(lab.requests().len(), 0);
}
