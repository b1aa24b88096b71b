//! `fitsfs status`: what the mounts do, for people and for programs.

use std::fmt::Write;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;

use super::args::StatusArgs;
use super::terminal::Style;
use crate::control;
use crate::metrics::{BudgetSnapshot, Cause, Quantiles, Snapshot, WaitsSnapshot};
use crate::mount::{mountinfo, point};
use crate::printable::printable;

/// From so many seconds on the waits for one file are worth a line.
const LONG_WAIT: f64 = 2.0;

/// Prints the status of one mount or of all, once or every second.
pub fn run(args: &StatusArgs) -> Result<(), String> {
    let json = args.json || !std::io::stdout().is_terminal();
    loop {
        let mountpoints = mountpoints(args.mountpoint.as_deref())?;
        let text = if json { as_json(&mountpoints, args.mountpoint.is_some())? } else { as_text(&mountpoints)? };
        if args.watch && !json {
            print!("\x1b[H\x1b[2J");
        }
        super::print(&(text + "\n"))?;
        if !args.watch {
            return Ok(());
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// The mountpoints to tell about, from the mount table: looking at a mountpoint itself could hang.
fn mountpoints(given: Option<&Path>) -> Result<Vec<PathBuf>, String> {
    let ours = ours()?;
    let Some(given) = given else { return Ok(ours) };
    let given = point::resolve(given)?;
    match ours.contains(&given) {
        true => Ok(vec![given]),
        false => Err(format!("{} is not a mount of fitsfs; fitsfs status lists what is", given.display())),
    }
}

/// The mountpoints of all mounts of fitsfs.
pub fn ours() -> Result<Vec<PathBuf>, String> {
    let mounts = mountinfo::mounts().map_err(|error| format!("cannot read the mount table: {error}"))?;
    let mut ours: Vec<_> = mounts.into_iter().filter(|m| m.is_fitsfs()).map(|m| m.mountpoint).collect();
    ours.dedup();
    Ok(ours)
}

fn status(mountpoint: &Path) -> Result<Snapshot, String> {
    control::status(mountpoint).map_err(|error| no_answer(mountpoint, &error))
}

/// What there is to say of a daemon that does not answer.
pub fn no_answer(mountpoint: &Path, error: &std::io::Error) -> String {
    format!(
        "the daemon of {0} does not answer ({error}): it may be gone, or run as another user or in a container; \
         fitsfs mount heals a dead mount, fitsfs unmount {0} takes it away",
        mountpoint.display()
    )
}

/// One document for one mount that was asked for; a list for all of them, where one that does not answer is an entry
/// with an `error`.
fn as_json(mountpoints: &[PathBuf], one: bool) -> Result<String, String> {
    if let ([only], true) = (mountpoints, one) {
        return super::json(&status(only)?);
    }
    let documents: Result<Vec<_>, _> = mountpoints
        .iter()
        .map(|mountpoint| match status(mountpoint) {
            Ok(snapshot) => serde_json::to_value(snapshot),
            Err(error) => Ok(serde_json::json!({ "mountpoint": mountpoint.to_string_lossy(), "error": error })),
        })
        .collect();
    super::json(&documents.map_err(|error| error.to_string())?)
}

fn as_text(mountpoints: &[PathBuf]) -> Result<String, String> {
    let style = Style::for_stdout();
    match mountpoints {
        [] => Ok("no mounts; make one: fitsfs mount s3://bucket/prefix MOUNTPOINT".to_owned()),
        [only] => status(only).map(|snapshot| render(&snapshot, style)),
        several => {
            let texts = several
                .iter()
                .map(|m| status(m).map_or_else(|error| style.red(&printable(&error)), |s| render(&s, style)));
            Ok(texts.collect::<Vec<_>>().join("\n\n"))
        }
    }
}

fn render(status: &Snapshot, style: Style) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  {name:<11}{value}");
    };
    let uptime = humantime::format_duration(Duration::from_secs(status.uptime_seconds as u64));
    row("up", format!("{uptime}, process {}, version {}", status.pid, status.version));
    if let Some(at) = &status.at {
        row("as of", at.clone());
    }
    for failing in &status.failing_sources {
        let since = humantime::format_duration(Duration::from_secs(failing.seconds as u64));
        let text = format!("{} for {since}: {}", failing.source, failing.error);
        row("no answer", style.red(&printable(&text)));
    }
    let requests = &status.requests;
    row(
        "requests",
        format!("{} (list {}, head {}, get {})", requests.total, requests.list, requests.head, requests.get),
    );
    if let Some(budget) = budget(&status.budget) {
        row("budget", budget);
    }
    let counters = &status.counters;
    let ratio = status.ratio.map(|ratio| format!(", ratio {ratio:.2}")).unwrap_or_default();
    row(
        "bytes",
        format!("{} fetched, {} delivered{ratio}", size(counters.bytes_fetched), size(counters.bytes_delivered)),
    );
    row(
        "ahead",
        format!(
            "{} fetched ahead, {} into the page cache",
            size(counters.prefetched_bytes),
            size(counters.pushed_bytes)
        ),
    );
    let reads = status.cache.hits + status.cache.misses;
    let share = (status.cache.hits * 100).checked_div(reads).unwrap_or(0);
    row("reads", format!("{}, {share}% without waiting for a request of their own", counters.reads));
    row("waits", waits(status));
    if let Some(longest) = longest_wait(status) {
        row("", longest);
    }
    row("latency", format!("get {}; list {}", quantiles(&status.latency.get), quantiles(&status.latency.list)));
    row("hedged", hedged(status));
    row("disk", disk(status));
    row(
        "memory",
        format!(
            "{} of {}, at most {}",
            size(status.memory.used_bytes),
            size(status.memory.budget_bytes),
            size(status.memory.peak_bytes)
        ),
    );
    row(
        "open",
        format!("{} files, {} known, {} requests under way", status.open_files, status.inodes, status.in_flight),
    );
    let errors = errors(status).map_or_else(|| style.green("none"), |errors| style.red(&errors));
    row("errors", format!("{errors}, {} retries", counters.retries));
    if status.skipped_keys.count > 0 {
        let examples = status.skipped_keys.examples.join(" ");
        row("skipped", format!("{} keys that cannot be paths: {}", status.skipped_keys.count, printable(&examples)));
    }
    if status.bad_entries.count > 0 {
        let examples = status.bad_entries.examples.join(" ");
        let examples = printable(&examples);
        row("left out", format!("{} keys that the store lists without sense: {examples}", status.bad_entries.count));
    }
    let (sources, mountpoint) = (status.sources.join(", "), &status.mountpoint);
    format!("{} at {}{text}", style.bold(&printable(&sources)), style.bold(&printable(mountpoint)))
}

/// What was spent of the budget, and what is left, if there is one.
fn budget(budget: &BudgetSnapshot) -> Option<String> {
    let bytes = budget.bytes_limit.map(|limit| {
        let left = limit.saturating_sub(budget.bytes_spent);
        format!("{} of {} spent, {} left", size(budget.bytes_spent), size(limit), size(left))
    });
    let requests = budget.requests_limit.map(|limit| {
        let (spent, left) = (budget.requests_spent, limit.saturating_sub(budget.requests_spent));
        format!("{spent} of {limit} requests sent, {left} left")
    });
    let parts: Vec<_> = bytes.into_iter().chain(requests).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// What is in the cache on disk, and what came from it.
fn disk(status: &Snapshot) -> String {
    let Some(directory) = &status.disk.directory else { return "no cache".to_owned() };
    if status.disk.off {
        return format!("{} does not answer: nothing is read from it or written to it", printable(directory));
    }
    let used = status.disk.used_bytes.map_or_else(|| "being counted".to_owned(), size);
    let counters = &status.counters;
    let damaged = match counters.disk_damaged_pages {
        0 => String::new(),
        pages => format!(", {pages} damaged pages fetched again"),
    };
    format!(
        "{used} of {} in {}, {} read, {} written{damaged}",
        size(status.disk.quota_bytes),
        printable(directory),
        size(counters.disk_bytes_read),
        size(counters.disk_bytes_written)
    )
}

/// What programs have waited for.
fn waits(status: &Snapshot) -> String {
    let WaitsSnapshot { header, expected, unforeseen, .. } = &status.waits;
    format!(
        "{:.1} s for headers, {:.1} s for data that were foreseen too late, {:.1} s for data that nothing had foreseen",
        header.seconds, expected.seconds, unforeseen.seconds
    )
}

/// The file that was waited for longest, if that is worth doing something about.
fn longest_wait(status: &Snapshot) -> Option<String> {
    let waits = &status.waits;
    let path = waits.longest_file.as_ref().filter(|_| waits.longest_seconds >= LONG_WAIT)?;
    let (what, option) = match waits.longest_cause? {
        Cause::Header => ("headers", "--headers "),
        Cause::Expected | Cause::Unforeseen => ("data", ""),
    };
    let path = printable(path);
    Some(format!("{:.1} s for {what} of {path}; spared by: fitsfs warm {option}{path}", waits.longest_seconds))
}

/// The extra requests, and what is left of their budget.
fn hedged(status: &Snapshot) -> String {
    let counters = &status.counters;
    format!(
        "{} slow GETs sent again, {} answered first, {} more allowed",
        counters.hedged_requests, counters.hedges_won, status.hedge_budget
    )
}

/// The kinds of errors that occurred, and how often.
fn errors(status: &Snapshot) -> Option<String> {
    let kinds = serde_json::to_value(&status.errors).ok()?;
    let occurred: Vec<_> =
        kinds.as_object()?.iter().filter(|(_, n)| **n != 0).map(|(kind, n)| format!("{kind} {n}")).collect();
    (!occurred.is_empty()).then(|| occurred.join(", "))
}

fn quantiles(latency: &Quantiles) -> String {
    format!("{:.0}/{:.0}/{:.0} ms (50/90/99%)", latency.p50_ms, latency.p90_ms, latency.p99_ms)
}

fn size(bytes: u64) -> String {
    ByteSize(bytes).display().si().to_string()
}
