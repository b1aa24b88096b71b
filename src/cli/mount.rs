//! `fitsfs mount` and `fitsfs unmount`.
//!
//! There is one way to start: in the foreground. Without `--foreground` the command starts itself once more with it,
//! in a session of its own, and waits until that process says on its standard output that the mount answers, or ends
//! with its error on standard error.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::args::{DEFAULT_MOUNTPOINT, MountArgs};
use super::logging;
use crate::config::{self, MountConfig, MountSource, Ownership};
use crate::control;
use crate::fs::Shown;
use crate::manifest;
use crate::mount::{self, point};
use crate::printable::printable;

/// After `unmount` the daemon needs a moment to finish, and is waited for no longer than this.
const EXIT_PATIENCE: Duration = Duration::from_secs(5);

/// Mounts, in the background unless told otherwise.
pub fn run(args: MountArgs, arguments: &[OsString]) -> Result<(), String> {
    let foreground = args.foreground;
    let (filter, log_file) = (args.log.clone(), args.log_file.clone());
    let mut config = resolve(args)?;
    if !foreground {
        return start_in_background(&config.mountpoint, arguments);
    }
    logging::start(&filter, log_file.as_deref())?;
    keep_memory_small();
    allow_open_files();
    config.mountpoint = point::prepare(&config.mountpoint)?;
    mount::run(&config, |shown| announce(&config, shown, log_file.is_some()))
}

/// Takes a mount away and waits for its daemon to finish.
pub fn unmount(mountpoint: &Path) -> Result<(), String> {
    let mountpoint = point::resolve(mountpoint)?;
    point::unmount(&mountpoint)?;
    let started = Instant::now();
    while control::ping(&mountpoint).is_some() && started.elapsed() < EXIT_PATIENCE {
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn resolve(args: MountArgs) -> Result<MountConfig, String> {
    let (sources, mountpoint) = split_places(args.places);
    let sources = MountSource::resolve(&sources, &args.s3.options(), args.layout.as_ref(), super::environment);
    let sources = sources.map_err(|error| error.to_string())?;
    // SAFETY: getuid and getgid have no preconditions and cannot fail.
    let (uid, gid) = unsafe { (libc::getuid(), libc::getgid()) };
    let cache_dir = super::cache_place(args.cache_dir)?.filter(|_| args.cache_size.as_u64() > 0);
    if args.offline && cache_dir.is_none() {
        return Err(
            "--offline serves what is in the cache, and there is none: name a folder with --cache-dir, and no \
                    --cache-size of 0"
                .to_owned(),
        );
    }
    Ok(MountConfig {
        sources,
        local_lists: args.local_lists,
        at: args.at,
        mountpoint: point::resolve(&mountpoint)?,
        memory: args.memory.as_u64(),
        budget_bytes: args.budget_bytes.map(|size| size.as_u64()),
        budget_requests: args.budget_requests,
        metadata_ttl: args.metadata_ttl,
        cache_dir,
        cache_size: args.cache_size.as_u64(),
        cache_shared: args.cache_shared,
        offline: args.offline,
        gunzip: args.gunzip,
        allow_other: args.allow_other,
        ownership: Ownership { uid: args.uid.unwrap_or(uid), gid: args.gid.unwrap_or(gid), umask: args.umask },
    })
}

/// The last argument is the mountpoint if it is a path; the others are sources.
fn split_places(mut places: Vec<String>) -> (Vec<String>, PathBuf) {
    let is_source = |place: &str| manifest::is_named(place) || config::is_file_of_sources(place);
    let is_file = |place: &str| is_source(place) && Path::new(place).is_file();
    let mountpoint = places.pop_if(|last| last.starts_with(['/', '.']) && !is_file(last));
    (places, mountpoint.map_or_else(|| PathBuf::from(DEFAULT_MOUNTPOINT), PathBuf::from))
}

fn start_in_background(mountpoint: &Path, arguments: &[OsString]) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let log = logging::file_for(mountpoint)?;
    let mut command = Command::new(program);
    command.args(arguments.iter().skip(1)).arg("--foreground").arg("--log-file").arg(&log);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // SAFETY: what it calls is async-signal-safe and touches no memory of the parent.
    unsafe { command.pre_exec(leave_caller) };
    let mut child = command.spawn().map_err(|error| format!("cannot start the daemon: {error}"))?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line).map_err(|error| format!("cannot hear the daemon: {error}"))?;
    }
    if !line.is_empty() {
        print!("{line}");
        return Ok(());
    }
    let mut message = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        // What could be read is all there is to say.
        let _ = stderr.read_to_string(&mut message);
    }
    let message = message.trim().trim_start_matches("fitsfs: ");
    match message.is_empty() {
        true => Err(format!("the daemon ended without a word; its log is {}", log.display())),
        false => Err(message.to_owned()),
    }
}

/// Leaves the session of the caller and the files that it has open beyond the standard ones: locks and pipes that must
/// not live as long as the mount.
fn leave_caller() -> std::io::Result<()> {
    // SAFETY: setsid has no preconditions; close_range takes no pointers and only marks descriptors for the exec.
    unsafe {
        // Kernels before 5.11 cannot: the files stay open then.
        libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
        if libc::setsid() < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// Says that the mount answers. A process in the background lets go of the terminal then, and of the folder that it was
/// started in: not before, for the arguments may be relative to it.
fn announce(config: &MountConfig, shown: &[Shown], background: bool) {
    if background && let Err(error) = std::env::set_current_dir("/") {
        tracing::warn!(%error, "cannot let go of the current folder");
    }
    let mut stdout = std::io::stdout();
    let line = format!("{} mounted at {}{}", named(&config.sources), config.mountpoint.display(), notes(config, shown));
    // The caller may not listen.
    let _ = writeln!(stdout, "{}", printable(&line));
    let _ = stdout.flush();
    mount::notify_systemd(&[sd_notify::NotifyState::Ready]);
    if !background {
        return;
    }
    match std::fs::OpenOptions::new().read(true).write(true).open("/dev/null") {
        Ok(null) => [libc::STDOUT_FILENO, libc::STDERR_FILENO].into_iter().for_each(|fd| {
            // SAFETY: both descriptors are open, and replacing the standard ones closes nothing that Rust owns.
            unsafe { libc::dup2(null.as_raw_fd(), fd) };
        }),
        Err(error) => tracing::warn!(%error, "cannot let go of the terminal"),
    }
}

/// What is mounted, as the beginning of a sentence.
fn named(sources: &[MountSource]) -> String {
    match sources {
        [one] => format!("{one} is"),
        [one, other] => format!("{one} and {other} are"),
        [one, other, third] => format!("{one}, {other} and {third} are"),
        [one, other, rest @ ..] => format!("{one}, {other} and {} others are", rest.len()),
        [] => "nothing is".to_owned(),
    }
}

/// What is odd about sources.
fn notes(config: &MountConfig, shown: &[Shown]) -> String {
    let note = |(source, shown): (&MountSource, &Shown)| {
        let it = if config.sources.len() > 1 { source.to_string() } else { "it".to_owned() };
        match shown {
            Shown::Names => String::new(),
            Shown::Odd(what) => format!("; {what}"),
            Shown::Nothing => format!("; {it} holds no keys: is the prefix right?"),
            Shown::Refusal => format!("; {it} refuses to be listed: paths must be known, and directories are assumed"),
        }
    };
    config.sources.iter().zip(shown).map(note).collect()
}

/// A file that a program has open is two open files of the cache: as many as the system allows at all.
fn allow_open_files() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` outlives both calls.
    let raised = unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 && {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) == 0
        }
    };
    if !raised {
        tracing::debug!(error = %std::io::Error::last_os_error(), "the limit of open files stays as it is");
    }
}

/// Makes the C library return what large buffers took at once: they come and go with every fetch, and by default it
/// learns to keep them.
fn keep_memory_small() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt only sets parameters of the allocator.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 64 << 10);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 1 << 20);
        libc::mallopt(libc::M_ARENA_MAX, 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_argument_is_the_mountpoint_if_it_is_a_path() {
        let split = |places: &[&str]| split_places(places.iter().map(|p| (*p).to_owned()).collect());
        assert_eq!(split(&[]), (vec![], PathBuf::from(DEFAULT_MOUNTPOINT)));
        assert_eq!(split(&["s3://b", "./x"]), (vec!["s3://b".to_owned()], PathBuf::from("./x")));
        assert_eq!(split(&["/mnt"]), (vec![], PathBuf::from("/mnt")));
        assert_eq!(split(&["s3://b"]), (vec!["s3://b".to_owned()], PathBuf::from(DEFAULT_MOUNTPOINT)));
    }
}
