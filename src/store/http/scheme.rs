//! Web servers as one of the stores that there are: `https://host[:port][/path/]`, and `http://` for those of this machine
//! and of networks that are trusted.
//!
//! `STORAGE_BACKEND=http` takes the URL from `STORAGE_BUCKET`, with its scheme.

use std::sync::Arc;

use async_trait::async_trait;

use super::HttpStore;
use super::diagnosis::{HttpDiagnosis, remedy_of_mount, remedy_of_options};
use super::root::{place_of_file, place_of_source};
use crate::store::scheme::{Env, Place, Scheme};
use crate::store::{Diagnosis, Result, Store, StoreError, StoreOptions};

/// One of the two schemes.
#[derive(Debug)]
pub(in crate::store) struct Http(&'static str);

/// `https://`.
pub(in crate::store) static HTTPS: Http = Http("https");

/// `http://`.
pub(in crate::store) static HTTP: Http = Http("http");

#[async_trait]
impl Scheme for Http {
    fn name(&self) -> &'static str {
        self.0
    }

    fn backend(&self) -> &'static str {
        self.0
    }

    fn form(&self) -> &'static str {
        if self.0 == "https" { "https://host" } else { "http://host" }
    }

    fn root_word(&self) -> &'static str {
        "server"
    }

    fn split(&self, rest: &str) -> Result<Place> {
        place_of_source(self.0, rest).map(|(root, path)| Place { root, path })
    }

    fn split_object(&self, rest: &str) -> Result<Place> {
        place_of_file(self.0, rest).map(|(root, path)| Place { root, path })
    }

    fn has_slash_after_folders(&self) -> bool {
        true
    }

    fn shown_root<'a>(&self, root: &'a str) -> std::borrow::Cow<'a, str> {
        root.split_once('?').map_or(root.into(), |(path, _)| format!("{path}?...").into())
    }

    fn in_env(&self, env: Env<'_>) -> Option<&'static dyn Scheme> {
        match env("STORAGE_BUCKET")?.split_once("://")?.0.to_ascii_lowercase().as_str() {
            "https" => Some(&HTTPS),
            "http" => Some(&HTTP),
            _ => None,
        }
    }

    fn of_env(&self, env: Env<'_>) -> Result<Place> {
        let get = |name: &str| env(name).filter(|value| !value.is_empty());
        let bucket = get("STORAGE_BUCKET").unwrap_or_default();
        let Some(rest) = bucket.split_once("://").filter(|(scheme, _)| scheme.eq_ignore_ascii_case(self.0)) else {
            return Err(StoreError::invalid("with STORAGE_BACKEND=http, STORAGE_BUCKET is a URL: https://host/path/"));
        };
        let Place { root, path } = self.split(rest.1)?;
        let path = match get("STORAGE_PREFIX") {
            Some(prefix) if path.is_empty() || path.ends_with('/') => path + &prefix,
            Some(prefix) => format!("{path}/{prefix}"),
            None => path,
        };
        Ok(Place { root, path })
    }

    fn resolve(&self, options: StoreOptions, env: Env<'_>) -> Result<StoreOptions> {
        Ok(StoreOptions { http: options.http.resolve(env)?, ..options })
    }

    fn remedy_of_options(&self, error: &StoreError) -> &'static str {
        remedy_of_options(error)
    }

    fn remedy_of_mount(&self, error: &StoreError) -> &'static str {
        remedy_of_mount(error)
    }

    async fn open(&self, root: &str, options: &StoreOptions) -> Result<Arc<dyn Store>> {
        Ok(Arc::new(HttpStore::open(self.0, root, &options.http)?))
    }

    async fn diagnose(&self, root: &str, options: &StoreOptions) -> Result<Box<dyn Diagnosis>> {
        Ok(Box::new(HttpDiagnosis::new(HttpStore::open(self.0, root, &options.http)?)))
    }
}

#[cfg(test)]
mod tests {
    use crate::store::SourceUrl;

    fn of_env(set: &[(&str, &str)]) -> crate::store::Result<SourceUrl> {
        SourceUrl::from_env(|name| set.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn the_environment_names_a_url() {
        for (bucket, prefix, source) in [
            ("https://h/a%20b/", "", "https://h/a b/"),
            ("https://h/a%20b", "", "https://h/a b"),
            ("https://h/a/", "b c", "https://h/a/b c"),
            ("https://h/a", "b/", "https://h/a/b/"),
            ("HTTP://127.0.0.1:8080", "a/", "http://127.0.0.1:8080/a/"),
        ] {
            let set = [("STORAGE_BACKEND", "http"), ("STORAGE_BUCKET", bucket), ("STORAGE_PREFIX", prefix)];
            assert_eq!(of_env(&set).unwrap().to_string(), source, "{bucket} {prefix}");
        }
        for bucket in ["", "bucket", "s3://bucket", "ftp://h/"] {
            let message = of_env(&[("STORAGE_BACKEND", "http"), ("STORAGE_BUCKET", bucket)]).unwrap_err().message;
            assert!(message.contains("STORAGE_BUCKET is a URL"), "{bucket}: {message}");
        }
    }

    #[test]
    fn a_file_is_a_key_of_its_host() {
        let file = |url| SourceUrl::parse_object(url).map(|(source, key)| (source.root, key));
        assert_eq!(file("https://h/d/a%20b.fits").unwrap(), ("h".to_owned(), "d/a b.fits".to_owned()));
        let (root, key) = file("https://mast.stsci.edu/api/v0.1/Download/file/?uri=mast:HST/product/x.fits").unwrap();
        assert_eq!(
            (root.as_str(), key.as_str()),
            ("mast.stsci.edu?", "api/v0.1/Download/file/?uri=mast:HST/product/x.fits")
        );
        assert!(file("https://h/d/").unwrap_err().message.contains("names no object"));
    }
}
