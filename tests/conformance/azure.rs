//! Azurite, the emulator of Azure Blob Storage: `scripts/setup heavy` installs it.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use aws_smithy_types::date_time::Format;
use aws_smithy_types::{DateTime, base64};
use fitsfs::store::{self, SourceUrl, StoreOptions};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::hmac;

use super::emulator::{free_port, program, request};
use super::suite::{Contents, Subject};

/// Node.js has to start.
const PATIENCE: Duration = Duration::from_secs(60);

const ACCOUNT: &str = "devstoreaccount1";
/// Public: that of every Azurite.
const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

struct Azurite {
    child: Child,
    port: u16,
}

impl Drop for Azurite {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Azurite {
    /// A server with an empty container; none where it is not installed.
    fn start() -> Option<Self> {
        let program = program("FITSFS_AZURITE", ".venv/azurite/node_modules/.bin/azurite-blob", "azurite-blob")?;
        let port = free_port();
        let child = Command::new(program)
            .args(["--silent", "--skipApiVersionCheck", "--disableTelemetry", "--inMemoryPersistence"])
            .args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string()])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { child, port };
        let start = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(start.elapsed() < PATIENCE, "Azurite does not start");
            std::thread::sleep(Duration::from_millis(100));
        }
        assert_eq!(server.send("PUT", "", "restype=container", &[], b""), 201);
        Some(server)
    }

    /// Sends a signed request for the container or one of its blobs.
    fn send(&self, method: &str, key: &str, query: &str, headers: &[(&str, &str)], body: &[u8]) -> u16 {
        let mut path = format!("/{ACCOUNT}/conformance");
        if !key.is_empty() {
            path.push_str(&format!("/{}", utf8_percent_encode(key, PATH)));
        }
        let date = DateTime::from(SystemTime::now()).fmt(Format::HttpDate).unwrap();
        let mut own = vec![("x-ms-date", date.as_str()), ("x-ms-version", "2021-12-02")];
        own.extend_from_slice(headers);
        own.sort_unstable();
        let length = if body.is_empty() { String::new() } else { body.len().to_string() };
        let mut text = format!("{method}\n\n\n{length}\n\n\n\n\n\n\n\n\n");
        text.extend(own.iter().map(|(name, value)| format!("{name}:{value}\n")));
        text.push_str(&format!("/{ACCOUNT}{path}"));
        text.extend(
            query.split('&').filter(|pair| !pair.is_empty()).map(|pair| format!("\n{}", pair.replace('=', ":"))),
        );
        let key = hmac::Key::new(hmac::HMAC_SHA256, &base64::decode(KEY).unwrap());
        let signature = base64::encode(hmac::sign(&key, text.as_bytes()).as_ref());
        let authorization = format!("SharedKey {ACCOUNT}:{signature}");
        own.push(("authorization", &authorization));
        let target = if query.is_empty() { path } else { format!("{path}?{query}") };
        request(self.port, method, &target, &own, body)
    }
}

#[async_trait]
impl Contents for Azurite {
    async fn put(&self, key: &str, bytes: Vec<u8>) {
        assert_eq!(self.send("PUT", key, "", &[("x-ms-blob-type", "BlockBlob")], &bytes), 201, "{key:?}");
    }

    async fn delete(&self, key: &str) {
        assert_eq!(self.send("DELETE", key, "", &[], b""), 202, "{key:?}");
    }

    async fn archive(&self, key: &str) -> bool {
        self.send("PUT", key, "comp=tier", &[("x-ms-access-tier", "Archive")], b"") == 200
    }
}

/// What Azurite, like the service, does not do.
const LACKS: &[(&str, &str)] = &[("odd_keys_are_kept", "a backslash in a URL becomes a slash")];

#[tokio::test]
#[ignore = "needs Azurite: scripts/heavy-tools"]
async fn azure_conforms() {
    let Some(server) = Azurite::start() else {
        fitsfs_lab::untested("Azurite is not installed: scripts/setup heavy");
        return;
    };
    let connection =
        format!("AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint=http://127.0.0.1:{}/{ACCOUNT}", server.port);
    let env = |name: &str| (name == "AZURE_STORAGE_CONNECTION_STRING").then(|| connection.clone());
    let source = SourceUrl::parse(&format!("az://{ACCOUNT}/conformance")).unwrap();
    let options = source.resolve_options(StoreOptions::default(), env).unwrap();
    let store = store::open(&source, &options).await.unwrap();
    for key in ["own/x//y", "own/dir/", "own/%41", "own/a b+c", "own/?q=1&r#f", "own/é", "own/<&>\"'"] {
        server.put(key, key.as_bytes().to_vec()).await;
        assert_eq!(store.head(key).await.unwrap().size, key.len() as u64, "{key:?}");
    }
    Subject { store, contents: Box::new(server), lacks: LACKS }.conforms().await;
}
