//! Learning from files for others of their class: when it is learnt, when it is recalled, and when it is written down.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Reader;
use crate::cache::names::Notes;
use crate::read::FileState;
use crate::read::classes::Recalled;

/// What is replayed of a file before it is opened may take this share of the memory: a sixteenth, and of the one after it
/// half of that, a third, and so on. Of 32 files that is a quarter.
const FORESEEN_SHARE: u64 = 16;

/// What is learnt of classes is written to disk so long after it was, so that a loop through many files does not write
/// with each of them.
const NOTING_DELAY: Duration = Duration::from_secs(2);

impl Reader {
    /// Keeps what is learnt of classes in `notes`, where that of mounts before may be. Once.
    pub fn note_in(&self, notes: Arc<Notes>) {
        // A second call changes nothing.
        let _ = self.notes.set(notes);
    }

    /// What was noted of the class of a file comes into memory, unless it is there.
    pub async fn acquaint(&self, key: &str) {
        let (Some(notes), Some(disk)) = (self.notes.get().cloned(), self.disk()) else { return };
        let Some(class) = self.classes.unknown(key) else { return };
        let read = class.clone();
        // A disk that does not answer is asked again with the next file.
        let Some(note) = disk.device().ask(move || notes.read(&read)).await else { return };
        self.classes.restore(&class, note);
    }

    /// Has what was learnt of classes written down in a while.
    pub(super) fn note_soon(self: &Arc<Self>) {
        if self.notes.get().is_none() || self.is_noting.swap(true, Ordering::SeqCst) {
            return;
        }
        let reader = self.clone();
        self.spawn(async move {
            tokio::time::sleep(NOTING_DELAY).await;
            reader.is_noting.store(false, Ordering::SeqCst);
            reader.note_down();
        });
    }

    /// Has what was learnt of classes written down. What a disk that does not answer misses, it has to learn again.
    pub fn note_down(self: &Arc<Self>) {
        let (Some(notes), Some(disk)) = (self.notes.get().cloned(), self.disk()) else { return };
        let reader = self.clone();
        disk.device().later(move || {
            reader.classes.take_unwritten().into_iter().for_each(|(class, note)| notes.write(&class, note));
        });
    }

    /// A program opens the file: fetches what it will read first, and what was read of others of its class. Waits for
    /// nothing.
    pub fn opening(self: &Arc<Self>, file: &Arc<FileState>) {
        if let Some(before) = self.classes.opened(file) {
            let core = before.core.lock();
            // Programs open the next file before they close the last. Or they did not read that at all.
            if before.is_open() || before.is_unread() {
                self.classes.learn(before.object().key(), &core.planner, before.is_open());
            }
        }
        self.expect(file, self.config.max_ahead);
    }

    /// A program will open the file, after `place - 1` others: fetches the same, the less the later it comes.
    pub fn foresee(self: &Arc<Self>, file: &Arc<FileState>, place: u64) {
        let most = self.config.budget.total() / FORESEEN_SHARE / place.max(1);
        if file.foreseen() || file.core.lock().planner.is_cut_short() {
            self.expect(file, most.min(self.config.max_ahead));
        }
    }

    fn expect(self: &Arc<Self>, file: &Arc<FileState>, max_replay: u64) {
        let Recalled { sibling, script } = self.classes.recall(file.object().key(), file.object().size());
        let mut core = file.core.lock();
        let replayed = core.planner.recall(sibling, script, max_replay, &file.pace());
        let mut planned = core.planner.on_expected();
        planned.extend(replayed);
        self.fetch_ahead(file, &mut core, planned, None);
    }
}
