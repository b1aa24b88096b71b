//! The header of a block (ASDF Standard 1.6.0, "Low-level file layout", "Blocks" and "Streamed block").
//!
//! Invariants of a [`Block`]: `used <= allocated`, and the allocated space ends at an offset that fits an `i64`. Nothing here
//! fails or panics on any bytes.

use crate::fits::header::HeaderError;

/// What a block begins with.
pub const MAGIC: &[u8; 4] = b"\xd3BLK";

/// Bytes of a header as far as the standard defines it: magic, header_size, flags, compression, three sizes, checksum.
pub const HEADER_LEN: usize = 6 + DEFINED_LEN;

/// The least header_size, which counts what follows it, in bytes.
const DEFINED_LEN: usize = 48;

/// Flag: the block extends to the end of the file, and the sizes in its header are to be ignored.
const STREAMED: u32 = 1;

/// Where the data of a block are. Offsets are in bytes from the start of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Where the data begin.
    pub data_offset: u64,
    /// Bytes reserved for the data; the next block begins behind them.
    pub allocated: u64,
    /// Bytes of the data as stored.
    pub used: u64,
    /// Bytes of the data once uncompressed.
    pub unpacked: u64,
    /// The code of the compression, such as `zlib`, `bzp2` or `lz4`.
    pub compression: Option<String>,
    /// Whether the block goes on to the end of the file.
    pub streamed: bool,
}

/// Whether a block begins here. This is the test that a guessed offset has to pass.
pub fn is_block_start(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Reads the header at `offset` in a file of `file_size` bytes, of which `bytes` are the first [`HEADER_LEN`] bytes or more.
pub fn parse(offset: u64, bytes: &[u8], file_size: u64) -> Result<Block, HeaderError> {
    let mut fields = Fields(bytes.strip_prefix(MAGIC).ok_or(HeaderError::NotAHeader)?);
    let header_size = u16::from_be_bytes(fields.take()?);
    if usize::from(header_size) < DEFINED_LEN {
        return Err(HeaderError::OutOfRange("header_size".to_owned()));
    }
    let data_offset = offset.checked_add(6 + u64::from(header_size)).ok_or(HeaderError::TooLarge)?;
    if data_offset > file_size {
        return Err(HeaderError::CutShort);
    }
    let streamed = u32::from_be_bytes(fields.take()?) & STREAMED != 0;
    let compression = compression(fields.take()?);
    let [mut allocated, mut used, mut unpacked] = [fields.u64()?, fields.u64()?, fields.u64()?];
    if streamed {
        allocated = file_size.saturating_sub(data_offset);
        (used, unpacked) = (allocated, allocated);
    }
    data_offset.checked_add(allocated).filter(|end| i64::try_from(*end).is_ok()).ok_or(HeaderError::TooLarge)?;
    Ok(Block { data_offset, allocated, used: used.min(allocated), unpacked, compression, streamed })
}

/// The code of the compression: up to four characters, filled up with zeros; four zeros stand for none.
fn compression(field: [u8; 4]) -> Option<String> {
    let code = field.split(|byte| *byte == 0).next().filter(|code| !code.is_empty())?;
    Some(code.iter().map(|byte| if byte.is_ascii_graphic() { char::from(*byte) } else { '?' }).collect())
}

/// The fields of a header, which are big-endian.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], HeaderError> {
        let (field, rest) = self.0.split_first_chunk::<N>().ok_or(HeaderError::CutShort)?;
        self.0 = rest;
        Ok(*field)
    }

    fn u64(&mut self) -> Result<u64, HeaderError> {
        self.take().map(u64::from_be_bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fits::asdf::testing::block_header;

    #[test]
    fn fields_are_read() {
        let header = block_header(0, b"zlib", [100, 80, 400]);
        let found = parse(1000, &header, 5000).unwrap();
        let expected = Block {
            data_offset: 1054,
            allocated: 100,
            used: 80,
            unpacked: 400,
            compression: Some("zlib".to_owned()),
            streamed: false,
        };
        assert_eq!(found, expected);
        assert_eq!(parse(0, &block_header(0, b"\0\0\0\0", [1; 3]), 500).unwrap().compression, None);
        assert_eq!(parse(0, &block_header(0, b"lz4\0", [1; 3]), 500).unwrap().compression.as_deref(), Some("lz4"));
        assert_eq!(parse(0, &block_header(0, b"\xff\nzz", [1; 3]), 500).unwrap().compression.as_deref(), Some("??zz"));
    }

    #[test]
    fn a_longer_header_moves_the_data() {
        let mut header = block_header(0, b"\0\0\0\0", [5, 5, 5]);
        header[5] = 60;
        assert_eq!(parse(0, &header, 1000).unwrap().data_offset, 66);
        header[5] = 47;
        assert_eq!(parse(0, &header, 1000), Err(HeaderError::OutOfRange("header_size".to_owned())));
    }

    #[test]
    fn a_streamed_block_takes_the_rest_of_the_file() {
        let block = parse(46, &block_header(1, b"\0\0\0\0", [0, 7, u64::MAX]), 1000).unwrap();
        assert_eq!((block.allocated, block.used, block.unpacked, block.streamed), (900, 900, 900, true));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let header = block_header(0, b"\0\0\0\0", [u64::MAX, 1, 1]);
        assert_eq!(parse(0, &header, 1000), Err(HeaderError::TooLarge));
        assert_eq!(parse(0, &header[..30], 1000), Err(HeaderError::CutShort));
        assert_eq!(parse(0, &header, 53), Err(HeaderError::CutShort));
        assert_eq!(parse(0, b"\xd3BLX", 53), Err(HeaderError::NotAHeader));
        assert_eq!(parse(0, &block_header(0, b"\0\0\0\0", [5, 9, 9]), 1000).unwrap().used, 5);
    }

    proptest! {
        #[test]
        fn any_bytes_are_handled(offset: u64, size: u64, rest in prop::collection::vec(any::<u8>(), 0..80)) {
            let bytes = [&MAGIC[..], &rest].concat();
            if let Ok(block) = parse(offset, &bytes, size) {
                prop_assert!(block.used <= block.allocated && block.data_offset > offset);
                prop_assert!(i64::try_from(block.data_offset + block.allocated).is_ok());
            }
        }
    }
}
