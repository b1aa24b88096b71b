//! `--gunzip`: what is in gzip files, beside them.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fitsfs_lab::{Fault, Kind, Op};
use miniz_oxide::deflate::compress_to_vec;

use crate::map::Map;
use crate::support::*;

/// Far beyond all that a test waits for.
const NEVER: Duration = Duration::from_secs(600);

/// A gzip file of one member. The checksum of this format is not that of any crate of the tests.
fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut packed = vec![0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 3];
    packed.extend(b"x.fits\0");
    packed.extend(compress_to_vec(plain, 1));
    packed.extend(crc32fast::hash(plain).to_le_bytes());
    packed.extend((plain.len() as u32).to_le_bytes());
    packed
}

/// A FITS file that compresses to about half: an image of `data` bytes behind a header without data.
fn image(data: usize, seed: u64) -> Vec<u8> {
    let mut file = fits(&[("SIMPLE  = T", 0), ("XTENSION= 'IMAGE   '", data)]);
    let start = 5760;
    let noise = pattern_at(seed, 0, data);
    file[start..start + data].iter_mut().zip(noise).for_each(|(byte, noise)| *byte = noise & 0x0f);
    file
}

/// Mounts (again) with a cache.
fn mount_cached(rig: &Rig) {
    let cache = rig.outside().join("cache");
    rig.mount(&["--gunzip", "--cache-dir", cache.to_str().unwrap(), "--cache-size", "1GiB"]);
}

fn unmount(rig: &Rig) {
    let output = fitsfs(&["unmount", rig.root_str()]);
    assert!(output.status.success(), "{}", text(&output));
}

fn gets_of(rig: &Rig, key: &str) -> (usize, u64) {
    let gets = rig.requested(|get| get.key == key);
    (gets.len(), gets.iter().map(|get| get.bytes).sum())
}

#[test]
fn what_is_in_a_file_is_read_beside_it_in_all_ways() {
    let plain = image(20 << 20, 1);
    let packed = gzip(&plain);
    let rig = Rig::with(&["--gunzip"], |lab| {
        lab.put(BUCKET, "d/x.fits.gz", packed.clone());
        lab.put(BUCKET, "d/y.fits", b"own".to_vec());
        lab.put(BUCKET, "d/y.fits.gz", packed.clone());
        lab.put(BUCKET, "d/z.txt.gz", packed.clone());
    });
    let mut shown = names(&rig.path("d")).unwrap();
    shown.sort();
    assert_eq!(shown, ["x.fits", "x.fits.gz", "y.fits", "y.fits.gz", "z.txt.gz"]);
    assert_eq!(fs::read(rig.path("d/y.fits")).unwrap(), b"own", "what the bucket has by that name wins");
    assert!(!rig.path("d/z.txt").exists());

    let before = fs::metadata(rig.path("d/x.fits")).unwrap().len();
    assert!(before >= plain.len() as u64, "{before}: a size is never below the truth");
    assert_eq!(gets_of(&rig, "d/x.fits.gz").0, 0, "a look costs no pass");
    let file = rig.open("d/x.fits");
    assert_eq!(file.metadata().unwrap().len(), plain.len() as u64);
    assert_eq!(fs::metadata(rig.path("d/x.fits")).unwrap().len(), plain.len() as u64, "it is known now");
    for (offset, length) in [(0, 80), (15 << 20, 100_000), (plain.len() as u64 - 10, 10), (7 << 20, 1)] {
        let expected = &plain[offset as usize..offset as usize + length];
        assert!(read_at(&file, offset, length).unwrap() == expected, "{length} at {offset}");
    }
    assert_eq!(sha256(rig.open("d/x.fits")), sha256(&plain[..]));
    assert_eq!(sha256(rig.open("d/x.fits.gz")), sha256(&packed[..]));
    let map = Map::shared(&file, 0, plain.len());
    assert!(map.bytes()[10 << 20..11 << 20] == plain[10 << 20..11 << 20]);
}

/// Programs that ask for the size first, and believe it, have the truth once they have the file open.
#[test]
fn programs_that_copy_a_file_copy_all_of_it_and_nothing_else() {
    let plain = image(3 << 20, 2);
    for command in [
        "cp {from} {to}",
        "cat {from} > {to}",
        "dd if={from} of={to} bs=1M status=none",
        "tar cf - -C {folder} x.fits | tar xOf - > {to}",
        "tail -c +1 {from} > {to}",
    ] {
        let rig = Rig::with(&["--gunzip"], |lab| drop(lab.put(BUCKET, "d/x.fits.gz", gzip(&plain))));
        let to = rig.outside().join("copy");
        let path = |path: &Path| path.to_str().unwrap().to_owned();
        let command = command.replace("{from}", &path(&rig.path("d/x.fits"))).replace("{to}", &path(&to));
        let command = command.replace("{folder}", &path(&rig.path("d")));
        let output = Command::new("bash").args(["-o", "pipefail", "-c", &command]).output().unwrap();
        let copied = fs::read(&to).unwrap_or_default();
        assert!(copied == plain, "{command}: {} bytes; {}", copied.len(), text(&output));
    }
}

#[test]
fn astropy_reads_what_is_in_a_file() {
    let Ok(python) = std::env::var("FITSFS_PYTHON") else {
        return fitsfs_lab::untested("FITSFS_PYTHON names no Python with astropy");
    };
    let script = "import sys, numpy as np\nfrom astropy.io import fits\nrows = np.random.default_rng(1)\n\
                  image = rows.normal(1000, 20, (2000, 3000)).astype('i2')\n\
                  hdus = [fits.PrimaryHDU()] + [fits.ImageHDU(image + n, name=f'SCI{n}') for n in range(3)]\n\
                  fits.HDUList(hdus).writeto(sys.argv[1])";
    let dir = tempfile::tempdir().unwrap();
    let (made, packed) = (dir.path().join("x.fits"), dir.path().join("x.fits.gz"));
    let run = |script: &str, path: &Path| {
        let output = Command::new(&python).args(["-c", script]).arg(path).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        text(&output)
    };
    run(script, &packed);
    let gunzip = Command::new("gzip").args(["-dkf"]).arg(&packed).output().unwrap();
    assert!(gunzip.status.success(), "{}", text(&gunzip));
    let rig = Rig::with(&["--gunzip"], |lab| drop(lab.put(BUCKET, "d/x.fits.gz", fs::read(&packed).unwrap())));
    let read = "import sys\nfrom astropy.io import fits\nwith fits.open(sys.argv[1]) as f:\n    \
                print([hdu.name for hdu in f], f['SCI2'].data[1500:1600, 100:300].sum(), f[2].section[3, 5:9])";
    let expected = run(read, &made);
    assert!(expected.contains("SCI2"));
    assert_eq!(run(read, &rig.path("d/x.fits")), expected);
}

#[test]
fn looking_at_a_folder_decompresses_nothing() {
    let packed = gzip(&image(100_000, 3));
    let rig = Rig::with(&["--gunzip"], |lab| {
        (0..300).for_each(|n| drop(lab.put(BUCKET, &format!("d/{n:03}.fits.gz"), packed.clone())));
    });
    let output = Command::new("ls").arg("-l").arg(rig.path("d")).output().unwrap();
    let shown = text(&output);
    assert_eq!(shown.matches(".fits\n").count(), 300, "{shown}");
    rig.rest();
    assert_eq!(rig.requested(|_| true).len(), 0);
    assert!(rig.lists() < 10, "{}", rig.lists());
    // One that was opened keeps its size, the others theirs.
    rig.open("d/007.fits");
    let size = |name: &str| fs::metadata(rig.path(name)).unwrap().len();
    assert!(size("d/007.fits") < size("d/008.fits"));
}

#[test]
fn programs_that_open_a_file_at_the_same_time_wait_for_one_pass() {
    let plain = image(24 << 20, 4);
    let packed = gzip(&plain);
    let rig = Rig::with(&["--gunzip"], |lab| drop(lab.put(BUCKET, "d/x.fits.gz", packed.clone())));
    rig.lab.fault(Fault::new(Kind::Delay(Duration::from_millis(300))).on(Op::GetObject).prefix("d/x"));
    std::thread::scope(|scope| {
        let opened: Vec<_> = (0..8).map(|_| scope.spawn(|| rig.open("d/x.fits").metadata().unwrap().len())).collect();
        opened.into_iter().for_each(|size| assert_eq!(size.join().unwrap(), plain.len() as u64));
    });
    rig.rest();
    assert_eq!(gets_of(&rig, "d/x.fits.gz").1, packed.len() as u64);
}

#[test]
fn a_mount_after_it_needs_no_pass() {
    let plain = image(24 << 20, 5);
    let rig = Rig::unmounted(|lab| drop(lab.put(BUCKET, "d/x.fits.gz", gzip(&plain))));
    mount_cached(&rig);
    rig.open("d/x.fits");
    rig.rest();
    unmount(&rig);
    rig.lab.clear_log();
    mount_cached(&rig);
    assert_eq!(fs::metadata(rig.path("d/x.fits")).unwrap().len(), plain.len() as u64, "by the index");
    let file = rig.open("d/x.fits");
    assert!(read_at(&file, 17 << 20, 70_000).unwrap() == plain[17 << 20..(17 << 20) + 70_000]);
    rig.rest();
    assert_eq!(gets_of(&rig, "d/x.fits.gz"), (0, 0), "the compressed bytes are in the cache, too");
    drop(file);
    unmount(&rig);

    // Without the compressed bytes, those around what is read are fetched.
    let output = fitsfs(&["cache", "clear", "x.fits", "--cache-dir", rig.outside().join("cache").to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output));
    mount_cached(&rig);
    assert_eq!(sha256(rig.open("d/x.fits")), sha256(&plain[..]));
    unmount(&rig);

    // An index that is damaged is none.
    let notes = rig.outside().join("cache/names");
    let find = Command::new("find").arg(&notes).args(["-name", "*.note"]).output().unwrap();
    let found = String::from_utf8(find.stdout).unwrap();
    assert!(!found.is_empty());
    for note in found.lines() {
        let mut bytes = fs::read(note).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(note, bytes).unwrap();
    }
    mount_cached(&rig);
    assert!(fs::metadata(rig.path("d/x.fits")).unwrap().len() > plain.len() as u64, "provisional again");
    assert_eq!(sha256(rig.open("d/x.fits")), sha256(&plain[..]));
}

/// A cutout after a remount without the network: index, windows and compressed bytes are on disk.
#[test]
fn what_was_decompressed_once_is_there_offline() {
    let plain = image(12 << 20, 6);
    let rig = Rig::unmounted(|lab| drop(lab.put(BUCKET, "d/x.fits.gz", gzip(&plain))));
    mount_cached(&rig);
    names(&rig.root).unwrap();
    names(&rig.path("d")).unwrap();
    rig.open("d/x.fits");
    rig.rest();
    unmount(&rig);
    rig.lab.clear_log();
    let cache = rig.outside().join("cache");
    rig.mount(&["--gunzip", "--offline", "--cache-dir", cache.to_str().unwrap(), "--cache-size", "1GiB"]);
    assert_eq!(sha256(rig.open("d/x.fits")), sha256(&plain[..]));
    assert!(rig.lab.requests().is_empty());
}

#[test]
fn a_program_that_is_killed_while_it_waits_for_a_pass_is_gone() {
    let plain = image(8 << 20, 7);
    let rig = Rig::with(&["--gunzip"], |lab| {
        lab.put(BUCKET, "d/x.fits.gz", gzip(&plain));
        lab.put(BUCKET, "e", pattern(MIB, 1));
    });
    names(&rig.path("d")).unwrap();
    rig.lab.fault(Fault::new(Kind::Delay(NEVER)).on(Op::GetObject).prefix("d/x"));
    for operation in ["open(sys.argv[1])", "os.getxattr(sys.argv[1], 'user.fitsfs.layout')"] {
        let mut command = Command::new("python3");
        command.args(["-c", &format!("import os, sys; {operation}")]).arg(rig.path("d/x.fits"));
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        eventually("the program waits", || rig.status()["in_flight"].as_u64() > Some(0));
        assert!(child.try_wait().unwrap().is_none());
        let killed = Instant::now();
        child.kill().unwrap();
        within(Duration::from_secs(10), operation, move || assert!(!child.wait().unwrap().success()));
        eprintln!("{operation}: gone after {:?}", killed.elapsed());
        assert_eq!(fs::read(rig.path("e")).unwrap(), pattern_at(1, 0, MIB as usize), "nothing else waits");
    }
    // The pass goes on, by requests that are sent again.
    rig.lab.clear_faults();
    let path = rig.path("d/x.fits");
    let read = within(Duration::from_secs(90), "another program", move || fs::read(path).unwrap());
    assert!(read == plain);
}

#[test]
fn a_damaged_file_gives_an_error_and_no_wrong_byte() {
    let plain = image(2 << 20, 8);
    let packed = gzip(&plain);
    let mut damaged = packed.clone();
    damaged[packed.len() / 2] ^= 1;
    let rig = Rig::with(&["--gunzip"], |lab| {
        lab.put(BUCKET, "d/whole.fits.gz", damaged.clone());
        lab.put(BUCKET, "d/second.fits.gz", [&packed[..], &damaged].concat());
        lab.put(BUCKET, "d/short.fits.gz", packed[..packed.len() - 1000].to_vec());
        lab.put(BUCKET, "d/none.fits.gz", b"SIMPLE  =                    T".to_vec());
        lab.put(BUCKET, "d/empty.fits.gz", Vec::new());
        lab.put(BUCKET, "d/nothing.fits.gz", gzip(b""));
        lab.put(BUCKET, "d/padded.fits.gz", [&packed[..], &[0; 5000], &packed].concat());
    });
    for name in ["whole", "short", "none", "empty"] {
        let opened = File::open(rig.path(&format!("d/{name}.fits")));
        assert_eq!(opened.unwrap_err().raw_os_error(), Some(libc::EIO), "{name}");
    }
    let log = fs::read_to_string(rig.log_file()).unwrap();
    for why in ["checksum of a member", "it is no gzip file", "ends in the middle"] {
        assert!(log.contains(why), "{why}: {log}");
    }
    let file = rig.open("d/second.fits");
    let end = plain.len() as u64;
    // What is read at once is as long as a request of the kernel.
    let before = plain.len() - (256 << 10);
    assert!(read_at(&file, 0, before).unwrap() == plain[..before]);
    for offset in [end, end + 100_000, 2 * end] {
        assert_eq!(read_at(&file, offset, 1).unwrap_err().raw_os_error(), Some(libc::EIO), "at {offset}");
    }
    assert_eq!(fs::read(rig.path("d/nothing.fits")).unwrap(), b"");
    assert!(fs::read(rig.path("d/padded.fits")).unwrap() == [&plain[..], &plain].concat());
}

#[test]
fn a_file_that_is_replaced_is_another_one() {
    let (old, new) = (image(12 << 20, 9), image(5 << 20, 10));
    let rig = Rig::with(&["--gunzip"], |lab| drop(lab.put(BUCKET, "d/x.fits.gz", gzip(&old))));
    let file = rig.open("d/x.fits");
    assert!(read_at(&file, 0, 5760).unwrap() == old[..5760]);
    rig.rest();
    rig.lab.put(BUCKET, "d/x.fits.gz", gzip(&new));
    let mut stale = 0;
    for offset in (0..old.len() - 1000).step_by(500_000) {
        match read_at(&file, offset as u64, 1000) {
            Ok(bytes) => assert!(bytes == old[offset..offset + 1000], "another version's bytes at {offset}"),
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(libc::ESTALE), "{error}");
                stale += 1;
            }
        }
    }
    assert!(stale > 0);
    assert_eq!(sha256(rig.open("d/x.fits")), sha256(&new[..]));
}

/// The name was looked up before, and the pass finds another version.
#[test]
fn a_file_that_is_replaced_before_it_is_opened_opens_as_the_new_one() {
    let (old, new) = (image(2 << 20, 11), image(MIB as usize, 12));
    let rig = Rig::with(&["--gunzip"], |lab| drop(lab.put(BUCKET, "d/x.fits.gz", gzip(&old))));
    names(&rig.path("d")).unwrap();
    fs::metadata(rig.path("d/x.fits")).unwrap();
    rig.rest();
    rig.lab.put(BUCKET, "d/x.fits.gz", gzip(&new));
    assert!(fs::read(rig.path("d/x.fits")).unwrap() == new);
}

#[test]
fn the_inner_file_is_a_fits_file_to_fitsfs() {
    let plain = image(2 << 20, 13);
    let rig = Rig::with(&["--gunzip", "--memory", "16MiB"], |lab| drop(lab.put(BUCKET, "d/x.fits.gz", gzip(&plain))));
    let layout = fitsfs(&["layout", rig.path("d/x.fits").to_str().unwrap()]);
    assert!(layout.status.success() && text(&layout).contains("(2097152,)"), "{}", text(&layout));
    let url = fitsfs(&["url", rig.path("d/x.fits").to_str().unwrap()]);
    assert_eq!(text(&url).trim(), format!("s3://{BUCKET}/d/x.fits.gz"));
    assert_eq!(sha256(rig.open("d/x.fits")), sha256(&plain[..]));
}

/// Regression: what was looked at before it was opened was read up to the size that it might have had.
#[test]
fn what_is_in_a_file_is_warmed() {
    let plain = image(3 << 20, 14);
    let rig = Rig::unmounted(|lab| drop(lab.put(BUCKET, "d/x.fits.gz", gzip(&plain))));
    mount_cached(&rig);
    let output = fitsfs(&["warm", "--json", rig.path("d/x.fits").to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output));
    let warmed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&warmed["bytes"], &warmed["failed"]), (&plain.len().into(), &serde_json::json!([])));
    let again = fitsfs(&["warm", "--json", rig.path("d/x.fits").to_str().unwrap()]);
    let again: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(again["complete"], 1, "{again}");
}
