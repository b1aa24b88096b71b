//! How to reach web servers: authorities of certificates, and the tokens of two kinds of hosts. Pure.
//!
//! A token is for one host, which is named beside it: a manifest or a union may have sources on any host, and what was
//! meant for one of them must not be sent to the others. All of it is from the environment, since all users of a machine
//! can see options.

use std::fmt;
use std::path::PathBuf;

use url::{Host, Url};

use crate::store::{ErrorKind, Result, StoreError};

/// The one host that `MAST_API_TOKEN` is for.
const MAST: &str = "mast.stsci.edu";

/// The variables that may name a file of certificates, as curl and Python's requests have them.
const BUNDLES: [&str; 2] = ["CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"];

/// Where [`BUNDLES`] are named, for messages.
pub const BUNDLE: &str = "CURL_CA_BUNDLE or REQUESTS_CA_BUNDLE";

/// How to reach web servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpOptions {
    /// A file of certificates of the authorities that count instead of the system's.
    pub ca_bundle: Option<PathBuf>,
    /// What tells servers whose request it is.
    pub tokens: Vec<Token>,
}

/// The value of an `Authorization` header, for one host.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// The host, in lower case, with the port unless that is the usual one.
    pub host: String,
    /// The variable that it is from.
    pub variable: &'static str,
    value: String,
}

impl HttpOptions {
    /// Fills what the options leave open from the environment, and checks it. The value of a token is in no message.
    pub fn resolve(self, env: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let get = |name: &str| env(name).filter(|value| !value.is_empty());
        let mut tokens = self.tokens;
        if let Some(token) = get("MAST_API_TOKEN") {
            tokens.push(Token::new(MAST, "MAST_API_TOKEN", format!("token {token}"))?);
        }
        if let Some(token) = get("FITSFS_HTTP_TOKEN") {
            let Some(host) = get("FITSFS_HTTP_TOKEN_HOST") else {
                let what = "FITSFS_HTTP_TOKEN is for one host: name it by FITSFS_HTTP_TOKEN_HOST=host[:port]";
                return Err(StoreError::invalid(what));
            };
            let value = if token.contains(' ') { token } else { format!("Bearer {token}") };
            tokens.push(Token::new(&host, "FITSFS_HTTP_TOKEN", value)?);
        }
        let bundle = || BUNDLES.iter().find_map(|name| get(name)).map(PathBuf::from);
        Ok(Self { ca_bundle: self.ca_bundle.or_else(bundle), tokens })
    }

    /// The token of the host of a URL.
    pub fn token_of(&self, url: &Url) -> Option<&Token> {
        let host = authority(url);
        self.tokens.iter().find(|token| token.host == host).filter(|_| is_private(url))
    }
}

impl Token {
    fn new(host: &str, variable: &'static str, value: String) -> Result<Self> {
        if !value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            let what = format!("{variable} holds what no header may hold");
            return Err(StoreError::new(ErrorKind::Credentials, what));
        }
        Ok(Self { host: host.to_ascii_lowercase(), variable, value })
    }

    /// The header.
    pub fn header(&self) -> (&'static str, String) {
        ("authorization", self.value.clone())
    }
}

/// Without the secret.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("host", &self.host).field("variable", &self.variable).finish_non_exhaustive()
    }
}

/// The host of a URL, with its port unless that is the usual one of the scheme.
pub fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Whether nobody on the way sees what is sent there.
fn is_private(url: &Url) -> bool {
    url.scheme() == "https" || is_loopback(url)
}

/// Whether it is this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(set: &[(&str, &str)]) -> Result<HttpOptions> {
        let env = |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        HttpOptions::default().resolve(env)
    }

    #[test]
    fn a_token_is_for_its_host_and_for_no_line_that_others_can_read() {
        let set = [
            ("MAST_API_TOKEN", "hunter1"),
            ("FITSFS_HTTP_TOKEN", "hunter2"),
            ("FITSFS_HTTP_TOKEN_HOST", "Archive.example.org:8443"),
        ];
        let options = resolved(&set).unwrap();
        let header = |url: &str| options.token_of(&Url::parse(url).unwrap()).map(|token| token.header().1);
        assert_eq!(header("https://mast.stsci.edu/x").as_deref(), Some("token hunter1"));
        assert_eq!(header("https://archive.example.org:8443/").as_deref(), Some("Bearer hunter2"));
        for other in [
            "http://mast.stsci.edu/x",
            "https://mast.stsci.edu:8443/",
            "https://mast.stsci.edu.example.org/",
            "https://example.org/mast.stsci.edu",
            "https://archive.example.org/",
            "http://archive.example.org:8443/",
        ] {
            assert_eq!(header(other), None, "{other}");
        }
        assert!(!format!("{options:?}").contains("hunter"), "{options:?}");
    }

    #[test]
    fn a_token_names_its_host_and_may_name_its_scheme() {
        assert!(resolved(&[("FITSFS_HTTP_TOKEN", "t")]).unwrap_err().message.contains("FITSFS_HTTP_TOKEN_HOST"));
        let basic = [("FITSFS_HTTP_TOKEN", "Basic dTpw"), ("FITSFS_HTTP_TOKEN_HOST", "localhost:1")];
        let options = resolved(&basic).unwrap();
        let token = options.token_of(&Url::parse("http://localhost:1/").unwrap()).unwrap();
        assert_eq!(token.header().1, "Basic dTpw");
        let broken = resolved(&[("MAST_API_TOKEN", "hunter2\nX: y")]).unwrap_err();
        assert!(!broken.message.contains("hunter2") && broken.kind == ErrorKind::Credentials, "{broken}");
    }
}
