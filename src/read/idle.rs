//! Completed segments that no READ has had whole: what can be dropped when memory is short.

use std::sync::{Arc, Weak};

use lru::LruCache;
use parking_lot::Mutex;

use super::FileState;
use crate::cache::{BLOCK, Budget, Permit, Segment};

/// Header bytes fetched ahead and not read stay in memory up to this many bytes once no program has the file open.
const CLOSED_BYTES: u64 = 8 << 20;

/// How many old segments are looked at to make room for a new one.
const MAX_LOOKS: usize = 64;

type Entry = (Weak<FileState>, Weak<Segment>);

/// Idle segments of all files, in order of age. Entries whose segment is gone are swept out now and then.
#[derive(Debug)]
pub(super) struct Idle {
    list: Mutex<LruCache<(u64, u64), Entry>>,
    budget: Arc<Budget>,
}

impl Idle {
    pub(super) fn new(budget: Arc<Budget>) -> Self {
        Self { list: Mutex::new(LruCache::unbounded()), budget }
    }

    /// Adds a completed segment, then drops old ones if reads wait for memory.
    pub(super) fn add(&self, file: &Arc<FileState>, segment: &Arc<Segment>) {
        let mut list = self.list.lock();
        list.put((file.ino(), segment.range().start), (Arc::downgrade(file), Arc::downgrade(segment)));
        // Twice the segments that the budget can hold: a sweep then pays for as many additions.
        if list.len() as u64 > 2 * self.budget.total().div_ceil(BLOCK) {
            let gone: Vec<_> = list.iter().filter(|(_, (_, s))| s.strong_count() == 0).map(|(key, _)| *key).collect();
            gone.iter().for_each(|key| drop(list.pop(key)));
        }
        drop(list);
        self.relieve();
    }

    /// Drops the oldest segments while reads wait for memory.
    pub(super) fn relieve(&self) {
        while self.budget.is_short() {
            let Some((_, entry)) = self.list.lock().pop_lru() else { return };
            evict(&entry);
        }
    }

    /// Memory for fetching `bytes` ahead, if need be in the place of old segments that the kernel has been given too.
    /// The caller may hold a file's core.
    pub(super) fn make_room(&self, bytes: u64) -> Option<Permit> {
        for _ in 0..MAX_LOOKS {
            if let Some(permit) = self.budget.try_prefetch(bytes) {
                return Some(permit);
            }
            let mut list = self.list.lock();
            let (key, (file, segment)) = list.pop_lru()?;
            if let (Some(of), Some(old)) = (file.upgrade(), segment.upgrade())
                && !(old.is_pushed() && of.try_evict(&old))
            {
                list.put(key, (file, segment));
            }
        }
        None
    }

    /// Drops what is kept of closed files beyond [`CLOSED_BYTES`], oldest first.
    pub(super) fn trim_closed(&self) {
        let mut kept = 0;
        let mut surplus = Vec::new();
        let mut list = self.list.lock();
        for (key, (file, segment)) in list.iter() {
            match (file.upgrade(), segment.upgrade()) {
                (Some(file), Some(_)) if file.is_open() => {}
                (Some(_), Some(segment)) if kept + segment.len() <= CLOSED_BYTES => kept += segment.len(),
                _ => surplus.push(*key),
            }
        }
        let surplus: Vec<_> = surplus.iter().filter_map(|key| list.pop(key)).collect();
        drop(list);
        surplus.iter().for_each(evict);
    }
}

fn evict((file, segment): &Entry) {
    if let (Some(file), Some(segment)) = (file.upgrade(), segment.upgrade()) {
        file.evict(&segment);
    }
}
