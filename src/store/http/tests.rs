//! The store against a server of a few lines, which answers as it is told and notes what it was asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::stream::TryStreamExt;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

const LONG_AGO: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// A request that was sent.
#[derive(Clone, Debug, Default)]
struct Seen {
    method: String,
    /// With the query.
    path: String,
    headers: BTreeMap<String, String>,
}

impl Seen {
    fn range(&self) -> Option<Range<usize>> {
        let (first, last) = self.headers.get("range")?.strip_prefix("bytes=")?.split_once('-')?;
        Some(first.parse().ok()?..last.parse::<usize>().ok()? + 1)
    }
}

/// What is answered: status, headers, and the body.
#[derive(Clone, Debug)]
struct Reply(u16, Vec<(String, String)>, Vec<u8>);

impl Reply {
    fn new(status: u16) -> Self {
        Self(status, vec![], vec![])
    }

    fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.1.retain(|(known, _)| known != name);
        self.1.push((name.to_owned(), value.into()));
        self
    }

    fn to(location: impl Into<String>) -> Self {
        Self::new(302).with("location", location)
    }

    fn page(kind: &str, body: &str) -> Self {
        Self(200, vec![], body.as_bytes().to_vec()).with("content-type", kind).with("date", now())
    }

    /// A file, in whole or in part, as good servers answer.
    fn file(seen: &Seen, bytes: &[u8], etag: &str) -> Self {
        let total = bytes.len();
        let whole = Self(200, vec![], bytes.to_vec()).with("etag", etag).with("last-modified", LONG_AGO);
        let whole = whole.with("date", now());
        match seen.range().filter(|_| seen.method == "GET") {
            Some(range) if range.start < total => {
                let range = range.start..range.end.min(total);
                let told = format!("bytes {}-{}/{total}", range.start, range.end - 1);
                Self(206, whole.1, bytes[range].to_vec()).with("content-range", told)
            }
            Some(_) => Self::new(416).with("content-range", format!("bytes */{total}")),
            None => whole,
        }
    }
}

fn now() -> String {
    "Mon, 07 Nov 1994 00:00:00 GMT".to_owned()
}

struct Server {
    port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// Answers requests on a port of this machine until the test ends.
    async fn start(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (noted, answer) = (seen.clone(), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (noted, answer) = (noted.clone(), answer.clone());
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        head.push(stream.read_u8().await?);
                    }
                    let seen = parsed(&String::from_utf8_lossy(&head));
                    noted.lock().push(seen.clone());
                    let reply = answer(&seen);
                    stream.write_all(&rendered(&seen, reply)).await
                });
            }
        });
        Self { port, seen }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn store_at(&self, root: &str, options: &HttpOptions) -> HttpStore {
        HttpStore::open("http", &format!("127.0.0.1:{}{root}", self.port), options).unwrap()
    }

    fn store(&self) -> HttpStore {
        self.store_at("", &HttpOptions::default())
    }

    fn seen(&self, method: &str) -> Vec<Seen> {
        self.seen.lock().iter().filter(|seen| seen.method == method).cloned().collect()
    }
}

fn parsed(head: &str) -> Seen {
    let mut lines = head.lines();
    let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let headers = lines.filter_map(|line| line.split_once(": "));
    Seen {
        method: words.next().unwrap_or_default(),
        path: words.next().unwrap_or_default(),
        headers: headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect(),
    }
}

fn rendered(seen: &Seen, Reply(status, headers, body): Reply) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status} x\r\nconnection: close\r\n");
    if !headers.iter().any(|(name, _)| name == "content-length") {
        text += &format!("content-length: {}\r\n", body.len());
    }
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    let body = if seen.method == "HEAD" { Vec::new() } else { body };
    [format!("{text}\r\n").as_bytes(), &body].concat()
}

fn content() -> Vec<u8> {
    (0..10_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

async fn read(store: &HttpStore, object: &ObjectMeta, range: Range<u64>) -> Result<Vec<u8>> {
    let chunks: Vec<_> = store.get(object, range).await?.stream.try_collect().await?;
    Ok(chunks.concat())
}

fn list(prefix: &str) -> ListRequest {
    ListRequest { prefix: prefix.to_owned(), delimited: true, max_keys: 1000, continuation: None }
}

fn keys(page: &ListPage) -> Vec<&str> {
    page.objects.iter().map(|object| object.key.as_str()).chain(page.prefixes.iter().map(String::as_str)).collect()
}

#[tokio::test]
async fn ranges_are_compared_with_the_version() {
    let server = Server::start(|seen| {
        let good = Reply::file(seen, &content(), "\"a\"");
        match (seen.path.as_str(), seen.method.as_str()) {
            (_, "HEAD") | ("/good", _) => good,
            ("/other-tag", _) => good.with("etag", "\"b\""),
            ("/no-tag", _) => Reply(206, vec![], good.2).with("content-range", "bytes 10-19/10000"),
            ("/other-range", _) => good.with("content-range", "bytes 11-20/10000"),
            ("/other-total", _) => good.with("content-range", "bytes 10-19/10001"),
            ("/no-range", _) => Reply(206, vec![("etag".into(), "\"a\"".into())], good.2),
            ("/long", _) => Reply(206, good.1, content()[10..30].to_vec()),
            ("/refused", _) => Reply::new(412),
            _ => Reply::new(404),
        }
    })
    .await;
    let store = server.store();
    let object = store.head("good").await.unwrap();
    assert_eq!((object.size, object.version.etag.as_deref()), (10_000, Some("\"a\"")));
    assert_eq!(read(&store, &object, 10..20).await.unwrap(), content()[10..20]);
    assert_eq!(server.seen("GET")[0].headers["if-match"], "\"a\"");
    for (key, kind) in [
        ("other-tag", ErrorKind::VersionChanged),
        ("no-tag", ErrorKind::BadResponse),
        ("other-range", ErrorKind::BadResponse),
        ("other-total", ErrorKind::VersionChanged),
        ("no-range", ErrorKind::BadResponse),
        ("long", ErrorKind::BadResponse),
        ("refused", ErrorKind::VersionChanged),
        ("gone", ErrorKind::NotFound),
    ] {
        let error = read(&store, &ObjectMeta { key: key.to_owned(), ..object.clone() }, 10..20).await.unwrap_err();
        assert_eq!(error.kind, kind, "{key}: {error}");
    }
}

#[tokio::test]
async fn a_weak_tag_is_never_sent_and_the_time_is_compared() {
    let server = Server::start(|seen| {
        let weak = Reply::file(seen, &content(), "W/\"a\"");
        match (seen.path.as_str(), seen.method.as_str()) {
            ("/later", "GET") => weak.with("last-modified", "Sun, 06 Nov 1994 08:49:38 GMT"),
            ("/timeless", "GET") => Reply(206, vec![], weak.2).with("content-range", "bytes 10-19/10000"),
            _ => weak,
        }
    })
    .await;
    let store = server.store();
    let object = store.head("x").await.unwrap();
    assert_eq!(object.version, Version::default());
    assert_eq!(read(&store, &object, 10..20).await.unwrap(), content()[10..20]);
    let of = |key: &str| ObjectMeta { key: key.to_owned(), ..object.clone() };
    assert_eq!(read(&store, &of("later"), 10..20).await.unwrap_err().kind, ErrorKind::VersionChanged);
    assert_eq!(read(&store, &of("timeless"), 10..20).await.unwrap_err().kind, ErrorKind::BadResponse);
    assert!(server.seen("GET").iter().all(|get| !get.headers.contains_key("if-match")));
}

#[tokio::test]
async fn a_file_that_was_changed_a_moment_ago_is_asked_for_again() {
    let asked = Mutex::new(0);
    let server = Server::start(move |seen| {
        let mut asked = asked.lock();
        *asked += 1;
        let date = if *asked == 1 { "Sun, 06 Nov 1994 08:49:38 GMT" } else { "Sun, 06 Nov 1994 08:49:40 GMT" };
        Reply::file(seen, &content(), "").with("date", date)
    })
    .await;
    let object = server.store().head("x").await.unwrap();
    assert_eq!((object.version, server.seen("HEAD").len()), (Version::default(), 2));
}

/// Without ranges a file is fetched once, however many ranges are read of it.
#[tokio::test]
async fn a_server_without_ranges_sends_each_file_once() {
    let server =
        Server::start(|seen| Reply::file(&Seen { headers: BTreeMap::new(), ..seen.clone() }, &content(), "\"a\""))
            .await;
    let store = server.store();
    let object = store.head("x").await.unwrap();
    for range in [9_000..10_000, 0..10, 5..7, 0..10_000] {
        let bytes = read(&store, &object, range.clone()).await.unwrap();
        assert_eq!(bytes, content()[range.start as usize..range.end as usize]);
    }
    assert_eq!(server.seen("GET").len(), 1);
    let peeked = server.store().peek("x", 10).await.unwrap();
    let chunks: Vec<_> = peeked.head.stream.try_collect().await.unwrap();
    assert_eq!((peeked.object, chunks.concat()), (object, content()[..10].to_vec()));
}

/// What broke off is fetched anew.
#[tokio::test]
async fn a_whole_file_that_breaks_off_is_asked_for_again() {
    let broken = AtomicBool::new(false);
    let server = Server::start(move |seen| {
        let whole = Reply::file(&Seen { headers: BTreeMap::new(), ..seen.clone() }, &content(), "\"a\"");
        match seen.method == "GET" && !broken.swap(true, Ordering::Relaxed) {
            true => Reply(200, whole.1, content()[..100].to_vec()).with("content-length", "10000"),
            false => whole,
        }
    })
    .await;
    let store = server.store();
    let mut peeked = Vec::new();
    for _ in 0..2 {
        let stream = store.peek("x", 5_000).await.unwrap().head.stream;
        peeked.push(stream.try_collect::<Vec<_>>().await.map(|chunks| chunks.concat()));
    }
    assert_eq!(peeked[0].as_ref().unwrap_err().kind, ErrorKind::Network);
    assert_eq!(peeked[1].as_ref().unwrap()[..], content()[..5_000]);
}

#[tokio::test]
async fn a_whole_answer_of_another_version_is_none() {
    let server = Server::start(|seen| {
        let seen = Seen { headers: BTreeMap::new(), ..seen.clone() };
        let etag = if seen.method == "HEAD" { "\"a\"" } else { "\"b\"" };
        Reply::file(&seen, &content(), etag)
    })
    .await;
    let store = server.store();
    let object = store.head("x").await.unwrap();
    assert_eq!(read(&store, &object, 10..20).await.unwrap_err().kind, ErrorKind::VersionChanged);
}

#[tokio::test]
async fn redirections_end() {
    let server = Server::start(|seen| match seen.path.as_str() {
        "/circle" => Reply::to("/circle2"),
        "/circle2" => Reply::to("/circle"),
        "/self" => Reply::to("/self"),
        "/nowhere" => Reply::new(302),
        "/file" => Reply::to("file:///etc/shadow"),
        "/metadata" => Reply::to("http://169.254.169.254/latest?hunter2"),
        path => Reply::to(format!("{path}x?sig=hunter2")),
    })
    .await;
    for key in ["circle", "self", "nowhere", "file", "metadata", "on"] {
        let error = server.store().head(key).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid, "{key}: {error}");
        assert!(!error.message.contains("hunter2"), "{error}");
    }
    assert!(server.seen("HEAD").iter().filter(|head| head.path.starts_with("/onx")).count() <= 10);
}

fn with_token(server: &Server) -> HttpOptions {
    let host = format!("127.0.0.1:{}", server.port);
    let env = move |name: &str| match name {
        "FITSFS_HTTP_TOKEN" => Some("hunter2".to_owned()),
        "FITSFS_HTTP_TOKEN_HOST" => Some(host.clone()),
        _ => None,
    };
    HttpOptions::default().resolve(env).unwrap()
}

#[tokio::test]
async fn a_token_goes_to_its_host_and_no_further() {
    let other = Server::start(|seen| Reply::file(seen, &content(), "\"a\"")).await;
    let elsewhere = other.url("/there?sig=hunter3");
    let door = Server::start(move |seen| match seen.path.as_str() {
        "/there" => Reply::to(elsewhere.clone()),
        "/here" => Reply::to("/here2"),
        _ => Reply::file(seen, &content(), "\"a\""),
    })
    .await;
    let store = door.store_at("", &with_token(&door));
    for key in ["there", "here"] {
        let object = store.head(key).await.unwrap();
        assert_eq!(read(&store, &object, 10..20).await.unwrap(), content()[10..20]);
    }
    let carries = |seen: &Seen| seen.headers.get("authorization").map(String::as_str) == Some("Bearer hunter2");
    assert!(door.seen.lock().iter().all(carries));
    assert!(
        !other.seen.lock().is_empty()
            && other.seen.lock().iter().all(|seen| !seen.headers.contains_key("authorization"))
    );
    // A host that redirects to one with a token gets nothing for it.
    let target = door.url("/x");
    let stranger = Server::start(move |_| Reply::to(target.clone())).await;
    let before = door.seen.lock().len();
    stranger.store_at("", &with_token(&door)).head("x").await.unwrap();
    assert!(door.seen.lock()[before..].iter().all(|seen| !carries(seen)));
}

/// Archives redirect each GET to a signed URL, which expires.
#[tokio::test]
async fn signed_urls_are_remembered_until_they_expire() {
    let valid = Arc::new(Mutex::new(1));
    let (at_door, at_store) = (valid.clone(), valid.clone());
    let bucket = Server::start(move |seen| {
        let is_valid = seen.method == "GET" && seen.path == format!("/k?sig={}", *at_store.lock());
        if is_valid { Reply::file(seen, &content(), "\"a\"") } else { Reply::new(403) }
    })
    .await;
    let url = bucket.url("/k?sig=");
    let door = Server::start(move |_| Reply::to(format!("{url}{}", *at_door.lock()))).await;
    let store = door.store();
    // A signature is for GETs: a HEAD is refused.
    let object = store.head("x").await.unwrap();
    for at in [0, 10, 20] {
        assert_eq!(read(&store, &object, at..at + 5).await.unwrap(), content()[at as usize..at as usize + 5]);
    }
    assert_eq!((door.seen("GET").len(), bucket.seen("GET").len()), (1, 4));
    *valid.lock() = 2;
    assert_eq!(read(&store, &object, 30..35).await.unwrap(), content()[30..35]);
    assert_eq!(door.seen("GET").len(), 2);
}

#[tokio::test]
async fn what_is_refused_shows_no_secret() {
    let bucket = Server::start(|_| Reply::new(403)).await;
    let url = bucket.url("/k?X-Amz-Signature=hunter3");
    let door = Server::start(move |_| Reply::to(url.clone())).await;
    let store = door.store_at("/get?file=x.fits&key=hunter4", &with_token(&door));
    let error = store.head("x.fits").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::AccessDenied);
    for shown in [error.message, store.url("x.fits"), store.id().to_owned(), format!("{:?}", with_token(&door))] {
        assert!(!shown.contains("hunter"), "{shown}");
    }
    let list = store.list(&list("")).await.unwrap_err();
    assert!(!list.message.contains("hunter"), "{list}");
}

#[tokio::test]
async fn a_url_with_a_query_is_a_file() {
    let server = Server::start(|seen| match seen.path.as_str() {
        "/Download/file/?uri=mast:HST/product/j8pu0y010_drc.fits" => Reply::file(seen, &content(), "\"a\""),
        _ => Reply::new(404),
    })
    .await;
    const NAME: &str = "j8pu0y010_drc.fits";
    let store = server.store_at(&format!("/Download/file/?uri=mast:HST/product/{NAME}"), &HttpOptions::default());
    let page = store.list(&list("")).await.unwrap();
    assert_eq!(keys(&page), [NAME]);
    assert_eq!(read(&store, &page.objects[0], 10..20).await.unwrap(), content()[10..20]);
    assert_eq!(store.head("other").await.unwrap_err().kind, ErrorKind::NotFound);
    let beside = server.store_at("?", &HttpOptions::default());
    let object = beside.head(&format!("Download/file/?uri=mast:HST/product/{NAME}")).await.unwrap();
    assert_eq!(read(&beside, &object, 10..20).await.unwrap(), content()[10..20]);
}

const LINKS: &str = "<a href='../'>up</a><a href='?C=N;O=D'>sort</a><a href='sub/'>sub/</a><a href='x.fits'>x</a> 4.9K\
    <a href='http://elsewhere.org/y.fits'>y</a><a href='/etc/z'>z</a><a href='gone'>gone</a><a href='dir'>dir</a>";

#[tokio::test]
async fn links_are_files_of_the_size_that_they_have() {
    let server = Server::start(|seen| match (seen.method.as_str(), seen.path.as_str()) {
        ("PROPFIND", _) => Reply::new(405),
        (_, "/d/") => Reply::page("text/html", LINKS),
        (_, "/d/x.fits") => Reply::file(seen, &content(), "\"a\""),
        (_, "/d/dir") => Reply::to("/d/dir/"),
        (_, "/d/dir/") => Reply::page("text/html", ""),
        _ => Reply::new(404),
    })
    .await;
    let store = server.store();
    let page = store.list(&list("d/")).await.unwrap();
    assert_eq!(keys(&page), ["d/x.fits", "d/dir/", "d/sub/"]);
    assert_eq!(page.objects[0], store.head("d/x.fits").await.unwrap());
    assert_eq!(server.seen("PROPFIND").len(), 1);
    store.list(&ListRequest { max_keys: 32, ..list("d/x.fits") }).await.unwrap();
    assert_eq!(server.seen("GET").len(), 1, "{:?}", server.seen("GET"));
}

fn json(size: usize) -> String {
    let row = |name| format!(r#"{{"name":"{name}","type":"file","mtime":"{LONG_AGO}","size":{size}}}"#);
    format!("[{}]", (0..50).map(|n| row(format!("{n:02}"))).collect::<Vec<_>>().join(","))
}

#[tokio::test]
async fn an_index_that_tells_sizes_costs_one_head() {
    let server = Server::start(|seen| match seen.path.as_str() {
        "/d/" => Reply::page("application/json", &json(10_000)),
        _ => Reply::file(seen, &content(), "\"2ebc989f-2710\"").with("etag", ""),
    })
    .await;
    let store = server.store();
    let page = store.list(&list("d/")).await.unwrap();
    assert_eq!((page.objects.len(), server.seen("HEAD").len()), (50, 1));
    assert_eq!(page.objects[49], store.head("d/49").await.unwrap());
    assert!(!store.listings.are_wrong());
}

/// An index that lies about sizes changes nothing but what listings cost.
#[tokio::test]
async fn an_index_that_lies_is_not_believed() {
    for size in [0, 9_999, 1 << 40] {
        let server = Server::start(move |seen| match seen.path.as_str() {
            "/d/" => Reply::page("application/json", &json(size)),
            _ => Reply::file(seen, &content(), "\"a\""),
        })
        .await;
        let store = server.store();
        let page = store.list(&list("d/")).await.unwrap();
        assert!(page.objects.iter().all(|object| object.size == 10_000), "{size}");
        assert!(store.listings.are_wrong());
    }
}

#[tokio::test]
async fn an_index_without_end_is_an_error() {
    let server = Server::start(|_| Reply::page("text/html", &"<a href='x'>".repeat(1 << 20))).await;
    let error = server.store().list(&list("d/")).await.unwrap_err();
    assert!(error.message.contains("longer than"), "{error}");
}
