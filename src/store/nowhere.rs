//! Objects that cannot be read, for tests of what is kept of them.

use std::sync::Arc;

use super::scripted::Scripted;
use super::{Object, ObjectMeta, ObjectSource};
use crate::metrics::PaceMeter;

/// An object of a store that has none.
pub fn object(meta: ObjectMeta) -> Object {
    let source = ObjectSource { store: Arc::<Scripted>::default(), pace: PaceMeter::default() };
    Object { source: Arc::new(source), meta: Arc::new(meta) }
}
