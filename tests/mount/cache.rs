//! The cache on disk: what was fetched once is not fetched again, and what comes from it is right.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::PathBuf;
use std::time::Duration;

use fitsfs_lab::{Fault, Kind, Op, Shape};

use crate::map::Map;
use crate::support::*;

/// A rig and the folder of its cache.
fn unmounted(fill: impl FnOnce(&fitsfs_lab::Lab)) -> (Rig, String) {
    let rig = Rig::unmounted(fill);
    let cache = rig.outside().join("cache").to_str().unwrap().to_owned();
    (rig, cache)
}

fn unmount(rig: &Rig) {
    let output = fitsfs(&["unmount", rig.root_str()]);
    assert!(output.status.success(), "{}", text(&output));
}

/// Takes the page cache of the mount away as well.
fn remount(rig: &Rig, cache: &str) {
    unmount(rig);
    rig.lab.clear_log();
    rig.mount(&["--cache-dir", cache]);
}

/// The files of the cache with this ending.
fn files(cache: &str, ending: &str) -> Vec<PathBuf> {
    let folders = fs::read_dir(PathBuf::from(cache).join("objects")).unwrap();
    let files = folders.flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap());
    let paths = files.map(|file| file.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|found| found == ending)).collect()
}

fn kill(pid: i32, signal: i32) {
    // SAFETY: kill has no memory effects.
    unsafe { libc::kill(pid, signal) };
}

#[test]
fn after_a_remount_nothing_is_fetched_again() {
    let size = 23 * MIB + 1_234;
    let (rig, cache) = unmounted(|lab| {
        lab.put(BUCKET, "a/b/c.fits", pattern(size, 1));
        lab.put(BUCKET, "a/d.fits", pattern(300_000_000, 2));
    });
    rig.mount(&["--cache-dir", &cache]);
    assert_eq!(sha256(rig.open("a/b/c.fits")), sha256_of_pattern(1, size));
    let pages: Vec<u64> = (0..50).map(|n| n * 5_000_011).collect();
    for at in &pages {
        assert_eq!(read_at(&rig.open("a/d.fits"), *at, 5_000).unwrap(), pattern_at(2, *at, 5_000));
    }
    remount(&rig, &cache);
    assert_eq!(sha256(rig.open("a/b/c.fits")), sha256_of_pattern(1, size));
    for at in &pages {
        assert_eq!(read_at(&rig.open("a/d.fits"), *at, 5_000).unwrap(), pattern_at(2, *at, 5_000));
    }
    let fetched: Vec<_> = rig.lab.requests().into_iter().filter(|r| r.op == Op::GetObject && r.bytes > 0).collect();
    assert!(fetched.is_empty(), "{fetched:?}");
    let status = rig.status();
    assert!(status["disk_bytes_read"].as_u64().unwrap() > size);
    assert_eq!(status["cache"]["misses"], 0);
    assert!(status["disk"]["used_bytes"].as_u64().unwrap() > size);
}

#[test]
fn pages_here_and_there_are_read_from_disk_without_their_blocks() {
    let (rig, cache) = unmounted(|lab| drop(lab.put(BUCKET, "d/a.fits", pattern(80 * MIB, 4))));
    rig.mount(&["--cache-dir", &cache]);
    assert_eq!(sha256(rig.open("d/a.fits")), sha256_of_pattern(4, 80 * MIB));
    remount(&rig, &cache);
    let file = rig.open("d/a.fits");
    let from_disk = || rig.status()["disk_bytes_read"].as_u64().unwrap();
    let (before, page) = (from_disk(), 4096);
    for at in (1..=20).map(|n| n * 3 * MIB + n * page) {
        assert_eq!(read_at(&file, at, page as usize).unwrap(), pattern_at(4, at, page as usize));
    }
    let alone = from_disk() - before;
    assert!(alone <= 20 * 2 * page, "{alone} bytes for 20 pages");
    for at in (1..=8).map(|n| 30 * MIB + (10 + n) * page) {
        assert_eq!(read_at(&file, at, page as usize).unwrap(), pattern_at(4, at, page as usize));
    }
    assert_eq!(rig.gets(), (0, 0));
}

#[test]
fn a_cache_whose_folder_was_removed_under_its_mount_is_made_again() {
    let (rig, cache) = unmounted(|lab| {
        lab.put(BUCKET, "d/a.fits", pattern(MIB, 1));
        lab.put(BUCKET, "e/b.fits", pattern(3 * MIB, 2));
    });
    rig.mount(&["--cache-dir", &cache]);
    assert_eq!(sha256(rig.open("d/a.fits")), sha256_of_pattern(1, MIB));
    fs::remove_dir_all(&cache).unwrap();
    assert_eq!(names(&rig.path("e")).unwrap().len(), 1);
    assert_eq!(sha256(rig.open("e/b.fits")), sha256_of_pattern(2, 3 * MIB));
    remount(&rig, &cache);
    assert_eq!(names(&rig.path("e")).unwrap().len(), 1);
    assert_eq!(sha256(rig.open("e/b.fits")), sha256_of_pattern(2, 3 * MIB));
    assert_eq!(rig.gets(), (0, 0));
    let lists = rig.lab.requests().iter().filter(|r| r.op == Op::ListObjectsV2 && r.key.starts_with("e")).count();
    assert_eq!(lists, 0);
}

#[test]
fn another_version_is_not_served_from_the_old_one() {
    let (rig, cache) = unmounted(|lab| drop(lab.put(BUCKET, "a.fits", pattern(MIB, 1))));
    let options = ["--cache-dir", &cache, "--metadata-ttl", "10ms"];
    rig.mount(&options);
    assert_eq!(sha256(rig.open("a.fits")), sha256_of_pattern(1, MIB));
    rig.lab.put(BUCKET, "a.fits", pattern(MIB, 2));
    unmount(&rig);
    rig.mount(&options);
    assert_eq!(sha256(rig.open("a.fits")), sha256_of_pattern(2, MIB));
}

/// A daemon that is killed at any moment leaves a cache whose every byte is right, or is not there.
#[test]
fn a_cache_survives_kills_at_random_moments() {
    let seeds = std::env::var("FITSFS_CRASH_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(8);
    let (rig, cache) = unmounted(|lab| {
        (0..4).for_each(|n| drop(lab.put(BUCKET, &format!("{n}.fits"), pattern(30 * MIB + n, n))));
    });
    let mut kept = 0;
    for seed in 0..seeds {
        rig.mount(&["--cache-dir", &cache, "--cache-size", "100MiB"]);
        let readers: Vec<_> = (0..4)
            .map(|n| {
                let path = rig.path(&format!("{n}.fits"));
                std::thread::spawn(move || {
                    let Ok(file) = fs::File::open(path) else { return };
                    for step in 0..400u64 {
                        let at = (seed * 7_919 + step * 104_729 * (n + 1)) * 4096 % (30 * MIB - 300_000);
                        let len = 4096 + (step * 7_907 % 250_000) as usize;
                        let Ok(bytes) = read_at(&file, at, len) else { return };
                        assert!(bytes == pattern_at(n, at, len), "wrong bytes at {at} of {n}, seed {seed}");
                    }
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(20 + seed * 37 % 400));
        kill(rig.pid(), libc::SIGKILL);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        rig.mount(&["--cache-dir", &cache, "--cache-size", "100MiB"]);
        rig.lab.clear_log();
        for n in 0..4 {
            assert_eq!(sha256(rig.open(&format!("{n}.fits"))), sha256_of_pattern(n, 30 * MIB + n), "seed {seed}");
        }
        assert_eq!(rig.status()["disk_damaged_pages"], 0, "seed {seed}: a kill damages nothing");
        kept += 120 * MIB - rig.gets().1.min(120 * MIB);
        unmount(&rig);
    }
    assert!(kept > seeds * MIB, "{kept} bytes of all that was fetched have survived");
}

#[test]
fn damage_is_found_and_fetched_again_and_nothing_else() {
    let size = 8 * MIB;
    let (rig, cache) = unmounted(|lab| {
        lab.put(BUCKET, "a.fits", pattern(size, 1));
        lab.put(BUCKET, "b.fits", pattern(size, 2));
    });
    rig.mount(&["--cache-dir", &cache]);
    let check = || {
        assert_eq!(sha256(rig.open("a.fits")), sha256_of_pattern(1, size));
        assert_eq!(sha256(rig.open("b.fits")), sha256_of_pattern(2, size));
    };
    check();
    unmount(&rig);
    let data = files(&cache, "data");
    assert_eq!(data.len(), 2);
    let file = OpenOptions::new().write(true).open(&data[0]).unwrap();
    file.write_all_at(&[0; 5000], 3 * MIB).unwrap();
    file.set_len(7 * MIB).unwrap();
    rig.lab.clear_log();
    rig.mount(&["--cache-dir", &cache]);
    check();
    let (_, bytes) = rig.gets();
    assert!((MIB..2 * MIB + MIB / 2).contains(&bytes), "{bytes} bytes fetched again");
    assert_eq!(rig.status()["disk_damaged_pages"], 256 + 2);
    remount(&rig, &cache);
    check();
    assert_eq!(rig.gets().1, 0);
}

#[test]
fn two_mounts_share_what_either_fetches() {
    let size = 128 * MIB;
    let (rig, cache) = unmounted(|lab| drop(lab.put(BUCKET, "a.fits", pattern(size, 1))));
    rig.lab.shape(Shape { ttfb: Duration::from_millis(20), per_connection: Some(80_000_000), ..Shape::default() });
    let second = rig.outside().join("second");
    fs::create_dir(&second).unwrap();
    rig.mount(&["--cache-dir", &cache]);
    let source = format!("s3://{BUCKET}");
    let options = ["--endpoint-url", &rig.lab.endpoint(), "--no-sign-request", "--cache-dir", &cache];
    let output = fitsfs(&[&["mount", &source, second.to_str().unwrap()], &options[..]].concat());
    assert!(output.status.success(), "{}", text(&output));
    let readers: Vec<_> = (0..8)
        .map(|n| {
            let path = if n % 2 == 0 { rig.path("a.fits") } else { second.join("a.fits") };
            std::thread::spawn(move || sha256(fs::File::open(path).unwrap()))
        })
        .collect();
    let truth = sha256_of_pattern(1, size);
    readers.into_iter().for_each(|reader| assert_eq!(reader.join().unwrap(), truth));
    let (_, bytes) = rig.gets();
    let unmounted = fitsfs(&["unmount", second.to_str().unwrap()]);
    assert!(unmounted.status.success(), "{}", text(&unmounted));
    assert!(bytes < size + size / 5, "{bytes} bytes fetched of {size}");
}

#[test]
fn the_quota_is_kept_and_reading_goes_on() {
    let (rig, cache) = unmounted(|lab| {
        (0..8).for_each(|n| drop(lab.put(BUCKET, &format!("{n}.fits"), pattern(8 * MIB, n))));
    });
    let quota = 32 * MIB;
    rig.mount(&["--cache-dir", &cache, "--cache-size", "32MiB"]);
    for n in (0..8).chain(0..8) {
        assert_eq!(sha256(rig.open(&format!("{n}.fits"))), sha256_of_pattern(n, 8 * MIB));
        let output = std::process::Command::new("du").args(["-s", "-B1", &cache]).output().unwrap();
        let taken: u64 = text(&output).split_whitespace().next().unwrap().parse().unwrap();
        assert!(taken <= quota + quota / 100, "{taken} bytes taken");
    }
    assert!(rig.status()["disk_evicted_bytes"].as_u64().unwrap() > 0);
}

/// What had been open within the last ten seconds was given up last, whatever it was: what programs come back to went
/// before what they had read once.
#[test]
fn what_is_read_again_and_again_outlives_what_is_read_once() {
    let (rig, cache) = unmounted(|lab| {
        lab.put(BUCKET, "often.fits", pattern(4 * MIB, 0));
        (1..=12).for_each(|n| drop(lab.put(BUCKET, &format!("{n}.fits"), pattern(4 * MIB, n))));
    });
    let options = ["--cache-dir", &cache, "--cache-size", "32MiB"];
    let read = |name: &str, content| {
        let file = rig.open(name);
        forget_pages(&file);
        assert_eq!(sha256(file), sha256_of_pattern(content, 4 * MIB));
        // Longer than a file stays open that nobody reads.
        std::thread::sleep(Duration::from_millis(150));
    };
    rig.mount(&options);
    (0..8).for_each(|_| read("often.fits", 0));
    unmount(&rig);
    rig.mount(&options);
    (1..=12).for_each(|n| read(&format!("{n}.fits"), n));
    rig.lab.clear_log();
    read("often.fits", 0);
    assert_eq!(rig.gets(), (0, 0));
    (1..=12).for_each(|n| read(&format!("{n}.fits"), n));
    assert!(rig.gets().0 > 0, "all of it fits, so nothing is shown");
}

#[test]
fn a_cache_that_cannot_be_used_costs_nothing_but_fetches() {
    let (rig, cache) = unmounted(|lab| drop(lab.put(BUCKET, "a.fits", pattern(MIB, 1))));
    fs::write(&cache, "a file").unwrap();
    rig.mount(&["--cache-dir", &cache]);
    assert_eq!(sha256(rig.open("a.fits")), sha256_of_pattern(1, MIB));
    assert!(fs::read_to_string(rig.log_file()).unwrap().contains("without a cache"));
    assert!(rig.status()["disk"]["directory"].is_null());
}

/// A file system of so many MiB, where this process may mount one.
struct SmallDisk(String);

impl SmallDisk {
    fn new(place: &str, mib: u64) -> Option<Self> {
        fs::create_dir(place).unwrap();
        let made = mount(&["-t", "tmpfs", "-o", &format!("size={mib}m,mode=700"), "tmpfs", place]);
        if !made {
            fitsfs_lab::untested("this process may not mount a tmpfs");
        }
        made.then(|| Self(place.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").args(["-l", &self.0]).output();
    }
}

fn mount(arguments: &[&str]) -> bool {
    std::process::Command::new("mount").args(arguments).output().is_ok_and(|output| output.status.success())
}

#[test]
fn a_full_disk_and_a_read_only_one_cost_nothing_but_fetches() {
    let (rig, cache) = unmounted(|lab| {
        (0..6).for_each(|n| drop(lab.put(BUCKET, &format!("{n}.fits"), pattern(8 * MIB, n))));
    });
    let Some(disk) = SmallDisk::new(&cache, 20) else { return };
    let check = || {
        for n in 0..6 {
            assert_eq!(sha256(rig.open(&format!("{n}.fits"))), sha256_of_pattern(n, 8 * MIB));
        }
        let log = fs::read_to_string(rig.log_file()).unwrap();
        assert!(log.matches("WARN").count() <= 1 && !log.contains("ERROR"), "{log}");
    };
    rig.mount(&["--cache-dir", &cache]);
    check();
    eventually("what is kept is what was read last", || rig.status()["disk_evicted_bytes"].as_u64().unwrap() > 8 * MIB);
    // Somebody else takes all the room.
    let taken = fs::File::create(format!("{cache}/other")).unwrap();
    let zeros = vec![0; 1 << 20];
    (0..30).take_while(|n| taken.write_all_at(&zeros, n << 20).is_ok()).for_each(drop);
    check();
    drop(taken);
    unmount(&rig);
    assert!(mount(&["-o", "remount,ro", &disk.0]));
    fs::remove_file(rig.log_file()).unwrap();
    rig.mount(&["--cache-dir", &cache]);
    check();
    unmount(&rig);
}

#[test]
fn a_cache_that_others_can_write_or_in_the_mount_is_refused() {
    let (rig, cache) = unmounted(|lab| drop(lab.put(BUCKET, "a.fits", pattern(MIB, 1))));
    fs::create_dir(&cache).unwrap();
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o777)).unwrap();
    let refused = rig.try_mount(&["--cache-dir", &cache]);
    assert!(!refused.status.success() && text(&refused).contains("chmod o-w"), "{}", text(&refused));
    let inside = format!("{}/cache", rig.root_str());
    let refused = rig.try_mount(&["--cache-dir", &inside]);
    assert!(!refused.status.success() && text(&refused).contains("in the mount itself"), "{}", text(&refused));
    assert!(!rig.is_mounted());
}

/// The kernel reads a complete file by itself once it was checked, and nothing that has changed since.
#[test]
fn a_checked_file_is_read_by_the_kernel_and_a_changed_one_is_not() {
    let size = 20 * MIB + 99;
    let (rig, cache) = unmounted(|lab| drop(lab.put(BUCKET, "a.fits", pattern(size, 1))));
    rig.mount(&["--cache-dir", &cache]);
    let counts = || ["passthrough_opens", "reads"].map(|name| rig.status()[name].as_u64().unwrap());
    let check = || assert_eq!(sha256(rig.open("a.fits")), sha256_of_pattern(1, size));
    check();
    remount(&rig, &cache);
    check();
    assert_eq!(counts()[0], 0, "nobody has checked it yet");
    eventually("the kernel reads the file", || {
        check();
        counts()[0] > 0
    });
    let [_, reads] = counts();
    let file = rig.open("a.fits");
    let map = Map::shared(&file, 0, size as usize);
    assert_eq!(map.bytes()[5_000_000..5_000_100], pattern_at(1, 5_000_000, 100));
    assert_eq!(read_at(&rig.open("a.fits"), size - 10, 10).unwrap(), pattern_at(1, size - 10, 10));
    assert_eq!(counts()[1], reads, "the daemon was asked for none of it");
    assert!(fs::metadata(rig.path("a.fits")).unwrap().len() == size && rig.gets().1 == 0);
    drop((map, file));
    let data = OpenOptions::new().write(true).open(&files(&cache, "data")[0]).unwrap();
    data.write_all_at(&[1, 2, 3], 7 * MIB).unwrap();
    let [opens, _] = counts();
    check();
    assert_eq!((counts()[0], rig.status()["disk_damaged_pages"].as_u64()), (opens, Some(1)));
}

/// A memory map outlives the file that it was made of; the kernel tells nobody of it when it reads the file by itself.
#[test]
fn what_a_memory_map_shows_stays_there_when_its_file_is_closed() {
    let size = 8 * MIB;
    let (rig, cache) = unmounted(|lab| drop(lab.put(BUCKET, "a.fits", pattern(size, 1))));
    rig.mount(&["--cache-dir", &cache]);
    assert_eq!(sha256(rig.open("a.fits")), sha256_of_pattern(1, size));
    remount(&rig, &cache);
    eventually("the kernel reads the file", || {
        assert_eq!(sha256(rig.open("a.fits")), sha256_of_pattern(1, size));
        rig.status()["passthrough_opens"].as_u64().unwrap() > 0
    });
    let clear = || {
        let output = fitsfs(&["cache", "clear", "--cache-dir", &cache]);
        assert!(output.status.success(), "{}", text(&output));
    };
    let file = rig.open("a.fits");
    let map = Map::shared(&file, 0, size as usize);
    drop(file);
    eventually("the file is closed", || rig.status()["open_files"] == 0);
    clear();
    assert!(map.bytes() == pattern_at(1, 0, size as usize), "a map has lost its bytes");
    kill(rig.pid(), libc::SIGKILL);
    eventually("the cache is empty", || {
        clear();
        files(&cache, "data").is_empty()
    });
    assert!(map.bytes() == pattern_at(1, 0, size as usize), "a map has lost its bytes with its daemon");
}

/// A server that ends a body early, or fails, leaves nothing of it in the cache.
#[test]
fn a_lying_server_does_not_get_into_the_cache() {
    let (rig, cache) = unmounted(|lab| drop(lab.put(BUCKET, "a.fits", pattern(4 * MIB, 1))));
    rig.mount(&["--cache-dir", &cache]);
    rig.lab.fault(Fault::new(Kind::TruncateBody).on(Op::GetObject).times(3));
    assert_eq!(sha256(rig.open("a.fits")), sha256_of_pattern(1, 4 * MIB));
    remount(&rig, &cache);
    assert_eq!(sha256(rig.open("a.fits")), sha256_of_pattern(1, 4 * MIB));
    assert_eq!(rig.gets().1, 0);
}
