//! Requests: sent once, with time limits. What was not answered is an error here; what an answer means is the store's.

use std::borrow::Cow;
use std::time::Duration;

use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_http_client::tls::TlsContext;
use aws_smithy_runtime::client::auth::no_auth::{NO_AUTH_SCHEME_ID, NoAuthScheme};
use aws_smithy_runtime::client::identity::IdentityCache;
use aws_smithy_runtime::client::identity::no_auth::NoAuthIdentityResolver;
use aws_smithy_runtime::client::orchestrator::endpoints::StaticUriEndpointResolver;
use aws_smithy_runtime::client::retries::strategy::NeverRetryStrategy;
use aws_smithy_runtime_api::client::auth::static_resolver::StaticAuthSchemeOptionResolver;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use tokio::time::timeout;
use url::Url;

use super::answer::Answer;
use crate::store::s3::failure::{certificate_cause, certificate_error, innermost};
use crate::store::s3::http;
use crate::store::{ErrorKind, Result, StoreError};

/// A TCP and TLS handshake takes three round trips: 1 s even at 300 ms each. A SYN that was lost is sent again after
/// 1 s, and after 3 s for the second time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// From sending to the first byte of the answer; beyond this the connection is dead or its server is, and a repeated
/// request on another is faster than waiting.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(5);

/// A whole request up to its body, with what the connection does to cure itself.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// The metadata service of a machine is one hop away and answers within milliseconds where it exists; elsewhere its
/// address leads nowhere, and each mount without credentials waits this long for it.
const METADATA_TIMEOUT: Duration = Duration::from_secs(1);

/// A request. The URL holds the whole path and query, encoded.
#[derive(Clone)]
pub(in crate::store) struct Request {
    pub(in crate::store) method: &'static str,
    pub(in crate::store) url: String,
    pub(in crate::store) headers: Vec<(Cow<'static, str>, String)>,
    pub(in crate::store) body: Option<String>,
}

impl Request {
    pub(in crate::store) fn new(method: &'static str, url: String) -> Self {
        Self { method, url, headers: Vec::new(), body: None }
    }

    pub(in crate::store) fn get(url: String) -> Self {
        Self::new("GET", url)
    }

    pub(in crate::store) fn with(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// Sends requests over connections of its own.
#[derive(Debug)]
pub(in crate::store) struct Client {
    connector: SharedHttpConnector,
    limit: Duration,
}

impl Client {
    /// A client for a service of the network, past the proxies of the environment.
    pub(in crate::store) fn new() -> Result<Self> {
        let pools = SharedHttpClient::new(http::pools(&TlsContext::default()));
        Self::over(&pools, CONNECT_TIMEOUT, FIRST_BYTE_TIMEOUT, ATTEMPT_TIMEOUT)
    }

    /// A client for the metadata service of the machine, which no proxy reaches.
    pub(in crate::store) fn of_metadata() -> Result<Self> {
        Self::over(&http::direct(), METADATA_TIMEOUT, METADATA_TIMEOUT * 2, METADATA_TIMEOUT * 3)
    }

    fn over(client: &SharedHttpClient, connect: Duration, first_byte: Duration, limit: Duration) -> Result<Self> {
        let settings = HttpConnectorSettings::builder().connect_timeout(connect).read_timeout(first_byte).build();
        Ok(Self { connector: client.http_connector(&settings, &components()?), limit })
    }

    /// Sends a request. `name` tells people what was asked, without its secrets.
    pub(in crate::store) async fn send(&self, name: &str, request: &Request) -> Result<Answer> {
        let host = host(&request.url);
        let sent = timeout(self.limit, self.connector.call(built(name, request)?)).await;
        match sent {
            Ok(Ok(answer)) => Ok(Answer::new(name, answer)),
            Ok(Err(error)) => Err(unanswered(name, &host, &error)),
            Err(_) => Err(StoreError::new(ErrorKind::Timeout, format!("{name}: no answer from {host} in time"))),
        }
    }
}

fn built(name: &str, request: &Request) -> Result<HttpRequest> {
    let unusable = || StoreError::invalid(format!("{name}: the request cannot be built"));
    let body = request.body.as_deref().map_or_else(SdkBody::empty, SdkBody::from);
    let mut built = HttpRequest::new(body);
    built.set_method(request.method).map_err(|_| unusable())?;
    built.set_uri(request.url.as_str()).map_err(|_| unusable())?;
    let headers = built.headers_mut();
    for (name, value) in &request.headers {
        headers.try_insert(name.clone(), value.clone()).map_err(|_| unusable())?;
    }
    if let Some(body) = &request.body {
        headers.try_insert("content-length", body.len().to_string()).map_err(|_| unusable())?;
    }
    headers.try_insert("user-agent", concat!("fitsfs/", env!("CARGO_PKG_VERSION"))).map_err(|_| unusable())?;
    Ok(built)
}

fn unanswered(name: &str, host: &str, error: &ConnectorError) -> StoreError {
    if let Some(rejected) = certificate_error(error) {
        let cause = certificate_cause(rejected).replace("AWS_CA_BUNDLE", "SSL_CERT_FILE");
        let message = format!("{name}: the certificate of {host} cannot be verified: {cause}");
        return StoreError::new(ErrorKind::Certificate, message);
    }
    if error.is_timeout() {
        return StoreError::new(ErrorKind::Timeout, format!("{name}: no answer from {host} in time"));
    }
    let kind = if error.is_user() { ErrorKind::Invalid } else { ErrorKind::Network };
    StoreError::new(kind, format!("{name}: connection to {host} failed: {}", innermost(error)))
}

/// The host of a URL: all of it that may be shown.
fn host(url: &str) -> String {
    Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default()
}

/// What connectors are made of. They use the clock only; the rest is what the type demands of a client of the SDK.
fn components() -> Result<RuntimeComponents> {
    RuntimeComponents::builder("fitsfs")
        .with_sleep_impl(Some(TokioSleep::new()))
        .with_auth_scheme_option_resolver(Some(StaticAuthSchemeOptionResolver::new(vec![NO_AUTH_SCHEME_ID])))
        .with_auth_scheme(NoAuthScheme::new())
        .with_identity_resolver(NO_AUTH_SCHEME_ID, NoAuthIdentityResolver::new())
        .with_identity_cache(Some(IdentityCache::no_cache()))
        .with_endpoint_resolver(Some(StaticUriEndpointResolver::uri("")))
        .with_retry_strategy(Some(NeverRetryStrategy::new()))
        .build()
        .map_err(|error| StoreError::invalid(format!("the HTTP client cannot be built: {error}")))
}
