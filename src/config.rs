//! What a mount is to be: the options of the command line and the environment, resolved once.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::manifest::{self, Layout};
use crate::presets;
use crate::store::{Result, SourceUrl, StoreError, StoreOptions};
use crate::tree::is_name;

/// More sources than these are a mistake: each costs a request for every name that is looked up.
const MAX_SOURCES: usize = 64;

/// Everything that a mount needs to know.
#[derive(Clone, Debug)]
pub struct MountConfig {
    /// What to mount: of several the first wins.
    pub sources: Vec<MountSource>,
    /// The paths of files of lists.
    pub layout: Option<Layout>,
    /// Show the sources as they were at this time.
    pub at: Option<SystemTime>,
    /// Where to mount it: an absolute path.
    pub mountpoint: PathBuf,
    /// The bound on bytes in memory.
    pub memory: u64,
    /// The bound on bytes of files that are fetched, for the life of the mount.
    pub budget_bytes: Option<u64>,
    /// The bound on requests, likewise.
    pub budget_requests: Option<u64>,
    /// How long names are valid.
    pub metadata_ttl: Duration,
    /// Where what was fetched is kept on disk: an absolute path. None without a cache.
    pub cache_dir: Option<PathBuf>,
    /// The bound on bytes there.
    pub cache_size: u64,
    /// Whether the group of the cache directory may use it, too.
    pub cache_shared: bool,
    /// Serve what is in the cache, and ask the network for nothing.
    pub offline: bool,
    /// Whether what is in gzip files is shown beside them.
    pub gunzip: bool,
    /// Whether users other than the one who mounts may use the mount.
    pub allow_other: bool,
    /// Owner and permissions of everything in it.
    pub ownership: Ownership,
}

/// One of the sources of a mount.
#[derive(Clone, Debug)]
pub struct MountSource {
    /// Where it is in the mount: empty or ending with `/`.
    pub at: String,
    /// What it is.
    pub what: Wanted,
}

/// What a source is.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// What is in a store, below a prefix.
    Store {
        /// Where that is.
        url: SourceUrl,
        /// How to reach it.
        options: StoreOptions,
    },
    /// The files of a list.
    List {
        /// Where the list is.
        path: PathBuf,
        /// How to reach their stores, as far as that is said.
        options: StoreOptions,
    },
}

/// Owner and permissions of everything in a mount.
#[derive(Clone, Debug)]
pub struct Ownership {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits that are taken away.
    pub umask: u16,
}

impl MountSource {
    /// The sources that the words of a command line name, `URL` or `NAME=URL`, or the environment where there are none.
    pub fn resolve(
        words: &[String],
        options: &StoreOptions,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Vec<Self>> {
        if words.len() > MAX_SOURCES {
            return Err(StoreError::invalid(format!("{} sources; {MAX_SOURCES} are possible", words.len())));
        }
        let of_url = |at: String, url: SourceUrl| {
            let options = url.resolve_options(options.clone(), &env)?;
            Ok(Self { at, what: Wanted::Store { url, options } })
        };
        let of_word = |word: &String| match presets::named(word) {
            // Beside others it has a place of its own.
            Some(preset) => {
                let at = if words.len() > 1 { format!("{}/", preset.name) } else { String::new() };
                let (url, options) = preset.source(options, &env)?;
                Ok(Self { at, what: Wanted::Store { url, options } })
            }
            None => {
                let (at, word) = place(word)?;
                match !word.contains("://") && manifest::is_named(word) {
                    true => Ok(Self { at, what: Wanted::List { path: PathBuf::from(word), options: options.clone() } }),
                    false => of_url(at, SourceUrl::parse(word)?),
                }
            }
        };
        let sources: Vec<Self> = match words {
            [] => Ok(vec![of_url(String::new(), SourceUrl::from_env(&env)?)?]),
            words => words.iter().map(of_word).collect(),
        }?;
        check_endpoint(options, sources.iter().filter_map(|source| source.what.url()))?;
        Ok(sources)
    }
}

impl Wanted {
    fn url(&self) -> Option<&SourceUrl> {
        match self {
            Self::Store { url, .. } => Some(url),
            Self::List { .. } => None,
        }
    }
}

/// Refuses one endpoint for several kinds of stores: the tokens of one would be sent to another.
pub fn check_endpoint<'a>(options: &StoreOptions, urls: impl Iterator<Item = &'a SourceUrl>) -> Result<()> {
    let kinds: BTreeSet<_> = urls.map(SourceUrl::kind).filter(|kind| ["s3", "az", "gs"].contains(kind)).collect();
    match options.s3.endpoint_url.is_some() && kinds.len() > 1 {
        true => Err(StoreError::invalid("--endpoint-url is that of one kind of store, and the sources are of several")),
        false => Ok(()),
    }
}

/// As it is written on a command line.
impl fmt::Display for MountSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at.trim_end_matches('/') {
            "" => {}
            at => write!(f, "{at}=")?,
        }
        match &self.what {
            Wanted::Store { url, .. } => write!(f, "{url}"),
            Wanted::List { path, .. } => write!(f, "{}", path.display()),
        }
    }
}

/// The place of a word, and the rest of it.
fn place(word: &str) -> Result<(String, &str)> {
    let is_source = |rest: &str| rest.contains("://") || manifest::is_named(rest);
    let is_place = |(name, rest): &(&str, &str)| !name.contains("://") && is_source(rest);
    let Some((name, rest)) = word.split_once('=').filter(is_place) else { return Ok((String::new(), word)) };
    let name = name.trim_end_matches('/');
    if !name.split('/').all(is_name) {
        return Err(StoreError::invalid(
            "the place of a source is a path in the mount: NAME=URL, such as jwst=s3://bucket",
        ));
    }
    Ok((format!("{name}/"), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(words: &[&str]) -> Result<Vec<String>> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let env = |name: &str| (name == "STORAGE_BUCKET").then(|| "from-env".to_owned());
        let sources = MountSource::resolve(&words, &StoreOptions::default(), env)?;
        Ok(sources.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn sources_have_places() {
        let words = ["s3://one/a=b/", "jwst=s3://two", "a/b/=file:///data"];
        assert_eq!(sources(&words).unwrap(), ["s3://one/a=b/", "jwst=s3://two", "a/b=file:///data"]);
        assert_eq!(sources(&["./list.csv", "q=list.txt"]).unwrap(), ["./list.csv", "q=list.txt"]);
        assert_eq!(sources(&[]).unwrap(), ["s3://from-env"]);
        let words = ["mast", "irsa-wise", "s3://own"];
        assert_eq!(sources(&words).unwrap(), ["mast=s3://stpubdata", "irsa-wise=s3://nasa-irsa-wise", "s3://own"]);
        assert_eq!(sources(&["mast"]).unwrap(), ["s3://stpubdata"]);
        for bad in ["/=s3://one", "a//b=s3://one", "..=s3://one", "=s3://one"] {
            assert!(sources(&[bad]).unwrap_err().message.contains("NAME=URL"), "{bad}");
        }
        let words = ["s3://one".to_owned(), "gs://two".to_owned()];
        let mut options = StoreOptions::default();
        options.s3.endpoint_url = Some("http://127.0.0.1:1".to_owned());
        let refused = MountSource::resolve(&words, &options, |_| None).unwrap_err();
        assert!(refused.message.contains("one kind of store"), "{refused}");
        let many = vec!["s3://one"; MAX_SOURCES + 1];
        assert!(sources(&many).unwrap_err().message.contains("possible"));
    }
}
