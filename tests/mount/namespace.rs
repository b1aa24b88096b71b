//! Keys as paths: which exist, what they cost to find, and what is said of them.

use std::collections::HashSet;
use std::ffi::CString;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use fitsfs_lab::{Fault, Kind, Op, Shape};

use crate::support::*;

fn rig_of(keys: &[&str]) -> Rig {
    Rig::new(|lab| keys.iter().for_each(|key| drop(lab.put(BUCKET, key, key.as_bytes()))))
}

fn exists(rig: &Rig, path: &str) -> bool {
    match fs::metadata(rig.path(path)) {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::NotFound, "{path}: {error}");
            false
        }
    }
}

fn sorted(directory: &Path) -> Vec<String> {
    let mut names = names(directory).unwrap();
    names.sort();
    names
}

/// The value of an extended attribute.
fn attribute(path: &Path, name: &str) -> Option<String> {
    let (path, name) = (CString::new(path.as_os_str().as_bytes()).unwrap(), CString::new(name).unwrap());
    let mut value = vec![0; 60_000];
    // SAFETY: the strings end with a NUL and the buffer has the length that is told.
    let length = unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    value.truncate(usize::try_from(length).ok()?);
    Some(String::from_utf8(value).unwrap())
}

#[test]
fn names_of_any_characters_are_found_and_read() {
    let keys =
        ["d/a b", "d/a+b", "d/%41", "d/A", "d/é ü 星", "d/two\nlines", "d/tab\there", "d/&<>\"'", "d/?#[]", "d/.x"];
    let rig = rig_of(&keys);
    for key in keys {
        assert_eq!(fs::read(rig.path(key)).unwrap(), key.as_bytes(), "looked up: {key:?}");
    }
    let mut expected: Vec<_> = keys.iter().map(|key| key[2..].to_owned()).collect();
    expected.sort();
    assert_eq!(sorted(&rig.path("d")), expected);
}

#[test]
fn a_directory_hides_the_key_of_its_name() {
    let rig = rig_of(&["k", "k/z", "k-1", "k.x"]);
    assert!(fs::metadata(rig.path("k")).unwrap().is_dir());
    assert_eq!(fs::read(rig.path("k/z")).unwrap(), b"k/z");
    assert_eq!(sorted(&rig.root), ["k", "k-1", "k.x"]);
}

#[test]
fn markers_are_directories_even_if_they_are_empty() {
    let rig = Rig::new(|lab| {
        for marker in ["empty/", "d/", "d/e/"] {
            lab.put(BUCKET, marker, b"");
        }
        lab.put(BUCKET, "d/a", b"a");
    });
    assert_eq!(sorted(&rig.root), ["d", "empty"]);
    assert_eq!(sorted(&rig.path("d")), ["a", "e"]);
    assert_eq!(sorted(&rig.path("empty")), [""; 0]);
    assert_eq!(sorted(&rig.path("d/e")), [""; 0]);
}

#[test]
fn keys_that_cannot_be_paths_are_skipped_and_named() {
    let long = format!("d/{}", "x".repeat(300));
    let rig = rig_of(&["d/ok", "d//y", "d/.", "d/../z", "d/./z", &long]);
    assert_eq!(sorted(&rig.path("d")), ["ok"]);
    let skipped = rig.status()["skipped_keys"].clone();
    assert_eq!(skipped["count"], 5, "{skipped}");
    assert!(skipped["examples"].as_array().unwrap().iter().any(|key| key == "d//"), "{skipped}");
    assert_eq!(fs::metadata(rig.path(&long)).unwrap_err().raw_os_error(), Some(libc::ENAMETOOLONG));
}

#[test]
fn a_directory_of_100_000_files_is_listed_once_and_whole() {
    let count = 100_000;
    let key = |n| format!("big/file-{n:06}_flc.fits");
    let rig = Rig::new(|lab| lab.put_many(BUCKET, (0..count).map(key), b"x"));
    let listed = names(&rig.path("big")).unwrap();
    assert_eq!(listed.len(), count);
    assert_eq!(listed.iter().collect::<HashSet<_>>().len(), count);
    assert!((100..=105).contains(&rig.lists()), "{} LISTs", rig.lists());
    let others = rig.lab.count(|request| !request.op.is_list() && request.op != Op::HeadBucket);
    assert_eq!(others, 0, "nothing but LISTs");
    rig.lab.clear_log();
    for n in (0..count).step_by(9_973) {
        assert_eq!(fs::metadata(rig.path(&key(n))).unwrap().len(), 1);
    }
    assert!(!exists(&rig, "big/file-x"), "the listing is complete");
    assert_eq!(rig.lab.requests().len(), 0);
}

#[test]
fn siblings_that_begin_alike_do_not_hide_a_directory() {
    let rig = Rig::new(|lab| {
        lab.put_many(BUCKET, (0..12_000).map(|n| format!("d/name-{n:05}")), b"x");
        lab.put(BUCKET, "d/name/a", b"a");
        lab.put(BUCKET, "d/name", b"hidden");
    });
    assert!(fs::metadata(rig.path("d/name")).unwrap().is_dir());
    assert_eq!(fs::read(rig.path("d/name/a")).unwrap(), b"a");
}

#[test]
fn a_path_costs_a_round_for_two_components_and_nothing_when_known() {
    let rig = rig_of(&["a/b/c/d/e.fits", "a/b/c/d/f.fits"]);
    rig.settle();
    rig.lab.shape(Shape::latency(Duration::from_millis(60)));
    assert!(exists(&rig, "a/b/c/d/e.fits"));
    let asked = rig.lab.requests();
    assert!(asked.iter().all(|request| request.op.is_list()), "only LISTs: the name is known by the directory");
    assert_eq!(rounds(asked), 2);
    rig.settle();
    assert!(exists(&rig, "a/b/c/d/e.fits"));
    assert_eq!(rig.lab.requests().len(), 0, "a known path");
    // A second name makes the directory's listing fill in behind.
    assert!(exists(&rig, "a/b/c/d/f.fits") && !exists(&rig, "a/b/x") && !exists(&rig, "a/x"));
    rig.settle();
    for missing in ["a/b/c/d/e.fits.gz", "a/b/y", "a/y/z"] {
        assert!(!exists(&rig, missing));
    }
    assert_eq!(rig.lab.requests().len(), 0, "the listings know it all");
}

#[test]
fn a_missing_name_is_asked_for_once() {
    let rig = Rig::new(|lab| lab.put_many(BUCKET, (0..15_000).map(|n| format!("d/{n:05}")), b"x"));
    assert!(!exists(&rig, "d/missing.fits"));
    rig.settle();
    for _ in 0..20 {
        assert!(!exists(&rig, "d/missing.fits"));
    }
    assert_eq!(rig.lab.requests().len(), 0);
}

#[test]
fn look_ups_in_a_crowded_folder_pay_for_its_listing_once() {
    let rig = Rig::new(|lab| lab.put_many(BUCKET, (0..20_000).map(|n| format!("d/{n:05}")), b"x"));
    assert!(exists(&rig, "d/00000") && exists(&rig, "d/00001"));
    rig.settle();
    rig.lab.shape(Shape::latency(Duration::from_millis(30)));
    for n in 0..150 {
        assert!(!exists(&rig, &format!("d/{:05}.missing", 19_999 - 60 * n)));
    }
    // Each look-up takes up to three, until the ten pages are there that were not.
    assert!(rig.lists() < 200, "{} LISTs for 10 pages that were not listed", rig.lists());
}

#[test]
fn without_permission_to_list_known_paths_can_be_read() {
    let rig = Rig::new(|lab| {
        lab.put(BUCKET, "a/b/c.fits", pattern(100_000, 1));
        lab.deny_list(BUCKET);
    });
    assert_eq!(fs::read(rig.path("a/b/c.fits")).unwrap(), pattern_at(1, 0, 100_000));
    let asked = |op: Op| rig.lab.count(|request| request.op == op && request.key.starts_with("a"));
    // A LIST for each directory shows that it is refused, and nothing is listed in advance.
    assert_eq!((asked(Op::ListObjectsV2), asked(Op::HeadObject)), (3, 2));
    assert_eq!(rig.gets().1, 100_000, "the head came with the name and was not fetched again");
    assert!(!exists(&rig, "a/b/x.fits"));
    assert_eq!(names(&rig.path("a/b")).unwrap_err().raw_os_error(), Some(libc::EACCES));
}

#[test]
fn inode_numbers_survive_a_remount_and_belong_to_a_version() {
    let rig = Rig::with(&["--metadata-ttl", "100ms"], |lab| drop(lab.put(BUCKET, "d/a", b"one")));
    let number = |path: &str| fs::metadata(rig.path(path)).unwrap().ino();
    let (file, folder) = (number("d/a"), number("d"));
    assert!(fitsfs(&["unmount", rig.root_str()]).status.success());
    rig.mount(&["--metadata-ttl", "100ms"]);
    assert_eq!((number("d/a"), number("d")), (file, folder));
    rig.lab.put(BUCKET, "d/a", b"two");
    eventually("the name has another number", || number("d/a") != file);
    assert_eq!(fs::read(rig.path("d/a")).unwrap(), b"two");
}

#[test]
fn attributes_are_those_that_were_asked_for() {
    let rig = Rig::with(&["--uid", "1234", "--gid", "4321", "--umask", "027"], |lab| {
        lab.put(BUCKET, "d/a", pattern(5_000, 1));
        lab.set_last_modified(BUCKET, "d/a", SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000));
    });
    let file = fs::metadata(rig.path("d/a")).unwrap();
    assert_eq!((file.uid(), file.gid(), file.mode() & 0o7777, file.nlink()), (1234, 4321, 0o440, 1));
    assert_eq!((file.size(), file.blocks(), file.mtime()), (5_000, 10, 1_000_000_000));
    let folder = fs::metadata(rig.path("d")).unwrap();
    assert_eq!((folder.uid(), folder.gid(), folder.mode() & 0o7777), (1234, 4321, 0o550));
}

#[test]
fn find_and_du_see_the_whole_tree() {
    let rig = rig_of(&["a/b/c/1", "a/b/2", "a/3", "4", "e/f/g/h/5"]);
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).arg(&rig.root).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        text(&output)
    };
    assert_eq!(run("find", &["-type", "f"]).lines().count(), 5);
    assert_eq!(run("find", &["-type", "d"]).lines().count(), 8);
    let bytes = run("du", &["-sb", "--apparent-size"]);
    let expected: usize = ["a/b/c/1", "a/b/2", "a/3", "4", "e/f/g/h/5"].iter().map(|key| key.len()).sum();
    assert_eq!(bytes.split_whitespace().next(), Some(expected.to_string().as_str()));
}

#[test]
fn extended_attributes_tell_where_a_file_comes_from_and_what_is_in_it() {
    let file = fits(&[("SIMPLE  = T", 10_000), ("XTENSION= 'IMAGE   '", 5_000)]);
    let rig = Rig::new(|lab| {
        lab.put(BUCKET, "d/a b.fits", file);
        lab.put(BUCKET, "d/x.txt", b"text");
        lab.set_storage_class(BUCKET, "d/x.txt", "STANDARD_IA");
    });
    let (path, other) = (rig.path("d/a b.fits"), rig.path("d/x.txt"));
    assert_eq!(attribute(&path, "user.fitsfs.url").as_deref(), Some("s3://archive/d/a b.fits"));
    assert!(attribute(&path, "user.fitsfs.etag").unwrap().starts_with('"'));
    assert_eq!(attribute(&other, "user.fitsfs.storage_class").as_deref(), Some("STANDARD_IA"));
    assert_eq!(attribute(&path, "user.other"), None);
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let shown = json(&attribute(&path, "user.fitsfs.layout").unwrap());
    let command = fitsfs(&["layout", path.to_str().unwrap(), "--json"]);
    assert!(command.status.success(), "{}", text(&command));
    let printed = json(&String::from_utf8(command.stdout).unwrap());
    assert_eq!(shown["hdus"], printed["hdus"]);
    assert_eq!(shown["hdus"].as_array().unwrap().len(), 2);
}

#[test]
fn the_blocks_of_an_asdf_file_are_shown() {
    let tree = "#ASDF 1.0.0\n%YAML 1.1\n---\nroman:\n  data: !core/ndarray-1.1.0\n    source: 0\n    datatype: uint16\n    shape: [100, 30]\n...\n";
    let header = [b"\xd3BLK\x00\x30".as_slice(), &[0; 8], &6000_u64.to_be_bytes().repeat(3), &[0; 16]].concat();
    let file = [tree.as_bytes(), &header, &[7; 6000]].concat();
    let rig = Rig::new(|lab| drop(lab.put(BUCKET, "roman/x_cal.asdf", file)));
    let path = rig.path("roman/x_cal.asdf");
    let shown: serde_json::Value = serde_json::from_str(&attribute(&path, "user.fitsfs.layout").unwrap()).unwrap();
    assert_eq!(shown["hdus"][0]["kind"], "asdf_tree");
    assert_eq!(shown["hdus"][1]["name"], "roman.data");
    assert_eq!(shown["hdus"][1]["data_offset"], tree.len() + 54);
    let command = fitsfs(&["layout", path.to_str().unwrap()]);
    assert!(command.status.success(), "{}", text(&command));
    let table = String::from_utf8(command.stdout).unwrap();
    assert!(table.contains("BLOCK") && table.contains("(100, 30) uint16"), "{table}");
}

#[test]
fn new_objects_show_up_after_the_time_to_live() {
    let rig = Rig::with(&["--metadata-ttl", "300ms"], |lab| drop(lab.put(BUCKET, "d/a", b"a")));
    assert_eq!(sorted(&rig.path("d")), ["a"]);
    assert!(!exists(&rig, "d/b"));
    rig.lab.put(BUCKET, "d/b", b"b");
    let started = Instant::now();
    eventually("the new name is found", || exists(&rig, "d/b"));
    eventually("and listed", || sorted(&rig.path("d")) == ["a", "b"]);
    assert!(started.elapsed() < Duration::from_secs(2));
    rig.lab.delete(BUCKET, "d/a");
    eventually("what was deleted is gone", || !exists(&rig, "d/a"));
}

#[test]
fn a_slow_look_up_delays_no_other_name_of_its_directory() {
    let keys: Vec<_> = (0..15_000).map(|n| format!("d/{n:05}")).chain(["d/slow/x".into(), "d/z/x".into()]).collect();
    let rig = Rig::new(|lab| lab.put_many(BUCKET, keys, b"x"));
    assert!(exists(&rig, "d/00000"));
    rig.settle();
    rig.lab.fault(Fault::new(Kind::Delay(Duration::from_secs(3))).on(Op::ListObjectsV2).prefix("d/slow"));
    let slow = rig.path("d/slow/x");
    let waiting = std::thread::spawn(move || fs::read(slow).unwrap());
    eventually("the slow look-up is under way", || rig.struck() > 0);
    let started = Instant::now();
    assert!(exists(&rig, "d/z/x") && exists(&rig, "d/14999") && !exists(&rig, "d/zz"));
    assert!(started.elapsed() < Duration::from_secs(1), "took {:?}", started.elapsed());
    assert!(!waiting.is_finished());
    assert_eq!(waiting.join().unwrap(), b"x");
}
