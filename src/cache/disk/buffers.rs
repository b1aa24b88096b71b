//! Memory for what is read from disk. Large reads go past the page cache (`open(2)`, `O_DIRECT`), and their speed is
//! that of the memory: in a huge page, which is one run of bytes for the disk, half a gigabyte takes 0.15 s, in usual
//! ones 0.35 s, and in ones that are fresh every time longer still. So huge pages are used again and again.

use std::io;
use std::sync::{Arc, Weak};

use memmap2::MmapMut;
use parking_lot::Mutex;

use crate::cache::pieces::{HUGE_PAGE, map_huge_page};

/// As much as is read at once, in bytes.
pub const BUFFER_SIZE: u64 = HUGE_PAGE as u64;

/// What is at least so large, and no larger than a buffer, gets one: nothing takes much more than it is charged for.
const NEARLY_FULL: u64 = BUFFER_SIZE / 4 * 3;

/// What is larger than this is worth reading past the page cache.
const SMALL: usize = 256 << 10;

/// So many buffers are kept while they are not in use: a stream has some of them on their way to the kernel.
const MAX_FREE: usize = 8;

/// Buffers that are free.
#[derive(Debug, Default)]
pub(super) struct Buffers(Mutex<Vec<Pages>>);

/// Memory that begins at a page; a buffer of full size begins at a huge one.
#[derive(Debug)]
struct Pages {
    map: MmapMut,
    start: usize,
    length: usize,
}

/// Some memory, with whatever was in it.
#[derive(Debug)]
pub(super) struct Buffer {
    memory: Memory,
    length: usize,
    home: Weak<Buffers>,
}

#[derive(Debug)]
enum Memory {
    Small(Vec<u8>),
    Large(Pages),
}

/// Whether a read of so many bytes is a large one.
pub(super) fn is_large(length: usize) -> bool {
    length > SMALL
}

impl Buffers {
    /// A buffer of `length` bytes.
    pub fn take(self: &Arc<Self>, length: usize) -> io::Result<Buffer> {
        let memory = match length {
            small if !is_large(small) => Memory::Small(vec![0; small]),
            _ => Memory::Large(self.take_large(length)?),
        };
        Ok(Buffer { memory, length, home: Arc::downgrade(self) })
    }

    fn take_large(&self, length: usize) -> io::Result<Pages> {
        if !(NEARLY_FULL..=BUFFER_SIZE).contains(&(length as u64)) {
            return Pages::just(length);
        }
        let free = self.0.lock().pop();
        free.map_or_else(Pages::piece, Ok)
    }

    /// Unmaps what is free.
    pub fn trim(&self) {
        self.0.lock().clear();
    }
}

impl Pages {
    /// As many as are needed.
    fn just(length: usize) -> io::Result<Self> {
        let length = length.next_multiple_of(super::PAGE as usize);
        Ok(Self { map: MmapMut::map_anon(length)?, start: 0, length })
    }

    /// A piece.
    fn piece() -> io::Result<Self> {
        let (map, start) = map_huge_page()?;
        Ok(Self { map, start, length: HUGE_PAGE })
    }

    fn first(&self, length: usize) -> &[u8] {
        &self.map[self.start..self.start + length]
    }

    fn first_mut(&mut self, length: usize) -> &mut [u8] {
        &mut self.map[self.start..self.start + length]
    }
}

impl Buffer {
    /// Its bytes.
    pub fn bytes(&mut self) -> &mut [u8] {
        match &mut self.memory {
            Memory::Small(bytes) => bytes,
            Memory::Large(pages) => pages.first_mut(self.length),
        }
    }

    /// The whole pages that its bytes are in, if it begins at one.
    pub fn pages(&mut self) -> Option<&mut [u8]> {
        match &mut self.memory {
            Memory::Large(pages) => Some(pages.first_mut(self.length.next_multiple_of(super::PAGE as usize))),
            Memory::Small(_) => None,
        }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        match &self.memory {
            Memory::Small(bytes) => bytes,
            Memory::Large(pages) => pages.first(self.length),
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Memory::Large(pages) = std::mem::replace(&mut self.memory, Memory::Small(Vec::new())) else { return };
        let Some(home) = self.home.upgrade().filter(|_| pages.length as u64 == BUFFER_SIZE) else { return };
        let mut free = home.0.lock();
        if free.len() < MAX_FREE {
            free.push(pages);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::disk::PAGE;

    const BUFFER_SIZE: usize = super::BUFFER_SIZE as usize;

    #[test]
    fn some_pieces_come_back() {
        let buffers = Arc::new(Buffers::default());
        drop((0..2 * MAX_FREE).map(|_| buffers.take(BUFFER_SIZE).unwrap()).collect::<Vec<_>>());
        drop(buffers.take(7).unwrap());
        drop(buffers.take(BUFFER_SIZE + 1).unwrap());
        assert_eq!(buffers.0.lock().len(), MAX_FREE);
        buffers.trim();
        assert!(buffers.0.lock().is_empty());
    }

    /// Two hundred segments of some 400 KiB took five times the memory that they were charged for.
    #[test]
    fn nothing_takes_much_more_than_its_length() {
        let buffers = Arc::new(Buffers::default());
        for length in [SMALL + 1, 400 << 10, BUFFER_SIZE / 2, BUFFER_SIZE / 4 * 3, BUFFER_SIZE] {
            let Memory::Large(pages) = &buffers.take(length).unwrap().memory else { panic!("{length} is large") };
            assert!(pages.length <= length / 3 * 4 + 4096, "{} for {length}", pages.length);
        }
    }

    #[test]
    fn a_piece_is_a_huge_page_wherever_it_was_mapped() {
        let buffers = Arc::new(Buffers::default());
        let taken: Vec<_> = (0..5).map(|_| buffers.take(BUFFER_SIZE).unwrap()).collect();
        assert!(taken.iter().all(|buffer| buffer.as_ref().as_ptr().align_offset(BUFFER_SIZE) == 0));
    }

    #[test]
    fn any_length_has_its_bytes_and_a_large_one_its_pages() {
        let buffers = Arc::new(Buffers::default());
        for length in [
            0,
            8,
            SMALL,
            SMALL + 1,
            BUFFER_SIZE / 4 * 3 - 1,
            BUFFER_SIZE / 4 * 3,
            BUFFER_SIZE - 1,
            BUFFER_SIZE,
            BUFFER_SIZE + 5000,
        ] {
            let mut buffer = buffers.take(length).unwrap();
            assert_eq!((buffer.bytes().len(), buffer.as_ref().len()), (length, length));
            let pages =
                buffer.pages().map(|pages| (pages.len() as u64 % PAGE, pages.as_ptr().align_offset(PAGE as usize)));
            assert_eq!(pages, is_large(length).then_some((0, 0)), "{length} bytes");
        }
    }
}
