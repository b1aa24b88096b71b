//! Which URL a key stands for. Pure.
//!
//! There are three kinds of roots:
//! - `host`: keys are paths, decoded, so that names are those that people know. A `?` in one is a character of a name
//! - `host?`: keys are paths with queries, verbatim as in the URL. What lists URLs of files uses it; it has no listing
//! - `host/path?query`: one file, whose key is its name
//!
//! So no name that a program makes up becomes a query. The query of a URL may hold a signature, and is never shown.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use url::Url;
use xxhash_rust::xxh3::xxh3_64;

use super::options::authority;
use crate::printable::printable;
use crate::store::{Result, StoreError};

/// What is escaped in a segment of a path: all but the unreserved characters (RFC 3986, 2.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The name of a file whose URL tells none.
const NAMELESS: &str = "file";

/// What is opened as one store.
#[derive(Clone, Debug)]
pub struct Root {
    /// The URL of the host.
    pub origin: Url,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Names,
    Queries,
    File { url: Url, name: String },
}

impl Root {
    /// A root, as [`super::scheme`] writes it.
    pub fn parse(scheme: &str, root: &str) -> Result<Self> {
        let url = parse(&format!("{scheme}://{root}"))?;
        let mut origin = url.clone();
        origin.set_path("/");
        origin.set_query(None);
        let kind = match (url.query(), url.path()) {
            (None, _) => Kind::Names,
            (Some(""), "/") => Kind::Queries,
            (Some(_), _) => Kind::File { name: name_of(&url), url },
        };
        Ok(Self { origin, kind })
    }

    /// The key of the only file, if there is only one.
    pub fn only_key(&self) -> Option<&str> {
        match &self.kind {
            Kind::File { name, .. } => Some(name),
            Kind::Names | Kind::Queries => None,
        }
    }

    /// The URL of a key; none of what can be no file.
    pub fn file(&self, key: &str) -> Option<Url> {
        match &self.kind {
            Kind::Names if key.split('/').all(is_name) => self.origin.join(&encoded(key)).ok(),
            Kind::Names => None,
            Kind::Queries => {
                let url = self.origin.join(&format!("/{}", key.trim_start_matches('/'))).ok()?;
                (url.origin() == self.origin.origin()).then_some(url)
            }
            Kind::File { url, name } => (key == name).then(|| url.clone()),
        }
    }

    /// The URL of the folder of a key prefix, which is empty or ends with `/`; none of what can be no folder.
    pub fn folder(&self, prefix: &str) -> Option<Url> {
        match (&self.kind, prefix) {
            (Kind::Names, "") => Some(self.origin.clone()),
            (Kind::Names, _) => self.origin.join(&format!("{}/", self.file(prefix.strip_suffix('/')?)?.path())).ok(),
            (Kind::Queries | Kind::File { .. }, _) => None,
        }
    }

    /// The URL of a key for people: without a query.
    pub fn shown(&self, key: &str) -> String {
        let origin = self.origin.as_str();
        match &self.kind {
            Kind::Names => format!("{origin}{}", encoded(key)),
            Kind::Queries => {
                let name = self.file(key).map(|url| name_of(&url)).unwrap_or_default();
                let path = key.split_once('?').map_or(key, |(path, _)| path);
                printable(&format!("{origin}{path}?.../{name}")).into_owned()
            }
            Kind::File { url, .. } => {
                printable(&format!("{origin}{}?.../{key}", url.path().trim_start_matches('/'))).into_owned()
            }
        }
    }

    /// What tells it from all others.
    pub fn id(&self) -> String {
        let origin = self.origin.as_str().trim_end_matches('/');
        match &self.kind {
            Kind::Names => origin.to_owned(),
            Kind::Queries => format!("{origin}?"),
            Kind::File { url, .. } => {
                format!("{origin}{}?{:016x}", url.path(), xxh3_64(url.query().unwrap_or_default().as_bytes()))
            }
        }
    }
}

/// A key of names as the path of a URL, without the first slash. Slashes stay.
fn encoded(key: &str) -> String {
    key.split('/').map(|segment| utf8_percent_encode(segment, SEGMENT).to_string()).collect::<Vec<_>>().join("/")
}

/// Whether it can be the name of one thing in a folder.
pub fn is_name(text: &str) -> bool {
    !matches!(text, "" | "." | "..") && !text.contains(['/', '\0'])
}

/// A segment of the path of a URL as a name, if it is one.
pub fn decoded(segment: &str) -> Option<String> {
    let name = percent_decode_str(segment).decode_utf8().ok()?;
    is_name(&name).then(|| name.into_owned())
}

/// A URL of a web server. It is not echoed, since it may hold secrets.
pub fn parse(text: &str) -> Result<Url> {
    let invalid = |why: &str| StoreError::invalid(format!("the URL {why}"));
    let url = Url::parse(text).map_err(|_| invalid("cannot be parsed: give it as https://host[:port]/path/"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        Err(invalid("must begin with http:// or https:// and a host"))
    } else if !url.username().is_empty() || url.password().is_some() {
        Err(invalid("must not hold credentials: set FITSFS_HTTP_TOKEN"))
    } else if url.fragment().is_some() {
        Err(invalid("must not have a fragment (#): a # of a name is written %23"))
    } else {
        Ok(url)
    }
}

/// A URL whose host begins right after `scheme://`: browsers overlook further slashes.
fn parse_rest(scheme: &str, rest: &str) -> Result<Url> {
    match rest.starts_with(['/', '\\']) {
        true => Err(StoreError::invalid("the URL has no host: give it as https://host[:port]/path/")),
        false => parse(&format!("{scheme}://{rest}")),
    }
}

/// The root and the path of a URL without `scheme://`, to be mounted.
pub fn place_of_source(scheme: &str, rest: &str) -> Result<(String, String)> {
    let url = parse_rest(scheme, rest)?;
    match url.query().unwrap_or_default() {
        "" => Ok((authority(&url), path_of(&url)?)),
        query => Ok((format!("{}{}?{query}", authority(&url), url.path()), String::new())),
    }
}

/// The same of a URL of one file among others on its host.
pub fn place_of_file(scheme: &str, rest: &str) -> Result<(String, String)> {
    let url = parse_rest(scheme, rest)?;
    match url.query().unwrap_or_default() {
        "" => Ok((authority(&url), path_of(&url)?)),
        query => Ok((format!("{}?", authority(&url)), format!("{}?{query}", url.path().trim_start_matches('/')))),
    }
}

fn path_of(url: &Url) -> Result<String> {
    let path = url.path().trim_start_matches('/');
    let is_plain = |path: &str| path.trim_end_matches('/').split('/').all(|part| decoded(part).is_some());
    if !path.is_empty() && !is_plain(path) {
        return Err(StoreError::invalid("the path of the URL holds what can be no name, such as // or %2F"));
    }
    Ok(percent_decode_str(path).decode_utf8_lossy().into_owned())
}

/// What a file is called: the end of its path, or that of a value of its query.
fn name_of(url: &Url) -> String {
    let is_shown = |name: &str| is_name(name) && !name.contains(char::is_control);
    let has_suffix = |name: &String| is_shown(name) && has_short_suffix(name);
    let last = url.path().rsplit('/').next().and_then(decoded);
    let end = |value: &str| value.rsplit(['/', ':']).next().unwrap_or_default().to_owned();
    let in_query = || url.query_pairs().map(|(_, value)| end(&value)).find(has_suffix);
    let named = last.clone().filter(has_suffix).or_else(in_query);
    named.or_else(|| last.filter(|name| is_shown(name))).unwrap_or_else(|| NAMELESS.to_owned())
}

/// Whether a name ends as those of files do. Tokens have dots as well, but no short end.
fn has_short_suffix(name: &str) -> bool {
    let (stem, suffix) = name.rsplit_once('.').unwrap_or_default();
    !stem.trim_matches('.').is_empty() && (1..=8).contains(&suffix.len()) && suffix.chars().all(char::is_alphanumeric)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAST: &str = "mast.stsci.edu/api/v0.1/Download/file/?uri=mast:HST/product/j8pu0y010_drc.fits";

    #[test]
    fn a_url_with_a_query_is_one_file() {
        let (root, path) = place_of_source("https", MAST).unwrap();
        assert_eq!((root.as_str(), path.as_str()), (MAST, ""));
        let root = Root::parse("https", &root).unwrap();
        assert_eq!(root.only_key(), Some("j8pu0y010_drc.fits"));
        assert_eq!(root.file("j8pu0y010_drc.fits").unwrap().as_str(), format!("https://{MAST}"));
        assert!(root.file("other").is_none() && root.folder("").is_none());
        for (url, name) in [
            ("h/a/x.fits?X-Amz-Signature=a/b.c", "x.fits"),
            ("h/get?file=a%2Fy%20z.fits.gz&n=1", "y z.fits.gz"),
            ("h/get?n=1", "get"),
            ("h/?n=1", "file"),
            ("h/?n=../..", "file"),
            ("h/?n=%00.fits", "file"),
        ] {
            let root = Root::parse("https", &place_of_source("https", url).unwrap().0).unwrap();
            assert_eq!(root.only_key(), Some(name), "{url}");
        }
    }

    #[test]
    fn urls_with_queries_are_files_beside_each_other() {
        let (root, key) = place_of_file("https", MAST).unwrap();
        assert_eq!(root, "mast.stsci.edu?");
        let root = Root::parse("https", &root).unwrap();
        assert_eq!(root.file(&key).unwrap().as_str(), format!("https://{MAST}"));
        assert!(root.shown(&key).ends_with("/Download/file/?.../j8pu0y010_drc.fits"), "{}", root.shown(&key));
        assert_eq!(root.file("//evil.example.org/x?y").unwrap().host_str(), Some("mast.stsci.edu"));
    }

    #[test]
    fn queries_are_never_shown() {
        for url in ["h/x.fits?sig=hunter2", "h/?file=x.fits&sig=hunter2"] {
            for (root, key) in [place_of_source("https", url).unwrap(), place_of_file("https", url).unwrap()] {
                let root = Root::parse("https", &root).unwrap();
                let key = root.only_key().unwrap_or(&key);
                assert!(!root.shown(key).contains("hunter2") && !root.id().contains("hunter2"), "{}", root.shown(key));
            }
        }
    }

    #[test]
    fn hosts_and_folders() {
        for (url, root, path) in [
            ("h", "h", ""),
            ("H:443/", "h", ""),
            ("h:8080/a/b", "h:8080", "a/b"),
            ("[::1]:80/a%20b/%C3%A9/", "[::1]:80", "a b/é/"),
            ("h/a/../b/", "h", "b/"),
        ] {
            assert_eq!(place_of_source("https", url).unwrap(), (root.to_owned(), path.to_owned()), "{url}");
        }
        for bad in ["", "/x", "u:hunter2@h/", "h/a#hunter2", "h/a//hunter2", "h/a%2Fhunter2", "h/%FFhunter2"] {
            let message = place_of_source("https", bad).unwrap_err().message;
            assert!(!message.contains("hunter2"), "{bad}: {message}");
        }
    }

    #[test]
    fn no_key_leaves_its_host_or_means_another_one() {
        let root = Root::parse("https", "h").unwrap();
        for bad in ["", "/", "a/", "/a", "a//b", "..", "a/../b", "./a", "a\0"] {
            assert!(root.file(bad).is_none(), "{bad:?}");
        }
        assert_eq!(root.folder("").unwrap().as_str(), "https://h/");
        assert_eq!(root.folder("a b/").unwrap().as_str(), "https://h/a%20b/");
        assert!(root.folder("a/../").is_none());
    }

    proptest! {
        #[test]
        fn a_name_survives_its_url(name in "\\PC{1,20}") {
            let root = Root::parse("https", "h").unwrap();
            match root.file(&name) {
                None => prop_assert!(!name.split('/').all(is_name)),
                Some(url) => {
                    let names: Option<Vec<_>> = url.path()[1..].split('/').map(decoded).collect();
                    prop_assert_eq!(names.unwrap().join("/"), name);
                    prop_assert!(url.query().is_none() && url.fragment().is_none());
                }
            }
        }
    }
}
