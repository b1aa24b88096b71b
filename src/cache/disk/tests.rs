//! The cache on a real directory: what it gives is what was put in, or nothing, whatever happens to its files.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::SystemTime;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::cache::{Origin, Segment};
use crate::store::{ObjectMeta, Version};

const QUOTA: u64 = 64 << 20;

pub(super) struct Rig {
    folder: TempDir,
    runtime: tokio::runtime::Runtime,
}

impl Rig {
    pub(super) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { folder: tempfile::tempdir().unwrap(), runtime }
    }

    pub(super) fn cache(&self, quota: u64) -> Arc<DiskCache> {
        let directory = Directory::open(self.folder.path(), false).unwrap();
        DiskCache::open(directory, device(), quota, 64 << 20, Arc::new(Metrics::new())).unwrap()
    }

    pub(super) fn open(&self, cache: &Arc<DiskCache>, object: &ObjectMeta) -> Arc<CachedObject> {
        self.runtime.block_on(cache.object(identity(object))).expect("its files can be made")
    }

    pub(super) fn read(&self, cache: &Arc<DiskCache>, object: &ObjectMeta, range: Range<u64>) -> Option<Bytes> {
        let opened = self.open(cache, object);
        let bytes = self.runtime.block_on(cache.read(&opened, range));
        settle(cache);
        bytes
    }

    pub(super) fn keep(
        &self,
        cache: &Arc<DiskCache>,
        object: &ObjectMeta,
        range: Range<u64>,
        headers: Vec<Range<u64>>,
    ) {
        let segment = Segment::new(range.clone(), Origin::Demand, None);
        segment.append(Bytes::from(content(object, &range)));
        let (object, segment) = (self.open(cache, object), Arc::new(segment));
        cache.keep(Fetched { object, segment, range, headers, claim: None });
    }

    /// Closes a cache and its files.
    pub(super) fn close(&self, cache: Arc<DiskCache>) {
        let device = cache.device.clone();
        drop(cache);
        device.finish(Duration::from_secs(60));
    }

    pub(super) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// What `du` would say.
    fn taken(&self) -> u64 {
        let mut bytes = 0;
        evict::files(&Directory::open(self.folder.path(), false).unwrap(), &mut bytes).unwrap();
        bytes
    }

    pub(super) fn files(&self, kind: &str) -> Vec<PathBuf> {
        let directory = Directory::open(self.folder.path(), false).unwrap();
        let names = evict::files(&directory, &mut 0).unwrap();
        let path = |(name, found): (String, evict::Kind)| match (found, kind) {
            (evict::Kind::Map, "map") => Some(directory.shown(&directory.map(&name))),
            (evict::Kind::Data, "data") => Some(directory.shown(&directory.data(&name))),
            _ => None,
        };
        let mut paths: Vec<_> = names.into_iter().filter_map(path).collect();
        paths.sort();
        paths
    }
}

/// Waits until what is written without a caller that waits is written.
pub(super) fn settle(cache: &DiskCache) {
    cache.device.finish(Duration::from_secs(60));
}

/// A disk that is waited for however busy the machine is.
fn device() -> Arc<Device> {
    Device::start("a test".to_owned(), Duration::from_secs(60)).unwrap()
}

pub(super) fn object(key: &str, size: u64) -> ObjectMeta {
    let version = Version { etag: Some("\"1\"".into()), id: None };
    ObjectMeta { key: key.into(), size, last_modified: SystemTime::UNIX_EPOCH, version, storage_class: None }
}

fn identity(object: &ObjectMeta) -> Identity {
    Identity::new("s3://here/bucket", object)
}

fn content(object: &ObjectMeta, range: &Range<u64>) -> Vec<u8> {
    let seed = object.key.bytes().map(u64::from).sum::<u64>();
    range.clone().map(|at| (at.wrapping_mul(0x9e37_79b9) >> 7 ^ seed ^ at >> 12) as u8).collect()
}

/// What is done to the files of a cache.
#[derive(Clone, Debug)]
enum Damage {
    Flip { map: bool, at: f64, bit: u8 },
    Truncate { map: bool, at: f64 },
    Zero { map: bool, at: f64, len: usize },
    SwapFiles { map: bool },
    SwapPages { a: f64, b: f64 },
    Remove { map: bool },
}

impl Damage {
    fn any() -> impl Strategy<Value = Self> {
        prop_oneof![
            (any::<bool>(), 0.0..1.0f64, 0u8..8).prop_map(|(map, at, bit)| Self::Flip { map, at, bit }),
            (any::<bool>(), 0.0..1.0f64).prop_map(|(map, at)| Self::Truncate { map, at }),
            (any::<bool>(), 0.0..1.0f64, 1usize..9000).prop_map(|(map, at, len)| Self::Zero { map, at, len }),
            any::<bool>().prop_map(|map| Self::SwapFiles { map }),
            (0.0..1.0f64, 0.0..1.0f64).prop_map(|(a, b)| Self::SwapPages { a, b }),
            any::<bool>().prop_map(|map| Self::Remove { map }),
        ]
    }

    /// Does nothing where an earlier damage has left nothing to hit.
    fn apply(&self, rig: &Rig) {
        let paths = |map: bool| rig.files(if map { "map" } else { "data" });
        let open = |map: bool| {
            let file = OpenOptions::new().read(true).write(true).open(&paths(map)[0]).unwrap();
            let length = file.metadata().unwrap().len();
            (file, length)
        };
        let place = |at: f64, length: u64| (at * length as f64) as u64;
        match *self {
            Self::Flip { map, at, bit } => {
                let (file, length) = open(map);
                if length == 0 {
                    return;
                }
                let (mut byte, at) = ([0], place(at, length));
                file.read_exact_at(&mut byte, at).unwrap();
                file.write_all_at(&[byte[0] ^ 1 << bit], at).unwrap();
            }
            Self::Truncate { map, at } => {
                let (file, length) = open(map);
                file.set_len(place(at, length)).unwrap();
            }
            Self::Zero { map, at, len } => {
                let (file, length) = open(map);
                file.write_all_at(&vec![0; len], place(at, length)).unwrap();
            }
            Self::SwapFiles { map } => {
                let paths = paths(map);
                let aside = rig.folder.path().join("aside");
                std::fs::rename(&paths[0], &aside).unwrap();
                std::fs::rename(&paths[1], &paths[0]).unwrap();
                std::fs::rename(&aside, &paths[1]).unwrap();
            }
            Self::SwapPages { a, b } => {
                let (file, length) = open(false);
                if length < PAGE {
                    return;
                }
                let at = |place_of: f64| place(place_of, length / PAGE) * PAGE;
                let read = |at| {
                    let mut page = vec![0; PAGE as usize];
                    file.read_exact_at(&mut page, at).unwrap();
                    page
                };
                let (first, second) = (read(at(a)), read(at(b)));
                file.write_all_at(&second, at(a)).unwrap();
                file.write_all_at(&first, at(b)).unwrap();
            }
            Self::Remove { map } => std::fs::remove_file(&paths(map)[0]).unwrap(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_comes_out_went_in_and_holes_stay_holes(
        size in 1u64..6_000_000,
        writes in proptest::collection::vec((0.0..1.0f64, 1u64..3_000_000), 1..6),
        reads in proptest::collection::vec((0.0..1.0f64, 1u64..300_000), 1..20),
    ) {
        let rig = Rig::new();
        let cache = rig.cache(QUOTA);
        let object = object("a.fits", size);
        let mut there = vec![false; size.div_ceil(PAGE) as usize];
        for (at, len) in writes {
            let start = (at * size as f64) as u64;
            let range = start..(start + len).min(size);
            rig.keep(&cache, &object, range.clone(), vec![]);
            let end = if range.end == size { there.len() as u64 } else { range.end / PAGE };
            (range.start.div_ceil(PAGE)..end).for_each(|page| there[page as usize] = true);
        }
        cache.finish();
        for (at, len) in reads {
            let start = (at * size as f64) as u64;
            let range = start..(start + len).min(size);
            let whole = there[(range.start / PAGE) as usize..range.end.div_ceil(PAGE) as usize].iter().all(|p| *p);
            let read = rig.read(&cache, &object, range.clone());
            prop_assert_eq!(read.is_some(), whole);
            prop_assert!(read.is_none_or(|bytes| bytes == content(&object, &range)));
            let missing = rig.open(&cache, &object).missing(&range).unwrap();
            prop_assert_eq!(missing.is_none(), whole);
        }
    }

    #[test]
    fn damage_is_found_and_costs_no_more_than_what_it_hit(damages in proptest::collection::vec(Damage::any(), 1..4)) {
        let rig = Rig::new();
        let objects = [object("a.fits", 3_000_001), object("b.fits", 3_000_001), object("c.fits", 20_000)];
        {
            let cache = rig.cache(QUOTA);
            objects.iter().for_each(|object| rig.keep(&cache, object, 0..object.size, vec![]));
            cache.finish();
        }
        let untouched = rig.files("map");
        let renames = |damage: &Damage| matches!(damage, Damage::SwapFiles { .. } | Damage::Remove { .. });
        let damaged_in_place = damages.iter().all(|damage| !renames(damage));
        for damage in &damages {
            if rig.files("map").len() == 3 && rig.files("data").len() == 3 {
                damage.apply(&rig);
            }
        }
        let cache = rig.cache(QUOTA);
        for object in &objects {
            let mut lost = 0;
            for start in (0..object.size).step_by(PAGE as usize) {
                let page = start..(start + PAGE).min(object.size);
                match rig.read(&cache, object, page.clone()) {
                    Some(bytes) => prop_assert!(bytes == content(object, &page), "wrong bytes of {}", object.key),
                    None => lost += 1,
                }
            }
            let name = identity(object).name();
            if damaged_in_place && !untouched[0].ends_with(format!("{name}.map")) {
                prop_assert_eq!(lost, 0, "{} was not touched", object.key);
            }
            rig.keep(&cache, object, 0..object.size, vec![]);
            cache.finish();
            prop_assert_eq!(rig.read(&cache, object, 0..object.size), Some(content(object, &(0..object.size)).into()));
        }
    }
}

#[test]
fn another_process_finds_what_one_has_fetched() {
    let rig = Rig::new();
    let (one, two) = (rig.cache(QUOTA), rig.cache(QUOTA));
    let object = object("a.fits", 1_000_000);
    let (mine, other) = (rig.open(&one, &object), rig.open(&two, &object));
    let claim = mine.claim(&(0..500_000)).unwrap();
    assert!(claim.is_some() && other.claim(&(400_000..600_000)).unwrap().is_none());
    assert!(other.claim(&(600_000..700_000)).unwrap().is_some());
    let segment = Segment::new(0..500_000, Origin::Demand, None);
    segment.append(Bytes::from(content(&object, &(0..500_000))));
    let keep =
        || one.keep(Fetched { object: mine, segment: segment.into(), range: 0..500_000, headers: vec![], claim });
    let missing = rig.runtime.block_on(async {
        let waiting = tokio::spawn({
            let (two, other) = (two.clone(), other.clone());
            async move { two.missing(&other, &(0..400_000)).await.map(|(range, _)| range) }
        });
        tokio::time::sleep(LOOK_AGAIN * 3).await;
        assert!(!waiting.is_finished());
        keep();
        waiting.await.unwrap()
    });
    assert_eq!(missing, None);
    assert_eq!(rig.read(&two, &object, 1..400_000), Some(content(&object, &(1..400_000)).into()));
}

#[test]
fn a_claim_without_a_fetch_is_waited_for_no_longer_than_a_moment() {
    let rig = Rig::new();
    let (one, two) = (rig.cache(QUOTA), rig.cache(QUOTA));
    let object = object("a.fits", 1_000_000);
    let (mine, other) = (rig.open(&one, &object), rig.open(&two, &object));
    let _claim = mine.claim(&(0..500_000)).unwrap().unwrap();
    let began = std::time::Instant::now();
    let (range, claim) = rig.runtime.block_on(two.missing(&other, &(0..4096))).unwrap();
    assert!(range == (0..4096) && claim.is_none() && began.elapsed() >= CLAIM_PATIENCE);
}

#[test]
fn the_quota_holds_and_headers_stay_longest() {
    let rig = Rig::new();
    let quota = 8 << 20;
    let cache = rig.cache(quota);
    let objects: Vec<_> = (0..40).map(|n| object(&format!("{n}.fits"), 1 << 20)).collect();
    for object in &objects {
        rig.keep(&cache, object, 0..object.size, std::iter::once(0..5760).collect());
        cache.finish();
        assert!(rig.taken() <= quota + quota / 100, "{} bytes taken of {quota}", rig.taken());
        // Those that were read last stay; a time of last use is as fine as a millisecond.
        std::thread::sleep(Duration::from_millis(2));
    }
    let is_there = |object: &ObjectMeta, range| rig.read(&cache, object, range).is_some();
    let whole = objects.iter().filter(|object| is_there(object, 0..1 << 20)).count();
    let headers = objects.iter().filter(|object| is_there(object, 0..5760)).count();
    assert!((5..8).contains(&whole) && headers == 40, "{whole} whole objects, {headers} headers");
    assert!(is_there(&objects[39], 0..1 << 20));
    let used = cache.usage.used().unwrap();
    assert!(used.abs_diff(rig.taken()) < quota / 20, "{used} bytes are noted, {} are taken", rig.taken());
}

#[test]
fn one_object_may_be_larger_than_the_cache() {
    let rig = Rig::new();
    let quota = 8 << 20;
    let cache = rig.cache(quota);
    let object = object("large.fits", 40 << 20);
    let opened = rig.open(&cache, &object);
    for start in (0..object.size).step_by(1 << 20) {
        rig.keep(&cache, &object, start..start + (1 << 20), vec![]);
        cache.finish();
        assert!(rig.taken() <= quota + quota / 100, "{} bytes taken of {quota}", rig.taken());
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(rig.read(&cache, &object, 39 << 20..40 << 20), Some(content(&object, &(39 << 20..40 << 20)).into()));
    assert_eq!(opened.read(&(0..4096)).unwrap(), DiskRead::Missing);
}

#[test]
fn what_a_crash_leaves_is_counted_and_cleared() {
    let rig = Rig::new();
    let quota = 4 << 20;
    {
        let cache = rig.cache(quota);
        rig.keep(&cache, &object("a.fits", 1 << 20), 0..1 << 20, vec![]);
        cache.finish();
        // Taken, and never written.
        cache.usage.take(3 << 20).unwrap_err();
        cache.usage.take(2 << 20).unwrap();
    }
    let orphan = rig.files("map").remove(0);
    std::fs::remove_file(&orphan).unwrap();
    File::create(orphan.with_file_name(".new-x")).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    let cache = rig.cache(quota);
    for n in 0..3 {
        rig.keep(&cache, &object(&format!("{n}.fits"), 1 << 20), 0..1 << 20, vec![]);
    }
    cache.finish();
    assert!(!orphan.with_extension("data").exists() && !orphan.with_file_name(".new-x").exists());
    assert!((0..3).all(|n| rig.read(&cache, &object(&format!("{n}.fits"), 1 << 20), 0..1 << 20).is_some()));
}

#[test]
fn a_lost_or_damaged_count_is_made_anew() {
    let rig = Rig::new();
    {
        let cache = rig.cache(QUOTA);
        rig.keep(&cache, &object("a.fits", 1 << 20), 0..1 << 20, vec![]);
        cache.finish();
    }
    std::fs::write(rig.folder.path().join("usage"), [7; 16]).unwrap();
    let cache = rig.cache(QUOTA);
    cache.finish();
    assert!(cache.usage.used().unwrap().abs_diff(rig.taken()) < 16 << 10);
    assert!(rig.read(&cache, &object("a.fits", 1 << 20), 0..1 << 20).is_some());
}

/// As when the folder was deleted, and another process has made the files anew and filled some of them.
#[test]
fn the_kernel_is_given_the_file_that_was_checked_and_no_other() {
    let rig = Rig::new();
    let (one, two) = (rig.cache(QUOTA), rig.cache(QUOTA));
    let object = object("a.fits", 1 << 20);
    let whole = 0..object.size;
    rig.keep(&one, &object, whole.clone(), vec![]);
    one.finish();
    let opened = rig.open(&one, &object);
    assert_eq!(opened.read(&whole).unwrap(), DiskRead::Bytes(content(&object, &whole).into()));
    std::fs::remove_dir_all(rig.folder.path().join("objects")).unwrap();
    rig.keep(&two, &object, 0..4096, vec![]);
    two.finish();
    let name = identity(&object).name();
    assert!(
        !one.checked.check(&one.directory, &name, &opened).unwrap()
            && rig.runtime.block_on(one.backing(&identity(&object))).is_none()
    );
}

#[test]
fn the_kernel_is_given_no_file_of_another_length() {
    let rig = Rig::new();
    let cache = rig.cache(QUOTA);
    let object = object("a.fits", 1 << 20);
    rig.keep(&cache, &object, 0..1 << 20, vec![]);
    cache.finish();
    let (name, opened) = (identity(&object).name(), rig.open(&cache, &object));
    let backing = || rig.runtime.block_on(cache.backing(&identity(&object)));
    let check = || cache.checked.check(&cache.directory, &name, &opened).unwrap() && backing().is_some();
    opened.data().set_len((1 << 20) + 1).unwrap();
    assert!(!check());
    opened.data().set_len(1 << 20).unwrap();
    assert!(check());
}

#[test]
fn a_check_ends_with_its_mount() {
    let rig = Rig::new();
    let cache = rig.cache(QUOTA);
    let object = object("a.fits", 1 << 20);
    rig.keep(&cache, &object, 0..1 << 20, vec![]);
    cache.finish();
    cache.stop();
    let (name, opened) = (identity(&object).name(), rig.open(&cache, &object));
    assert!(!cache.checked.check(&cache.directory, &name, &opened).unwrap());
}

#[test]
fn what_is_shared_is_so_whatever_the_umask() {
    use std::os::unix::fs::MetadataExt;
    let rig = Rig::new();
    let root = rig.folder.path().join("shared");
    let directory = Directory::open(&root, true).unwrap();
    let cache = DiskCache::open(directory.clone(), device(), QUOTA, QUOTA, Arc::new(Metrics::new())).unwrap();
    let object = object("a.fits", 10);
    let name = identity(&object).name();
    rig.open(&cache, &object);
    let mode = |path: PathBuf| std::fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!([directory.usage(), directory.map(&name), directory.data(&name)].map(mode), [0o660; 3]);
}

#[test]
fn what_others_keep_beside_the_cache_is_neither_counted_nor_removed() {
    let rig = Rig::new();
    let cache = rig.cache(QUOTA);
    let other = rig.folder.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("large"), vec![1; 1 << 20]).unwrap();
    File::create(other.join(".new-x")).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    let mut evictor = evict::Evictor::default();
    evictor.count(&cache.directory, &cache.usage, &cache.usage.evict().unwrap().unwrap()).unwrap();
    assert!(cache.usage.used().unwrap() < 1 << 20 && other.join(".new-x").exists());
}

/// As when a process was killed between a page and its entry, or a page was damaged.
#[test]
fn what_is_evicted_leaves_nothing_behind() {
    let rig = Rig::new();
    let cache = rig.cache(QUOTA);
    let object = object("a.fits", 2 * map::REGION);
    rig.keep(&cache, &object, 0..object.size, vec![]);
    cache.finish();
    let map = OpenOptions::new().write(true).open(&rig.files("map")[0]).unwrap();
    map.write_all_at(&[0; 800], map::entry_at(7)).unwrap();
    rig.open(&cache, &object).evict(0, u64::MAX, true).unwrap();
    assert_eq!(evict::taken(&rig.files("data")[0]), map::REGION);
}

#[test]
fn what_waits_to_be_written_is_bound_by_the_memory_that_it_holds() {
    let rig = Rig::new();
    let directory = Directory::open(rig.folder.path(), false).unwrap();
    let metrics = Arc::new(Metrics::new());
    let cache = DiskCache::open(directory, device(), QUOTA, 1 << 20, metrics.clone()).unwrap();
    let object = object("a.fits", 4 << 20);
    let segment = Segment::new(0..4 << 20, Origin::Demand, None);
    segment.append(vec![0; 4 << 20].into());
    let (opened, segment) = (rig.open(&cache, &object), Arc::new(segment));
    cache.keep(Fetched { object: opened, segment, range: 0..4096, headers: vec![], claim: None });
    assert_eq!(metrics.disk_dropped_bytes.get(), 4096);
}

#[test]
fn what_failed_to_be_written_may_be_there_and_stays_counted() {
    let rig = Rig::new();
    let cache = rig.cache(QUOTA);
    let object = object("a.fits", 1 << 20);
    rig.open(&cache, &object);
    let open = |kind, write| OpenOptions::new().read(true).write(write).open(&rig.files(kind)[0]).unwrap();
    let identity = identity(&object);
    let broken = CachedObject::of_files(&identity, open("map", true), open("data", false));
    let before = cache.usage.used().unwrap();
    let bytes = |range: Range<u64>| Some(vec![Bytes::from(vec![1; (range.end - range.start) as usize])]);
    broken.write(&(0..1 << 20), bytes, |_| Worth::Data, &cache.usage, None).unwrap_err();
    cache.usage.settle();
    assert!(cache.usage.used().unwrap() + QUOTA / 1024 >= before + (1 << 20));
}
