//! The log: lines for people on standard error in the foreground, to a file in the background.

use std::fs::{File, OpenOptions};
use std::io::IsTerminal;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use tracing_subscriber::EnvFilter;

/// Starts logging what `filter` lets through.
pub fn start(filter: &str, file: Option<&Path>) -> Result<(), String> {
    // Crate fuser warns of each request that is not implemented and of each mount that was taken away already.
    let filter =
        EnvFilter::try_new(format!("fuser=error,{filter}")).map_err(|error| format!("--log {filter}: {error}"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter);
    match file {
        Some(path) => {
            let file = open(path).map_err(|error| format!("cannot write the log {}: {error}", path.display()))?;
            builder.with_ansi(false).with_writer(file).init();
        }
        None => builder.with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr).init(),
    }
    std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a fault of fitsfs; please report it")));
    Ok(())
}

/// Where the log of a background mount goes: `/var/log/fitsfs` for root, `$XDG_STATE_HOME/fitsfs` for others.
pub fn file_for(mountpoint: &Path) -> Result<PathBuf, String> {
    let name = crate::control::name_of(mountpoint);
    let folder = folder().ok_or("no folder for the log: set HOME, or use --foreground")?;
    std::fs::create_dir_all(&folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    Ok(folder.join(name).with_extension("log"))
}

fn folder() -> Option<PathBuf> {
    // SAFETY: geteuid has no preconditions and cannot fail.
    if unsafe { libc::geteuid() } == 0 {
        return Some(PathBuf::from("/var/log/fitsfs"));
    }
    let given = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = given("XDG_STATE_HOME").or_else(|| given("HOME").map(|home| home.join(".local/state")));
    state.map(|state| state.join("fitsfs"))
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}
