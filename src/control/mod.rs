//! The status socket: how `fitsfs status` and `fitsfs mount` find the daemon of a mountpoint.
//!
//! A Unix socket per mount, in a folder that only its user may enter. A client connects and reads one JSON document
//! ([`Snapshot`]). Its path follows from the mountpoint, so that nobody has to touch the mount to find it.

use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::UnixListener;
use xxhash_rust::xxh3::xxh3_64;

use crate::metrics::Snapshot;

/// How long a daemon may take to answer: it does so from memory.
const PATIENCE: Duration = Duration::from_secs(2);

/// A name for files that belong to a mountpoint: readable, and distinct by a hash.
pub fn name_of(mountpoint: &Path) -> String {
    let path = mountpoint.to_string_lossy();
    let readable: String =
        path.trim_matches('/').chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(64).collect();
    format!("{readable}-{:08x}", xxh3_64(path.as_bytes()) as u32)
}

/// Where the socket of a mountpoint is.
fn socket_path(mountpoint: &Path) -> PathBuf {
    runtime_dir().join(name_of(mountpoint)).with_extension("sock")
}

/// `/run/fitsfs` for root, `$XDG_RUNTIME_DIR/fitsfs` or `/tmp/fitsfs-UID` for others.
fn runtime_dir() -> PathBuf {
    let uid = user();
    match std::env::var_os("XDG_RUNTIME_DIR") {
        _ if uid == 0 => PathBuf::from("/run/fitsfs"),
        Some(dir) if !dir.is_empty() => PathBuf::from(dir).join("fitsfs"),
        _ => PathBuf::from(format!("/tmp/fitsfs-{uid}")),
    }
}

fn user() -> u32 {
    // SAFETY: geteuid has no preconditions and cannot fail.
    unsafe { libc::geteuid() }
}

/// The open socket of a mount; its file is removed when this is dropped, unless the daemon of a later mount at the same
/// place has put its own there (this one may outlive its mount as long as programs have files open).
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    listener: UnixListener,
    /// The inode number of the file.
    file: u64,
}

impl Server {
    /// Opens the socket of a mountpoint, in the place of one that a crash left.
    pub fn bind(mountpoint: &Path) -> io::Result<Self> {
        let path = socket_path(mountpoint);
        make_private_dir(&runtime_dir())?;
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        let file = std::fs::symlink_metadata(&path)?.ino();
        Ok(Self { path, listener, file })
    }

    /// Answers clients until the task is dropped.
    pub async fn serve(self, snapshot: Arc<dyn Fn() -> Snapshot + Send + Sync>) {
        loop {
            let Ok((mut client, _)) = self.listener.accept().await else {
                // Out of descriptors, most likely: no reason to spin.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let snapshot = snapshot.clone();
            tokio::spawn(async move {
                let document = serde_json::to_vec(&snapshot()).unwrap_or_default();
                // A client that has gone away misses nothing.
                let _ = tokio::time::timeout(PATIENCE, client.write_all(&document)).await;
            });
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::fs::symlink_metadata(&self.path).is_ok_and(|metadata| metadata.ino() == self.file) {
            // It may be gone with its folder.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The status of the mount at a path, if its daemon answers.
pub fn status(mountpoint: &Path) -> io::Result<Snapshot> {
    check_private(&runtime_dir())?;
    let mut client = UnixStream::connect(socket_path(mountpoint))?;
    client.set_read_timeout(Some(PATIENCE))?;
    let mut document = Vec::new();
    client.read_to_end(&mut document)?;
    serde_json::from_slice(&document).map_err(io::Error::from)
}

/// The process that serves the mount at a path, if it answers.
pub fn ping(mountpoint: &Path) -> Option<u32> {
    status(mountpoint).ok().map(|snapshot| snapshot.pid)
}

/// Whether the process that made the socket of a mountpoint is gone, while something of it keeps the socket open (and,
/// if it is a thread in the kernel, the mount alive that nobody serves any more).
pub fn is_orphaned(mountpoint: &Path) -> bool {
    let Ok(client) = UnixStream::connect(socket_path(mountpoint)) else { return false };
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the descriptor is open, and the buffer and its length belong together.
    let known = unsafe {
        libc::getsockopt(
            client.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut length,
        )
    };
    known == 0 && u32::try_from(peer.pid).is_ok_and(|pid| pid > 0 && is_gone(pid))
}

/// Whether a process has ended, whoever has yet to be told.
pub fn is_gone(pid: u32) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        // `pid (name) state`, where the name may hold anything: proc_pid_stat(5).
        Ok(stat) => stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['Z', 'X'])),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// A folder that is ours alone; one in a shared place that someone else made is refused.
fn make_private_dir(path: &Path) -> io::Result<()> {
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    check_private(path)
}

/// What somebody else can put into the folder must not be believed.
fn check_private(path: &Path) -> io::Result<()> {
    let metadata = std::fs::symlink_metadata(path)?;
    match metadata.is_dir() && metadata.uid() == user() && metadata.mode() & 0o022 == 0 {
        true => Ok(()),
        false => Err(io::Error::other(format!("{} is not a private folder of this user", path.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_readable_and_distinct() {
        assert!(name_of(Path::new("/app/data/mast")).starts_with("app-data-mast-"));
        assert_ne!(name_of(Path::new("/a/b")), name_of(Path::new("/a-b")));
    }

    #[tokio::test]
    async fn a_daemon_that_lingers_leaves_the_socket_of_its_successor() {
        let mountpoint = PathBuf::from(format!("/test-of-sockets/{}", std::process::id()));
        let old = Server::bind(&mountpoint).unwrap();
        let new = Server::bind(&mountpoint).unwrap();
        drop(old);
        assert!(socket_path(&mountpoint).exists());
        drop(new);
        assert!(!socket_path(&mountpoint).exists());
    }
}
