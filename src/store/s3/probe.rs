//! Questions to a bucket that only a diagnosis asks.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use aws_credential_types::provider::ProvideCredentials;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Intercept, RuntimeComponents};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextRef;
use aws_smithy_types::DateTime;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::date_time::Format;
use parking_lot::Mutex;

use super::failure::{Failure, bucket_region, credentials_cause};
use super::{CredentialsInfo, S3Store};
use crate::store::web::encoding::whole_seconds;
use crate::store::{ErrorKind, ObjectMeta, Result, Store, StoreError};

/// What a bucket answers to HeadBucket, signed or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probe {
    /// The HTTP status of HeadBucket.
    pub status: u16,
    /// Where the bucket says that it is.
    pub bucket_region: Option<String>,
    /// The server's clock, in whole seconds.
    pub date: Option<SystemTime>,
}

impl S3Store {
    /// The host (and port) that requests go to, as it stands in the identity of the bucket.
    pub fn endpoint(&self) -> String {
        self.connector.identity()
    }

    /// Looks up the credentials; none when requests are not signed.
    pub async fn credentials(&self) -> Result<Option<CredentialsInfo>> {
        let Some(provider) = self.connector.credentials() else {
            return Ok(None);
        };
        match provider.provide_credentials().await {
            Ok(credentials) => Ok(Some(CredentialsInfo::new(&credentials))),
            Err(error) => Err(StoreError::new(ErrorKind::Credentials, credentials_cause(&error))),
        }
    }

    /// API reference, "HeadBucket". Any answer is a success; only one that is none is an error.
    pub async fn probe(&self) -> Result<Probe> {
        let seen = Seen::default();
        let connection = self.connector.current();
        let request = connection.client.head_bucket().bucket(&self.bucket);
        let sent = request.customize().interceptor(seen.clone()).send().await;
        match (seen.0.lock().take(), sent) {
            (Some(probe), _) => Ok(probe),
            (None, Err(error)) => {
                let request = format!("HEAD s3://{}", self.bucket);
                Err(Failure::new(&error).into_error(&request, &self.connector.peer(&connection)))
            }
            (None, Ok(_)) => Ok(Probe::default()),
        }
    }

    /// Whether a GET for another entity tag than the object's is refused, as it must be.
    pub async fn enforces_if_match(&self, object: &ObjectMeta) -> Result<bool> {
        let name = format!("GET {} If-Match", self.url(&object.key));
        let send = |client: Client| {
            let get = client.get_object().bucket(&self.bucket).key(&object.key);
            get.range("bytes=0-0").if_match("\"no-such-version\"").set_request_payer(self.payer.clone()).send()
        };
        match self.call(&name, send).await {
            Ok(_) => {
                self.unconditional.store(true, Ordering::Relaxed);
                Ok(false)
            }
            Err(error) if error.kind == ErrorKind::VersionChanged => Ok(true),
            Err(error) => Err(error),
        }
    }
}

/// Keeps what the parsed output does not show of an answer.
#[derive(Clone, Debug, Default)]
struct Seen(Arc<Mutex<Option<Probe>>>);

impl Intercept for Seen {
    fn name(&self) -> &'static str {
        "Seen"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> std::result::Result<(), BoxError> {
        let answer = context.response();
        let date = answer.headers().get("date").and_then(|date| DateTime::from_str(date, Format::HttpDate).ok());
        *self.0.lock() = Some(Probe {
            status: answer.status().as_u16(),
            bucket_region: bucket_region(answer),
            date: date.map(whole_seconds),
        });
        Ok(())
    }
}
