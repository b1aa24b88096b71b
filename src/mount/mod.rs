//! The composition root: builds the layers for one mount, holds them while it is mounted, and takes them down.

mod cache;
mod cgroup;
mod guardian;
mod kernel;
pub mod mountinfo;
pub mod point;
mod sources;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fuser::{MountOption, SessionACL};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::guardian::Guardian;
use self::sources::{Opener, Trees};
use crate::cache::Budget;
use crate::config::MountConfig;
use crate::control::{self, Request};
use crate::fs::{self, Filesystem, Parts, Shown};
use crate::fuse::{Adapter, Invalidator, KernelPages};
use crate::gunzip::Gunzip;
use crate::metrics::{Health, Metrics, Snapshot};
use crate::read::{Reader, ReaderConfig};
use crate::store::{Allowance, rfc3339};
use crate::trace::Trace;
use crate::tree::{Peeks, Unpacked};

/// After a signal, programs that still have files open get this long to close them.
const CLOSING_PATIENCE: Duration = Duration::from_secs(5);

/// Readahead of a sequential reader has at most this many bytes: twice what 700 MB/s deliver in 50 ms.
pub const MAX_AHEAD: u64 = 64 << 20;

/// Readahead of a single reader may not take more than this share of the memory budget, and of the memory of the control
/// group that the pushed pages are charged to.
const AHEAD_SHARE: u64 = 8;

/// A region that is fetched whole may take this share of the cache on disk, or of the memory budget where there is none.
const REGION_SHARE: u64 = 2;

/// What unpacks gzip files has this share of the memory budget.
const UNPACKING_SHARE: u64 = 4;

/// Threads that read requests from the kernel, and threads that serve them.
const EVENT_LOOPS: usize = 2;
const WORKERS: usize = 2;

/// What a mount is made of.
struct Layers {
    fs: Arc<Filesystem>,
    reader: Arc<Reader>,
    /// Where both count.
    metrics: Arc<Metrics>,
    /// Whether sources answer, by their URLs.
    health: Vec<(String, Health)>,
    /// What requests may come to, if that is bounded.
    allowance: Option<Arc<Allowance>>,
}

/// Mounts and serves until the mount is taken away or a signal comes. Calls `ready` once programs can use the mount.
/// The error is one line with the cause and the remedy.
pub fn run(config: &MountConfig, ready: impl FnOnce(&[Shown])) -> Result<(), String> {
    let mut guardian =
        Guardian::fork(&config.mountpoint).map_err(|error| format!("cannot start the guardian: {error}"))?;
    let runtime = runtime().map_err(|error| format!("cannot start the worker threads: {error}"))?;
    let outcome = run_on(&runtime, config, &mut guardian, ready);
    // A thread that waits for the disk may hang, and is not waited for.
    runtime.shutdown_background();
    outcome
}

fn run_on(
    runtime: &Runtime,
    config: &MountConfig,
    guardian: &mut Guardian,
    ready: impl FnOnce(&[Shown]),
) -> Result<(), String> {
    let (parts, shown) = runtime.block_on(open(config, runtime))?;
    let signals = Signals::listen(runtime).map_err(|error| format!("cannot listen for signals: {error}"))?;
    let mounted = Mounted::new(config, parts, runtime)?;
    guardian.arm(&config.mountpoint);
    ready(&shown);
    let outcome = mounted.serve(runtime, signals);
    guardian.disarm();
    outcome
}

/// In the smallest control groups data may still take half of this share of the limit. Such a mount may be ended by the
/// kernel; without memory for data it could not read at all.
const MIN_DIVISOR: u64 = 8;

fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).thread_name("worker").enable_all().build()
}

/// Opens the stores, makes sure that they answer, and builds the filesystem on them.
async fn open(config: &MountConfig, runtime: &Runtime) -> Result<(Layers, Vec<Shown>), String> {
    let (metrics, memory) = (Arc::new(Metrics::new()), memory_budget(config.memory));
    let is_bounded = config.budget_bytes.is_some() || config.budget_requests.is_some();
    let allowance = is_bounded.then(|| Arc::new(Allowance::new(config.budget_bytes, config.budget_requests)));
    let opener = Opener { config, allowance: allowance.as_ref(), metrics: &metrics };
    let unpacking = if config.gunzip { memory / UNPACKING_SHARE } else { 0 };
    let memory = memory - unpacking;
    let mut sources = Vec::new();
    for source in &config.sources {
        sources.push(sources::open(source, &opener).await?);
    }
    let cache = cache::open(config, &sources::identity(&sources), memory, &metrics).await?;
    let handle = runtime.handle().clone();
    let peeks = Arc::new(Peeks::new(handle.clone()));
    let trees = Trees { config, cache: &cache, memory, peeks: &peeks, metrics: &metrics, runtime: &handle };
    let health = sources::health(&sources);
    let (mut tree, shown) = trees.of(sources).await?;
    if config.gunzip {
        let gunzip = Gunzip::new(cache.disk.clone(), cache.gunzip_notes.clone(), unpacking, handle.clone());
        tree = Arc::new(Unpacked::new(tree, gunzip));
    }
    // What is bought goes to the cache on disk, or else into the page cache, which is as large as the memory, or so.
    let max_region = if cache.disk.is_some() { config.cache_size / REGION_SHARE } else { memory / REGION_SHARE };
    let reader = Reader::new(ReaderConfig {
        disk: cache.disk,
        budget: Budget::new(memory, metrics.clone()),
        max_ahead: MAX_AHEAD.min(memory / AHEAD_SHARE).min(cgroup::memory_limit().unwrap_or(u64::MAX) / AHEAD_SHARE),
        max_region,
        metrics: metrics.clone(),
        runtime: handle,
    });
    if let Some(notes) = cache.notes {
        reader.note_in(notes);
    }
    let parts = Parts { tree, peeks, reader: reader.clone(), metrics: metrics.clone(), memory };
    Ok((Layers { fs: Arc::new(Filesystem::new(parts)), reader, metrics, health, allowance }, shown))
}

/// A mount that is being served.
struct Mounted {
    session: std::thread::JoinHandle<std::io::Result<()>>,
    ended: tokio::sync::oneshot::Receiver<()>,
    mountpoint: std::path::PathBuf,
    reader: Arc<Reader>,
}

impl Mounted {
    fn new(config: &MountConfig, layers: Layers, runtime: &Runtime) -> Result<Self, String> {
        let invalidator = Arc::new(Invalidator::default());
        let (fs, reader) = (layers.fs.clone(), layers.reader.clone());
        let adapter = Adapter::new(fs, config.ownership.clone(), invalidator.clone(), runtime.handle().clone());
        let session = kernel::mount(adapter, &sources::name(config), &config.mountpoint, &session_config(config))
            .map_err(|error| format!("cannot mount at {}: {}", config.mountpoint.display(), mount_remedy(&error)))?;
        let threads = reader.pusher().start(Arc::new(KernelPages(session.notifier())));
        threads.and_then(|()| invalidator.start(session.notifier())).map_err(|error| {
            take_away(&config.mountpoint);
            format!("cannot start a thread: {error}")
        })?;
        serve_status(config, layers, runtime);
        let (over, ended) = tokio::sync::oneshot::channel();
        let session = std::thread::spawn(move || {
            let outcome = session.run();
            // After a signal nothing listens any more.
            let _ = over.send(());
            outcome
        });
        Ok(Self { session, ended, mountpoint: config.mountpoint.clone(), reader })
    }

    /// Waits for the end of the mount, or brings it about at a signal.
    fn serve(mut self, runtime: &Runtime, mut signals: Signals) -> Result<(), String> {
        let signalled = runtime.block_on(async {
            tokio::select! {
                _ = &mut self.ended => false,
                () = signals.received() => true,
            }
        });
        if signalled {
            tracing::info!(mountpoint = %self.mountpoint.display(), "unmounting");
            notify_systemd(&[sd_notify::NotifyState::Stopping]);
            if let Some(disk) = self.reader.disk() {
                disk.stop();
            }
            // A push may have to wait for a READ; this process must not end while one does.
            self.reader.pusher().halt();
            take_away(&self.mountpoint);
            // The timer belongs to the runtime: it is made inside.
            let closed = async { tokio::time::timeout(CLOSING_PATIENCE, &mut self.ended).await.is_ok() };
            if !runtime.block_on(closed) {
                tracing::warn!("programs still had files open; they get errors from now on");
                self.finish_disk();
                if let Err(error) = kernel::let_go() {
                    tracing::debug!(%error, "the connection ends with this process");
                }
                return Ok(());
            }
        }
        self.reader.pusher().stop();
        self.finish_disk();
        match self.session.join() {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                take_away(&self.mountpoint);
                Err(format!("the mount ended with an error: {error}"))
            }
            Err(_) => {
                take_away(&self.mountpoint);
                Err("the mount ended by a bug of fitsfs; the log has the details".to_owned())
            }
        }
    }

    /// What was fetched and learnt is written to disk, as far as that goes in a moment.
    fn finish_disk(&self) {
        self.reader.note_down();
        if let Some(disk) = self.reader.disk() {
            disk.stop();
            disk.finish();
        }
    }
}

/// Unmounts what this process has mounted, now or when the last program is done with it.
fn take_away(mountpoint: &Path) {
    if let Err(error) = point::detach(mountpoint) {
        tracing::warn!(%error, "cannot unmount");
    }
}

/// Tells systemd, where it started us.
pub fn notify_systemd(state: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd was not told");
    }
}

/// The signals that end a mount. They are listened for before there is one: a signal that found no listener would leave
/// a dead mount.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen(runtime: &Runtime) -> std::io::Result<Self> {
        let _in_runtime = runtime.enter();
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

fn session_config(config: &MountConfig) -> fuser::Config {
    let mut session = fuser::Config::default();
    session.mount_options = vec![
        MountOption::FSName(one_option(&sources::name(config))),
        MountOption::Subtype("fitsfs".to_owned()),
        MountOption::RO,
        MountOption::NoSuid,
        MountOption::NoDev,
        MountOption::NoAtime,
        MountOption::DefaultPermissions,
    ];
    session.acl = if config.allow_other { SessionACL::All } else { SessionACL::Owner };
    session.n_threads = Some(EVENT_LOOPS);
    session
}

/// Text as a part of a list of options, as which it reaches the helper that mounts for users: a comma would end it
/// there, and what follows would be an option of its own. So such characters are written as in URLs.
fn one_option(text: &str) -> String {
    let is_safe = |c: char| !matches!(c, ',' | '\\' | '"') && !c.is_control();
    let escaped = |c: char| if is_safe(c) { c.to_string() } else { format!("%{:02X}", u32::from(c)) };
    text.chars().map(escaped).collect()
}

/// Opens the status socket. Without it the mount works all the same.
fn serve_status(config: &MountConfig, layers: Layers, runtime: &Runtime) {
    let Layers { fs, reader, metrics, health, allowance } = layers;
    let _in_runtime = runtime.enter();
    let sources: Vec<_> = config.sources.iter().map(ToString::to_string).collect();
    let at = config.at.map(rfc3339);
    let mountpoint = config.mountpoint.display().to_string();
    let status = {
        let (sources, mountpoint) = (sources.clone(), mountpoint.clone());
        let handle = runtime.handle().clone();
        let disk = move || reader.disk().map(|disk| handle.block_on(disk.snapshot())).unwrap_or_default();
        move || {
            let mut snapshot = metrics.snapshot();
            let longest = snapshot.waits.longest_file.take();
            snapshot.waits.longest_file = longest.map(|path| fs::path_below(&mountpoint, &path));
            Snapshot {
                sources: sources.clone(),
                at: at.clone(),
                budget: allowance.as_ref().map(|allowance| allowance.snapshot()).unwrap_or_default(),
                failing_sources: sources::failing(&health),
                mountpoint: mountpoint.clone(),
                disk: disk(),
                ..snapshot
            }
        }
    };
    let trace =
        move |clear| Trace { sources: sources.clone(), mountpoint: mountpoint.clone(), ..fs.trace(clear, &mountpoint) };
    let answer = move |request| match request {
        Request::Status => serde_json::to_vec(&status()),
        Request::Trace => serde_json::to_vec(&trace(false)),
        Request::TraceClear => serde_json::to_vec(&trace(true)),
    };
    match control::Server::bind(&config.mountpoint) {
        Ok(server) => drop(runtime.spawn(server.serve(Arc::new(answer)))),
        Err(error) => tracing::warn!(%error, "no status socket: fitsfs status will not find this mount"),
    }
}

fn mount_remedy(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            format!("{error}; is FUSE there? (modprobe fuse; in containers --device /dev/fuse)")
        }
        std::io::ErrorKind::PermissionDenied => {
            format!(
                "{error}; in containers give --device /dev/fuse --cap-add SYS_ADMIN; as a user install fuse3, and set user_allow_other in /etc/fuse.conf for --allow-other"
            )
        }
        _ => format!("{error} (fitsfs check tells what is missing)"),
    }
}

/// The budget asked for, and no more than half of what the control group allows beside what this process takes already:
/// the other half is for names, what is remembered of files, connections and what waits to be read by the kernel.
fn memory_budget(asked: u64) -> u64 {
    let Some(limit) = cgroup::memory_limit() else { return asked };
    let allowed = limit.saturating_sub(cgroup::resident()).max(limit / MIN_DIVISOR) / 2;
    if allowed < asked {
        tracing::warn!(asked, allowed, "the control group's memory limit bounds --memory");
    }
    asked.min(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_one_option_whatever_it_holds() {
        assert_eq!(one_option("s3://b/a,allow_other\\,\nb é/"), "s3://b/a%2Callow_other%5C%2C%0Ab é/");
    }
}
