//! `fitsfs warm`: fetches files into the cache of their mount.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::args::WarmArgs;
use super::status::no_answer;
use super::terminal::Style;
use crate::control;
use crate::mount::mountinfo;
use crate::printable::printable;
use crate::warm::{self, Failure, Incomplete, Observer, Task, Warmed};

/// Fetches, and says what was fetched; fails if some of it could not be.
pub fn run(args: &WarmArgs) -> Result<ExitCode, String> {
    let task = task(args)?;
    let (bar, began) = (Bar::new(args.headers), Instant::now());
    let warmed = warm::run(&task, &bar);
    bar.bar.finish_and_clear();
    let seconds = began.elapsed().as_secs_f64();
    if args.json || !std::io::stdout().is_terminal() {
        super::print_json(&Report { warmed: &warmed, seconds })?;
    } else {
        super::print(&(summary(&warmed, seconds, args.headers) + "\n"))?;
    }
    if let Some(warning) = warning(&warmed.incomplete) {
        eprintln!("{}: {}", Style::for_stderr().bold("fitsfs"), printable(&warning));
    }
    match warmed.failed.len() {
        0 => Ok(ExitCode::SUCCESS),
        failed => Err(format!("{} could not be fetched, the rest was: try again later", files(failed as u64))),
    }
}

/// What is to be done, if it can be: the mounts answer, and have a cache.
fn task(args: &WarmArgs) -> Result<Task, String> {
    let mounts = mountinfo::mounts().map_err(|error| format!("cannot read the mount table: {error}"))?;
    let places = args.paths.iter().map(|path| warm::place::of(path, &mounts)).collect::<Result<Vec<_>, _>>()?;
    let (paths, mounts): (Vec<_>, _) = places.into_iter().unzip();
    let task = Task { paths, mounts, headers: args.headers, jobs: usize::from(args.jobs) };
    for mount in &task.mounts {
        let status = control::status(mount).map_err(|error| no_answer(mount, &error))?;
        if status.disk.directory.is_none() {
            return Err(format!(
                "the mount at {0} has no cache to fetch into: unmount it (fitsfs unmount {0}), and mount it with one \
                 (--cache-dir, --cache-size); its log says why if it was to have one",
                mount.display()
            ));
        }
    }
    Ok(task)
}

#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    warmed: &'a Warmed,
    seconds: f64,
}

fn summary(warmed: &Warmed, seconds: f64, headers: bool) -> String {
    let mut text = match headers {
        true => format!("the headers of {} are in the cache", files(warmed.files)),
        false => format!("{} read, {}", files(warmed.files), size(warmed.bytes)),
    };
    if warmed.complete > 0 {
        text += &format!(", {} complete before", warmed.complete);
    }
    if warmed.skipped > 0 {
        text += &format!(", {} without headers skipped", warmed.skipped);
    }
    format!("{text}, in {seconds:.1} s")
}

/// What to say of files that were read and are not complete in the cache.
fn warning(incomplete: &[Incomplete]) -> Option<String> {
    let first = incomplete.first()?;
    let (cached, of) = incomplete.iter().fold((0, 0), |(cached, of), file| (cached + file.cached, of + file.size));
    Some(format!(
        "{} not complete in the cache, {} of {} are ({} is one): is it too small (fitsfs mount --cache-size), or its \
         disk full or slow (fitsfs status)?",
        files(incomplete.len() as u64),
        size(cached),
        size(of),
        first.path.display()
    ))
}

/// Shows how far it is, on a terminal, and what failed, everywhere.
struct Bar {
    bar: ProgressBar,
    /// Whether files are counted, and not bytes: how many bytes the headers of a file take is not known before.
    headers: bool,
}

impl Bar {
    fn new(headers: bool) -> Self {
        let template = match headers {
            true => "{pos}/{len} files {wide_bar} {per_sec}, {eta} left",
            false => "{decimal_bytes}/{decimal_total_bytes} {bar:20} {decimal_bytes_per_sec}, {eta} left  {wide_msg}",
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        // It is drawn on standard error, and nowhere if that is no terminal.
        Self { bar: ProgressBar::new(0).with_style(style), headers }
    }
}

impl Observer for Bar {
    fn found(&self, _path: &Path, size: u64) {
        self.bar.inc_length(if self.headers { 1 } else { size });
    }

    fn read(&self, path: &Path, bytes: u64) {
        self.bar.inc(bytes);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        self.bar.set_message(printable(&name).into_owned());
    }

    fn done(&self) {
        self.bar.inc(u64::from(self.headers));
    }

    fn failed(&self, failure: &Failure) {
        let line = format!("{}: {}", failure.path.display(), failure.error);
        self.bar.suspend(|| eprintln!("{}: {}", Style::for_stderr().red("fitsfs"), printable(&line)));
    }
}

fn files(count: u64) -> String {
    format!("{count} file{}", if count == 1 { "" } else { "s" })
}

fn size(bytes: u64) -> String {
    ByteSize(bytes).display().si().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_tells_what_was_done() {
        let warmed = Warmed { files: 2, bytes: 3_000_000, complete: 1, ..Warmed::default() };
        assert_eq!(summary(&warmed, 1.25, false), "2 files read, 3.0 MB, 1 complete before, in 1.2 s");
        let warmed = Warmed { files: 1, skipped: 4, ..Warmed::default() };
        let told = "the headers of 1 file are in the cache, 4 without headers skipped, in 0.5 s";
        assert_eq!(summary(&warmed, 0.5, true), told);
    }

    #[test]
    fn what_does_not_fit_is_warned_of() {
        let file = |cached| Incomplete { path: "/m/a.fits".into(), size: 2_000_000, cached };
        let told = warning(&[file(500_000), file(0)]).unwrap();
        assert!(told.contains("2 files not complete") && told.contains("500.0 kB of 4.0 MB"), "{told}");
        assert_eq!(warning(&[]), None);
    }
}
