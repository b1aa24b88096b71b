//! Writing past the page cache (`open(2)`, `O_DIRECT`): programs have what was fetched in the page cache of the mount, and
//! copying it into another one takes many times the processor time, and the place of what others have there. What is in
//! memory page by page as it is in the file is written from there, and all else from a copy.
//!
//! A disk falls behind a fast network by that, or a busy machine does. Then the page cache takes it, as much as the kernel
//! lets wait there: what is not written is fetched again.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;

use super::PAGE;
use super::buffers::{BUFFER_SIZE, Buffer, Buffers, is_large};
use super::file;

/// Memory to write from, of the size of a buffer.
#[derive(Debug)]
pub(super) struct Direct(Buffer);

/// How large things are written.
#[derive(Debug, Default)]
pub(super) struct Way {
    buffers: Arc<Buffers>,
    /// While there is something to write.
    direct: Option<Direct>,
}

impl Direct {
    /// Writes the whole pages of what is large, at most a buffer, to a file that is open for that. Returns how many bytes:
    /// none where it cannot be.
    pub fn write(&mut self, file: &File, bytes: &[Bytes], offset: u64) -> io::Result<usize> {
        let length: usize = bytes.iter().map(Bytes::len).sum();
        let whole = length - length % PAGE as usize;
        if !is_large(whole) {
            return Ok(0);
        }
        let written = match in_pages(bytes) {
            Some(pages) => file::write_all_vectored_at(file, pages, offset),
            None => match self.joined(bytes, whole) {
                Some(memory) => file.write_all_at(memory, offset),
                None => return Ok(0),
            },
        };
        match written {
            // The filesystem only reads so.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(0),
            written => written.map(|()| whole),
        }
    }

    /// The first bytes in memory that begins at a page; none if they are more than a buffer.
    fn joined(&mut self, bytes: &[Bytes], whole: usize) -> Option<&[u8]> {
        let memory = self.0.pages()?.get_mut(..whole)?;
        let mut at = 0;
        for slice in bytes {
            let length = slice.len().min(whole - at);
            memory[at..at + length].copy_from_slice(&slice[..length]);
            at += length;
        }
        Some(memory)
    }
}

/// The whole pages of bytes, as they are in memory, if all of them are pages there too.
fn in_pages(bytes: &[Bytes]) -> Option<Vec<IoSlice<'_>>> {
    let page = PAGE as usize;
    let (last, others) = bytes.split_last()?;
    let is_aligned = bytes.iter().all(|slice| (slice.as_ptr() as usize).is_multiple_of(page));
    let is_whole = others.iter().all(|slice| slice.len().is_multiple_of(page));
    let last = &last[..last.len() - last.len() % page];
    let pages = others.iter().map(|slice| &slice[..]).chain([last]).filter(|slice| !slice.is_empty());
    (is_aligned && is_whole).then(|| pages.map(IoSlice::new).collect())
}

impl Way {
    /// What it takes to write past the page cache; none where that does better, since the disk is behind.
    pub fn choose(&mut self, is_behind: bool) -> Option<&mut Direct> {
        if is_behind {
            return None;
        }
        if self.direct.is_none() {
            self.direct = self.buffers.take(BUFFER_SIZE as usize).ok().map(Direct);
        }
        self.direct.as_mut()
    }

    /// Whether it holds memory.
    pub fn holds_memory(&self) -> bool {
        self.direct.is_some()
    }

    /// Nothing has been written for a while: lets go of memory.
    pub fn rest(&mut self) {
        self.direct = None;
        self.buffers.trim();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::pieces::Pieces;
    use std::os::unix::fs::OpenOptionsExt;

    #[test]
    fn a_disk_that_is_behind_leaves_it_to_the_page_cache() {
        let mut way = Way::default();
        assert!(way.choose(true).is_none() && !way.holds_memory());
        assert!(way.choose(false).is_some() && way.holds_memory());
        assert!(way.choose(true).is_none());
        way.rest();
        assert!(!way.holds_memory());
    }

    #[test]
    fn whole_pages_of_what_is_large_are_written() {
        let (folder, mut way) = (tempfile::tempdir().unwrap(), Way::default());
        let path = folder.path().join("data");
        File::create(&path).unwrap();
        let mut options = File::options();
        let Ok(file) = options.read(true).write(true).custom_flags(libc::O_DIRECT).open(&path) else {
            return fitsfs_lab::untested("the temporary folder takes no O_DIRECT");
        };
        let content: Vec<u8> = (0..1_000_000u32).map(|at| (at >> 3) as u8).collect();
        let pieces = Arc::new(Pieces::default());
        let in_a_piece = |slice: &[u8]| {
            let mut piece = pieces.take().unwrap();
            piece.write(slice);
            Bytes::from_owner(piece)
        };
        let direct = way.choose(false).unwrap();
        let copied: &dyn Fn(&[u8]) -> Bytes = &Bytes::copy_from_slice;
        for memory in [copied, &in_a_piece] {
            File::create(&path).unwrap();
            let slices: Vec<_> = content.chunks(131_072).map(memory).collect();
            let written = direct.write(&file, &slices, 8192).unwrap();
            assert_eq!(direct.write(&file, &slices[..1], 0).unwrap(), 0);
            // A filesystem in memory may refuse.
            assert!([0, content.len() / 4096 * 4096].contains(&written), "{written}");
            assert_eq!(std::fs::read(&path).unwrap().get(8192..).unwrap_or_default(), &content[..written]);
        }
    }
}
