//! What is in gzip files, read at random: `x.fits` for the `x.fits.gz` of a source.
//!
//! Compressed data can be read from their start only, unless the decoder's state is known further in: the bits where a
//! block begins, and the 32 KiB before it. One pass over a file finds such restart points, verifies every member, and
//! tells the size, which nothing else proves: the length in the trailer is modulo 2^32, and that of the last member.
//! From then on a read decompresses the span around it.
//!
//! - [`Gunzip`]: which files were passed over; [`names`]: what they are shown as
//! - [`header`], [`inflate`]: decoding; [`index`]: restart points: all pure
//! - [`mod@pass`]: the pass; [`cursor`]: a place in a span; [`compressed`]: where compressed bytes come from
//! - [`stored`]: indexes in the cache on disk; [`plain`]: the object that readers see
//!
//! A member that fails its checksum may be damaged anywhere in it. So no byte of it is given, nor of what follows.

mod compressed;
mod cursor;
mod header;
mod index;
mod inflate;
mod names;
mod pass;
mod plain;
mod stored;

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use moka::policy::EvictionPolicy;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Mutex as AsyncMutex, Semaphore};

use self::compressed::Compressed;
use self::cursor::{Cursor, Reached};
use self::index::{Index, Span, most_plain, open_window};
use self::pass::{Passed, pass};
use self::plain::Plain;
use self::stored::Stored;
use crate::cache::BLOCK;
use crate::cache::disk::{BUFFER_SIZE, DiskCache};
use crate::cache::names::Notes;
use crate::store::{ErrorKind, Identity, Object, ObjectMeta, Result, Source, StoreError};

pub use names::{packed, unpacked};
pub use plain::outer_store;

/// Passes at a time: each takes a processor.
const PASSES: usize = 2;

/// Spans that are decompressed at a time: while most of them wait for the network, others keep the processors busy. As many
/// parts in flight as a pass has.
const DECODERS: usize = 8;

/// Places in spans that are kept, of some 200 KiB each.
const MAX_CURSORS: u64 = 32;

/// Shares of the memory: pieces that were decompressed, and indexes with their windows. The parts in flight of passes and of
/// spans take the other two quarters.
const PIECES_DIVISOR: u64 = 4;
const INDEXES_DIVISOR: u64 = 4;

/// The index of any file fits into this and its share: one that did not would need a pass for each read.
const MIN_INDEXES: u64 = 1 << 20;

/// A part of a file in flight is this share of the memory, and at most as much as the disk is read by at once.
const PART_DIVISOR: u64 = 64;

/// The windows of a file take this share of the memory at most, and no more than these bytes, which are those of a point
/// in each megabyte of half a gigabyte.
const WINDOWS_DIVISOR: u64 = 8;
const MAX_WINDOWS: u64 = 16 << 20;

/// How a lost window is looked for: once more, after another pass.
const ATTEMPTS: usize = 2;

/// What is wrong with a file, as the end of a sentence about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage(&'static str);

/// How much is done at once.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    /// Compressed bytes of a request, and plain bytes of a piece.
    part: u64,
    /// The most that the windows of a file may take.
    windows: usize,
}

/// What is known of a file.
#[derive(Debug)]
struct Known {
    index: Index,
    windows: Windows,
    damage: Option<Damage>,
}

/// Where the windows of a file are.
#[derive(Debug)]
enum Windows {
    Memory(Bytes),
    Disk(Identity),
}

type Passing = Shared<BoxFuture<'static, Result<Arc<Known>>>>;

/// The places in spans that readers have come to, by file and span.
type Cursors = moka::sync::Cache<(u128, usize), Arc<AsyncMutex<Option<Cursor>>>>;

/// Reads gzip files.
pub struct Gunzip {
    compressed: Arc<Compressed>,
    stored: Option<Stored>,
    sizes: Sizes,
    known: moka::sync::Cache<u128, Arc<Known>>,
    /// Passes under way: one for a file, however many wait for it.
    passing: Mutex<HashMap<u128, Passing>>,
    passes: Semaphore,
    /// Pieces that were decompressed, by file and offset.
    pieces: moka::sync::Cache<(u128, u64), Bytes>,
    cursors: Cursors,
    decoders: Semaphore,
    runtime: Handle,
}

impl fmt::Debug for Gunzip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gunzip").field("sizes", &self.sizes).finish_non_exhaustive()
    }
}

impl Gunzip {
    /// Nothing is known yet. Takes `memory` bytes, and keeps what it can in the cache on disk.
    pub fn new(disk: Option<Arc<DiskCache>>, notes: Option<Arc<Notes>>, memory: u64, runtime: Handle) -> Arc<Self> {
        let part = (memory / PART_DIVISOR).clamp(BLOCK, BUFFER_SIZE) / BLOCK * BLOCK;
        let windows = (memory / WINDOWS_DIVISOR).min(MAX_WINDOWS) as usize;
        let stored = disk.clone().zip(notes).map(|(disk, notes)| Stored { disk, notes });
        let weigh = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        Arc::new(Self {
            compressed: Arc::new(Compressed(disk)),
            stored,
            sizes: Sizes { part, windows },
            known: moka::sync::Cache::builder()
                .max_capacity(memory / INDEXES_DIVISOR + MIN_INDEXES)
                .eviction_policy(EvictionPolicy::lru())
                .weigher(move |_, known: &Arc<Known>| weigh(known.bytes()))
                .build(),
            passing: Mutex::default(),
            passes: Semaphore::new(PASSES),
            pieces: moka::sync::Cache::builder()
                .max_capacity(memory / PIECES_DIVISOR)
                .eviction_policy(EvictionPolicy::lru())
                .weigher(move |_, piece: &Bytes| weigh(piece.len()))
                .build(),
            cursors: moka::sync::Cache::builder()
                .max_capacity(MAX_CURSORS)
                .eviction_policy(EvictionPolicy::lru())
                .build(),
            decoders: Semaphore::new(DECODERS),
            runtime,
        })
    }

    /// What is in a compressed file, as far as memory tells without a request. It is provisional until a pass or a stored
    /// index has proved its size, and then not longer than that.
    pub fn object(self: &Arc<Self>, outer: &Object) -> Object {
        let known = if outer.is_provisional { None } else { self.known.get(&outer.identity().hash()) };
        self.object_of(outer, known.as_deref())
    }

    /// The same, also as the cache on disk tells it.
    pub async fn recall(self: &Arc<Self>, outer: &Object) -> Object {
        let known = if outer.is_provisional { None } else { self.remembered(outer).await };
        self.object_of(outer, known.as_deref())
    }

    /// The same after a pass, if need be.
    pub async fn prove(self: &Arc<Self>, outer: &Object) -> Result<Object> {
        let known = self.known_of(outer).await?;
        match known.damage {
            // There is nothing to be read of it.
            Some(damage) if known.index.size() == 0 => Err(damaged(outer, damage)),
            _ => Ok(self.object_of(outer, Some(&known))),
        }
    }

    fn object_of(self: &Arc<Self>, outer: &Object, known: Option<&Known>) -> Object {
        let (key, ending) = inner_key(outer.key());
        let most = most_plain(outer.size());
        let size = known.map_or(most, |known| if known.damage.is_some() { most } else { known.index.size() });
        let meta = ObjectMeta { key: key.to_owned(), size, ..ObjectMeta::clone(&outer.meta) };
        let store = Arc::new(Plain::new(self.clone(), outer.clone(), ending));
        let source = Arc::new(Source::derived(&outer.source, store));
        Object { source, meta: Arc::new(meta), is_provisional: known.is_none() }
    }

    async fn known_of(self: &Arc<Self>, outer: &Object) -> Result<Arc<Known>> {
        match self.remembered(outer).await {
            Some(known) => Ok(known),
            None => self.pass(outer).await,
        }
    }

    /// What is known of a file without another pass.
    async fn remembered(&self, outer: &Object) -> Option<Arc<Known>> {
        let id = outer.identity().hash();
        if let Some(known) = self.known.get(&id) {
            return Some(known);
        }
        let (index, windows) = self.stored.as_ref()?.read(outer).await?;
        let known = Arc::new(Known { index, windows: Windows::Disk(windows), damage: None });
        self.known.insert(id, known.clone());
        Some(known)
    }

    /// Waits for a pass over a file, which goes on whoever waits for it.
    async fn pass(self: &Arc<Self>, outer: &Object) -> Result<Arc<Known>> {
        let id = outer.identity().hash();
        let begin = || {
            let (gunzip, outer) = (self.clone(), outer.clone());
            let passing = self.runtime.spawn(async move {
                let passed = gunzip.pass_over(&outer).await;
                if let Ok(known) = &passed {
                    gunzip.known.insert(id, known.clone());
                }
                gunzip.passing.lock().remove(&id);
                passed
            });
            passing.map(|passed| passed.unwrap_or_else(|error| Err(ended(&error)))).boxed().shared()
        };
        let passing = self.passing.lock().entry(id).or_insert_with(begin).clone();
        passing.await
    }

    async fn pass_over(&self, outer: &Object) -> Result<Arc<Known>> {
        let _turn = self.passes.acquire().await;
        let Passed { index, windows, mut head, damage } = pass(&self.compressed, outer, self.sizes).await?;
        let windows = Bytes::from(windows);
        if let Some(span) = index.span(0) {
            head.truncate((span.plain.end.min(self.sizes.part)) as usize);
            self.pieces.insert((outer.identity().hash(), 0), head.into());
        }
        match (damage, &self.stored) {
            (Some(Damage(damage)), _) => {
                tracing::error!(url = outer.url(), readable = index.size(), "a file is damaged: {damage}");
            }
            (None, Some(stored)) => stored.write(outer, &index, &windows).await,
            (None, None) => {}
        }
        Ok(Arc::new(Known { index, windows: Windows::Memory(windows), damage }))
    }

    /// The piece of a file that has the plain byte at `offset`, and where it begins.
    async fn piece(self: &Arc<Self>, outer: &Object, offset: u64) -> Result<(u64, Bytes)> {
        let id = outer.identity().hash();
        let mut known = self.known_of(outer).await?;
        for _ in 0..ATTEMPTS {
            let Some(span) = known.index.span(offset) else {
                let beyond = Damage("it was read beyond its end");
                return Err(damaged(outer, known.damage.unwrap_or(beyond)));
            };
            let start = offset - (offset - span.plain.start) % self.sizes.part;
            if let Some(piece) = self.piece_of(outer, id, &known, &span, start..offset + 1).await? {
                return Ok((start, piece));
            }
            tracing::warn!(url = outer.url(), "restart points of a file are lost; it is passed over again");
            known = self.pass(outer).await?;
        }
        Err(StoreError::new(ErrorKind::BadResponse, format!("{}: its restart points are lost", outer.url())))
    }

    /// The piece of a span that begins where `wanted` does, and has all of that; none if the window of the span is lost.
    async fn piece_of(
        &self,
        outer: &Object,
        id: u128,
        known: &Known,
        span: &Span,
        wanted: Range<u64>,
    ) -> Result<Option<Bytes>> {
        let start = wanted.start;
        // One that ends before that is of an earlier index, whose spans were shorter.
        let kept = || self.pieces.get(&(id, start)).filter(|piece| piece.len() as u64 >= wanted.end - start);
        if let Some(piece) = kept() {
            return Ok(Some(piece));
        }
        // One reader goes through a span at a time: what others want of it is mostly on its way.
        let place = self.cursors.get_with((id, span.number), Arc::default);
        let mut place = place.lock().await;
        if let Some(piece) = kept() {
            return Ok(Some(piece));
        }
        let _turn = self.decoders.acquire().await;
        let mut cursor = match place.take().filter(|cursor| cursor.is_in(span) && cursor.at() <= start) {
            Some(cursor) => cursor,
            None => {
                let Some(window) = self.window(known, span).await else { return Ok(None) };
                Cursor::new(span, &window)
            }
        };
        loop {
            let (moved, reached) = advance_elsewhere(cursor, self.sizes.part).await?;
            cursor = moved;
            match reached.map_err(|damage| damaged(outer, damage))? {
                Reached::Piece(at, piece) => {
                    self.pieces.insert((id, at), piece.clone());
                    if at == start {
                        *place = Some(cursor).filter(|cursor| !cursor.is_over());
                        return Ok(Some(piece));
                    }
                }
                Reached::Input => {
                    let short = || damaged(outer, Damage("a span of it ends before its end"));
                    let next = cursor.take_next(self.sizes.part).ok_or_else(short)?;
                    cursor.give(self.compressed.get(outer, next).await?);
                }
            }
        }
    }

    async fn window(&self, known: &Known, span: &Span) -> Option<Vec<u8>> {
        let Range { start, end } = span.window;
        match &known.windows {
            Windows::Memory(windows) => open_window(windows.get(start as usize..end as usize)?),
            Windows::Disk(windows) => self.stored.as_ref()?.window(windows, span).await,
        }
    }
}

impl Known {
    /// How much memory it takes, in bytes.
    fn bytes(&self) -> usize {
        let windows = if let Windows::Memory(windows) = &self.windows { windows.len() } else { 0 };
        size_of::<Self>() + self.index.bytes() + windows
    }
}

/// Decompresses on a thread that may be busy for long.
async fn advance_elsewhere(mut cursor: Cursor, piece: u64) -> Result<(Cursor, std::result::Result<Reached, Damage>)> {
    let advance = move || {
        let reached = cursor.advance(piece);
        (cursor, reached)
    };
    tokio::task::spawn_blocking(advance).await.map_err(|error| ended(&error))
}

/// The key of what is in a file, and the rest of the key of the file. A list gives a key any name: it may end otherwise.
fn inner_key(key: &str) -> (&str, &str) {
    key.split_at(key.floor_char_boundary(key.len().saturating_sub(names::ENDING)))
}

fn damaged(outer: &Object, Damage(damage): Damage) -> StoreError {
    StoreError::new(ErrorKind::Damaged, format!("{}: {damage}", outer.url()))
}

fn ended(error: &tokio::task::JoinError) -> StoreError {
    StoreError::new(ErrorKind::Cancelled, format!("decompressing ended: {error}"))
}

#[cfg(test)]
mod tests;
