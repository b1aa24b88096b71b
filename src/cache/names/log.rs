//! The log of one directory as a file: read as far as it has grown, appended to, and written anew when most of it is of
//! no use any more.
//!
//! Several processes append to one log, each record with one write. Nothing that is in it is trusted: what does not prove
//! itself is passed over.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::index::{Index, Place};
use super::record::Record;

/// A longer line is none of ours: a page of 1,000 keys of 1,024 bytes takes a little over a megabyte.
const MAX_LINE: u64 = 16 << 20;

/// How long a record that must not be lost waits for another process to write the log anew: so many times 10 ms.
const LOCK_ATTEMPTS: u32 = 200;

/// Where a log is, and its mode.
#[derive(Clone, Debug)]
pub(super) struct Log {
    path: PathBuf,
    mode: u32,
}

/// What was read of a log.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) index: Index,
    file: Option<Identity>,
    /// Up to here.
    read: u64,
    /// Up to here it is known not to be worth writing anew.
    weighed: u64,
}

/// Which file it is: device, inode, and, since numbers of inodes are used again, when it was made.
type Identity = (u64, u64, Option<SystemTime>);

impl Loaded {
    /// Nothing yet.
    pub(super) fn new(index: Index) -> Self {
        Self { index, file: None, read: 0, weighed: 0 }
    }

    /// Reads what has been appended, or all if it is another file by now; `fresh` makes an empty index.
    pub(super) fn refresh(&mut self, file: &File, fresh: impl FnOnce() -> Index) -> io::Result<()> {
        let metadata = file.metadata()?;
        let identity = Some((metadata.dev(), metadata.ino(), metadata.created().ok()));
        if identity != self.file || metadata.len() < self.read {
            *self = Self { index: fresh(), file: identity, read: 0, weighed: 0 };
        }
        if metadata.len() > self.read {
            self.read = scan(file, self.read, &mut self.index)?;
        }
        Ok(())
    }

    /// Makes the next one read all.
    pub(super) fn distrust(&mut self) {
        self.file = None;
    }

    /// Whether more than so many bytes are of no use, and more than half. Looked at each time that so many have come.
    pub(super) fn is_mostly_dead(&mut self, max_dead: u64) -> bool {
        if self.read <= self.weighed + max_dead {
            return false;
        }
        self.weighed = self.read;
        let live: u64 = self.index.live().iter().map(|place| u64::from(place.len) + 1).sum();
        let dead = self.read.saturating_sub(live);
        dead > max_dead && dead > live
    }
}

/// Notes all whole lines from `start` on; returns where the first one begins that has no end yet.
fn scan(file: &File, start: u64, index: &mut Index) -> io::Result<u64> {
    let mut reader = BufReader::with_capacity(256 << 10, file);
    reader.seek(SeekFrom::Start(start))?;
    let (mut offset, mut line) = (start, Vec::new());
    loop {
        line.clear();
        let read = (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line)? as u64;
        let Some(content) = line.strip_suffix(b"\n") else {
            // What is too long is passed over piece by piece.
            if read < MAX_LINE {
                return Ok(offset);
            }
            offset += read;
            continue;
        };
        if let (Some(record), Ok(len)) = (Record::decode(content), u32::try_from(content.len())) {
            index.note(Place { offset, len }, &record);
        }
        offset += read;
    }
}

/// The line at a place.
fn line_at(file: &File, place: Place) -> io::Result<Vec<u8>> {
    let mut line = vec![0; place.len as usize];
    file.read_exact_at(&mut line, place.offset)?;
    Ok(line)
}

/// The record at a place, if there still is one.
pub(super) fn record_at(file: &File, place: Place) -> Option<Record> {
    Record::decode(&line_at(file, place).ok()?)
}

impl Log {
    pub(super) fn new(path: PathBuf, mode: u32) -> Self {
        Self { path, mode }
    }

    /// Opens it to be read; none if there is none.
    pub(super) fn open(&self) -> io::Result<Option<File>> {
        match options().read(true).open(&self.path) {
            Ok(file) => regular(file, self.mode).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether it has been made.
    pub(super) fn exists(&self) -> bool {
        self.path.symlink_metadata().is_ok()
    }

    /// Appends a line.
    pub(super) fn append(&self, line: &[u8]) -> io::Result<()> {
        append(&self.open_to_append()?, line)
    }

    /// Appends a line that no process loses that is just writing the log anew.
    pub(super) fn append_surely(&self, line: &[u8]) -> io::Result<()> {
        let mut file = self.open_to_append()?;
        for _ in 0..LOCK_ATTEMPTS {
            if lock(&file, libc::LOCK_SH) {
                if self.is_still(&file)? {
                    break;
                }
                file = self.open_to_append()?;
            } else {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        append(&file, line)
    }

    fn open_to_append(&self) -> io::Result<File> {
        let existing = || options().read(true).append(true).open(&self.path).and_then(|file| regular(file, self.mode));
        match existing() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            outcome => return outcome,
        }
        // Emptying the cache may take this folder away.
        let folders = self.path.ancestors().skip(1).take(3).collect::<Vec<_>>();
        folders.iter().rev().try_for_each(|folder| make_folder(folder, self.mode))?;
        match options().read(true).append(true).create_new(true).mode(self.mode).open(&self.path) {
            Ok(file) => {
                // The users that share the cache may have another umask.
                file.set_permissions(Permissions::from_mode(self.mode))?;
                Ok(file)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => existing(),
            Err(error) => Err(error),
        }
    }

    /// Whether an open file is the one that has the name.
    fn is_still(&self, file: &File) -> io::Result<bool> {
        let open = file.metadata()?;
        match std::fs::symlink_metadata(&self.path) {
            Ok(named) => Ok((open.dev(), open.ino()) == (named.dev(), named.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes the log anew with what is of use. Not if another process does so, or has done so since this one read it.
    pub(super) fn compact(&self, loaded: &mut Loaded, fresh: impl FnOnce() -> Index) -> io::Result<()> {
        let Some(file) = self.open()? else { return Ok(()) };
        if !lock(&file, libc::LOCK_EX) || !self.is_still(&file)? {
            return Ok(());
        }
        loaded.refresh(&file, fresh)?;
        let temporary = self.path.with_extension("tmp");
        // No other process writes one: the lock is held. One that was left by a crash is in the way.
        match std::fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let written = self.write_anew(&temporary, &file, &loaded.index.live());
        let renamed = written.and_then(|()| std::fs::rename(&temporary, &self.path));
        renamed.inspect_err(|_| {
            // It is in the way only of the next attempt, which removes it.
            let _ = std::fs::remove_file(&temporary);
        })
    }

    fn write_anew(&self, temporary: &Path, from: &File, places: &[Place]) -> io::Result<()> {
        let file = options().write(true).create_new(true).mode(self.mode).open(temporary)?;
        file.set_permissions(Permissions::from_mode(self.mode))?;
        let mut writer = BufWriter::with_capacity(256 << 10, file);
        for place in places {
            let line = line_at(from, *place)?;
            if Record::decode(&line).is_some() {
                writer.write_all(&line)?;
                writer.write_all(b"\n")?;
            }
        }
        writer.flush()
    }
}

/// No link is followed, and no pipe waited for.
pub(super) fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    options
}

/// A file that is one, and was made by this user or by root, unless files of this mode are shared.
pub(super) fn regular(file: File, mode: u32) -> io::Result<File> {
    let found = file.metadata()?;
    let is_ours = is_shared(mode) || found.uid() == 0 || found.uid() == rustix::process::geteuid().as_raw();
    match found.is_file() && is_ours {
        true => Ok(file),
        false => Err(io::Error::other("not a file of this user")),
    }
}

fn is_shared(mode: u32) -> bool {
    mode & 0o060 != 0
}

/// Appends with one write, behind the end of a line: the write before may have been cut off.
fn append(file: &File, line: &[u8]) -> io::Result<()> {
    let (len, mut last) = (file.metadata()?.len(), [b'\n']);
    if len > 0 {
        file.read_exact_at(&mut last, len - 1)?;
    }
    let mut whole = Vec::with_capacity(line.len() + 1);
    if last != *b"\n" {
        whole.push(b'\n');
    }
    whole.extend_from_slice(line);
    match (&*file).write(&whole)? {
        written if written == whole.len() => Ok(()),
        _ => Err(io::ErrorKind::WriteZero.into()),
    }
}

/// Whether the lock could be had at once. It ends with the descriptor.
fn lock(file: &File, how: libc::c_int) -> bool {
    // SAFETY: the descriptor is open.
    unsafe { libc::flock(file.as_raw_fd(), how | libc::LOCK_NB) == 0 }
}

/// Makes a folder for files of this mode. What a group shares belongs to it.
pub(super) fn make_folder(folder: &Path, mode: u32) -> io::Result<()> {
    let mode = if is_shared(mode) { 0o2770 } else { 0o700 };
    match DirBuilder::new().mode(mode).create(folder) {
        Ok(()) => std::fs::set_permissions(folder, Permissions::from_mode(mode)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_folder(folder) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Not by a symbolic link.
fn is_folder(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.is_dir())
}
