//! The HTTP client: one request, and what the server says to it. Redirections are answers like others here.

use std::time::Duration;

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::TlsContext;
use aws_smithy_http_client::{Connector, tls};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorSettings};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream, StreamExt};
use url::Url;

use super::options::BUNDLE;
use crate::store::web::proxy::Bypass;
use crate::store::web::{certificate_cause, certificate_error, innermost};
use crate::store::{ErrorKind, Result, StoreError};

/// A TCP and TLS handshake takes three round trips: 1 s even at 300 ms each. A SYN that was lost is sent again after
/// 1 s, and after 3 s for the second time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

/// From sending to the first byte of the answer. Archives read from tape robots and slow disks, and some make an index of
/// a large folder for each request; a GET is hedged long before this.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(9);

/// Servers close idle connections after 5 s (Apache) to 75 s (nginx). One that is closed while a request is sent costs
/// another attempt.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// Idle connections to a host: as many as the reader has GETs in flight on a fast line.
const MAX_IDLE_CONNECTIONS: usize = 48;

const AGENT: &str = concat!("fitsfs/", env!("CARGO_PKG_VERSION"));

/// Sends requests, by a proxy or not.
#[derive(Debug)]
pub struct Client {
    proxied: Connector,
    direct: Connector,
    bypass: Bypass,
}

/// A request without what the client adds.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    pub method: &'static str,
    pub headers: Vec<(&'static str, String)>,
    pub body: &'a str,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    response: HttpResponse,
    /// The URL that has answered, after redirections.
    pub url: Url,
}

impl Client {
    /// A client that demands this of certificates, and goes by the proxies of the environment.
    pub fn new(tls: &TlsContext) -> Self {
        Self {
            proxied: connector(ProxyConfig::from_env(), tls),
            direct: connector(ProxyConfig::disabled(), tls),
            bypass: Bypass::from_env(),
        }
    }

    /// Sends a request. `what` is its name in messages; the URL is in none, but for its host.
    pub async fn send(&self, what: &str, url: &Url, request: &Request<'_>) -> Result<Answer> {
        let invalid = |_| StoreError::new(ErrorKind::Invalid, format!("{what}: the request cannot be built"));
        let mut built = HttpRequest::new(SdkBody::from(request.body));
        built.set_uri(url.as_str()).map_err(|_| invalid(()))?;
        built.set_method(request.method).map_err(|_| invalid(()))?;
        // Without it servers may compress on the way, and ranges are of something else.
        let common = [("user-agent", AGENT.to_owned()), ("accept-encoding", "identity".to_owned())];
        for (name, value) in common.iter().chain(&request.headers) {
            built.headers_mut().try_insert(*name, value.clone()).map_err(|_| invalid(()))?;
        }
        let connector = if self.bypass.includes(url) { &self.direct } else { &self.proxied };
        let response = connector.call(built).await.map_err(|error| unanswered(what, url, &error))?;
        Ok(Answer { response, url: url.clone() })
    }
}

impl Request<'static> {
    /// A request without a body.
    pub fn new(method: &'static str) -> Self {
        Self { method, headers: Vec::new(), body: "" }
    }
}

impl<'a> Request<'a> {
    /// The same with one more header.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The same with a body.
    pub fn with_body(self, body: &'a str) -> Self {
        Self { body, ..self }
    }
}

impl Answer {
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    pub fn headers(&self) -> &aws_smithy_runtime_api::http::Headers {
        self.response.headers()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        // What is no text is as good as none.
        self.response.headers().try_get(name)?.ok()
    }

    /// The body, as it arrives.
    pub fn into_stream(self, what: &str) -> BoxStream<'static, Result<Bytes>> {
        let what = what.to_owned();
        let body = ByteStream::new(self.response.into_body());
        let chunks = stream::unfold(body, move |mut body| {
            let broken = format!("{what}: the body broke off");
            async move {
                let chunk = body.next().await?;
                Some((chunk.map_err(|_| StoreError::new(ErrorKind::Network, broken)), body))
            }
        });
        chunks.boxed()
    }

    /// All of the body, if it is not longer than this.
    pub async fn into_bytes(self, what: &str, limit: usize) -> Result<Bytes> {
        let mut stream = self.into_stream(what);
        let mut bytes = BytesMut::new();
        while let Some(chunk) = stream.next().await {
            bytes.extend_from_slice(&chunk?);
            if bytes.len() > limit {
                let what = format!("{what}: the answer is longer than {limit} bytes");
                return Err(StoreError::new(ErrorKind::Invalid, what));
            }
        }
        Ok(bytes.freeze())
    }
}

fn connector(proxies: ProxyConfig, context: &TlsContext) -> Connector {
    let settings =
        HttpConnectorSettings::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(FIRST_BYTE_TIMEOUT).build();
    Connector::builder()
        .connector_settings(settings)
        .proxy_config(proxies)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS)
        .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
        .tls_context(context.clone())
        .build()
}

fn unanswered(what: &str, url: &Url, error: &ConnectorError) -> StoreError {
    let host = url.host_str().unwrap_or_default();
    let fail = |kind, why: String| StoreError::new(kind, format!("{what}: {why}"));
    match certificate_error(error) {
        Some(error) => {
            let cause = certificate_cause(error, BUNDLE);
            fail(ErrorKind::Certificate, format!("the certificate of {host} cannot be verified: {cause}"))
        }
        None if error.is_timeout() => fail(ErrorKind::Timeout, format!("no answer from {host} in time")),
        None => fail(ErrorKind::Network, format!("connection to {host} failed: {}", innermost(error))),
    }
}
