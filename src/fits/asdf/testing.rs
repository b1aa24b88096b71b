//! Files for the unit tests of this module.

use super::block::MAGIC;

/// The header of a block with its allocated, used and data size.
pub fn block_header(flags: u32, compression: &[u8; 4], sizes: [u64; 3]) -> Vec<u8> {
    let mut bytes = [&MAGIC[..], &48_u16.to_be_bytes(), &flags.to_be_bytes(), compression].concat();
    sizes.iter().for_each(|size| bytes.extend(size.to_be_bytes()));
    bytes.extend([7; 16]);
    bytes
}

/// A block of `used` bytes in `allocated` ones, not compressed.
pub fn block(used: usize, allocated: usize) -> Vec<u8> {
    let mut bytes = block_header(0, b"\0\0\0\0", [allocated as u64, used as u64, used as u64]);
    bytes.resize(bytes.len() + used, 1);
    bytes.resize(bytes.len() + allocated - used, 0);
    bytes
}

/// Header line, comment and a tree with these lines in it.
pub fn tree(lines: &str) -> Vec<u8> {
    let start = "#ASDF 1.0.0\n#ASDF_STANDARD 1.6.0\n%YAML 1.1\n%TAG ! tag:stsci.edu:asdf/\n--- !core/asdf-1.1.0\n";
    format!("{start}{lines}...\n").into_bytes()
}

/// The index of blocks at these offsets.
pub fn index(offsets: &[usize]) -> Vec<u8> {
    let entries: String = offsets.iter().map(|offset| format!("- {offset}\n")).collect();
    format!("#ASDF BLOCK INDEX\n%YAML 1.1\n---\n{entries}...\n").into_bytes()
}

/// A file of a tree and these blocks, with its index.
pub fn file(lines: &str, blocks: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = tree(lines);
    let mut offsets = Vec::new();
    for block in blocks {
        offsets.push(bytes.len());
        bytes.extend(block);
    }
    bytes.extend(index(&offsets));
    bytes
}
