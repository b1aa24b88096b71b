//! What to mount: SOURCE strings and the `STORAGE_*` environment, as a bucket and a prefix.
//!
//! Pure. A prefix is raw: no percent-decoding, no normalisation, since keys may hold any character. What a user wrote
//! is echoed in an error only where it cannot hold a secret.

use std::fmt;

use super::{ErrorKind, Result, StoreError};

const SUPPORTED: &str = "this version supports one source of the form s3://bucket[/prefix]";
const OR_A_MOUNTPOINT: &str = "; a mountpoint begins with / or ., such as ./data";

/// Where the keys of a mount come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The bucket.
    pub bucket: String,
    /// Only keys that begin with this; empty, or with a final `/`.
    pub prefix: String,
}

impl Source {
    /// The source that the command line names, or the environment where it names none.
    pub fn resolve(arguments: &[String], env: impl Fn(&str) -> Option<String>) -> Result<Self> {
        match arguments {
            [] => Self::from_env(env),
            [one] => Self::parse(one),
            [..] => Err(invalid(format!("{} sources given: {SUPPORTED}{OR_A_MOUNTPOINT}", arguments.len()))),
        }
    }

    /// Parses `s3://bucket[/prefix]`.
    pub fn parse(text: &str) -> Result<Self> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(invalid(format!("presets and manifests are not known: {SUPPORTED}{OR_A_MOUNTPOINT}")));
        };
        let (authority, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if authority.contains('@') {
            return Err(invalid("credentials in a source URL are refused: use a profile or the AWS_* environment"));
        }
        match scheme.to_ascii_lowercase().as_str() {
            "s3" => Self::new(authority, prefix),
            known @ ("gs" | "az" | "http" | "https" | "file") => {
                Err(invalid(format!("{known}:// sources are not supported: {SUPPORTED}")))
            }
            _ => Err(invalid(format!("unknown scheme in the source: {SUPPORTED}"))),
        }
    }

    /// The source that `STORAGE_BACKEND` (default `s3`), `STORAGE_BUCKET` and `STORAGE_PREFIX` name.
    pub fn from_env(env: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let get = |name: &str| env(name).filter(|value| !value.is_empty());
        match get("STORAGE_BACKEND").as_deref() {
            None | Some("s3") => {}
            Some(known @ ("azure" | "gcs" | "local")) => {
                return Err(invalid(format!("STORAGE_BACKEND={known} is not supported: {SUPPORTED}")));
            }
            Some(_) => return Err(invalid(format!("STORAGE_BACKEND is not a known backend: {SUPPORTED}"))),
        }
        let Some(bucket) = get("STORAGE_BUCKET") else {
            return Err(invalid("no source: name one as s3://bucket[/prefix], or set STORAGE_BUCKET"));
        };
        Self::new(&bucket, &get("STORAGE_PREFIX").unwrap_or_default())
    }

    fn new(bucket: &str, prefix: &str) -> Result<Self> {
        if let Err(rule) = check_bucket(bucket) {
            let harmless = bucket.len() <= 63 && bucket.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
            let shown = if harmless { format!(" {bucket:?}") } else { String::new() };
            return Err(invalid(format!("the bucket name{shown} {rule}")));
        }
        let mut prefix = prefix.to_owned();
        if !prefix.is_empty() && !prefix.ends_with('/') {
            prefix.push('/');
        }
        Ok(Self { bucket: bucket.to_owned(), prefix })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix.as_str() {
            "" => write!(f, "s3://{}", self.bucket),
            prefix => write!(f, "s3://{}/{prefix}", self.bucket),
        }
    }
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

fn invalid(message: impl Into<String>) -> StoreError {
    StoreError::new(ErrorKind::Invalid, message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn source(bucket: &str, prefix: &str) -> Source {
        Source { bucket: bucket.to_owned(), prefix: prefix.to_owned() }
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
            assert_eq!(Source::parse(text).unwrap(), source(bucket, prefix), "{text}");
        }
    }

    #[test]
    fn bad_buckets_name_the_rule() {
        for (text, rule) in [
            ("s3://", "missing"),
            ("s3:///prefix", "missing"),
            ("s3://ab", "3 to 63"),
            ("s3://Bucket", "lower-case"),
            ("s3://a_b", "lower-case"),
            ("s3://-ab", "begin and end"),
            ("s3://ab.", "begin and end"),
            ("s3://a..b", "two dots"),
            ("s3://10.0.0.1", "IP address"),
        ] {
            let error = Source::parse(text).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Invalid);
            assert!(error.message.contains(rule), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_not_supported_says_what_is() {
        for text in ["gs://bucket", "az://a/c", "https://host/d/", "file:///d", "mast", "list.txt", "x://y"] {
            let error = Source::parse(text).unwrap_err();
            assert!(error.message.contains("s3://bucket[/prefix]"), "{text}: {error}");
        }
        let two = ["s3://one".to_owned(), "s3://two".to_owned()];
        let message = Source::resolve(&two, |_| None).unwrap_err().message;
        assert!(message.starts_with("2 sources") && message.contains("./data"), "{message}");
    }

    #[test]
    fn secrets_are_not_echoed() {
        for text in [
            "s3://AKIA:hunter2@bucket/x",
            "https://me:hunter2@host/",
            "https://host/k?X-Amz-Signature=hunter2",
            "s3://bucket?hunter2",
            "hunter2:hunter2",
        ] {
            assert!(!Source::parse(text).unwrap_err().message.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn the_environment_names_a_source() {
        let env = |set: &'static [(&str, &str)]| {
            move |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned())
        };
        let both = &[("STORAGE_BUCKET", "stpubdata"), ("STORAGE_PREFIX", "hst/public")];
        assert_eq!(Source::from_env(env(both)).unwrap(), source("stpubdata", "hst/public/"));
        assert_eq!(Source::resolve(&[], env(both)).unwrap(), source("stpubdata", "hst/public/"));
        let azure = &[("STORAGE_BACKEND", "azure"), ("STORAGE_BUCKET", "b")];
        assert!(Source::from_env(env(azure)).unwrap_err().message.contains("azure"));
        let empty = &[("STORAGE_BACKEND", ""), ("STORAGE_BUCKET", "")];
        assert!(Source::from_env(env(empty)).unwrap_err().message.contains("STORAGE_BUCKET"));
    }

    proptest! {
        #[test]
        fn a_source_is_its_display(bucket in "[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", prefix in "\\PC{0,40}") {
            let parsed = Source::parse(&format!("s3://{bucket}/{prefix}")).unwrap();
            prop_assert!(parsed.prefix.is_empty() || parsed.prefix.ends_with('/'));
            prop_assert_eq!(Source::parse(&parsed.to_string()).unwrap(), parsed);
        }

        #[test]
        fn any_text_parses_or_fails_in_one_line(text in "\\PC{0,60}") {
            if let Err(error) = Source::parse(&text) {
                prop_assert!(!error.message.contains('\n'));
            }
        }
    }
}
