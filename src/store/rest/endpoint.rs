//! URLs of services: those of the stores themselves, and those that give tokens. Pure.

use url::{Host, Url};

use crate::store::{Result, StoreError};

/// A checked URL without credentials, query and final slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct Endpoint(Url);

impl Endpoint {
    /// Refuses what cannot be an endpoint. `what` names it; the text is not echoed, since it may hold a secret.
    pub(in crate::store) fn parse(what: &str, text: &str) -> Result<Self> {
        let invalid = |why: &str| Err(StoreError::invalid(format!("{what} {why}")));
        let Ok(url) = Url::parse(text) else {
            return invalid("is not a URL: give it as https://host[:port]");
        };
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            invalid("must begin with http:// or https:// and a host")
        } else if !url.username().is_empty() || url.password().is_some() {
            invalid("must not hold credentials")
        } else if url.query().is_some() || url.fragment().is_some() {
            invalid("must not have a query or a fragment")
        } else {
            Ok(Self(url))
        }
    }

    pub(in crate::store) fn as_str(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }

    /// The path, without final slash: empty, or with a slash before it.
    pub(in crate::store) fn path(&self) -> &str {
        self.0.path().trim_end_matches('/')
    }

    /// The same with one more segment in its path.
    pub(in crate::store) fn with_segment(mut self, segment: &str) -> Self {
        let path = format!("{}/{segment}", self.path());
        self.0.set_path(&path);
        self
    }

    /// Host, port and path: what tells its contents from those of others.
    pub(in crate::store) fn identity(&self) -> String {
        let host = self.0.host_str().unwrap_or_default();
        let port = self.0.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{host}{port}{}", self.path())
    }

    /// Whether what comes from it can be read and changed on the way.
    pub(in crate::store) fn is_open(&self) -> bool {
        self.0.scheme() == "http"
    }

    /// Whether it is a name of no domain: an address, or a single word such as `localhost`.
    pub(in crate::store) fn is_local_name(&self) -> bool {
        match self.0.host() {
            Some(Host::Domain(name)) => !name.trim_end_matches('.').contains('.'),
            Some(Host::Ipv4(_) | Host::Ipv6(_)) | None => true,
        }
    }

    /// Whether what is sent to it cannot be read by others, so that it may be a secret.
    pub(in crate::store) fn keeps_secrets(&self) -> bool {
        let is_here = match self.0.host() {
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        !self.is_open() || is_here
    }

    /// Refuses an endpoint to which a secret would be sent in the open.
    pub(in crate::store) fn for_secrets(self, what: &str) -> Result<Self> {
        if self.keeps_secrets() {
            return Ok(self);
        }
        Err(StoreError::invalid(format!(
            "{what} must begin with https://: a secret would be sent that others can read"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_that_cannot_work_are_refused_without_echo() {
        for bad in ["hunter2", "ftp://hunter2", "http://u:hunter2@h", "http://hunter2@h", "http://h?hunter2", "http://"]
        {
            let message = Endpoint::parse("THE_URL", bad).unwrap_err().message;
            assert!(message.starts_with("THE_URL ") && !message.contains("hunter2"), "{bad}: {message}");
        }
    }

    #[test]
    fn secrets_go_nowhere_in_the_open() {
        for (url, keeps) in [
            ("https://h.example", true),
            ("http://h.example", false),
            ("http://10.0.0.1", false),
            ("http://127.0.0.1:10000/a", true),
            ("http://localhost:1", true),
            ("http://[::1]:1", true),
            ("http://localhost.example", false),
        ] {
            assert_eq!(Endpoint::parse("it", url).unwrap().for_secrets("it").is_ok(), keeps, "{url}");
        }
    }

    #[test]
    fn an_endpoint_is_its_host_port_and_path() {
        let endpoint = Endpoint::parse("it", "http://127.0.0.1:10000/").unwrap().with_segment("account");
        assert_eq!(endpoint.as_str(), "http://127.0.0.1:10000/account");
        assert_eq!((endpoint.identity().as_str(), endpoint.path()), ("127.0.0.1:10000/account", "/account"));
    }
}
