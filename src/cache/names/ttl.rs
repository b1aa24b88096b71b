//! How long names are valid, counted from when the store was asked: what was remembered lives no longer for it.

use std::time::Duration;

/// A longer time to live is cut to a year, which is as good as for ever; crate moka panics beyond 1,000 of them.
const MAX_TTL: Duration = Duration::from_secs(365 * 24 * 3600);

/// How long names are valid.
#[derive(Clone, Copy, Debug)]
pub struct Ttl {
    /// Of names that exist, and of whole listings.
    pub positive: Duration,
    /// Of names that do not exist.
    pub negative: Duration,
}

impl Ttl {
    /// Names that are missing are valid for a tenth of the time of those that exist, and no longer than 5 s: new
    /// products show up soon, and the half dozen names that cfitsio probes at each open are still asked for once.
    pub fn new(positive: Duration) -> Self {
        let positive = positive.min(MAX_TTL);
        Self { positive, negative: (positive / 10).min(Duration::from_secs(5)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_names_are_valid_for_seconds() {
        assert_eq!(Ttl::new(Duration::from_secs(10)).negative, Duration::from_secs(1));
        assert_eq!(Ttl::new(Duration::from_secs(3600)).negative, Duration::from_secs(5));
    }

    #[test]
    fn any_time_to_live_can_be_given() {
        for ttl in [Duration::ZERO, Duration::MAX] {
            moka::sync::Cache::<u8, u8>::builder().time_to_live(Ttl::new(ttl).positive).build();
        }
    }
}
