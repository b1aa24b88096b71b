//! The class of a file: files of one product type share a layout, and programs do the same with each of them.
//!
//! The class is the pattern of the whole key, since archives keep each dataset in a folder of its own. What tells one
//! dataset from another is a wildcard in it; what tells one product type from another stays: the suffix (`_rate`,
//! `_drc`, `_x1d`), the ending, and words. Names do not say which is which, so there are three patterns, from the
//! closest likeness to the loosest, and the closest that is known counts:
//!
//! - *numbers* are wildcards: `jw01783/jw01783004007/jw01783004007_02101_00004_nrcalong_rate.fits` is
//!   `jw#/jw#/jw#_#_#_nrcalong_rate.fits`;
//! - *identifiers* are: each part of a name with a digit in it, and folders named like the beginning of one:
//!   `jcdm/jcdm32zzq/jcdm32zzq_drc.fits` is `*/*/*_drc.fits`;
//! - *names* are: all but folders and suffix.
//!
//! A class is evidence, not proof: what follows from it is a guess that the bytes prove, and size refines it.

use std::sync::Arc;

/// The patterns of a key, from the closest likeness to the loosest.
const LEVELS: usize = 3;

/// A product type with digits in it has at most so many characters and digits: `x1d`, `s2d`, `c0m`, `x1dints`, `x1dsum10`.
const MAX_SUFFIX: usize = 8;
const MAX_SUFFIX_DIGITS: usize = 3;

/// Letters in a row, inside of an identifier, that are a word: `P0123700101M1S001MIEVLI0000`. The identifiers of HST are
/// letters and digits at random, six letters in a row are rare.
const WORD: usize = 6;

/// Hexadecimal digits in a row that are an identifier if there are digits and letters among them: half of what a
/// checksum of 64 bits has.
const HEXADECIMAL: usize = 8;

/// A checksum has at least so many letters.
const MIN_LETTERS: usize = 2;

/// The groups of a UUID.
const UUID: [usize; 5] = [8, 4, 4, 4, 12];

/// The patterns of a key or name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class([Arc<str>; LEVELS]);

impl Class {
    /// The level of likeness that tells product types apart and nothing else.
    pub const PRODUCT_TYPE: usize = 1;

    /// The class of a key, or of a name in a folder.
    pub fn of(key: &str) -> Self {
        Self(std::array::from_fn(|level| pattern_at(key, level).into()))
    }

    /// How close the likeness to another class is, 0 the closest; none if they are different.
    pub fn likeness(&self, other: &Self) -> Option<usize> {
        self.0.iter().zip(&other.0).position(|(own, others)| own == others)
    }

    /// The patterns, from the closest likeness to the loosest.
    pub fn patterns(&self) -> &[Arc<str>] {
        &self.0
    }

    /// What files of this product type have in common, and no others.
    pub fn product_type(&self) -> &Arc<str> {
        &self.0[Self::PRODUCT_TYPE]
    }

    /// What is in common by the loosest likeness.
    pub fn loosest(&self) -> &Arc<str> {
        &self.0[LEVELS - 1]
    }

    /// Whether a key or name is of this product type.
    pub fn is_of(&self, key: &str) -> bool {
        self.has(key, Self::PRODUCT_TYPE)
    }

    /// Whether a key or name is as like this one as `level` says.
    pub fn has(&self, key: &str, level: usize) -> bool {
        self.0.get(level).is_some_and(|own| **own == *pattern_at(key, level))
    }
}

/// The pattern of a key, of this level of likeness.
fn pattern_at(key: &str, level: usize) -> String {
    let (folders, name) = key.rsplit_once('/').map_or((None, key), |(folders, name)| (Some(folders), name));
    let folders: Vec<&str> = folders.map(|folders| folders.split('/').collect()).unwrap_or_default();
    let mut patterns = match level {
        0 => folders.iter().map(|folder| pattern(folder, numbers)).collect(),
        _ => folder_identifiers(&folders, name),
    };
    patterns.push(match level {
        0 => pattern_of_file(name, numbers),
        1 => pattern_of_file(name, identifier),
        _ => format!("*{}", suffix(name)),
    });
    patterns.join("/")
}

/// The pattern of a name whose parts are taken for what `wild` makes of them. UUIDs and checksums are always wildcards.
fn pattern(name: &str, wild: fn(&str) -> String) -> String {
    let mut pattern = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        let uuid = uuid_len(rest);
        let part = match rest.find(|c| !is_of_part(c)) {
            _ if uuid > 0 => &rest[..uuid],
            Some(0) => &rest[..first.len_utf8()],
            Some(end) => &rest[..end],
            None => rest,
        };
        match uuid > 0 || is_checksum(part) {
            true => pattern.push('*'),
            false if part.contains(|c: char| c.is_ascii_digit()) => pattern += &wild(part),
            false => pattern += part,
        }
        rest = &rest[part.len()..];
    }
    pattern
}

/// The same of the name of a file, where the part before the ending may tell the product type.
fn pattern_of_file(name: &str, wild: fn(&str) -> String) -> String {
    let stem = name.len() - ending(name).len();
    let begin = name[..stem].rfind(['_', '-']).map_or(stem, |at| at + 1);
    match product_type(&name[begin..stem]) {
        Some(kept) => format!("{}{kept}{}", pattern(&name[..begin], wild), &name[stem..]),
        None => pattern(name, wild),
    }
}

/// A part with each run of digits as one `#`.
fn numbers(part: &str) -> String {
    let mut pattern = String::with_capacity(part.len());
    for c in part.chars() {
        match c.is_ascii_digit() {
            true if pattern.ends_with('#') => {}
            true => pattern.push('#'),
            false => pattern.push(c),
        }
    }
    pattern
}

/// A part that has digits as one `*`, but for the words in it.
fn identifier(part: &str) -> String {
    let words = part.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| word.len() >= WORD);
    words.fold("*".to_owned(), |pattern, word| pattern + word + "*")
}

/// What stays of the part before the ending if it tells the product type: digits within letters count (`x1d`, `s2d`),
/// those behind them are a number (`evt2`, `v1`). None if it is an identifier.
fn product_type(part: &str) -> Option<String> {
    let digits = part.bytes().filter(u8::is_ascii_digit).count();
    let is_type = part.starts_with(|c: char| c.is_ascii_alphabetic())
        && part.chars().all(is_of_part)
        && (digits == 0 || (part.len() <= MAX_SUFFIX && digits <= MAX_SUFFIX_DIGITS));
    is_type.then(|| {
        let letters = part.trim_end_matches(|c: char| c.is_ascii_digit());
        format!("{letters}{}", if letters.len() < part.len() { "#" } else { "" })
    })
}

/// The folders of a file with identifiers as wildcards. A folder named like the beginning of an identifier in it is one
/// itself, digits or not.
fn folder_identifiers(folders: &[&str], name: &str) -> Vec<String> {
    let mut patterns = Vec::with_capacity(folders.len());
    let (mut below, mut is_wild) = (name, has_identifier(name));
    for folder in folders.iter().rev() {
        let begins = is_wild && !folder.is_empty() && below.starts_with(folder);
        patterns.push(if begins { "*".to_owned() } else { pattern(folder, identifier) });
        (below, is_wild) = (folder, begins || has_identifier(folder));
    }
    patterns.reverse();
    patterns
}

/// Whether the first part of a name is an identifier.
fn has_identifier(name: &str) -> bool {
    let first = name.split(|c| !is_of_part(c)).next().unwrap_or_default();
    uuid_len(name) > 0 || first.contains(|c: char| c.is_ascii_digit())
}

/// The suffix of a name: from its last underscore on, or its ending.
fn suffix(name: &str) -> String {
    let begin = name.len() - ending(name).len();
    let begin = name[..begin].rfind('_').unwrap_or(begin);
    pattern_of_file(&name[begin..], numbers)
}

/// The ending of a name: at most two dots with letters behind them (`.fits`, `.fits.gz`).
fn ending(name: &str) -> &str {
    let mut begin = name.len();
    for _ in 0..2 {
        match name[..begin].rfind('.') {
            Some(dot) if name[dot + 1..begin].chars().all(|c| c.is_ascii_alphabetic()) => begin = dot,
            _ => break,
        }
    }
    &name[begin..]
}

fn is_of_part(c: char) -> bool {
    c.is_alphanumeric()
}

/// The length of the UUID that a text begins with, or 0.
fn uuid_len(text: &str) -> usize {
    let mut groups = text.splitn(UUID.len() + 1, '-');
    let is_group = |(length, group): (usize, &str)| {
        let hexadecimal = group.bytes().take_while(u8::is_ascii_hexdigit).count();
        (hexadecimal == length).then_some((length, group.len()))
    };
    let mut total = UUID.len() - 1;
    for (n, length) in UUID.into_iter().enumerate() {
        match groups.next().and_then(|group| is_group((length, group))) {
            Some((_, whole)) if whole == length || n + 1 == UUID.len() => total += length,
            _ => return 0,
        }
    }
    total
}

/// Whether a part is hexadecimal and long, with digits and letters: a number behind one letter is none.
fn is_checksum(part: &str) -> bool {
    part.len() >= HEXADECIMAL
        && part.bytes().all(|c| c.is_ascii_hexdigit())
        && part.bytes().any(|c| c.is_ascii_digit())
        && part.bytes().filter(u8::is_ascii_alphabetic).count() >= MIN_LETTERS
}

#[cfg(test)]
mod tests;
