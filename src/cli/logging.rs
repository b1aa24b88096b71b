//! The log: lines for people on standard error in the foreground, to a file in the background.
//!
//! Whatever is logged passes [`Lines`], also what libraries say: one event is one line, which steers no terminal and
//! tells no more of an access key id than its end.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tracing_subscriber::EnvFilter;

use super::log_file::LogFile;
use crate::printable::printable;

/// Starts logging what `filter` lets through.
pub fn start(filter: &str, file: Option<&Path>) -> Result<(), String> {
    // Crate fuser warns of each request that is not implemented and of each mount that was taken away already.
    let filter =
        EnvFilter::try_new(format!("fuser=error,{filter}")).map_err(|error| format!("--log {filter}: {error}"))?;
    let out: Box<dyn Write + Send> = match file {
        Some(path) => {
            let file = LogFile::open(path.to_owned());
            Box::new(file.map_err(|error| format!("cannot write the log {}: {error}", path.display()))?)
        }
        None => Box::new(io::stderr()),
    };
    // Colours are escape sequences, which nothing else in a line can be told from. That an event cannot be written, as on
    // a full disk, would be told on standard error, event by event: that is where the reason goes why a mount failed.
    let lines = tracing_subscriber::fmt().with_ansi(false).log_internal_errors(false);
    lines.with_env_filter(filter).with_writer(Mutex::new(Lines { out })).init();
    std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a bug in fitsfs; please report it")));
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
    if rustix::process::geteuid().as_raw() == 0 {
        return Some(PathBuf::from("/var/log/fitsfs"));
    }
    let given = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = given("XDG_STATE_HOME").or_else(|| given("HOME").map(|home| home.join(".local/state")));
    state.map(|state| state.join("fitsfs"))
}

/// Makes a line of each event, which comes in one piece.
struct Lines<W> {
    out: W,
}

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = printable(text.trim_end_matches('\n'));
        if !is_late_reply(&line) {
            self.out.write_all((shorten_key_ids(&line) + "\n").as_bytes())?;
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Crate fuser logs an error where a reply comes too late, as after the program that waited was killed. Only its text
/// tells: it ends with that of the kernel's ENOENT.
fn is_late_reply(line: &str) -> bool {
    line.contains("fuser::reply:") && line.ends_with("(os error 2)")
}

/// What stands before an access key id where the SDK writes one, and what ends it.
const KEY_IDS: [(&str, char); 2] = [("access_key_id: \"", '"'), ("Credential=", '/')];

/// Access key ids are no secrets, but they name a target for those that look for one.
fn shorten_key_ids(line: &str) -> String {
    KEY_IDS.iter().fold(line.to_owned(), |line, (before, end)| {
        let mut parts = line.split(before);
        let mut short = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (id, rest) = part.split_at(part.find(*end).unwrap_or(part.len()));
            let tail = crate::store::key_tail(id);
            short.extend([before, "...", tail.as_str(), rest]);
        }
        short
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(event: &str) -> String {
        let mut lines = Lines { out: Vec::new() };
        lines.write_all(event.as_bytes()).unwrap();
        String::from_utf8(lines.out).unwrap()
    }

    #[test]
    fn an_event_is_a_line_and_steers_nothing() {
        assert_eq!(logged("WARN key a\n2026 ERROR b\x1b[2J\n"), "WARN key a\\n2026 ERROR b\\u{1b}[2J\n");
    }

    #[test]
    fn of_an_access_key_id_the_last_four_characters_are_logged() {
        let found = logged("creds=Credentials { access_key_id: \"AKIAIOSFODNN7EXAMPLE\", provider: \"p\" }\n");
        assert_eq!(found, "creds=Credentials { access_key_id: \"...MPLE\", provider: \"p\" }\n");
        let found =
            logged("authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/2026/s3, Credential=minio\n");
        assert_eq!(found, "authorization: AWS4-HMAC-SHA256 Credential=...MPLE/2026/s3, Credential=...\n");
    }

    #[test]
    fn replies_that_nobody_waits_for_are_no_errors() {
        let line = |number: u32| format!("ERROR fuser::reply: Failed to send FUSE reply: why (os error {number})\n");
        assert_eq!(logged(&line(2)), "");
        assert_eq!(logged(&line(22)), line(22));
    }
}
