//! The HTTP clients: TLS by rustls, pools sized for many small GETs.

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::TlsContext;
use aws_smithy_http_client::{Builder, Connector, tls};
use aws_smithy_runtime_api::client::http::SharedHttpClient;

use super::limit::Limit;
use super::pool::{IDLE_TIMEOUT, Pools};
use super::proxy::{self, Bypass};

/// Idle connections are kept for as many small GETs as run at once, and for what programs wait for beside them.
const MAX_IDLE_CONNECTIONS: usize = 192;

const TLS: tls::Provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);

/// The client for S3 and the services that give credentials; by the proxy that `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`
/// and `NO_PROXY` name, as curl and the AWS CLI do.
pub(super) fn client(tls: &TlsContext) -> SharedHttpClient {
    SharedHttpClient::new(Limit(pools(tls)))
}

/// The same without a limit to the length of answers.
pub(in crate::store) fn pools(tls: &TlsContext) -> Pools {
    let tls = tls.clone();
    let make = move || {
        let proxied = pooled(ProxyConfig::from_env(), tls.clone());
        proxy::split(Bypass::from_env(), proxied, pooled(ProxyConfig::disabled(), tls.clone()))
    };
    Pools::new(make)
}

fn pooled(proxies: ProxyConfig, context: TlsContext) -> SharedHttpClient {
    Builder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = Connector::builder()
            .proxy_config(proxies.clone())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS);
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(|components| components.sleep_impl()));
        connector.tls_provider(TLS).tls_context(context.clone()).build()
    })
}

/// A client that never goes by a proxy, for the instance's own metadata service.
pub(in crate::store) fn direct() -> SharedHttpClient {
    Builder::new().tls_provider(TLS).build_https()
}
