//! Files of one kind share a layout, and programs do the same with each of them.
//!
//! A kind is a directory and the last part of the name: products of one observatory are named for what they are
//! (`_rate.fits`, `_drc.fits`). What was seen of one file is the guess for the next; guesses are proven by the bytes.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{Planner, Sibling};

/// So many kinds are remembered; one takes as much memory as a layout, some kilobytes.
const MAX_KINDS: u64 = 2_000;

/// Layouts with more HDUs than this are not remembered for others: they are large, and rarely like another.
const MAX_HDUS: usize = 1_000;

/// What is known of the kinds of files in a store.
#[derive(Debug)]
pub(super) struct Kinds(moka::sync::Cache<String, Arc<Mutex<Option<Sibling>>>>);

impl Default for Kinds {
    fn default() -> Self {
        Self(moka::sync::Cache::builder().max_capacity(MAX_KINDS).build())
    }
}

impl Kinds {
    /// What files of the kind of this key have shown.
    pub fn sibling(&self, key: &str) -> Option<Sibling> {
        self.0.get(&kind_of(key)).and_then(|kind| kind.lock().clone())
    }

    /// Learns from a file that programs have read. The last one counts for how far they go, the one of which more is
    /// known for the layout.
    pub fn learn(&self, key: &str, planner: &Planner) {
        let layout = planner.layout();
        if layout.hdus.is_empty() || layout.hdus.len() > MAX_HDUS {
            return;
        }
        let kind = self.0.get_with(kind_of(key), Arc::default);
        let mut kind = kind.lock();
        let reach = planner.touched();
        match kind.as_mut() {
            Some(known) if known.layout.hdus.len() >= layout.hdus.len() => known.reach = reach,
            _ => *kind = Some(Sibling { layout: Arc::new(layout.clone()), reach }),
        }
    }
}

/// The directory and the last part of the name: from its last underscore on, or its ending.
pub(super) fn kind_of(key: &str) -> String {
    let (directory, name) = key.rsplit_once('/').unwrap_or(("", key));
    let suffix = name.rfind('_').or_else(|| name.find('.')).map_or("", |at| &name[at..]);
    format!("{directory}/{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_a_kind_share_directory_and_ending() {
        let rate = |n| format!("jwst/public/jw01783/jw01783004007_02101_0000{n}_nrcalong_rate.fits");
        assert_eq!(kind_of(&rate(1)), kind_of(&rate(2)));
        assert_ne!(kind_of(&rate(1)), kind_of(&rate(1).replace("_rate", "_cal")));
        assert_ne!(kind_of(&rate(1)), kind_of(&rate(1).replace("jw01783/", "jw01784/")));
        assert_eq!(kind_of("tic-1.fits"), kind_of("tic-2.fits"));
    }
}
