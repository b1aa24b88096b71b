//! The entries of one directory, packed: one takes its name and some 60 bytes, a third of what it takes unpacked.
//!
//! Entries keep the position at which they were added. The oldest ones can be dropped; what is left keeps its position.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hashbrown::HashTable;
use serde::{Deserialize, Serialize};

use super::entry::{Entry, Node};
use crate::store::{ObjectMeta, StorageClass, Version};

/// At most so many entries are dropped at a time: about those of a page of a listing. Tests list less.
const CHUNK: usize = if cfg!(test) { 4 } else { 1024 };

/// What an entry takes in the table of names, in bytes: a position and a byte, at the table's usual load of two thirds.
const SLOT: usize = 8;

/// Names and what they stand for, by position and by name.
#[derive(Debug)]
pub struct Packed {
    prefix: Box<str>,
    chunks: VecDeque<Chunk>,
    end: usize,
    positions: HashTable<u32>,
    hasher: RandomState,
    bytes: usize,
}

#[derive(Debug)]
struct Chunk {
    /// The position of the first entry.
    first: usize,
    bytes: Vec<u8>,
    /// Where the entries begin.
    starts: Vec<u32>,
}

/// An entry without what all of a directory have in common.
#[derive(Debug, Deserialize, Serialize)]
struct Item<'a> {
    name: &'a str,
    /// None if it is a directory.
    #[serde(borrow)]
    file: Option<File<'a>>,
}

#[derive(Debug, Deserialize, Serialize)]
struct File<'a> {
    size: u64,
    /// Nanoseconds since 1970, or before it.
    modified: i128,
    etag: Option<&'a str>,
    id: Option<&'a str>,
    class: Option<(&'a str, bool)>,
}

impl Packed {
    /// No entries yet of the directory of a key prefix, which is empty or ends with `/`.
    pub fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.into(),
            chunks: VecDeque::new(),
            end: 0,
            positions: HashTable::new(),
            hasher: RandomState::new(),
            bytes: 0,
        }
    }

    /// The position of the first entry that is still there, or that behind the last one.
    pub fn first(&self) -> usize {
        self.chunks.front().map_or(self.end, |chunk| chunk.first)
    }

    /// The position behind the last entry.
    pub fn end(&self) -> usize {
        self.end
    }

    /// How much memory the entries take, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes + (self.end - self.first()) * (SLOT + size_of::<u32>())
    }

    /// Adds an entry behind the others. Its name must not be there.
    pub fn push(&mut self, entry: &Entry) {
        if self.chunks.back().is_none_or(|chunk| chunk.starts.len() == CHUNK) {
            self.chunks.push_back(Chunk { first: self.end, bytes: Vec::new(), starts: Vec::new() });
        }
        let Some(chunk) = self.chunks.back_mut() else { return };
        let (Some(start), Ok(position)) = (chunk.write(entry), u32::try_from(self.end)) else { return };
        self.bytes += chunk.bytes.len() - start as usize;
        chunk.starts.push(start);
        self.end += 1;
        let (hasher, chunks) = (&self.hasher, &self.chunks);
        let hash = |position: &u32| hasher.hash_one(item(chunks, *position as usize).map(|item| item.name));
        self.positions.insert_unique(hasher.hash_one(Some(&*entry.name)), position, hash);
    }

    /// Puts another entry in the place of one of the same name.
    pub fn replace(&mut self, position: usize, entry: &Entry) {
        let Some(chunk) = self.chunks.iter_mut().rfind(|chunk| chunk.first <= position) else { return };
        let index = position - chunk.first;
        if index < chunk.starts.len()
            && let Some(start) = chunk.write(entry)
        {
            self.bytes += chunk.bytes.len() - start as usize;
            chunk.starts[index] = start;
        }
    }

    /// Drops the oldest entries, some of them. Calls `forget` with each of their names.
    pub fn drop_oldest(&mut self, mut forget: impl FnMut(&str)) {
        let Some(oldest) = self.chunks.front() else { return };
        for position in oldest.first..oldest.first + oldest.starts.len() {
            let Some(name) = item(&self.chunks, position).map(|item| item.name) else { continue };
            forget(name);
            let hash = self.hasher.hash_one(Some(name));
            if let Ok(slot) = self.positions.find_entry(hash, |found| *found as usize == position) {
                slot.remove();
            }
        }
        self.bytes -= oldest.bytes.len();
        self.chunks.pop_front();
    }

    /// Where the entry of a name is.
    pub fn find(&self, name: &str) -> Option<usize> {
        let is = |position: &u32| self.item(*position as usize).is_some_and(|item| item.name == name);
        self.positions.find(self.hasher.hash_one(Some(name)), is).map(|position| *position as usize)
    }

    /// The entry at a position.
    pub fn get(&self, position: usize) -> Option<Entry> {
        self.item(position).map(|item| item.unpack(&self.prefix))
    }

    /// The first file whose name is as asked for.
    pub fn find_file(&self, is_wanted: impl Fn(&str) -> bool) -> Option<Arc<ObjectMeta>> {
        let items = (self.first()..self.end).filter_map(|position| self.item(position));
        let mut wanted = items.filter(|item| item.file.is_some() && is_wanted(item.name));
        match wanted.next()?.unpack(&self.prefix).node {
            Node::File(object) => Some(object),
            Node::Directory => None,
        }
    }

    fn item(&self, position: usize) -> Option<Item<'_>> {
        item(&self.chunks, position)
    }
}

fn item(chunks: &VecDeque<Chunk>, position: usize) -> Option<Item<'_>> {
    let chunk = chunks.get(chunks.partition_point(|chunk| chunk.first <= position).checked_sub(1)?)?;
    let start = *chunk.starts.get(position - chunk.first)?;
    postcard::from_bytes(chunk.bytes.get(start as usize..)?).ok()
}

impl Chunk {
    /// Writes an entry down; where it begins. None if there is no room: a thousand entries of usual length take some
    /// hundred kilobytes of the four gigabytes.
    fn write(&mut self, entry: &Entry) -> Option<u32> {
        let start = u32::try_from(self.bytes.len()).ok()?;
        self.bytes = postcard::to_extend(&Item::of(entry), std::mem::take(&mut self.bytes)).ok()?;
        Some(start)
    }
}

impl<'a> Item<'a> {
    fn of(entry: &'a Entry) -> Self {
        let file = match &entry.node {
            Node::Directory => None,
            Node::File(object) => Some(File {
                size: object.size,
                modified: since_1970(object.last_modified),
                etag: object.version.etag.as_deref(),
                id: object.version.id.as_deref(),
                class: object.storage_class.as_ref().map(StorageClass::parts),
            }),
        };
        Self { name: &entry.name, file }
    }

    fn unpack(self, prefix: &str) -> Entry {
        let Self { name, file } = self;
        let node = match file {
            None => Node::Directory,
            Some(file) => Node::File(Arc::new(ObjectMeta {
                key: format!("{prefix}{name}"),
                size: file.size,
                last_modified: time_of(file.modified),
                version: Version { etag: file.etag.map(Arc::from), id: file.id.map(Arc::from) },
                storage_class: file.class.map(StorageClass::from),
            })),
        };
        Entry { name: name.into(), node }
    }
}

fn since_1970(time: SystemTime) -> i128 {
    let nanos = |duration: Duration| i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX);
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => nanos(since),
        Err(before) => -nanos(before.duration()),
    }
}

fn time_of(nanos: i128) -> SystemTime {
    let length = Duration::from_nanos_u128(nanos.unsigned_abs());
    let time = match nanos < 0 {
        false => SystemTime::UNIX_EPOCH.checked_add(length),
        true => SystemTime::UNIX_EPOCH.checked_sub(length),
    };
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(prefix: &str, name: String, file: Option<(u64, i64, Option<String>)>) -> Entry {
        let node = match file {
            None => Node::Directory,
            Some((size, modified, text)) => Node::File(Arc::new(ObjectMeta {
                key: format!("{prefix}{name}"),
                size,
                last_modified: time_of(i128::from(modified)),
                version: Version { etag: text.as_deref().map(Arc::from), id: None },
                storage_class: text.as_deref().map(|name| StorageClass::from((name, modified % 2 == 0))),
            })),
        };
        Entry { name: name.into(), node }
    }

    proptest! {
        #[test]
        fn what_comes_out_went_in(
            prefix in "([a-z]{1,3}/)?",
            files in proptest::collection::btree_map(
                "\\PC{1,12}",
                proptest::option::of((any::<u64>(), any::<i64>(), proptest::option::of("\\PC{0,40}"))),
                0..60,
            ),
            replaced in any::<proptest::sample::Index>(),
        ) {
            let mut entries: Vec<Entry> = files.into_iter().map(|(name, file)| entry(&prefix, name, file)).collect();
            let mut packed = Packed::new(&prefix);
            entries.iter().for_each(|entry| packed.push(entry));
            if !entries.is_empty() {
                let place = replaced.index(entries.len());
                entries[place] = entry(&prefix, entries[place].name.to_string(), None);
                packed.replace(place, &entries[place]);
            }
            prop_assert_eq!(packed.end(), entries.len());
            for (position, entry) in entries.iter().enumerate() {
                prop_assert_eq!(packed.get(position), Some(entry.clone()));
                prop_assert_eq!(packed.find(&entry.name), Some(position));
            }
            prop_assert_eq!(packed.get(entries.len()), None);
            prop_assert_eq!(packed.find("\0"), None);
        }
    }

    #[test]
    fn the_oldest_are_dropped_and_the_others_stay_where_they_are() {
        let file = |n: usize| entry("", format!("{n:03}"), Some((n as u64, 0, None)));
        let mut packed = Packed::new("");
        (0..4 * CHUNK + 1).for_each(|n| packed.push(&file(n)));
        let (before, mut forgotten) = (packed.bytes(), 0);
        packed.drop_oldest(|_| forgotten += 1);
        assert_eq!((packed.first(), packed.end(), forgotten), (CHUNK, 4 * CHUNK + 1, CHUNK));
        assert!(packed.bytes() < before - CHUNK * SLOT);
        assert_eq!((packed.get(CHUNK - 1), packed.find("003")), (None, None));
        assert_eq!((packed.get(CHUNK), packed.find("004")), (Some(file(CHUNK)), Some(CHUNK)));
        (0..9).for_each(|_| packed.drop_oldest(|_| {}));
        assert_eq!((packed.first(), packed.bytes(), packed.find("016")), (4 * CHUNK + 1, 0, None));
        packed.push(&file(4 * CHUNK + 1));
        assert_eq!((packed.find("017"), packed.get(4 * CHUNK)), (Some(4 * CHUNK + 1), None));
    }

    #[test]
    fn an_entry_takes_little_more_than_its_texts() {
        let mut packed = Packed::new("mast/jwst/public/jw01783/");
        let etag = Some(format!("\"{}\"", "0".repeat(32)));
        let file = |n: u64| Some((117_504_000 + n, 1_700_000_000_000_000_000, etag.clone()));
        let mut add =
            |n| packed.push(&entry("mast/jwst/public/jw01783/", format!("jw01783004007_{n:06}_rate.fits"), file(n)));
        (0..10_000).for_each(&mut add);
        // Here the class is as long as the tag.
        assert!(packed.bytes() / 10_000 < 31 + 2 * 34 + 40, "{}", packed.bytes() / 10_000);
    }
}
