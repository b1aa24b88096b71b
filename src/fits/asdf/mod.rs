//! ASDF (Advanced Scientific Data Format): where the tree and the blocks of a file are, in the words of [`Layout`].
//!
//! An ASDF file (ASDF Standard 1.6.0, "Low-level file layout") is a header line and comments, a tree in YAML, binary blocks
//! and an index of the blocks, all but the first line optional. Files of the Roman telescope are of this format. As in FITS,
//! only a block's header tells where the next one is; unlike in FITS, the tree says in advance what is in the blocks and
//! the index where they are.
//!
//! | concept | file | ASDF Standard 1.6.0, "Low-level file layout" |
//! |---|---|---|
//! | header line, comments and tree; the arrays that the tree describes | [`tree`] | "Header", "Comments", "Tree" |
//! | the header of a block | [`block`] | "Blocks" |
//! | the offsets in the block index | [`index`] | "Block index" |
//! | the walk along all of these | [`walk`] | - |
//!
//! In the layout, unit 0 is the tree with all that stands before it ([`HduKind::AsdfTree`]), and its span is the padding up
//! to the first block. Each block is a unit ([`HduKind::AsdfBlock`]): its data are the bytes in use, its span is the
//! allocated space. The block index is the last unit ([`HduKind::AsdfIndex`]) and reaches to the end of the file.
//!
//! Two parts of a file are taken as hints only, since they may be wrong: the index, and the arrays of the tree. The
//! offsets in the layout come from block headers alone.
//!
//! Known departures from the library asdf, the oracle of the tests:
//! - with lazy loading asdf trusts an index whose first offset is right; here every block header has to be read;
//! - asdf refuses a file without a tree, and a block that uses more than its allocated space; here such files have layouts;
//! - the tree is not parsed as YAML: a node in a style that asdf does not write describes no array, and anchors are not
//!   followed.
//!
//! [`Layout`]: super::Layout
//! [`HduKind::AsdfTree`]: super::HduKind::AsdfTree
//! [`HduKind::AsdfBlock`]: super::HduKind::AsdfBlock
//! [`HduKind::AsdfIndex`]: super::HduKind::AsdfIndex

pub mod block;
pub mod index;
pub mod tree;
pub mod walk;

#[cfg(test)]
pub(super) mod testing;

pub use tree::Array;
pub use walk::Walk;

/// What an ASDF file begins with: the header line is `#ASDF` and a version ("Header").
pub const FILE_START: &[u8] = b"#ASDF ";
