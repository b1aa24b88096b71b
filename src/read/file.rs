//! What is known of one object version while programs read it.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::Planner;
use super::backlog::Backlog;
use super::failures::Failures;
use crate::cache::disk::CachedObject;
use crate::cache::{Segment, SegmentMap};
use crate::fits::{Hdu, Layout};
use crate::metrics::Pace;
use crate::store::{Object, StoreError};

/// Segments with header bytes are kept up to this many bytes; larger ones are mostly data.
pub const MAX_KEPT: u64 = 256 << 10;

/// What a file takes by itself, and each HDU with its name and axes, in bytes.
const FILE: u32 = 2 << 10;
pub(super) const HDU: usize = size_of::<Hdu>() + 64;

/// The planner and the segments of a file, which change together.
#[derive(Debug)]
pub(super) struct Core {
    pub planner: Planner,
    pub segments: SegmentMap,
    pub bought: Backlog,
    pub failures: Failures,
}

impl Core {
    /// Whether a segment stays in memory once programs have had it: header bytes, for programs that open the file again or
    /// find them gone from the page cache, and for the walk along the headers if that comes there later than its reader.
    pub fn keeps(&self, segment: &Segment) -> bool {
        let range = segment.range();
        let may_have_headers = || segment.origin().is_headers() && self.planner.is_before(range.end);
        segment.len() <= MAX_KEPT && (self.planner.has_headers(&range) || may_have_headers())
    }
}

/// The reading state of one inode.
#[derive(Debug)]
pub struct FileState {
    ino: u64,
    path: Arc<str>,
    object: Object,
    pub(super) core: Mutex<Core>,
    /// READ requests of the kernel that are not answered yet: their pages are locked.
    unanswered: Mutex<Vec<Range<u64>>>,
    /// Its files in the cache on disk, kept open while a program has it open.
    cached: Mutex<Option<Arc<CachedObject>>>,
    /// Bytes that came from there since the file was opened.
    from_disk: AtomicU64,
    /// Whether something came from the store since the file was opened, or had to.
    missed: AtomicBool,
    /// Whether the kernel asked for anything since it was opened.
    is_asked: AtomicBool,
    opens: AtomicUsize,
    /// The last program that had it open has asked for nothing.
    is_unread: AtomicBool,
    /// It is expected that a program opens it.
    foreseen: AtomicBool,
    /// Opens with O_DIRECT: their readers do not look into the page cache.
    direct: AtomicUsize,
    weight: AtomicU32,
}

impl FileState {
    pub(super) fn new(ino: u64, path: Arc<str>, object: Object, planner: Planner) -> Self {
        let core = Core {
            planner,
            segments: SegmentMap::default(),
            bought: Backlog::default(),
            failures: Failures::default(),
        };
        Self {
            ino,
            path,
            object,
            core: Mutex::new(core),
            unanswered: Mutex::default(),
            cached: Mutex::default(),
            from_disk: AtomicU64::new(0),
            missed: AtomicBool::new(false),
            is_asked: AtomicBool::new(false),
            opens: AtomicUsize::new(0),
            is_unread: AtomicBool::new(false),
            foreseen: AtomicBool::new(false),
            direct: AtomicUsize::new(0),
            weight: AtomicU32::new(FILE),
        }
    }

    /// How much memory it takes to remember the file, in bytes and about, as of when it was weighed.
    pub(super) fn weight(&self) -> u32 {
        self.weight.load(Ordering::Relaxed)
    }

    /// Weighs the file with the layout that it has now.
    pub(super) fn weigh(&self, layout: &Layout) {
        let hdus = u32::try_from(layout.hdus.len() * HDU).unwrap_or(u32::MAX);
        self.weight.store(hdus.saturating_add(FILE), Ordering::Relaxed);
    }

    /// The inode number.
    pub fn ino(&self) -> u64 {
        self.ino
    }

    /// Where it is in the tree.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The object version that is read.
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// How fast its source is now.
    pub(super) fn pace(&self) -> Pace {
        self.object.source.pace.pace()
    }

    /// Notes an open. True if no program had it open.
    pub(super) fn opened(&self, direct: bool) -> bool {
        self.direct.fetch_add(usize::from(direct), Ordering::SeqCst);
        self.opens.fetch_add(1, Ordering::SeqCst) == 0
    }

    /// Notes a release. True if it was the last.
    pub(super) fn released(&self, direct: bool) -> bool {
        self.direct.fetch_sub(usize::from(direct), Ordering::SeqCst);
        self.opens.fetch_sub(1, Ordering::SeqCst) == 1
    }

    /// Its files in the cache on disk are in use. True if they were not, and a program has it open.
    pub(super) fn hold(&self, cached: &Arc<CachedObject>) -> bool {
        self.is_open() && self.cached.lock().replace(cached.clone()).is_none()
    }

    /// Its files in the cache on disk, if they are in use.
    pub(super) fn held(&self) -> Option<Arc<CachedObject>> {
        self.cached.lock().clone()
    }

    /// Bytes were read from disk.
    pub(super) fn note_from_disk(&self, bytes: usize) {
        self.from_disk.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Something has to come from the store.
    pub(super) fn note_missed(&self) {
        self.missed.store(true, Ordering::Relaxed);
    }

    /// The kernel asks for some of it.
    pub(super) fn note_asked(&self) {
        self.is_asked.store(true, Ordering::Relaxed);
    }

    /// Whether all that programs have asked for since it was opened was there.
    pub(super) fn has_all_so_far(&self) -> bool {
        !self.missed.load(Ordering::Relaxed)
    }

    /// How many bytes were read from disk since it was opened.
    pub(super) fn read_from_disk(&self) -> u64 {
        self.from_disk.load(Ordering::Relaxed)
    }

    /// Whether the kernel has asked for anything since it was opened.
    pub(super) fn is_asked(&self) -> bool {
        self.is_asked.load(Ordering::Relaxed)
    }

    /// Whether it was opened and closed, and nothing was asked for. A program may be about to open it once more.
    pub(super) fn is_unread(&self) -> bool {
        !self.is_open() && self.is_unread.load(Ordering::Relaxed)
    }

    /// Whether a program has it open.
    pub(super) fn is_open(&self) -> bool {
        self.opens.load(Ordering::SeqCst) > 0
    }

    /// It is expected that a program opens it. True if it was not.
    pub(super) fn foreseen(&self) -> bool {
        !self.foreseen.swap(true, Ordering::Relaxed)
    }

    /// Whether a program has it open, or is going to.
    pub(super) fn is_read(&self) -> bool {
        self.is_open() || self.foreseen.load(Ordering::Relaxed)
    }

    /// Whether pushing into the page cache serves the readers.
    pub(super) fn wants_pushes(&self) -> bool {
        self.direct.load(Ordering::SeqCst) == 0
    }

    /// Notes that the kernel waits for `range` until the returned guard is dropped.
    pub fn unanswered(self: &Arc<Self>, range: Range<u64>) -> Unanswered {
        self.unanswered.lock().push(range.clone());
        Unanswered { file: self.clone(), range }
    }

    /// The parts of `range` that no unanswered READ asks for.
    pub(super) fn free_of_reads(&self, range: Range<u64>) -> Vec<Range<u64>> {
        subtract(range, &self.unanswered.lock())
    }

    /// The kernel has been given `range`: segments that it has whole are dropped, except headers, which many programs
    /// come back to when the kernel has dropped them.
    pub(super) fn mark_delivered(&self, range: &Range<u64>) {
        let mut core = self.core.lock();
        for segment in core.segments.overlapping(range) {
            let keep = core.keeps(&segment);
            if segment.mark_delivered(range.clone()) && segment.is_complete() && !keep {
                core.segments.remove(&segment);
            }
        }
    }

    /// A fetch has failed: its place is free again, and reads that wait for it get the error.
    pub(super) fn fail(&self, segment: &Arc<Segment>, error: StoreError) {
        let mut core = self.core.lock();
        core.segments.remove(segment);
        core.planner.on_denied(&segment.range());
        drop(core);
        segment.fail(error);
    }

    /// Drops a segment that can be fetched again.
    pub(super) fn evict(&self, segment: &Arc<Segment>) {
        self.core.lock().segments.remove(segment);
    }

    /// The same, unless another thread is at the file's core: false then.
    pub(super) fn try_evict(&self, segment: &Arc<Segment>) -> bool {
        self.core.try_lock().map(|mut core| core.segments.remove(segment)).is_some()
    }

    /// The last reader has gone: cancels or drops its readahead. Header bytes stay, for the next program that opens the
    /// file; and all if nothing was asked for yet: programs look at the first bytes of a file before they open it to read it.
    pub(super) fn close(&self) {
        *self.cached.lock() = None;
        self.from_disk.store(0, Ordering::Relaxed);
        // A program that opens a file twice, and looks only at the head that came with its name, has read nothing yet: that
        // the head is on disk by now does not mean that the file was read before.
        let was_asked = self.is_asked.swap(false, Ordering::Relaxed);
        self.is_unread.store(!was_asked, Ordering::Relaxed);
        self.foreseen.store(false, Ordering::Relaxed);
        if !was_asked {
            return;
        }
        self.missed.store(false, Ordering::Relaxed);
        let mut core = self.core.lock();
        core.planner.on_closed();
        for part in core.bought.clear() {
            core.planner.on_denied(&part);
        }
        let readahead: Vec<_> = core.segments.iter().filter(|s| s.origin().is_data_ahead()).cloned().collect();
        for segment in readahead {
            if segment.is_complete() || segment.cancel() {
                core.segments.remove(&segment);
            }
        }
    }
}

/// A READ that the kernel waits for. Drop it after the answer.
#[derive(Debug)]
pub struct Unanswered {
    file: Arc<FileState>,
    range: Range<u64>,
}

impl Unanswered {
    /// The READ was answered with its bytes.
    pub fn delivered(self) {
        self.file.mark_delivered(&self.range);
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        let mut unanswered = self.file.unanswered.lock();
        if let Some(index) = unanswered.iter().position(|range| *range == self.range) {
            unanswered.swap_remove(index);
        }
    }
}

/// What is left of `range` after taking `holes` out.
fn subtract(range: Range<u64>, holes: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut ranges = Vec::from([range]);
    for hole in holes {
        ranges = ranges
            .into_iter()
            .flat_map(|range| {
                let before = range.start..range.end.min(hole.start);
                let after = range.start.max(hole.end)..range.end;
                if hole.start >= range.end || hole.end <= range.start { [range, 0..0] } else { [before, after] }
            })
            .filter(|range| range.start < range.end)
            .collect();
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Origin;
    use crate::fits::testing::{IMAGE, SIMPLE, image};
    use crate::metrics::Pace;
    use proptest::prelude::*;

    /// Regression: a reader that came to a header before the walk did took it away, and what was learnt of the file ended
    /// there.
    #[test]
    fn a_header_that_was_read_before_the_walk_comes_to_it_stays() {
        let file = [image(SIMPLE, 0, &[]), image(IMAGE, 0, &[1_000_000]), image(IMAGE, 0, &[9_000])].concat();
        let planner = Planner::new(file.len() as u64, true, None, 0, 0);
        let mut core = Core {
            planner,
            segments: SegmentMap::default(),
            bought: Backlog::default(),
            failures: Failures::default(),
        };
        let guessed = |start: u64| Segment::new(start..start + (24 << 10), Origin::Predicted, None);
        let (further_on, data) = (guessed(1_003_520), Segment::new(200_000..240_000, Origin::Sequential, None));
        assert!(core.keeps(&further_on) && !core.keeps(&data));
        let held = |range: &Range<u64>| Some(file[range.start as usize..range.end as usize].to_vec().into());
        core.planner.on_arrival(held, &Pace::default());
        assert!(core.keeps(&guessed(0)), "it has headers");
        assert!(!core.keeps(&guessed(200_000)), "a wrong guess that the walk has passed");
    }

    proptest! {
        #[test]
        fn subtract_leaves_what_no_hole_covers(holes in proptest::collection::vec((0u64..100, 0u64..30), 0..8)) {
            let holes: Vec<_> = holes.into_iter().map(|(start, len)| start..start + len).collect();
            let left = subtract(10..90, &holes);
            for offset in 0..130 {
                let expected = (10..90).contains(&offset) && !holes.iter().any(|hole| hole.contains(&offset));
                prop_assert_eq!(left.iter().any(|r| r.contains(&offset)), expected);
            }
        }
    }
}
