//! The walk along the tree and the blocks of an ASDF file, without I/O; used like the walk along FITS headers
//! ([`crate::fits::Chain`], which chooses between the two).
//!
//! The way is: the tree, from which the arrays are learned; the padding up to the first block; with that one's header, and if
//! there may be more blocks, the last bytes of the file for the block index; then block by block. With the index, or else
//! with the arrays, [`Walk::predict`] says where the blocks to come are, so that their headers can be fetched in one round.
//!
//! Invariants:
//! - the walk moves along proven offsets only: each is the end of a block whose header was read. Index and arrays lead to
//!   guesses, and a wrong guess costs a request and nothing else. The arrays give shapes and names in the layout, though;
//! - the walk keeps no bytes but a line of the tree and [`index::TAIL_LEN`] bytes of the tail;
//! - the layout depends on the file alone, not on how it was cut into pieces (pieces shorter than a block's header are
//!   ignored where one is needed).

use std::collections::BTreeMap;

use super::block::{self, Block, HEADER_LEN};
use super::tree::{self, Node};
use super::{FILE_START, index};
use crate::fits::chain::{self, HEAD_LEN, MAX_NEED_LEN, Need, covering};
use crate::fits::hdu::Hdu;
use crate::fits::header::HeaderError;
use crate::fits::kind::HduKind;
use crate::fits::layout::{Layout, Tail, tail_behind};

/// Bytes to ask for at a block: its header, and the line of the index where that follows instead.
const HOP_LEN: u64 = 256;

/// The padding between the tree and the first block is searched up to so many bytes. Libraries leave a tenth of the tree.
const MAX_PADDING_LEN: u64 = 16 << 20;

/// So many blocks of one file are followed: as with FITS headers, this bounds memory (some 40 MB) and requests.
const MAX_BLOCKS: usize = 100_000;

/// A walk through one file.
#[derive(Clone, Debug)]
pub struct Walk {
    layout: Layout,
    stage: Stage,
    /// The arrays of the tree by the number of their block.
    nodes: BTreeMap<i64, Node>,
    /// The offsets in the block index, once it was looked for.
    index: Option<Vec<u64>>,
}

#[derive(Clone, Debug)]
enum Stage {
    /// In the tree.
    Tree(Box<tree::Parser>),
    /// Behind the tree, looking for a block; nothing before this offset is one.
    Padding(u64),
    /// In the last bytes of the file, of which these were read.
    Index(Vec<u8>),
    /// At the header of a block, which the tail of the layout tells.
    Block,
}

impl Walk {
    /// A walk through a file of `file_size` bytes, of which nothing is known yet.
    pub fn new(file_size: u64) -> Self {
        let layout = Layout { file_size, hdus: Vec::new(), tail: Tail::Unread { offset: 0 } };
        let mut walk = Self { layout, stage: Stage::Tree(Box::default()), nodes: BTreeMap::new(), index: None };
        if file_size < FILE_START.len() as u64 {
            walk.layout.tail = Tail::NotFits;
        }
        walk
    }

    /// The range that is needed next.
    pub fn need(&self) -> Need {
        let Some(offset) = self.pending() else { return Need::Done };
        let len = match &self.stage {
            // A tree is often longer than the head of a file, and soon known to be: what is asked for triples each time.
            Stage::Tree(tree) => tree.scanned().saturating_mul(2).clamp(HEAD_LEN, MAX_NEED_LEN),
            Stage::Padding(_) => offset.saturating_sub(self.tree_end()).clamp(chain::HOP_LEN, MAX_NEED_LEN),
            Stage::Index(_) => index::TAIL_LEN,
            Stage::Block => HOP_LEN,
        };
        Need::Bytes { offset, len: len.min(self.layout.file_size.saturating_sub(offset)) }
    }

    /// Takes bytes of the file that begin at `offset` and goes as far as they reach. Returns whether that led anywhere.
    pub fn feed(&mut self, offset: u64, bytes: &[u8]) -> bool {
        let within = self.layout.file_size.saturating_sub(offset);
        let bytes = &bytes[..bytes.len().min(usize::try_from(within).unwrap_or(usize::MAX))];
        let mut moved = self.take_index(offset, bytes);
        while let Some(rest) = self.pending().and_then(|needed| covering(offset, bytes, needed)) {
            let before = self.progress();
            self.advance(rest);
            if self.progress() == before {
                break;
            }
            moved = true;
        }
        moved
    }

    /// The layout as far as it is known; its tail is [`Tail::Unread`] while bytes are needed.
    pub fn layout_so_far(&self) -> &Layout {
        &self.layout
    }

    /// The layout, complete if nothing was needed any more.
    pub fn into_layout(self) -> Layout {
        self.layout
    }

    /// Where further bytes will probably be needed, in bytes from the start of the file: at most `n` offsets, in ascending
    /// order.
    ///
    /// While the tree is being read that is where the tail begins that may hold the index. Then it is the blocks behind the
    /// next one: as the index says, if it has the next one, else as the lengths of the arrays say.
    pub fn predict(&self, n: usize) -> Vec<u64> {
        let last = self.layout.file_size.saturating_sub(HEADER_LEN as u64);
        let known = match (&self.stage, &self.layout.tail) {
            (_, Tail::Unread { offset }) if self.trusts_index(*offset) => self.indexed_behind(*offset, n),
            (Stage::Index(_), Tail::Unread { offset }) => self.guessed_from(*offset, n),
            (Stage::Block, Tail::Unread { offset }) => self.guessed_from(*offset, n.saturating_add(1)).split_off(1),
            (_, Tail::Unread { .. }) if self.is_begun() && self.may_have_index() => vec![self.tail_start()],
            _ => Vec::new(),
        };
        known.into_iter().filter(|offset| *offset <= last).take(n).collect()
    }

    /// Whether the offsets of [`Walk::predict`] come from a block index, and so are as good as certain.
    pub fn is_sure(&self) -> bool {
        matches!(self.layout.tail, Tail::Unread { offset } if self.trusts_index(offset))
    }

    /// The offset from which bytes are needed; none if the walk is over.
    fn pending(&self) -> Option<u64> {
        let Tail::Unread { offset } = self.layout.tail else { return None };
        Some(match &self.stage {
            Stage::Tree(tree) => tree.scanned(),
            Stage::Padding(from) => *from,
            Stage::Index(read) => self.tail_start().saturating_add(read.len() as u64),
            Stage::Block => offset,
        })
    }

    /// What is not the same any more after a step that led somewhere: one offset can be the end of the tree, the padding of
    /// no bytes and the first block.
    fn progress(&self) -> (Option<u64>, std::mem::Discriminant<Stage>) {
        (self.pending(), std::mem::discriminant(&self.stage))
    }

    fn advance(&mut self, bytes: &[u8]) {
        let tail_len = usize::try_from(self.layout.file_size - self.tail_start()).unwrap_or(usize::MAX);
        match &mut self.stage {
            Stage::Tree(_) => self.read_tree(bytes),
            Stage::Padding(from) => {
                let from = *from;
                self.search_block(from, bytes);
            }
            Stage::Index(read) => {
                read.extend_from_slice(bytes);
                if read.len() >= tail_len {
                    self.index = Some(index::offsets(read));
                    self.stage = Stage::Block;
                }
            }
            Stage::Block => self.read_block(bytes),
        }
    }

    fn read_tree(&mut self, bytes: &[u8]) {
        let size = self.layout.file_size;
        let Stage::Tree(tree) = &mut self.stage else { return };
        if tree.scanned() == 0 && !bytes.starts_with(FILE_START) {
            self.layout.tail = Tail::NotFits;
            return;
        }
        let end = tree.push(bytes, size);
        let scanned = tree.scanned();
        match end.filter(|end| *end <= tree::MAX_TREE_LEN) {
            Some(end) => {
                self.nodes = std::mem::take(tree).into_nodes();
                self.stage = Stage::Padding(end);
                self.layout.tail = Tail::Unread { offset: end };
                self.settle_padding(end);
            }
            None if scanned >= size || scanned > tree::MAX_TREE_LEN => {
                self.layout.tail = Tail::Malformed { offset: 0, reason: HeaderError::EndlessTree };
            }
            None => {}
        }
    }

    /// Looks for the first block, or for an index right behind the tree. Nothing before `from` is one.
    fn search_block(&mut self, from: u64, bytes: &[u8]) {
        let end = self.tree_end();
        let wanted = self.layout.file_size.saturating_sub(from).min(HEADER_LEN as u64);
        if from == end && (bytes.len() as u64) < wanted {
            return;
        }
        if from == end && bytes.starts_with(index::MARKER) {
            self.add_tree(end);
            self.add_index(end);
            return;
        }
        let found = bytes.windows(block::MAGIC.len()).position(block::is_block_start).map(|at| from + at as u64);
        match found.filter(|start| start - end <= MAX_PADDING_LEN) {
            Some(start) => {
                self.add_tree(start);
                self.stage = Stage::Block;
                self.layout.tail = Tail::Unread { offset: start };
            }
            None => {
                // The magic may have begun in the last bytes.
                let next = from + (bytes.len() + 1).saturating_sub(block::MAGIC.len()) as u64;
                self.stage = Stage::Padding(next);
                self.settle_padding(next);
            }
        }
    }

    /// Ends the walk if no block can begin at `from` or behind it, or none was found for too long.
    fn settle_padding(&mut self, from: u64) {
        let (end, size) = (self.tree_end(), self.layout.file_size);
        if from + (block::MAGIC.len() as u64) > size || from - end > MAX_PADDING_LEN {
            self.add_tree(end);
            self.layout.tail =
                if end < size { Tail::TrailingBytes { offset: end, len: size - end } } else { Tail::Clean };
        }
    }

    /// Where the tree ends: it is what the layout waits behind, until a block is found.
    fn tree_end(&self) -> u64 {
        match self.layout.tail {
            Tail::Unread { offset } => offset,
            _ => 0,
        }
    }

    fn read_block(&mut self, bytes: &[u8]) {
        let Tail::Unread { offset } = self.layout.tail else { return };
        let size = self.layout.file_size;
        let whole = size.saturating_sub(offset).min(HEADER_LEN as u64);
        if (bytes.len() as u64) < whole {
            return;
        }
        if bytes.starts_with(index::MARKER) {
            self.add_index(offset);
            return;
        }
        let found = block::parse(offset, bytes, size);
        match found {
            Ok(_) if self.layout.hdus.len() > MAX_BLOCKS => {
                let reason = HeaderError::TooManyBlocks(MAX_BLOCKS as u64);
                self.layout.tail = Tail::Malformed { offset, reason };
            }
            Ok(block) => self.add_block(offset, block),
            Err(HeaderError::NotAHeader) => {
                self.layout.tail = Tail::TrailingBytes { offset, len: size.saturating_sub(offset) };
            }
            Err(reason) => self.layout.tail = Tail::Malformed { offset, reason },
        }
    }

    fn add_tree(&mut self, first_block: u64) {
        let end = self.tree_end();
        let unit = Hdu { data_span: first_block - end, ..unit(0, HduKind::AsdfTree, 0, end) };
        self.layout.hdus.push(unit);
    }

    fn add_index(&mut self, offset: u64) {
        let number = self.layout.hdus.len();
        self.layout.hdus.push(unit(number, HduKind::AsdfIndex, offset, self.layout.file_size));
        self.layout.tail = Tail::Clean;
    }

    fn add_block(&mut self, offset: u64, block: Block) {
        let number = self.layout.hdus.len();
        let by_number = i64::try_from(number).ok().and_then(|number| self.nodes.get(&(number - 1)));
        let node = by_number.or_else(|| self.nodes.get(&tree::LAST).filter(|_| block.streamed));
        let hdu = block_unit(number, offset, block, node);
        let (end, size) = (hdu.end(), self.layout.file_size);
        self.layout.tail = if end < size { Tail::Unread { offset: end } } else { tail_behind(&hdu, size) };
        self.layout.hdus.push(hdu);
        // What is in the tail itself needs no index.
        if self.index.is_none() && end < self.tail_start() {
            self.stage = Stage::Index(Vec::new());
        }
    }

    /// Takes the index from bytes that hold all of the tail, even before it is its turn.
    fn take_index(&mut self, offset: u64, bytes: &[u8]) -> bool {
        let is_due = self.index.is_none() && self.is_begun() && self.pending().is_some();
        let tail = covering(offset, bytes, self.tail_start());
        let Some(tail) = tail.filter(|tail| tail.len() as u64 == self.layout.file_size - self.tail_start()) else {
            return false;
        };
        if !is_due {
            return false;
        }
        self.index = Some(index::offsets(tail));
        if matches!(self.stage, Stage::Index(_)) {
            self.stage = Stage::Block;
        }
        true
    }

    /// Whether anything was read.
    fn is_begun(&self) -> bool {
        !matches!(&self.stage, Stage::Tree(tree) if tree.scanned() == 0)
    }

    /// Whether the tail is still to be read, and is not part of what is needed anyway.
    fn may_have_index(&self) -> bool {
        let Need::Bytes { offset, len } = self.need() else { return false };
        self.index.is_none() && offset + len < self.layout.file_size
    }

    fn tail_start(&self) -> u64 {
        self.layout.file_size.saturating_sub(index::TAIL_LEN)
    }

    /// Whether the index has the block that is needed next: an index that does not is wrong.
    fn trusts_index(&self, next: u64) -> bool {
        matches!(self.stage, Stage::Block) && self.index.as_ref().is_some_and(|all| all.binary_search(&next).is_ok())
    }

    fn indexed_behind(&self, offset: u64, n: usize) -> Vec<u64> {
        let all = self.index.as_deref().unwrap_or_default();
        all.iter().filter(|other| **other > offset).take(n).copied().collect()
    }

    /// The next block and those behind it, `n` in all, if each has just the bytes of its array.
    fn guessed_from(&self, next: u64, n: usize) -> Vec<u64> {
        let mut number = i64::try_from(self.layout.hdus.len()).unwrap_or(i64::MAX) - 1;
        let behind = |offset: &u64| {
            let len = self.nodes.get(&number).filter(|node| !node.is_view)?.array(0).len()?;
            number += 1;
            offset.checked_add(HEADER_LEN as u64)?.checked_add(len)
        };
        std::iter::successors(Some(next), behind).take(n).collect()
    }
}

/// A unit without data.
fn unit(index: usize, kind: HduKind, header_offset: u64, data_offset: u64) -> Hdu {
    Hdu {
        index,
        name: None,
        version: 1,
        kind,
        header_offset,
        data_offset,
        data_len: 0,
        data_span: 0,
        bitpix: 8,
        shape: Vec::new(),
        pcount: 0,
        gcount: 1,
        bscale: None,
        bzero: None,
        blank: None,
        table: None,
    }
}

/// The unit of a block, with the geometry of its array where the bytes of the block are those of the array.
fn block_unit(index: usize, header_offset: u64, block: Block, node: Option<&Node>) -> Hdu {
    let array = node.map(|node| node.array(block.unpacked));
    let is_plain = block.compression.is_none() && node.is_some_and(|node| !node.is_view);
    let geometry = array.as_ref().filter(|array| is_plain && array.len().is_some_and(|len| len <= block.used));
    let (bitpix, shape) = geometry
        .and_then(|array| Some((array.bitpix()?, array.shape.clone())))
        .unwrap_or_else(|| (8, vec![block.used]));
    Hdu {
        name: node.map(|node| node.name.clone()),
        data_len: block.used,
        data_span: block.allocated,
        bitpix,
        shape,
        ..unit(
            index,
            HduKind::AsdfBlock {
                compression: block.compression,
                unpacked_len: block.unpacked,
                streamed: block.streamed,
                array,
            },
            header_offset,
            block.data_offset,
        )
    }
}

#[cfg(test)]
mod tests;
