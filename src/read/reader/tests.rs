//! The reader with a store that answers at once and a page cache that takes everything.

use std::io;
use std::time::Duration;

use super::*;
use crate::metrics::Pace;
use crate::read::PageCache;
use crate::store::scripted::{Op, Scripted, Step, content, object};
use crate::store::{ObjectMeta, Version};

const PACE: Pace = Pace::measured(0.03, 600e6);
const MIB: u64 = 1 << 20;
const SIZE: u64 = 4 << 30;

struct Takes;

impl PageCache for Takes {
    fn store(&self, _: u64, _: u64, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

fn store() -> Arc<Scripted> {
    Arc::new(Scripted::of_size(SIZE))
}

fn reader(memory: u64) -> Arc<Reader> {
    let metrics = Arc::new(Metrics::new());
    let reader = Reader::new(ReaderConfig {
        disk: None,
        budget: Budget::new(memory, metrics.clone()),
        max_ahead: memory / 4,
        max_region: memory / 2,
        metrics,
        runtime: Handle::current(),
    });
    reader.pusher().start(Arc::new(Takes)).unwrap();
    reader
}

async fn open(reader: &Arc<Reader>, ino: u64) -> Arc<FileState> {
    open_in(store(), reader, ino).await
}

async fn open_in(store: Arc<Scripted>, reader: &Arc<Reader>, ino: u64) -> Arc<FileState> {
    let path: Arc<str> = format!("{ino}.dat").into();
    let file = reader.file(ino, &path, &Object::of(store, object(&path, SIZE)));
    reader.opened(&file, false).await;
    file
}

/// As the kernel reads: in full, within a time that only a deadlock exceeds.
async fn read(reader: &Arc<Reader>, file: &Arc<FileState>, range: Range<u64>) {
    let unanswered = file.unanswered(range.clone());
    let task = tokio::spawn({
        let (reader, file, range) = (reader.clone(), file.clone(), range.clone());
        async move { reader.read(&file, range).await }
    });
    let bytes = tokio::time::timeout(Duration::from_secs(10), task).await.expect("a read hangs").unwrap().unwrap();
    assert!(bytes == content(range.clone()), "wrong bytes at {range:?}");
    unanswered.delivered();
}

/// Waits until all that arrived has been pushed.
async fn pushed(file: &FileState) {
    for _ in 0..1000 {
        if file.core.lock().segments.iter().all(|s| s.origin() != Origin::Sequential || s.is_pushed()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("a segment is never pushed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_readers_of_one_file_make_room_for_each_other() {
    let reader = reader(8 * MIB);
    let file = open(&reader, 2).await;
    for step in 0..16 {
        for place in 0..8 {
            let at = place * 300 * MIB + step * (128 << 10);
            read(&reader, &file, at..at + (128 << 10)).await;
            pushed(&file).await;
        }
    }
    reader.pusher().stop();
}

/// Reads of a few bytes leave the rest of their blocks in memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_small_reads_left_makes_room_for_a_reader_that_goes_forward() {
    let reader = reader(4 * MIB);
    let (random, forward) = (open(&reader, 2).await, open(&reader, 3).await);
    for n in 1..=240 {
        read(&reader, &random, n * MIB..n * MIB + 4096).await;
    }
    let before = reader.config.metrics.prefetched_bytes.get();
    for n in 10..20 {
        read(&reader, &forward, n * (128 << 10)..(n + 1) * (128 << 10)).await;
    }
    assert!(reader.config.metrics.prefetched_bytes.get() > before, "nothing was fetched ahead");
    reader.pusher().stop();
}

/// What one read waits for is not worth all the readahead of others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_waits_for_memory_takes_no_more_than_it_needs() {
    let reader = reader(4 * MIB);
    let file = open(&reader, 2).await;
    // In no order.
    for at in (1..=256).map(|n| n * 97 % 257 * MIB) {
        read(&reader, &file, at..at + 4096).await;
    }
    let full = reader.config.budget.used();
    assert!(full >= 4 * MIB - (64 << 10), "{full} bytes are held");
    read(&reader, &file, 500 * MIB..500 * MIB + 4096).await;
    let used = reader.config.budget.used();
    assert!(used > 3 * MIB, "{used} bytes are left of what was held");
    reader.pusher().stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_further_on_takes_nothing_from_one_that_follows() {
    let reader = reader(64 * MIB);
    let file = open(&reader, 2).await;
    let window = |n: u64| n * (128 << 10)..(n + 1) * (128 << 10);
    for n in 8..12 {
        read(&reader, &file, window(n)).await;
    }
    pushed(&file).await;
    let unread = file.core.lock().segments.iter().filter(|s| !s.is_touched()).count();
    assert!(unread > 0, "nothing was fetched ahead");
    for n in 400..402 {
        read(&reader, &file, window(n)).await;
    }
    let left = file.core.lock().segments.iter().filter(|s| !s.is_touched() && s.range().end < 20 * MIB).count();
    assert_eq!(left, unread);
    reader.pusher().stop();
}

/// A planner that has walked along the headers of a file of so many empty HDUs.
fn walked(hdus: u64) -> Planner {
    let header = |first: &str| {
        let cards = [first, "BITPIX  = 8", "NAXIS   = 0", "END"].map(|card| format!("{card:<80}")).concat();
        format!("{cards:<2880}").into_bytes()
    };
    let (primary, extension) = (header("SIMPLE  = T"), header("XTENSION= 'IMAGE   '"));
    let byte = |at: u64| if at < 2880 { primary[at as usize] } else { extension[at as usize % 2880] };
    let mut planner = Planner::new(hdus * 2880, true, None, MIB, u64::MAX);
    for _ in 0..hdus {
        planner.on_read(
            planner.layout().hdus.last().map_or(0, |hdu| hdu.header_offset)..hdus * 2880,
            Given { held: true, unseen: 0 },
            &PACE,
        );
        planner.on_arrival(|range| Some(range.clone().map(byte).collect::<Vec<_>>().into()), &PACE);
        if planner.layout().is_known() {
            break;
        }
    }
    planner
}

#[tokio::test(flavor = "multi_thread")]
async fn long_layouts_are_remembered_of_few_files() {
    let reader = reader(512 * MIB);
    let mut planner = walked(1000);
    assert_eq!(planner.layout().hdus.len(), 1000);
    for ino in 0..200 {
        let file = open(&reader, ino).await;
        std::mem::swap(&mut file.core.lock().planner, &mut planner);
        reader.released(&file, false);
        std::mem::swap(&mut file.core.lock().planner, &mut planner);
    }
    reader.files.run_pending_tasks();
    assert!(
        reader.files.weighted_size() <= reader.config.budget.total() / REMEMBERED_DIVISOR,
        "{} bytes",
        reader.files.weighted_size()
    );
    assert!((20..150).contains(&reader.files.entry_count()), "{} files", reader.files.entry_count());
}

#[tokio::test]
async fn an_inode_number_that_was_another_objects_begins_anew() {
    let reader = reader(8 * MIB);
    let before = open(&reader, 2).await;
    let object = |etag: &str| {
        let version = Version { etag: Some(etag.into()), id: None };
        let meta = Arc::new(ObjectMeta { version, ..ObjectMeta::clone(&before.object().meta) });
        Object { meta, ..before.object().clone() }
    };
    let path = "2.dat".into();
    let other = reader.file(2, &path, &object("\"other\""));
    assert_eq!(other.object().meta.version.etag.as_deref(), Some("\"other\""));
    assert!(Arc::ptr_eq(&other, &reader.file(2, &path, &object("\"other\""))));
}

/// Regression: a READ began anew when what it had joined had failed for a minute, and the kernel asked once more.
#[tokio::test]
async fn a_read_fails_with_what_it_joined_and_its_repetition_at_once() {
    let store = store();
    let reader = reader(8 * MIB);
    let file = open_in(store.clone(), &reader, 3).await;
    store.always(Step::fails(ErrorKind::Timeout));
    let ahead = Segment::new(MIB..2 * MIB, Origin::Sequential, None);
    let fetch = reader.place(&file, &mut file.core.lock(), ahead);
    let joined = MIB + 8192..MIB + 12_288;
    let (_, first) = futures::join!(fetch, reader.read(&file, joined.clone()));
    assert_eq!(first.unwrap_err().kind, ErrorKind::Timeout);
    assert_eq!(reader.read(&file, joined.clone()).await.unwrap_err().kind, ErrorKind::Timeout);
    assert_eq!(store.count(Op::Get), 1);
    store.always(Step::answers());
    // What is held is read, whatever failed.
    let held = Segment::new(5 * MIB..6 * MIB, Origin::Strided, None);
    let fetch = reader.place(&file, &mut file.core.lock(), held);
    fetch.await;
    let failed = StoreError::new(ErrorKind::Timeout, "no answer within a minute");
    file.core.lock().failures.note(5 * MIB..6 * MIB, &failed, Instant::now());
    read(&reader, &file, 5 * MIB..5 * MIB + 4096).await;
    // What is asked for elsewhere comes, and after the next open that as well.
    read(&reader, &file, 3 * MIB..3 * MIB + 4096).await;
    reader.opened(&file, false).await;
    read(&reader, &file, joined).await;
}
