//! What a mount is to be: the options of the command line and the environment, resolved once.

mod entry;
mod file;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

pub use self::entry::Entry;
use self::entry::What;
pub use self::file::is_named as is_file_of_sources;
use crate::manifest::Layout;
use crate::store::{Result, SourceUrl, StoreError, StoreOptions};

/// More sources than these are a mistake: each costs a request for every name that is looked up.
const MAX_SOURCES: usize = 64;

/// Everything that a mount needs to know.
#[derive(Clone, Debug)]
pub struct MountConfig {
    /// What to mount: of several the first wins.
    pub sources: Vec<MountSource>,
    /// Lists may name files and services of this machine.
    pub local_lists: bool,
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
        /// The paths of its files.
        layout: Option<Layout>,
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
    /// The sources that the words of a command line name (`URL`, `NAME=URL`, a preset, a list, a file of sources), or the
    /// environment where there are none.
    pub fn resolve(
        words: &[String],
        options: &StoreOptions,
        layout: Option<&Layout>,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Vec<Self>> {
        let entries = entries(words, &env)?;
        let is_alone = entries.len() == 1;
        let resolved = entries.iter().map(|entry| entry.resolve(is_alone, options, layout, &env));
        let sources: Vec<Self> = resolved.collect::<Result<_>>()?;
        let by_given_endpoint = sources.iter().zip(&entries).filter(|(_, entry)| entry.has_no_endpoint());
        check_endpoint(options, by_given_endpoint.filter_map(|(source, _)| source.what.url()))?;
        Ok(sources)
    }
}

/// The sources that words name, or the environment where there are none, before they are resolved.
pub fn entries(words: &[String], env: impl Fn(&str) -> Option<String>) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for word in words {
        match is_file_of_sources(word) {
            true => entries.extend(file::read(Path::new(word))?),
            false => entries.push(Entry::of_word(word)?),
        }
    }
    if words.is_empty() {
        entries.push(Entry::new(What::Url(SourceUrl::from_env(env)?)));
    }
    match entries.len() {
        ..=MAX_SOURCES => Ok(entries),
        many => Err(StoreError::invalid(format!("{many} sources; {MAX_SOURCES} are possible"))),
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
        true => Err(StoreError::invalid("one endpoint is that of one kind of store, and the sources are of several")),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(words: &[&str]) -> Result<Vec<String>> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let env = |name: &str| (name == "STORAGE_BUCKET").then(|| "from-env".to_owned());
        let sources = MountSource::resolve(&words, &StoreOptions::default(), None, env)?;
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
        let refused = MountSource::resolve(&words, &options, None, |_| None).unwrap_err();
        assert!(refused.message.contains("one kind of store"), "{refused}");
        let many = vec!["s3://one"; MAX_SOURCES + 1];
        assert!(sources(&many).unwrap_err().message.contains("possible"));
    }
}
