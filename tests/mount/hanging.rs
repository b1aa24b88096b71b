//! Disks for the cache that stop answering on demand. Both answer again at the end of a test, however it ends.

use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, BsdFileFlags, Errno, FileAttr, FileHandle, FileType, FopenFlags, Generation, INodeNo, LockOwner,
    OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen,
    ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use tempfile::TempDir;

/// A filesystem whose server answers nothing while it is told to hang: neither reads nor writes, nor anything else. That is
/// how a server of NFS that is gone looks.
pub struct HangingDisk {
    gate: Arc<Gate>,
    session: Option<BackgroundSession>,
    folder: TempDir,
}

#[derive(Default)]
struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    closed: bool,
    /// Someone waits for an answer.
    waited_for: bool,
}

impl Gate {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, closed: bool) {
        *self.state() = State { closed, waited_for: false };
        self.changed.notify_all();
    }

    fn pass(&self) {
        let mut state = self.state();
        state.waited_for |= state.closed;
        drop(self.changed.wait_while(state, |state| state.closed));
    }
}

impl HangingDisk {
    /// One that answers.
    pub fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let [behind, mountpoint] = ["behind", "disk"].map(|name| folder.path().join(name));
        fs::create_dir(&behind).unwrap();
        fs::create_dir(&mountpoint).unwrap();
        let gate = Arc::new(Gate::default());
        let served =
            Served { gate: gate.clone(), paths: Mutex::new(HashMap::from([(1, behind)])), files: Mutex::default() };
        let session = fuser::spawn_mount(served, &mountpoint, &fuser::Config::default()).expect("mount a disk");
        Self { gate, session: Some(session), folder }
    }

    /// Where to put files.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    /// Nothing is answered from now on.
    pub fn hang(&self) {
        self.gate.set(true);
    }

    /// Whether it hangs and someone waits for it.
    pub fn is_waited_for(&self) -> bool {
        self.gate.state().waited_for
    }

    /// It goes on.
    pub fn answer(&self) {
        self.gate.set(false);
    }
}

impl Drop for HangingDisk {
    fn drop(&mut self) {
        self.answer();
        // A daemon that is left may have files open.
        let _ = Command::new("umount").arg("-l").arg(self.path()).output();
        drop(self.session.take());
    }
}

/// What is behind a [`HangingDisk`]: another folder.
struct Served {
    gate: Arc<Gate>,
    paths: Mutex<HashMap<u64, PathBuf>>,
    files: Mutex<HashMap<u64, Arc<File>>>,
}

impl Served {
    /// The path of an inode, once the gate is open.
    fn path(&self, ino: INodeNo) -> io::Result<PathBuf> {
        self.gate.pass();
        self.paths.lock().unwrap().get(&ino.0).cloned().ok_or(io::ErrorKind::NotFound.into())
    }

    fn file(&self, handle: FileHandle) -> io::Result<Arc<File>> {
        self.gate.pass();
        self.files.lock().unwrap().get(&handle.0).cloned().ok_or(io::ErrorKind::NotFound.into())
    }

    /// What is at a path, which is known from now on.
    fn found(&self, path: PathBuf) -> io::Result<FileAttr> {
        let attributes = attributes(&path.symlink_metadata()?);
        self.paths.lock().unwrap().insert(attributes.ino.0, path);
        Ok(attributes)
    }

    fn keep(&self, file: File) -> FileHandle {
        let handle = file.as_raw_fd() as u64;
        self.files.lock().unwrap().insert(handle, Arc::new(file));
        FileHandle(handle)
    }

    fn child(&self, parent: INodeNo, name: &OsStr) -> io::Result<PathBuf> {
        self.path(parent).map(|folder| folder.join(name))
    }

    fn change(&self, ino: INodeNo, mode: Option<u32>, size: Option<u64>) -> io::Result<FileAttr> {
        let path = self.path(ino)?;
        if let Some(mode) = mode {
            fs::set_permissions(&path, Permissions::from_mode(mode & 0o7777))?;
        }
        if let Some(size) = size {
            OpenOptions::new().write(true).open(&path)?.set_len(size)?;
        }
        self.attributes_of(ino, &path)
    }

    fn attributes_of(&self, ino: INodeNo, path: &Path) -> io::Result<FileAttr> {
        Ok(FileAttr { ino, ..attributes(&path.symlink_metadata()?) })
    }
}

fn attributes(found: &Metadata) -> FileAttr {
    let kind = if found.is_dir() { FileType::Directory } else { FileType::RegularFile };
    let time = UNIX_EPOCH + Duration::new(found.mtime() as u64, found.mtime_nsec() as u32);
    FileAttr {
        ino: INodeNo(found.ino()),
        size: found.len(),
        blocks: found.blocks(),
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind,
        perm: (found.mode() & 0o7777) as u16,
        nlink: found.nlink() as u32,
        uid: found.uid(),
        gid: found.gid(),
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

fn errno(error: io::Error) -> Errno {
    let code = if error.kind() == io::ErrorKind::NotFound { libc::ENOENT } else { libc::EIO };
    Errno::from_i32(error.raw_os_error().unwrap_or(code))
}

/// Answers what has come to no error by this method of the reply, and else by the error.
macro_rules! answer {
    ($reply:ident, $outcome:expr, |$value:pat_param| $($answer:tt)*) => {
        match (|| -> io::Result<_> { Ok($outcome) })() {
            Ok($value) => $reply.$($answer)*,
            Err(error) => $reply.error(errno(error)),
        }
    };
}

const NONE: Duration = Duration::ZERO;

impl fuser::Filesystem for Served {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        answer!(reply, self.found(self.child(parent, name)?)?, |found| entry(&NONE, &found, Generation(0)));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        answer!(reply, self.attributes_of(ino, &self.path(ino)?)?, |found| attr(&NONE, &found));
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<std::time::SystemTime>,
        _: Option<FileHandle>,
        _: Option<std::time::SystemTime>,
        _: Option<std::time::SystemTime>,
        _: Option<std::time::SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        answer!(reply, self.change(ino, mode, size)?, |found| attr(&NONE, &found));
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, reply: ReplyEntry) {
        let make = || {
            let path = self.child(parent, name)?;
            fs::DirBuilder::new().mode(mode).create(&path)?;
            self.found(path)
        };
        answer!(reply, make()?, |found| entry(&NONE, &found, Generation(0)));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer!(reply, fs::remove_file(self.child(parent, name)?)?, |()| ok());
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        to: INodeNo,
        new: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        answer!(reply, fs::rename(self.child(parent, name)?, self.child(to, new)?)?, |()| ok());
    }

    fn link(&self, _: &Request, ino: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let link = || {
            let path = self.child(parent, name)?;
            fs::hard_link(self.path(ino)?, &path)?;
            self.found(path)
        };
        answer!(reply, link()?, |found| entry(&NONE, &found, Generation(0)));
    }

    fn create(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, flags: i32, reply: ReplyCreate) {
        let create = || {
            let path = self.child(parent, name)?;
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).mode(mode).custom_flags(flags & libc::O_EXCL);
            let file = options.open(&path)?;
            Ok::<_, io::Error>((self.found(path)?, self.keep(file)))
        };
        let flags = FopenFlags::empty();
        answer!(reply, create()?, |(found, handle)| created(&NONE, &found, Generation(0), handle, flags));
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let open = || OpenOptions::new().read(true).write(true).open(self.path(ino)?);
        answer!(reply, self.keep(open()?), |handle| opened(handle, FopenFlags::empty()));
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = || {
            let mut bytes = vec![0; size as usize];
            let length = self.file(handle)?.read_at(&mut bytes, offset)?;
            bytes.truncate(length);
            Ok::<_, io::Error>(bytes)
        };
        answer!(reply, read()?, |bytes| data(&bytes));
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        answer!(reply, self.file(handle)?.write_all_at(data, offset)?, |()| written(data.len() as u32));
    }

    fn flush(&self, _: &Request, _: INodeNo, handle: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        answer!(reply, self.file(handle)?, |_| ok());
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.files.lock().unwrap().remove(&handle.0);
        reply.ok();
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let list = || {
            let found = fs::read_dir(self.path(ino)?)?;
            found.map(|entry| entry.and_then(|entry| Ok((entry.file_name(), entry.metadata()?)))).collect()
        };
        let entries: Vec<(std::ffi::OsString, Metadata)> = match list() {
            Ok(entries) => entries,
            Err(error) => return reply.error(errno(error)),
        };
        for ((name, metadata), next) in entries.into_iter().zip(1..).skip(offset as usize) {
            let FileAttr { ino, kind, .. } = attributes(&metadata);
            if reply.add(ino, next, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        self.gate.pass();
        reply.statfs(1 << 30, 1 << 29, 1 << 29, 1 << 20, 1 << 20, 4096, 255, 4096);
    }
}

/// A filesystem on a file, which can be frozen as for a snapshot (`fsfreeze(8)`): writes hang, and so does making files,
/// while what is there can be read. None where this machine cannot make one, which is said.
pub struct FreezableDisk {
    folder: TempDir,
    root: File,
}

/// `FIFREEZE` and `FITHAW` (`include/uapi/linux/fs.h` of Linux).
const FREEZE: libc::Ioctl = 0xc004_5877_u32 as libc::Ioctl;
const THAW: libc::Ioctl = 0xc004_5878_u32 as libc::Ioctl;

impl FreezableDisk {
    /// One that answers.
    pub fn new() -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let [image, mountpoint] = ["image", "disk"].map(|name| folder.path().join(name));
        File::create(&image).unwrap().set_len(256 << 20).unwrap();
        fs::create_dir(&mountpoint).unwrap();
        let run = |program: &str, options: &[&str], places: &[&Path]| {
            let output = Command::new(program).args(options).args(places).output();
            output.is_ok_and(|output| output.status.success())
        };
        let is_made =
            run("mkfs.ext4", &["-q", "-F"], &[&image]) && run("mount", &["-o", "loop"], &[&image, &mountpoint]);
        if !is_made {
            eprintln!("NOT TESTED: this machine cannot mount a file as ext4 (mkfs.ext4, loop devices)");
            return None;
        }
        let root = File::open(&mountpoint).unwrap();
        Some(Self { folder, root })
    }

    /// Where to put files.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    /// Nothing is written from now on.
    pub fn freeze(&self) {
        assert_eq!(self.control(FREEZE), 0, "{}", io::Error::last_os_error());
    }

    /// It goes on.
    pub fn thaw(&self) {
        self.control(THAW);
    }

    fn control(&self, request: libc::Ioctl) -> i32 {
        // SAFETY: the descriptor is open; these requests read no argument.
        unsafe { libc::ioctl(self.root.as_raw_fd(), request, 0) }
    }
}

impl Drop for FreezableDisk {
    fn drop(&mut self) {
        // It is not frozen any more where a test has come to its end.
        self.thaw();
        let path = CString::new(self.path().as_os_str().as_bytes()).unwrap();
        // SAFETY: the path is NUL-terminated and outlives the call.
        unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) };
    }
}
