//! A lab server, a daemon of the built binary, and a mount of it, all taken down at the end of a test.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use fitsfs_lab::{Content, Lab, pattern_bytes};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// The bucket of all tests.
pub const BUCKET: &str = "archive";

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
        let lab = Lab::builder().anonymous().start().expect("start the lab");
        lab.create_bucket(BUCKET);
        fill(&lab);
        let dir = TempDir::new().expect("a folder for the mount");
        let root = dir.path().join("mnt");
        let rig = Self { lab, root, dir };
        rig.mount(options);
        rig
    }

    /// Mounts (again).
    pub fn mount(&self, options: &[&str]) {
        let endpoint = self.lab.endpoint();
        let source = format!("s3://{BUCKET}");
        let fixed = ["mount", &source, self.root_str(), "--endpoint-url", &endpoint, "--no-sign-request"];
        let output = fitsfs(&[&fixed, options].concat());
        assert!(output.status.success(), "mount failed: {}", text(&output));
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
    pub fn status(&self) -> serde_json::Value {
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
        let gets: Vec<_> = self.lab.requests().into_iter().filter(|r| r.op == fitsfs_lab::Op::GetObject).collect();
        (gets.len(), gets.iter().map(|r| r.bytes).sum())
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let output = fitsfs(&["unmount", self.root_str()]);
        if !output.status.success() {
            // A test that failed half-way may have left files open.
            let _ = Command::new("umount").arg("-l").arg(&self.root).output();
        }
    }
}

/// Runs the built program.
pub fn fitsfs(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fitsfs")).args(arguments).output().expect("run fitsfs")
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

/// Waits until something holds, and fails the test if it does not within 10 s.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(10), "{what}: not within 10 s");
        std::thread::sleep(Duration::from_millis(5));
    }
}
