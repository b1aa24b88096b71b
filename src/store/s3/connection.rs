//! The SDK client: how it is built, and how it is replaced while requests run.
//!
//! A client is immutable; a wrong region or expired credentials are cured by building another with the same HTTP pool.
//! A request that fails names the connection that it used, so that of many that fail at once one rebuilds.
//!
//! Off in the SDK, because it is done above: retries, stalled streams, checksums of whole objects (a range has none).

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, SdkConfig};
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    IdentityCache, Intercept, RequestChecksumCalculation, ResponseChecksumValidation, RuntimeComponents,
};
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeTransmitInterceptorContextMut, BeforeTransmitInterceptorContextRef,
};
use aws_smithy_types::config_bag::ConfigBag;
use aws_types::region::Region;
use aws_types::service_config::ServiceConfigKey;
use parking_lot::Mutex;
use url::Url;

use super::credentials::Provider;
use super::failure::Peer;
use super::odd_headers::WithoutOddHeaders;
use super::options::{AWS_IDENTITY, Endpoint, S3Options};
use super::profile::Settings;
use crate::store::Result;
use crate::store::web::authorities;
use crate::store::web::http;

/// A TCP and TLS handshake takes three round trips: 1 s even at 300 ms each. A SYN that was lost is sent again after
/// 1 s, and after 3 s for the second time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// From sending to the first byte of the answer. S3's tail is below 1 s; beyond several the connection is dead or its
/// server is, and a repeated request on another is faster than waiting.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(5);

/// One whole attempt of a LIST or HEAD, and of a GET up to its body: also a listing that trickles in must end.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where requests start when nothing names a region: the buckets of the archives are here, and from here S3 tells where
/// any other bucket is.
const DEFAULT_REGION: &str = "us-east-1";

/// A client, the region that it signs for, and whether it names the bucket in the path.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) region: String,
    pub(super) path_style: bool,
    host: Arc<OnceLock<String>>,
}

/// The connection in use and what it takes to build another.
#[derive(Debug)]
pub(super) struct Connector {
    sdk: SdkConfig,
    endpoint: Option<Endpoint>,
    /// Whether a user has said where the bucket is named.
    style_is_given: bool,
    /// None where requests are not signed.
    credentials: Option<Arc<Provider>>,
    current: ArcSwap<Connection>,
    /// Held while a connection is replaced; nothing is awaited under it.
    replacing: Mutex<()>,
}

impl Connector {
    /// Reads profile files; sends nothing.
    pub(super) async fn new(options: &S3Options) -> Result<Self> {
        let settings = Settings::read(options.named_profile()).await;
        let bundle = options.ca_bundle.as_deref().or(settings.ca_bundle.as_deref());
        let http = http::client(&authorities::context(bundle, "AWS_CA_BUNDLE, or ca_bundle of a profile")?);
        let region = region(options).await;
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http.clone())
            .region(region.clone())
            .retry_config(RetryConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .timeout_config(timeouts());
        if let Ok(name) = AppName::new("fitsfs") {
            loader = loader.app_name(name);
        }
        if let Some(profile) = options.named_profile() {
            loader = loader.profile_name(profile);
        }
        let provider = Provider::new(http, region.clone(), options);
        let credentials = (!options.no_sign_request).then(|| Arc::new(provider));
        loader = match &credentials {
            Some(provider) => loader.credentials_provider(SharedCredentialsProvider::from(shared(provider))),
            None => loader.no_credentials(),
        };
        let sdk = loader.load().await;
        let ignored = options.ignore_configured_endpoints || settings.ignore_endpoints;
        let endpoint = endpoint(options, if ignored { None } else { Some(&sdk) })?;
        let given = options.path_style.or(settings.path_style);
        let by_host = || endpoint.as_ref().is_some_and(Endpoint::prefers_path_style);
        let connection = connect(&sdk, endpoint.as_ref(), given.unwrap_or_else(by_host), region);
        let (style_is_given, current) = (given.is_some(), ArcSwap::from_pointee(connection));
        Ok(Self { sdk, endpoint, style_is_given, credentials, current, replacing: Mutex::new(()) })
    }

    pub(super) fn current(&self) -> Arc<Connection> {
        self.current.load_full()
    }

    /// The provider that requests are signed by; none where they are not signed.
    pub(super) fn credentials(&self) -> Option<&Arc<Provider>> {
        self.credentials.as_ref()
    }

    /// What tells this endpoint's buckets from those of others.
    pub(super) fn identity(&self) -> String {
        self.endpoint.as_ref().map_or_else(|| AWS_IDENTITY.to_owned(), Endpoint::identity)
    }

    /// The same as a URL. What came by http could have been changed on its way, and does not pass for what comes
    /// by https.
    pub(super) fn store_id(&self) -> String {
        let is_open = self.endpoint.as_ref().is_some_and(Endpoint::is_open);
        format!("{}://{}", if is_open { "s3+http" } else { "s3" }, self.identity())
    }

    /// The server that has answered the requests of a connection, or has not.
    pub(super) fn peer(&self, connection: &Connection) -> Peer {
        let host = connection.host.get().cloned().unwrap_or_else(|| self.identity());
        let is_custom = self.endpoint.as_ref().is_some_and(Endpoint::prefers_path_style);
        Peer { host, may_lack_the_bucket: is_custom && !connection.path_style }
    }

    /// Whether the bucket may be named in the host after all: no option says where.
    pub(super) fn may_change_style(&self) -> bool {
        !self.style_is_given
    }

    /// Replaces the connection that failed by one of this region and style, and with credentials that are fetched anew,
    /// unless another request has done so already.
    pub(super) fn replace(&self, failed: &Arc<Connection>, region: &str, path_style: bool) {
        let _guard = self.replacing.lock();
        if Arc::ptr_eq(&self.current.load(), failed) {
            if let Some(provider) = &self.credentials {
                provider.forget();
            }
            let region = Region::new(region.to_owned());
            let connection = connect(&self.sdk, self.endpoint.as_ref(), path_style, region);
            self.current.store(Arc::new(connection));
        }
    }
}

fn connect(sdk: &SdkConfig, endpoint: Option<&Endpoint>, path_style: bool, region: Region) -> Connection {
    let name = region.as_ref().to_owned();
    let host = Arc::new(OnceLock::new());
    let mut config = aws_sdk_s3::config::Builder::from(sdk)
        .region(region)
        .force_path_style(path_style)
        // A cache of its own: the credentials of the connection before are not asked again. Looking them up has its own,
        // shorter time limit.
        .identity_cache(IdentityCache::lazy().load_timeout(ATTEMPT_TIMEOUT).build())
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .interceptor(IdentityEncoding)
        .interceptor(WithoutOddHeaders)
        .interceptor(NoteHost(Arc::clone(&host)));
    config.set_endpoint_url(endpoint.map(|endpoint| endpoint.as_str().to_owned()));
    if sdk.credentials_provider().is_none() {
        config = config.allow_no_auth();
    }
    Connection { client: Client::from_conf(config.build()), region: name, path_style, host }
}

fn shared(provider: &Arc<Provider>) -> Arc<dyn ProvideCredentials> {
    Arc::<Provider>::clone(provider)
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(FIRST_BYTE_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .build()
}

/// The region to begin with. IMDS is not asked: a bucket need not be where the machine is, and S3 corrects us anyway.
async fn region(options: &S3Options) -> Region {
    let mut profile = ProfileFileRegionProvider::builder().configure(&ProviderConfig::without_region());
    if let Some(name) = options.named_profile() {
        profile = profile.profile_name(name);
    }
    let given = options.region.clone().map(Region::new);
    let chain = RegionProviderChain::first_try(given).or_else(profile.build());
    chain.region().await.unwrap_or_else(|| Region::from_static(DEFAULT_REGION))
}

/// The endpoint of the options or, unless that is ignored, of the profile (its `services` section first).
fn endpoint(options: &S3Options, sdk: Option<&SdkConfig>) -> Result<Option<Endpoint>> {
    let key = ServiceConfigKey::builder().service_id("S3").env("AWS_ENDPOINT_URL").profile("endpoint_url").build().ok();
    let of_service = || key.and_then(|key| sdk?.service_config()?.load_config(key));
    let of_all = || sdk?.endpoint_url().map(str::to_owned);
    let url = options.endpoint_url.clone().or_else(of_service).or_else(of_all);
    url.as_deref().map(Endpoint::parse).transpose()
}

/// Asks for the bytes as they are stored. The SDK says nothing of encodings, which lets an intermediary choose one.
/// The header is added after signing, because intermediaries change it, which would break the signature.
#[derive(Debug)]
struct IdentityEncoding;

impl Intercept for IdentityEncoding {
    fn name(&self) -> &'static str {
        "IdentityEncoding"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> std::result::Result<(), aws_smithy_runtime_api::box_error::BoxError> {
        context.request_mut().headers_mut().insert("accept-encoding", "identity");
        Ok(())
    }
}

/// Remembers the host that requests go to: the SDK makes its name of endpoint, region and bucket.
#[derive(Debug)]
struct NoteHost(Arc<OnceLock<String>>);

impl Intercept for NoteHost {
    fn name(&self) -> &'static str {
        "NoteHost"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> std::result::Result<(), aws_smithy_runtime_api::box_error::BoxError> {
        if let Some(host) = Url::parse(context.request().uri()).ok().as_ref().and_then(Url::host_str) {
            self.0.get_or_init(|| host.to_owned());
        }
        Ok(())
    }
}
