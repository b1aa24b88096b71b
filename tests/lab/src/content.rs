//! What an object's bytes are and how a span of them is produced.
//!
//! Objects of gigabytes must cost no memory, so content is a recipe: bytes at hand, a file, sparse extents, or a
//! pattern that is a pure function of (seed, offset) and that a test can recompute to know the truth.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use md5::{Digest, Md5};

/// The bytes of an object.
#[derive(Clone, Debug)]
pub enum Content {
    /// Bytes in memory, sent without a copy.
    Bytes(Bytes),
    /// A file, read when asked for; its size is taken when it is put.
    File(PathBuf),
    /// Zeros, except for the extents (offset, bytes). A later extent wins over an earlier one.
    Sparse {
        /// Length of the whole object.
        len: u64,
        /// The parts that are not zero.
        extents: Vec<(u64, Bytes)>,
    },
    /// Pseudo-random bytes by offset: see [`pattern_bytes`].
    Pattern {
        /// Length of the whole object.
        len: u64,
        /// Objects of different seeds differ everywhere.
        seed: u64,
    },
    /// A pattern, except for the extents (offset, bytes): a file whose headers matter and whose data are many.
    Patched {
        /// Length of the whole object.
        len: u64,
        /// Of the pattern.
        seed: u64,
        /// The parts that are not of the pattern. A later extent wins over an earlier one.
        extents: Vec<(u64, Bytes)>,
    },
}

impl Content {
    pub(crate) fn len(&self) -> io::Result<u64> {
        Ok(match self {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::File(path) => std::fs::metadata(path)?.len(),
            Content::Sparse { len, .. } | Content::Pattern { len, .. } | Content::Patched { len, .. } => *len,
        })
    }

    /// The quoted ETag: MD5 for bytes in memory; for the rest a hash of the recipe in the form of a multipart upload,
    /// so that gigabytes need not be read.
    pub(crate) fn etag(&self, len: u64) -> String {
        let mut md5 = Md5::new();
        match self {
            Content::Bytes(bytes) => return format!("\"{}\"", hex::encode(Md5::digest(bytes))),
            Content::File(path) => {
                let modified = self.file_modified().unwrap_or(UNIX_EPOCH);
                let nanos = modified.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos());
                md5.update(format!("file {} {len} {nanos}", path.display()));
            }
            Content::Sparse { extents, .. } => {
                md5.update(format!("sparse {len}"));
                for (offset, bytes) in extents {
                    md5.update(offset.to_le_bytes());
                    md5.update(bytes);
                }
            }
            Content::Pattern { seed, .. } => md5.update(format!("pattern {len} {seed}")),
            Content::Patched { seed, extents, .. } => {
                md5.update(format!("patched {len} {seed}"));
                for (offset, bytes) in extents {
                    md5.update(offset.to_le_bytes());
                    md5.update(bytes);
                }
            }
        }
        let parts = len.div_ceil(8 << 20).max(1);
        format!("\"{}-{parts}\"", hex::encode(md5.finalize()))
    }

    /// Modification time, where the content has one of its own.
    pub(crate) fn file_modified(&self) -> Option<SystemTime> {
        match self {
            Content::File(path) => std::fs::metadata(path).and_then(|m| m.modified()).ok(),
            _ => None,
        }
    }
}

impl From<Bytes> for Content {
    fn from(bytes: Bytes) -> Self {
        Content::Bytes(bytes)
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Content::Bytes(bytes.into())
    }
}

impl From<&[u8]> for Content {
    fn from(bytes: &[u8]) -> Self {
        Content::Bytes(Bytes::copy_from_slice(bytes))
    }
}

impl<const N: usize> From<&[u8; N]> for Content {
    fn from(bytes: &[u8; N]) -> Self {
        Content::Bytes(Bytes::copy_from_slice(bytes))
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        text.as_bytes().into()
    }
}

/// Produces spans of one object; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) enum Reader {
    Memory(Content),
    File(Arc<File>),
}

impl Reader {
    /// Opens a file content, off the event loop.
    pub(crate) async fn open(content: &Content) -> io::Result<Reader> {
        let Content::File(path) = content else { return Ok(Reader::Memory(content.clone())) };
        let path = path.clone();
        let file = tokio::task::spawn_blocking(move || File::open(path)).await.map_err(io::Error::other)??;
        Ok(Reader::File(Arc::new(file)))
    }

    /// Exactly `len` bytes from `offset`, which the caller has checked against the object's size.
    pub(crate) async fn read(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        match self {
            Reader::Memory(content) => Ok(memory_span(content, offset, len)),
            Reader::File(file) => {
                let file = Arc::clone(file);
                let read = move || {
                    let mut buf = vec![0; len];
                    file.read_exact_at(&mut buf, offset)?;
                    Ok(Bytes::from(buf))
                };
                tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?
            }
        }
    }
}

fn memory_span(content: &Content, offset: u64, len: usize) -> Bytes {
    match content {
        Content::Bytes(bytes) => bytes.slice(offset as usize..offset as usize + len),
        Content::Sparse { extents, .. } => overlaid(vec![0; len], extents, offset),
        Content::Pattern { seed, .. } => pattern_span(*seed, offset, len).into(),
        Content::Patched { seed, extents, .. } => overlaid(pattern_span(*seed, offset, len), extents, offset),
        Content::File(_) => unreachable!("files are read by Reader::File"),
    }
}

fn pattern_span(seed: u64, offset: u64, len: usize) -> Vec<u8> {
    let mut buf = vec![0; len];
    pattern_bytes(seed, offset, &mut buf);
    buf
}

/// The bytes from `offset` on, with the extents in their places.
fn overlaid(mut buf: Vec<u8>, extents: &[(u64, Bytes)], offset: u64) -> Bytes {
    let end = offset + buf.len() as u64;
    for (start, bytes) in extents {
        let from = offset.max(*start);
        let to = end.min(start + bytes.len() as u64);
        if from < to {
            let source = &bytes[(from - start) as usize..(to - start) as usize];
            buf[(from - offset) as usize..(to - offset) as usize].copy_from_slice(source);
        }
    }
    buf.into()
}

/// Pattern blocks: each begins with a stamp of its own, so that no two blocks are equal.
const BLOCK: usize = 4096;
const STAMP: usize = 16;
/// Random bytes that blocks are cut from; it fits the processor's cache, so a pattern costs little more than a copy,
/// in builds without optimisation too.
const TABLE: usize = 64 << 10;

/// Fills `buf` with the bytes of pattern `seed` from `offset` on.
///
/// Each block of 4096 bytes is a stamp, unique to (seed, block), and a cut of a random table at a place that depends
/// on (seed, block): bytes from a wrong offset or of another object do not compare equal.
pub fn pattern_bytes(seed: u64, offset: u64, buf: &mut [u8]) {
    let table = table();
    let mut at = 0;
    while at < buf.len() {
        let position = offset + at as u64;
        let (block, within) = (position / BLOCK as u64, (position % BLOCK as u64) as usize);
        let take = (BLOCK - within).min(buf.len() - at);
        let hash = mix(mix(seed) ^ block);
        let cut = hash as usize % (TABLE - BLOCK);
        let out = &mut buf[at..at + take];
        out.copy_from_slice(&table[cut + within..cut + within + take]);
        if within < STAMP {
            let mut stamp = [0; STAMP];
            stamp[..8].copy_from_slice(&hash.to_le_bytes());
            stamp[8..].copy_from_slice(&mix(hash).to_le_bytes());
            let n = (STAMP - within).min(take);
            out[..n].copy_from_slice(&stamp[within..within + n]);
        }
        at += take;
    }
}

fn table() -> &'static [u8] {
    static CELL: OnceLock<Vec<u8>> = OnceLock::new();
    CELL.get_or_init(|| (0..TABLE as u64 / 8).flat_map(|word| mix(word).to_le_bytes()).collect())
}

/// The splitmix64 finaliser.
pub(crate) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pattern_is_a_function_of_the_offset() {
        let mut whole = vec![0; 50_000];
        pattern_bytes(7, 1000, &mut whole);
        for (start, len) in [(0, 1), (3, 4096), (3090, 30), (4095, 9000), (49_999, 1)] {
            let mut part = vec![0; len];
            pattern_bytes(7, 1000 + start as u64, &mut part);
            assert_eq!(part, whole[start..start + len], "{len} bytes at {start}");
        }
        let mut other = vec![0; 50_000];
        pattern_bytes(8, 1000, &mut other);
        let equal = whole.iter().zip(&other).filter(|(a, b)| a == b).count();
        assert!(equal < 1000, "seeds 7 and 8 share {equal} of 50000 bytes");
    }

    #[test]
    fn extents_lie_over_zeros_and_over_a_pattern() {
        let extents = vec![(2, Bytes::from_static(b"abc")), (4, Bytes::from_static(b"XY"))];
        let sparse = Content::Sparse { len: 8, extents: extents.clone() };
        assert_eq!(&memory_span(&sparse, 0, 8)[..], b"\0\0abXY\0\0");
        assert_eq!(&memory_span(&sparse, 3, 2)[..], b"bX");
        let patched = Content::Patched { len: 8, seed: 7, extents };
        let pattern = pattern_span(7, 0, 8);
        assert_eq!(memory_span(&patched, 1, 7)[..], [&pattern[1..2], b"abXY", &pattern[6..]].concat());
    }
}
