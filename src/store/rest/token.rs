//! Bearer tokens, kept until shortly before they expire, and fetched once however many requests want one.

use std::time::{Duration, SystemTime};

use serde::Deserialize;
use tokio::sync::Mutex;

use super::answer::Answer;
use super::client::{Client, Request};
use super::secret::Secret;
use crate::store::s3::failure::one_line;
use crate::store::{ErrorKind, Result, StoreError};

/// A token is not used for the last of its time: requests take a while, and clocks differ. Services give the same
/// token again until five minutes before its end.
const MARGIN: Duration = Duration::from_secs(240);

/// Of a token that does not say how long it is valid (RFC 6749, 5.1, recommends that it does).
const DEFAULT_LIFE: Duration = Duration::from_secs(600);

/// A token and what may be told of it.
#[derive(Clone, Debug)]
pub(in crate::store) struct Token {
    pub(in crate::store) text: Secret,
    pub(in crate::store) expires: SystemTime,
    /// Where it came from, for people.
    pub(in crate::store) provider: &'static str,
}

/// The token in use.
#[derive(Debug, Default)]
pub(in crate::store) struct Kept(Mutex<Option<Token>>);

impl Kept {
    /// The token that there is, or the one that `fetch` brings.
    pub(in crate::store) async fn get(&self, fetch: impl AsyncFnOnce() -> Result<Token>) -> Result<Token> {
        let mut kept = self.0.lock().await;
        match &*kept {
            Some(token) if token.expires > SystemTime::now() + MARGIN => Ok(token.clone()),
            _ => Ok(kept.insert(fetch().await?).clone()),
        }
    }

    /// Drops a token that was refused, unless another has taken its place.
    pub(in crate::store) async fn forget(&self, refused: &Token) {
        let mut kept = self.0.lock().await;
        if kept.as_ref().is_some_and(|token| token.text == refused.text) {
            *kept = None;
        }
    }
}

/// What token services answer (RFC 6749, 5.1). Managed identities of Azure write the number as text.
#[derive(Deserialize)]
struct Granted {
    access_token: String,
    #[serde(default)]
    expires_in: Option<Seconds>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(u64),
    Text(String),
}

/// RFC 6749, 5.2. The description is left out: services repeat in it what they were sent.
#[derive(Deserialize)]
struct Refused {
    error: String,
}

/// Asks a service for a token.
pub(in crate::store) async fn ask(client: &Client, provider: &'static str, request: &Request) -> Result<Token> {
    let mut answer = client.send(provider, request).await.map_err(|error| unusable(&error.message))?;
    granted(provider, &mut answer).await
}

async fn granted(provider: &'static str, answer: &mut Answer) -> Result<Token> {
    let status = answer.status();
    let document = answer.document().await.map_err(|error| unusable(&error.message))?;
    if !answer.is_success() {
        let code = serde_json::from_slice(&document).map(|Refused { error }| format!(" {}", one_line(&error)));
        return Err(unusable(&format!("{provider}: status {status}{}", code.unwrap_or_default())));
    }
    let Ok(Granted { access_token, expires_in }) = serde_json::from_slice(&document) else {
        return Err(unusable(&format!("{provider}: an answer without a token")));
    };
    let life = match expires_in {
        Some(Seconds::Number(seconds)) => Some(Duration::from_secs(seconds)),
        Some(Seconds::Text(text)) => text.parse().ok().map(Duration::from_secs),
        None => None,
    };
    let expires = SystemTime::now().checked_add(life.unwrap_or(DEFAULT_LIFE));
    let expires = expires.ok_or_else(|| unusable(&format!("{provider}: a token without a sensible end")))?;
    Ok(Token { text: Secret::new(access_token), expires, provider })
}

/// There are no usable credentials, and why.
pub(in crate::store) fn unusable(why: &str) -> StoreError {
    StoreError::new(ErrorKind::Credentials, format!("no usable credentials ({why})"))
}

/// A form, as token services take it.
pub(in crate::store) fn form(url: String, fields: &[(&str, String)]) -> Request {
    let mut request = Request::new("POST", url).with("content-type", "application/x-www-form-urlencoded");
    request.body = Some(super::path::query(fields));
    request
}
