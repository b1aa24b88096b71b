//! What patterns propose and the planner returns: a range to fetch, and why.

use std::ops::Range;

use crate::cache::Origin;

/// A range to fetch before it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Bytes of the object; whole pages.
    pub range: Range<u64>,
    /// The decision behind it.
    pub origin: Origin,
}
