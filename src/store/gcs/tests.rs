//! The store against recorded answers: what it sends, what it makes of answers, and that no secret is shown.

use futures::stream::TryStreamExt;

use super::*;
use crate::store::rest::server::{Server, header, reply};
use crate::store::scheme::Scheme;
use crate::store::{Diagnosis, Outcome, Result, StoreOptions};

const SECRET: &str = "hunter2";

/// Made for these tests.
const KEY: &str = include_str!("test_key.pem");

fn store(server: &Server, env: &[(&str, &str)]) -> Result<GcsStore> {
    let given = StoreOptions {
        gcs: GcsOptions { endpoint: Some(server.url.clone()), ..GcsOptions::default() },
        ..StoreOptions::default()
    };
    let get = |name: &str| env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    GcsStore::open("buc", &GCS.resolve(given, &get)?.gcs)
}

fn options(server: &Server) -> GcsOptions {
    GcsOptions { endpoint: Some(server.url.clone()), anonymous: true, ..GcsOptions::default() }
}

fn anonymous(server: &Server) -> GcsStore {
    GcsStore::open("buc", &options(server)).unwrap()
}

/// A store with the credentials of a file.
async fn with_file(server: &Server, file: &str) -> Result<GcsStore> {
    let written = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(written.path(), file).unwrap();
    store(server, &[("GOOGLE_APPLICATION_CREDENTIALS", written.path().to_str().unwrap())])
}

fn request(continuation: Option<&str>) -> ListRequest {
    let continuation = continuation.map(str::to_owned);
    ListRequest { prefix: "d/".to_owned(), delimited: true, max_keys: 2, continuation }
}

fn entry(name: &str, size: u64, generation: u64) -> String {
    format!(
        "{{\"name\": \"{name}\", \"size\": \"{size}\", \"generation\": \"{generation}\", \
         \"timeCreated\": \"1970-01-01T00:00:10Z\"}}"
    )
}

fn object(size: u64, generation: u64) -> ObjectMeta {
    page::object(entry("a b//%41", size, generation).as_bytes()).unwrap()
}

fn listing(names: &[&str], token: &str) -> String {
    let items: Vec<_> = names.iter().map(|name| entry(name, 5, 1)).collect();
    reply(200, "", &format!("{{\"items\": [{}], \"nextPageToken\": \"{token}\"}}", items.join(",")))
}

async fn failure<T>(answer: Result<T>) -> StoreError {
    let Err(error) = answer else { panic!("an answer where there was none") };
    assert!(!error.message.contains(SECRET) && !error.message.contains("PRIVATE"), "{error}");
    assert!(!error.message.contains('\n'), "{error}");
    error
}

async fn bytes(body: Body) -> Vec<u8> {
    body.stream.try_collect::<Vec<_>>().await.unwrap().concat()
}

#[tokio::test]
async fn a_range_is_of_a_generation_and_is_checked() {
    let server = Server::start(|_| reply(206, "x-goog-generation: 7\r\nContent-Range: bytes 2-4/10\r\n", "abc")).await;
    let body = anonymous(&server).get(&object(10, 7), 2..5).await.unwrap();
    assert_eq!(bytes(body).await, b"abc");
    let asked = server.asked().remove(0);
    let line = "GET /storage/v1/b/buc/o/a%20b%2F%2F%2541?alt=media&generation=7 HTTP/1.1\r\n";
    assert!(asked.starts_with(line), "{asked}");
    assert_eq!((header(&asked, "range"), header(&asked, "accept-encoding")), (Some("bytes=2-4"), Some("gzip")));
    assert_eq!(header(&asked, "authorization"), None);
}

#[tokio::test]
async fn an_answer_to_another_question_is_none() {
    for (status, headers, kind) in [
        (206, "x-goog-generation: 8\r\nContent-Range: bytes 2-4/10\r\n", ErrorKind::VersionChanged),
        (206, "x-goog-generation: 7\r\nContent-Range: bytes 2-4/11\r\n", ErrorKind::VersionChanged),
        (206, "x-goog-generation: 7\r\nContent-Range: bytes 3-5/10\r\n", ErrorKind::BadResponse),
        (200, "x-goog-generation: 7\r\n", ErrorKind::BadResponse),
    ] {
        let server = Server::start(move |_| reply(status, headers, "abc")).await;
        let error = failure(anonymous(&server).get(&object(10, 7), 2..5).await).await;
        assert_eq!(error.kind, kind, "{headers}: {error}");
    }
}

/// Emulators do not tell the generation of what they send, and answer one request at a time: the next is only read when
/// the last byte has been taken.
#[tokio::test]
async fn a_generation_that_is_not_told_is_asked_for() {
    const SIZE: usize = 8 << 20;
    for (now, is_same) in [(7, true), (8, false)] {
        let server = Server::start(move |asked| match asked.contains("alt=media") {
            true => reply(206, &format!("Content-Range: bytes 0-{}/{SIZE}\r\n", SIZE - 1), &"a".repeat(SIZE)),
            false => reply(200, "", &entry("a b//%41", SIZE as u64, now)),
        })
        .await;
        match anonymous(&server).get(&object(SIZE as u64, 7), 0..SIZE as u64).await {
            Ok(body) => assert!(is_same && bytes(body).await.len() == SIZE),
            Err(error) => assert!(!is_same && error.kind == ErrorKind::VersionChanged, "{error}"),
        }
    }
}

#[tokio::test]
async fn a_generation_that_is_gone_is_changed_or_not_found() {
    for (is_there, kind) in [(true, ErrorKind::VersionChanged), (false, ErrorKind::NotFound)] {
        let server = Server::start(move |asked| match asked.contains("alt=media") || !is_there {
            true => reply(404, "", ""),
            false => reply(200, "", &entry("a b//%41", 10, 8)),
        })
        .await;
        assert_eq!(failure(anonymous(&server).get(&object(10, 7), 2..5).await).await.kind, kind);
    }
}

#[tokio::test]
async fn peeks_are_of_one_generation() {
    let server = Server::start(|asked| match (asked.contains("alt=media"), asked.contains("generation=8")) {
        (true, false) => reply(206, "x-goog-generation: 7\r\nContent-Range: bytes 0-2/3\r\n", "old"),
        (true, true) => reply(206, "x-goog-generation: 8\r\nContent-Range: bytes 0-2/3\r\n", "new"),
        (false, _) => reply(200, "", &entry("k", 3, 8)),
    })
    .await;
    let peeked = anonymous(&server).peek("k", 100).await.unwrap();
    assert_eq!((peeked.object.version.id.as_deref(), bytes(peeked.head).await), (Some("8"), b"new".to_vec()));
    let empty = Server::start(|asked| match asked.contains("alt=media") {
        true => reply(416, "", ""),
        false => reply(200, "", &entry("k", 0, 8)),
    })
    .await;
    assert_eq!(anonymous(&empty).peek("k", 100).await.unwrap().object.size, 0);
}

#[tokio::test]
async fn pages_follow_their_token() {
    let server = Server::start(|asked| match asked.contains("pageToken=ne%2Bxt") {
        true => listing(&["d/c"], ""),
        false => listing(&["d/a", "d/b"], "ne+xt"),
    })
    .await;
    let store = anonymous(&server);
    let first = store.list(&request(None)).await.unwrap();
    assert_eq!((first.objects.len(), first.continuation.as_deref()), (2, Some("ne+xt")));
    let last = store.list(&request(first.continuation.as_deref())).await.unwrap();
    assert_eq!((last.objects[0].key.as_str(), last.continuation), ("d/c", None));
    let asked = &server.asked()[0];
    assert!(
        asked.starts_with("GET /storage/v1/b/buc/o?fields=")
            && asked.contains("&maxResults=2&prefix=d%2F&delimiter=%2F")
    );
}

#[tokio::test]
async fn a_page_that_was_not_asked_for_is_none() {
    for (names, token) in [(&["x"][..], ""), (&["d/a", "d/b", "d/c"], "next")] {
        let server = Server::start(move |_| listing(names, token)).await;
        assert_eq!(failure(anonymous(&server).list(&request(None)).await).await.kind, ErrorKind::BadResponse);
    }
    let server = Server::start(|_| reply(200, "", &"[".repeat(17 << 20))).await;
    let error = failure(anonymous(&server).list(&request(None)).await).await;
    assert!(error.kind == ErrorKind::BadResponse && error.message.contains("too long"), "{error}");
}

#[tokio::test]
async fn errors_are_told_by_status_and_reason() {
    for (status, reason, kind) in [
        (404, "notFound", ErrorKind::NotFound),
        (403, "forbidden", ErrorKind::AccessDenied),
        (401, "authError", ErrorKind::Credentials),
        (403, "rateLimitExceeded", ErrorKind::Throttled),
        (503, "backendError", ErrorKind::Throttled),
        (500, "internalError", ErrorKind::Server),
    ] {
        let server = Server::start(move |_| {
            let errors = format!("{{\"errors\": [{{\"reason\": \"{reason}\", \"message\": \"hunter2\"}}]}}");
            reply(status, "Retry-After: 7\r\n", &format!("{{\"error\": {errors}}}"))
        })
        .await;
        let error = failure(anonymous(&server).head("k").await).await;
        assert_eq!((error.kind, error.retry_after.map(|time| time.as_secs())), (kind, Some(7)), "{error}");
        assert!(error.message.contains(reason), "{error}");
    }
}

fn service_account() -> String {
    serde_json::json!({"type": "service_account", "client_email": "a@p.example", "private_key": KEY}).to_string()
}

#[tokio::test]
async fn a_service_account_signs_its_token_here() {
    let server = Server::start(|_| listing(&[], "")).await;
    let store = with_file(&server, &service_account()).await.unwrap();
    store.list(&request(None)).await.unwrap();
    let asked = server.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    let token = header(&asked[0], "authorization").unwrap().strip_prefix("Bearer ").unwrap();
    let parts: Vec<_> = token.split('.').collect();
    // 256 bytes of signature.
    assert_eq!((parts.len(), parts[2].len()), (3, 342), "{token}");
    let claims = parts[1].replace('-', "+").replace('_', "/");
    let padded = format!("{claims}{}", "=".repeat((4 - claims.len() % 4) % 4));
    let claims: serde_json::Value = serde_json::from_slice(&aws_smithy_types::base64::decode(padded).unwrap()).unwrap();
    assert_eq!((&claims["iss"], &claims["scope"]), (&"a@p.example".into(), &credentials::SCOPE.into()));
}

/// A server that is the store and gives tokens, of which it does not take the first.
async fn guarded() -> Server {
    let count = std::sync::atomic::AtomicU32::new(0);
    Server::start(move |asked| {
        if asked.starts_with("POST /token") || asked.contains("/service-accounts/default/token?") {
            let n = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            return reply(200, "", &format!("{{\"access_token\":\"hunter2-{n}\",\"expires_in\":3600}}"));
        }
        match header(asked, "authorization") {
            Some("Bearer hunter2-0") | None => reply(401, "", ""),
            Some(_) => listing(&[], ""),
        }
    })
    .await
}

#[tokio::test]
async fn a_login_gives_tokens_and_one_that_is_refused_is_fetched_anew_once() {
    let server = guarded().await;
    let file = serde_json::json!({
        "type": "authorized_user", "client_id": "id", "client_secret": "hunter2-s", "refresh_token": "hunter2-r",
        "token_uri": format!("{}/token", server.url),
    });
    let store = with_file(&server, &file.to_string()).await.unwrap();
    for _ in 0..3 {
        store.list(&request(None)).await.unwrap();
    }
    let asked = server.asked();
    // Two tokens, one refusal, three listings.
    assert_eq!(asked.len(), 6, "{asked:?}");
    assert!(asked[0].contains("grant_type=refresh_token") && asked[0].contains("refresh_token=hunter2-r"));
    assert!(!format!("{store:?}").contains(SECRET));
}

#[tokio::test]
async fn a_token_of_another_issuer_is_exchanged() {
    let server = guarded().await;
    let subject = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(subject.path(), "{\"id\": \"hunter2-jwt\"}").unwrap();
    let file = serde_json::json!({
        "type": "external_account", "audience": "//iam/x", "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": format!("{}/token", server.url),
        "credential_source": {
            "file": subject.path(), "format": {"type": "json", "subject_token_field_name": "id"},
        },
    });
    with_file(&server, &file.to_string()).await.unwrap().list(&request(None)).await.unwrap();
    assert!(server.asked()[0].contains("subject_token=hunter2-jwt"), "{:?}", server.asked());
}

#[tokio::test]
async fn the_machine_gives_tokens() {
    let server = guarded().await;
    let host = server.url.strip_prefix("http://").unwrap();
    store(&server, &[("GCE_METADATA_HOST", host)]).unwrap().list(&request(None)).await.unwrap();
    assert_eq!(header(&server.asked()[0], "metadata-flavor"), Some("Google"));
}

#[tokio::test]
async fn credentials_that_cannot_be_used_are_told_without_secrets() {
    let server =
        Server::start(|asked| reply(400, "", &format!("{{\"error\":\"invalid_grant\",\"x\":{asked:?}}}"))).await;
    for file in [
        "hunter2".to_owned(),
        "{\"type\": \"hunter2\"}".to_owned(),
        "{\"type\": \"service_account\", \"client_email\": \"a\", \"private_key\": \"hunter2\"}".to_owned(),
        "{\"type\": \"authorized_user\", \"client_id\": \"hunter2\"}".to_owned(),
    ] {
        let error = failure(with_file(&server, &file).await).await;
        assert_eq!(error.kind, ErrorKind::Credentials, "{file}: {error}");
    }
    let file = serde_json::json!({
        "type": "authorized_user", "client_id": "id", "client_secret": "hunter2", "refresh_token": "hunter2",
        "token_uri": format!("{}/token", server.url),
    });
    let store = with_file(&server, &file.to_string()).await.unwrap();
    let error = failure(store.list(&request(None)).await).await;
    assert_eq!(error.kind, ErrorKind::Credentials);
    assert!(error.message.contains("gcloud login") && error.message.contains("invalid_grant"), "{error}");
    let in_the_open = file.to_string().replace(&server.url, "http://elsewhere.example");
    assert!(failure(with_file(&server, &in_the_open).await).await.message.contains("https://"));
    let none = self::store(&server, &[("GCE_METADATA_HOST", "127.0.0.1:1")]).unwrap();
    let error = failure(none.list(&request(None)).await).await;
    assert!(error.kind == ErrorKind::Credentials && error.message.contains("gcloud auth"), "{error}");
}

#[tokio::test]
async fn a_check_says_in_one_line_that_a_bucket_is_not_public() {
    let server = Server::start(|_| reply(401, "", "{\"error\": {\"errors\": [{\"reason\": \"required\"}]}}")).await;
    let mut diagnosis = diagnosis::GcsDiagnosis::open("buc", &options(&server)).unwrap();
    let reached = diagnosis.reach().await;
    assert!(reached.answers && reached.checks.iter().all(|check| check.outcome != Outcome::Fail));
    let error = failure(diagnosis.store().list(&request(None)).await).await;
    assert!(error.message.contains("not public"), "{error}");
}

#[tokio::test]
async fn the_project_that_pays_is_named() {
    let server = Server::start(|_| listing(&[], "")).await;
    let given = GcsOptions { requester_pays: true, ..options(&server) };
    let resolved = given.resolve(&|name| (name == "GOOGLE_CLOUD_PROJECT").then(|| "mine".to_owned())).unwrap();
    GcsStore::open("buc", &resolved).unwrap().list(&request(None)).await.unwrap();
    assert!(server.asked()[0].contains("&userProject=mine"), "{:?}", server.asked());
}
