//! Objects in an archive: whether they can be read, and what makes them readable.
//!
//! Whether an object can be read is the business of every [`Store`](super::Store). To restore one costs money, so that
//! is no operation of a store: a mount cannot do it. What can is a [`Restorer`], which only `fitsfs restore` opens.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use async_trait::async_trait;
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;

use super::{ObjectMeta, Result};

/// How far an object in an archive is from being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveState {
    /// It cannot be read until it is restored.
    Archived,
    /// It is being restored, and cannot be read yet.
    Restoring,
    /// It can be read until this time, if the store tells one.
    Restored(Option<SystemTime>),
}

/// As the extended attribute has it.
impl fmt::Display for ArchiveState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Archived => f.write_str("archived"),
            Self::Restoring => f.write_str("restoring"),
            Self::Restored(None) => f.write_str("restored"),
            Self::Restored(Some(until)) => write!(f, "restored until {}", rfc3339(*until)),
        }
    }
}

/// A time in UTC for people and programs, in whole seconds.
pub fn rfc3339(time: SystemTime) -> String {
    let seconds = DateTime::from_secs(DateTime::from(time).secs());
    seconds.fmt(Format::DateTime).unwrap_or_else(|_| seconds.secs().to_string())
}

/// How fast an object is wanted, in the words of S3. What each costs and how long it takes is the store's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RestoreTier {
    /// Hours.
    #[default]
    Standard,
    /// The cheapest: up to two days.
    Bulk,
    /// Minutes, at a price; not out of the deepest archives.
    Expedited,
}

impl FromStr for RestoreTier {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        match text {
            "standard" => Ok(Self::Standard),
            "bulk" => Ok(Self::Bulk),
            "expedited" => Ok(Self::Expedited),
            _ => Err("give one of standard, bulk, expedited"),
        }
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestoreOrder {
    /// For how many days the object is to be readable, where the store has restored copies that expire.
    pub days: Option<u16>,
    /// How fast.
    pub tier: RestoreTier,
}

/// What restores the objects of a store.
#[async_trait]
pub trait Restorer: Send + Sync {
    /// Asks the store to restore an object, once. To ask for what is being restored already is no error.
    async fn restore(&self, object: &ObjectMeta, order: RestoreOrder) -> Result<()>;
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_state_is_told_in_words() {
        let until = SystemTime::UNIX_EPOCH + Duration::from_millis(1_356_048_000_500);
        assert_eq!(ArchiveState::Restored(Some(until)).to_string(), "restored until 2012-12-21T00:00:00Z");
        assert_eq!(ArchiveState::Restored(None).to_string(), "restored");
    }
}
