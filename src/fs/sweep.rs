//! Programs that go through a directory, or through directories that are alike, file by file: which files they will open
//! next.
//!
//! The commonest loop there is opens one file after the other for its headers. Two files that are neighbours in the
//! listing, among those of their class, or three at equal distances, give the direction and the step away; from then on
//! the next ones are expected, twice as many with each file that was foreseen rightly. Several readers that share such a
//! loop open its files a little out of order: that a file was expected confirms the order as well.
//!
//! Archives keep each dataset in a folder of its own: then the folders are in order, and the next file is the one in the
//! next folder that is named like this one.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::read::Class;
use crate::tree::{Directory, Entry, split};

/// So many files are expected ahead at most: what 30 ms of waiting take of a program that needs 1 ms for a file.
const MAX_AHEAD: usize = 32;

/// So many folders are: each takes a LIST that may find nothing.
const MAX_FOLDERS_AHEAD: usize = 8;

/// Steps of up to so many files are recognised.
const MAX_STEP: usize = 16;

/// So many entries of other classes are passed over to find the next one.
const MAX_PASSED: usize = 1024;

/// How many directories and classes are followed at once.
const MAX_FOLLOWED: u64 = 256;

/// What is expected of a program.
#[derive(Debug, Default)]
pub struct Expected {
    /// Entries of the directory of the file that it has opened, the next one first.
    pub files: Vec<Entry>,
    /// Paths in other directories. There may be no such file, but one that is named alike.
    pub paths: Vec<String>,
}

/// The programs that go through directories.
#[derive(Debug)]
pub struct Sweeps {
    /// By directory and kind of name.
    within: moka::sync::Cache<Arc<str>, Arc<Mutex<Sweep>>>,
    /// By class.
    across: moka::sync::Cache<Arc<str>, Arc<Mutex<Across>>>,
}

/// A way through one directory.
#[derive(Debug, Default)]
struct Sweep {
    /// The name that was opened last.
    last: Option<Arc<str>>,
    /// Its distance from the one before, in names of its class, and how often in a row it was that.
    step: isize,
    repeated: u32,
    /// The names that were expected last.
    expected: VecDeque<Arc<str>>,
}

/// A way through directories of one directory.
#[derive(Debug, Default)]
struct Across {
    /// The path that was opened last.
    last: Option<String>,
    /// The directory that holds those that are gone through.
    parent: String,
    folders: Sweep,
}

impl Default for Sweeps {
    fn default() -> Self {
        Self { within: moka::sync::Cache::new(MAX_FOLLOWED), across: moka::sync::Cache::new(MAX_FOLLOWED) }
    }
}

impl Sweeps {
    /// A program opens the file at `path`: those that it will open next. `listed` gives the entries of a directory, as far as
    /// they are known.
    pub fn opened(&self, path: &str, listed: impl Fn(&str) -> Option<Arc<dyn Directory>>) -> Expected {
        let (directory, name) = split(path);
        let class = Class::of(path);
        let sweep = self.within.get_with(format!("{directory}{}", Class::of(name).loosest()).into(), Arc::default);
        let files = sweep.lock().opened(name, listed(directory).as_deref(), MAX_AHEAD);
        let across = self.across.get_with(class.product_type().clone(), Arc::default);
        let paths = across.lock().opened(path, listed);
        Expected { files, paths }
    }
}

impl Sweep {
    /// A name was opened: those that follow, the next one first.
    fn opened(&mut self, name: &str, listing: Option<&dyn Directory>, most: usize) -> Vec<Entry> {
        if self.last.as_deref() == Some(name) {
            return Vec::new();
        }
        let last = self.last.replace(name.into());
        let Some((last, listing)) = last.zip(listing) else { return Vec::new() };
        let Some(alike) = likeness(&last, name) else { return Vec::new() };
        if self.expected.iter().any(|expected| **expected == *name) {
            self.repeated = (self.repeated + 1).min(8);
        } else {
            self.expected.clear();
            let step = steps(listing, &last, name, MAX_STEP, &alike).unwrap_or(0);
            self.repeated = if step == self.step { (self.repeated + 1).min(8) } else { 0 };
            self.step = step;
        }
        let sure = self.step.abs() == 1 || self.repeated > 0;
        if self.step == 0 || !sure {
            return Vec::new();
        }
        let count = (2_usize << self.repeated).min(most);
        let ahead = ahead(listing, name, self.step, count, &alike);
        self.expected.extend(ahead.iter().map(|entry| entry.name.clone()));
        // As many as readers that share a loop may be apart.
        self.expected.drain(..self.expected.len().saturating_sub(2 * most));
        ahead
    }
}

impl Across {
    /// A path was opened: those in the directories that follow. Only of directories that differ in one component, which the
    /// names below it repeat or not.
    fn opened(&mut self, path: &str, listed: impl Fn(&str) -> Option<Arc<dyn Directory>>) -> Vec<String> {
        let Some(last) = self.last.replace(path.to_owned()) else { return Vec::new() };
        let Some((parent, before, folder, below)) = difference(&last, path) else { return Vec::new() };
        let is_repeated = last[parent.len() + before.len()..].replace(before, folder) == below;
        if below.matches('/').count() > 1 && !is_repeated {
            return Vec::new();
        }
        if self.parent != parent {
            self.parent = parent.to_owned();
            self.folders = Sweep { last: Some(before.into()), ..Sweep::default() };
        }
        let folders = self.folders.opened(folder, listed(parent).as_deref(), MAX_FOLDERS_AHEAD);
        folders.iter().map(|next| format!("{parent}{}{}", next.name, below.replace(folder, &next.name))).collect()
    }
}

/// Where two paths of files in different directories differ first: the directory that holds both, the component of the one
/// and of the other, and what follows in the other, from a `/` on.
fn difference<'a>(last: &'a str, key: &'a str) -> Option<(&'a str, &'a str, &'a str, &'a str)> {
    let common = last.bytes().zip(key.bytes()).take_while(|(a, b)| a == b).count();
    let begin = key.as_bytes()[..common].iter().rposition(|c| *c == b'/').map_or(0, |slash| slash + 1);
    let component = |key: &'a str| key[begin..].find('/').map(|end| (&key[begin..begin + end], &key[begin + end..]));
    let ((before, _), (folder, below)) = (component(last)?, component(key)?);
    Some((&key[..begin], before, folder, below))
}

/// How many files that are `alike` it is from one name to another, negative backwards.
fn steps(listing: &dyn Directory, from: &str, to: &str, most: usize, alike: &impl Fn(&str) -> bool) -> Option<isize> {
    let count = |direction| {
        let names = listing.beyond(from, direction, MAX_PASSED).into_iter().filter(|entry| alike(&entry.name));
        let mut names = names.take(most).map(|entry| entry.name).enumerate();
        names.find_map(|(n, name)| (&*name == to).then_some((n as isize + 1) * direction))
    };
    count(1).or_else(|| count(-1))
}

/// The entries at every `step`th file from a name on, of those that are `alike`.
fn ahead(listing: &dyn Directory, name: &str, step: isize, count: usize, alike: &impl Fn(&str) -> bool) -> Vec<Entry> {
    let stride = step.unsigned_abs();
    let entries = listing.beyond(name, step.signum(), MAX_PASSED + count * stride);
    entries.into_iter().filter(|entry| alike(&entry.name)).skip(stride - 1).step_by(stride).take(count).collect()
}

/// What two names have in common: the class of the one, as closely as the other is like it, but no closer than products of
/// one type are. None if they have nothing in common.
fn likeness(a: &str, b: &str) -> Option<impl Fn(&str) -> bool> {
    let class = Class::of(b);
    let level = class.likeness(&Class::of(a))?.max(Class::PRODUCT_TYPE);
    Some(move |name: &str| class.has(name, level))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Result;
    use crate::tree::Node;

    /// Names in order.
    struct Names(Vec<Arc<str>>);

    #[async_trait::async_trait]
    impl Directory for Names {
        async fn entries(&self, _: u64, _: usize) -> Result<Vec<(Entry, u64)>> {
            unreachable!("nobody reads it")
        }

        fn beyond(&self, name: &str, direction: isize, count: usize) -> Vec<Entry> {
            let Some(at) = self.0.iter().position(|known| **known == *name) else { return Vec::new() };
            let entry = |name: &Arc<str>| Entry { name: name.clone(), node: Node::Directory };
            match direction > 0 {
                true => self.0[at + 1..].iter().take(count).map(entry).collect(),
                false => self.0[..at].iter().rev().take(count).map(entry).collect(),
            }
        }
    }

    fn listing(names: &[&str]) -> Arc<dyn Directory> {
        Arc::new(Names(names.iter().map(|name| (*name).into()).collect()))
    }

    fn opened(sweeps: &Sweeps, listing: &Arc<dyn Directory>, name: &str) -> Vec<String> {
        let expected = sweeps.opened(&format!("d/{name}"), |_| Some(listing.clone()));
        expected.files.iter().map(|entry| entry.name.to_string()).collect()
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

    #[test]
    fn readers_that_share_a_loop_do_not_end_it() {
        let names: Vec<_> = (0..40).map(|n| format!("a{n:02}.fits")).collect();
        let listing = listing(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let sweeps = Sweeps::default();
        ["a00.fits", "a01.fits", "a03.fits"].iter().for_each(|name| drop(opened(&sweeps, &listing, name)));
        let expected = opened(&sweeps, &listing, "a02.fits");
        assert_eq!(expected.first().map(String::as_str), Some("a03.fits"));
        assert!(expected.contains(&"a10.fits".to_owned()), "{expected:?}");
    }

    #[test]
    fn products_of_two_types_in_turn_are_two_sweeps() {
        let names: Vec<_> = (0..9).flat_map(|n| [format!("jw{n}_cal.fits"), format!("jw{n}_rate.fits")]).collect();
        let listing = listing(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let sweeps = Sweeps::default();
        names[..3].iter().for_each(|name| drop(opened(&sweeps, &listing, name)));
        assert_eq!(opened(&sweeps, &listing, "jw1_rate.fits"), ["jw2_rate.fits", "jw3_rate.fits"]);
    }

    /// The paths that are expected when a program opens these, in folders of which all are listed.
    fn across(folders: &[&str], keys: &[&str]) -> Vec<String> {
        let (sweeps, listing) = (Sweeps::default(), listing(folders));
        let open = |key: &str| sweeps.opened(key, |prefix| (prefix == "hst/").then(|| listing.clone())).paths;
        keys.iter().fold(Vec::new(), |_, key| open(key))
    }

    const DATASETS: [&str; 6] = ["j8pu0y010", "j8pu0y020", "j8pu0z010", "jcdm32zzq", "jdkaa1qqq", "logs"];

    #[test]
    fn folders_in_order_give_the_files_in_the_next_ones_away() {
        let key = |folder: &str| format!("hst/{folder}/{folder}_drc.fits");
        let expected = across(&DATASETS, &[&key(DATASETS[0]), &key(DATASETS[1])]);
        assert_eq!(expected, [key(DATASETS[2]), key(DATASETS[3])]);
        let backwards = across(&DATASETS, &[&key(DATASETS[4]), &key(DATASETS[3])]);
        assert_eq!(backwards, [key(DATASETS[2]), key(DATASETS[1])]);
        let spectra = across(
            &["4055", "4056", "4057"],
            &["hst/4055/spec-4055-55359-0596.fits", "hst/4056/spec-4056-55357-0001.fits"],
        );
        assert_eq!(spectra, ["hst/4057/spec-4057-55357-0001.fits"]);
    }

    #[test]
    fn folders_further_up_are_followed_where_the_names_below_repeat_them() {
        let below = across(&["s1", "s2", "s3"], &["hst/s1/c/a_s1_lc.fits", "hst/s2/c/a_s2_lc.fits"]);
        assert_eq!(below, ["hst/s3/c/a_s3_lc.fits"]);
        assert!(across(&["s1", "s2", "s3"], &["hst/s1/7/a7_lc.fits", "hst/s2/9/a9_lc.fits"]).is_empty());
    }

    #[test]
    fn neither_a_jump_nor_another_product_is_an_order_of_folders() {
        let key = |folder: &str, product: &str| format!("hst/{folder}/{folder}_{product}.fits");
        assert!(across(&DATASETS, &[&key(DATASETS[0], "drc"), &key(DATASETS[3], "drc")]).is_empty());
        assert!(across(&DATASETS, &[&key(DATASETS[0], "drc"), &key(DATASETS[1], "flt")]).is_empty());
        assert!(across(&DATASETS, &["hst/a_drc.fits", &key(DATASETS[1], "drc")]).is_empty());
    }
}
