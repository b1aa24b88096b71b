//! Why a store cannot be mounted: what `fitsfs check` asks of every store, answered in the store's own terms.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use serde::Serialize;

use super::{ObjectMeta, Store, StoreError};

/// S3 and others refuse signatures whose time differs by more (API reference, "Error responses": RequestTimeTooSkewed).
const MAX_SKEW: Duration = Duration::from_secs(15 * 60);

/// A clock that is this wrong is not kept by anything, and will be wrong enough one day.
const ODD_SKEW: Duration = Duration::from_secs(60);

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
    /// As it should be.
    pub fn ok(name: &'static str, finding: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Ok, finding: finding.into(), remedy: None }
    }

    /// A restriction, and what to do about it.
    pub fn warn(name: &'static str, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Warn, finding: finding.into(), remedy: Some(remedy.into()) }
    }

    /// What prevents a mount or its reads, and what to do about it.
    pub fn fail(name: &'static str, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Fail, finding: finding.into(), remedy: Some(remedy.into()) }
    }
}

/// A question that is the same for every store, and what to do about its failure is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// The first page of a listing.
    Listing,
    /// The first bytes of an object.
    Range,
}

/// What was found before the first listing.
#[derive(Clone, Debug)]
pub struct Reached {
    /// In the order in which a mount would fail.
    pub checks: Vec<Check>,
    /// Whether there is any point in asking for more.
    pub answers: bool,
}

/// A store that is asked why it cannot be mounted. Nothing is retried: a check shows what the first answer is.
#[async_trait]
pub trait Diagnosis: Send + Sync {
    /// The store as a mount would have it, but for retries.
    fn store(&self) -> &dyn Store;

    /// Whether it answers at all, to whom, and what else can go wrong before a listing.
    async fn reach(&mut self) -> Reached;

    /// What the store has told of itself along with the first listing.
    fn learnt(&self) -> Vec<Check>;

    /// Whether an object that is replaced can be told from its former self.
    async fn versions(&self, object: &ObjectMeta) -> Check;

    /// What to do about a question that failed.
    fn remedy(&self, question: Question, error: &StoreError) -> &'static str;
}

/// Compares a server's clock with that of this machine.
pub(in crate::store) fn clock(server: Option<SystemTime>, here: SystemTime) -> Option<Check> {
    const NAME: &str = "clock";
    let server = server?;
    let (skew, direction) = match here.duration_since(server) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    let finding = format!("{} s {direction} the server's", skew.as_secs());
    Some(if skew >= MAX_SKEW {
        Check::fail(NAME, finding, "set the clock: signatures that are off by 15 minutes are refused")
    } else if skew >= ODD_SKEW {
        Check::warn(NAME, finding, "keep the clock by NTP")
    } else {
        Check::ok(NAME, "agrees with the server's")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks() {
        let here = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let outcome = |server| clock(Some(server), here).map(|check| check.outcome);
        assert_eq!(outcome(here - Duration::from_secs(5)), Some(Outcome::Ok));
        assert_eq!(outcome(here + Duration::from_secs(90)), Some(Outcome::Warn));
        assert_eq!(outcome(here - Duration::from_secs(1000)), Some(Outcome::Fail));
        assert_eq!(clock(None, here), None);
    }
}
