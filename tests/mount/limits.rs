//! Memory and processor time stay within bounds, and nobody waits for ever for a share of them.

use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fitsfs_lab::{Fault, Kind, Op};

use crate::support::*;

/// A field of `/proc/PID/status` in bytes.
fn memory(pid: i32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

/// User and system time in clock ticks.
fn ticks(pid: i32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Runs `work` for 0..count in so many threads.
fn in_threads(threads: usize, count: u64, work: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(n) = Some(next.fetch_add(1, Ordering::SeqCst)).filter(|n| *n < count) {
                    work(n);
                }
            });
        }
    });
}

#[test]
fn hundreds_of_large_files_share_a_small_budget() {
    let files = 300;
    let rig = Rig::with(&["--memory", "32MiB"], |lab| {
        (0..files).for_each(|n| drop(lab.put(BUCKET, &format!("{n}.fits"), pattern(GIB, n))));
    });
    let open: Vec<File> = (0..files).map(|n| rig.open(&format!("{n}.fits"))).collect();
    in_threads(64, files, |n| {
        for at in [0, 500 * MIB + n * 1000, GIB - 300_000] {
            let bytes = read_at(&open[n as usize], at, 300_000).unwrap();
            assert_eq!(bytes, pattern_at(n, at, 300_000), "file {n} at {at}");
        }
        let long = read_at(&open[n as usize], 100 * MIB, 2 << 20).unwrap();
        assert_eq!(long, pattern_at(n, 100 * MIB, 2 << 20), "file {n}");
    });
    let (status, pid) = (rig.status(), rig.pid());
    assert_eq!(status["memory"]["budget_bytes"], 32 << 20);
    assert!(status["memory"]["peak_bytes"].as_u64().unwrap() <= 32 << 20, "{}", status["memory"]);
    assert!(status["memory"]["peak_bytes"].as_u64().unwrap() > 16 << 20, "the budget was never short");
    let peak = memory(pid, "VmHWM");
    assert!(peak < (32 + 64) << 20, "{peak} bytes resident at the most");
}

#[test]
fn a_budget_smaller_than_what_is_read_at_once_delays_and_does_not_stop() {
    let (files, size) = (48, 3 * MIB);
    let rig = Rig::with(&["--memory", "1MiB"], |lab| {
        (0..files).for_each(|n| drop(lab.put(BUCKET, &format!("{n}"), pattern(size, n))));
    });
    rig.lab.shape(fitsfs_lab::Shape::latency(Duration::from_millis(2)));
    in_threads(48, files, |n| {
        let file = rig.open(&n.to_string());
        // Pieces between pieces: a later read then covers what is there and what is not.
        for at in (0..size - 9_000).step_by(200_000) {
            assert_eq!(read_at(&file, at + 50_000, 9_000).unwrap(), pattern_at(n, at + 50_000, 9_000));
        }
        assert_eq!(sha256(file), sha256_of_pattern(n, size), "file {n}");
    });
    assert!(rig.status()["memory"]["peak_bytes"].as_u64().unwrap() <= 1 << 20);
}

#[test]
fn prefetching_of_a_stalled_object_leaves_room_for_others() {
    let rig = Rig::with(&["--memory", "16MiB"], |lab| {
        lab.put(BUCKET, "slow", pattern(GIB, 1));
        lab.put(BUCKET, "quick", pattern(20 * MIB, 2));
    });
    let slow = rig.open("slow");
    read_at(&slow, 0, 1 << 20).unwrap();
    rig.lab.fault(Fault::new(Kind::Delay(Duration::from_secs(4))).on(Op::GetObject).prefix("slow"));
    let readers: Vec<_> = (1..20)
        .map(|n| {
            let file = slow.try_clone().unwrap();
            std::thread::spawn(move || {
                read_at(&file, n * 40 * MIB, 1 << 20).unwrap() == pattern_at(1, n * 40 * MIB, 1 << 20)
            })
        })
        .collect();
    let started = Instant::now();
    assert_eq!(sha256(rig.open("quick")), sha256_of_pattern(2, 20 * MIB));
    assert!(started.elapsed() < Duration::from_secs(3), "took {:?}", started.elapsed());
    readers.into_iter().for_each(|reader| assert!(reader.join().unwrap()));
}

#[test]
fn an_idle_daemon_is_small_and_does_nothing() {
    let rig = Rig::new(|lab| drop(lab.put(BUCKET, "a", pattern(10, 1))));
    let pid = rig.pid();
    // Pages of the program itself, which is large without optimisation, are not counted.
    let resident = memory(pid, "RssAnon");
    assert!(resident < 8 << 20, "{resident} bytes resident");
    // What the mount left to do (connections that close) may take a tick yet; then it does nothing at all.
    eventually("an idle daemon comes to rest", || {
        let before = ticks(pid);
        std::thread::sleep(Duration::from_secs(2));
        ticks(pid) == before
    });
}

/// A control group with a memory limit, of whichever version this machine has.
struct Group(PathBuf);

impl Group {
    /// None where this process may not make one; says so.
    fn with_limit(bytes: u64) -> Option<Self> {
        let name = format!("fitsfs-test-{}-{bytes}", std::process::id());
        let hierarchies = [("/sys/fs/cgroup", "memory.max"), ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")];
        for (root, limit) in hierarchies {
            let group = Self(Path::new(root).join(&name));
            let made = fs::create_dir(&group.0).is_ok() && group.0.join(limit).exists();
            if made && fs::write(group.0.join(limit), bytes.to_string()).is_ok() {
                return Some(group);
            }
        }
        fitsfs_lab::untested("no control group with a memory limit can be made here");
        None
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// Mounts within a control group.
fn mount_in(group: &Group, rig: &Rig) {
    let mount = rig.mount_command(&format!("s3://{BUCKET}"));
    let mut command = Command::new("sh");
    command.args(["-c", r#"echo $$ > "$0/cgroup.procs" && exec "$@""#]).arg(&group.0).arg(mount.get_program());
    let output = command.args(mount.get_args()).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn a_container_of_256_mib_reads_a_file_of_one_gigabyte() {
    let Some(group) = Group::with_limit(256 << 20) else { return };
    let rig = Rig::unmounted(|lab| drop(lab.put(BUCKET, "a.fits", pattern(GIB, 1))));
    mount_in(&group, &rig);
    let file = rig.open("a.fits");
    for at in (0..GIB).step_by(32 << 20) {
        assert_eq!(sha256(&read_at(&file, at, 32 << 20).unwrap()[..]), sha256(&pattern_at(1, at, 32 << 20)[..]));
    }
    let (_, bytes) = rig.gets();
    assert!(bytes < GIB * 5 / 4, "{bytes} bytes fetched for a gigabyte");
    drop(rig);
}

#[test]
fn a_container_of_64_mib_serves_four_streams_and_a_thousand_opens() {
    let Some(group) = Group::with_limit(64 << 20) else { return };
    let (files, size) = (1000, 40 * MIB);
    let rig = Rig::unmounted(|lab| {
        (0..4).for_each(|n| drop(lab.put(BUCKET, &format!("stream-{n}.fits"), pattern(size, n))));
        (0..files).for_each(|n| {
            drop(lab.put(
                BUCKET,
                &format!("d/{n}.fits"),
                fits(&[("SIMPLE  = T", 40_000 + n as usize), ("XTENSION= 'IMAGE   '", 100_000)]),
            ))
        });
    });
    mount_in(&group, &rig);
    let pid = rig.pid();
    let peak = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for n in 0..4 {
            let file = rig.open(&format!("stream-{n}.fits"));
            scope.spawn(move || assert_eq!(sha256(file), sha256_of_pattern(n, size), "stream {n}"));
        }
        let open: Vec<File> = (0..files).map(|n| rig.open(&format!("d/{n}.fits"))).collect();
        in_threads(8, files, |n| {
            read_at(&open[n as usize], 40_000, 4096).unwrap();
            peak.fetch_max(memory(pid, "RssAnon"), Ordering::Relaxed);
        });
    });
    let peak = peak.into_inner();
    assert!(peak < 48 << 20, "{peak} bytes of its own at the most");
}

#[test]
fn a_read_that_spans_what_is_there_and_what_is_not_fits_any_budget() {
    let rig = Rig::with(&["--memory", "64KiB"], |lab| drop(lab.put(BUCKET, "a", pattern(3 * MIB, 1))));
    let file = File::options().read(true).custom_flags(libc::O_DIRECT).open(rig.path("a")).unwrap();
    assert_eq!(read_at(&file, MIB + (64 << 10), 4096).unwrap(), pattern_at(1, MIB + (64 << 10), 4096));
    // Two gaps beside the block that is there, each to be granted memory for.
    let reader = std::thread::spawn(move || read_at(&file, MIB, 128 << 10).unwrap());
    let started = Instant::now();
    while !reader.is_finished() && started.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(10));
    }
    if !reader.is_finished() {
        let _ = Command::new("kill").args(["-9", &rig.pid().to_string()]).status();
        panic!("the read waits for memory that it holds itself");
    }
    assert_eq!(reader.join().unwrap(), pattern_at(1, MIB, 128 << 10));
}

#[test]
fn listings_that_nobody_finishes_do_not_pile_up() {
    let rig = Rig::with(&["--metadata-ttl", "20ms"], |lab| {
        lab.put_many(BUCKET, (0..12_000).map(|n| format!("d/a-name-of-usual-length-{n:06}_flc.fits")), b"x");
    });
    let look_up = |n: u32| assert!(fs::metadata(rig.path(&format!("d/missing-{n}"))).is_err());
    let pid = rig.pid();
    // Each look-up begins a listing of its own, since the one before is too old, and leaves it behind.
    let growth = |round: std::ops::Range<u32>| {
        let before = memory(pid, "VmRSS");
        for n in round {
            look_up(n);
            rig.settle();
        }
        memory(pid, "VmRSS").saturating_sub(before)
    };
    growth(0..3);
    let grown = growth(3..15);
    assert!(grown < 24 << 20, "{grown} bytes for twelve listings of 10,000 names");
}
