//! Notes beside the names: what was learnt of files while they were read, for the next mount.
//!
//! A note has a name and is a file of its own, `names/ab/HASH.note`, which is replaced as a whole. Like a line of a log it
//! proves itself and says what it is of; what does not is no note. Notes count and are evicted as logs are: those that
//! were not written for longest go first.

use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_128;

use super::log::{make_folder, options, regular};
use super::record::{self, checksum};
use super::{NEW_FILE, Room};

/// A longer note is not kept: some hundred HDUs, or some thousand places.
const MAX_NOTE: u64 = 256 << 10;

/// The notes of a store.
pub struct Notes {
    folder: PathBuf,
    mode: u32,
    room: Room,
    store: Arc<str>,
}

/// What is in a file, after its checksum and a space.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    store: String,
    name: String,
    note: Value,
}

impl std::fmt::Debug for Notes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notes").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Notes {
    /// The notes of the store of this identity that are kept below `dir`, which exists, as long as there is `room`. Files
    /// get this mode.
    pub fn open(dir: &Path, mode: u32, room: Room, store: &str) -> io::Result<Self> {
        let folder = dir.join("names");
        make_folder(&folder, mode)?;
        Ok(Self { folder, mode, room, store: store.into() })
    }

    /// The note of this name; none if there is none that counts. May wait for the disk.
    pub fn read(&self, name: &str) -> Option<Value> {
        let file = options().read(true).open(self.path(name)).and_then(|file| regular(file, self.mode)).ok()?;
        let mut line = Vec::new();
        file.take(MAX_NOTE + 1).read_to_end(&mut line).ok()?;
        let (sum, rest) = line.split_at_checked(record::DIGITS)?;
        let json = rest.strip_prefix(b" ").filter(|json| checksum(json) == *sum)?;
        let note: Note = serde_json::from_slice(json).ok()?;
        (note.store == *self.store && note.name == name).then_some(note.note)
    }

    /// Takes the place of the note of this name. May wait for the disk; what cannot be written is not noted.
    pub fn write(&self, name: &str, note: Value) {
        let note = Note { store: self.store.to_string(), name: name.to_owned(), note };
        let Ok(json) = serde_json::to_vec(&note) else { return };
        let line = [&checksum(&json)[..], b" ", &json].concat();
        let path = self.path(name);
        let known = path.symlink_metadata().map_or(0, |known| known.len().next_multiple_of(NEW_FILE));
        let more = (line.len() as u64).next_multiple_of(NEW_FILE).saturating_sub(known);
        if line.len() as u64 > MAX_NOTE || (more > 0 && !(self.room)(more)) {
            return;
        }
        if let Err(error) = self.replace(&path, &line) {
            tracing::debug!(%error, path = %path.display(), "nothing was noted");
        }
    }

    fn replace(&self, path: &Path, line: &[u8]) -> io::Result<()> {
        let folders: Vec<_> = path.ancestors().skip(1).take(2).collect();
        folders.iter().rev().try_for_each(|folder| make_folder(folder, self.mode))?;
        // Each process has its own: the last one to rename wins.
        let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
        let written = self.write_new(&temporary, line).and_then(|()| std::fs::rename(&temporary, path));
        written.inspect_err(|_| {
            // It is in the way only of the next attempt, which writes over it.
            let _ = std::fs::remove_file(&temporary);
        })
    }

    fn write_new(&self, path: &Path, line: &[u8]) -> io::Result<()> {
        let mut file: File = options().write(true).create(true).truncate(true).mode(self.mode).open(path)?;
        file.set_permissions(Permissions::from_mode(self.mode))?;
        file.write_all(line)
    }

    fn path(&self, name: &str) -> PathBuf {
        let hash = format!("{:032x}", xxh3_128(&[self.store.as_bytes(), b"\0", name.as_bytes()].concat()));
        self.folder.join(&hash[..2]).join(format!("{hash}.note"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes(dir: &Path, store: &str) -> Notes {
        Notes::open(dir, 0o600, Box::new(|_| true), store).unwrap()
    }

    #[test]
    fn a_note_is_of_one_store_and_name_and_the_last_one_counts() {
        let dir = tempfile::tempdir().unwrap();
        let (here, there) = (notes(dir.path(), "s3://a"), notes(dir.path(), "s3://b"));
        here.write("x", Value::from(1));
        here.write("x", Value::from(2));
        there.write("y", Value::from(3));
        assert_eq!((here.read("x"), here.read("y")), (Some(Value::from(2)), None));
        assert_eq!((there.read("x"), there.read("y")), (None, Some(Value::from(3))));
        here.write("y", Value::from(4));
        std::fs::rename(there.path("y"), here.path("y")).unwrap();
        assert_eq!(here.read("y"), None, "it says of what it is");
    }

    #[test]
    fn what_is_damaged_or_torn_is_no_note() {
        let dir = tempfile::tempdir().unwrap();
        let notes = notes(dir.path(), "s3://a");
        notes.write("x", Value::from("some text"));
        let path = notes.path("x");
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            std::fs::write(&path, &damaged).unwrap();
            assert_eq!(notes.read("x"), None, "byte {at}");
            std::fs::write(&path, &whole[..at]).unwrap();
            assert_eq!(notes.read("x"), None, "{at} bytes");
        }
        std::fs::write(&path, whole).unwrap();
        assert!(notes.read("x").is_some());
    }

    #[test]
    fn nothing_is_written_without_room_nor_anything_long() {
        let dir = tempfile::tempdir().unwrap();
        let full = Notes::open(dir.path(), 0o600, Box::new(|_| false), "s3://a").unwrap();
        full.write("x", Value::from(1));
        assert_eq!(full.read("x"), None);
        let notes = notes(dir.path(), "s3://a");
        notes.write("x", Value::from("x".repeat(MAX_NOTE as usize)));
        assert_eq!(notes.read("x"), None);
    }
}
