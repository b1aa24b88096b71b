//! What `fitsfs check SOURCE` finds out: named checks in the order in which a mount would fail, each with one line of
//! finding and, where something is wrong, one line of remedy.
//!
//! `source` asks the store, `host` this machine; this file is the report.

mod host;
mod source;

use std::fmt::Write;
use std::path::Path;

use serde::Serialize;

use crate::config::{self, Entry, Wanted};
use crate::manifest::{self, Layout};
use crate::printable::printable;
use crate::store::{Capabilities, StoreOptions};

pub use crate::store::{Check, Outcome};

/// All checks of a source on this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// The source's URL, or the path of a list; none where it cannot be parsed.
    pub source: Option<String>,
    /// What the store can do beyond what every store can; none where it could not be asked.
    pub capabilities: Option<Capabilities>,
    /// The checks, in order. After a failure, those that depend on it are left out.
    pub checks: Vec<Check>,
}

impl CheckReport {
    /// Checks the sources that the words of a command line name, each by itself, and with the last one this machine.
    /// `env` looks up the environment.
    pub async fn run(words: &[String], options: &StoreOptions, env: impl Fn(&str) -> Option<String>) -> Vec<Self> {
        let mut reports = Vec::new();
        match config::entries(words, &env) {
            Ok(entries) => {
                for entry in &entries {
                    reports.push(Self::of(entry, options, &env).await);
                }
            }
            Err(error) => {
                let check = Check::fail("source", error.message, "see fitsfs mount --help");
                reports.push(Self { checks: vec![check], ..Self::default() });
            }
        }
        if let Some(last) = reports.last_mut() {
            last.checks.extend(host::checks(&host::Facts::gather()));
        }
        reports
    }

    async fn of(entry: &Entry, options: &StoreOptions, env: impl Fn(&str) -> Option<String>) -> Self {
        let mut report = Self::default();
        if let Some(url) = entry.url() {
            report.source = Some(url.to_string());
            let finding = format!("{} {}, prefix {:?}", url.root_is_a(), url.shown_root(), url.prefix);
            report.checks.push(Check::ok("source", finding));
        }
        match entry.resolve(true, options, None, env).map(|source| source.what) {
            Ok(Wanted::Store { url, options }) => {
                let (checks, capabilities) = source::checks(&url, &options).await;
                report.checks.extend(checks);
                report.capabilities = capabilities;
            }
            Ok(Wanted::List { path, layout, .. }) => {
                report.source = Some(path.display().to_string());
                report.checks.push(list(&path, layout.as_ref()));
            }
            Err(error) => {
                let remedy = entry.url().map_or("see fitsfs mount --help", |url| url.remedy_of_options(&error));
                report.checks.push(Check::fail("configuration", error.message, remedy));
            }
        }
        report
    }

    /// Whether any check failed: the exit status is non-zero then.
    pub fn failed(&self) -> bool {
        self.checks.iter().any(|check| check.outcome == Outcome::Fail)
    }

    /// The report for a terminal, one line a check and one more for its remedy.
    pub fn render(&self, colour: bool) -> String {
        let width = self.checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
        let mut text = String::new();
        for Check { name, outcome, finding, remedy } in &self.checks {
            let (word, paint) = match outcome {
                Outcome::Ok => ("ok  ", "\x1b[32m"),
                Outcome::Warn => ("warn", "\x1b[33m"),
                Outcome::Fail => ("FAIL", "\x1b[31m"),
            };
            let (paint, plain) = if colour { (paint, "\x1b[0m") } else { ("", "") };
            // Writing to a String does not fail.
            let _ = writeln!(text, "{paint}{word}{plain}  {name:width$}  {}", printable(finding));
            if let Some(remedy) = remedy {
                let _ = writeln!(text, "      {:width$}  -> {}", "", printable(remedy));
            }
        }
        text
    }
}

/// A list of products by itself: its stores are asked when it is mounted.
fn list(path: &Path, layout: Option<&Layout>) -> Check {
    match manifest::read(path, layout) {
        Ok(list) => match list.first_odd {
            None => Check::ok("list", format!("{} files", list.files.len())),
            Some(odd) => {
                let finding =
                    format!("{} files, and {} rows that are not as they should be", list.files.len(), list.odd);
                Check::warn("list", finding, format!("the first: {odd}"))
            }
        },
        Err(error) => Check::fail("list", error, "correct the list, or save it in another format"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(outcome: Outcome) -> CheckReport {
        let mut report = CheckReport { checks: vec![Check::ok("a", "fine")], ..CheckReport::default() };
        report.checks.push(match outcome {
            Outcome::Ok => Check::ok("longer", "well"),
            Outcome::Warn => Check::warn("longer", "odd", "do this"),
            Outcome::Fail => Check::fail("longer", "bad", "do that"),
        });
        report
    }

    #[test]
    fn only_a_failure_fails() {
        assert!(!report(Outcome::Ok).failed());
        assert!(!report(Outcome::Warn).failed());
        assert!(report(Outcome::Fail).failed());
    }

    #[test]
    fn a_report_is_a_line_a_check_and_a_line_a_remedy() {
        let plain = "ok    a       fine\nFAIL  longer  bad\n              -> do that\n";
        assert_eq!(report(Outcome::Fail).render(false), plain);
        assert!(report(Outcome::Warn).render(true).contains("\x1b[33mwarn\x1b[0m  longer  odd"));
    }

    #[test]
    fn a_report_is_json() {
        let json = serde_json::to_value(report(Outcome::Warn)).unwrap();
        assert_eq!(json["checks"][1]["outcome"], "warn");
        assert_eq!(json["checks"][1]["remedy"], "do this");
    }

    #[tokio::test]
    async fn a_bad_source_fails_and_the_machine_is_checked_all_the_same() {
        let report = CheckReport::run(&["ftp://b".to_owned()], &StoreOptions::default(), |_| None).await.remove(0);
        assert!(report.failed());
        assert_eq!((report.checks[0].name, report.checks[0].outcome), ("source", Outcome::Fail));
        assert!(report.checks.iter().any(|check| check.name == "/dev/fuse"));
    }
}
