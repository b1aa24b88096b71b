//! Tokens of an identity, in the order of the Azure SDKs: a secret or a federated token of the environment (workload
//! identity), the managed identity of the machine, and who is logged in by `az login`.

use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use tokio::process::Command;
use tokio::time::timeout;

use super::options::IdentityOptions;
use crate::store::Result;
use crate::store::rest::client::{Client, Request};
use crate::store::rest::endpoint::Endpoint;
use crate::store::rest::path;
use crate::store::rest::secret::Secret;
use crate::store::rest::token::{Token, ask, form, unusable};

/// What tokens are for.
const RESOURCE: &str = "https://storage.azure.com/";
const AUTHORITY: &str = "https://login.microsoftonline.com";
const METADATA: &str = "http://169.254.169.254";

/// The CLI is a Python program that may have to ask for a new token: it takes a second or two.
const CLI_TIMEOUT: Duration = Duration::from_secs(9);

/// A token of the first of them that there is.
pub(super) async fn token(client: &Client, options: &IdentityOptions) -> Result<Token> {
    if let Some((name, request)) = of_application(options).await? {
        return ask(client, name, &request).await;
    }
    if let Some(request) = of_app_service(options)? {
        return ask(client, "managed identity", &request).await;
    }
    let of_machine = match of_machine(options)? {
        Some(request) => ask(&Client::of_metadata()?, "managed identity", &request).await,
        None => Err(unusable("managed identity: none here")),
    };
    let Err(no_machine) = of_machine else { return of_machine };
    match of_cli(options).await {
        Some(found) => found,
        None => {
            tracing::debug!(%no_machine, "no managed identity");
            Err(unusable(
                "neither AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN or a connection string for this account, nor \
                 workload identity, managed identity or az login; --no-sign-request for a public container",
            ))
        }
    }
}

/// The request of an application that has a secret, or a token of another issuer (OAuth 2.0 client credentials).
async fn of_application(options: &IdentityOptions) -> Result<Option<(&'static str, Request)>> {
    let Some((tenant, client)) = options.tenant.as_ref().zip(options.client.as_ref()) else { return Ok(None) };
    let mut fields = vec![
        ("client_id", client.clone()),
        ("grant_type", "client_credentials".to_owned()),
        ("scope", format!("{RESOURCE}.default")),
    ];
    let name = if let Some(secret) = &options.client_secret {
        fields.push(("client_secret", secret.reveal().to_owned()));
        "service principal"
    } else if let Some(file) = &options.federated_token_file {
        // It is replaced before it expires, hence read each time.
        let read = tokio::fs::read_to_string(file).await;
        let assertion = read.map_err(|error| unusable(&format!("workload identity: {file}: {error}")))?;
        fields.push(("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer".to_owned()));
        fields.push(("client_assertion", assertion.trim().to_owned()));
        "workload identity"
    } else {
        return Ok(None);
    };
    let what = "AZURE_AUTHORITY_HOST";
    let authority = Endpoint::parse(what, options.authority.as_deref().unwrap_or(AUTHORITY))?.for_secrets(what)?;
    let url = format!("{}/{}/oauth2/v2.0/token", authority.as_str(), path::encode(tenant));
    Ok(Some((name, form(url, &fields))))
}

/// The managed identity of App Service, Functions and Container Apps ("REST endpoint reference").
fn of_app_service(options: &IdentityOptions) -> Result<Option<Request>> {
    let Some((url, header)) = options.managed_endpoint.as_ref().zip(options.managed_header.as_ref()) else {
        return Ok(None);
    };
    // It is a service of the machine itself, by http.
    let endpoint = Endpoint::parse("IDENTITY_ENDPOINT", url)?;
    let query = resource_query("2019-08-01", options);
    let request = Request::get(format!("{}?{query}", endpoint.as_str())).with("x-identity-header", header.reveal());
    Ok(Some(request))
}

/// The managed identity of a virtual machine ("How to use managed identities to acquire an access token").
fn of_machine(options: &IdentityOptions) -> Result<Option<Request>> {
    let host = options.metadata_host.as_deref().unwrap_or(METADATA);
    if host == "disabled" {
        return Ok(None);
    }
    let endpoint = Endpoint::parse("AZURE_POD_IDENTITY_AUTHORITY_HOST", host)?;
    let query = resource_query("2018-02-01", options);
    let url = format!("{}/metadata/identity/oauth2/token?{query}", endpoint.as_str());
    Ok(Some(Request::get(url).with("metadata", "true")))
}

fn resource_query(version: &str, options: &IdentityOptions) -> String {
    let mut parameters = vec![("api-version", version.to_owned()), ("resource", RESOURCE.to_owned())];
    parameters.extend(options.client.clone().map(|client| ("client_id", client)));
    path::query(&parameters)
}

/// The answer of `az account get-access-token`.
#[derive(Deserialize)]
struct CliToken {
    #[serde(rename = "accessToken")]
    access_token: String,
    /// Seconds since 1970.
    expires_on: Option<u64>,
}

/// The account that is logged in by `az login`; none where there is no `az`.
async fn of_cli(options: &IdentityOptions) -> Option<Result<Token>> {
    let folders = options.path.as_deref().unwrap_or_default().split(':').filter(|folder| !folder.is_empty());
    let program = folders.map(|folder| Path::new(folder).join("az")).find(|program| program.is_file())?;
    let mut command = Command::new(program);
    command.args(["account", "get-access-token", "--output", "json", "--resource", RESOURCE]);
    command.stdin(std::process::Stdio::null()).kill_on_drop(true);
    Some(match timeout(CLI_TIMEOUT, command.output()).await {
        Ok(Ok(output)) if output.status.success() => cli_token(&output.stdout),
        Ok(Ok(_)) => Err(unusable("az has no token: run az login")),
        Ok(Err(error)) => Err(unusable(&format!("az: {error}"))),
        Err(_) => Err(unusable("az does not answer")),
    })
}

fn cli_token(output: &[u8]) -> Result<Token> {
    let Ok(CliToken { access_token, expires_on }) = serde_json::from_slice(output) else {
        return Err(unusable("az: an answer without a token"));
    };
    // Older versions tell the local time only; they give tokens of half an hour at least.
    let life = || SystemTime::now() + Duration::from_secs(600);
    let expires = expires_on.and_then(|at| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(at)));
    Ok(Token { text: Secret::new(access_token), expires: expires.unwrap_or_else(life), provider: "az login" })
}
