//! The status socket: how `fitsfs status`, `trace` and `mount` find the daemon of a mountpoint.
//!
//! A Unix socket per mount, in a folder that only its user may enter. Its path follows from the mountpoint, so that
//! it is found without touching the mount. A client writes one line, a [`Request`], and reads one JSON document up to
//! the end: a [`Snapshot`] or a [`Trace`], or an object whose only field is `error`.

use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::geteuid;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixListener;
use xxhash_rust::xxh3::xxh3_64;

use crate::metrics::Snapshot;
use crate::trace::Trace;

/// How long a daemon may take to answer, which it does from memory, and a client to ask and to take the answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// No request is longer, in bytes.
const MAX_REQUEST: u64 = 256;

/// What a client may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// The values of all counters.
    Status,
    /// What happened to which file.
    Trace,
    /// The same, which is forgotten then.
    TraceClear,
}

impl Request {
    const ALL: [Self; 3] = [Self::Status, Self::Trace, Self::TraceClear];

    /// The line that a client writes.
    fn line(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Trace => "trace",
            Self::TraceClear => "trace-clear",
        }
    }

    fn parse(line: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|request| request.line() == line)
    }
}

/// Answers a request with a JSON document.
pub type Answer = dyn Fn(Request) -> serde_json::Result<Vec<u8>> + Send + Sync;

/// A name for files that belong to a mountpoint: readable, and distinct by a hash.
pub fn name_of(mountpoint: &Path) -> String {
    let path = mountpoint.to_string_lossy();
    let readable: String =
        path.trim_matches('/').chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(64).collect();
    format!("{readable}-{:08x}", xxh3_64(path.as_bytes()) as u32)
}

/// Where the socket of a mountpoint is.
fn socket_path(mountpoint: &Path) -> PathBuf {
    socket_in(&runtime_dir(), mountpoint)
}

fn socket_in(folder: &Path, mountpoint: &Path) -> PathBuf {
    folder.join(name_of(mountpoint)).with_extension("sock")
}

/// `/run/fitsfs` for root, `$XDG_RUNTIME_DIR/fitsfs` or `/tmp/fitsfs-UID` for others.
fn runtime_dir() -> PathBuf {
    let uid = geteuid().as_raw();
    match std::env::var_os("XDG_RUNTIME_DIR") {
        _ if uid == 0 => PathBuf::from("/run/fitsfs"),
        Some(dir) if !dir.is_empty() => PathBuf::from(dir).join("fitsfs"),
        _ => PathBuf::from(format!("/tmp/fitsfs-{uid}")),
    }
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
    pub async fn serve(self, answer: Arc<Answer>) {
        loop {
            let Ok((client, _)) = self.listener.accept().await else {
                // Out of descriptors, most likely: no reason to spin.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            tokio::spawn(converse(client, answer.clone()));
        }
    }
}

/// Takes one request and answers it. A client that says nothing, or does not listen, is dropped.
async fn converse(mut client: tokio::net::UnixStream, answer: Arc<Answer>) {
    let mut line = String::new();
    let mut asking = BufReader::new((&mut client).take(MAX_REQUEST));
    let Ok(Ok(1..)) = tokio::time::timeout(PATIENCE, asking.read_line(&mut line)).await else { return };
    let line = line.trim_end().to_owned();
    // A trace of many files takes its time to write down: the threads that serve programs do not wait for it.
    let document = tokio::task::spawn_blocking(move || match Request::parse(&line) {
        Some(request) => answer(request),
        None => serde_json::to_vec(&Refusal {
            error: format!("version {} does not know the request {line:?}", env!("CARGO_PKG_VERSION")),
        }),
    });
    if let Ok(Ok(document)) = document.await {
        // A client that has gone away misses nothing.
        let _ = tokio::time::timeout(PATIENCE, client.write_all(&document)).await;
    }
}

/// The answer to what cannot be answered.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Refusal {
    error: String,
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
    ask(mountpoint, Request::Status)
}

/// What happened in the mount at a path, if its daemon answers; `clear` makes it forget that. A daemon of another
/// version may not know the question: the error is of the kind `InvalidData` then.
pub fn trace(mountpoint: &Path, clear: bool) -> io::Result<Trace> {
    ask(mountpoint, if clear { Request::TraceClear } else { Request::Trace })
}

/// The daemon that serves a mountpoint, and its process: one of this user, by a socket that no other user can have made.
/// A connection may have to wait for others: no longer than for an answer.
fn connect(folder: &Path, mountpoint: &Path) -> io::Result<(UnixStream, u32)> {
    check_private(folder)?;
    let address = SocketAddrUnix::new(socket_in(folder, mountpoint))?;
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let began = Instant::now();
    while let Err(error) = rustix::net::connect(&socket, &address) {
        if error != Errno::AGAIN {
            return Err(error.into());
        }
        if began.elapsed() > PATIENCE {
            return Err(io::ErrorKind::TimedOut.into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let peer = rustix::net::sockopt::socket_peercred(&socket)?;
    if peer.uid.as_raw() != geteuid().as_raw() {
        return Err(io::Error::other("the socket is another user's"));
    }
    let client = UnixStream::from(socket);
    client.set_nonblocking(false)?;
    Ok((client, peer.pid.as_raw_pid().cast_unsigned()))
}

fn ask<T: DeserializeOwned>(mountpoint: &Path, request: Request) -> io::Result<T> {
    let (mut client, _) = connect(&runtime_dir(), mountpoint)?;
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    // Before there were requests, a daemon told its status and closed the connection, whatever it was asked.
    let asked = client.write_all(format!("{}\n", request.line()).as_bytes());
    let mut document = Vec::new();
    match asked.and_then(|()| client.read_to_end(&mut document).map(drop)) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => drop(client.read_to_end(&mut document)?),
        Err(error) if document.is_empty() || error.kind() != io::ErrorKind::ConnectionReset => return Err(error),
        _ => {}
    }
    if let Ok(Refusal { error }) = serde_json::from_slice(&document) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, error));
    }
    serde_json::from_slice(&document).map_err(io::Error::from)
}

/// The process that serves the mount at a path, if it answers.
pub fn ping(mountpoint: &Path) -> Option<u32> {
    status(mountpoint).ok().map(|snapshot| snapshot.pid)
}

/// Whether the process that made the socket of a mountpoint is gone, while something of it keeps the socket open (and,
/// if it is a thread in the kernel, the mount alive, which is no longer served).
pub fn is_orphaned(mountpoint: &Path) -> bool {
    connect(&runtime_dir(), mountpoint).is_ok_and(|(_, pid)| is_gone(pid))
}

/// Whether a process has ended, also if its parent has not waited for it yet.
pub fn is_gone(pid: u32) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        // `pid (name) state`, where the name may hold anything: proc_pid_stat(5).
        Ok(stat) => stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['Z', 'X'])),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// A folder that is ours alone; one in a shared place that another user made is refused.
fn make_private_dir(path: &Path) -> io::Result<()> {
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    check_private(path)
}

/// Refuses a folder that other users can write to: a socket in it may be theirs.
fn check_private(path: &Path) -> io::Result<()> {
    let metadata = std::fs::symlink_metadata(path)?;
    match metadata.is_dir() && metadata.uid() == geteuid().as_raw() && metadata.mode() & 0o022 == 0 {
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

    /// A daemon for a test, and what it is asked.
    fn answering() -> (PathBuf, Server, Arc<Answer>) {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mountpoint = PathBuf::from(format!("/test-of-requests/{}-{number}", std::process::id()));
        let server = Server::bind(&mountpoint).unwrap();
        let answer = |request| match request {
            Request::Status => serde_json::to_vec(&crate::metrics::Metrics::new().snapshot()),
            Request::Trace => serde_json::to_vec(&Trace { now_us: 1, ..Trace::default() }),
            Request::TraceClear => serde_json::to_vec(&Trace { now_us: 2, ..Trace::default() }),
        };
        (mountpoint, server, Arc::new(answer))
    }

    async fn say(mountpoint: &Path, what: &[u8]) -> String {
        let mut client = tokio::net::UnixStream::connect(socket_path(mountpoint)).await.unwrap();
        client.write_all(what).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn each_request_has_its_answer() {
        let (mountpoint, server, answer) = answering();
        let serving = tokio::spawn(server.serve(answer));
        let at = mountpoint.clone();
        let answers = tokio::task::spawn_blocking(move || {
            (status(&at).unwrap().pid, trace(&at, false).unwrap().now_us, trace(&at, true).unwrap().now_us)
        });
        assert_eq!(answers.await.unwrap(), (std::process::id(), 1, 2));
        let unknown = say(&mountpoint, b"dance\n").await;
        assert!(unknown.starts_with(r#"{"error":"version "#) && unknown.contains("dance"), "{unknown}");
        let endless = say(&mountpoint, &[b'x'; 256]).await;
        assert!(endless.contains("does not know the request"), "{endless}");
        serving.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_says_nothing_is_dropped() {
        let (mountpoint, server, answer) = answering();
        let serving = tokio::spawn(server.serve(answer));
        let began = tokio::time::Instant::now();
        assert_eq!(say(&mountpoint, b"").await, "");
        assert!(began.elapsed() >= PATIENCE);
        serving.abort();
    }

    #[tokio::test]
    async fn a_daemon_from_before_there_were_requests_is_understood() {
        let (mountpoint, server, answer) = answering();
        std::fs::remove_file(socket_path(&mountpoint)).unwrap();
        let listener = std::os::unix::net::UnixListener::bind(socket_path(&mountpoint)).unwrap();
        let old = std::thread::spawn(move || {
            for client in listener.incoming().take(2) {
                client.unwrap().write_all(&answer(Request::Status).unwrap()).unwrap();
            }
        });
        let at = mountpoint.clone();
        let answers = tokio::task::spawn_blocking(move || (status(&at).unwrap().pid, trace(&at, false)));
        let (pid, trace) = answers.await.unwrap();
        assert_eq!((pid, trace.unwrap_err().kind()), (std::process::id(), io::ErrorKind::InvalidData));
        old.join().unwrap();
        std::fs::remove_file(socket_path(&mountpoint)).unwrap();
        drop(server);
    }

    /// A folder for sockets, and a socket in it that is listened on, and never answered.
    fn silent() -> (tempfile::TempDir, PathBuf, std::os::unix::net::UnixListener) {
        let folder = tempfile::tempdir().unwrap();
        let mountpoint = PathBuf::from("/test-of-silence");
        let listener = std::os::unix::net::UnixListener::bind(socket_in(folder.path(), &mountpoint)).unwrap();
        (folder, mountpoint, listener)
    }

    #[test]
    fn a_listener_that_does_not_accept_keeps_nobody() {
        let (folder, mountpoint, listener) = silent();
        // Listening again makes the queue of waiting clients as short as one.
        rustix::net::listen(&listener, 0).unwrap();
        let _first = connect(folder.path(), &mountpoint).unwrap();
        let began = Instant::now();
        assert_eq!(connect(folder.path(), &mountpoint).unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() < 2 * PATIENCE);
    }

    #[test]
    fn a_folder_that_others_made_or_can_write_is_not_believed() {
        let (folder, mountpoint, _listener) = silent();
        assert!(connect(folder.path(), &mountpoint).is_ok());
        let set_mode = |mode| std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        set_mode(0o777);
        assert!(connect(folder.path(), &mountpoint).is_err());
        set_mode(0o700);
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path(), &link).unwrap();
        assert!(connect(&link, &mountpoint).is_err());
        if geteuid().as_raw() == 0 {
            std::os::unix::fs::chown(folder.path(), Some(1000), None).unwrap();
            assert!(connect(folder.path(), &mountpoint).is_err());
        }
    }
}
