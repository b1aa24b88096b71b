//! The header of a gzip member (RFC 1952), fed with bytes as they come. Names and comments are skipped, of any length.

use crc32fast::Hasher;

use super::Damage;

/// The fixed part: magic, method, flags, time, two hints.
const FIXED: usize = 10;

/// The only method that there is.
const DEFLATE: u8 = 8;

/// Flags: what follows the fixed part, in this order but for the checksum, which is last.
const CHECKED: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAMED: u8 = 1 << 3;
const COMMENTED: u8 = 1 << 4;
const RESERVED: u8 = 0b1110_0000;

/// A header that is being read.
#[derive(Debug, Default)]
pub struct Header {
    part: Part,
    flags: u8,
    /// Bytes of the part so far, as far as they are looked at.
    seen: [u8; FIXED],
    count: usize,
    checksum: Hasher,
}

#[derive(Clone, Copy, Debug, Default)]
enum Part {
    #[default]
    Fixed,
    ExtraLength,
    Extra(u16),
    Name,
    Comment,
    Checksum,
    Over,
}

impl Header {
    /// Takes bytes, and tells how many of them were the header's. It is over when that is less than all, or
    /// [`Header::is_over`] says so.
    pub fn feed(&mut self, input: &[u8]) -> Result<usize, Damage> {
        let mut consumed = 0;
        while !self.is_over() {
            let Some(rest) = input.get(consumed..).filter(|rest| !rest.is_empty()) else { break };
            consumed += self.take(rest)?;
        }
        Ok(consumed)
    }

    /// Whether the compressed data follow.
    pub fn is_over(&self) -> bool {
        matches!(self.part, Part::Over)
    }

    /// Takes bytes of one part, at least one.
    fn take(&mut self, input: &[u8]) -> Result<usize, Damage> {
        let taken = match self.part {
            Part::Fixed => self.collect(input, FIXED),
            Part::ExtraLength | Part::Checksum => self.collect(input, 2),
            Part::Extra(left) => input.len().min(usize::from(left)),
            Part::Name | Part::Comment => input.iter().position(|byte| *byte == 0).map_or(input.len(), |end| end + 1),
            Part::Over => 0,
        };
        let bytes = &input[..taken];
        if !matches!(self.part, Part::Checksum) {
            self.checksum.update(bytes);
        }
        self.go_on(bytes)?;
        Ok(taken)
    }

    fn collect(&mut self, input: &[u8], wanted: usize) -> usize {
        let taken = input.len().min(wanted - self.count);
        self.seen[self.count..self.count + taken].copy_from_slice(&input[..taken]);
        self.count += taken;
        taken
    }

    /// To the next part, if this one is complete with these bytes.
    fn go_on(&mut self, bytes: &[u8]) -> Result<(), Damage> {
        let number = u16::from_le_bytes([self.seen[0], self.seen[1]]);
        match self.part {
            Part::Fixed if self.count == FIXED => {
                self.check_fixed()?;
                self.enter(Part::ExtraLength);
            }
            Part::ExtraLength if self.count == 2 && number == 0 => self.enter(Part::Name),
            Part::ExtraLength if self.count == 2 => self.part = Part::Extra(number),
            Part::Extra(left) if usize::from(left) == bytes.len() => self.enter(Part::Name),
            Part::Extra(left) => self.part = Part::Extra(left - bytes.len() as u16),
            Part::Name if bytes.last() == Some(&0) => self.enter(Part::Comment),
            Part::Comment if bytes.last() == Some(&0) => self.enter(Part::Checksum),
            Part::Checksum if self.count == 2 => {
                if u32::from(number) != self.checksum.clone().finalize() & 0xffff {
                    return Err(Damage("the checksum of a header does not match"));
                }
                self.enter(Part::Over);
            }
            _ => {}
        }
        Ok(())
    }

    fn check_fixed(&mut self) -> Result<(), Damage> {
        let [magic_0, magic_1, method, flags, ..] = self.seen;
        if [magic_0, magic_1, method] != [0x1f, 0x8b, DEFLATE] || flags & RESERVED != 0 {
            return Err(Damage("there is no gzip header where one has to be"));
        }
        self.flags = flags;
        Ok(())
    }

    /// The first part from this one on that the header has.
    fn enter(&mut self, part: Part) {
        self.count = 0;
        let has = |flag| self.flags & flag != 0;
        self.part = match part {
            Part::ExtraLength if !has(EXTRA) => return self.enter(Part::Name),
            Part::Name if !has(NAMED) => return self.enter(Part::Comment),
            Part::Comment if !has(COMMENTED) => return self.enter(Part::Checksum),
            Part::Checksum if !has(CHECKED) => Part::Over,
            part => part,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with these parts, and its length.
    fn header(extra: Option<&[u8]>, name: Option<&[u8]>, comment: Option<&[u8]>, is_checked: bool) -> Vec<u8> {
        let flag = |has: bool, flag: u8| if has { flag } else { 0 };
        let flags = flag(extra.is_some(), EXTRA) | flag(name.is_some(), NAMED) | flag(comment.is_some(), COMMENTED);
        let mut bytes = vec![0x1f, 0x8b, 8, flags | flag(is_checked, CHECKED), 1, 2, 3, 4, 0, 255];
        if let Some(extra) = extra {
            bytes.extend((extra.len() as u16).to_le_bytes());
            bytes.extend(extra);
        }
        for text in [name, comment].into_iter().flatten() {
            bytes.extend(text);
            bytes.push(0);
        }
        if is_checked {
            let checksum = crc32fast::hash(&bytes) as u16;
            bytes.extend(checksum.to_le_bytes());
        }
        bytes
    }

    /// Every combination of parts, fed in chunks of every small length, with compressed data behind it.
    #[test]
    fn a_header_ends_where_it_ends() {
        let (none, some) = (None::<&[u8]>, Some(&b"abcdefgh"[..]));
        let empty = Some(&b""[..]);
        for extra in [none, some, empty] {
            for (name, comment) in [(none, none), (some, none), (none, some), (some, empty), (empty, some)] {
                for is_checked in [false, true] {
                    let bytes = header(extra, name, comment, is_checked);
                    for chunk in 1..=bytes.len() + 3 {
                        let (mut parsed, mut consumed) = (Header::default(), 0);
                        for input in [&bytes[..], &[0xff; 9]].concat().chunks(chunk) {
                            if !parsed.is_over() {
                                consumed += parsed.feed(input).unwrap();
                            }
                        }
                        assert!(parsed.is_over() && consumed == bytes.len(), "{bytes:?} in chunks of {chunk}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_no_header_is_told() {
        let good = header(Some(b"ab"), None, None, true);
        for (at, bit) in (0..good.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut damaged = good.clone();
            damaged[at] ^= 1 << bit;
            let mut parsed = Header::default();
            let told = parsed.feed(&damaged).is_err() || !parsed.is_over();
            // Without the flag no checksum is expected.
            assert!(told || (at == 3 && bit == 1), "byte {at}, bit {bit}");
        }
    }
}
