//! Memory mappings, which are what astropy opens files by.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::ptr;

/// The unit of mappings.
pub const PAGE: usize = 4096;

/// A mapping of a file.
pub struct Map {
    start: *mut libc::c_void,
    len: usize,
}

// SAFETY: the memory belongs to the value, and is written only through an exclusive reference.
unsafe impl Send for Map {}
// SAFETY: as above.
unsafe impl Sync for Map {}

impl Map {
    /// `MAP_SHARED`, read-only.
    pub fn shared(file: &File, offset: u64, len: usize) -> Self {
        Self::new(file, offset, len, libc::PROT_READ, libc::MAP_SHARED)
    }

    /// `MAP_PRIVATE`, writable.
    pub fn private(file: &File, offset: u64, len: usize) -> Self {
        Self::new(file, offset, len, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE)
    }

    fn new(file: &File, offset: u64, len: usize, protection: i32, flags: i32) -> Self {
        // SAFETY: the kernel chooses the place; the result is checked.
        let start =
            unsafe { libc::mmap(ptr::null_mut(), len, protection, flags, file.as_raw_fd(), offset as libc::off_t) };
        assert_ne!(start, libc::MAP_FAILED, "mmap: {}", std::io::Error::last_os_error());
        Self { start, len }
    }

    /// Its bytes. Touching what cannot be read kills the process by SIGBUS.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping is readable and lives as long as the value.
        unsafe { std::slice::from_raw_parts(self.start.cast(), self.len) }
    }

    /// Its bytes, of a private mapping.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: the mapping is writable where this is called, and lives as long as the value.
        unsafe { std::slice::from_raw_parts_mut(self.start.cast(), self.len) }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: this very range was mapped and nothing borrows it any more.
        unsafe { libc::munmap(self.start, self.len) };
    }
}

/// How a child process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    With(i32),
    BySignal(i32),
}

/// Runs `child` in a process of its own. It must not allocate, since other threads may hold the allocator.
pub fn in_child(child: impl FnOnce() -> i32) -> Ended {
    // SAFETY: the child calls only what its contract above allows, then leaves without running destructors.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
    if pid == 0 {
        let code = child();
        // SAFETY: _exit is always safe to call.
        unsafe { libc::_exit(code) };
    }
    let mut status = 0;
    // SAFETY: the pid is that of our child.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    match libc::WIFSIGNALED(status) {
        true => Ended::BySignal(libc::WTERMSIG(status)),
        false => Ended::With(libc::WEXITSTATUS(status)),
    }
}
