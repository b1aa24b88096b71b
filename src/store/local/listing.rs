//! Pages of keys in the order of their bytes, in which a folder is its name with a `/`.
//!
//! The system gives names in any order. So a folder is read and sorted as a whole, and kept for the pages and look-ups
//! that follow, as long as its time of change is the same.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::files::{Files, Found};
use crate::store::{ListPage, ListRequest, Result};

/// What sorted folders may take in memory, in bytes, about: a million names.
const MAX_KEPT: u64 = 64 << 20;

/// A folder that was not asked for so long is dropped.
const KEPT_FOR: Duration = Duration::from_secs(10);

/// A folder that was changed less than this before it was read may change once more without another time: clocks of
/// filesystems tick up to every 2 s (FAT; ext4 and XFS some milliseconds).
const TICK: Duration = Duration::from_secs(2);

/// What a name takes beside its text, in bytes, about.
const NAME: usize = 32;

/// Folders that were read lately.
#[derive(Debug)]
pub struct Listings(moka::sync::Cache<String, Arc<Sorted>>);

/// The names in a folder, in the order of their keys.
#[derive(Debug)]
struct Sorted {
    /// When the folder had been changed last; none if it may have changed since without another time.
    stamp: Option<(u64, i64, i64)>,
    /// With a final `/` where it is a folder.
    names: Vec<Box<str>>,
    /// Keys that cannot be shown.
    senseless: Vec<String>,
}

/// A page that is being filled.
struct Filling<'a> {
    files: &'a Files,
    listings: &'a Listings,
    request: &'a ListRequest,
    page: ListPage,
    /// The last key of the page.
    last: Option<String>,
    is_full: bool,
}

impl Default for Listings {
    fn default() -> Self {
        let cache = moka::sync::Cache::builder().max_capacity(MAX_KEPT).time_to_idle(KEPT_FOR).weigher(
            |_, sorted: &Arc<Sorted>| {
                let bytes: usize = sorted.names.iter().map(|name| NAME + name.len()).sum();
                // The largest of all is kept as well, for its pages.
                u32::try_from(bytes.min(MAX_KEPT as usize)).unwrap_or(u32::MAX)
            },
        );
        Self(cache.build())
    }
}

impl Listings {
    /// The page that answers a request. Its token is the last key of the page before.
    pub fn page(&self, files: &Files, request: &ListRequest) -> Result<ListPage> {
        let page = ListPage::default();
        let mut filling = Filling { files, listings: self, request, page, last: None, is_full: false };
        let folder = request.prefix.rfind('/').map_or("", |slash| &request.prefix[..=slash]);
        filling.add_folder(folder, &ancestors(files, folder)?)?;
        let Filling { mut page, last, is_full, .. } = filling;
        page.continuation = last.filter(|_| is_full);
        Ok(page)
    }

    /// The names in a folder, as they are now, or as they were for the page before.
    fn sorted(&self, files: &Files, folder: &str, is_continued: bool) -> Result<Arc<Sorted>> {
        let stamp = files.stamp(folder);
        if let Some(known) = self.0.get(folder)
            && (is_continued || known.stamp.is_some() && known.stamp == stamp)
        {
            return Ok(known);
        }
        let sorted = Arc::new(Sorted::read(files, folder, stamp)?);
        self.0.insert(folder.to_owned(), sorted.clone());
        Ok(sorted)
    }
}

impl Sorted {
    fn read(files: &Files, folder: &str, stamp: Option<(u64, i64, i64)>) -> Result<Self> {
        let (named, senseless) = files.names(folder)?.unwrap_or_default();
        let mut names = Vec::with_capacity(named.len());
        for named in named {
            let is_folder = match named.is_folder {
                Some(known) => known,
                None => match files.find(&format!("{folder}{}", named.name)) {
                    Ok(Some(Found::Folder(_))) => true,
                    Ok(Some(Found::File(_))) => false,
                    Ok(None) | Err(_) => continue,
                },
            };
            names.push(if is_folder { named.name + "/" } else { named.name }.into_boxed_str());
        }
        names.sort_unstable();
        Ok(Self { stamp: stamp.filter(|(_, seconds, _)| is_settled(*seconds)), names, senseless })
    }
}

/// Whether a change at this time, in seconds since 1970, is so long ago that the next one would show.
fn is_settled(changed: i64) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(changed).is_ok_and(|changed| Duration::from_secs(changed) + TICK < now)
}

impl Filling<'_> {
    /// Adds what is in a folder. `above` are that folder and those that it is in: a link to one of them would be a tree
    /// without end, and is left out.
    fn add_folder(&mut self, folder: &str, above: &[(u64, u64)]) -> Result<()> {
        let sorted = self.listings.sorted(self.files, folder, self.request.continuation.is_some())?;
        // Below the folder that the prefix is in, all names count.
        let stem = self.request.prefix.strip_prefix(folder).unwrap_or_default();
        let after = self.request.continuation.as_deref().and_then(|last| last.strip_prefix(folder)).unwrap_or_default();
        let after = after.find('/').map_or(after, |slash| &after[..=slash]);
        if after.is_empty() {
            self.page.senseless.extend(sorted.senseless.iter().cloned());
        }
        let first = sorted.names.partition_point(|name| **name < *stem.max(after));
        for name in sorted.names[first..].iter().take_while(|name| name.starts_with(stem)) {
            // The last key of the page before. A folder in which that is has others.
            if **name == *after && (self.request.delimited || !name.ends_with('/')) {
                continue;
            }
            if self.page.objects.len() + self.page.prefixes.len() == usize::from(self.request.max_keys) {
                self.is_full = true;
            }
            if self.is_full {
                return Ok(());
            }
            self.add(format!("{folder}{name}"), above)?;
        }
        Ok(())
    }

    fn add(&mut self, key: String, above: &[(u64, u64)]) -> Result<()> {
        // Between the listing and now it may have gone.
        let name = key.trim_end_matches('/');
        let found = match self.files.find(name) {
            // One of many that cannot be looked at, such as a mount that is dead, hides no other.
            Err(_) if name != self.request.prefix.trim_end_matches('/') => {
                self.page.senseless.push(key);
                return Ok(());
            }
            found => found?,
        };
        match found {
            Some(Found::Folder(identity)) if key.ends_with('/') && !above.contains(&identity) => {
                match self.request.delimited {
                    true => {
                        self.last = Some(key.clone());
                        self.page.prefixes.push(key);
                    }
                    false => self.add_folder(&key, &[above, &[identity]].concat())?,
                }
            }
            Some(Found::File(object)) if !key.ends_with('/') => {
                self.last = Some(key);
                self.page.objects.push(object);
            }
            Some(_) | None => {}
        }
        Ok(())
    }
}

/// The identities of a folder and of those that it is in.
fn ancestors(files: &Files, folder: &str) -> Result<Vec<(u64, u64)>> {
    let mut identities = Vec::new();
    let ends = std::iter::once(0).chain(folder.match_indices('/').map(|(slash, _)| slash));
    for end in ends {
        if let Some(Found::Folder(identity)) = files.find(&folder[..end])? {
            identities.push(identity);
        }
    }
    Ok(identities)
}
