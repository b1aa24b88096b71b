//! Decompresses a gzip file as its bytes come, from its start or from a restart point.
//!
//! From the start, each member is verified by its checksum and length when it ends. From a restart point the first member
//! cannot be: the pass that found the point has done it.
//!
//! What a block refers to before the start of its member is zero, in the pass as after a restart, so that both give the
//! same bytes whatever the file holds.

use crc32fast::Hasher;
use miniz_oxide::inflate::TINFLStatus as Status;
use miniz_oxide::inflate::core::inflate_flags::{TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY};
use miniz_oxide::inflate::core::{BlockBoundaryState, DecompressorOxide, decompress};

use super::Damage;
use super::header::Header;

/// How far back compressed data refer (RFC 1951), in bytes.
pub const WINDOW: usize = 32 << 10;

/// The plain bytes of a step, and the window before them; a power of two. Small enough for the cache of a processor.
const RING: usize = 128 << 10;

const FLAGS: u32 = TINFL_FLAG_HAS_MORE_INPUT | TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY;

/// Where decompressing can begin: between two blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart {
    /// How many plain bytes are before it.
    pub plain: u64,
    /// The first compressed byte that was not consumed.
    pub compressed: u64,
    /// How many bits of the byte before that belong to the next block.
    pub bits: u8,
    /// These bits.
    pub buffer: u8,
}

/// Decompresses.
pub struct Inflater {
    stage: Stage,
    decoder: Box<DecompressorOxide>,
    ring: Box<[u8]>,
    /// Where in the ring the next plain byte goes.
    at: usize,
    plain: u64,
    compressed: u64,
    /// Plain bytes of the member so far, as far as they are known.
    member: u64,
    /// Of the member, if that was read from its start.
    checksum: Option<Hasher>,
    members: u64,
    verified: u64,
}

#[derive(Debug)]
enum Stage {
    /// Before the first member, or between two: zeros are skipped.
    Between,
    Header(Header),
    Blocks,
    Trailer([u8; 8], usize),
}

/// What came of some input.
pub struct Step<'a> {
    /// How much of it was consumed.
    pub consumed: usize,
    /// What it gave.
    pub plain: &'a [u8],
    /// Whether decompressing can be restarted behind it.
    pub is_restart: bool,
}

impl Inflater {
    /// At the start of a file.
    pub fn new() -> Self {
        Self {
            stage: Stage::Between,
            decoder: Box::default(),
            ring: vec![0; RING].into(),
            at: 0,
            plain: 0,
            compressed: 0,
            member: 0,
            checksum: None,
            members: 0,
            verified: 0,
        }
    }

    /// At a restart point, with the plain bytes before it: of the member, and at most [`WINDOW`].
    pub fn at(restart: Restart, window: &[u8]) -> Self {
        let state = BlockBoundaryState { num_bits: restart.bits, bit_buf: restart.buffer, ..Default::default() };
        let mut ring = vec![0; RING];
        ring[WINDOW - window.len()..WINDOW].copy_from_slice(window);
        Self {
            stage: Stage::Blocks,
            decoder: Box::new(DecompressorOxide::from_block_boundary_state(&state)),
            ring: ring.into(),
            at: WINDOW,
            plain: restart.plain,
            compressed: restart.compressed,
            member: window.len() as u64,
            ..Self::new()
        }
    }

    /// How many plain bytes there were up to the end of the last member that was verified.
    pub fn verified(&self) -> u64 {
        self.verified
    }

    /// Where it could be restarted now, if the last step says that.
    pub fn restart(&self) -> Restart {
        let state = self.decoder.block_boundary_state().unwrap_or_default();
        Restart { plain: self.plain, compressed: self.compressed, bits: state.num_bits, buffer: state.bit_buf }
    }

    /// The plain bytes that a restart needs here.
    pub fn window(&self) -> Vec<u8> {
        let length = self.member.min(WINDOW as u64) as usize;
        let start = (self.at + RING - length) % RING;
        (start..start + length).map(|at| self.ring[at % RING]).collect()
    }

    /// Goes on with some input, of which it may leave some for the next step. Where it consumes nothing and gives nothing it
    /// needs more.
    pub fn step(&mut self, input: &[u8]) -> Result<Step<'_>, Damage> {
        let (consumed, given, is_restart) = match &mut self.stage {
            Stage::Between => (self.between(input)?, 0, false),
            Stage::Header(header) => {
                let consumed = header.feed(input)?;
                let is_over = header.is_over();
                if is_over {
                    self.begin_member();
                }
                (consumed, 0, is_over)
            }
            Stage::Blocks => self.blocks(input)?,
            Stage::Trailer(..) => (self.trailer(input)?, 0, false),
        };
        self.compressed += consumed as u64;
        let end = if given > 0 && self.at == 0 { RING } else { self.at };
        Ok(Step { consumed, plain: &self.ring[end - given..end], is_restart })
    }

    /// Whether the file may end here.
    pub fn finish(&self) -> Result<(), Damage> {
        match self.stage {
            Stage::Between if self.members > 0 => Ok(()),
            Stage::Between => Err(Damage("it is no gzip file")),
            _ => Err(Damage("it ends in the middle of a member")),
        }
    }

    fn between(&mut self, input: &[u8]) -> Result<usize, Damage> {
        let zeros = if self.members == 0 { 0 } else { input.iter().take_while(|byte| **byte == 0).count() };
        match input.get(zeros) {
            None => {}
            Some(0x1f) => self.stage = Stage::Header(Header::default()),
            Some(_) if self.members == 0 => return Err(Damage("it is no gzip file")),
            Some(_) => return Err(Damage("what follows its last member is no gzip")),
        }
        Ok(zeros)
    }

    fn begin_member(&mut self) {
        self.stage = Stage::Blocks;
        *self.decoder = DecompressorOxide::from_block_boundary_state(&BlockBoundaryState::default());
        self.ring[..WINDOW].fill(0);
        self.at = WINDOW;
        self.member = 0;
        self.checksum = Some(Hasher::new());
    }

    fn blocks(&mut self, input: &[u8]) -> Result<(usize, usize, bool), Damage> {
        let (status, consumed, given) = decompress(&mut self.decoder, input, &mut self.ring, self.at, FLAGS);
        if let Some(checksum) = &mut self.checksum {
            checksum.update(&self.ring[self.at..self.at + given]);
        }
        self.at = (self.at + given) % RING;
        self.plain += given as u64;
        self.member += given as u64;
        match status {
            Status::Done => self.stage = Stage::Trailer([0; 8], 0),
            Status::BlockBoundary | Status::HasMoreOutput | Status::NeedsMoreInput => {}
            _ => return Err(Damage("its compressed data make no sense")),
        }
        Ok((consumed, given, status == Status::BlockBoundary))
    }

    /// Checksum and length of a member, both modulo 2^32.
    fn trailer(&mut self, input: &[u8]) -> Result<usize, Damage> {
        let Stage::Trailer(seen, count) = &mut self.stage else { return Ok(0) };
        let taken = input.len().min(seen.len() - *count);
        seen[*count..*count + taken].copy_from_slice(&input[..taken]);
        *count += taken;
        if *count == seen.len() {
            let numbers = u64::from_le_bytes(*seen);
            if let Some(checksum) = self.checksum.take() {
                if checksum.finalize() != numbers as u32 {
                    return Err(Damage("the checksum of a member does not match"));
                }
                if self.member as u32 != (numbers >> 32) as u32 {
                    return Err(Damage("the length of a member does not match"));
                }
                self.verified = self.plain;
            }
            self.members += 1;
            self.stage = Stage::Between;
        }
        Ok(taken)
    }
}
