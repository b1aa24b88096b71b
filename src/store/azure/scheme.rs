//! Azure as one of the stores that there are: `az://account/container[/prefix]`, and the rules for names.
//!
//! What a user wrote is not echoed in errors: the wrong thing in the place of a name may be a secret.

use std::sync::Arc;

use async_trait::async_trait;

use super::archive::AzureRestorer;
use super::diagnosis::AzureDiagnosis;
use super::{AzureOptions, AzureStore};
use crate::store::scheme::{Env, Place, Scheme};
use crate::store::{Diagnosis, ErrorKind, Restorer, Result, Store, StoreError, StoreOptions};

/// The scheme `az://`.
#[derive(Debug)]
pub(in crate::store) struct Az;

/// The scheme `az://`.
pub(in crate::store) static AZURE: Az = Az;

#[async_trait]
impl Scheme for Az {
    fn name(&self) -> &'static str {
        "az"
    }

    fn backend(&self) -> &'static str {
        "azure"
    }

    fn form(&self) -> &'static str {
        "az://account/container"
    }

    fn root_word(&self) -> &'static str {
        "container"
    }

    fn split(&self, rest: &str) -> Result<Place> {
        let mut parts = rest.splitn(3, '/');
        let mut part = || parts.next().unwrap_or_default();
        place(part(), part(), part())
    }

    /// `STORAGE_BUCKET` is `account/container`, or the container of `AZURE_STORAGE_ACCOUNT`.
    fn of_env(&self, env: Env<'_>) -> Result<Place> {
        let get = |name: &str| env(name).filter(|value| !value.is_empty());
        let Some(bucket) = get("STORAGE_BUCKET") else {
            return Err(StoreError::invalid("no source: set STORAGE_BUCKET to account/container"));
        };
        let prefix = get("STORAGE_PREFIX").unwrap_or_default();
        match (bucket.split_once('/'), get("AZURE_STORAGE_ACCOUNT")) {
            (Some((account, container)), _) => place(account, container, &prefix),
            (None, Some(account)) => place(&account, &bucket, &prefix),
            (None, None) => Err(StoreError::invalid(
                "STORAGE_BUCKET names no account: set it to account/container, or set AZURE_STORAGE_ACCOUNT",
            )),
        }
    }

    fn resolve(&self, options: StoreOptions, env: Env<'_>) -> Result<StoreOptions> {
        let given = AzureOptions {
            endpoint: options.azure.endpoint.clone().or_else(|| options.s3.endpoint_url.clone()),
            anonymous: options.azure.anonymous || options.s3.no_sign_request,
            ..options.azure.clone()
        };
        Ok(StoreOptions { azure: given.resolve(env)?, ..options })
    }

    fn remedy_of_options(&self, _error: &StoreError) -> &'static str {
        "correct --endpoint-url and the AZURE_* environment"
    }

    fn remedy_of_mount(&self, error: &StoreError) -> &'static str {
        match error.kind {
            ErrorKind::NotFound => "; check the names of the account and the container",
            ErrorKind::AccessDenied => "; check the credentials, or use --no-sign-request for a public container",
            ErrorKind::Credentials => "; check the credentials and the clock",
            ErrorKind::Timeout | ErrorKind::Network => {
                "; check the name of the account, the network and --endpoint-url"
            }
            _ => "",
        }
    }

    async fn open(&self, root: &str, options: &StoreOptions) -> Result<Arc<dyn Store>> {
        Ok(Arc::new(AzureStore::open(root, &options.azure)?))
    }

    async fn diagnose(&self, root: &str, options: &StoreOptions) -> Result<Box<dyn Diagnosis>> {
        Ok(Box::new(AzureDiagnosis::open(root, &options.azure)?))
    }

    async fn restorer(&self, root: &str, options: &StoreOptions) -> Result<Box<dyn Restorer>> {
        Ok(Box::new(AzureRestorer::open(root, &options.azure)?))
    }
}

fn place(account: &str, container: &str, path: &str) -> Result<Place> {
    check_account(account).map_err(|rule| StoreError::invalid(format!("the name of the account {rule}")))?;
    check_container(container).map_err(|rule| StoreError::invalid(format!("the name of the container {rule}")))?;
    Ok(Place { root: format!("{account}/{container}"), path: path.to_owned() })
}

/// "Storage account overview", names.
fn check_account(name: &str) -> std::result::Result<(), &'static str> {
    if name.is_empty() {
        Err("is missing: az://account/container[/prefix]")
    } else if !(3..=24).contains(&name.len()) {
        Err("must be 3 to 24 characters long: az://account/container[/prefix]")
    } else if !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()) {
        Err("may hold only lower-case letters and digits: az://account/container[/prefix]")
    } else {
        Ok(())
    }
}

/// "Naming and referencing containers, blobs, and metadata", and the containers that the service has by itself.
fn check_container(name: &str) -> std::result::Result<(), &'static str> {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if matches!(name, "$root" | "$web" | "$logs") {
        Ok(())
    } else if name.is_empty() {
        Err("is missing: az://account/container[/prefix]")
    } else if !(3..=63).contains(&name.len()) {
        Err("must be 3 to 63 characters long")
    } else if !name.chars().all(|c| alphanumeric(c) || c == '-') {
        Err("may hold only lower-case letters, digits and hyphens")
    } else if !name.starts_with(alphanumeric) || !name.ends_with(alphanumeric) || name.contains("--") {
        Err("must begin and end with a letter or digit, and have no two hyphens in a row")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::SourceUrl;

    #[test]
    fn a_source_is_an_account_a_container_and_a_raw_prefix() {
        for (text, root, prefix) in [
            ("az://acc/con", "acc/con", ""),
            ("AZ://acc/con/", "acc/con", ""),
            ("az://acc/con/a//b c+%41?#", "acc/con", "a//b c+%41?#/"),
            ("az://acc/$web/x", "acc/$web", "x/"),
        ] {
            let source = SourceUrl::parse(text).unwrap();
            assert_eq!((source.root.as_str(), source.prefix.as_str()), (root, prefix), "{text}");
            assert_eq!(SourceUrl::parse(&source.to_string()).unwrap(), source);
        }
        let (source, key) = SourceUrl::parse_object("az://acc/con/a//b.fits").unwrap();
        assert_eq!((source.root.as_str(), key.as_str()), ("acc/con", "a//b.fits"));
    }

    #[test]
    fn bad_names_name_the_rule_and_not_themselves() {
        for (text, rule) in [
            ("", "account is missing"),
            ("acc", "container is missing"),
            ("acc/", "container is missing"),
            ("ab/con", "3 to 24"),
            ("hunter2_X/con", "lower-case"),
            ("acc/co", "3 to 63"),
            ("acc/Hunter2", "lower-case"),
            ("acc/a--b", "two hyphens"),
            ("acc/-ab", "begin and end"),
            ("acc/con?sig=hunter2", "lower-case"),
        ] {
            let message = AZURE.split(text).unwrap_err().message;
            assert!(message.contains(rule) && !message.to_lowercase().contains("hunter2"), "{text}: {message}");
        }
    }

    #[test]
    fn the_environment_names_a_source() {
        fn source(set: &[(&str, &str)]) -> std::result::Result<String, String> {
            let get = |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            SourceUrl::from_env(get).map(|source| source.to_string()).map_err(|error| error.message)
        }
        let azure = ("STORAGE_BACKEND", "azure");
        let prefix = ("STORAGE_PREFIX", "p");
        assert_eq!(source(&[azure, ("STORAGE_BUCKET", "acc/con"), prefix]).as_deref(), Ok("az://acc/con/p/"));
        let named = source(&[azure, ("STORAGE_BUCKET", "con"), ("AZURE_STORAGE_ACCOUNT", "acc")]);
        assert_eq!(named.as_deref(), Ok("az://acc/con"));
        assert!(source(&[azure, ("STORAGE_BUCKET", "con")]).unwrap_err().contains("AZURE_STORAGE_ACCOUNT"));
        assert!(source(&[azure]).unwrap_err().contains("STORAGE_BUCKET"));
    }
}
