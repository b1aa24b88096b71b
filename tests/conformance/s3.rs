//! Other people's S3 servers: garage and moto, which are started here, and any other that is named by its endpoint.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Region, RequestChecksumCalculation};
use fitsfs::store::{self, S3Options, SourceUrl, StoreOptions};
use tempfile::TempDir;

use super::emulator::{free_port, program};
use super::suite::{Contents, Subject};

/// A server that has just been started answers within this time.
const PATIENCE: Duration = Duration::from_secs(60);

/// The keys of the servers that are started here. Those of garage have this form.
const KEY_ID: &str = "GK0123456789abcdef01234567";
const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const BUCKET: &str = "conformance";

struct Server {
    client: Client,
    bucket: String,
    /// What was started here, and ends with the test.
    _running: Option<Running>,
}

struct Running {
    child: Child,
    _folder: TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

impl Server {
    /// A bucket of the server at this endpoint.
    async fn at(endpoint: &str, bucket: String, keys: Credentials, running: Option<Running>) -> Self {
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(endpoint)
            .region(Region::new("us-east-1"))
            .force_path_style(true)
            .credentials_provider(keys)
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .http_client(aws_smithy_http_client::Builder::new().build_http());
        let client = Client::from_conf(config.build());
        let start = Instant::now();
        while let Err(error) = client.list_buckets().send().await {
            assert!(start.elapsed() < PATIENCE, "{endpoint} does not answer: {error:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        // It may be there, and these credentials not be allowed to make another.
        let made = client.create_bucket().bucket(&bucket).send().await;
        let listed = client.list_objects_v2().bucket(&bucket).send().await;
        assert!(listed.is_ok(), "no bucket {bucket}: {made:?}");
        Self { client, bucket, _running: running }
    }

    /// A server that is started here, by what a folder and a port make of a command.
    async fn start(command: impl FnOnce(&Path, u16) -> Command) -> Subject {
        let (folder, port) = (TempDir::new().unwrap(), free_port());
        let mut command = command(folder.path(), port);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let running = Running { child, _folder: folder };
        let keys = Credentials::new(KEY_ID, SECRET, None, None, "test");
        Self::subject(&format!("http://127.0.0.1:{port}"), BUCKET.to_owned(), keys, Some(running)).await
    }

    /// What the suite asks.
    async fn subject(endpoint: &str, bucket: String, keys: Credentials, running: Option<Running>) -> Subject {
        let s3 = S3Options {
            endpoint_url: Some(endpoint.to_owned()),
            region: Some("us-east-1".to_owned()),
            keys: Some(keys.clone()),
            ..S3Options::default()
        };
        let source = SourceUrl::parse(&format!("s3://{bucket}")).unwrap();
        let store = store::open(&source, &StoreOptions::from(s3)).await.unwrap();
        Subject { store, contents: Box::new(Self::at(endpoint, bucket, keys, running).await), lacks: &[] }
    }
}

#[async_trait]
impl Contents for Server {
    async fn put(&self, key: &str, bytes: Vec<u8>) {
        self.client.put_object().bucket(&self.bucket).key(key).body(bytes.into()).send().await.unwrap();
    }

    async fn delete(&self, key: &str) {
        self.client.delete_object().bucket(&self.bucket).key(key).send().await.unwrap();
    }

    async fn archive(&self, _key: &str) -> bool {
        false
    }
}

#[tokio::test]
#[ignore = "needs a server: FITSFS_CONFORMANCE_ENDPOINT, FITSFS_CONFORMANCE_BUCKET, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY"]
async fn a_server_of_others_conforms() {
    let (endpoint, bucket) = (variable("FITSFS_CONFORMANCE_ENDPOINT"), variable("FITSFS_CONFORMANCE_BUCKET"));
    let (id, secret) = (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"));
    let keys = Credentials::new(id, secret, None, None, "environment");
    Server::subject(&endpoint, bucket, keys, None).await.conforms().await;
}

#[tokio::test]
#[ignore = "needs garage: scripts/heavy-tools --garage"]
async fn garage_conforms() {
    let Some(program) = program("FITSFS_GARAGE", "target/garage/bin/garage", "garage") else {
        fitsfs_lab::untested("garage is not installed: scripts/heavy-tools --garage");
        return;
    };
    Server::start(|folder, port| garage(&program, folder, port)).await.conforms().await;
}

/// A node of its own, with one bucket.
fn garage(program: &PathBuf, folder: &Path, port: u16) -> Command {
    let (config, rpc, at) = (folder.join("garage.toml"), free_port(), folder.display());
    let text = format!(
        "metadata_dir = \"{at}/meta\"\ndata_dir = \"{at}/data\"\ndb_engine = \"sqlite\"\nreplication_factor = 1\n\
         rpc_bind_addr = \"127.0.0.1:{rpc}\"\nrpc_public_addr = \"127.0.0.1:{rpc}\"\nrpc_secret = \"{SECRET}\"\n\
         [s3_api]\ns3_region = \"us-east-1\"\napi_bind_addr = \"127.0.0.1:{port}\"\n"
    );
    fs::write(&config, text).unwrap();
    let mut command = Command::new(program);
    command.arg("-c").arg(config).args(["server", "--single-node", "--default-bucket"]);
    command.env("GARAGE_DEFAULT_ACCESS_KEY", KEY_ID).env("GARAGE_DEFAULT_SECRET_KEY", SECRET);
    command.env("GARAGE_DEFAULT_BUCKET", BUCKET);
    command
}

#[tokio::test]
#[ignore = "needs moto: scripts/heavy-tools"]
async fn moto_conforms() {
    let Some(program) = program("FITSFS_MOTO", ".venv/bin/moto_server", "moto_server") else {
        fitsfs_lab::untested("moto is not installed: scripts/setup heavy");
        return;
    };
    let command = |_: &Path, port: u16| {
        let mut command = Command::new(program);
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        command
    };
    Server::start(command).await.conforms().await;
}
