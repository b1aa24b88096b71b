//! `fitsfs restore`: makes archived files readable.

use std::cell::Cell;
use std::io::IsTerminal;
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};

use super::args::RestoreArgs;
use super::terminal::Style;
use crate::printable::{printable, printable_json};
use crate::restore::{self, Event, Observer, State, Task};
use crate::store::RestoreOrder;

/// Has files restored, and says how far they are; fails if some of them cannot be.
pub fn run(args: RestoreArgs) -> Result<ExitCode, String> {
    let json = args.json || !std::io::stdout().is_terminal();
    let task = Task {
        places: args.places,
        options: args.s3.options(),
        order: RestoreOrder { days: args.days, tier: args.tier },
        wait: args.wait,
    };
    let progress = Progress::new(json);
    let runtime = super::layout::runtime()?;
    let interrupted = runtime.block_on(async {
        tokio::select! {
            () = restore::run(&task, super::environment, &progress) => false,
            _ = tokio::signal::ctrl_c() => true,
        }
    });
    // A thread that looks at a mount may hang, and is not waited for.
    runtime.shutdown_background();
    progress.bar.finish_and_clear();
    let counts = progress.counts.get();
    if interrupted {
        return Err(format!(
            "interrupted; {} still being restored, and the same command goes on waiting",
            Counts::files_are(counts.restoring)
        ));
    }
    if !json {
        super::print(&(counts.summary(task.wait) + "\n"))?;
    }
    match counts.failed {
        0 => Ok(ExitCode::SUCCESS),
        1 => Err("1 file could not be restored".to_owned()),
        failed => Err(format!("{failed} files could not be restored")),
    }
}

/// How many files are how far.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    readable: u64,
    restored: u64,
    restoring: u64,
    failed: u64,
}

impl Counts {
    fn files_are(count: u64) -> String {
        format!("{count} {}", if count == 1 { "file is" } else { "files are" })
    }

    fn summary(&self, waited: bool) -> String {
        let mut parts = vec![format!("{} restored", Self::files_are(self.restored))];
        if self.restoring > 0 {
            let hint = if waited { "" } else { " (--wait waits for them)" };
            parts.push(format!("{} being restored{hint}", Self::files_are(self.restoring)));
        }
        if self.readable > 0 {
            parts.push(format!("{} in no archive", Self::files_are(self.readable)));
        }
        parts.join(", ")
    }
}

/// A bar on a terminal, or a line of JSON for each file whose state is known or has changed.
struct Progress {
    json: bool,
    bar: ProgressBar,
    counts: Cell<Counts>,
}

impl Progress {
    fn new(json: bool) -> Self {
        let style = ProgressStyle::with_template("{pos}/{len} files {wide_bar} {elapsed}  {msg}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = if json { ProgressBar::hidden() } else { ProgressBar::new(0).with_style(style) };
        Self { json, bar, counts: Cell::default() }
    }
}

impl Observer for Progress {
    fn found(&self, files: usize) {
        self.bar.set_length(files as u64);
    }

    fn told(&self, event: &Event<'_>) {
        let mut counts = self.counts.get();
        match event.state {
            State::Readable => counts.readable += 1,
            State::Restored { .. } => counts.restored += 1,
            State::Restoring => counts.restoring += 1,
            State::Failed { .. } => counts.failed += 1,
        }
        // What was being restored, and is no more, comes a second time.
        let done = counts.readable + counts.restored + counts.failed;
        let all = self.bar.length().unwrap_or(0).max(done);
        counts.restoring = counts.restoring.min(all - done);
        self.counts.set(counts);
        self.bar.set_position(done);
        self.bar.set_message(format!("{} being restored", counts.restoring));
        if self.json {
            // A reader that has gone away has seen enough.
            let line = serde_json::to_string(event).unwrap_or_default();
            let _ = super::print(&(printable_json(&line).into_owned() + "\n"));
        } else if let State::Failed { error } = event.state {
            let path = event.path.map(|path| path.display().to_string());
            let what = path.or_else(|| event.url.map(str::to_owned)).unwrap_or_default();
            let line = format!("{what}: {error}");
            self.bar.suspend(|| eprintln!("{}: {}", Style::for_stderr().red("fitsfs"), printable(&line)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_restored_is_no_longer_being_restored() {
        let progress = Progress::new(false);
        progress.found(2);
        let restored = State::Restored { until: None };
        for state in [&State::Restoring, &State::Restoring, &restored] {
            progress.told(&Event { path: None, url: Some("s3://b/k"), state });
        }
        let told = progress.counts.get().summary(false);
        assert_eq!(told, "1 file is restored, 1 file is being restored (--wait waits for them)");
    }
}
