//! The store against recorded answers: what it sends, what it makes of answers, and that no secret is shown.

use std::os::unix::fs::PermissionsExt;

use futures::stream::TryStreamExt;

use super::*;
use crate::store::rest::server::{Server, header, reply};
use crate::store::scheme::Scheme;
use crate::store::{Diagnosis, Outcome, Result, StoreOptions};

const SECRET: &str = "hunter2";

/// `hunter2`, as a key.
const KEY: &str = "aHVudGVyMg==";

const TIME: &str = "Last-Modified: Thu, 01 Jan 1970 00:00:10 GMT\r\n";

fn store(server: &Server, env: &[(&str, &str)]) -> Result<AzureStore> {
    let given = StoreOptions {
        azure: AzureOptions { endpoint: Some(format!("{}/acc", server.url)), ..AzureOptions::default() },
        ..StoreOptions::default()
    };
    let get = |name: &str| env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    AzureStore::open("acc/con", &AZURE.resolve(given, &get)?.azure)
}

fn anonymous(server: &Server) -> AzureStore {
    let endpoint = Some(format!("{}/acc", server.url));
    AzureStore::open("acc/con", &AzureOptions { endpoint, anonymous: true, ..AzureOptions::default() }).unwrap()
}

fn request(prefix: &str, continuation: Option<&str>) -> ListRequest {
    let continuation = continuation.map(str::to_owned);
    ListRequest { prefix: prefix.to_owned(), delimited: true, max_keys: 2, continuation }
}

fn object(size: u64) -> ObjectMeta {
    ObjectMeta {
        key: "a b//%41".to_owned(),
        size,
        last_modified: std::time::UNIX_EPOCH,
        version: Version { etag: Some("\"0x1\"".into()), id: None },
        storage_class: None,
    }
}

fn listing(names: &[&str], marker: &str) -> String {
    let blob = |name: &&str| {
        format!(
            "<Blob><Name>{name}</Name><Properties><Last-Modified>Thu, 01 Jan 1970 00:00:10 GMT</Last-Modified>\
             <Etag>0x1</Etag><Content-Length>5</Content-Length></Properties></Blob>"
        )
    };
    let blobs: String = names.iter().map(blob).collect();
    let body =
        format!("<EnumerationResults><Blobs>{blobs}</Blobs><NextMarker>{marker}</NextMarker></EnumerationResults>");
    reply(200, "Content-Type: application/xml\r\n", &body)
}

async fn failure<T>(answer: Result<T>) -> StoreError {
    let Err(error) = answer else { panic!("an answer where there was none") };
    assert!(!error.message.contains(SECRET) && !error.message.contains(KEY), "{error}");
    assert!(!error.message.contains('\n'), "{error}");
    error
}

#[tokio::test]
async fn a_signed_range_names_its_version_and_is_checked() {
    let server =
        Server::start(|_| reply(206, &format!("{TIME}ETag: \"0x1\"\r\nContent-Range: bytes 2-4/10\r\n"), "abc")).await;
    let store = store(&server, &[("AZURE_STORAGE_KEY", KEY)]).unwrap();
    let body = store.get(&object(10), 2..5).await.unwrap();
    assert_eq!(body.stream.try_collect::<Vec<_>>().await.unwrap().concat(), b"abc");
    let asked = server.asked().remove(0);
    assert!(asked.starts_with("GET /acc/con/a%20b//%2541 HTTP/1.1\r\n"), "{asked}");
    assert_eq!((header(&asked, "range"), header(&asked, "if-match")), (Some("bytes=2-4"), Some("\"0x1\"")));
    assert!(header(&asked, "authorization").unwrap().starts_with("SharedKey acc:"), "{asked}");
    assert!(header(&asked, "x-ms-date").is_some() && header(&asked, "x-ms-version").is_some(), "{asked}");
    assert!(!asked.contains(KEY), "{asked}");
}

#[tokio::test]
async fn an_answer_to_another_question_is_none() {
    for (status, headers, kind) in [
        (206, "ETag: \"0x2\"\r\nContent-Range: bytes 2-4/10\r\n", ErrorKind::VersionChanged),
        (206, "ETag: \"0x1\"\r\nContent-Range: bytes 2-4/11\r\n", ErrorKind::VersionChanged),
        (206, "ETag: \"0x1\"\r\nContent-Range: bytes 3-5/10\r\n", ErrorKind::BadResponse),
        (206, "Content-Range: bytes 2-4/10\r\n", ErrorKind::BadResponse),
        (200, "ETag: \"0x1\"\r\n", ErrorKind::BadResponse),
    ] {
        let server = Server::start(move |_| reply(status, headers, "abc")).await;
        let error = failure(anonymous(&server).get(&object(10), 2..5).await).await;
        assert_eq!(error.kind, kind, "{headers}: {error}");
    }
}

#[tokio::test]
async fn pages_follow_their_marker() {
    let server = Server::start(|asked| match asked.contains("marker=2%21next") {
        true => listing(&["d/c"], ""),
        false => listing(&["d/a", "d/b"], "2!next"),
    })
    .await;
    let store = anonymous(&server);
    let first = store.list(&request("d/", None)).await.unwrap();
    assert_eq!((first.objects.len(), first.continuation.as_deref()), (2, Some("2!next")));
    let last = store.list(&request("d/", first.continuation.as_deref())).await.unwrap();
    assert_eq!((last.objects[0].key.as_str(), last.continuation), ("d/c", None));
    let asked = &server.asked()[0];
    let line = "GET /acc/con?comp=list&maxresults=2&prefix=d%2F&restype=container&delimiter=%2F HTTP/1.1";
    assert!(asked.starts_with(line), "{asked}");
    assert_eq!(header(asked, "authorization"), None);
}

#[tokio::test]
async fn a_page_that_was_not_asked_for_is_none() {
    for names in [&["x"][..], &["d/a", "d/b", "d/c"]] {
        let server = Server::start(move |_| listing(names, "")).await;
        assert_eq!(failure(anonymous(&server).list(&request("d/", None)).await).await.kind, ErrorKind::BadResponse);
    }
}

#[tokio::test]
async fn a_listing_without_end_is_cut() {
    let server = Server::start(|_| reply(200, "", &"<Blob/>".repeat(3 << 20))).await;
    let error = failure(anonymous(&server).list(&request("", None)).await).await;
    assert_eq!(error.kind, ErrorKind::BadResponse, "{error}");
    assert!(error.message.contains("too long"), "{error}");
}

#[tokio::test]
async fn errors_are_told_by_status_and_code() {
    for (status, code, kind) in [
        (404, "BlobNotFound", ErrorKind::NotFound),
        (403, "AuthorizationPermissionMismatch", ErrorKind::AccessDenied),
        (403, "AuthenticationFailed", ErrorKind::Credentials),
        (412, "ConditionNotMet", ErrorKind::VersionChanged),
        (409, "BlobArchived", ErrorKind::Archived),
        (503, "ServerBusy", ErrorKind::Throttled),
        (500, "InternalError", ErrorKind::Server),
    ] {
        let server = Server::start(move |asked| {
            let echo = format!("<Error><Code>{code}</Code><Message>{}</Message></Error>", asked.replace('<', ""));
            reply(status, "Retry-After: 7\r\nx-ms-request-id: 1-2-3\r\n", &echo)
        })
        .await;
        let store =
            store(&server, &[("AZURE_STORAGE_SAS_TOKEN", "?sv=1&sig=hunter2"), ("AZURE_STORAGE_ACCOUNT", "acc")])
                .unwrap();
        let error = failure(store.get(&object(10), 0..1).await).await;
        assert_eq!((error.kind, error.retry_after.map(|time| time.as_secs())), (kind, Some(7)), "{error}");
        assert!(error.message.contains(code) && error.message.contains("1-2-3"), "{error}");
        assert!(server.asked()[0].contains("/a%20b//%2541?sv=1&sig=hunter2 HTTP"), "{:?}", server.asked());
    }
}

/// Azurite has one answer to all that it does not like.
#[tokio::test]
async fn a_key_that_is_refused_is_no_matter_of_permission() {
    let server = Server::start(|_| reply(403, "x-ms-error-code: AuthorizationFailure\r\n", "")).await;
    let store = store(&server, &[("AZURE_STORAGE_KEY", KEY)]).unwrap();
    let error = failure(store.list(&request("", None)).await).await;
    assert!(error.kind == ErrorKind::Credentials && error.message.contains("the key is not"), "{error}");
}

/// A server that says of what is not there that its condition does not hold.
#[tokio::test]
async fn a_blob_that_is_gone_is_not_another_version() {
    let server = Server::start(|asked| match asked.starts_with("HEAD") {
        true => reply(404, "x-ms-error-code: BlobNotFound\r\n", ""),
        false => reply(412, "x-ms-error-code: ConditionNotMet\r\n", ""),
    })
    .await;
    assert_eq!(failure(anonymous(&server).get(&object(10), 0..1).await).await.kind, ErrorKind::NotFound);
}

#[tokio::test]
async fn a_signature_that_expired_is_told_in_one_line() {
    let server = Server::start(|_| reply(403, "x-ms-error-code: AuthenticationFailed\r\n", "")).await;
    let sas =
        [("AZURE_STORAGE_SAS_TOKEN", "se=2020-01-01T00%3A00%3A00Z&sig=hunter2"), ("AZURE_STORAGE_ACCOUNT", "acc")];
    let store = store(&server, &sas).unwrap();
    let error = failure(store.list(&request("", None)).await).await;
    assert_eq!(error.kind, ErrorKind::Credentials);
    assert!(error.message.contains("expired at 2020-01-01T00:00:00Z"), "{error}");
    let mut diagnosis = diagnosis::AzureDiagnosis::open(
        "acc/con",
        &AzureOptions {
            endpoint: Some(format!("{}/acc", server.url)),
            sas: Some(crate::store::rest::secret::Secret::new(sas[0].1)),
            ..AzureOptions::default()
        },
    )
    .unwrap();
    let reached = diagnosis.reach().await;
    assert!(!reached.answers);
    let check = reached.checks.iter().find(|check| check.outcome == Outcome::Fail).unwrap();
    assert!(check.finding.contains("expired at 2020-01-01") && !check.finding.contains(SECRET), "{check:?}");
}

#[tokio::test]
async fn peeks_of_something_and_of_nothing() {
    let server = Server::start(|_| {
        reply(206, &format!("{TIME}ETag: \"0x1\"\r\nContent-Range: bytes 0-2/3\r\nx-ms-access-tier: Cool\r\n"), "abc")
    })
    .await;
    let peeked = anonymous(&server).peek("k", 100).await.unwrap();
    assert_eq!((peeked.object.size, peeked.object.storage_class.unwrap().is_archived), (3, false));
    assert_eq!(peeked.head.stream.try_collect::<Vec<_>>().await.unwrap().concat(), b"abc");
    let server = Server::start(|asked| match asked.starts_with("HEAD") {
        true => reply(200, &format!("{TIME}ETag: \"0x1\"\r\n"), ""),
        false => reply(416, "x-ms-error-code: InvalidRange\r\n", ""),
    })
    .await;
    let peeked = anonymous(&server).peek("k", 100).await.unwrap();
    assert_eq!(peeked.object.size, 0);
    assert_eq!(header(&server.asked()[0], "if-match"), None);
}

#[tokio::test]
async fn a_folder_of_a_hierarchical_namespace_is_no_object() {
    let folder = "x-ms-resource-type: directory\r\n";
    let server = Server::start(move |_| reply(200, &format!("{TIME}{folder}ETag: \"0x1\"\r\n"), "")).await;
    assert_eq!(failure(anonymous(&server).head("d").await).await.kind, ErrorKind::NotFound);
}

/// A server that is the store and the authority, and takes tokens but the first.
async fn guarded() -> Server {
    let count = std::sync::atomic::AtomicU32::new(0);
    Server::start(move |asked| {
        if asked.starts_with("POST /ten/oauth2/v2.0/token") || asked.starts_with("GET /metadata/identity/oauth2/token?")
        {
            let n = count.fetch_add(1, Ordering::Relaxed);
            return reply(200, "", &format!("{{\"access_token\":\"hunter2-{n}\",\"expires_in\":\"3600\"}}"));
        }
        match header(asked, "authorization") {
            Some("Bearer hunter2-0") => reply(401, "x-ms-error-code: InvalidAuthenticationInfo\r\n", ""),
            Some(_) => listing(&[], ""),
            None => reply(401, "", ""),
        }
    })
    .await
}

#[tokio::test]
async fn a_token_that_is_refused_is_fetched_anew_once() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "hunter2-jwt\n").unwrap();
    let server = guarded().await;
    let env = [
        ("AZURE_AUTHORITY_HOST", server.url.as_str()),
        ("AZURE_TENANT_ID", "ten"),
        ("AZURE_CLIENT_ID", "app"),
        ("AZURE_FEDERATED_TOKEN_FILE", file.path().to_str().unwrap()),
    ];
    let store = store(&server, &env).unwrap();
    for _ in 0..3 {
        store.list(&request("", None)).await.unwrap();
    }
    let asked = server.asked();
    // Two tokens, one refusal, three listings.
    assert_eq!(asked.len(), 6, "{asked:?}");
    assert!(asked[0].contains("client_assertion=hunter2-jwt") && asked[0].contains("client_id=app"), "{}", asked[0]);
}

#[tokio::test]
async fn a_managed_identity_gives_tokens() {
    let server = guarded().await;
    let store = store(&server, &[("AZURE_POD_IDENTITY_AUTHORITY_HOST", server.url.as_str())]).unwrap();
    store.list(&request("", None)).await.unwrap();
    let asked = server.asked().remove(0);
    assert!(asked.contains("resource=https%3A%2F%2Fstorage.azure.com%2F"), "{asked}");
    assert_eq!(header(&asked, "metadata"), Some("true"));
}

#[tokio::test]
async fn who_is_logged_in_by_az_gives_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("az");
    let script = "#!/bin/sh\necho '{\"accessToken\": \"hunter2-az\", \"expires_on\": 4000000000}'\n";
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let server = guarded().await;
    let path = folder.path().to_str().unwrap();
    let store = store(&server, &[("AZURE_POD_IDENTITY_AUTHORITY_HOST", "disabled"), ("PATH", path)]).unwrap();
    store.list(&request("", None)).await.unwrap();
    assert_eq!(header(&server.asked()[0], "authorization"), Some("Bearer hunter2-az"));
}

#[tokio::test]
async fn credentials_that_cannot_be_had_are_told_without_secrets() {
    let refusing = Server::start(|asked| {
        reply(400, "", &format!("{{\"error\":\"invalid_client\",\"error_description\":{asked:?}}}"))
    })
    .await;
    let env = [
        ("AZURE_AUTHORITY_HOST", refusing.url.as_str()),
        ("AZURE_TENANT_ID", "ten"),
        ("AZURE_CLIENT_ID", "app"),
        ("AZURE_CLIENT_SECRET", SECRET),
    ];
    let error = failure(store(&refusing, &env).unwrap().list(&request("", None)).await).await;
    assert_eq!(error.kind, ErrorKind::Credentials);
    assert!(error.message.contains("service principal") && error.message.contains("invalid_client"), "{error}");
    let none = [("AZURE_POD_IDENTITY_AUTHORITY_HOST", "disabled")];
    let error = failure(store(&refusing, &none).unwrap().list(&request("", None)).await).await;
    assert_eq!(error.kind, ErrorKind::Credentials);
    assert!(error.message.contains("az login") && error.message.contains("--no-sign-request"), "{error}");
}

#[tokio::test]
async fn a_host_that_does_not_answer_is_named() {
    let endpoint = Some("http://127.0.0.1:1/acc".to_owned());
    let options = AzureOptions { endpoint, anonymous: true, ..AzureOptions::default() };
    let error = failure(AzureStore::open("acc/con", &options).unwrap().head("k").await).await;
    assert_eq!(error.kind, ErrorKind::Network);
    assert!(error.message.contains("127.0.0.1"), "{error}");
}

/// What the account restores blobs with, and an order of these days.
async fn restored(server: &Server, days: Option<u16>) -> Result<()> {
    let given = AzureOptions { endpoint: Some(format!("{}/acc", server.url)), ..AzureOptions::default() };
    let get = |name: &str| (name == "AZURE_STORAGE_KEY").then(|| KEY.to_owned());
    let options = AZURE.resolve(StoreOptions { azure: given, ..StoreOptions::default() }, &get)?;
    let restorer = AZURE.restorer("acc/con", &options).await?;
    let order = crate::store::RestoreOrder { days, tier: crate::store::RestoreTier::Expedited };
    restorer.restore(&object(10), order).await
}

#[tokio::test]
async fn a_blob_is_rehydrated_by_its_tier() {
    let server = Server::start(|_| reply(202, "", "")).await;
    restored(&server, None).await.unwrap();
    let asked = server.asked().remove(0);
    assert!(asked.starts_with("PUT /acc/con/a%20b//%2541?comp=tier HTTP/1.1\r\n"), "{asked}");
    assert_eq!((header(&asked, "x-ms-access-tier"), header(&asked, "content-length")), (Some("Hot"), Some("0")));
    assert_eq!(header(&asked, "x-ms-rehydrate-priority"), Some("High"));
    assert!(header(&asked, "authorization").unwrap().starts_with("SharedKey acc:"), "{asked}");
    assert!(failure(restored(&server, Some(7)).await).await.message.contains("leave out --days"));
    let pending = Server::start(|_| reply(409, "x-ms-error-code: BlobBeingRehydrated\r\n", "")).await;
    restored(&pending, None).await.unwrap();
    let anonymous = AzureOptions { anonymous: true, ..AzureOptions::default() };
    let options = StoreOptions { azure: anonymous, ..StoreOptions::default() };
    assert!(failure(AZURE.restorer("acc/con", &options).await).await.message.contains("never anonymous"));
}

#[tokio::test]
async fn a_blob_on_its_way_out_of_the_archive_is_told() {
    let server = Server::start(|_| {
        let tier = "x-ms-access-tier: Archive\r\nx-ms-archive-status: rehydrate-pending-to-hot\r\n";
        reply(200, &format!("{TIME}ETag: \"0x1\"\r\n{tier}"), "")
    })
    .await;
    let state = anonymous(&server).archive(&object(10)).await.unwrap();
    assert_eq!(state, Some(ArchiveState::Restoring));
}
