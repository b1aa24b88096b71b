//! How to reach S3: options of the command line over the environment. Pure.
//!
//! Precedence, highest first:
//! - endpoint: `--endpoint-url`, `S3_ENDPOINT_URL`, `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`, the profile, AWS itself
//! - region: `--region`, `AWS_REGION`, `AWS_DEFAULT_REGION`, the profile, `us-east-1`; whatever it is, a bucket that
//!   names another region is asked there
//! - profile: `--profile` (then the profile's credentials alone count), `AWS_PROFILE`, `AWS_DEFAULT_PROFILE`, `default`
//! - the authorities of certificates: `AWS_CA_BUNDLE`, the profile, the system's
//! - where the bucket is named: `--path-style` or `--virtual-host-style`, the profile; for Amazon in the host, for any
//!   other endpoint in the path

use std::path::PathBuf;

use aws_credential_types::Credentials;
use aws_credential_types::credential_feature::AwsCredentialFeature as Feature;
use url::{Host, Url};

use crate::store::{ErrorKind, Result, StoreError};

/// How to reach an S3 endpoint. Fields that are none are left to the profile or a default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct S3Options {
    /// Another endpoint than AWS's: an `http` or `https` URL without credentials.
    pub endpoint_url: Option<String>,
    /// The region to begin with.
    pub region: Option<String>,
    /// The profile of the AWS configuration files whose settings and credentials count.
    pub profile: Option<String>,
    /// The same where none was named by option: credentials of the environment count before its own.
    pub default_profile: Option<String>,
    /// Send requests without signature, for public buckets.
    pub no_sign_request: bool,
    /// Agree to pay for requests to a requester-pays bucket.
    pub requester_pays: bool,
    /// Bucket in the path (`true`) or in the host name (`false`); none leaves it to the profile and the endpoint.
    pub path_style: Option<bool>,
    /// A file of certificates of the authorities that count instead of the system's.
    pub ca_bundle: Option<PathBuf>,
    /// Leave endpoints that the profile names alone, as those of the environment were.
    pub ignore_configured_endpoints: bool,
    /// Keys that count instead of all that the SDK would find.
    pub keys: Option<Credentials>,
}

impl S3Options {
    /// The profile whose settings count, if one was named.
    pub(super) fn named_profile(&self) -> Option<&str> {
        self.profile.as_deref().or(self.default_profile.as_deref())
    }

    /// With the keys or the profile of variables that have a prefix. The SDK finds those without one only.
    pub(super) fn with_keys_of(self, prefix: &str, env: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let get = |name: &str| env(name).filter(|value| !value.is_empty());
        // The SDK would look for endpoints in variables without the prefix, too.
        let own = Self { ignore_configured_endpoints: true, ..self };
        if own.no_sign_request {
            return Ok(own);
        }
        let profile = || get("AWS_PROFILE").or_else(|| get("AWS_DEFAULT_PROFILE"));
        match (get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY"), profile()) {
            (Some(id), Some(secret), _) => {
                let mut keys = Credentials::new(id, secret, get("AWS_SESSION_TOKEN"), None, "environment");
                keys.get_property_mut_or_default::<Vec<Feature>>().push(Feature::CredentialsEnvVars);
                Ok(Self { keys: Some(keys), ..own })
            }
            (None, None, profile @ Some(_)) => Ok(Self { profile, ..own }),
            (id, _, _) => {
                let missing = if id.is_none() { "AWS_ACCESS_KEY_ID" } else { "AWS_SECRET_ACCESS_KEY" };
                Err(StoreError::new(ErrorKind::Credentials, format!("{prefix}{missing} is not set")))
            }
        }
    }

    /// Fills what the options leave open from the environment, and checks the endpoint.
    pub fn resolve(self, env: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let first = |names: &[&str]| names.iter().find_map(|name| env(name).filter(|value| !value.is_empty()));
        let is_set = |name: &str| first(&[name]).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let ignored = self.ignore_configured_endpoints || is_set("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS");
        let of_tools: &[&str] = if ignored { &[] } else { &["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"] };
        let endpoint = || first(&["S3_ENDPOINT_URL"]).or_else(|| first(of_tools));
        let resolved = Self {
            endpoint_url: self.endpoint_url.or_else(endpoint),
            region: self.region.or_else(|| first(&["AWS_REGION", "AWS_DEFAULT_REGION"])),
            default_profile: self.default_profile.or_else(|| first(&["AWS_PROFILE", "AWS_DEFAULT_PROFILE"])),
            ca_bundle: self.ca_bundle.or_else(|| first(&["AWS_CA_BUNDLE"]).map(PathBuf::from)),
            ignore_configured_endpoints: ignored,
            ..self
        };
        if let Some(url) = &resolved.endpoint_url {
            Endpoint::parse(url)?;
        }
        Ok(resolved)
    }
}

/// A checked endpoint URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint(Url);

impl Endpoint {
    /// Refuses what cannot be an endpoint. The text is not echoed, since it may hold credentials.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let invalid = |why: &str| Err(StoreError::new(ErrorKind::Invalid, format!("the endpoint URL {why}")));
        let Ok(url) = Url::parse(text) else {
            return invalid("is not a URL: give it as https://host[:port]");
        };
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            invalid("must begin with http:// or https:// and a host")
        } else if !url.username().is_empty() || url.password().is_some() {
            invalid("must not hold credentials: use a profile or the AWS_* environment")
        } else if url.query().is_some() || url.fragment().is_some() {
            invalid("must not have a query or a fragment")
        } else {
            Ok(Self(url))
        }
    }

    /// The URL for the SDK, which would double a final slash.
    pub(super) fn as_str(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }

    /// Whether the bucket is better not a part of the host name. It cannot be one of an address; and of the names of
    /// others than Amazon few have wildcards in the DNS and in their certificates, while all know the bucket in the
    /// path.
    pub(super) fn prefers_path_style(&self) -> bool {
        match self.0.host() {
            Some(Host::Domain(name)) => !is_amazon(name),
            Some(Host::Ipv4(_) | Host::Ipv6(_)) | None => true,
        }
    }

    /// Whether what comes from it can be read and changed on the way.
    pub(super) fn is_open(&self) -> bool {
        self.0.scheme() == "http"
    }

    /// What tells this endpoint's buckets from those of others. All of AWS's endpoints of a partition (regional, FIPS,
    /// VPC) show the same buckets.
    pub(super) fn identity(&self) -> String {
        let host = self.0.host_str().unwrap_or_default();
        if host.ends_with(".amazonaws.com") {
            return AWS_IDENTITY.to_owned();
        }
        let port = self.0.port().map(|port| format!(":{port}")).unwrap_or_default();
        let path = self.0.path().trim_end_matches('/');
        format!("{host}{port}{path}")
    }
}

/// Amazon's hosts, also those of China.
fn is_amazon(host: &str) -> bool {
    let host = host.trim_end_matches('.').trim_end_matches(".cn");
    host.ends_with(".amazonaws.com")
}

/// The [`Endpoint::identity`] of AWS itself.
pub(super) const AWS_IDENTITY: &str = "s3.amazonaws.com";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_win_over_the_environment_in_the_documented_order() {
        let all = [
            ("S3_ENDPOINT_URL", "http://a:1"),
            ("AWS_ENDPOINT_URL_S3", "http://b:1"),
            ("AWS_ENDPOINT_URL", "http://c:1"),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_DEFAULT_REGION", "eu-west-2"),
        ];
        for skip in 0..3 {
            let env = |name: &str| all[skip..].iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
            let options = S3Options::default().resolve(env).unwrap();
            assert_eq!(options.endpoint_url.as_deref(), Some(all[skip].1));
            assert_eq!(options.region.as_deref(), Some("eu-west-1"));
        }
        let given = S3Options {
            endpoint_url: Some("https://mine".to_owned()),
            region: Some("here".to_owned()),
            ..Default::default()
        };
        let env = |name: &str| all.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        assert_eq!(given.clone().resolve(env).unwrap(), given);
    }

    #[test]
    fn variables_with_a_prefix_are_keys_or_a_profile_and_half_a_pair_is_refused() {
        let with = |set: &'static [(&str, &str)]| {
            let env = move |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
            S3Options::default().with_keys_of("MINE_", env)
        };
        let keys = with(&[("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "hunter2")]).unwrap();
        assert_eq!(keys.keys.as_ref().unwrap().access_key_id(), "id");
        assert!(!format!("{keys:?}").contains("hunter2"), "{keys:?}");
        assert_eq!(with(&[("AWS_PROFILE", "p")]).unwrap().profile.as_deref(), Some("p"));
        for (set, missing) in [
            (&[("AWS_ACCESS_KEY_ID", "id")][..], "MINE_AWS_SECRET_ACCESS_KEY is not set"),
            (&[("AWS_SECRET_ACCESS_KEY", "hunter2")], "MINE_AWS_ACCESS_KEY_ID is not set"),
            (&[("AWS_REGION", "here")], "MINE_AWS_ACCESS_KEY_ID is not set"),
        ] {
            assert_eq!(with(set).unwrap_err().message, missing);
        }
    }

    #[test]
    fn an_empty_variable_counts_as_unset() {
        assert_eq!(S3Options::default().resolve(|_| Some(String::new())).unwrap(), S3Options::default());
    }

    #[test]
    fn endpoints_that_cannot_work_are_refused_without_echo() {
        for bad in ["hunter2", "ftp://hunter2", "http://u:hunter2@h", "http://hunter2@h", "http://h?hunter2", "http://"]
        {
            let message = Endpoint::parse(bad).unwrap_err().message;
            assert!(message.starts_with("the endpoint URL") && !message.contains("hunter2"), "{bad}: {message}");
        }
    }

    #[test]
    fn path_style_and_identity_follow_from_the_host() {
        for (url, path_style, identity) in [
            ("http://127.0.0.1:9000/", true, "127.0.0.1:9000"),
            ("http://[::1]:9000", true, "[::1]:9000"),
            ("http://localhost:3900", true, "localhost:3900"),
            ("http://minio", true, "minio"),
            ("https://minio.example.org", true, "minio.example.org"),
            ("https://storage.example.org/s3/", true, "storage.example.org/s3"),
            ("https://s3.us-west-2.amazonaws.com", false, AWS_IDENTITY),
        ] {
            let endpoint = Endpoint::parse(url).unwrap();
            assert_eq!((endpoint.prefers_path_style(), endpoint.identity().as_str()), (path_style, identity), "{url}");
        }
    }
}
