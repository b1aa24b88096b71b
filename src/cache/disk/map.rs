//! The map of a cached object version: what it is a copy of, which of its pages are there, and their checksums.
//!
//! ```text
//! 0      magic line, "<16 hex digits: xxh3 of the rest> <JSON of the identity>\n"
//! 3584   how often a program has opened the file, u64, and when the last one did, ms since 1970
//! 3600   1 once the kernel was given the file to read by itself, u64
//! 4096   a record for every 511 pages: when they were last used (u64, ms since 1970), then a u64 for each page
//! ```
//!
//! All numbers are little-endian. The entry of a page is 0 while the page is not there; else the xxh3 of its bytes,
//! seeded with the identity and the place of the page, with the lowest bit for its worth. So a page that was damaged,
//! swapped with another, never written, or belongs to another version does not match its entry, and what does not match
//! is not there. Entries are written after their pages, and nothing is ever synced: after a crash of a process the
//! kernel has both, after one of the machine checksums tell.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

pub use crate::store::Identity;

/// What is present or not, in bytes: a page of memory. The last page of an object may be shorter.
pub const PAGE: u64 = 4096;

/// Pages of a record: as many as make it 4096 bytes.
pub const PAGES_OF_RECORD: u64 = 511;

/// Bytes of the object that a record is for: a *region*, which is used and given up as a whole.
pub const REGION: u64 = PAGES_OF_RECORD * PAGE;

/// Bytes before the first record.
pub const HEADER: u64 = 4096;

/// Bytes of a record.
pub const RECORD: u64 = 4096;

/// Where the number of opens is.
pub const OPENS_AT: u64 = 3584;

/// Where the time of the last open is.
pub const OPENED_AT: u64 = OPENS_AT + 8;

/// Where it is noted that the kernel was given the file.
pub const BACKING_AT: u64 = OPENED_AT + 8;

const MAGIC: &str = "fitsfs cache map 1\n";

/// How long a page is worth keeping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worth {
    /// Data: as long as they are used.
    Data,
    /// Headers: small, and everyone needs them.
    Header,
}

/// What a map tells of what it is a map of.
impl Identity {
    /// The first bytes of the map: none if they do not fit, as with a very long key.
    pub fn header(&self) -> Option<Vec<u8>> {
        let json = serde_json::to_string(self).ok()?;
        let header = format!("{MAGIC}{:016x} {json}\n", xxh3_64(json.as_bytes())).into_bytes();
        (header.len() as u64 <= OPENS_AT).then_some(header)
    }

    /// The identity that the first bytes of a map tell; none if they are damaged.
    pub fn parse(header: &[u8]) -> Option<Self> {
        let text = header.strip_prefix(MAGIC.as_bytes())?;
        let line = text.split(|byte| *byte == b'\n').next()?;
        let (checksum, json) = line.split_at_checked(16)?;
        let json = json.strip_prefix(b" ")?;
        let expected = u64::from_str_radix(std::str::from_utf8(checksum).ok()?, 16).ok()?;
        (xxh3_64(json) == expected).then(|| serde_json::from_slice(json).ok())?
    }

    /// The name of its files: 32 hexadecimal digits.
    pub fn name(&self) -> String {
        format!("{:032x}", self.hash())
    }

    /// What its pages are seeded with.
    pub fn seed(&self) -> u64 {
        self.hash() as u64
    }
}

/// The entry of a page with these bytes.
pub fn entry_of(seed: u64, page: u64, bytes: &[u8], worth: Worth) -> u64 {
    let checksum = xxh3_64_with_seed(bytes, seed.wrapping_add(page.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    // An entry is never 0, whatever the checksum.
    (checksum & !3) | 2 | u64::from(worth == Worth::Header)
}

/// Whether an entry is that of these bytes.
pub fn matches(entry: u64, seed: u64, page: u64, bytes: &[u8]) -> bool {
    entry | 1 == entry_of(seed, page, bytes, Worth::Header)
}

/// What a page is worth by its entry.
pub fn worth_of(entry: u64) -> Worth {
    if entry & 1 == 1 { Worth::Header } else { Worth::Data }
}

/// How many regions an object of `size` bytes has.
pub fn regions(size: u64) -> u64 {
    size.div_ceil(REGION)
}

/// The length of the map of an object of `size` bytes.
pub fn length(size: u64) -> u64 {
    HEADER + regions(size) * RECORD
}

/// Where the record of a region is.
pub fn record_at(region: u64) -> u64 {
    HEADER + region * RECORD
}

/// Where the entry of a page is.
pub fn entry_at(page: u64) -> u64 {
    record_at(page / PAGES_OF_RECORD) + 8 + page % PAGES_OF_RECORD * 8
}

/// The numbers in bytes of a map.
pub fn numbers(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.as_chunks().0.iter().map(|number| u64::from_le_bytes(*number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn identity(key: &str) -> Identity {
        let etag = Some("\"a\"".to_owned());
        Identity { store: "s3://here/bucket".into(), key: key.into(), etag, id: None, modified_ns: None, size: 10_000 }
    }

    proptest! {
        #[test]
        fn a_header_comes_back_or_is_refused(key in "\\PC{0,300}", flipped in 0usize..400, bit in 0u8..8) {
            let identity = identity(&key);
            let Some(mut header) = identity.header() else { return Ok(()) };
            prop_assert_eq!(Identity::parse(&header), Some(identity.clone()));
            let at = flipped.min(header.len() - 1);
            header[at] ^= 1 << bit;
            let parsed = Identity::parse(&header);
            // What stands behind the line, or the case of a hexadecimal digit, tells nothing.
            prop_assert!(parsed.is_none() || parsed == Some(identity));
        }

        #[test]
        fn an_entry_fits_its_page_alone(bytes in proptest::collection::vec(any::<u8>(), 1..64), page in 0u64..1000, seed: u64) {
            for worth in [Worth::Data, Worth::Header] {
                let entry = entry_of(seed, page, &bytes, worth);
                prop_assert!(entry != 0 && worth_of(entry) == worth && matches(entry, seed, page, &bytes));
                prop_assert!(!matches(entry, seed, page + 1, &bytes));
                prop_assert!(!matches(0, seed, page, &bytes));
                let mut damaged = bytes.clone();
                damaged[0] ^= 1;
                prop_assert!(!matches(entry, seed, page, &damaged));
            }
        }
    }

    #[test]
    fn places_in_the_map_do_not_overlap() {
        assert_eq!((entry_at(0), entry_at(510), entry_at(511)), (4104, 8184, 8200));
        assert_eq!((length(0), length(1), length(REGION), length(REGION + 1)), (4096, 8192, 8192, 12288));
    }
}
