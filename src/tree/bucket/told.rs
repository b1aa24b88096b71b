//! Answers of the store, and when their TTL ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;

use super::entry::Node;
use super::listing::Listing;
use crate::tree::Ttl;

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
    fn what_was_remembered_lives_as_long_as_it_would_have() {
        let (ttl, second, now) = (Ttl::new(Duration::from_secs(10)), Duration::from_secs(1), Instant::now());
        let told = |node, age| ttl.expire_after_create(&String::new(), &Told { node, age: second * age }, now);
        let there = Some(Node::Directory);
        assert_eq!(told(there.clone(), 0), Some(second * 10));
        assert_eq!((told(there.clone(), 4), told(there, 11)), (Some(second * 6), Some(Duration::ZERO)));
        assert_eq!((told(None, 0), told(None, 1)), (Some(second), Some(Duration::ZERO)));
    }
}
