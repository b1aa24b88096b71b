//! Memory for what is read from disk, used again and again: fresh memory of the same size costs as much as reading. It
//! begins and ends at pages, as reading past the page cache needs (`open(2)`, `O_DIRECT`).

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

/// Buffers of this many bytes are kept, for what a stream reads at once, and used for what is a little less.
const KEPT: usize = 1 << 20;

/// What reading past the page cache is aligned to: no disk has larger blocks.
const PAGE: usize = super::PAGE as usize;

/// So many are kept while nobody uses them: a stream has some of them on their way to the kernel.
const MAX_FREE: usize = 16;

/// Buffers that are free.
#[derive(Debug, Default)]
pub(super) struct Buffers(Mutex<Vec<Vec<u8>>>);

/// Some memory, with whatever was in it.
#[derive(Debug)]
pub(super) struct Buffer {
    /// Larger by a page than what is used.
    bytes: Vec<u8>,
    /// Where the first page begins.
    start: usize,
    length: usize,
    home: Weak<Buffers>,
}

impl Buffers {
    /// A buffer of `length` bytes.
    pub fn take(self: &Arc<Self>, length: usize) -> Buffer {
        let is_kept = (KEPT / 4 * 3..=KEPT).contains(&length);
        let free = if is_kept { self.0.lock().pop() } else { None };
        let capacity = if is_kept { KEPT } else { length.next_multiple_of(PAGE) };
        let bytes = free.unwrap_or_else(|| vec![0; capacity + PAGE]);
        let start = bytes.as_ptr().align_offset(PAGE).min(PAGE);
        Buffer { bytes, start, length, home: Arc::downgrade(self) }
    }

    /// Lets go of what is free.
    pub fn trim(&self) {
        self.0.lock().clear();
    }
}

impl Buffer {
    /// Its bytes.
    pub fn bytes(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.length]
    }

    /// The whole pages that its bytes are in.
    pub fn pages(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.length.next_multiple_of(PAGE)]
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.length]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Some(home) = self.home.upgrade().filter(|_| self.bytes.len() == KEPT + PAGE) else { return };
        let mut free = home.0.lock();
        if free.len() < MAX_FREE {
            free.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_buffers_come_back() {
        let buffers = Arc::new(Buffers::default());
        drop((0..2 * MAX_FREE).map(|_| buffers.take(KEPT)).collect::<Vec<_>>());
        drop(buffers.take(7));
        drop(buffers.take(KEPT + PAGE));
        assert_eq!(buffers.0.lock().len(), MAX_FREE);
        assert_eq!((buffers.take(KEPT).as_ref().len(), buffers.take(8).as_ref().len()), (KEPT, 8));
        assert_eq!(buffers.take(KEPT - PAGE).bytes().len(), KEPT - PAGE);
        let mut odd = buffers.take(5000);
        assert_eq!((odd.pages().len(), odd.pages().as_ptr().align_offset(PAGE), odd.bytes().len()), (8192, 0, 5000));
        buffers.trim();
        assert!(buffers.0.lock().is_empty());
    }
}
