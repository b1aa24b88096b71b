//! Indexes in the cache on disk, for other mounts: a note with the points, which has a checksum, and the windows as an
//! object of the cache, whose pages have checksums.
//!
//! The windows are found by what they hold, so that those of another pass never take their place. What is damaged or was
//! evicted is not there: then there is another pass.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use super::index::{Index, Span, open_window};
use crate::cache::disk::{DiskCache, Fetched};
use crate::cache::names::Notes;
use crate::cache::{Origin, Segment};
use crate::store::{Identity, Object};

/// Raised when what is written changes: an index of another version is none.
const VERSION: u32 = 1;

/// Indexes of the cache on disk.
#[derive(Debug)]
pub struct Stored {
    /// Where windows are.
    pub disk: Arc<DiskCache>,
    /// Where points are.
    pub notes: Arc<Notes>,
}

/// What is in a note.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    version: u32,
    of: Identity,
    index: Index,
    windows: String,
}

impl Stored {
    /// The index of a file, and what its windows are found by.
    pub async fn read(&self, object: &Object) -> Option<(Index, Identity)> {
        let (of, notes) = (object.identity(), self.notes.clone());
        let name = of.name();
        let note: Note = serde_json::from_value(self.disk.device().ask(move || notes.read(&name)).await??).ok()?;
        let is_right = note.version == VERSION && note.of == of && note.index.is_sound(object.size());
        let windows = windows_of(&note.of, note.windows, note.index.windows());
        is_right.then_some((note.index, windows))
    }

    /// Keeps an index.
    pub async fn write(&self, object: &Object, index: &Index, windows: &Bytes) {
        let (of, notes) = (object.identity(), self.notes.clone());
        let hash = format!("{:032x}", xxh3_128(windows));
        if !windows.is_empty() && !self.keep(windows_of(&of, hash.clone(), index.windows()), windows).await {
            return;
        }
        let name = of.name();
        let note = Note { version: VERSION, of, index: index.clone(), windows: hash };
        let Ok(note) = serde_json::to_value(note) else { return };
        self.disk.device().later(move || notes.write(&name, note));
    }

    /// Has windows written, in parts: what waits to be written has a bound.
    async fn keep(&self, identity: Identity, windows: &Bytes) -> bool {
        let Some(files) = self.disk.object(identity).await else { return false };
        let range = 0..windows.len() as u64;
        let segment = Segment::new(range.clone(), Origin::Demand, None);
        segment.append(windows.clone());
        let segment = Arc::new(segment);
        // Worth as much as headers: small, and without them all of the file is read.
        let headers = vec![range.clone()];
        self.disk.keep(Fetched { object: files, segment, range, headers, claim: None });
        true
    }

    /// The window of a span; none if it is not there any more.
    pub async fn window(&self, windows: &Identity, span: &Span) -> Option<Vec<u8>> {
        if span.window.is_empty() {
            return Some(Vec::new());
        }
        let files = self.disk.object(windows.clone()).await?;
        open_window(&self.disk.read(&files, span.window.clone()).await?)
    }
}

/// What windows of a file are found by in the cache.
fn windows_of(of: &Identity, hash: String, size: u64) -> Identity {
    Identity {
        store: format!("restart points of {}", of.store),
        key: of.key.clone(),
        etag: Some(hash),
        id: of.etag.clone().or_else(|| of.id.clone()),
        modified_ns: of.modified_ns,
        size,
    }
}
