//! A lab server, a daemon of the built binary, and a mount of it, all taken down at the end of a test.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use fitsfs_lab::{Content, Lab, Op, Request, pattern_bytes};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

pub const MIB: u64 = 1 << 20;
pub const GIB: u64 = 1 << 30;

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_fitsfs");

/// The bucket of all tests.
pub const BUCKET: &str = "archive";

/// Ports are used again: what another test left in a cache would be of another bucket.
pub const NO_CACHE: [&str; 2] = ["--cache-size", "0"];

/// A mount of a lab bucket.
pub struct Rig {
    pub lab: Lab,
    pub root: PathBuf,
    dir: TempDir,
}

impl Rig {
    /// Mounts the bucket after `fill` has put objects into it.
    pub fn new(fill: impl FnOnce(&Lab)) -> Self {
        Self::with(&[], fill)
    }

    /// The same, with options for `fitsfs mount`.
    pub fn with(options: &[&str], fill: impl FnOnce(&Lab)) -> Self {
        let rig = Self::unmounted(fill);
        rig.mount(options);
        rig
    }

    /// A filled lab and a folder, without a mount.
    pub fn unmounted(fill: impl FnOnce(&Lab)) -> Self {
        Self::of_lab(Lab::builder().anonymous(), fill)
    }

    /// The same, with a lab of these settings.
    pub fn of_lab(lab: fitsfs_lab::Builder, fill: impl FnOnce(&Lab)) -> Self {
        let lab = lab.start().expect("start the lab");
        lab.create_bucket(BUCKET);
        fill(&lab);
        let dir = TempDir::new().expect("a folder for the mount");
        let root = dir.path().canonicalize().expect("the folder exists").join("mnt");
        Self { lab, root, dir }
    }

    /// Mounts (again).
    pub fn mount(&self, options: &[&str]) {
        let output = self.try_mount(options);
        assert!(output.status.success(), "mount failed: {}", text(&output));
    }

    /// Tries to mount.
    pub fn try_mount(&self, options: &[&str]) -> Output {
        let source = format!("s3://{BUCKET}");
        let cached = options.contains(&"--cache-dir");
        let mut command = if cached { self.command(&source) } else { self.mount_command(&source) };
        command.args(options).output().expect("run fitsfs")
    }

    /// The command that mounts a source here, without a cache.
    pub fn mount_command(&self, source: &str) -> Command {
        let mut command = self.command(source);
        command.args(NO_CACHE);
        command
    }

    fn command(&self, source: &str) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(["mount", source, self.root_str(), "--endpoint-url", &self.lab.endpoint(), "--no-sign-request"]);
        command
    }

    /// Whether the mount table has the mount.
    pub fn is_mounted(&self) -> bool {
        fs::read_to_string("/proc/self/mountinfo").expect("the mount table").contains(self.root_str())
    }

    /// Opens a file of the mount.
    pub fn open(&self, key: &str) -> File {
        File::open(self.path(key)).unwrap_or_else(|error| panic!("open {key}: {error}"))
    }

    pub fn root_str(&self) -> &str {
        self.root.to_str().expect("the folder has a UTF-8 name")
    }

    /// A path in the mount.
    pub fn path(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    /// A folder outside of the mount.
    pub fn outside(&self) -> &Path {
        self.dir.path()
    }

    /// The status of the mount.
    pub fn status(&self) -> Value {
        let output = fitsfs(&["status", self.root_str(), "--json"]);
        assert!(output.status.success(), "status failed: {}", text(&output));
        serde_json::from_slice(&output.stdout).expect("status is JSON")
    }

    /// The process of the daemon.
    pub fn pid(&self) -> i32 {
        self.status()["pid"].as_i64().expect("a pid") as i32
    }

    /// GETs and their bytes since the log was cleared.
    pub fn gets(&self) -> (usize, u64) {
        let gets = self.requested(|_| true);
        (gets.len(), gets.iter().map(|r| r.bytes).sum())
    }

    /// GETs since the log was cleared. On a busy machine some are hedged: as many as were are left out, of those that ask
    /// for the same bytes as one before.
    pub fn requested(&self, is_counted: impl Fn(&Request) -> bool) -> Vec<Request> {
        let mut hedged = if self.is_mounted() { self.hedged() } else { 0 };
        let mut seen = HashSet::new();
        let is_first = |get: &Request| {
            let is_new = seen.insert((get.key.clone(), get.range.clone()));
            let is_hedge = !is_new && hedged > 0;
            hedged -= u64::from(is_hedge);
            !is_hedge
        };
        let gets = self.lab.requests().into_iter().filter(|request| request.op == Op::GetObject);
        gets.filter(is_first).filter(is_counted).collect()
    }

    /// GETs that were sent once more because they took long.
    pub fn hedged(&self) -> u64 {
        self.status()["hedged_requests"].as_u64().expect("a count")
    }

    /// Requests that a fault has struck since the log was cleared.
    pub fn struck(&self) -> usize {
        self.lab.count(|request| request.fault.is_some())
    }

    /// LISTs since the log was cleared.
    pub fn lists(&self) -> usize {
        self.lab.count(|request| request.op.is_list())
    }

    /// Waits until the daemon has no request in flight, and no request has come for a while.
    pub fn rest(&self) {
        let (mut seen, started) = (usize::MAX, Instant::now());
        let is_busy = || self.is_mounted() && self.status()["in_flight"] != 0;
        while std::mem::replace(&mut seen, self.lab.requests().len()) != seen || is_busy() {
            assert!(started.elapsed() < Duration::from_secs(60), "requests without end: {:#?}", self.lab.requests());
            std::thread::sleep(Duration::from_millis(150));
        }
    }

    /// Waits until nothing is in flight, then forgets the requests that came.
    pub fn settle(&self) {
        self.rest();
        self.lab.clear_log();
    }

    /// The log of the daemon in the background.
    pub fn log_file(&self) -> PathBuf {
        Path::new("/var/log/fitsfs").join(fitsfs::control::name_of(&self.root)).with_extension("log")
    }
}

/// Takes what the page cache has of a file away.
pub fn forget_pages(file: &File) {
    // SAFETY: the descriptor is open.
    assert_eq!(unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) }, 0);
}

impl Drop for Rig {
    fn drop(&mut self) {
        let output = fitsfs(&["unmount", self.root_str()]);
        if !output.status.success() {
            // A test that failed half-way may have left files open.
            let _ = Command::new("umount").arg("-l").arg(&self.root).output();
        }
        // Those of a test that failed are of use.
        if !std::thread::panicking() {
            let _ = fs::remove_file(self.log_file());
            let idle = self.lab.idle_faults();
            assert!(idle.is_empty(), "faults that struck nowhere, so that nothing was tested: {idle:?}");
        }
    }
}

/// Runs the built program.
pub fn fitsfs(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).output().expect("run fitsfs")
}

/// What `fitsfs trace` tells.
pub fn trace(arguments: &[&str]) -> Value {
    let output = fitsfs(&[&["trace"], arguments].concat());
    assert!(output.status.success(), "{}", text(&output));
    serde_json::from_slice(&output.stdout).expect("a trace is JSON")
}

/// What a program printed.
pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Content of `len` bytes that are all different from each other's neighbours.
pub fn pattern(len: u64, seed: u64) -> Content {
    Content::Pattern { len, seed }
}

/// The bytes of a pattern.
pub fn pattern_at(seed: u64, offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    pattern_bytes(seed, offset, &mut bytes);
    bytes
}

pub fn sha256(mut reader: impl Read) -> String {
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        let n = reader.read(&mut buffer).expect("read");
        if n == 0 {
            return hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        }
        hash.update(&buffer[..n]);
    }
}

pub fn sha256_of_pattern(seed: u64, len: u64) -> String {
    let mut offset = 0;
    let reader = std::iter::from_fn(|| {
        let n = (len - offset).min(1 << 20) as usize;
        let part = (n > 0).then(|| pattern_at(seed, offset, n));
        offset += n as u64;
        part
    });
    let mut hash = Sha256::new();
    reader.for_each(|part| hash.update(&part));
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads exactly `len` bytes at `offset`.
pub fn read_at(file: &File, offset: u64, len: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

/// How many requests of these had to wait for one before them.
pub fn rounds(mut requests: Vec<Request>) -> usize {
    requests.sort_by(|a, b| a.start_ms.total_cmp(&b.start_ms));
    let (mut rounds, mut end) = (0, f64::NEG_INFINITY);
    for request in requests {
        if request.start_ms >= end {
            rounds += 1;
            end = request.start_ms + request.duration_ms;
        }
    }
    rounds
}

/// The names in a directory, in the order in which it tells them.
pub fn names(directory: &Path) -> std::io::Result<Vec<String>> {
    let name = |entry: fs::DirEntry| entry.file_name().into_string().expect("names are UTF-8");
    fs::read_dir(directory)?.map(|entry| entry.map(name)).collect()
}

/// Waits until something holds, and fails the test if it does not within 10 s.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(10), "{what}: not within 10 s");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The result of something that may hang, which fails the test if it does.
pub fn within<T: Send + 'static>(patience: Duration, what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(work()));
    receiver.recv_timeout(patience).unwrap_or_else(|_| panic!("{what}: not within {patience:?}"))
}

/// A FITS file: for each HDU its first card, and how many bytes of data (each of them different from its neighbours).
pub fn fits(hdus: &[(&str, usize)]) -> Vec<u8> {
    let mut file = Vec::new();
    for (first, data) in hdus {
        let axis = format!("NAXIS1  = {data}");
        let cards = [first, "BITPIX  = 8", "NAXIS   = 1", &axis, "PCOUNT  = 0", "GCOUNT  = 1", "END"];
        cards.iter().for_each(|card| file.extend(format!("{card:<80}").bytes()));
        file.resize(file.len().next_multiple_of(2880), b' ');
        file.extend(pattern_at(file.len() as u64, 0, *data));
        file.resize(file.len().next_multiple_of(2880), 0);
    }
    file
}
