//! Which objects are meant: by paths in mounts, whose attributes tell where their files come from, or by URLs.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::stores::{Opened, Stores};
use super::{Event, State};
use crate::fs::xattr;
use crate::mount::mountinfo;
use crate::store::{ListRequest, ObjectMeta, Result, SourceUrl, StoreError, StoreOptions, Version, timeless};
use crate::warm::place;
use crate::warm::walk::Walk;

/// The most entries of a page of a listing.
const PAGE: u16 = 1000;

/// The longest value of an extended attribute (`XATTR_SIZE_MAX` of Linux).
const MAX_VALUE: usize = 64 << 10;

/// An object to restore.
pub(super) struct Target {
    path: Option<PathBuf>,
    url: String,
    pub(super) opened: Arc<Opened>,
    pub(super) object: ObjectMeta,
}

impl Target {
    pub(super) fn event<'a>(&'a self, state: &'a State) -> Event<'a> {
        Event { path: self.path.as_ref(), url: Some(&self.url), state }
    }
}

/// What was found, and what was not: path or URL, and why.
#[derive(Default)]
pub(super) struct Found {
    pub(super) targets: Vec<Target>,
    pub(super) failed: Vec<(Option<PathBuf>, Option<String>, String)>,
}

/// The objects of some places.
pub(super) async fn find(places: &[String], options: &StoreOptions, env: impl Fn(&str) -> Option<String>) -> Found {
    let (mut found, mut stores) = (Found::default(), Stores::new(options, env));
    let (urls, paths): (Vec<_>, Vec<_>) = places.iter().cloned().partition(|place| place.contains("://"));
    // Looking at a mount waits for its daemon.
    let walked = tokio::task::spawn_blocking(move || files(&paths)).await;
    // What is in a compressed file may be shown beside it: both are one object.
    let mut seen = HashSet::new();
    for file in walked.unwrap_or_default() {
        match file {
            Ok(file) if !seen.insert((file.url.clone(), file.store.clone(), file.version.clone())) => {}
            Ok(file) => match target_of_file(&file, &mut stores).await {
                Ok(target) => found.targets.push(target),
                Err(error) => found.failed.push((Some(file.path), Some(file.url), error.message)),
            },
            Err((path, error)) => found.failed.push((Some(path), None, error)),
        }
    }
    for url in urls {
        if let Err(error) = targets_of_url(&url, &mut stores, &mut found.targets).await {
            found.failed.push((None, Some(url), error.message));
        }
    }
    found
}

/// What the attributes of a file of a mount tell of its object.
struct File {
    path: PathBuf,
    url: String,
    store: String,
    version: Option<String>,
    class: String,
}

/// The files below some paths.
fn files(paths: &[String]) -> Vec<std::result::Result<File, (PathBuf, String)>> {
    let mounts = match mountinfo::mounts() {
        Ok(mounts) => mounts,
        Err(error) => return vec![Err((PathBuf::new(), format!("cannot read the mount table: {error}")))],
    };
    let mut files = Vec::new();
    for path in paths {
        let path = Path::new(path);
        match place::of(path, &mounts) {
            Ok((place, _)) => files.extend(Walk::of(vec![place]).map(|found| match found {
                Ok(found) => File::at(&found.path).map_err(|error| (found.path, error.to_string())),
                Err(failure) => Err((failure.path, failure.error)),
            })),
            Err(error) => files.push(Err((path.to_owned(), error))),
        }
    }
    files
}

impl File {
    fn at(path: &Path) -> io::Result<Self> {
        let missing = || io::Error::other("the daemon of the mount is of another version: mount anew");
        let needed = |name| attribute(path, name)?.ok_or_else(missing);
        Ok(Self {
            url: needed(xattr::URL)?,
            store: needed(xattr::STORE)?,
            class: needed(xattr::STORAGE_CLASS)?,
            version: attribute(path, xattr::VERSION)?,
            path: path.to_owned(),
        })
    }
}

/// The value of an extended attribute; none if the file does not have it.
fn attribute(path: &Path, name: &str) -> io::Result<Option<String>> {
    let mut value = vec![0; MAX_VALUE];
    match rustix::fs::getxattr(path, name, &mut value[..]) {
        Ok(length) => Ok(Some(String::from_utf8_lossy(&value[..length]).into_owned())),
        Err(rustix::io::Errno::NODATA) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn target_of_file<Env: Fn(&str) -> Option<String>>(file: &File, stores: &mut Stores<'_, Env>) -> Result<Target> {
    let (source, key) = SourceUrl::parse_object(&file.url)?;
    let opened = stores.of(&source).await?;
    let here = opened.source.store.id();
    if here != timeless(&file.store) {
        return Err(StoreError::invalid(format!(
            "the mount has it from {}, and this command would ask {here}: give it the options of the mount, such as \
             --endpoint-url",
            file.store
        )));
    }
    let object = ObjectMeta {
        key,
        // Neither is asked for.
        size: 0,
        last_modified: std::time::UNIX_EPOCH,
        version: Version { etag: None, id: file.version.as_deref().map(Into::into) },
        storage_class: Some((&*file.class, true).into()),
    };
    Ok(Target { path: Some(file.path.clone()), url: file.url.clone(), opened, object })
}

async fn targets_of_url<Env: Fn(&str) -> Option<String>>(
    url: &str,
    stores: &mut Stores<'_, Env>,
    targets: &mut Vec<Target>,
) -> Result<()> {
    if !url.ends_with('/') {
        let (source, key) = SourceUrl::parse_object(url)?;
        let opened = stores.of(&source).await?;
        let object = opened.source.store.head(&key).await?;
        // The version that is there when it is restored is the one that is meant.
        let object = ObjectMeta { version: Version::default(), ..object };
        targets.push(Target { path: None, url: url.to_owned(), opened, object });
        return Ok(());
    }
    let source = SourceUrl::parse(url)?;
    let opened = stores.of(&source).await?;
    let mut request =
        ListRequest { prefix: source.prefix.clone(), delimited: false, max_keys: PAGE, continuation: None };
    loop {
        let page = opened.source.store.list(&request).await?;
        for object in page.objects {
            let url = opened.source.store.url(&object.key);
            let object = ObjectMeta { version: Version::default(), ..object };
            targets.push(Target { path: None, url, opened: opened.clone(), object });
        }
        match page.continuation {
            Some(next) if request.continuation.as_ref() != Some(&next) => request.continuation = Some(next),
            _ => return Ok(()),
        }
    }
}
