//! In whose name requests are sent: nobody's, by shared key, by shared access signature (SAS), or by token.

use std::time::{Duration, SystemTime};

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use percent_encoding::percent_decode_str;

use super::identity;
use super::options::{AzureOptions, IdentityOptions};
use super::signature::{Key, Unsigned};
use crate::store::Result;
use crate::store::rest::client::{Client, Request};
use crate::store::rest::endpoint::Endpoint;
use crate::store::rest::secret::Secret;
use crate::store::rest::token::{Kept, Token};

/// What an account's requests are signed with.
#[derive(Debug)]
pub(super) enum Credentials {
    Anonymous,
    Key { account: String, key: Key },
    Sas(Sas),
    Identity { options: IdentityOptions, kept: Kept },
}

/// What one request is sent with: the token that was valid then.
pub(super) type Grant = Option<Token>;

impl Credentials {
    pub(super) fn new(account: &str, options: &AzureOptions, endpoint: &Endpoint) -> Result<Self> {
        if options.anonymous {
            return Ok(Self::Anonymous);
        }
        let of_account = options.is_of(account);
        if let Some(key) = options.key.as_ref().filter(|_| of_account) {
            // The key itself is never sent.
            return Ok(Self::Key { account: account.to_owned(), key: Key::parse(key)? });
        }
        endpoint.clone().for_secrets("the endpoint URL")?;
        if let Some(sas) = options.sas.as_ref().filter(|_| of_account) {
            return Ok(Self::Sas(Sas::new(sas)));
        }
        Ok(Self::Identity { options: options.identity.clone(), kept: Kept::default() })
    }

    /// What is needed to sign with: a token is fetched where there is none.
    pub(super) async fn grant(&self, client: &Client) -> Result<Grant> {
        match self {
            Self::Anonymous | Self::Key { .. } | Self::Sas(_) => Ok(None),
            Self::Identity { options, kept } => {
                kept.get(async || identity::token(client, options).await).await.map(Some)
            }
        }
    }

    pub(super) fn sign(&self, unsigned: Unsigned, grant: &Grant) -> Request {
        match (self, grant) {
            (Self::Key { account, key }, _) => key.sign(account, unsigned, SystemTime::now()),
            (Self::Sas(sas), _) => unsigned.finish(sas.query.reveal()),
            (_, Some(token)) => unsigned.finish("").with("authorization", format!("Bearer {}", token.text.reveal())),
            (_, None) => unsigned.finish(""),
        }
    }

    /// Drops a token that was refused; whether another may be had.
    pub(super) async fn forget(&self, grant: &Grant) -> bool {
        match (self, grant) {
            (Self::Identity { kept, .. }, Some(token)) => {
                kept.forget(token).await;
                true
            }
            _ => false,
        }
    }

    /// Until when they are valid, if they say so.
    pub(super) fn expiry(&self) -> Option<SystemTime> {
        match self {
            Self::Sas(sas) => sas.expires,
            _ => None,
        }
    }

    /// What they are, for people.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Anonymous => "none: requests are not signed",
            Self::Key { .. } => "shared key",
            Self::Sas(_) => "shared access signature",
            Self::Identity { .. } => "token of an identity",
        }
    }
}

/// A shared access signature: parameters that are appended to each query.
#[derive(Debug)]
pub(super) struct Sas {
    query: Secret,
    expires: Option<SystemTime>,
}

impl Sas {
    fn new(text: &Secret) -> Self {
        let query = text.reveal().trim().trim_start_matches('?');
        let expiry = query.split('&').find_map(|pair| pair.strip_prefix("se="));
        let expires = expiry.and_then(|text| time(&percent_decode_str(text).decode_utf8_lossy()));
        Self { query: Secret::new(query), expires }
    }
}

/// A time as signatures have it: in UTC, perhaps without seconds, or as a date ("Create a service SAS", "Specify the
/// signature validity interval").
fn time(text: &str) -> Option<SystemTime> {
    let whole = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        17 => format!("{}:00Z", text.strip_suffix('Z')?),
        _ => text.to_owned(),
    };
    let seconds = DateTime::from_str(&whole, Format::DateTimeWithOffset).ok()?.secs();
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_tells_until_when_it_is_valid() {
        let expires = |text: &str| Sas::new(&Secret::new(text)).expires;
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(1_577_836_800);
        for text in ["?sv=2021&se=2020-01-01T00%3A00%3A00Z&sig=x", "se=2020-01-01&sig=x", "se=2020-01-01T00:00Z"] {
            assert_eq!(expires(text), Some(end), "{text}");
        }
        assert_eq!((expires("sig=x"), expires("se=soon")), (None, None));
    }

    #[test]
    fn secrets_are_not_sent_in_the_open() {
        let open = Endpoint::parse("it", "http://h.example").unwrap();
        let sas = AzureOptions { sas: Some(Secret::new("sig=hunter2")), ..AzureOptions::default() };
        let message = Credentials::new("acc", &sas, &open).unwrap_err().message;
        assert!(message.contains("https://") && !message.contains("hunter2"), "{message}");
        assert!(Credentials::new("acc", &AzureOptions::default(), &open).is_err());
        let anonymous = AzureOptions { anonymous: true, ..sas };
        assert!(matches!(Credentials::new("acc", &anonymous, &open), Ok(Credentials::Anonymous)));
    }
}
