//! Google Cloud Storage as one of the stores that there are: `gs://bucket[/prefix]`, and the rules for names of buckets.
//!
//! What a user wrote is not echoed in errors: the wrong thing in the place of a name may be a secret.

use std::sync::Arc;

use async_trait::async_trait;

use super::diagnosis::GcsDiagnosis;
use super::{GcsOptions, GcsStore};
use crate::store::scheme::{Env, Place, Scheme};
use crate::store::{Diagnosis, Result, Store, StoreError, StoreOptions};

/// The scheme `gs://`.
#[derive(Debug)]
pub(in crate::store) struct Gs;

/// The scheme `gs://`.
pub(in crate::store) static GCS: Gs = Gs;

#[async_trait]
impl Scheme for Gs {
    fn name(&self) -> &'static str {
        "gs"
    }

    fn backend(&self) -> &'static str {
        "gcs"
    }

    fn form(&self) -> &'static str {
        "gs://bucket"
    }

    fn root_word(&self) -> &'static str {
        "bucket"
    }

    fn split(&self, rest: &str) -> Result<Place> {
        let (bucket, path) = rest.split_once('/').unwrap_or((rest, ""));
        place(bucket, path)
    }

    fn of_env(&self, env: Env<'_>) -> Result<Place> {
        let get = |name: &str| env(name).filter(|value| !value.is_empty());
        let Some(bucket) = get("STORAGE_BUCKET") else {
            return Err(StoreError::invalid("no source: set STORAGE_BUCKET to the name of a bucket"));
        };
        place(&bucket, &get("STORAGE_PREFIX").unwrap_or_default())
    }

    fn resolve(&self, options: StoreOptions, env: Env<'_>) -> Result<StoreOptions> {
        let given = GcsOptions {
            endpoint: options.gcs.endpoint.clone().or_else(|| options.s3.endpoint_url.clone()),
            anonymous: options.gcs.anonymous || options.s3.no_sign_request,
            requester_pays: options.gcs.requester_pays || options.s3.requester_pays,
            ..options.gcs.clone()
        };
        Ok(StoreOptions { gcs: given.resolve(env)?, ..options })
    }

    fn remedy(&self, _error: &StoreError) -> &'static str {
        "correct --endpoint-url, STORAGE_EMULATOR_HOST, or the file of GOOGLE_APPLICATION_CREDENTIALS"
    }

    async fn open(&self, root: &str, options: &StoreOptions) -> Result<Arc<dyn Store>> {
        Ok(Arc::new(GcsStore::open(root, &options.gcs)?))
    }

    async fn diagnose(&self, root: &str, options: &StoreOptions) -> Result<Box<dyn Diagnosis>> {
        Ok(Box::new(GcsDiagnosis::open(root, &options.gcs)?))
    }
}

fn place(bucket: &str, path: &str) -> Result<Place> {
    check_bucket(bucket).map_err(|rule| StoreError::invalid(format!("the name of the bucket {rule}")))?;
    Ok(Place { root: bucket.to_owned(), path: path.to_owned() })
}

/// "Bucket naming requirements". Names with dots, which are domains, may be longer.
fn check_bucket(name: &str) -> std::result::Result<(), &'static str> {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let longest = if name.contains('.') { 222 } else { 63 };
    if name.is_empty() {
        Err("is missing: gs://bucket[/prefix]")
    } else if !(3..=longest).contains(&name.len()) {
        Err("must be 3 to 63 characters long")
    } else if !name.chars().all(|c| alphanumeric(c) || "-_.".contains(c)) {
        Err("may hold only lower-case letters, digits, dots, hyphens and underscores")
    } else if !name.starts_with(alphanumeric) || !name.ends_with(alphanumeric) {
        Err("must begin and end with a letter or digit")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::SourceUrl;

    #[test]
    fn a_source_is_a_bucket_and_a_raw_prefix() {
        for (text, root, prefix) in [
            ("gs://b-1", "b-1", ""),
            ("GS://b_1.org/", "b_1.org", ""),
            ("gs://b-1/a//b c+%41?#", "b-1", "a//b c+%41?#/"),
        ] {
            let source = SourceUrl::parse(text).unwrap();
            assert_eq!((source.root.as_str(), source.prefix.as_str()), (root, prefix), "{text}");
            assert_eq!(SourceUrl::parse(&source.to_string()).unwrap(), source);
        }
    }

    #[test]
    fn bad_buckets_name_the_rule_and_not_themselves() {
        for (text, rule) in [
            ("", "missing"),
            ("/prefix", "missing"),
            ("ab", "3 to 63"),
            ("Hunter2", "lower-case"),
            ("-ab", "begin and end"),
            ("b?key=hunter2", "lower-case"),
        ] {
            let message = GCS.split(text).unwrap_err().message;
            assert!(message.contains(rule) && !message.to_lowercase().contains("hunter2"), "{text}: {message}");
        }
    }

    #[test]
    fn the_environment_names_a_source() {
        let set = [("STORAGE_BACKEND", "gcs"), ("STORAGE_BUCKET", "b-1"), ("STORAGE_PREFIX", "p")];
        let env = |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        assert_eq!(SourceUrl::from_env(env).unwrap().to_string(), "gs://b-1/p/");
        let message =
            SourceUrl::from_env(|name| (name == "STORAGE_BACKEND").then(|| "gcs".to_owned())).unwrap_err().message;
        assert!(message.contains("STORAGE_BUCKET"), "{message}");
    }
}
