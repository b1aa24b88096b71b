//! The block index (ASDF Standard 1.6.0, "Low-level file layout", "Block index"): a hint of where the blocks are.
//!
//! Invariants: nothing here fails on any bytes; what comes out is ascending and has no more entries than the bytes have
//! lines. Whether a block begins at any of the offsets remains to be seen.

/// The line that the index begins with.
pub const MARKER: &[u8] = b"#ASDF BLOCK INDEX";

/// So many bytes at the end of a file are read for its index: some 600 offsets of eleven digits. No more, so that a planner
/// which guesses that a header has three FITS blocks gets it with one guess. Of a longer index the end is read, which tells
/// of the last blocks.
pub const TAIL_LEN: u64 = 8 << 10;

/// The offsets of blocks in `tail`, the last bytes of a file; none if they do not end as an index does.
pub fn offsets(tail: &[u8]) -> Vec<u64> {
    let mut lines = tail.trim_ascii_end().rsplit(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    if lines.next() != Some(b"...") {
        return Vec::new();
    }
    let mut found: Vec<u64> = lines.map_while(entry).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// The number in a line of a YAML sequence, such as `- 2043`.
fn entry(line: &[u8]) -> Option<u64> {
    str::from_utf8(line.strip_prefix(b"-")?.trim_ascii()).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_index_of_the_standard() {
        let tail = b"...data\n#ASDF BLOCK INDEX\n%YAML 1.1\n---\n- 2043\n- 16340\n...\n";
        assert_eq!(offsets(tail), [2043, 16340]);
        let windows = b"#ASDF BLOCK INDEX\r\n%YAML 1.2\r\n---\r\n- 2043\r\n- 16340\r\n...\r\n";
        assert_eq!(offsets(windows), [2043, 16340]);
    }

    #[test]
    fn the_end_of_a_long_index_tells_of_the_last_blocks() {
        assert_eq!(offsets(b"43\n- 16340\n- 20000\n...\n"), [16340, 20000]);
    }

    #[test]
    fn what_is_no_index_gives_nothing() {
        for tail in
            [&b""[..], b"\n...\n", b"- 5\n- 6\n", b"#ASDF BLOCK INDEX\n- 5\n...\nmore", b"- x\n...\n", b"- -3\n...\n"]
        {
            assert_eq!(offsets(tail), [0_u64; 0], "{tail:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_handled(bytes in prop::collection::vec(any::<u8>(), 0..300), text in "[-0-9 .\n]{0,200}") {
            let _ = offsets(&bytes);
            let found = offsets(text.as_bytes());
            prop_assert!(found.is_sorted() && found.len() <= text.lines().count());
        }
    }
}
