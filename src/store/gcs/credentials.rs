//! In whose name requests are sent: nobody's, that of a file of credentials, or that of the machine.

use std::path::Path;

use super::account::Account;
use super::options::GcsOptions;
use crate::store::Result;
use crate::store::rest::client::{Client, Request};
use crate::store::rest::endpoint::Endpoint;
use crate::store::rest::path;
use crate::store::rest::token::{Kept, Token, ask, unusable};

const METADATA: &str = "metadata.google.internal";

/// What tokens are for.
pub(super) const SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_only";

/// Where tokens come from.
#[derive(Debug)]
pub(super) enum Credentials {
    Anonymous,
    File { account: Box<Account>, kept: Kept },
    Machine { host: String, kept: Kept },
}

impl Credentials {
    /// Reads the file of credentials, if there is one.
    pub(super) fn new(options: &GcsOptions, endpoint: &Endpoint) -> Result<Self> {
        if options.anonymous {
            return Ok(Self::Anonymous);
        }
        endpoint.clone().for_secrets("the endpoint URL")?;
        let named = options.credentials_file.as_deref();
        let of_gcloud = || options.gcloud_file.as_deref().filter(|file| file.is_file());
        if let Some(file) = named.or_else(of_gcloud) {
            return Ok(Self::File { account: Box::new(read(file)?), kept: Kept::default() });
        }
        let host = options.metadata_host.clone().unwrap_or_else(|| METADATA.to_owned());
        Ok(Self::Machine { host, kept: Kept::default() })
    }

    /// The token to send, which is fetched where there is none.
    pub(super) async fn grant(&self, client: &Client) -> Result<Option<Token>> {
        match self {
            Self::Anonymous => Ok(None),
            Self::File { account, kept } => kept.get(async || account.token(client).await).await.map(Some),
            Self::Machine { host, kept } => kept.get(async || of_machine(host).await).await.map(Some),
        }
    }

    /// Drops a token that was refused; whether another may be had.
    pub(super) async fn forget(&self, grant: &Option<Token>) -> bool {
        match (self, grant) {
            (Self::File { kept, .. } | Self::Machine { kept, .. }, Some(token)) => {
                kept.forget(token).await;
                true
            }
            _ => false,
        }
    }

    pub(super) fn is_anonymous(&self) -> bool {
        matches!(self, Self::Anonymous)
    }
}

fn read(file: &Path) -> Result<Account> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| unusable(&format!("{} cannot be read: {error}", file.display())))?;
    Account::parse(&text).map_err(|why| unusable(&format!("{}: {why}", file.display())))
}

/// The service account of a machine of Google's, also by workload identity of Kubernetes ("About VM metadata").
async fn of_machine(host: &str) -> Result<Token> {
    let query = path::query(&[("scopes", SCOPE.to_owned())]);
    let url = format!("http://{host}/computeMetadata/v1/instance/service-accounts/default/token?{query}");
    let request = Request::get(url).with("metadata-flavor", "Google");
    ask(&Client::of_metadata()?, "metadata service", &request).await.map_err(|error| {
        tracing::debug!(%error, "no metadata service");
        unusable(
            "neither GOOGLE_APPLICATION_CREDENTIALS, nor gcloud auth application-default login, nor the metadata \
             service of a machine; --no-sign-request for a public bucket",
        )
    })
}
