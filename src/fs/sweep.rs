//! Programs that go through a directory file by file: which files they will open next.
//!
//! The commonest loop there is opens one file after the other for its headers. Two files that are neighbours in the
//! listing, among those of their class, or three at equal distances, give the direction and the step away; from then on
//! the next ones are expected, twice as many with each file that was foreseen rightly.

use std::sync::Arc;

use parking_lot::Mutex;

use super::entry::Entry;
use super::listing::Listing;
use crate::read::Class;

/// So many files are expected ahead at most: what 30 ms of waiting take of a program that needs 1 ms for a file.
const MAX_AHEAD: usize = 32;

/// Steps of up to so many files are recognised.
const MAX_STEP: usize = 16;

/// So many entries of other classes are passed over to find the next one.
const MAX_PASSED: usize = 1024;

/// How many directories are followed at once.
const MAX_DIRECTORIES: u64 = 256;

/// The programs that go through directories.
#[derive(Debug)]
pub struct Sweeps(moka::sync::Cache<Arc<str>, Arc<Mutex<Sweep>>>);

/// One directory.
#[derive(Debug, Default)]
struct Sweep {
    /// The file that was opened last.
    last: Option<Arc<str>>,
    /// Its distance from the one before, in files of its class, and how often in a row it was that.
    step: isize,
    repeated: u32,
}

impl Default for Sweeps {
    fn default() -> Self {
        Self(moka::sync::Cache::builder().max_capacity(MAX_DIRECTORIES).build())
    }
}

impl Sweeps {
    /// A program opens `name` in the directory `prefix`: the entries that it will open next, in that order.
    pub fn opened(&self, prefix: &str, name: &str, listing: Option<&Listing>) -> Vec<Entry> {
        let sweep = self.0.get_with(prefix.into(), Arc::default);
        let mut sweep = sweep.lock();
        if sweep.last.as_deref() == Some(name) {
            return Vec::new();
        }
        let last = sweep.last.replace(name.into());
        let Some((last, listing)) = last.zip(listing) else { return Vec::new() };
        let Some(alike) = likeness(&last, name) else { return Vec::new() };
        let step = listing.steps(&last, name, MAX_STEP, &alike).unwrap_or(0);
        sweep.repeated = if step == sweep.step { (sweep.repeated + 1).min(8) } else { 0 };
        sweep.step = step;
        let sure = step.abs() == 1 || sweep.repeated > 0;
        if step == 0 || !sure {
            return Vec::new();
        }
        let count = (2_usize << sweep.repeated).min(MAX_AHEAD);
        listing.ahead(name, step, count, &alike)
    }
}

impl Listing {
    /// How many files that are `alike` it is from one name to another, negative backwards.
    fn steps(&self, from: &str, to: &str, most: usize, alike: &impl Fn(&str) -> bool) -> Option<isize> {
        let count = |direction| {
            let names = self.walk(from, direction, MAX_PASSED).into_iter().filter(|entry| alike(&entry.name));
            let mut names = names.take(most).map(|entry| entry.name).enumerate();
            names.find_map(|(n, name)| (&*name == to).then_some((n as isize + 1) * direction))
        };
        count(1).or_else(|| count(-1))
    }

    /// The entries at every `step`th file from a name on, of those that are `alike`.
    fn ahead(&self, name: &str, step: isize, count: usize, alike: &impl Fn(&str) -> bool) -> Vec<Entry> {
        let stride = step.unsigned_abs();
        let entries = self.walk(name, step.signum(), MAX_PASSED + count * stride);
        entries.into_iter().filter(|entry| alike(&entry.name)).skip(stride - 1).step_by(stride).take(count).collect()
    }
}

/// What two names have in common: the class of the one, as closely as the other is like it. None if it is not at all.
fn likeness(a: &str, b: &str) -> Option<impl Fn(&str) -> bool> {
    let class = Class::of(b);
    let level = class.likeness(&Class::of(a))?;
    Some(move |name: &str| class.has(name, level))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::Node;
    use crate::fs::entry::Page;

    fn listing(names: &[&str]) -> Listing {
        let entry = |name: &&str| Entry { name: (*name).into(), node: Node::Directory { prefix: "x/".into() } };
        let listing = Listing::new(true);
        let entries = names.iter().map(entry).collect();
        listing.append(Page { entries, in_order: true, complete: true, ..Page::default() });
        listing
    }

    fn opened(sweeps: &Sweeps, listing: &Listing, name: &str) -> Vec<String> {
        sweeps.opened("d/", name, Some(listing)).iter().map(|entry| entry.name.to_string()).collect()
    }

    #[test]
    fn neighbours_of_a_class_give_the_order_away() {
        let names: Vec<_> =
            (0..20).flat_map(|n| [format!("jw{n:02}_cal.fits"), format!("jw{n:02}_rate.fits")]).collect();
        let listing = listing(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let sweeps = Sweeps::default();
        assert!(opened(&sweeps, &listing, "jw03_rate.fits").is_empty());
        assert_eq!(opened(&sweeps, &listing, "jw04_rate.fits"), ["jw05_rate.fits", "jw06_rate.fits"]);
        assert_eq!(opened(&sweeps, &listing, "jw05_rate.fits").len(), 4);
        assert!(opened(&sweeps, &listing, "jw15_rate.fits").is_empty(), "a jump is no order");
        assert_eq!(opened(&sweeps, &listing, "jw14_rate.fits"), ["jw13_rate.fits", "jw12_rate.fits"]);
    }

    #[test]
    fn every_third_file_is_recognised_after_three() {
        let names: Vec<_> = (0..30).map(|n| format!("a{n:02}.fits")).collect();
        let listing = listing(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let sweeps = Sweeps::default();
        assert!(opened(&sweeps, &listing, "a00.fits").is_empty());
        assert!(opened(&sweeps, &listing, "a03.fits").is_empty());
        assert_eq!(opened(&sweeps, &listing, "a06.fits"), ["a09.fits", "a12.fits", "a15.fits", "a18.fits"]);
    }

    #[test]
    fn the_end_of_the_directory_ends_it() {
        let listing = listing(&["a1.fits", "a2.fits", "b.txt"]);
        let sweeps = Sweeps::default();
        opened(&sweeps, &listing, "a1.fits");
        assert!(opened(&sweeps, &listing, "a2.fits").is_empty());
    }
}
