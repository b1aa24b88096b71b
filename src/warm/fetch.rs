//! Reads files through their mount, several at a time, and large ones in parts.
//!
//! They are opened with `O_DIRECT`: what is read is wanted on disk, and neither in the page cache, where it would take
//! the place of what programs use, nor from there, where the daemon would not see the read.

use std::collections::HashSet;
use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use parking_lot::Mutex;

use super::brake::Brake;
use super::task::{Failure, Observer, Task, Warmed};
use super::walk::Target;
use crate::fits;
use crate::fs::xattr::{CACHED, LAYOUT};

/// Files are read in parts of this many bytes, in order: a thread that is free takes the next one. So all threads that read
/// a file go side by side, and the daemon reads ahead of them as of one reader, by many parallel requests. With parts of
/// 64 MiB the readahead of each went into the part of the next one, and two thirds of a file were read twice.
const PART: u64 = 2 << 20;

/// So many bytes are read by one call, into memory that begins at a multiple of this: where the kernel reads the disk
/// itself, `O_DIRECT` wants that.
const CHUNK: usize = 1 << 20;
const ALIGNMENT: usize = 4096;

/// What one pass over files has done.
pub struct Pass {
    /// The counts.
    pub warmed: Warmed,
    /// The files of which all was read.
    pub read: Vec<Target>,
}

/// A file that is being read, shared by its parts.
struct Source {
    found: Target,
    file: File,
    failed: AtomicBool,
}

/// A part of a file, for the next thread that is free.
struct Part {
    source: Arc<Source>,
    range: Range<u64>,
}

/// Fetches all files, each once.
pub fn all(
    task: &Task,
    files: Box<dyn Iterator<Item = Result<Target, Failure>> + Send>,
    observer: &dyn Observer,
) -> Pass {
    let pass = Mutex::new(Pass { warmed: Warmed::default(), read: Vec::new() });
    let fail = |failure: Failure| {
        observer.failed(&failure);
        pass.lock().warmed.failed.push(failure);
    };
    // Parts that wait keep files open: no more of them than are read.
    let (sender, receiver) = sync_channel(task.jobs);
    let receiver = Mutex::new(receiver);
    let brake = Brake::new(&task.mounts);
    std::thread::scope(|scope| {
        for _ in 0..task.jobs {
            scope.spawn(|| work(&receiver, &brake, &pass, task.headers, observer, &fail));
        }
        for found in files {
            match found.and_then(|found| hand_out(found, task.headers, &sender, &pass, observer)) {
                Ok(()) => {}
                Err(failure) => fail(failure),
            }
        }
        drop(sender);
    });
    let Pass { warmed, mut read } = pass.into_inner();
    let failed: HashSet<_> = warmed.failed.iter().map(|failure| &failure.path).collect();
    read.retain(|found| !failed.contains(&found.path));
    drop(failed);
    Pass { warmed, read }
}

/// Hands a file out in parts, unless there is nothing to fetch of it.
fn hand_out(
    mut found: Target,
    headers: bool,
    parts: &SyncSender<Part>,
    pass: &Mutex<Pass>,
    observer: &dyn Observer,
) -> Result<(), Failure> {
    let failure = |error: io::Error| Failure::new(&found.path, &error);
    if headers && !fits::is_fits_name(&found.path.to_string_lossy()) {
        pass.lock().warmed.skipped += 1;
        return Ok(());
    }
    if cached(&found.path).map_err(failure)? >= found.size {
        pass.lock().warmed.complete += 1;
        return Ok(());
    }
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(&found.path);
    // What was looked at may not have told its size yet.
    let opened = opened.and_then(|file| Ok((file.metadata()?.len(), file)));
    let (size, file) = opened.map_err(failure)?;
    found.size = size;
    observer.found(&found.path, found.size);
    pass.lock().warmed.files += 1;
    let source = Arc::new(Source { found, file, failed: AtomicBool::new(false) });
    let length = if headers { size } else { PART };
    let ranges = (0..size).step_by(length as usize).map(|start| start..(start + length).min(size));
    for range in ranges {
        // The workers live as long as there are parts.
        let _ = parts.send(Part { source: source.clone(), range });
    }
    Ok(())
}

fn work(
    parts: &Mutex<Receiver<Part>>,
    brake: &Brake<'_>,
    pass: &Mutex<Pass>,
    headers: bool,
    observer: &dyn Observer,
    fail: &dyn Fn(Failure),
) {
    let mut buffer = vec![0; CHUNK + ALIGNMENT];
    let start = buffer.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
    let buffer = &mut buffer[start..start + CHUNK];
    loop {
        let next = parts.lock().recv();
        let Ok(Part { source, range }) = next else { return };
        brake.wait();
        let path = &source.found.path;
        let is_last = range.end == source.found.size;
        let count = |bytes: u64| {
            pass.lock().warmed.bytes += bytes;
            observer.read(path, bytes);
        };
        let outcome = match headers {
            // The daemon walks the headers to tell where they are. It is not asked what they are.
            true => attribute(path, LAYOUT, &mut []).map(drop),
            false => read(&source, range, buffer, count),
        };
        match outcome {
            Err(error) if !source.failed.swap(true, Ordering::SeqCst) => fail(Failure::new(path, &error)),
            Ok(()) if is_last && !headers => pass.lock().read.push(source.found.clone()),
            _ => {}
        }
        if is_last {
            observer.done();
        }
    }
}

/// Reads a range, unless another part of the file has failed.
fn read(source: &Source, range: Range<u64>, buffer: &mut [u8], count: impl Fn(u64)) -> io::Result<()> {
    let mut at = range.start;
    while at < range.end && !source.failed.load(Ordering::SeqCst) {
        match source.file.read_at(buffer, at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                at += read as u64;
                count(read as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// How many bytes of a file are in the cache of its mount.
pub fn cached(path: &Path) -> io::Result<u64> {
    let mut digits = [0; 20];
    let length = attribute(path, CACHED, &mut digits)?;
    let digits = std::str::from_utf8(digits.get(..length).unwrap_or_default());
    digits.ok().and_then(|digits| digits.parse().ok()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Reads an extended attribute; into no bytes, only its length.
fn attribute(path: &Path, name: &str, value: &mut [u8]) -> io::Result<usize> {
    let (path, name) = (CString::new(path.as_os_str().as_bytes())?, CString::new(name)?);
    // SAFETY: path and name are NUL-terminated, and the buffer has the length that is told; all outlive the call.
    let length = unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    usize::try_from(length).map_err(|_| io::Error::last_os_error())
}
