//! What the cache on disk has of the files that are read, and what is kept in it.
//!
//! A program that has read a file before mostly reads the same of it again. So as long as all that programs ask for is on
//! disk, nothing is fetched ahead that is not: whether they go elsewhere this time shows with the first byte that is missing.

use std::ops::Range;
use std::sync::Arc;

use tokio::runtime::Handle;

use super::file::FileState;
use super::stride::PAGE;
use crate::cache::disk::{CachedObject, Claim, DiskCache, Fetched};
use crate::cache::{BLOCK, Origin, Segment, SegmentMap, blocks_around};

/// A program that has read this share of a file from disk is likely to read as much again: it is worth reading all of it to
/// check it.
const CHECK_SHARE: u64 = 8;

/// A range that came from the store, and the right to fetch it that others wait for.
pub(super) struct Downloaded {
    pub object: Arc<CachedObject>,
    pub range: Range<u64>,
    pub claim: Option<Claim>,
}

/// The cache on disk as files are read through it, if the mount has one.
#[derive(Debug)]
pub(super) struct OnDisk {
    cache: Option<Arc<DiskCache>>,
    /// Where it is looked through and filled.
    runtime: Handle,
}

impl OnDisk {
    /// Reads through `cache`, with tasks on `runtime`.
    pub fn new(cache: Option<Arc<DiskCache>>, runtime: Handle) -> Self {
        Self { cache, runtime }
    }

    /// The cache.
    pub fn cache(&self) -> Option<&Arc<DiskCache>> {
        self.cache.as_ref()
    }

    /// The cache, and the files of an object version in it. None while the disk does not answer.
    pub async fn files(&self, file: &FileState) -> Option<(&Arc<DiskCache>, Arc<CachedObject>)> {
        let cache = self.cache.as_ref().filter(|cache| !cache.is_off())?;
        if let Some(held) = file.held() {
            return Some((cache, held));
        }
        let object = cache.object(file.object().identity()).await?;
        if file.hold(&object) {
            cache.count_open(&object);
        }
        Some((cache, object))
    }

    /// A program has closed the file. If it has read a good part of it from disk, the kernel may read it by itself the next
    /// time, once it was checked.
    pub fn check_for_kernel(&self, file: &FileState) {
        if file.read_from_disk() >= file.object().size() / CHECK_SHARE
            && let Some(cache) = &self.cache
            && let Some(object) = file.held()
        {
            let _in_runtime = self.runtime.enter();
            cache.check(&file.object().identity(), object);
        }
    }

    /// Has what came from the store written to disk. The walk along the headers has been there: it knows what is worth
    /// keeping longest.
    pub fn keep(&self, file: &FileState, segment: &Arc<Segment>, downloaded: Vec<Downloaded>) {
        let Some(cache) = self.cache.as_ref().filter(|_| !downloaded.is_empty()) else { return };
        let ahead_of_readers = matches!(segment.origin(), Origin::Chain | Origin::Predicted) && !file.is_open();
        let headers = match ahead_of_readers {
            true => Vec::from([segment.range()]),
            false => file.core.lock().planner.headers_in(&segment.range()),
        };
        for Downloaded { object, range, claim } in downloaded {
            cache.keep(Fetched { object, segment: segment.clone(), range, headers: headers.clone(), claim });
        }
    }

    /// A file was opened: what memory holds of it, and the disk has evicted since or never had the time to write, is kept
    /// again. Reads that memory answers would not show that it is missing.
    pub fn keep_held(self: &Arc<Self>, file: &Arc<FileState>) {
        if self.cache.is_none() {
            return;
        }
        let held: Vec<_> = file.core.lock().segments.iter().filter(|s| s.is_complete()).cloned().collect();
        if held.is_empty() {
            return;
        }
        let (on_disk, file) = (self.clone(), file.clone());
        self.runtime.spawn(async move {
            let Some((cache, object)) = on_disk.files(&file).await else { return };
            for segment in held {
                if cache.has(&object, &segment.range()).await {
                    continue;
                }
                let downloaded = Downloaded { object: object.clone(), range: segment.range(), claim: None };
                on_disk.keep(&file, &segment, Vec::from([downloaded]));
            }
        });
    }

    /// Has the head of a file written to disk that came along with its look-up.
    pub async fn keep_head(&self, file: &FileState, segment: &Arc<Segment>) {
        file.note_missed();
        if let Some((_, object)) = self.files(file).await {
            self.keep(file, segment, Vec::from([Downloaded { object, range: segment.range(), claim: None }]));
        }
    }

    /// A program asks for `range` now. As long as it matters, sees to it that memory can tell what is on disk of that and
    /// the blocks around it.
    pub async fn look(&self, file: &FileState, range: &Range<u64>) {
        if file.has_all_so_far()
            && let Some(cache) = &self.cache
            && let Some(object) = file.held()
            && !file.core.lock().segments.gaps(range).is_empty()
        {
            cache.has(&object, &blocks_around(range, object.size())).await;
        }
    }
}

/// Whether a part that would be fetched ahead is better left in the store. Says no while the file's place on disk is not
/// open yet; it is looked at again before a request is sent.
pub(super) fn is_needless(file: &FileState, part: &Range<u64>) -> bool {
    let lacks = |object: &CachedObject| object.missing_at_once(part).is_ok_and(|missing| missing.is_some());
    file.held().is_some_and(|object| is_remembered(file, &object) && lacks(&object))
}

/// Whether readahead of a file comes from disk: what is not there is left in the store.
pub(super) fn is_from_disk(file: &FileState) -> bool {
    file.held().is_some_and(|object| is_remembered(file, &object))
}

/// Whether a file was read before, and all that programs have asked for since it was opened was on disk.
fn is_remembered(file: &FileState, object: &CachedObject) -> bool {
    let head = 0..PAGE.min(object.size());
    let has_head = || object.missing_at_once(&head).is_ok_and(|missing| missing.is_none());
    file.has_all_so_far() && has_head()
}

/// What to fetch for `read`, of which memory lacks some: `demand`, which is that read rounded or extended. But only the
/// pages that it lacks if the disk has nothing else, or if nothing around them is held: to read a block takes half as
/// long again, and a program that reads here and there has no use for it. Notes it if the disk has not even those pages,
/// before anything is fetched ahead.
pub(super) fn demanded(file: &FileState, segments: &SegmentMap, read: &Range<u64>, demand: Range<u64>) -> Range<u64> {
    let Some(object) = file.held().filter(|_| file.has_all_so_far()) else { return demand };
    let gaps = segments.gaps(read);
    let (Some(first), Some(last)) = (gaps.first(), gaps.last()) else { return demand };
    let pages = first.start / PAGE * PAGE..last.end.next_multiple_of(PAGE).min(object.size());
    let lacks = |range: &Range<u64>| object.missing_at_once(range).map(|missing| missing.is_some());
    // What the disk has to be waited for shows when it is fetched.
    if gaps.iter().any(|gap| lacks(gap).unwrap_or(false)) {
        file.note_missed();
        return demand;
    }
    let around = pages.start.saturating_sub(BLOCK)..pages.end + BLOCK;
    let alone = demand == blocks_around(read, object.size()) && segments.among(&around).next().is_none();
    let pages_will_do = alone || lacks(&demand).unwrap_or(false);
    if pages_will_do && lacks(&pages).is_ok_and(|lacks| !lacks) { pages } else { demand }
}
