//! The catalogue of a cache that is in use.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use super::super::tests::{Rig, object, settle};
use super::*;

const MIB: u64 = 1 << 20;

fn directory(rig: &Rig) -> Directory {
    Directory::find(rig.folder()).unwrap().expect("there is a cache")
}

fn patterns(patterns: &[&str]) -> Patterns {
    Patterns(patterns.iter().map(|pattern| (*pattern).to_owned()).collect())
}

/// A cache of a whole file, and of a part of another one, which is used later.
fn filled() -> Rig {
    let rig = Rig::new();
    let cache = rig.cache(64 * MIB);
    rig.keep(&cache, &object("a/whole.fits", 3 * MIB + 5), 0..3 * MIB + 5, vec![]);
    cache.finish();
    std::thread::sleep(std::time::Duration::from_millis(3));
    rig.keep(&cache, &object("b/part.fits", 8 * MIB), 2 * MIB..3 * MIB, std::iter::once(0..5760).collect());
    cache.finish();
    rig.close(cache);
    rig
}

#[test]
fn patterns_are_parts_of_keys() {
    let takes = |pattern: &str| patterns(&[pattern]).takes("jwst/L3/m31_i2d.fits");
    assert!(takes("m31") && takes("jwst*fits") && takes("*L3*_i2d*") && takes("*"));
    assert!(!takes("M31") && !takes("fits*jwst") && !takes("m31m31"));
    assert!(patterns(&[]).takes("any") && patterns(&["x", "an"]).takes("any"));
}

#[test]
fn the_list_says_what_is_there() {
    let rig = filled();
    let list = list(&directory(&rig), &Patterns::default()).unwrap();
    let told: Vec<_> = list.iter().map(|file| (&*file.key, file.size, file.bytes, file.open)).collect();
    let expected = [("b/part.fits", 8 * MIB, MIB, false), ("a/whole.fits", 3 * MIB + 5, 3 * MIB + 5, false)];
    assert_eq!(told, expected);
    assert!(list[0].last_used_ms > list[1].last_used_ms && list[0].store == "s3://here/bucket");
    assert_eq!(super::list(&directory(&rig), &patterns(&["whole"])).unwrap().len(), 1);
}

#[test]
fn opens_and_holders_are_told() {
    let rig = filled();
    let cache = rig.cache(64 * MIB);
    let opened = rig.open(&cache, &object("b/part.fits", 8 * MIB));
    cache.count_open(&opened);
    cache.count_open(&opened);
    settle(&cache);
    let list = list(&directory(&rig), &Patterns::default()).unwrap();
    assert_eq!(list.iter().map(|file| (file.opens, file.open)).collect::<Vec<_>>(), [(2, true), (0, false)]);
    assert_eq!(opened.present().unwrap(), MIB);
}

#[test]
fn damage_is_found_once() {
    let rig = filled();
    let whole = rig.files("data").into_iter().find(|path| path.metadata().unwrap().len() == 3 * MIB + 5).unwrap();
    let file = OpenOptions::new().write(true).open(whole).unwrap();
    file.write_all_at(&[0; 5000], MIB + 10).unwrap();
    file.write_all_at(b"!", 3 * MIB + 4).unwrap();
    let mut told = 0;
    let verified = verify(&directory(&rig), |bytes| told = bytes).unwrap();
    let damage = Damage::Pages { store: "s3://here/bucket".into(), key: "a/whole.fits".into(), pages: 3 };
    assert_eq!((verified.files, verified.bytes, &verified.damage[..]), (2, 4 * MIB + 5, &[damage][..]));
    assert_eq!(told, verified.bytes);
    assert!(verify(&directory(&rig), drop).unwrap().damage.is_empty());
    assert_eq!(list(&directory(&rig), &patterns(&["whole"])).unwrap()[0].bytes, 3 * MIB + 5 - 2 * PAGE - 5);
}

#[test]
fn a_check_is_no_use() {
    let rig = filled();
    let before = list(&directory(&rig), &Patterns::default()).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(3));
    verify(&directory(&rig), drop).unwrap();
    assert_eq!(list(&directory(&rig), &Patterns::default()).unwrap(), before);
}

#[test]
fn a_damaged_map_takes_its_object_along() {
    let rig = filled();
    let map = rig.files("map").remove(0);
    OpenOptions::new().write(true).open(&map).unwrap().write_all_at(b"!", 30).unwrap();
    assert_eq!(list(&directory(&rig), &Patterns::default()).unwrap().len(), 1);
    let verified = verify(&directory(&rig), drop).unwrap();
    assert_eq!(verified.damage, [Damage::Map { path: map.clone() }]);
    assert!(!map.exists() && !map.with_extension("data").exists());
}

#[test]
fn clearing_gives_the_usage_back() {
    let rig = filled();
    let cache = rig.cache(64 * MIB);
    let before = cache.usage.used().unwrap();
    let cleared = clear(&directory(&rig), &patterns(&["a/*"])).unwrap().unwrap();
    assert!(cleared.files == 1 && cleared.bytes >= 3 * MIB && cleared.in_use == 0, "{cleared:?}");
    assert_eq!(cache.usage.used(), Some(before - cleared.bytes));
    std::fs::create_dir(rig.folder().join("names")).unwrap();
    std::fs::write(rig.folder().join("names/x.log"), [1; 10_000]).unwrap();
    let cleared = clear(&directory(&rig), &Patterns::default()).unwrap().unwrap();
    assert!(cleared.files == 1 && cleared.bytes >= MIB + 10_000, "{cleared:?}");
    assert!(!rig.folder().join("names/x.log").exists() && rig.files("map").is_empty() && rig.files("data").is_empty());
}

#[test]
fn what_is_open_is_emptied_and_stays_usable() {
    let rig = filled();
    let cache = rig.cache(64 * MIB);
    let part = object("b/part.fits", 8 * MIB);
    let opened = rig.open(&cache, &part);
    let cleared = clear(&directory(&rig), &patterns(&["part"])).unwrap().unwrap();
    assert_eq!((cleared.files, cleared.in_use, cleared.left, opened.present().unwrap()), (0, 1, 0, 0));
    assert!(cleared.bytes >= MIB);
    assert_eq!(rig.read(&cache, &part, 2 * MIB..2 * MIB + 10), None);
    rig.keep(&cache, &part, 2 * MIB..3 * MIB, vec![]);
    cache.finish();
    assert!(rig.read(&cache, &part, 2 * MIB..3 * MIB).is_some());
}

#[test]
fn what_another_process_evicts_is_not_cleared_at_the_same_time() {
    let rig = filled();
    let usage = Usage::open(&directory(&rig), 0, None).unwrap();
    let _eviction = usage.evict().unwrap();
    assert_eq!(clear(&directory(&rig), &Patterns::default()).unwrap(), None);
}

#[test]
fn where_no_cache_is_none_is_found() {
    let folder = tempfile::tempdir().unwrap();
    assert!(Directory::find(folder.path()).unwrap().is_none());
    assert!(Directory::find(&folder.path().join("nowhere")).unwrap().is_none());
    assert!(folder.path().read_dir().unwrap().next().is_none(), "looking makes nothing");
}

#[test]
fn damaged_numbers_in_a_map_are_survived() {
    let rig = filled();
    for map in rig.files("map") {
        let map = OpenOptions::new().write(true).open(map).unwrap();
        // Entries beyond the last page, and the most opens that there can be.
        map.write_all_at(&[1; 64], map.metadata().unwrap().len() - 64).unwrap();
        map.write_all_at(&[0xff; 8], super::super::map::OPENS_AT).unwrap();
    }
    assert_eq!(verify(&directory(&rig), drop).unwrap().bytes, 4 * MIB + 5);
    let cache = rig.cache(64 * MIB);
    cache.count_open(&rig.open(&cache, &object("b/part.fits", 8 * MIB)));
    settle(&cache);
}
