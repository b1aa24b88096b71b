//! Files of credentials, and the tokens that they give ("Application Default Credentials").
//!
//! - `service_account`: a key, which signs tokens here ("Self-signed JWT"): nobody is asked
//! - `authorized_user`: a login by gcloud, whose refresh token gives tokens
//! - `external_account`: workload identity federation: a token of another issuer, from a file or a URL, is exchanged

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_smithy_types::base64;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use serde_json::{Value, json};

use super::credentials::SCOPE;
use crate::store::Result;
use crate::store::rest::client::{Client, Request};
use crate::store::rest::endpoint::Endpoint;
use crate::store::rest::secret::Secret;
use crate::store::rest::token::{Token, ask, form, unusable};

const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";

/// The longest that Google takes ("Using OAuth 2.0 for server to server applications").
const LIFE: Duration = Duration::from_secs(3600);

/// What a file of credentials has.
pub(super) enum Account {
    Service(Service),
    User(User),
    External(Box<External>),
}

/// No part of a file is shown.
impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Account")
    }
}

pub(super) struct Service {
    email: String,
    key_id: Option<String>,
    key: RsaKeyPair,
}

pub(super) struct User {
    client_id: String,
    client_secret: Secret,
    refresh_token: Secret,
    token_url: Endpoint,
}

pub(super) struct External {
    audience: String,
    subject_token_type: String,
    token_url: Endpoint,
    impersonation_url: Option<Endpoint>,
    source: Source,
}

/// Where a token of the other issuer is.
#[derive(Deserialize)]
struct Source {
    file: Option<String>,
    url: Option<String>,
    #[serde(default)]
    headers: std::collections::BTreeMap<String, String>,
    format: Option<Format>,
}

#[derive(Deserialize)]
struct Format {
    #[serde(rename = "type")]
    kind: String,
    subject_token_field_name: Option<String>,
}

/// All files have one type.
#[derive(Deserialize)]
struct File {
    #[serde(rename = "type")]
    kind: String,
    client_email: Option<String>,
    private_key: Option<String>,
    private_key_id: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
    refresh_token: Option<String>,
    token_uri: Option<String>,
    audience: Option<String>,
    subject_token_type: Option<String>,
    token_url: Option<String>,
    service_account_impersonation_url: Option<String>,
    credential_source: Option<Source>,
}

impl Account {
    /// Reads a file; else why it cannot be used, without a part of it.
    pub(super) fn parse(text: &str) -> std::result::Result<Self, String> {
        let file: File = serde_json::from_str(text).map_err(|_| "not a file of credentials".to_owned())?;
        let missing = |name: &str| format!("{name} is missing");
        let endpoint = |name: &str, url: &str| {
            Endpoint::parse(name, url).and_then(|url| url.for_secrets(name)).map_err(|error| error.message)
        };
        match file.kind.as_str() {
            "service_account" => {
                let key = file.private_key.ok_or_else(|| missing("private_key"))?;
                let email = file.client_email.ok_or_else(|| missing("client_email"))?;
                Ok(Self::Service(Service { email, key_id: file.private_key_id, key: rsa_key(&key)? }))
            }
            "authorized_user" => Ok(Self::User(User {
                client_id: file.client_id.ok_or_else(|| missing("client_id"))?,
                client_secret: Secret::new(file.client_secret.ok_or_else(|| missing("client_secret"))?),
                refresh_token: Secret::new(file.refresh_token.ok_or_else(|| missing("refresh_token"))?),
                token_url: endpoint("token_uri", file.token_uri.as_deref().unwrap_or(TOKEN_URI))?,
            })),
            "external_account" => {
                let source = file.credential_source.filter(|source| source.file.is_some() || source.url.is_some());
                let impersonation = file.service_account_impersonation_url;
                Ok(Self::External(Box::new(External {
                    audience: file.audience.ok_or_else(|| missing("audience"))?,
                    subject_token_type: file.subject_token_type.ok_or_else(|| missing("subject_token_type"))?,
                    token_url: endpoint("token_url", &file.token_url.ok_or_else(|| missing("token_url"))?)?,
                    impersonation_url: impersonation
                        .map(|url| endpoint("service_account_impersonation_url", &url))
                        .transpose()?,
                    source: source.ok_or("only sources that are a file or a URL are supported")?,
                })))
            }
            _ => Err("its type is none of service_account, authorized_user and external_account".to_owned()),
        }
    }

    /// A token.
    pub(super) async fn token(&self, client: &Client) -> Result<Token> {
        match self {
            Self::Service(service) => service.token(SystemTime::now()),
            Self::User(user) => ask(client, "gcloud login", &user.request()).await,
            Self::External(external) => external.token(client).await,
        }
    }
}

fn rsa_key(pem: &str) -> std::result::Result<RsaKeyPair, String> {
    let unusable = "private_key is not an RSA key in PKCS #8";
    let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| unusable)?;
    RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|_| unusable.to_owned())
}

impl Service {
    fn token(&self, now: SystemTime) -> Result<Token> {
        let cannot = || unusable("service account: no token can be signed");
        let issued = now.duration_since(UNIX_EPOCH).map_err(|_| cannot())?.as_secs();
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": self.key_id});
        let claims = json!({
            "iss": self.email, "sub": self.email, "scope": SCOPE, "iat": issued, "exp": issued + LIFE.as_secs(),
        });
        let text = format!("{}.{}", base64url(header.to_string()), base64url(claims.to_string()));
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)
            .map_err(|_| cannot())?;
        let token = Secret::new(format!("{text}.{}", base64url(signature)));
        Ok(Token { text: token, expires: now + LIFE, provider: "service account" })
    }
}

fn base64url(bytes: impl AsRef<[u8]>) -> String {
    base64::encode(bytes).trim_end_matches('=').replace('+', "-").replace('/', "_")
}

impl User {
    fn request(&self) -> Request {
        let fields = [
            ("grant_type", "refresh_token".to_owned()),
            ("client_id", self.client_id.clone()),
            ("client_secret", self.client_secret.reveal().to_owned()),
            ("refresh_token", self.refresh_token.reveal().to_owned()),
        ];
        form(self.token_url.as_str().to_owned(), &fields)
    }
}

/// The answer of the service that impersonates.
#[derive(Deserialize)]
struct Impersonated {
    #[serde(rename = "accessToken")]
    access_token: String,
}

/// The token of a service account is asked for as long as this, which is its default.
const IMPERSONATED_LIFE: Duration = Duration::from_secs(3600);

impl External {
    async fn token(&self, client: &Client) -> Result<Token> {
        let subject = self.subject(client).await?;
        let scope = match self.impersonation_url {
            Some(_) => "https://www.googleapis.com/auth/cloud-platform",
            None => SCOPE,
        };
        let fields = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange".to_owned()),
            ("audience", self.audience.clone()),
            ("scope", scope.to_owned()),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token".to_owned()),
            ("subject_token_type", self.subject_token_type.clone()),
            ("subject_token", subject),
        ];
        let federated = ask(client, "workload identity", &form(self.token_url.as_str().to_owned(), &fields)).await?;
        match &self.impersonation_url {
            Some(url) => impersonate(client, url, &federated).await,
            None => Ok(federated),
        }
    }

    /// The token of the other issuer, which is replaced before it expires, hence read each time.
    async fn subject(&self, client: &Client) -> Result<String> {
        const NAME: &str = "workload identity";
        let text = if let Some(file) = &self.source.file {
            let read = tokio::fs::read_to_string(file).await;
            read.map_err(|error| unusable(&format!("{NAME}: {file}: {error}")))?
        } else {
            let url = self.source.url.clone().unwrap_or_default();
            let mut request = Request::get(url);
            for (name, value) in &self.source.headers {
                request = request.with(name.clone(), value.clone());
            }
            let mut answer = client.send(NAME, &request).await.map_err(|error| unusable(&error.message))?;
            if !answer.is_success() {
                return Err(unusable(&format!("{NAME}: status {} of the source", answer.status())));
            }
            let document = answer.document().await?;
            String::from_utf8(document.to_vec()).map_err(|_| unusable(&format!("{NAME}: a token that is no text")))?
        };
        let Some(Format { kind, subject_token_field_name: Some(field) }) = &self.source.format else {
            return Ok(text.trim().to_owned());
        };
        if kind != "json" {
            return Ok(text.trim().to_owned());
        }
        let value: Option<Value> = serde_json::from_str(&text).ok();
        let token = value.as_ref().and_then(|value| value.get(field)).and_then(Value::as_str);
        token.map(str::to_owned).ok_or_else(|| unusable(&format!("{NAME}: the source has no {field}")))
    }
}

async fn impersonate(client: &Client, url: &Endpoint, federated: &Token) -> Result<Token> {
    const NAME: &str = "impersonated service account";
    let mut request = Request::new("POST", url.as_str().to_owned())
        .with("content-type", "application/json")
        .with("authorization", format!("Bearer {}", federated.text.reveal()));
    let body = json!({"scope": [SCOPE], "lifetime": format!("{}s", IMPERSONATED_LIFE.as_secs())});
    request.body = Some(body.to_string());
    let asked = SystemTime::now();
    let mut answer = client.send(NAME, &request).await.map_err(|error| unusable(&error.message))?;
    if !answer.is_success() {
        return Err(unusable(&format!("{NAME}: status {}", answer.status())));
    }
    let document = answer.document().await?;
    let Ok(Impersonated { access_token }) = serde_json::from_slice(&document) else {
        return Err(unusable(&format!("{NAME}: an answer without a token")));
    };
    Ok(Token { text: Secret::new(access_token), expires: asked + IMPERSONATED_LIFE, provider: NAME })
}
