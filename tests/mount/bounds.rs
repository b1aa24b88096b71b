//! Names take a bounded place in memory, however many a directory has and however many programs have seen.

use std::fs;

use crate::support::*;

/// Bytes that are the daemon's own: what the kernel can take back is not counted.
fn resident(rig: &Rig) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", rig.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

fn key(n: usize) -> String {
    format!("large/jw01783004007_02101_{n:07}_nrcalong_rate.fits")
}

/// A mount with little memory of a directory of so many files.
fn crowded(files: usize) -> Rig {
    Rig::with(&["--memory", "8MiB", "--metadata-ttl", "1h"], |lab| lab.put_many(BUCKET, (0..files).map(key), b"x"))
}

#[test]
fn a_directory_that_is_held_open_takes_a_bounded_place() {
    let files = 100_000;
    let rig = crowded(files);
    let before = resident(&rig);
    // All of them unpacked take 41 MB, packed 13 MB.
    let directories: Vec<_> = (0..3).map(|_| fs::read_dir(rig.path("large")).unwrap()).collect();
    for mut directory in directories {
        assert_eq!(directory.by_ref().count(), files);
        let grown = resident(&rig).saturating_sub(before);
        assert!(grown < 8 << 20, "{grown} bytes for {files} names");
    }
    // Names that are not in memory any more are asked for.
    for n in [0, files / 2, files - 1] {
        assert_eq!(fs::metadata(rig.path(&key(n))).unwrap().len(), 1);
        assert!(fs::metadata(rig.path(&format!("{}x", key(n)))).is_err());
    }
}

#[test]
fn files_that_programs_have_seen_take_a_bounded_place() {
    let files = 40_000;
    let rig = crowded(files);
    let kept = rig.open(&key(7));
    let before = resident(&rig);
    for entry in fs::read_dir(rig.path("large")).unwrap() {
        assert_eq!(entry.unwrap().metadata().unwrap().len(), 1);
    }
    eventually("the kernel forgets names", || rig.status()["inodes"].as_u64().unwrap() < 10_000);
    let grown = resident(&rig).saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes for {files} files");
    assert_eq!(read_at(&kept, 0, 1).unwrap(), b"x", "what is open stays");
    let path = fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&kept))).unwrap();
    assert_eq!(path, rig.path(&key(7)));
    assert_eq!(fs::read(rig.path(&key(8))).unwrap(), b"x", "what was forgotten is found again");
}

/// A directory by `readdir(3)`, whose places can be told and gone back to.
struct Stream(*mut libc::DIR);

impl Stream {
    fn open(path: &std::path::Path) -> Self {
        let path = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: the path ends with a NUL.
        let stream = unsafe { libc::opendir(path.as_ptr()) };
        assert!(!stream.is_null());
        Self(stream)
    }

    fn place(&self) -> libc::c_long {
        // SAFETY: the stream is open until it is dropped.
        unsafe { libc::telldir(self.0) }
    }

    fn go_to(&self, place: libc::c_long) {
        // SAFETY: the stream is open, and the place is one that it has told.
        unsafe { libc::seekdir(self.0, place) };
    }
}

impl Iterator for Stream {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        // SAFETY: the stream is open, and no other thread uses it. An entry is valid until the next one is read.
        let entry = unsafe { libc::readdir64(self.0).as_ref() }?;
        // SAFETY: the name of an entry ends with a NUL.
        let name = unsafe { std::ffi::CStr::from_ptr(entry.d_name.as_ptr()) };
        Some(name.to_str().unwrap().to_owned())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: it is open, and not used any more.
        unsafe { libc::closedir(self.0) };
    }
}

#[test]
fn a_program_goes_back_in_a_directory_whose_beginning_was_dropped() {
    let files = 30_000;
    let rig = crowded(files);
    let mut directory = Stream::open(&rig.path("large"));
    let (mut places, mut names) = (vec![directory.place()], Vec::new());
    while let Some(name) = directory.next() {
        names.push(name);
        places.push(directory.place());
    }
    assert_eq!(names.len(), files + 2);
    let lists = rig.lists();
    for start in [0, 2, 20_001, 999, 1001, 15_500, files + 1] {
        directory.go_to(places[start]);
        assert!(directory.by_ref().take(300).eq(names.iter().skip(start).take(300).cloned()), "from {start}");
    }
    let lists = rig.lists() - lists;
    assert!((1..=10).contains(&lists), "{lists} pages for 7 places");
}
