//! gcp-storage-emulator, an emulator of Google Cloud Storage: `scripts/setup heavy` installs it.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use fitsfs::store::{self, SourceUrl, StoreOptions};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::emulator::{free_port, program, request};
use super::suite::{Contents, Subject};

/// Python has to start.
const PATIENCE: Duration = Duration::from_secs(60);

struct Emulator {
    child: Child,
    port: u16,
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Emulator {
    /// A server with an empty bucket; none where it is not installed.
    fn start() -> Option<Self> {
        let program = program("FITSFS_GCS_EMULATOR", ".venv/bin/gcp-storage-emulator", "gcp-storage-emulator")?;
        let port = free_port();
        let child = Command::new(program)
            .args(["start", "--in-memory", "--host=127.0.0.1", &format!("--port={port}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { child, port };
        let start = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(start.elapsed() < PATIENCE, "gcp-storage-emulator does not start");
            std::thread::sleep(Duration::from_millis(100));
        }
        let json = [("Content-Type", "application/json")];
        assert_eq!(request(port, "POST", "/storage/v1/b", &json, b"{\"name\": \"conformance\"}"), 200);
        Some(server)
    }

    /// It drops the connection on an empty body.
    fn put_nothing(&self, key: &str) {
        let part = |kind: &str, text: &str| format!("--b\r\nContent-Type: {kind}\r\n\r\n{text}\r\n");
        let name = part("application/json", &format!("{{\"name\": {key:?}}}"));
        let body = format!("{name}{}--b--\r\n", part("application/octet-stream", ""));
        let target = "/upload/storage/v1/b/conformance/o?uploadType=multipart";
        let kind = [("Content-Type", "multipart/related; boundary=b")];
        assert_eq!(request(self.port, "POST", target, &kind, body.as_bytes()), 200, "{key:?}");
    }
}

#[async_trait]
impl Contents for Emulator {
    async fn put(&self, key: &str, bytes: Vec<u8>) {
        if bytes.is_empty() {
            return self.put_nothing(key);
        }
        let name = utf8_percent_encode(key, NON_ALPHANUMERIC);
        let target = format!("/upload/storage/v1/b/conformance/o?uploadType=media&name={name}");
        let kind = [("Content-Type", "application/octet-stream")];
        assert_eq!(request(self.port, "POST", &target, &kind, &bytes), 200, "{key:?}");
    }

    async fn delete(&self, key: &str) {
        let target = format!("/storage/v1/b/conformance/o/{}", utf8_percent_encode(key, NON_ALPHANUMERIC));
        let status = request(self.port, "DELETE", &target, &[], b"");
        assert!(matches!(status, 200 | 204), "{key:?}: {status}");
    }

    async fn archive(&self, _key: &str) -> bool {
        false
    }
}

#[tokio::test]
#[ignore = "needs gcp-storage-emulator: scripts/heavy-tools"]
async fn gcs_conforms() {
    let Some(server) = Emulator::start() else {
        fitsfs_lab::untested("gcp-storage-emulator is not installed: scripts/setup heavy");
        return;
    };
    let host = format!("127.0.0.1:{}", server.port);
    let env = |name: &str| (name == "STORAGE_EMULATOR_HOST").then(|| host.clone());
    let source = SourceUrl::parse("gs://conformance").unwrap();
    let options = source.resolve_options(StoreOptions::default(), env).unwrap();
    let store = store::open(&source, &options).await.unwrap();
    Subject { store, contents: Box::new(server), lacks: LACKS }.conforms().await;
}

/// What the emulator does not do as Google Cloud Storage does.
const LACKS: &[(&str, &str)] =
    &[("pages_follow_each_other", "it ignores maxResults, and sends all at once"), ("listing_is_in_order", "the same")];
