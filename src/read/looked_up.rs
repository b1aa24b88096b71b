//! What a look-up brings along: the head of a file, before any program reads it.
//!
//! The headers behind it do not come along: they are many requests, and a program that only looks wants none of them. The
//! walk begins when the file is open and its head is there, whichever comes last.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;

use super::Reader;
use crate::cache::{Origin, Segment};
use crate::store::{ErrorKind, Object, StoreError};

/// The head of an object version: at most [`HEAD`] bytes, less only where the object is shorter. None where it could
/// not be had, or is not of that version.
pub type Head = BoxFuture<'static, Option<Bytes>>;

/// How many bytes a look-up brings along: what the first read of a file fetches.
pub const HEAD: u64 = super::headers::HEAD;

impl Reader {
    /// A program has looked the file up by its name. `head` is on its way with the look-up; reads wait for it instead of
    /// fetching it again. What does not fit into memory is not waited for.
    pub fn looked_up(self: &Arc<Self>, ino: u64, path: &Arc<str>, object: &Object, head: Option<Head>) {
        let range = 0..HEAD.min(object.size());
        let Some(head) = head.filter(|_| !range.is_empty()) else { return };
        let file = self.file(ino, path, object);
        let mut core = file.core.lock();
        if !core.segments.overlapping(&range).is_empty() {
            return;
        }
        let Some(permit) = self.config.budget.try_prefetch(range.end) else { return };
        self.config.metrics.prefetched_bytes.add(range.end);
        let segment = Arc::new(Segment::new(range, Origin::Chain, Some(permit)));
        core.segments.insert(segment.clone());
        drop(core);
        let reader = self.clone();
        self.config.runtime.spawn(async move {
            let mut noted = reader.journal.fetching(file.ino(), segment.range(), segment.origin());
            noted.sent();
            match head.await {
                Some(bytes) if bytes.len() as u64 == segment.len() => {
                    noted.received(bytes.len());
                    noted.done();
                    segment.append(bytes);
                    if file.is_read() {
                        reader.walk(&file, Some(&segment));
                    }
                    reader.idle.add(&file, &segment);
                    reader.on_disk.keep_head(&file, &segment).await;
                }
                // Reads recover from this error: they fetch the head themselves.
                _ => file.fail(&segment, StoreError::new(ErrorKind::Cancelled, "the head did not come along")),
            }
        });
    }
}
