//! Other people's S3 servers: `scripts/heavy-tools` starts them, and says where they are.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Region, RequestChecksumCalculation};
use fitsfs::store::{self, S3Options, SourceUrl, StoreOptions};

use super::suite::{Contents, Subject};

/// A server that has just been started answers within this time.
const PATIENCE: Duration = Duration::from_secs(60);

struct Server {
    client: Client,
    bucket: String,
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

impl Server {
    /// A bucket of the server at this endpoint, with the credentials of the environment.
    async fn at(endpoint: &str, bucket: String) -> Self {
        let (id, key) = (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"));
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(endpoint)
            .region(Region::new("us-east-1"))
            .force_path_style(true)
            .credentials_provider(Credentials::new(id, key, None, None, "test"))
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
        Self { client, bucket }
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
#[ignore = "needs a server: scripts/heavy-tools"]
async fn a_server_of_others_conforms() {
    let (endpoint, bucket) = (variable("FITSFS_CONFORMANCE_ENDPOINT"), variable("FITSFS_CONFORMANCE_BUCKET"));
    let s3 = S3Options { endpoint_url: Some(endpoint.clone()), ..S3Options::default() };
    let source = SourceUrl::parse(&format!("s3://{bucket}")).unwrap();
    let store = store::open(&source, &StoreOptions::from(s3)).await.unwrap();
    Subject { store, contents: Box::new(Server::at(&endpoint, bucket).await), lacks: &[] }.conforms().await;
}
