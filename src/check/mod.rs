//! What `fitsfs check SOURCE` finds out: named checks in the order in which a mount would fail, each with one line of
//! finding and, where something is wrong, one line of remedy.
//!
//! `bucket` asks the store, `host` this machine; this file is the report. Nothing is retried: a check shows what
//! the first answer is.

mod bucket;
mod host;

use std::fmt::Write;

use serde::Serialize;

use crate::printable::printable;
use crate::store::{ErrorKind, Result, S3Options, S3Store, Source, StoreError};

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As it should be.
    Ok,
    /// A mount works, with a restriction.
    Warn,
    /// A mount or its reads fail.
    Fail,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was checked, in one or two words that do not change between versions.
    pub name: &'static str,
    /// How it came out.
    pub outcome: Outcome,
    /// What was found, in one line.
    pub finding: String,
    /// What to do about it, in one line.
    pub remedy: Option<String>,
}

impl Check {
    fn ok(name: &'static str, finding: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Ok, finding: finding.into(), remedy: None }
    }

    fn warn(name: &'static str, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Warn, finding: finding.into(), remedy: Some(remedy.into()) }
    }

    fn fail(name: &'static str, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Fail, finding: finding.into(), remedy: Some(remedy.into()) }
    }
}

/// All checks of a source on this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// The source's URL; none where it cannot be parsed.
    pub source: Option<String>,
    /// The checks, in order. After a failure, those that depend on it are left out.
    pub checks: Vec<Check>,
}

impl CheckReport {
    /// Checks a source and this machine. `arguments` are the SOURCE words of the command line, `env` looks up the
    /// environment.
    pub async fn run(arguments: &[String], options: S3Options, env: impl Fn(&str) -> Option<String>) -> Self {
        let mut report = Self::default();
        match Source::resolve(arguments, &env) {
            Ok(source) => {
                report.source = Some(source.to_string());
                report
                    .checks
                    .push(Check::ok("source", format!("bucket {}, prefix {:?}", source.bucket, source.prefix)));
                report.checks.extend(bucket_checks(&source, options.resolve(&env)).await);
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

async fn bucket_checks(source: &Source, options: Result<S3Options>) -> Vec<Check> {
    let opened = async {
        let options = options?;
        let (store, unsigned) = stores(source, &options).await?;
        Ok::<_, StoreError>((options, store, unsigned))
    };
    match opened.await {
        Ok::<_, StoreError>((options, store, unsigned)) => bucket::checks(source, &options, &store, &unsigned).await,
        Err(error) => vec![Check::fail("configuration", error.message.clone(), configuration_remedy(&error))],
    }
}

/// The store as a mount would have it, and one that asks without signature, which any bucket answers somehow.
async fn stores(source: &Source, options: &S3Options) -> Result<(S3Store, S3Store)> {
    let unsigned = S3Options { no_sign_request: true, ..options.clone() };
    Ok((S3Store::open(source, options).await?, S3Store::open(source, &unsigned).await?))
}

fn configuration_remedy(error: &StoreError) -> &'static str {
    match error.kind {
        ErrorKind::Invalid => "correct --endpoint-url, its environment variable, or the profile",
        _ => "look at ~/.aws/config and the AWS_* environment",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(outcome: Outcome) -> CheckReport {
        let mut report =
            CheckReport { source: Some("s3://stpubdata".to_owned()), checks: vec![Check::ok("a", "fine")] };
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
        let report = CheckReport::run(&["gs://b".to_owned()], S3Options::default(), |_| None).await;
        assert!(report.failed());
        assert_eq!((report.checks[0].name, report.checks[0].outcome), ("source", Outcome::Fail));
        assert!(report.checks.iter().any(|check| check.name == "/dev/fuse"));
    }
}
