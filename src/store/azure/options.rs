//! What the environment says of an account, in the words of the Azure CLI and SDKs. Pure.
//!
//! Precedence, highest first:
//! - endpoint: `--endpoint-url`, `AZURE_STORAGE_ENDPOINT`, the connection string, Azure itself
//! - credentials: `--no-sign-request` (none), the connection string, `AZURE_STORAGE_KEY`, `AZURE_STORAGE_SAS_TOKEN`,
//!   tokens of an identity
//!
//! Keys and signatures that are said to be those of another account (`AZURE_STORAGE_ACCOUNT`, `AccountName`) are left
//! alone.

use super::signature::Key;
use crate::store::rest::endpoint::Endpoint;
use crate::store::rest::secret::Secret;
use crate::store::scheme::Env;
use crate::store::{Result, StoreError};

/// The account of every Azurite, and its key, which is public (Azurite's documentation, "Default storage account").
const EMULATOR_ACCOUNT: &str = "devstoreaccount1";
const EMULATOR_KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
const EMULATOR_ENDPOINT: &str = "http://127.0.0.1:10000/devstoreaccount1";

/// How to reach an account of Azure Blob Storage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AzureOptions {
    /// Another endpoint than Azure's: an `http` or `https` URL without credentials.
    pub endpoint: Option<String>,
    /// Send requests without credentials, for public containers.
    pub anonymous: bool,
    /// The account that key and signature are for, if that is said.
    pub(super) account: Option<String>,
    /// A shared key, in base64.
    pub(super) key: Option<Secret>,
    /// A shared access signature: the query of a URL.
    pub(super) sas: Option<Secret>,
    /// An endpoint of the connection string.
    pub(super) configured_endpoint: Option<String>,
    pub(super) identity: IdentityOptions,
}

/// Where tokens come from: the variables of the Azure SDKs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct IdentityOptions {
    pub(super) tenant: Option<String>,
    pub(super) client: Option<String>,
    pub(super) client_secret: Option<Secret>,
    /// A file with a token of another issuer, such as Kubernetes.
    pub(super) federated_token_file: Option<String>,
    pub(super) authority: Option<String>,
    /// The endpoint of App Service and Functions, and what it wants to be told.
    pub(super) managed_endpoint: Option<String>,
    pub(super) managed_header: Option<Secret>,
    /// Another host for the metadata service of virtual machines.
    pub(super) metadata_host: Option<String>,
    /// Where programs are found.
    pub(super) path: Option<String>,
}

impl AzureOptions {
    /// Fills what the options leave open from the environment, and checks it.
    pub(super) fn resolve(self, env: Env<'_>) -> Result<Self> {
        let get = |name: &str| env(name).filter(|value| !value.is_empty());
        let mut resolved = Self {
            endpoint: self.endpoint.or_else(|| get("AZURE_STORAGE_ENDPOINT")),
            anonymous: self.anonymous,
            account: get("AZURE_STORAGE_ACCOUNT"),
            key: get("AZURE_STORAGE_KEY").map(Secret::new),
            sas: get("AZURE_STORAGE_SAS_TOKEN").map(Secret::new),
            configured_endpoint: None,
            identity: IdentityOptions {
                tenant: get("AZURE_TENANT_ID"),
                client: get("AZURE_CLIENT_ID"),
                client_secret: get("AZURE_CLIENT_SECRET").map(Secret::new),
                federated_token_file: get("AZURE_FEDERATED_TOKEN_FILE"),
                authority: get("AZURE_AUTHORITY_HOST"),
                managed_endpoint: get("IDENTITY_ENDPOINT"),
                managed_header: get("IDENTITY_HEADER").map(Secret::new),
                metadata_host: get("AZURE_POD_IDENTITY_AUTHORITY_HOST"),
                path: get("PATH"),
            },
        };
        if let Some(text) = get("AZURE_STORAGE_CONNECTION_STRING") {
            resolved.connect(&text)?;
        }
        if let Some(url) = &resolved.endpoint {
            Endpoint::parse("the endpoint URL", url)?;
        }
        if let Some(key) = resolved.key.as_ref().filter(|_| !resolved.anonymous) {
            Key::parse(key)?;
        }
        Ok(resolved)
    }

    /// What a connection string says ("Configure Azure Storage connection strings"). It replaces what single variables
    /// say of an account and its secrets.
    fn connect(&mut self, text: &str) -> Result<()> {
        let fields: Vec<_> = text.split(';').filter_map(|field| field.trim().split_once('=')).collect();
        let get = |name: &str| {
            let found = fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
            found.map(|(_, value)| (*value).to_owned()).filter(|value| !value.is_empty())
        };
        if get("UseDevelopmentStorage").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            self.account = Some(EMULATOR_ACCOUNT.to_owned());
            (self.key, self.sas) = (Some(Secret::new(EMULATOR_KEY)), None);
            self.configured_endpoint = Some(EMULATOR_ENDPOINT.to_owned());
            return Ok(());
        }
        let (account, endpoint) = (get("AccountName"), get("BlobEndpoint"));
        if account.is_none() && endpoint.is_none() {
            let what = "AZURE_STORAGE_CONNECTION_STRING has neither AccountName nor BlobEndpoint";
            return Err(StoreError::invalid(what));
        }
        let suffix = || get("EndpointSuffix").zip(account.clone());
        let of_suffix = || {
            let scheme = get("DefaultEndpointsProtocol").unwrap_or_else(|| "https".to_owned());
            suffix().map(|(suffix, account)| format!("{scheme}://{account}.blob.{suffix}"))
        };
        self.configured_endpoint = endpoint.clone().or_else(of_suffix);
        if let Some(url) = &self.configured_endpoint {
            let url = Endpoint::parse("BlobEndpoint of AZURE_STORAGE_CONNECTION_STRING", url)?;
            self.account = account.clone().or_else(|| account_of(&url)).or(self.account.take());
        } else {
            self.account = account;
        }
        let (key, sas) = (get("AccountKey"), get("SharedAccessSignature"));
        if key.is_some() || sas.is_some() {
            (self.key, self.sas) = (key.map(Secret::new), sas.map(Secret::new));
        }
        Ok(())
    }

    /// Whether key, signature and configured endpoint are those of this account, as far as it is said.
    pub(super) fn is_of(&self, account: &str) -> bool {
        self.account.as_deref().is_none_or(|known| known == account)
    }

    /// Where the account is. Other endpoints than Azure's have it in the path, unless it is in the host.
    pub(super) fn endpoint(&self, account: &str) -> Result<Endpoint> {
        let configured = self.configured_endpoint.as_ref().filter(|_| self.is_of(account));
        let Some(text) = self.endpoint.as_ref().or(configured) else {
            return Endpoint::parse("the account", &format!("https://{account}.blob.core.windows.net"));
        };
        let endpoint = Endpoint::parse("the endpoint URL", text)?;
        let needs_account = endpoint.is_local_name() && endpoint.path().is_empty();
        Ok(if needs_account { endpoint.with_segment(account) } else { endpoint })
    }
}

/// The account that the first word of a host names, or the path.
fn account_of(endpoint: &Endpoint) -> Option<String> {
    let identity = endpoint.identity();
    match endpoint.is_local_name() {
        true => endpoint.path().strip_prefix('/').map(str::to_owned),
        false => identity.split('.').next().map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(set: &[(&str, &str)]) -> Result<AzureOptions> {
        AzureOptions::default()
            .resolve(&|name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    fn connected(text: &str) -> AzureOptions {
        resolved(&[("AZURE_STORAGE_CONNECTION_STRING", text)]).unwrap()
    }

    #[test]
    fn an_account_is_at_azure_unless_something_else_is_said() {
        let at = |options: AzureOptions| options.endpoint("acc").unwrap().as_str().to_owned();
        assert_eq!(at(AzureOptions::default()), "https://acc.blob.core.windows.net");
        assert_eq!(
            at(resolved(&[("AZURE_STORAGE_ENDPOINT", "http://127.0.0.1:1/")]).unwrap()),
            "http://127.0.0.1:1/acc"
        );
        assert_eq!(at(resolved(&[("AZURE_STORAGE_ENDPOINT", "http://h:1/acc")]).unwrap()), "http://h:1/acc");
        assert_eq!(
            at(resolved(&[("AZURE_STORAGE_ENDPOINT", "https://a.example.org")]).unwrap()),
            "https://a.example.org"
        );
        let china = "AccountName=acc;AccountKey=a2V5;EndpointSuffix=core.chinacloudapi.cn";
        assert_eq!(at(connected(china)), "https://acc.blob.core.chinacloudapi.cn");
        let emulator = connected("UseDevelopmentStorage=true");
        assert_eq!(emulator.endpoint(EMULATOR_ACCOUNT).unwrap().as_str(), EMULATOR_ENDPOINT);
    }

    #[test]
    fn secrets_are_those_of_the_account_that_they_are_said_to_be_of() {
        let options = connected("BlobEndpoint=https://acc.blob.core.windows.net/;SharedAccessSignature=sig=hunter2");
        assert!(options.is_of("acc") && !options.is_of("other"));
        assert_eq!(options.endpoint("other").unwrap().as_str(), "https://other.blob.core.windows.net");
        let options = connected("BlobEndpoint=http://127.0.0.1:10000/acc;AccountName=acc;AccountKey=a2V5");
        assert!(options.is_of("acc") && !options.is_of("other"));
        let options = resolved(&[("AZURE_STORAGE_ACCOUNT", "acc"), ("AZURE_STORAGE_KEY", "a2V5")]).unwrap();
        assert!(!options.is_of("other"));
        assert!(resolved(&[("AZURE_STORAGE_KEY", "a2V5")]).unwrap().is_of("any"));
    }

    #[test]
    fn what_cannot_work_is_told_without_secrets() {
        for set in [
            ("AZURE_STORAGE_KEY", "hunter2!"),
            ("AZURE_STORAGE_ENDPOINT", "https://me:hunter2@h"),
            ("AZURE_STORAGE_CONNECTION_STRING", "AccountKey=hunter2"),
            ("AZURE_STORAGE_CONNECTION_STRING", "BlobEndpoint=hunter2"),
            ("AZURE_STORAGE_CONNECTION_STRING", "hunter2"),
        ] {
            let message = resolved(&[set]).unwrap_err().message;
            assert!(!message.contains("hunter2"), "{message}");
        }
        let options = connected("AccountName=acc;AccountKey=aHVudGVyMg==;SharedAccessSignature=sig=hunter2");
        assert!(!format!("{options:?}").contains("hunter2") && !format!("{options:?}").contains("aHVudGVyMg"));
    }
}
