//! What `fitsfs check SOURCE` finds out: named checks in the order in which a mount would fail, each with one line of
//! finding and, where something is wrong, one line of remedy.
//!
//! `source` asks the store, `host` this machine; this file is the report.

mod host;
mod source;

use std::fmt::Write;

use serde::Serialize;

use crate::printable::printable;
use crate::store::{Capabilities, SourceUrl, StoreOptions};

pub use crate::store::{Check, Outcome};

/// All checks of a source on this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// The source's URL; none where it cannot be parsed.
    pub source: Option<String>,
    /// What the store can do beyond what every store can; none where it could not be asked.
    pub capabilities: Option<Capabilities>,
    /// The checks, in order. After a failure, those that depend on it are left out.
    pub checks: Vec<Check>,
}

impl CheckReport {
    /// Checks a source and this machine. `arguments` are the SOURCE words of the command line, `env` looks up the
    /// environment.
    pub async fn run(arguments: &[String], options: StoreOptions, env: impl Fn(&str) -> Option<String>) -> Self {
        let mut report = Self::default();
        match SourceUrl::resolve(arguments, &env) {
            Ok(source) => {
                report.source = Some(source.to_string());
                let finding = format!("{} {}, prefix {:?}", source.root_is_a(), source.root, source.prefix);
                report.checks.push(Check::ok("source", finding));
                let (checks, capabilities) = source::checks(&source, options, &env).await;
                report.checks.extend(checks);
                report.capabilities = capabilities;
            }
            Err(error) => report.checks.push(Check::fail("source", error.message, "see fitsfs mount --help")),
        }
        report.checks.extend(host::checks(&host::Facts::gather()));
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
        let report = CheckReport::run(&["ftp://b".to_owned()], StoreOptions::default(), |_| None).await;
        assert!(report.failed());
        assert_eq!((report.checks[0].name, report.checks[0].outcome), ("source", Outcome::Fail));
        assert!(report.checks.iter().any(|check| check.name == "/dev/fuse"));
    }
}
