//! The URL of a source: SOURCE words of the command line and the `STORAGE_*` environment, as a place in a store.
//!
//! Pure. A prefix is raw: no percent-decoding, no normalisation, since keys may hold any character. What a user wrote
//! is echoed in an error only where it cannot hold a secret.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use super::registry;
use super::scheme::{Place, Scheme};
use super::{Result, StoreError, StoreOptions};

const OR_A_MOUNTPOINT: &str = "; a mountpoint begins with / or ., such as ./data";

/// Where the keys of a mount come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceUrl {
    pub(super) scheme: &'static dyn Scheme,
    /// What is opened as one store, as its URLs name it: the bucket of S3.
    pub root: String,
    /// Only keys that begin with this; empty, or with a final `/`.
    pub prefix: String,
    /// The URL does not end as those of folders do.
    ends_like_file: bool,
}

impl SourceUrl {
    /// Parses `scheme://root[/prefix]`.
    pub fn parse(text: &str) -> Result<Self> {
        let (scheme, rest) = scheme_of(text)?;
        Ok(Self::new(scheme, scheme.split(rest)?))
    }

    /// Parses the URL of an object: its source, which is all of its store, and its key.
    pub fn parse_object(text: &str) -> Result<(Self, String)> {
        let (scheme, rest) = scheme_of(text)?;
        let Place { root, path: key } = scheme.split_object(rest)?;
        if key.is_empty() || key.ends_with('/') {
            return Err(StoreError::invalid(format!("the URL names no object: give it as {}/key", scheme.form())));
        }
        Ok((Self { scheme, root, prefix: String::new(), ends_like_file: false }, key))
    }

    /// The source that `STORAGE_BACKEND` and the variables of that backend name.
    pub fn from_env(env: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let backend = env("STORAGE_BACKEND").filter(|value| !value.is_empty());
        let scheme = registry::of_backend(backend.as_deref().unwrap_or(registry::default_backend()))?;
        let scheme = scheme.in_env(&env).unwrap_or(scheme);
        Ok(Self::new(scheme, scheme.of_env(&env)?))
    }

    /// What the root of this source is, in a word: `bucket`.
    pub fn root_is_a(&self) -> &'static str {
        self.scheme.root_word()
    }

    /// The root for people.
    pub fn shown_root(&self) -> Cow<'_, str> {
        self.scheme.shown_root(&self.root)
    }

    /// Fills what the options leave open for this source from the environment, and checks them.
    pub fn resolve_options(&self, options: StoreOptions, env: impl Fn(&str) -> Option<String>) -> Result<StoreOptions> {
        let names = options.clone();
        self.scheme.resolve(options, &|name| env(names.variable(name).as_deref().unwrap_or(name)))
    }

    /// Whether both are in one store.
    pub fn is_in_store_of(&self, other: &Self) -> bool {
        self.scheme == other.scheme && self.root == other.root
    }

    /// What kind of store it is, by the scheme of its URLs.
    pub fn kind(&self) -> &'static str {
        self.scheme.name()
    }

    /// The folder of this machine that the source is, if it is one.
    pub fn folder(&self) -> Option<PathBuf> {
        self.scheme.folder(&self.root)
    }

    /// The key of the one object that the source may be, instead of a folder.
    pub fn key(&self) -> Option<&str> {
        self.prefix.strip_suffix('/')
    }

    /// Whether the URL rather names one object than a folder.
    pub fn ends_like_file(&self) -> bool {
        self.ends_like_file
    }

    /// What to do about options with which this source cannot be opened.
    pub fn remedy_of_options(&self, error: &StoreError) -> &'static str {
        self.scheme.remedy_of_options(error)
    }

    /// What to do about an error that prevents a mount of this source, after a semicolon; or nothing.
    pub fn remedy_of_mount(&self, error: &StoreError) -> &'static str {
        self.scheme.remedy_of_mount(error)
    }

    fn new(scheme: &'static dyn Scheme, Place { root, path: mut prefix }: Place) -> Self {
        let has_no_slash = !prefix.is_empty() && !prefix.ends_with('/');
        if has_no_slash {
            prefix.push('/');
        }
        Self { scheme, root, prefix, ends_like_file: has_no_slash && scheme.has_slash_after_folders() }
    }
}

impl fmt::Display for SourceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, root) = (self.scheme.name(), self.shown_root());
        match self.key().filter(|_| self.ends_like_file).unwrap_or(&self.prefix) {
            "" => write!(f, "{scheme}://{root}"),
            prefix => write!(f, "{scheme}://{root}/{prefix}"),
        }
    }
}

/// The scheme of a URL, and what follows it.
fn scheme_of(text: &str) -> Result<(&'static dyn Scheme, &str)> {
    let Some((scheme, rest)) = text.split_once("://") else {
        let supported = registry::supported();
        return Err(StoreError::invalid(format!(
            "no preset of that name: fitsfs presets lists them; {supported}{OR_A_MOUNTPOINT}"
        )));
    };
    let authority = rest.split_once('/').map_or(rest, |(authority, _)| authority);
    if authority.contains('@') {
        return Err(StoreError::invalid("credentials in a source URL are refused: use a profile or the environment"));
    }
    Ok((registry::named(scheme)?, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn source(bucket: &str, prefix: &str) -> SourceUrl {
        let scheme = registry::named("s3").unwrap();
        SourceUrl { scheme, root: bucket.to_owned(), prefix: prefix.to_owned(), ends_like_file: false }
    }

    #[test]
    fn buckets_and_raw_prefixes() {
        for (text, bucket, prefix) in [
            ("s3://stpubdata", "stpubdata", ""),
            ("s3://stpubdata/", "stpubdata", ""),
            ("S3://stpubdata/jwst/public", "stpubdata", "jwst/public/"),
            ("s3://stpubdata/jwst/public/", "stpubdata", "jwst/public/"),
            ("s3://my.bucket-1//odd", "my.bucket-1", "/odd/"),
            ("s3://b-1/a b+%41/é?#", "b-1", "a b+%41/é?#/"),
            ("s3://b-1/user@host", "b-1", "user@host/"),
        ] {
            assert_eq!(SourceUrl::parse(text).unwrap(), source(bucket, prefix), "{text}");
        }
    }

    #[test]
    fn what_is_not_supported_says_what_is() {
        for text in ["ftp://host/d/", "mast", "list.txt", "x://y"] {
            let error = SourceUrl::parse(text).unwrap_err();
            assert!(error.message.contains("s3://bucket[/prefix]"), "{text}: {error}");
        }
    }

    #[test]
    fn an_object_is_its_raw_key_in_all_of_its_store() {
        for (text, bucket, key) in [
            ("s3://b-1/a/b.fits", "b-1", "a/b.fits"),
            ("S3://b-1/a//b c+%41?#", "b-1", "a//b c+%41?#"),
            ("s3://b-1//x", "b-1", "/x"),
        ] {
            assert_eq!(SourceUrl::parse_object(text).unwrap(), (source(bucket, ""), key.to_owned()), "{text}");
        }
        for text in ["s3://b-1", "s3://b-1/", "s3://b-1/a/"] {
            let message = SourceUrl::parse_object(text).unwrap_err().message;
            assert!(message.ends_with("names no object: give it as s3://bucket/key"), "{message}");
        }
    }

    #[test]
    fn secrets_are_not_echoed() {
        for text in [
            "s3://AKIA:hunter2@bucket/x",
            "https://me:hunter2@host/",
            "https://host/k#hunter2",
            "https://host/a//hunter2",
            "s3://bucket?hunter2",
            "hunter2:hunter2",
        ] {
            assert!(!SourceUrl::parse(text).unwrap_err().message.contains("hunter2"), "{text}");
        }
        let signed = SourceUrl::parse("https://host/k.fits?X-Amz-Signature=hunter2").unwrap();
        assert_eq!(signed.to_string(), "https://host/k.fits?...");
    }

    #[test]
    fn the_environment_names_a_source() {
        let env = |set: &'static [(&str, &str)]| {
            move |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned())
        };
        let both = &[("STORAGE_BUCKET", "stpubdata"), ("STORAGE_PREFIX", "hst/public")];
        assert_eq!(SourceUrl::from_env(env(both)).unwrap(), source("stpubdata", "hst/public/"));
        let tape = &[("STORAGE_BACKEND", "tape"), ("STORAGE_BUCKET", "b")];
        assert!(SourceUrl::from_env(env(tape)).unwrap_err().message.contains("not a known backend"));
        let empty = &[("STORAGE_BACKEND", ""), ("STORAGE_BUCKET", "")];
        assert!(SourceUrl::from_env(env(empty)).unwrap_err().message.contains("STORAGE_BUCKET"));
    }

    proptest! {
        #[test]
        fn a_source_is_its_display(bucket in "[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", prefix in "\\PC{0,40}") {
            let parsed = SourceUrl::parse(&format!("s3://{bucket}/{prefix}")).unwrap();
            prop_assert!(parsed.prefix.is_empty() || parsed.prefix.ends_with('/'));
            prop_assert_eq!(SourceUrl::parse(&parsed.to_string()).unwrap(), parsed);
        }

        #[test]
        fn any_text_parses_or_fails_in_one_line(text in "\\PC{0,60}") {
            if let Err(error) = SourceUrl::parse(&text) {
                prop_assert!(!error.message.contains('\n'));
            }
        }
    }
}
