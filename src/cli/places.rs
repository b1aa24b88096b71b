//! `fitsfs presets`, `fitsfs path` and `fitsfs url`: what can be mounted by name, and what is where.

use std::fmt::Write;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use super::args::{PathArgs, PresetsArgs, UrlArgs};
use super::status;
use super::terminal::Style;
use crate::control;
use crate::fs::xattr;
use crate::mast;
use crate::presets::PRESETS;
use crate::printable::printable;
use crate::store::SourceUrl;
use crate::tree::split;

/// Prints the public archives that have names.
pub fn presets(args: &PresetsArgs) -> Result<(), String> {
    if args.json || !std::io::stdout().is_terminal() {
        return super::print_json(&PRESETS);
    }
    let (style, mut text) = (Style::for_stdout(), String::new());
    for preset in PRESETS {
        // Writing to a string cannot fail.
        let name = style.bold(&format!("{:18}", preset.name));
        let _ = writeln!(text, "{name} {:45} {:15} {}", preset.url, preset.region, preset.holds);
    }
    super::print(&text)
}

/// Prints where an object is in the mounts that there are.
pub fn path(args: &PathArgs) -> Result<(), String> {
    let mut mounts = Vec::new();
    for mountpoint in status::ours()? {
        // A mount that does not answer is not the one that is looked for, as far as can be told.
        let Ok(snapshot) = control::status(&mountpoint) else { continue };
        mounts.push((mountpoint, snapshot.sources));
    }
    let mut paths = match mast::is_uri(&args.url) {
        true => paths_of_product(&mounts, &args.url)?,
        false => paths_in(&mounts, &args.url),
    };
    if paths.is_empty() {
        return Err(format!("no mount of fitsfs shows {}; fitsfs status lists what is mounted", args.url));
    }
    paths.dedup();
    paths.iter().try_for_each(|path| super::print(&format!("{}\n", printable(&path.display().to_string()))))
}

/// A mountpoint, and its sources.
type Mounted = (PathBuf, Vec<String>);

fn paths_in(mounts: &[Mounted], url: &str) -> Vec<PathBuf> {
    let sources = mounts.iter().flat_map(|(root, sources)| sources.iter().map(move |source| (root, source)));
    let in_source = |(root, source): (&PathBuf, &String)| {
        path_in(root, source, url).or_else(|| path_of_file(root, source, url).filter(|path| path.is_file()))
    };
    sources.filter_map(in_source).collect()
}

/// The paths of a product that MAST names. Its key is one of several: that which is there.
fn paths_of_product(mounts: &[Mounted], uri: &str) -> Result<Vec<PathBuf>, String> {
    let keys = mast::keys(uri);
    let Some(likeliest) = keys.first() else {
        let url = mast::download_url(uri);
        return Err(format!("it is not known where MAST's bucket has {uri}; mount it by itself: fitsfs mount '{url}'"));
    };
    let mut is_mounted = false;
    for key in &keys {
        let mut paths = paths_in(mounts, &format!("{}/{key}", mast::BUCKET));
        is_mounted |= !paths.is_empty();
        paths.retain(|path| path.exists());
        if !paths.is_empty() {
            return Ok(paths);
        }
    }
    match is_mounted {
        true => Err(format!("{uri} is not where MAST's bucket has such files: {}/{likeliest}", mast::BUCKET)),
        false => Err(format!("no mount of fitsfs shows {}/{likeliest}: fitsfs mount mast", mast::BUCKET)),
    }
}

/// The path of an object under a mount, if the source (`URL` or `NAME=URL`) has it.
fn path_in(mountpoint: &Path, source: &str, url: &str) -> Option<PathBuf> {
    let (at, root) = placed(source);
    let by_key = || {
        let (source, key) = key_in(root, url)?;
        Some(key.strip_prefix(&source.prefix)?.to_owned())
    };
    let by_text = || Some(url.strip_prefix(root)?.strip_prefix('/')?.to_owned());
    Some(mountpoint.join(at).join(by_key().or_else(by_text)?))
}

/// A source, and the key in its store that a URL names: names of web servers are escaped in URLs, and not in paths.
fn key_in(root: &str, url: &str) -> Option<(SourceUrl, String)> {
    let (source, (store, key)) = (SourceUrl::parse(root).ok()?, SourceUrl::parse_object(url).ok()?);
    source.is_in_store_of(&store).then_some((source, key))
}

/// The same where the source is this object itself, and no folder.
fn path_of_file(mountpoint: &Path, source: &str, url: &str) -> Option<PathBuf> {
    let (at, root) = placed(source);
    let by_key = || key_in(root, url).filter(|(source, key)| source.key() == Some(key)).map(|(_, key)| key);
    let by_text = || Some(url.split_once("://")?.1.split_once('/')?.1.to_owned()).filter(|_| url == root);
    Some(mountpoint.join(at).join(split(&by_key().or_else(by_text)?).1))
}

/// The place of a source, and its URL.
fn placed(source: &str) -> (&str, &str) {
    let (at, url) = source.split_once('=').filter(|(at, _)| !at.contains("://")).unwrap_or(("", source));
    (at, url.trim_end_matches('/'))
}

/// Prints the URL of a file in a mount.
pub fn url(args: &UrlArgs) -> Result<(), String> {
    let shown = args.path.display();
    let mut value = vec![0; MAX_URL];
    let length = rustix::fs::getxattr(&args.path, xattr::URL, &mut value[..]).map_err(|error| match error {
        rustix::io::Errno::NODATA | rustix::io::Errno::OPNOTSUPP => format!("{shown} is no file in a mount of fitsfs"),
        error => format!("{shown}: {error}"),
    })?;
    let url = String::from_utf8_lossy(&value[..length]);
    super::print(&format!("{}\n", printable(&url)))
}

/// The longest URL that is printed, in bytes: as long as a value of an extended attribute can be.
const MAX_URL: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_where_its_source_is() {
        let path = |source, url| path_in(Path::new("/mnt"), source, url);
        assert_eq!(path("s3://b", "s3://b/d/k=1").unwrap(), Path::new("/mnt/d/k=1"));
        assert_eq!(path("s3://b/hst/", "s3://b/hst/x").unwrap(), Path::new("/mnt/x"));
        assert_eq!(path("jwst=s3://b/p", "s3://b/p/x").unwrap(), Path::new("/mnt/jwst/x"));
        assert_eq!(path("s3://b/a=b/", "s3://b/a=b/x").unwrap(), Path::new("/mnt/x"));
        let file = |source, url| path_of_file(Path::new("/mnt"), source, url);
        assert_eq!(file("a=https://h/d/x.fits", "https://h/d/x.fits").unwrap(), Path::new("/mnt/a/x.fits"));
        assert_eq!((file("s3://b", "s3://b"), file("s3://b/x", "s3://b/y")), (None, None));
        assert_eq!(path("https://h/a b/", "https://h/a%20b/c%2Bd.fits").unwrap(), Path::new("/mnt/c+d.fits"));
        assert_eq!(file("https://h/d/a b.fits", "https://h/d/a%20b.fits").unwrap(), Path::new("/mnt/a b.fits"));
        assert_eq!(path("file:///data", "file:///data/d/x%20y").unwrap(), Path::new("/mnt/d/x%20y"));
        assert_eq!(path("s3://b", "s3://b/x%20y").unwrap(), Path::new("/mnt/x%20y"));
        for other in ["s3://bb/x", "s3://c/x", "s3://b"] {
            assert_eq!(path("s3://b", other), None, "{other}");
        }
    }
}
