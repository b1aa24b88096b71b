//! Redirections are followed here, so that a token goes to the host that it is for and to no other, whoever sends there.
//!
//! Doors of storage systems redirect each range to the host that has the bytes, and archives to signed URLs that expire.
//! Where a file was found is remembered for a while, without asking the door again; what is refused there is asked of the
//! door once more. Where it leads is in no message, but for the host: the rest may be a signature.

use std::time::Duration;

use url::{Host, Url};

use super::client::{Answer, Client, Request};
use super::options::{HttpOptions, is_loopback};
use crate::store::web::{kind_of_status, retry_after};
use crate::store::{ErrorKind, Result, StoreError};

/// As many as curl's users are used to at most, and more than any archive needs.
const MAX_REDIRECTIONS: usize = 10;

/// Signed URLs are good for minutes; the door is asked again before most of them expire.
const REMEMBERED_FOR: Duration = Duration::from_secs(60);

/// Of so many files it is remembered where they were found.
const MAX_REMEMBERED: u64 = 10_000;

/// Asks a server, and those that it redirects to.
#[derive(Debug)]
pub struct Web {
    client: Client,
    options: HttpOptions,
    origin: Url,
    found: moka::sync::Cache<Url, Url>,
}

impl Web {
    /// Requests to this host, and to those that it redirects to.
    pub fn new(client: Client, options: HttpOptions, origin: Url) -> Self {
        let found = moka::sync::Cache::builder().max_capacity(MAX_REMEMBERED).time_to_live(REMEMBERED_FOR).build();
        Self { client, options, origin, found }
    }

    /// The variable of the token that requests to the source's host carry.
    pub fn token(&self) -> Option<&'static str> {
        self.options.token_of(&self.origin).map(|token| token.variable)
    }

    /// The answer to a request, whatever it is, but for redirections.
    pub async fn ask(&self, what: &str, url: &Url, request: &Request<'_>) -> Result<Answer> {
        let mut seen = vec![url.clone()];
        loop {
            let at = seen.last().unwrap_or(url);
            let answer = self.client.send(what, at, &self.with_token(at, request)).await?;
            if !matches!(answer.status(), 301 | 302 | 303 | 307 | 308) {
                return Ok(answer);
            }
            let next = next(at, answer.header("location")).map_err(|why| refused(what, &why))?;
            if seen.contains(&next) {
                return Err(refused(what, "redirections in a circle"));
            }
            if seen.len() > MAX_REDIRECTIONS {
                return Err(refused(what, &format!("more than {MAX_REDIRECTIONS} redirections")));
            }
            seen.push(next);
        }
    }

    /// The same of a request that reads a file: where that was found lately, it is asked for there.
    pub async fn ask_for_file(&self, what: &str, url: &Url, request: &Request<'_>) -> Result<Answer> {
        if let Some(found) = self.found.get(url) {
            match self.ask(what, &found, request).await {
                Ok(answer) if answer.status() < 400 => return Ok(answer),
                // A signature has expired, a host is not there any more, or has another version than is current.
                Ok(_) | Err(_) => self.found.invalidate(url),
            }
        }
        let answer = self.ask(what, url, request).await?;
        if answer.url != *url && answer.status() < 300 {
            self.found.insert(url.clone(), answer.url.clone());
        }
        Ok(answer)
    }

    /// Only the host of the source gets its token: whatever host redirects to one with a token has none to do with it.
    fn with_token<'a>(&self, url: &Url, request: &Request<'a>) -> Request<'a> {
        let token = self.options.token_of(url).filter(|_| url.origin() == self.origin.origin());
        match token.map(|token| token.header()) {
            Some((name, value)) => request.clone().with(name, value),
            None => request.clone(),
        }
    }
}

/// The error that an answer is.
pub fn failure(what: &str, answer: &Answer) -> StoreError {
    let host = answer.url.host_str().unwrap_or_default();
    let message = format!("{what}: status {} of {host}", answer.status());
    let retry_after = retry_after(answer.headers());
    StoreError { retry_after, ..StoreError::new(kind_of_status(answer.status()), message) }
}

fn refused(what: &str, why: &str) -> StoreError {
    StoreError::new(ErrorKind::Invalid, format!("{what}: {why}"))
}

/// Where a redirection leads. What it may not lead to is the reader's own network: the bytes that come from there would
/// be shown to users of the mount.
fn next(at: &Url, location: Option<&str>) -> std::result::Result<Url, String> {
    let location = location.ok_or("a redirection to nowhere")?;
    let mut next = at.join(location).map_err(|_| "a redirection to what is no URL")?;
    next.set_fragment(None);
    let host = next.host_str().unwrap_or_default().to_owned();
    if !matches!(next.scheme(), "http" | "https") || host.is_empty() {
        Err("a redirection to what is no web server".to_owned())
    } else if !next.username().is_empty() || next.password().is_some() {
        Err(format!("a redirection to {host} with credentials"))
    } else if at.scheme() == "https" && next.scheme() == "http" {
        Err(format!("a redirection from https to http, of {host}"))
    } else if is_link_local(&next) || (is_loopback(&next) && !is_loopback(at)) {
        Err(format!("a redirection to {host}, which is an address of this machine"))
    } else {
        Ok(next)
    }
}

/// Addresses of the machine's own link, where clouds give credentials away.
fn is_link_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_link_local() || address.is_unspecified(),
        Some(Host::Ipv6(address)) => match address.to_ipv4_mapped() {
            Some(mapped) => mapped.is_link_local() || mapped.is_loopback() || mapped.is_unspecified(),
            None => address.is_unicast_link_local() || address.is_unspecified(),
        },
        Some(Host::Domain(_)) | None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirections_lead_to_web_servers_of_others() {
        let at = Url::parse("https://a.org/d/x?sig=hunter2").unwrap();
        let to = |location: &str| next(&at, Some(location)).map(String::from);
        assert_eq!(to("y#f"), Ok("https://a.org/d/y".to_owned()));
        assert_eq!(to("//b.org:8443/?s=1"), Ok("https://b.org:8443/?s=1".to_owned()));
        for bad in [
            "http://a.org/x?hunter2",
            "file:///etc/shadow",
            "https://u:hunter2@b.org/",
            "https://127.0.0.1/hunter2",
            "https://localhost/hunter2",
            "https://169.254.169.254/hunter2",
            "https://[::ffff:169.254.169.254]/hunter2",
            "https://[fe80::1]/hunter2",
            "https://0.0.0.0/hunter2",
            "https://",
        ] {
            let why = to(bad).unwrap_err();
            assert!(!why.contains("hunter2"), "{bad}: {why}");
        }
        assert!(next(&at, None).is_err());
        let here = Url::parse("http://127.0.0.1:1/").unwrap();
        assert!(next(&here, Some("http://127.0.0.1:2/x")).is_ok());
    }
}
