//! How long names are believed, counted from when the store was asked: what was remembered lives no longer for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;

use super::inode::Node;
use super::listing::Listing;

/// A longer time to live is cut to a year, which is as good as for ever; crate moka panics beyond 1,000 of them.
const MAX_TTL: Duration = Duration::from_secs(365 * 24 * 3600);

/// How long names are believed.
#[derive(Clone, Copy, Debug)]
pub struct Ttl {
    /// Of names that exist, and of whole listings.
    pub positive: Duration,
    /// Of names that do not exist.
    pub negative: Duration,
}

impl Ttl {
    /// Names that are missing are believed for a tenth of the time of those that exist, and no longer than 5 s: new
    /// products show up soon, and the half dozen names that cfitsio probes at each open are still asked for once.
    pub fn new(positive: Duration) -> Self {
        let positive = positive.min(MAX_TTL);
        Self { positive, negative: (positive / 10).min(Duration::from_secs(5)) }
    }
}

impl Expiry<String, Told> for Ttl {
    fn expire_after_create(&self, _: &String, told: &Told, _: Instant) -> Option<Duration> {
        let ttl = if told.node.is_some() { self.positive } else { self.negative };
        Some(ttl.saturating_sub(told.age))
    }
}

/// A listing expires by the oldest of its pages: that it is put into the cache again when it has grown prolongs nothing.
impl Expiry<Arc<str>, Arc<Listing>> for Ttl {
    fn expire_after_create(&self, _: &Arc<str>, listing: &Arc<Listing>, _: Instant) -> Option<Duration> {
        Some(self.positive.saturating_sub(listing.age()))
    }

    fn expire_after_update(
        &self,
        _: &Arc<str>,
        listing: &Arc<Listing>,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(self.positive.saturating_sub(listing.age()))
    }
}

/// What the store has told of a name, and how long ago.
#[derive(Clone, Debug)]
pub struct Told {
    /// What it is; none if it is not there.
    pub node: Option<Node>,
    /// Since the store was asked.
    pub age: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_names_are_believed_for_seconds() {
        assert_eq!(Ttl::new(Duration::from_secs(10)).negative, Duration::from_secs(1));
        assert_eq!(Ttl::new(Duration::from_secs(3600)).negative, Duration::from_secs(5));
    }

    #[test]
    fn any_time_to_live_can_be_given() {
        for ttl in [Duration::ZERO, Duration::MAX] {
            moka::sync::Cache::<u8, u8>::builder().time_to_live(Ttl::new(ttl).positive).build();
        }
    }

    #[test]
    fn what_was_remembered_lives_as_long_as_it_would_have() {
        let (ttl, second, now) = (Ttl::new(Duration::from_secs(10)), Duration::from_secs(1), Instant::now());
        let told = |node, age| ttl.expire_after_create(&String::new(), &Told { node, age: second * age }, now);
        let there = Some(Node::Directory { prefix: "d/".into() });
        assert_eq!(told(there.clone(), 0), Some(second * 10));
        assert_eq!((told(there.clone(), 4), told(there, 11)), (Some(second * 6), Some(Duration::ZERO)));
        assert_eq!((told(None, 0), told(None, 1)), (Some(second), Some(Duration::ZERO)));
    }
}
