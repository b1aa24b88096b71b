//! Logs that were damaged, swapped, torn or written anew.

use std::fs;
use std::ops::Range;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{SystemTime, UNIX_EPOCH};

use proptest::prelude::*;
use tempfile::TempDir;

use super::super::record::now;
use super::*;

/// A log with the listing of `d/` and look-ups of three names, one a line.
async fn filled() -> (Bench, PathBuf) {
    let bench = Bench::new(&["d/a", "d/b", "d/c"]);
    let store = bench.store(ALWAYS);
    for name in ["d/a", "d/b", "d/c"] {
        ask(&store, name, 32).await.unwrap();
    }
    bench.bucket.asked();
    let log = bench.log();
    (bench, log)
}

/// How many of the three names have to be asked for.
async fn asked_for_three(bench: &Bench, store: &Remembered) -> usize {
    for name in ["d/a", "d/b", "d/c"] {
        assert_eq!(ask(store, name, 32).await.unwrap(), [name]);
    }
    bench.bucket.asked()
}

#[tokio::test]
async fn a_damaged_line_loses_itself_only() {
    for position in [0, 3, 16, 17, 40] {
        let (bench, log) = filled().await;
        let mut bytes = fs::read(&log).unwrap();
        let second = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        bytes[second + position] ^= 1;
        fs::write(&log, bytes).unwrap();
        assert_eq!(asked_for_three(&bench, &bench.store(ALWAYS)).await, 1, "at {position}");
        assert_eq!(asked_for_three(&bench, &bench.store(ALWAYS)).await, 0, "it was written again");
    }
}

#[tokio::test]
async fn damage_is_noticed_by_who_has_read_the_log_already() {
    let (bench, log) = filled().await;
    let store = bench.store(ALWAYS);
    assert_eq!(asked_for_three(&bench, &store).await, 0);
    let mut bytes = fs::read(&log).unwrap();
    bytes[30] ^= 1;
    fs::write(&log, bytes).unwrap();
    assert_eq!(asked_for_three(&bench, &store).await, 1);
}

#[tokio::test]
async fn a_torn_line_loses_neither_what_was_before_nor_what_comes() {
    for keep in [1, 20, 200] {
        let (bench, log) = filled().await;
        let bytes = fs::read(&log).unwrap();
        let last = bytes[..bytes.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
        fs::write(&log, &bytes[..last + keep.min(bytes.len() - last - 1)]).unwrap();
        let store = bench.store(ALWAYS);
        assert_eq!(asked_for_three(&bench, &store).await, 1, "{keep} bytes left");
        assert_eq!(asked_for_three(&bench, &store).await, 0, "{keep} bytes left");
    }
}

#[tokio::test]
async fn a_file_of_another_directory_answers_nothing() {
    let bench = Bench::new(&["d/a", "e/a"]);
    let store = bench.store(ALWAYS);
    ask(&store, "d/a", 32).await.unwrap();
    let of_d = bench.log();
    ask(&store, "e/a", 32).await.unwrap();
    let of_e = bench.logs().into_iter().find(|log| *log != of_d).unwrap();
    fs::copy(&of_d, &of_e).unwrap();
    bench.bucket.asked();
    let store = bench.store(ALWAYS);
    assert_eq!(ask(&store, "e/a", 32).await.unwrap(), ["e/a"]);
    assert_eq!(bench.bucket.asked(), 1);
    assert_eq!(ask(&store, "e/a", 32).await.unwrap(), ["e/a"]);
    assert_eq!(bench.bucket.asked(), 0);
}

#[tokio::test]
async fn links_pipes_and_folders_in_the_place_of_a_log_are_left_alone() {
    let (bench, log) = filled().await;
    let elsewhere = bench.dir.path().join("elsewhere");
    fs::rename(&log, &elsewhere).unwrap();
    let before = fs::read(&elsewhere).unwrap();
    symlink(&elsewhere, &log).unwrap();
    assert_eq!(asked_for_three(&bench, &bench.store(ALWAYS)).await, 3);
    assert_eq!(fs::read(&elsewhere).unwrap(), before);
    fs::remove_file(&log).unwrap();
    let path = std::ffi::CString::new(log.to_str().unwrap()).unwrap();
    // SAFETY: the path is NUL-terminated.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
    assert_eq!(asked_for_three(&bench, &bench.store(ALWAYS)).await, 3);
    fs::remove_file(&log).unwrap();
    fs::create_dir(&log).unwrap();
    assert_eq!(asked_for_three(&bench, &bench.store(ALWAYS)).await, 3);
}

#[tokio::test]
async fn a_cache_that_is_emptied_fills_again() {
    let (bench, log) = filled().await;
    let store = bench.store(ALWAYS);
    assert_eq!(asked_for_three(&bench, &store).await, 0);
    fs::remove_dir_all(bench.dir.path().join("names")).unwrap();
    assert_eq!(asked_for_three(&bench, &store).await, 3);
    assert_eq!(asked_for_three(&bench, &store).await, 0);
    assert!(log.exists());
}

#[tokio::test]
async fn files_belong_to_their_owner_or_to_the_group() {
    for (mode, folder) in [(0o600, 0o700), (0o660, 0o2770)] {
        let bench = Bench::new(&["d/a"]);
        let names = Arc::new(Names::open(bench.dir.path(), mode, Box::new(|_| true)).unwrap());
        ask(&Remembered::new(bench.bucket.store.clone(), names, device(), Some(ALWAYS)), "d/a", 32).await.unwrap();
        let mode_of = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        let log = bench.log();
        assert_eq!(mode_of(&log), mode);
        assert!(log.ancestors().skip(1).take(2).all(|above| mode_of(above) == folder));
    }
}

#[test]
fn names_keep_to_the_room_that_there_is_and_the_oldest_go_first() {
    let (dir, store) = (TempDir::new().unwrap(), Arc::<str>::from("s"));
    let left = std::sync::Mutex::new(30_000);
    let room = move |bytes: u64| {
        let mut left = left.lock().unwrap();
        let fits = *left >= bytes;
        *left -= if fits { bytes } else { 0 };
        fits
    };
    let names = Names::open(dir.path(), 0o600, Box::new(room)).unwrap();
    let key = |n: u64| format!("{n:02}/a");
    for n in 0..20 {
        let page = ListPage { objects: vec![object(&key(n), 1)], ..ListPage::default() };
        names.write(&store, &Record::of_list("s", 1, &request(&key(n), 32), &page).unwrap());
        std::thread::sleep(Duration::from_millis(2));
    }
    let known = |names: &Names| {
        (0..20).filter(|n| names.page(&store, &request(&key(*n), 32), Trust::Any, true).is_some()).collect::<Vec<_>>()
    };
    assert_eq!(known(&names), (0..6).collect::<Vec<_>>(), "each takes a block and its line");
    trim(dir.path(), 3 * 4096).unwrap();
    assert_eq!(known(&Names::open(dir.path(), 0o600, Box::new(|_| true)).unwrap()), [3, 4, 5]);
}

/// Writes records until the log was written anew, which is to happen once.
fn write_until_compacted(names: &Names, store: &Arc<str>, record: impl Fn(u64) -> Record) -> u64 {
    let log = names.log(Directory { store, prefix: "d/" });
    let size = || log.open().unwrap().map_or(0, |file| file.metadata().unwrap().len());
    let mut before = 0;
    for n in 0..10_000 {
        names.write(store, &record(n));
        if size() < before {
            return size();
        }
        before = size();
    }
    panic!("never");
}

#[tokio::test]
async fn a_log_of_dead_lines_is_written_anew() {
    let bench = Bench::new(&["d/a", "d/b", "d/c"]);
    let store: Arc<str> = bench.bucket.store.id().into();
    let names = Names { max_dead: 20_000, ..Names::open(bench.dir.path(), 0o600, Box::new(|_| true)).unwrap() };
    let look_up = request("d/a", 32);
    let found = bench.bucket.store.list(&look_up).await.unwrap();
    names.write(&store, &Record::of_list(&store, now(), &look_up, &found).unwrap());
    names.forget(&store, "d/");
    // The store gives another token each time, so that pages are left behind to which none leads.
    let listed = |n: u64| {
        let first = ListPage { continuation: Some(format!("token {}", n / 2)), ..found.clone() };
        let second = ListRequest { continuation: first.continuation.clone(), ..request("d/", 1000) };
        match n % 2 {
            0 => Record::of_list(&store, now() + 1, &request("d/", 1000), &first).unwrap(),
            _ => Record::of_list(&store, now() + 1, &second, &found).unwrap(),
        }
    };
    assert!(write_until_compacted(&names, &store, listed) < 2_000);
    let names = Names::open(bench.dir.path(), 0o600, Box::new(|_| true)).unwrap();
    let page = |trust| names.page(&store, &look_up, trust, true);
    assert_eq!(page(Trust::Any).unwrap().0.objects, found.objects);
    assert_eq!(names.page(&store, &request("d/", 1000), Trust::Any, true).unwrap().0.objects, found.objects);
    let kept = names.read(Directory { store: &store, prefix: "d/" }, |_, index| Some(index.live().len()));
    assert!(matches!(kept, Some(3 | 4)), "{kept:?}: the look-up, one page or two, and that it is to be forgotten");
}

#[tokio::test]
async fn who_reads_while_another_writes_anew_goes_on() {
    let (bench, _) = filled().await;
    let (store, reader): (Arc<str>, _) = (bench.bucket.store.id().into(), bench.store(ALWAYS));
    assert_eq!(asked_for_three(&bench, &reader).await, 0);
    let names = Names { max_dead: 20_000, ..Names::open(bench.dir.path(), 0o600, Box::new(|_| true)).unwrap() };
    let head = |_| Record::of_head(&store, now(), &object("d/a", 1)).unwrap();
    write_until_compacted(&names, &store, head);
    assert_eq!(asked_for_three(&bench, &reader).await, 0);
    let locked = bench.log();
    let file = fs::File::open(&locked).unwrap();
    file.lock().unwrap();
    let size = fs::metadata(&locked).unwrap().len();
    (0..300).for_each(|n| names.write(&store, &head(n)));
    assert!(fs::metadata(&locked).unwrap().len() > size + 40_000, "another process is at it");
}

#[tokio::test]
async fn a_log_is_read_on_where_it_was_left() {
    let (bench, log) = filled().await;
    let (names, store): (_, Arc<str>) = (bench.names(), bench.bucket.store.id().into());
    let look = |name: &str| names.page(&store, &request(name, 32), Trust::Any, true);
    assert!(look("d/a").is_some());
    // Damage in what was read already is not seen, unless it is asked for.
    let mut bytes = fs::read(&log).unwrap();
    bytes[30] ^= 1;
    fs::write(&log, bytes).unwrap();
    names.write(&store, &Record::of_head(&store, now(), &object("d/x", 1)).unwrap());
    assert!(look("d/b").is_some() && names.object(&store, "d/x", Trust::Any).is_some());
    assert!(look("d/a").is_none());
}

#[test]
fn records_read_as_they_were_written() {
    for time in [UNIX_EPOCH, UNIX_EPOCH - Duration::from_nanos(1), SystemTime::now()] {
        let version = Version { etag: None, id: Some("v\n\"é".into()) };
        let object = ObjectMeta { last_modified: time, version, ..object("k\n\0 é", u64::MAX) };
        let line = Record::of_head("s", 1, &object).unwrap().encode().unwrap();
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        let What::Head { object: read } = Record::decode(line.strip_suffix(b"\n").unwrap()).unwrap().what else {
            panic!("not a HEAD")
        };
        assert_eq!(read.restore().unwrap(), object);
    }
}

/// What may happen to a log.
#[derive(Clone, Debug)]
enum Harm {
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Insert(prop::sample::Index, Vec<u8>),
    Repeat(prop::sample::Index, prop::sample::Index),
    Drop(prop::sample::Index, prop::sample::Index),
}

fn harm() -> impl Strategy<Value = Harm> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        (at(), 1..=255u8).prop_map(|(at, bits)| Harm::Flip(at, bits)),
        at().prop_map(Harm::Cut),
        (at(), prop::collection::vec(any::<u8>(), 1..40)).prop_map(|(at, bytes)| Harm::Insert(at, bytes)),
        (at(), at()).prop_map(|(from, to)| Harm::Repeat(from, to)),
        (at(), at()).prop_map(|(from, to)| Harm::Drop(from, to)),
    ]
}

fn between(a: prop::sample::Index, b: prop::sample::Index, len: usize) -> Range<usize> {
    let (a, b) = (a.index(len), b.index(len));
    a.min(b)..a.max(b)
}

fn strike(bytes: &mut Vec<u8>, harm: Harm) {
    let len = bytes.len().max(1);
    match harm {
        Harm::Flip(at, bits) => bytes.iter_mut().skip(at.index(len)).take(1).for_each(|byte| *byte ^= bits),
        Harm::Cut(at) => bytes.truncate(at.index(len)),
        Harm::Insert(at, more) => {
            drop(bytes.splice(at.index(len).min(bytes.len())..at.index(len).min(bytes.len()), more))
        }
        Harm::Repeat(a, b) if !bytes.is_empty() => bytes.extend_from_within(between(a, b, len)),
        Harm::Drop(a, b) if !bytes.is_empty() => drop(bytes.drain(between(a, b, len))),
        Harm::Repeat(..) | Harm::Drop(..) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is in a log, an answer is one that was written for that request, or none.
    #[test]
    fn whatever_is_in_a_log_answers_are_those_that_were_written(
        sizes in prop::collection::vec((0..4usize, 0..100u64), 1..20),
        harms in prop::collection::vec(harm(), 0..6),
    ) {
        let (dir, store) = (TempDir::new().unwrap(), Arc::<str>::from("s"));
        let names = Names::open(dir.path(), 0o600, Box::new(|_| true)).unwrap();
        let keys = ["d/a", "d/b", "d/c", "d/e"];
        let mut written = Vec::new();
        for (n, size) in sizes {
            let (key, page) = (keys[n], ListPage { objects: vec![object(keys[n], size)], ..ListPage::default() });
            names.write(&store, &Record::of_list("s", 1, &request(key, 32), &page).unwrap());
            written.push((key, page.objects));
        }
        let path = dir.path().join("names");
        let folder = fs::read_dir(path).unwrap().next().unwrap().unwrap().path();
        let log = fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
        for harm in harms {
            let mut bytes = fs::read(&log).unwrap();
            strike(&mut bytes, harm);
            fs::write(&log, bytes).unwrap();
            let fresh = Names::open(dir.path(), 0o600, Box::new(|_| true)).unwrap();
            for key in keys {
                for names in [&names, &fresh] {
                    let page = names.page(&store, &request(key, 32), Trust::Any, true);
                    let is_written = |(page, _): (ListPage, Duration)| written.contains(&(key, page.objects));
                    prop_assert!(page.is_none_or(is_written), "{key}");
                }
            }
        }
    }
}
