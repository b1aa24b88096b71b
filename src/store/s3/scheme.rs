//! S3 as one of the stores that there are: `s3://bucket[/prefix]`, and the rules for names of buckets.
//!
//! What a user wrote is echoed in an error only where it cannot hold a secret.

use std::sync::Arc;

use async_trait::async_trait;

use super::S3Store;
use super::archive::S3Restorer;
use super::diagnosis::{self, S3Diagnosis};
use crate::store::scheme::{Env, Place, Scheme};
use crate::store::{Diagnosis, Restorer, Result, Store, StoreError, StoreOptions};

/// What `STORAGE_BACKEND` calls S3.
pub(in crate::store) const BACKEND: &str = "s3";

/// The scheme `s3://`.
#[derive(Debug)]
pub(in crate::store) struct S3;

#[async_trait]
impl Scheme for S3 {
    fn name(&self) -> &'static str {
        "s3"
    }

    fn backend(&self) -> &'static str {
        BACKEND
    }

    fn form(&self) -> &'static str {
        "s3://bucket"
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
            return Err(StoreError::invalid("no source: name one as s3://bucket[/prefix], or set STORAGE_BUCKET"));
        };
        place(&bucket, &get("STORAGE_PREFIX").unwrap_or_default())
    }

    fn resolve(&self, options: StoreOptions, env: Env<'_>) -> Result<StoreOptions> {
        let s3 = match &options.env_prefix {
            Some(prefix) => options.s3.with_keys_of(prefix, env)?,
            None => options.s3,
        };
        Ok(StoreOptions { s3: s3.resolve(env)?, ..options })
    }

    fn remedy_of_options(&self, error: &StoreError) -> &'static str {
        diagnosis::remedy_of_options(error)
    }

    fn remedy_of_mount(&self, error: &StoreError) -> &'static str {
        diagnosis::remedy_of_mount(error)
    }

    async fn open(&self, bucket: &str, options: &StoreOptions) -> Result<Arc<dyn Store>> {
        Ok(Arc::new(S3Store::open(bucket, &options.s3).await?))
    }

    async fn diagnose(&self, bucket: &str, options: &StoreOptions) -> Result<Box<dyn Diagnosis>> {
        Ok(Box::new(S3Diagnosis::open(bucket, &options.s3).await?))
    }

    async fn restorer(&self, bucket: &str, options: &StoreOptions) -> Result<Box<dyn Restorer>> {
        Ok(Box::new(S3Restorer::open(bucket, &options.s3).await?))
    }
}

fn place(bucket: &str, path: &str) -> Result<Place> {
    if let Err(rule) = check_bucket(bucket) {
        let harmless = bucket.len() <= 63 && bucket.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        let shown = if harmless { format!(" {bucket:?}") } else { String::new() };
        return Err(StoreError::invalid(format!("the bucket name{shown} {rule}")));
    }
    Ok(Place { root: bucket.to_owned(), path: path.to_owned() })
}

/// The rules of the S3 User Guide, "General purpose buckets naming rules".
fn check_bucket(name: &str) -> std::result::Result<(), &'static str> {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if name.is_empty() {
        Err("is missing: s3://bucket[/prefix]")
    } else if !(3..=63).contains(&name.len()) {
        Err("must be 3 to 63 characters long")
    } else if !name.chars().all(|c| alphanumeric(c) || c == '.' || c == '-') {
        Err("may hold only lower-case letters, digits, dots and hyphens")
    } else if !name.starts_with(alphanumeric) || !name.ends_with(alphanumeric) {
        Err("must begin and end with a letter or digit")
    } else if name.contains("..") {
        Err("must not hold two dots in a row")
    } else if name.parse::<std::net::Ipv4Addr>().is_ok() {
        Err("must not be an IP address")
    } else {
        Ok(())
    }
}

/// Directory buckets: they list in no order, and have neither versions nor archive classes (User Guide, "Differences for
/// directory buckets"). Their names end so (User Guide, "Directory bucket naming rules").
pub(super) fn is_directory_bucket(name: &str) -> bool {
    name.ends_with("--x-s3")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ErrorKind;

    #[test]
    fn bad_buckets_name_the_rule() {
        for (text, rule) in [
            ("", "missing"),
            ("/prefix", "missing"),
            ("ab", "3 to 63"),
            ("Bucket", "lower-case"),
            ("a_b", "lower-case"),
            ("-ab", "begin and end"),
            ("ab.", "begin and end"),
            ("a..b", "two dots"),
            ("10.0.0.1", "IP address"),
        ] {
            let error = S3.split(text).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Invalid);
            assert!(error.message.contains(rule), "{text}: {error}");
        }
    }
}
