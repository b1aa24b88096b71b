//! The bytes of one range GET, readable while they arrive.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::Permit;
use super::pieces::{PIECE, Piece};
use crate::store::StoreError;

/// Which decision caused a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A program waits for it.
    Demand,
    /// The walk along the FITS headers, ahead of the reader.
    Chain,
    /// Headers where a file of the same class, or the repetition in the file, says that they are.
    Predicted,
    /// The reader touches data at equal distances, or tiles of a compressed image.
    Strided,
    /// The reader goes forward through the data.
    Sequential,
    /// A row of a pattern that is left to be asked for: the READ shows how far the reader has come.
    Probe,
    /// READs in a region have waited as long as all of it takes.
    Region,
    /// It was read of the last files of the class.
    Replayed,
}

impl Origin {
    /// Whether it is data that a reader is expected to come to, which is not wanted once that reader has gone.
    pub fn is_data_ahead(self) -> bool {
        matches!(self, Self::Strided | Self::Probe | Self::Sequential | Self::Region | Self::Replayed)
    }

    /// Whether it is headers, which stay in memory when they have been read.
    pub fn is_headers(self) -> bool {
        matches!(self, Self::Chain | Self::Predicted)
    }
}

/// How far a segment has come.
#[derive(Clone, Debug, Default)]
struct Progress {
    /// Bytes readable from the start of the segment.
    filled: u64,
    /// Why no more will come.
    failed: Option<StoreError>,
}

/// A piece that is not full yet, and its memory.
#[derive(Debug, Default)]
enum Partial {
    #[default]
    Nothing,
    /// As much as is to come.
    Own(BytesMut),
    /// Of those that are used again.
    Shared(Piece),
}

impl Partial {
    fn len(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Own(bytes) => bytes.len(),
            Self::Shared(piece) => piece.filled(),
        }
    }

    fn write(&mut self, data: &[u8]) {
        match self {
            Self::Nothing => debug_assert!(data.is_empty(), "there is memory for all that comes"),
            Self::Own(bytes) => bytes.extend_from_slice(data),
            Self::Shared(piece) => {
                let written = piece.write(data);
                debug_assert_eq!(written, data.len(), "no piece is larger than this memory");
            }
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::Nothing => Bytes::new(),
            Self::Own(bytes) => bytes.freeze(),
            Self::Shared(piece) => Bytes::from_owner(piece),
        }
    }
}

/// One range of an object, filled from front to back by one task and read by any number.
#[derive(Debug)]
pub struct Segment {
    range: Range<u64>,
    origin: Origin,
    pieces: Mutex<Vec<Bytes>>,
    /// Bytes that arrived and do not fill a piece yet; only the filling task touches it.
    partial: Mutex<Partial>,
    progress: watch::Sender<Progress>,
    /// What READs have been answered with of this segment: sorted, disjoint.
    delivered: Mutex<Vec<Range<u64>>>,
    /// The kernel has been given the rest ahead of the reader. It may drop that again before a program reads it.
    pushed: AtomicBool,
    from_store: AtomicBool,
    waiters: AtomicUsize,
    urgent: Notify,
    cancelled: AtomicBool,
    cancel: Notify,
    permit: Mutex<Option<Permit>>,
}

impl Segment {
    /// An empty segment for the bytes `range` of the object. Its memory is attached when it is granted.
    pub fn new(range: Range<u64>, origin: Origin, permit: Option<Permit>) -> Self {
        Self {
            range,
            origin,
            pieces: Mutex::default(),
            partial: Mutex::default(),
            progress: watch::channel(Progress::default()).0,
            delivered: Mutex::default(),
            pushed: AtomicBool::new(false),
            from_store: AtomicBool::new(false),
            waiters: AtomicUsize::new(0),
            urgent: Notify::new(),
            cancelled: AtomicBool::new(false),
            cancel: Notify::new(),
            permit: Mutex::new(permit),
        }
    }

    /// The bytes of the object that this segment is for.
    pub fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// How many bytes it is for.
    #[expect(clippy::len_without_is_empty, reason = "no range is empty")]
    pub fn len(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// The decision that caused it.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Whether its memory is still to be granted.
    pub fn needs_memory(&self) -> bool {
        self.permit.lock().is_none()
    }

    /// Attaches the memory that the segment's bytes are charged to.
    pub fn grant(&self, permit: Permit) {
        *self.permit.lock() = Some(permit);
    }

    /// Appends arrived bytes, never more than the range holds: as they are, where they are whole pieces.
    pub fn append(&self, mut data: Bytes) {
        let mut partial = self.partial.lock();
        while partial.len() == 0 && !data.is_empty() {
            let wanted = self.wanted_at(self.filled());
            if wanted == 0 || data.len() < wanted {
                break;
            }
            self.add_piece(data.split_to(wanted));
        }
        self.write(&mut partial, &data);
    }

    /// Appends a copy of arrived bytes: what they are in is free at once for those that arrive next, and they are where
    /// they can be written to disk from.
    pub fn append_copy(&self, data: &[u8]) {
        self.write(&mut self.partial.lock(), data);
    }

    fn write(&self, partial: &mut Partial, mut data: &[u8]) {
        while !data.is_empty() {
            let wanted = self.wanted_at(self.filled());
            if wanted == 0 {
                return;
            }
            if matches!(partial, Partial::Nothing) {
                *partial = self.memory_for(wanted);
            }
            let (now, later) = data.split_at(data.len().min(wanted - partial.len()));
            partial.write(now);
            data = later;
            if partial.len() == wanted {
                self.add_piece(std::mem::take(partial).into_bytes());
            }
        }
    }

    /// Memory for a piece. What may stay for long takes no part of a huge page, which would stay with it.
    fn memory_for(&self, wanted: usize) -> Partial {
        let shared = || self.permit.lock().as_ref().and_then(|permit| permit.pieces().take().ok());
        match if wanted == PIECE && !self.origin.is_headers() { shared() } else { None } {
            Some(piece) => Partial::Shared(piece),
            None => Partial::Own(BytesMut::with_capacity(wanted)),
        }
    }

    /// How many bytes a piece has that begins after so many.
    fn wanted_at(&self, filled: u64) -> usize {
        (self.len() - filled).min(PIECE as u64) as usize
    }

    fn filled(&self) -> u64 {
        self.progress.borrow().filled
    }

    fn add_piece(&self, piece: Bytes) {
        let length = piece.len() as u64;
        self.pieces.lock().push(piece);
        self.progress.send_modify(|progress| progress.filled += length);
    }

    /// Ends the segment: the bytes that are missing will not come.
    pub fn fail(&self, error: StoreError) {
        self.progress.send_modify(|progress| progress.failed = Some(error));
    }

    /// What is readable of it.
    pub fn arrived(&self) -> Range<u64> {
        self.range.start..self.range.start + self.filled()
    }

    /// Whether every byte has arrived.
    pub fn is_complete(&self) -> bool {
        self.filled() == self.len()
    }

    /// Waits until the bytes before the object offset `end` are readable, or says why they never will be.
    pub async fn wait_for(&self, end: u64) -> Result<(), StoreError> {
        let needed = end - self.range.start;
        if self.progress.borrow().filled >= needed {
            return Ok(());
        }
        let _waiter = Waiter::of(&self.waiters);
        self.urgent.notify_one();
        let mut progress = self.progress.subscribe();
        let outcome = progress.wait_for(|p| p.filled >= needed || p.failed.is_some()).await.map(|p| p.clone());
        match outcome {
            Ok(Progress { filled, .. }) if filled >= needed => Ok(()),
            Ok(Progress { failed: Some(error), .. }) => Err(error),
            Ok(_) | Err(_) => Err(StoreError::new(crate::store::ErrorKind::Cancelled, "the fetch was cancelled")),
        }
    }

    /// The readable bytes of the object offsets `range` as they are in memory, one after the other: none unless all of them
    /// have arrived.
    pub fn slices(&self, range: Range<u64>) -> Option<Vec<Bytes>> {
        if range.start < self.range.start || range.end - self.range.start > self.progress.borrow().filled {
            return None;
        }
        let (from, to) = ((range.start - self.range.start) as usize, (range.end - self.range.start) as usize);
        let pieces = self.pieces.lock();
        let within = (from / PIECE..to.div_ceil(PIECE)).map(|index| {
            let (base, piece) = (index * PIECE, pieces.get(index)?);
            Some(piece.slice(from.saturating_sub(base)..piece.len().min(to - base)))
        });
        within.collect()
    }

    /// The same as one piece.
    pub fn slice(&self, range: Range<u64>) -> Option<Bytes> {
        let length = (range.end - range.start) as usize;
        let mut slices = self.slices(range)?;
        if slices.len() == 1 {
            return slices.pop();
        }
        let mut joined = BytesMut::with_capacity(length);
        slices.iter().for_each(|slice| joined.extend_from_slice(slice));
        Some(joined.freeze())
    }

    /// Waits until a reader waits for this segment (a prefetch that is queued then starts at once).
    pub async fn wanted(&self) {
        if self.waiters.load(Ordering::SeqCst) == 0 {
            self.urgent.notified().await;
        }
    }

    /// Cancels the fetch unless a reader waits for it or it has all arrived. True if it was cancelled.
    pub fn cancel(&self) -> bool {
        if self.waiters.load(Ordering::SeqCst) > 0 || self.is_complete() {
            return false;
        }
        self.cancelled.store(true, Ordering::SeqCst);
        self.cancel.notify_one();
        true
    }

    /// Waits until the fetch is cancelled.
    pub async fn cancelled(&self) {
        if !self.cancelled.load(Ordering::SeqCst) {
            self.cancel.notified().await;
        }
    }

    /// Notes that READs have been answered with the bytes `range`. True once they have had the whole segment.
    pub fn mark_delivered(&self, range: Range<u64>) -> bool {
        let start = range.start.max(self.range.start);
        let end = range.end.min(self.range.end);
        if start >= end {
            return false;
        }
        let mut delivered = self.delivered.lock();
        delivered.push(start..end);
        delivered.sort_by_key(|r| r.start);
        let mut merged: Vec<Range<u64>> = Vec::with_capacity(delivered.len());
        for range in delivered.drain(..) {
            match merged.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => merged.push(range),
            }
        }
        *delivered = merged;
        delivered.first() == Some(&self.range)
    }

    /// Notes that some of it comes from the store.
    pub fn mark_from_store(&self) {
        self.from_store.store(true, Ordering::SeqCst);
    }

    /// Whether some of it does; not if it was all on disk.
    pub fn is_from_store(&self) -> bool {
        self.from_store.load(Ordering::SeqCst)
    }

    /// Notes that the kernel has been given what no READ has asked for.
    pub fn mark_pushed(&self) {
        self.pushed.store(true, Ordering::SeqCst);
    }

    /// Whether it has.
    pub fn is_pushed(&self) -> bool {
        self.pushed.load(Ordering::SeqCst)
    }

    /// Whether a READ has been answered with some of it.
    pub fn is_touched(&self) -> bool {
        !self.delivered.lock().is_empty()
    }

    /// Whether READs have been answered with all of it.
    pub fn is_delivered(&self) -> bool {
        self.delivered.lock().first() == Some(&self.range)
    }

    /// What READs have been answered with of this segment: sorted, disjoint ranges of the object.
    pub fn delivered(&self) -> Vec<Range<u64>> {
        self.delivered.lock().clone()
    }
}

/// Counts as waiting until it is dropped, which the wait may be before its end.
struct Waiter<'a>(&'a AtomicUsize);

impl<'a> Waiter<'a> {
    fn of(waiters: &'a AtomicUsize) -> Self {
        waiters.fetch_add(1, Ordering::SeqCst);
        Self(waiters)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Budget;
    use super::*;
    use proptest::prelude::*;

    /// How arrived bytes are appended.
    type Way<'a> = &'a dyn Fn(&Segment, &[u8]);

    /// A segment of these bytes, which arrive in chunks of this size.
    fn filled(start: u64, content: &[u8], chunk: usize, append: Way<'_>) -> Segment {
        let budget = Budget::new(1 << 20, Arc::default());
        let permit = budget.try_prefetch(content.len() as u64);
        assert!(permit.is_some());
        let segment = Segment::new(start..start + content.len() as u64, Origin::Demand, permit);
        content.chunks(chunk).for_each(|part| append(&segment, part));
        segment
    }

    proptest! {
        #[test]
        fn any_slice_of_any_chunking_is_the_content(
            length in 1usize..400_000, chunk in 1usize..300_000, a in 0.0..1.0f64, b in 0.0..1.0f64,
        ) {
            let content: Vec<u8> = (0..length).map(|i| (i * 31 % 251) as u8).collect();
            let (x, y) = ((a * length as f64) as usize, (b * length as f64) as usize);
            let (from, to) = (x.min(y), x.max(y));
            prop_assume!(from < to);
            let as_they_are = |segment: &Segment, part: &[u8]| segment.append(Bytes::copy_from_slice(part));
            let in_turns = |segment: &Segment, part: &[u8]| match segment.arrived().end / PIECE as u64 % 2 {
                0 => as_they_are(segment, part),
                _ => segment.append_copy(part),
            };
            let ways: [Way<'_>; 3] = [&as_they_are, &Segment::append_copy, &in_turns];
            for way in ways {
                let segment = filled(4096, &content, chunk, way);
                prop_assert!(segment.is_complete());
                let slice = segment.slice(4096 + from as u64..4096 + to as u64).unwrap();
                prop_assert_eq!(&slice[..], &content[from..to]);
            }
        }
    }

    #[test]
    fn copies_of_data_begin_at_pages_and_outlive_what_they_were_copied_from() {
        let segment = filled(0, &vec![5; 300_000], 70_000, &Segment::append_copy);
        let slices = segment.slices(0..300_000).unwrap();
        drop(segment);
        let is_shared = |slice: &Bytes| slice.len() == PIECE && slice.as_ptr().align_offset(4096) == 0;
        assert_eq!(slices.iter().map(is_shared).collect::<Vec<_>>(), [true, true, false]);
        assert!(slices.iter().all(|slice| slice.iter().all(|byte| *byte == 5)));
    }

    #[test]
    fn no_more_is_kept_than_the_range_holds() {
        let segment = Segment::new(0..10, Origin::Demand, None);
        segment.append_copy(&[1; 7]);
        segment.append_copy(&[2; 7]);
        segment.append(Bytes::from_static(&[3; 7]));
        assert_eq!(&segment.slice(0..10).unwrap()[..], [1, 1, 1, 1, 1, 1, 1, 2, 2, 2]);
    }

    #[test]
    fn bytes_that_have_not_arrived_cannot_be_read() {
        let segment = Segment::new(0..300_000, Origin::Demand, None);
        segment.append(Bytes::from(vec![7; 200_000]));
        assert!(segment.slice(0..PIECE as u64).is_some());
        assert!(segment.slice(0..PIECE as u64 + 1).is_none());
        assert!(!segment.is_complete());
    }

    #[test]
    fn a_segment_is_delivered_when_its_parts_meet() {
        let segment = Segment::new(100..200, Origin::Chain, None);
        assert!(!segment.mark_delivered(150..400));
        assert!(!segment.mark_delivered(0..120));
        assert!(segment.mark_delivered(110..160));
    }

    #[tokio::test]
    async fn waiting_ends_with_the_failure() {
        let segment = std::sync::Arc::new(Segment::new(0..10, Origin::Demand, None));
        let waiter = tokio::spawn({
            let segment = segment.clone();
            async move { segment.wait_for(10).await }
        });
        segment.wanted().await;
        assert!(!segment.cancel(), "a reader waits for it");
        segment.fail(StoreError::new(crate::store::ErrorKind::Server, "500"));
        assert!(waiter.await.unwrap().is_err());
    }

    #[tokio::test]
    async fn a_reader_that_waits_no_more_keeps_no_fetch_going() {
        let segment = Segment::new(0..10, Origin::Sequential, None);
        let wait = tokio::time::timeout(std::time::Duration::from_millis(1), segment.wait_for(10));
        assert!(wait.await.is_err());
        assert!(segment.cancel());
    }
}
