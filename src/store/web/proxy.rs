//! Which requests go by no proxy. The SDK's HTTP client reads `NO_PROXY` itself, but there `*` does not mean addresses,
//! and an entry with a port means nothing. curl, boto3 and the AWS CLI know both; what it lacks is decided here.

use std::net::Ipv6Addr;

use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use url::Url;

/// The entries of `NO_PROXY` that the SDK's client does not know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bypass {
    all: bool,
    /// Host and port.
    ports: Vec<(String, u16)>,
}

impl Bypass {
    /// What the environment says. Lower case wins, as with curl and boto3.
    pub fn from_env() -> Self {
        let given = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        given("no_proxy").or_else(|| given("NO_PROXY")).map(|list| Self::parse(&list)).unwrap_or_default()
    }

    fn parse(list: &str) -> Self {
        let entries = || list.split([',', ' ']).filter(|entry| !entry.is_empty());
        Self { all: entries().any(|entry| entry == "*"), ports: entries().filter_map(with_port).collect() }
    }

    /// Whether no proxy is asked for this URL. An entry is a host, or the end of its name from a dot on.
    pub fn includes(&self, url: &Url) -> bool {
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else { return self.all };
        let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
        let is_meant = |name: &str| host.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        self.all || self.ports.iter().any(|(name, of)| *of == port && is_meant(name))
    }
}

/// `host:port`, `.domain:port` or `[address]:port`.
fn with_port(entry: &str) -> Option<(String, u16)> {
    // An IPv6 address without brackets has colons, and no port.
    if entry.parse::<Ipv6Addr>().is_ok() {
        return None;
    }
    let (host, port) = entry.rsplit_once(':')?;
    let host = host.trim_matches(['[', ']']).trim_start_matches(['*', '.']);
    Some((host.to_ascii_lowercase(), port.parse().ok()?)).filter(|(host, _)| !host.is_empty())
}

/// A client that sends what `bypass` includes by `direct`, and all else by `proxied`.
pub fn split(bypass: Bypass, proxied: SharedHttpClient, direct: SharedHttpClient) -> SharedHttpClient {
    use aws_smithy_runtime_api::client::http::HttpClient;

    if bypass == Bypass::default() {
        return proxied;
    }
    http_client_fn(move |settings, components| {
        let proxied = proxied.http_connector(settings, components);
        let direct = direct.http_connector(settings, components);
        SharedHttpConnector::new(Split { bypass: bypass.clone(), proxied, direct })
    })
}

#[derive(Debug)]
struct Split {
    bypass: Bypass,
    proxied: SharedHttpConnector,
    direct: SharedHttpConnector,
}

impl HttpConnector for Split {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let is_direct = Url::parse(request.uri()).is_ok_and(|url| self.bypass.includes(&url));
        if is_direct { self.direct.call(request) } else { self.proxied.call(request) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_ports_are_read_as_curl_and_boto3_read_them() {
        for (list, url, included) in [
            ("*", "http://127.0.0.1:9000/b", true),
            ("*", "https://s3.example.org/b", true),
            ("a.org, *", "https://[::1]/b", true),
            ("127.0.0.1:9000", "http://127.0.0.1:9000/b", true),
            ("127.0.0.1:9000", "http://127.0.0.1:9001/b", false),
            ("127.0.0.1:80", "http://127.0.0.1/b", true),
            ("[::1]:9000", "http://[::1]:9000/b", true),
            ("s3.example.org:443", "https://S3.example.org/b", true),
            (".example.org:443", "https://s3.example.org/b", true),
            ("example.org:443", "https://s3.example.org/b", true),
            ("example.org:443", "https://notexample.org/b", false),
            ("fe80::1:80", "http://s3.example.org/b", false),
            (":80", "http://s3.example.org/b", false),
            ("s3.example.org:x", "http://s3.example.org/b", false),
        ] {
            assert_eq!(Bypass::parse(list).includes(&Url::parse(url).unwrap()), included, "{list}: {url}");
        }
    }

    #[test]
    fn what_the_client_knows_by_itself_needs_no_second_one() {
        assert_eq!(Bypass::parse("localhost,.example.org, 10.0.0.0/8,::1"), Bypass::default());
    }
}
