//! What is known of the classes of files: their layouts, and what programs read of them.
//!
//! In memory it is kept for each pattern of a [`Class`]; on disk, beside the names, for the pattern that tells product types
//! apart, so that the first file of a mount profits from the last ones of the mount before.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

use super::class::Class;
use super::file::HDU;
use super::replay::{Learnt, Script};
use super::{FileState, Planner, Sibling};
use crate::fits::{Hdu, Layout};

/// What is remembered of classes, in bytes: of some thousand with the layouts of usual products.
const MAX_WEIGHT: u64 = 16 << 20;

/// Layouts with more HDUs than this are not remembered for others: they are large, and rarely like another.
const MAX_HDUS: usize = 1_000;

/// So many layouts of files of different sizes are remembered of a class: full frame, two subarrays and binned.
const MAX_SIZES: usize = 4;

/// Nor are layouts with more than this noted on disk: 100 of them take 60 KB.
const MAX_NOTED_HDUS: usize = 100;

/// What is known of the classes of files in a store.
#[derive(Debug)]
pub(super) struct Classes {
    patterns: moka::sync::Cache<Arc<str>, Arc<Known>>,
    /// The classes of which more is known than is noted on disk.
    unwritten: Mutex<HashSet<Arc<str>>>,
}

/// What is known of files of one pattern, and how much memory that takes.
#[derive(Debug, Default)]
struct Known {
    shown: Mutex<Shown>,
    weight: AtomicU32,
}

/// What files of one pattern have shown.
#[derive(Debug, Default)]
struct Shown {
    /// Layouts of files of different sizes, the last one first.
    layouts: Vec<Arc<Layout>>,
    /// The last HDU that programs have touched in the last file.
    reach: usize,
    /// What they have read.
    learnt: Learnt,
    /// The file that was opened last.
    opened: Weak<FileState>,
}

/// What is noted on disk of a class.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    layouts: Vec<Layout>,
    reach: usize,
    learnt: Learnt,
}

impl Note {
    /// Whether it is something that this program may have noted: what comes from a disk may be anything.
    fn is_sound(&self) -> bool {
        let fits = |(n, hdu): (usize, &Hdu)| {
            hdu.index == n && hdu.header_offset < hdu.data_offset && hdu.end() <= i64::MAX.unsigned_abs()
        };
        self.learnt.is_sound() && self.layouts.iter().all(|layout| layout.hdus.iter().enumerate().all(fits))
    }
}

/// What files of the class of a file have shown.
#[derive(Debug, Default)]
pub(super) struct Recalled {
    /// The layout of one of them.
    pub sibling: Option<Sibling>,
    /// What is to be replayed.
    pub script: Option<Arc<Script>>,
}

impl Default for Classes {
    fn default() -> Self {
        let patterns = moka::sync::Cache::builder()
            .max_capacity(MAX_WEIGHT)
            .weigher(|pattern: &Arc<str>, known: &Arc<Known>| {
                let name = u32::try_from(pattern.len()).unwrap_or(u32::MAX);
                known.weight.load(Ordering::Relaxed).saturating_add(name)
            })
            .build();
        Self { patterns, unwritten: Mutex::default() }
    }
}

impl Classes {
    /// What files of the class of this key have shown, best one of the same size.
    pub fn recall(&self, key: &str, size: u64) -> Recalled {
        let known: Vec<_> = Class::of(key).patterns().iter().filter_map(|pattern| self.patterns.get(pattern)).collect();
        let sibling = known.iter().find_map(|known| known.shown.lock().sibling(size));
        // Two files say more than one, even if they are less alike.
        let files = |known: &Arc<Known>| known.shown.lock().learnt.files();
        let surest =
            known.iter().find(|known| files(known) > 1).or_else(|| known.iter().find(|known| files(known) > 0));
        Recalled { sibling, script: surest.and_then(|known| known.shown.lock().learnt.script()) }
    }

    /// A file is opened. Returns the one of its class that was opened before it.
    pub fn opened(&self, file: &Arc<FileState>) -> Option<Arc<FileState>> {
        let pattern = Class::of(file.object().key()).product_type().clone();
        let before = std::mem::replace(&mut self.known(pattern).shown.lock().opened, Arc::downgrade(file));
        before.upgrade().filter(|before| !Arc::ptr_eq(before, file))
    }

    /// Learns from a file that programs have read, or read still. The last one counts for how far they go and for what they
    /// read, the one of which more is known for the layout.
    pub fn learn(&self, key: &str, planner: &Planner, is_open: bool) {
        let layout = planner.layout();
        if layout.hdus.is_empty() || layout.hdus.len() > MAX_HDUS {
            return;
        }
        let layout = Arc::new(layout.clone());
        let (observed, file) = (planner.observed(), xxh3_64(key.as_bytes()));
        let class = Class::of(key);
        self.unwritten.lock().insert(class.product_type().clone());
        for pattern in class.patterns() {
            let known = self.known(pattern.clone());
            let mut shown = known.shown.lock();
            shown.learn(&layout, planner.touched());
            if let Some(observed) = &observed {
                shown.learnt.learn(file, observed, is_open);
            }
            let weight = u32::try_from(shown.weight()).unwrap_or(u32::MAX);
            drop(shown);
            if known.weight.swap(weight, Ordering::Relaxed) != weight {
                // It is weighed when it is put in.
                self.patterns.insert(pattern.clone(), known);
            }
        }
    }

    /// The class of a key if nothing is known of it in memory: it may be noted on disk.
    pub fn unknown(&self, key: &str) -> Option<Arc<str>> {
        let class = Class::of(key).product_type().clone();
        (!self.patterns.contains_key(&class)).then_some(class)
    }

    /// What is noted of a class, or that nothing is. What files have shown meanwhile counts more.
    pub fn restore(&self, class: &Arc<str>, note: Option<Value>) {
        let known = self.known(class.clone());
        let note = note.and_then(|note| serde_json::from_value::<Note>(note).ok());
        let Some(note) = note.filter(Note::is_sound) else { return };
        let mut shown = known.shown.lock();
        if shown.layouts.is_empty() {
            let layouts = note.layouts.into_iter().take(MAX_SIZES).map(Arc::new).collect();
            *shown = Shown { layouts, reach: note.reach, learnt: note.learnt, opened: shown.opened.clone() };
        }
    }

    /// The classes of which more is known than is noted, with what is to be noted: all of them at once.
    pub fn take_unwritten(&self) -> Vec<(Arc<str>, Value)> {
        let classes = std::mem::take(&mut *self.unwritten.lock());
        let note = |class: Arc<str>| {
            let note = self.patterns.get(&class)?.shown.lock().note();
            Some((class, serde_json::to_value(note).ok()?))
        };
        classes.into_iter().filter_map(note).collect()
    }

    fn known(&self, pattern: Arc<str>) -> Arc<Known> {
        self.patterns.get_with(pattern, || {
            Arc::new(Known { weight: AtomicU32::new(size_of::<Known>() as u32), ..Known::default() })
        })
    }
}

impl Shown {
    fn sibling(&self, size: u64) -> Option<Sibling> {
        let same = self.layouts.iter().find(|layout| layout.file_size == size);
        // Of equals the last one counts, which is the first in the list.
        let layout = same.or_else(|| self.layouts.iter().rev().max_by_key(|layout| layout.hdus.len()))?;
        Some(Sibling { layout: layout.clone(), reach: self.reach })
    }

    fn learn(&mut self, layout: &Arc<Layout>, reach: usize) {
        self.reach = reach;
        let same = self.layouts.iter().position(|known| known.file_size == layout.file_size);
        let known = same.map(|index| self.layouts.remove(index));
        let best = known.filter(|known| known.hdus.len() > layout.hdus.len()).unwrap_or_else(|| layout.clone());
        self.layouts.insert(0, best);
        self.layouts.truncate(MAX_SIZES);
    }

    fn note(&self) -> Note {
        let layouts = self.layouts.iter().filter(|layout| layout.hdus.len() <= MAX_NOTED_HDUS);
        let layouts = layouts.map(|layout| (**layout).clone()).collect();
        Note { layouts, reach: self.reach, learnt: self.learnt.clone() }
    }

    /// About how much memory it takes, in bytes.
    fn weight(&self) -> usize {
        let hdus: usize = self.layouts.iter().map(|layout| layout.hdus.len()).sum();
        size_of::<Known>() + hdus * HDU + self.learnt.weight()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fits::testing::{IMAGE, SIMPLE, image, layout};

    /// A layout of a primary HDU, and images of these lengths.
    fn layout_of(lengths: &[usize]) -> Arc<Layout> {
        let images = lengths.iter().map(|len| image(IMAGE, 0, &[*len]));
        Arc::new(layout(&std::iter::once(image(SIMPLE, 0, &[])).chain(images).collect::<Vec<_>>().concat()))
    }

    #[test]
    fn a_layout_of_the_same_size_is_the_better_guess() {
        let (small, large, partly) = (layout_of(&[100, 100]), layout_of(&[9_000, 100]), layout_of(&[100]));
        let classes = Classes::default();
        let key = |n: u32| format!("jw0{n}/jw0{n}_rate.fits");
        let learn = |layout: &Arc<Layout>| {
            Class::of(&key(1)).patterns().iter().for_each(|p| classes.known(p.clone()).shown.lock().learn(layout, 1));
        };
        assert!(classes.recall(&key(2), small.file_size).sibling.is_none());
        [&small, &large, &partly].into_iter().for_each(learn);
        let known = |size: u64| classes.recall(&key(2), size).sibling.unwrap().layout.file_size;
        assert_eq!(known(small.file_size), small.file_size);
        assert_eq!(known(large.file_size), large.file_size);
        assert_eq!(known(1 << 30), large.file_size, "the last one of which most is known");
        assert!(classes.recall("jw02/jw02_cal.fits", small.file_size).sibling.is_none());
    }

    #[test]
    fn what_is_noted_of_a_class_is_known_again() {
        let (classes, layout) = (Classes::default(), layout_of(&[100, 200]));
        let key = |n: u32| format!("jw0{n}/jw0{n}_rate.fits");
        let mut planner = Planner::new(layout.file_size, true, None, 0, u64::MAX);
        let bytes = [image(SIMPLE, 0, &[]), image(IMAGE, 0, &[100]), image(IMAGE, 0, &[200])].concat();
        let held = |range: &std::ops::Range<u64>| Some(bytes[range.start as usize..range.end as usize].to_vec().into());
        planner.on_arrival(held, &crate::metrics::Pace::default());
        classes.learn(&key(1), &planner, false);
        let noted = classes.take_unwritten();
        assert_eq!(noted.len(), 1);
        assert!(classes.take_unwritten().is_empty());
        let others = Classes::default();
        let class = others.unknown(&key(2)).unwrap();
        assert_eq!(class, noted[0].0);
        others.restore(&class, Some(Value::from("of another version")));
        assert!(others.unknown(&key(2)).is_none(), "it is looked for once");
        assert!(others.recall(&key(2), 0).sibling.is_none());
        let mut unsound = noted[0].1.clone();
        unsound["layouts"][0]["hdus"][1]["data_offset"] = Value::from(u64::MAX);
        others.restore(&class, Some(unsound));
        assert!(others.recall(&key(2), 0).sibling.is_none());
        others.restore(&class, Some(noted[0].1.clone()));
        assert_eq!(others.recall(&key(2), 0).sibling.unwrap().layout, layout);
    }
}
