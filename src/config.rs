//! What a mount is to be: the options of the command line and the environment, resolved once.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::store::{Result, SourceUrl, StoreError, StoreOptions};
use crate::tree::is_name;

/// More sources than these are a mistake: each costs a request for every name that is looked up.
const MAX_SOURCES: usize = 64;

/// Everything that a mount needs to know.
#[derive(Clone, Debug)]
pub struct MountConfig {
    /// What to mount: of several the first wins.
    pub sources: Vec<MountSource>,
    /// Where to mount it: an absolute path.
    pub mountpoint: PathBuf,
    /// The bound on bytes in memory.
    pub memory: u64,
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
    pub url: SourceUrl,
    /// How to reach it.
    pub options: StoreOptions,
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
        let places = match words {
            [] => vec![(String::new(), SourceUrl::from_env(&env)?)],
            words => words.iter().map(|word| place(word)).collect::<Result<_>>()?,
        };
        let source = |(at, url): (String, SourceUrl)| {
            let options = url.resolve_options(options.clone(), &env)?;
            Ok(Self { at, url, options })
        };
        places.into_iter().map(source).collect()
    }
}

/// As it is written on a command line.
impl fmt::Display for MountSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at.trim_end_matches('/') {
            "" => write!(f, "{}", self.url),
            at => write!(f, "{at}={}", self.url),
        }
    }
}

/// The place and the source of a word.
fn place(word: &str) -> Result<(String, SourceUrl)> {
    let is_place = |(name, url): &(&str, &str)| !name.contains("://") && url.contains("://");
    let Some((name, url)) = word.split_once('=').filter(is_place) else {
        return Ok((String::new(), SourceUrl::parse(word)?));
    };
    let name = name.trim_end_matches('/');
    if !name.split('/').all(is_name) {
        return Err(StoreError::invalid(
            "the place of a source is a path in the mount: NAME=URL, such as jwst=s3://bucket",
        ));
    }
    Ok((format!("{name}/"), SourceUrl::parse(url)?))
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
        assert_eq!(sources(&[]).unwrap(), ["s3://from-env"]);
        for bad in ["/=s3://one", "a//b=s3://one", "..=s3://one", "=s3://one"] {
            assert!(sources(&[bad]).unwrap_err().message.contains("NAME=URL"), "{bad}");
        }
        let many = vec!["s3://one"; MAX_SOURCES + 1];
        assert!(sources(&many).unwrap_err().message.contains("possible"));
    }
}
