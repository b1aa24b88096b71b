//! Where credentials come from, and what may be told about them.
//!
//! The order is the SDK's default chain: environment, profile files (keys, assumed roles, SSO, web identity, external
//! processes), web identity of the environment, the endpoint of ECS and EKS, the instance's metadata service (IMDS). A
//! profile that was named by option counts alone, as with the AWS CLI: keys that happen to be in the environment are not
//! meant then. So do keys of variables that are named for one source. Nothing is looked up before the first request.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::imds;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::credential_feature::AwsCredentialFeature as Feature;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_types::region::Region;
use tokio::time::timeout;

use super::options::S3Options;

/// IMDS is one hop away and answers within milliseconds where it exists; elsewhere its address leads nowhere, and each
/// mount without credentials waits this long for it. The SDK's own four attempts of a second would take 5 s.
const IMDS_TIMEOUT: Duration = Duration::from_secs(1);

/// Looking credentials up may take several requests (SSO, then a role) or a slow external process, but it happens
/// within a request's attempt, which ends 3 s later.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(7);

/// The credentials of the chain, or of the profile that was named.
///
/// The SDK's providers read the profile files once. Tools that log a user in write temporary keys there, so
/// [`Provider::forget`] makes the next look-up begin anew.
#[derive(Debug)]
pub(super) struct Provider {
    http: SharedHttpClient,
    region: Region,
    keys: Option<Credentials>,
    profile: Option<String>,
    default_profile: Option<String>,
    chain: ArcSwapOption<SharedCredentialsProvider>,
}

impl Provider {
    pub(super) fn new(http: SharedHttpClient, region: Region, options: &S3Options) -> Self {
        let (profile, default_profile) = (options.profile.clone(), options.default_profile.clone());
        Self { http, region, keys: options.keys.clone(), profile, default_profile, chain: ArcSwapOption::empty() }
    }

    /// Drops what was read so far.
    pub(super) fn forget(&self) {
        self.chain.store(None);
    }

    async fn load(&self) -> aws_credential_types::provider::Result {
        let chain = match self.chain.load_full() {
            Some(chain) => chain,
            None => {
                let built = Arc::new(self.build().await);
                self.chain.store(Some(Arc::clone(&built)));
                built
            }
        };
        match timeout(LOOK_UP_TIMEOUT, chain.provide_credentials()).await {
            Ok(found) => found,
            // An instance keeps its last credentials while IMDS does not answer.
            Err(_) => {
                chain.fallback_on_interrupt().ok_or_else(|| CredentialsError::provider_timed_out(LOOK_UP_TIMEOUT))
            }
        }
    }

    async fn build(&self) -> SharedCredentialsProvider {
        if let Some(keys) = &self.keys {
            return SharedCredentialsProvider::new(keys.clone());
        }
        let region = Some(self.region.clone());
        let config = ProviderConfig::without_region().with_region(region).with_http_client(self.http.clone());
        if let Some(profile) = &self.profile {
            let named = ProfileFileCredentialsProvider::builder().configure(&config).profile_name(profile);
            return SharedCredentialsProvider::new(named.build());
        }
        let imds = imds::Client::builder()
            .configure(&config.clone().with_http_client(crate::store::web::http::direct()))
            .max_attempts(1)
            .connect_timeout(IMDS_TIMEOUT)
            .read_timeout(IMDS_TIMEOUT)
            .operation_timeout(IMDS_TIMEOUT * 2)
            .build();
        let mut chain = DefaultCredentialsChain::builder().configure(config).region(self.region.clone());
        if let Some(profile) = &self.default_profile {
            chain = chain.profile_name(profile);
        }
        SharedCredentialsProvider::new(chain.imds_client(imds).build().await)
    }
}

impl ProvideCredentials for Provider {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.load())
    }

    fn fallback_on_interrupt(&self) -> Option<Credentials> {
        self.chain.load().as_ref()?.fallback_on_interrupt()
    }
}

/// What may be told about credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialsInfo {
    /// What kind of provider they came from.
    pub provider: &'static str,
    /// The last four characters of the access key id.
    pub key_tail: String,
    /// Until when they are valid; none for keys that do not expire.
    pub expires: Option<SystemTime>,
}

impl CredentialsInfo {
    pub(super) fn new(credentials: &Credentials) -> Self {
        let key_tail = key_tail(credentials.access_key_id());
        Self { provider: provider_kind(credentials), key_tail, expires: credentials.expiry() }
    }
}

/// What may be told of an access key id: its last four characters, if it is much longer.
pub fn key_tail(id: &str) -> String {
    let id: Vec<char> = id.chars().collect();
    let tail = if id.len() >= 12 { &id[id.len() - 4..] } else { &[] };
    tail.iter().collect()
}

/// The kind of the provider that gave the credentials, the outermost first: a role assumed by keys of a profile is an
/// assumed role.
fn provider_kind(credentials: &Credentials) -> &'static str {
    let features = credentials.get_property::<Vec<Feature>>().map(Vec::as_slice).unwrap_or_default();
    features.iter().rev().find_map(feature_name).unwrap_or("another provider")
}

fn feature_name(feature: &Feature) -> Option<&'static str> {
    Some(match feature {
        Feature::CredentialsEnvVars => "environment variables",
        Feature::CredentialsProfile | Feature::CredentialsProfileSourceProfile => "profile files",
        Feature::CredentialsProfileNamedProvider => "named provider of a profile",
        Feature::CredentialsEnvVarsStsWebIdToken
        | Feature::CredentialsProfileStsWebIdToken
        | Feature::CredentialsStsAssumeRoleWebId => "web identity",
        Feature::CredentialsStsAssumeRole | Feature::CredentialsStsAssumeRoleSaml => "assumed role",
        Feature::CredentialsStsFederationToken | Feature::CredentialsStsSessionToken => "STS session",
        Feature::CredentialsProfileSso | Feature::CredentialsSso => "SSO",
        Feature::CredentialsProfileProcess | Feature::CredentialsProcess => "external process",
        Feature::CredentialsProfileLogin | Feature::CredentialsLogin => "console login",
        Feature::CredentialsHttp => "container endpoint",
        Feature::CredentialsImds => "instance metadata",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_four_characters_of_the_key_id_are_told() {
        let info = |id: &str| CredentialsInfo::new(&Credentials::new(id, "secret", None, None, "test")).key_tail;
        assert_eq!(info("AKIAIOSFODNN7EXAMPLE"), "MPLE");
        assert_eq!(info("minio"), "");
    }

    #[test]
    fn the_outermost_provider_names_the_kind() {
        let mut credentials = Credentials::new("id", "secret", None, None, "test");
        assert_eq!(provider_kind(&credentials), "another provider");
        credentials.get_property_mut_or_default::<Vec<Feature>>().push(Feature::CredentialsProfile);
        credentials.get_property_mut_or_default::<Vec<Feature>>().push(Feature::CredentialsStsAssumeRole);
        assert_eq!(provider_kind(&credentials), "assumed role");
    }
}
