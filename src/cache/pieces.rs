//! Memory for what arrives from the network: pieces of huge pages that are used again and again.
//!
//! A piece that comes from the allocator is mapped for each use, and the kernel clears it page by page as it is written:
//! more processor time than everything else that is done with its bytes. Pieces begin at a page, so that they are written
//! to disk from where they are.

use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use memmap2::{Advice, MmapMut, MmapRaw};
use parking_lot::Mutex;
use tokio::runtime::Handle;

/// Arrived bytes become readable in pieces of this size: what the kernel asks for at once.
pub const PIECE: usize = 128 << 10;

/// A huge page of most machines, in bytes.
pub const HUGE_PAGE: usize = 2 << 20;

const PIECES_OF_SLAB: usize = HUGE_PAGE / PIECE;

/// A bit for each piece of a slab that is free.
type Free = u16;
const ALL: Free = Free::MAX;
const _: () = assert!(PIECES_OF_SLAB == Free::BITS as usize);

/// A slab that was free for so long is unmapped. A stream uses its memory again within some milliseconds.
const REST: Duration = Duration::from_secs(1);

/// Huge pages, cut into pieces.
#[derive(Debug, Default)]
pub struct Pieces(Mutex<Slabs>);

#[derive(Debug, Default)]
struct Slabs {
    all: Vec<Slab>,
    /// How many of them were free all the time since free ones were unmapped last.
    unused: usize,
    /// Whether a task is going to unmap free ones.
    swept: bool,
}

#[derive(Debug)]
struct Slab {
    memory: Arc<Memory>,
    free: Free,
}

#[derive(Debug)]
struct Memory {
    map: MmapRaw,
    /// Where its huge page begins.
    start: usize,
}

/// A piece, of which the first `filled` bytes have been written. It is not shared until it is dropped.
#[derive(Debug)]
pub struct Piece {
    home: Arc<Pieces>,
    memory: Arc<Memory>,
    index: usize,
    filled: usize,
}

/// Memory that begins at a huge page, and where in the mapping that is. Before Linux 6.7 a mapping may begin anywhere: what
/// is mapped around it is never touched, and takes no memory.
pub fn map_huge_page() -> io::Result<(MmapMut, usize)> {
    let map = MmapMut::map_anon(2 * HUGE_PAGE)?;
    let start = map.as_ptr().align_offset(HUGE_PAGE).min(HUGE_PAGE);
    if let Err(error) = map.advise_range(Advice::HugePage, start, HUGE_PAGE) {
        tracing::debug!(%error, "no huge pages");
    }
    Ok((map, start))
}

impl Pieces {
    /// An empty piece, of the first slab that has one, so that the last ones become free as a whole. Within a runtime
    /// what is free is kept for a while; a task unmaps it.
    pub fn take(self: &Arc<Self>) -> io::Result<Piece> {
        let mut slabs = self.0.lock();
        let piece = slabs.take(self)?;
        if !slabs.swept
            && let Ok(runtime) = Handle::try_current()
        {
            slabs.swept = true;
            runtime.spawn(sweep(Arc::downgrade(self)));
        }
        Ok(piece)
    }

    #[cfg(test)]
    fn slabs(&self) -> usize {
        self.0.lock().all.len()
    }
}

/// Unmaps what is free for a while, as long as there is anything.
async fn sweep(pieces: Weak<Pieces>) {
    loop {
        tokio::time::sleep(REST).await;
        let Some(pieces) = pieces.upgrade() else { return };
        let mut slabs = pieces.0.lock();
        let surplus = slabs.surplus();
        slabs.swept = slabs.free() > 0 || !surplus.is_empty();
        let goes_on = slabs.swept;
        drop(slabs);
        drop(surplus);
        if !goes_on {
            return;
        }
    }
}

impl Slabs {
    fn free(&self) -> usize {
        self.all.iter().filter(|slab| slab.free == ALL).count()
    }

    fn take(&mut self, home: &Arc<Pieces>) -> io::Result<Piece> {
        let at = match self.all.iter().position(|slab| slab.free != 0) {
            Some(at) => at,
            None => {
                let (map, start) = map_huge_page()?;
                self.all.push(Slab { memory: Arc::new(Memory { map: map.into(), start }), free: ALL });
                self.all.len() - 1
            }
        };
        let slab = &mut self.all[at];
        let index = slab.free.trailing_zeros() as usize;
        slab.free &= !(1 << index);
        let memory = slab.memory.clone();
        self.unused = self.unused.min(self.free());
        Ok(Piece { home: home.clone(), memory, index, filled: 0 })
    }

    /// Takes a piece back; what is to be unmapped by that is returned.
    fn give_back(&mut self, piece: &Piece) -> Option<Slab> {
        let at = self.all.iter().position(|slab| Arc::ptr_eq(&slab.memory, &piece.memory))?;
        let slab = &mut self.all[at];
        slab.free |= 1 << piece.index;
        (slab.free == ALL && !self.swept).then(|| self.all.remove(at))
    }

    /// The last ones of those that were free since it was called before.
    fn surplus(&mut self) -> Vec<Slab> {
        let keep = self.free() - self.unused;
        let mut seen = 0;
        let surplus = self.all.extract_if(.., |slab| {
            seen += usize::from(slab.free == ALL);
            slab.free == ALL && seen > keep
        });
        let surplus = surplus.collect();
        self.unused = self.free();
        surplus
    }
}

impl Memory {
    fn at(&self, index: usize) -> *mut u8 {
        self.map.as_mut_ptr().wrapping_add(self.start + index * PIECE)
    }
}

impl Piece {
    /// How many bytes have been written to it.
    pub fn filled(&self) -> usize {
        self.filled
    }

    /// Appends as much of `data` as there is room for. Returns how much that is.
    pub fn write(&mut self, data: &[u8]) -> usize {
        let length = data.len().min(PIECE - self.filled);
        // SAFETY: `start` is at most `HUGE_PAGE` and `index` below `PIECES_OF_SLAB`, so the piece lies within the mapping
        // of two huge pages, which is writable, initialised (by zeros), and lives as long as `memory`. Nobody else
        // refers to these bytes: the bit of the piece is cleared from `take` until it is dropped, and `&mut self`
        // excludes what `as_ref` has given out.
        let room = unsafe { std::slice::from_raw_parts_mut(self.memory.at(self.index), PIECE) };
        room[self.filled..self.filled + length].copy_from_slice(&data[..length]);
        self.filled += length;
        length
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: as in `write`: within the mapping, initialised, and nobody else's. It is only written to through
        // `&mut self`, which ends this borrow; `filled` is at most `PIECE`.
        unsafe { std::slice::from_raw_parts(self.memory.at(self.index), self.filled) }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        // Unmapped when the lock is free again.
        let surplus = self.home.0.lock().give_back(self);
        drop(surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_apart_and_begin_at_pages() {
        let pieces = Arc::new(Pieces::default());
        let mut taken: Vec<_> = (0..40).map(|_| pieces.take().unwrap()).collect();
        for (number, piece) in taken.iter_mut().enumerate() {
            assert_eq!(piece.write(&vec![number as u8; PIECE - 1]), PIECE - 1);
            assert_eq!((piece.write(&[number as u8; 7]), piece.write(&[1])), (1, 0));
        }
        for (number, piece) in taken.iter().enumerate() {
            assert!(piece.as_ref().iter().all(|byte| *byte == number as u8) && piece.filled() == PIECE);
            assert_eq!(piece.as_ref().as_ptr().align_offset(4096), 0);
        }
        assert_eq!(pieces.slabs(), 3);
        drop(taken);
        assert_eq!(pieces.slabs(), 0, "where no task would unmap them later");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_free_is_used_again_and_let_go_of_when_it_is_not() {
        let pieces = Arc::new(Pieces::default());
        let take = |number: usize| (0..number).map(|_| pieces.take().unwrap()).collect::<Vec<_>>();
        let mut taken = take(4 * PIECES_OF_SLAB);
        taken.truncate(1);
        assert_eq!(pieces.slabs(), 4);
        tokio::time::sleep(REST * 3 / 2).await;
        taken.extend(take(2 * PIECES_OF_SLAB));
        assert_eq!(pieces.slabs(), 4);
        taken.truncate(1);
        tokio::time::sleep(REST).await;
        assert_eq!(pieces.slabs(), 3, "two more were in use meanwhile");
        tokio::time::sleep(REST).await;
        assert_eq!(pieces.slabs(), 1);
        drop(taken);
        tokio::time::sleep(3 * REST).await;
        assert_eq!(pieces.slabs(), 0);
        drop(take(1));
        assert_eq!(pieces.slabs(), 1, "a task sweeps again");
    }

    #[test]
    fn a_piece_outlives_its_home() {
        let pieces = Arc::new(Pieces::default());
        let mut piece = pieces.take().unwrap();
        drop(pieces);
        piece.write(b"still there");
        assert_eq!(piece.as_ref(), b"still there");
    }
}
