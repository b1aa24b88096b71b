//! A log file that takes a bounded place: when it is full it becomes `NAME.log.1`, in the place of the one before.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Weeks of a mount with troubles; with the one before it is still little beside a cache.
const MAX_LENGTH: u64 = 16 << 20;

/// The log of a mount.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: File,
    length: u64,
    max_length: u64,
}

impl LogFile {
    /// Goes on with the file, or makes it.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        Self::bounded(path, MAX_LENGTH)
    }

    fn bounded(path: PathBuf, max_length: u64) -> io::Result<Self> {
        let file = append(&path)?;
        let length = file.metadata()?.len();
        Ok(Self { path, file, length, max_length })
    }

    fn turn_over(&mut self) -> io::Result<()> {
        let mut older = self.path.clone().into_os_string();
        older.push(".1");
        std::fs::rename(&self.path, older)?;
        self.file = append(&self.path)?;
        self.length = self.file.metadata()?.len();
        Ok(())
    }
}

impl Write for LogFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.length > 0 && self.length + line.len() as u64 > self.max_length {
            // Where it cannot be renamed, the log is worth more than its bound: asked again after as much.
            if self.turn_over().is_err() {
                self.length = 0;
            }
        }
        let written = self.file.write(line)?;
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_takes_a_bounded_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mount.log");
        let line = [b'x'; 10];
        for _ in 0..3 {
            let mut log = LogFile::bounded(path.clone(), 100).unwrap();
            (0..17).for_each(|_| log.write_all(&line).unwrap());
        }
        let length = |path: &Path| std::fs::metadata(path).unwrap().len();
        assert_eq!(folder.path().read_dir().unwrap().count(), 2);
        assert_eq!(length(&folder.path().join("mount.log.1")), 100);
        assert_eq!(length(&path), 10);
    }
}
