//! Completed segments that no READ has had whole: what can be dropped when memory is short.

use std::sync::{Arc, Weak};

use lru::LruCache;
use parking_lot::Mutex;

use super::FileState;
use super::file::Core;
use super::stride::PAGE;
use crate::cache::{Budget, Origin, Permit, Segment};

/// Header bytes stay in memory up to this share of the budget once no program has the file open: an eighth.
const CLOSED_SHARE: u64 = 8;

/// How many old segments are looked at to make room for a new one.
pub const MAX_LOOKS: usize = 64;

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
        if list.len() as u64 > 2 * self.budget.total().div_ceil(PAGE) {
            let gone: Vec<_> = list.iter().filter(|(_, (_, s))| s.strong_count() == 0).map(|(key, _)| *key).collect();
            gone.iter().for_each(|key| drop(list.pop(key)));
        }
        drop(list);
        self.relieve();
    }

    /// Drops the oldest segments until as much is free as reads wait for. Each read that begins to wait calls it, so that
    /// as much is dropped as all of them need.
    pub(super) fn relieve(&self) {
        let mut freed = 0;
        while freed < self.budget.awaited() {
            let Some((_, entry)) = self.list.lock().pop_lru() else { return };
            freed += evict(&entry);
        }
    }

    /// Drops old segments until `bytes` more may be fetched ahead or none is found: those that the kernel has been given
    /// too, and what reads of a part of a block have left. The caller holds the core of `file`. Others are not waited
    /// for, since the holder of one may be waiting here for that of `file`.
    pub(super) fn make_room(&self, bytes: u64, file: &FileState, core: &mut Core) -> Option<Permit> {
        for look in 0..MAX_LOOKS {
            if let Some(permit) = self.budget.try_prefetch(bytes) {
                return Some(permit);
            }
            let (key, entry) = self.list.lock().pop_lru()?;
            let (Some(owner), Some(segment)) = (entry.0.upgrade(), entry.1.upgrade()) else { continue };
            // Headers that were not read yet are dropped last.
            let header = look >= MAX_LOOKS / 2 && !segment.origin().is_data_ahead();
            let is_read = segment.is_pushed() || segment.is_delivered() || segment.origin() == Origin::Demand;
            let spare = header || is_read || !owner.is_read();
            if spare && std::ptr::eq(file, Arc::as_ptr(&owner)) {
                core.segments.remove(&segment);
            } else if !spare || !owner.try_evict(&segment) {
                self.list.lock().put(key, entry);
            }
        }
        None
    }

    /// Drops what is kept of closed files beyond their share, oldest first.
    pub(super) fn trim_closed(&self) {
        let (mut kept, allowed) = (0, self.budget.total() / CLOSED_SHARE);
        let mut surplus = Vec::new();
        let mut list = self.list.lock();
        for (key, (file, segment)) in list.iter() {
            match (file.upgrade(), segment.upgrade()) {
                (Some(file), Some(_)) if file.is_open() => {}
                (Some(_), Some(segment)) if kept + segment.len() <= allowed => kept += segment.len(),
                _ => surplus.push(*key),
            }
        }
        let surplus: Vec<_> = surplus.iter().filter_map(|key| list.pop(key)).collect();
        drop(list);
        for entry in &surplus {
            evict(entry);
        }
    }
}

/// Drops a segment. Returns the bytes that are free after that: none while it is still in use.
fn evict((file, segment): &Entry) -> u64 {
    let (Some(file), Some(segment)) = (file.upgrade(), segment.upgrade()) else { return 0 };
    file.evict(&segment);
    Arc::into_inner(segment).map_or(0, |segment| segment.len())
}
