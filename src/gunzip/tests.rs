//! Gzip files of all kinds against what was packed into them: read from the start, at random, damaged, and with an index
//! that is on disk.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crc32fast::Hasher;
use miniz_oxide::deflate::core::{
    CompressorOxide, TDEFLFlush, compress_to_output, create_comp_flags_from_zip_params as flags_of,
};
use proptest::prelude::*;
use tempfile::TempDir;

use super::index::Builder;
use super::pass::pass_in_memory;
use super::*;
use crate::cache::Device;
use crate::cache::disk::Directory;
use crate::metrics::Metrics;
use crate::store::{LocalStore, Store};

const MIB: u64 = 1 << 20;

/// How a member is packed.
#[derive(Clone, Copy, Debug)]
struct Packing {
    level: i32,
    strategy: i32,
    /// A block ends after so many bytes at the latest.
    block: usize,
    is_named: bool,
}

const USUAL: Packing = Packing { level: 6, strategy: 0, block: usize::MAX, is_named: true };

fn deflate(plain: &[u8], packing: Packing, end: TDEFLFlush) -> Vec<u8> {
    let mut packer = CompressorOxide::new(flags_of(packing.level, -15, packing.strategy));
    let mut out = Vec::new();
    let mut write = |part: &[u8], flush| {
        let mut rest = part;
        loop {
            let (_, taken) = compress_to_output(&mut packer, rest, flush, |bytes| {
                out.extend_from_slice(bytes);
                true
            });
            rest = &rest[taken..];
            if rest.is_empty() {
                return;
            }
        }
    };
    plain
        .chunks(packing.block)
        .for_each(|part| write(part, if packing.block < usize::MAX { TDEFLFlush::Sync } else { TDEFLFlush::None }));
    write(&[], end);
    out
}

/// A member of compressed blocks.
fn member(blocks: &[u8], checksum: u32, length: u64, is_named: bool) -> Vec<u8> {
    let mut bytes = vec![0x1f, 0x8b, 8, if is_named { 8 } else { 0 }, 0, 0, 0, 0, 0, 3];
    if is_named {
        bytes.extend(b"x.fits\0");
    }
    bytes.extend(blocks);
    bytes.extend(checksum.to_le_bytes());
    bytes.extend((length as u32).to_le_bytes());
    bytes
}

fn gzip(plain: &[u8], packing: Packing) -> Vec<u8> {
    let blocks = deflate(plain, packing, TDEFLFlush::Finish);
    member(&blocks, crc32fast::hash(plain), plain.len() as u64, packing.is_named)
}

/// Bytes without order, the same for a seed.
fn noise(length: usize, mut seed: u64) -> Vec<u8> {
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// As an image of 16 bits: half of the bits are noise.
fn image(length: usize, seed: u64) -> Vec<u8> {
    let bytes = noise(length, seed).into_iter().enumerate();
    bytes.map(|(at, byte)| if at % 2 == 0 { (at >> 12) as u8 & 15 } else { byte & 127 }).collect()
}

/// Reads at random what a pass has found, without anything kept from one read to the next.
fn read(packed: &[u8], passed: &Passed, range: Range<u64>, piece: u64, chunk: u64) -> Vec<u8> {
    let mut read = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let span = passed.index.span(at).expect("a span has it");
        let window = open_window(&passed.windows[span.window.start as usize..span.window.end as usize]).unwrap();
        let mut cursor = Cursor::new(&span, &window);
        while at < span.plain.end.min(range.end) {
            match cursor.advance(piece).unwrap() {
                Reached::Input => {
                    let next = cursor.take_next(chunk).expect("there is more of the span");
                    cursor.give(Bytes::copy_from_slice(&packed[next.start as usize..next.end as usize]));
                }
                Reached::Piece(start, bytes) if start + bytes.len() as u64 > at => {
                    let end = range.end.min(start + bytes.len() as u64);
                    read.extend_from_slice(&bytes[(at - start) as usize..(end - start) as usize]);
                    at = end;
                }
                Reached::Piece(..) => {}
            }
        }
    }
    read
}

fn packings() -> impl Strategy<Value = Packing> {
    let block = prop_oneof![Just(usize::MAX), 1usize..5000];
    (0..=9i32, 0..=4i32, block, any::<bool>()).prop_map(|(level, strategy, block, is_named)| Packing {
        level,
        strategy,
        block,
        is_named,
    })
}

fn contents() -> impl Strategy<Value = Vec<u8>> {
    let length = prop_oneof![Just(0usize), 1usize..300, 1000usize..150_000];
    (length, 0..3, any::<u64>()).prop_map(|(length, kind, seed)| match kind {
        0 => noise(length, seed),
        1 => image(length, seed),
        _ => vec![seed as u8; length],
    })
}

fn files() -> impl Strategy<Value = (Vec<Vec<u8>>, Vec<u8>)> {
    let zeros = prop_oneof![Just(0usize), 1usize..600];
    (proptest::collection::vec((contents(), packings()), 1..5), zeros).prop_map(|(members, zeros)| {
        let mut packed: Vec<u8> = members.iter().flat_map(|(plain, packing)| gzip(plain, *packing)).collect();
        packed.resize(packed.len() + zeros, 0);
        (members.into_iter().map(|(plain, _)| plain).collect(), packed)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_packed_is_read_at_random(
        (members, packed) in files(),
        chunk in 1usize..70_000,
        span in 1u64..50_000,
        max_windows in 0usize..200_000,
        piece in 100u64..100_000,
        places in proptest::collection::vec((0.0..1.0, 1u64..40_000), 1..6),
    ) {
        let plain = members.concat();
        let passed = pass_in_memory(&packed, chunk, Builder::new(span, max_windows));
        prop_assert_eq!((passed.damage, passed.index.size()), (None, plain.len() as u64));
        prop_assert!(passed.index.is_sound(packed.len() as u64));
        prop_assert_eq!(&passed.index, &pass_in_memory(&packed, packed.len(), Builder::new(span, max_windows)).index);
        for (place, length) in places {
            let start = (place * plain.len() as f64) as u64;
            let end = (start + length).min(plain.len() as u64);
            let bytes = read(&packed, &passed, start..end, piece, chunk as u64);
            prop_assert!(bytes == plain[start as usize..end as usize], "{start}..{end}");
        }
    }

    /// Whatever happens to a byte, what can be read is what was packed, up to the end of a member.
    #[test]
    fn a_damaged_file_gives_no_wrong_byte(
        (members, packed) in files(),
        place in 0.0..1.0,
        bits in 1u8..=255,
        kind in 0..3,
        chunk in 1usize..70_000,
    ) {
        let (plain, at) = (members.concat(), (place * packed.len() as f64) as usize);
        let mut damaged = packed.clone();
        match kind {
            0 => damaged[at] ^= bits,
            1 => damaged.truncate(at),
            _ => damaged.insert(at, bits),
        }
        let passed = pass_in_memory(&damaged, chunk, Builder::new(10_000, 100_000));
        let size = passed.index.size();
        let mut ends = vec![0];
        members.iter().for_each(|member| ends.push(ends[ends.len() - 1] + member.len() as u64));
        prop_assert!(ends.contains(&size), "{size} is no end of a member");
        // A name or a time in a header may change unnoticed, and zeros behind the end do not matter.
        prop_assert!(passed.damage.is_some() || size == plain.len() as u64 || kind == 1, "{size}: {:?}", passed.damage);
        prop_assert!(read(&damaged, &passed, 0..size, 20_000, chunk as u64) == plain[..size as usize]);
    }
}

#[test]
fn damage_is_told_by_what_it_is() {
    let plain = image(100_000, 1);
    let packed = gzip(&plain, USUAL);
    let damage = |bytes: &[u8]| {
        let passed = pass_in_memory(bytes, 1000, Builder::new(10_000, 100_000));
        (passed.index.size(), passed.damage.map_or("", |damage| damage.0))
    };
    let (end, whole) = (packed.len(), plain.len() as u64);
    let with = |at: usize, byte: u8| [&packed[..at], &[byte], &packed[at + 1..]].concat();
    assert_eq!(damage(&packed), (whole, ""));
    assert_eq!(damage(b""), (0, "it is no gzip file"));
    assert_eq!(damage(b"SIMPLE  ="), (0, "it is no gzip file"));
    assert_eq!(damage(&packed[..end - 9]), (0, "it ends in the middle of a member"));
    assert_eq!(damage(&with(end - 5, !packed[end - 5])), (0, "the checksum of a member does not match"));
    assert_eq!(damage(&with(end - 1, 9)), (0, "the length of a member does not match"));
    assert_eq!(damage(&[&packed[..], b"\0\0garbage"].concat()), (whole, "what follows its last member is no gzip"));
    assert_eq!(damage(&[&packed[..], &packed[..50]].concat()), (whole, "it ends in the middle of a member"));
    assert_eq!(damage(&[&packed[..], b"\0\0", &packed].concat()), (2 * whole, ""));
}

/// The length in the trailer is modulo 2^32, and offsets need more bits.
#[test]
fn a_file_of_more_than_4_gib_has_its_size_and_its_bytes() {
    const ZEROS: usize = 256 << 20;
    let marks = [noise(MIB as usize, 1), noise(MIB as usize, 2)];
    let part = |plain: &[u8]| deflate(plain, Packing { block: plain.len(), level: 1, ..USUAL }, TDEFLFlush::Sync);
    let zeros = vec![0; ZEROS];
    let packed_zeros = part(&zeros);
    let (mut blocks, mut checksum, mut of_zeros) = (part(&marks[0]), Hasher::new(), Hasher::new());
    of_zeros.update(&zeros);
    checksum.update(&marks[0]);
    for _ in 0..17 {
        blocks.extend(&packed_zeros);
        checksum.combine(&of_zeros);
    }
    blocks.extend(deflate(&marks[1], USUAL, TDEFLFlush::Finish));
    checksum.update(&marks[1]);
    let size = 17 * ZEROS as u64 + 2 * MIB;
    let packed = member(&blocks, checksum.finalize(), size, false);
    let passed = pass_in_memory(&packed, 1 << 20, Builder::new(MIB, 1 << 20));
    assert_eq!((passed.damage, passed.index.size()), (None, size));
    let at = |range: Range<u64>| read(&packed, &passed, range, MIB, 1 << 16);
    assert!(at(size - MIB..size) == marks[1] && at(0..MIB) == marks[0]);
    assert!(at(size - MIB - 100..size - MIB) == [0; 100] && at((1 << 32) - 50..(1 << 32) + 50) == [0; 100]);
}

/// A block of this many bytes in one, which has no point inside: 258 zeros for 13 bits.
fn one_block(matches: usize) -> Vec<u8> {
    let (mut bytes, mut filled) = (Vec::new(), 0u32);
    let mut push = |bit: bool| {
        if filled.is_multiple_of(8) {
            bytes.push(0u8);
        }
        if let Some(last) = bytes.last_mut() {
            *last |= u8::from(bit) << (filled % 8);
        }
        filled += 1;
    };
    // The last block, with the codes of RFC 1951: a literal 0, matches of length 258 at distance 1, the end.
    [true, true, false].into_iter().for_each(&mut push);
    (0..8).rev().for_each(|bit| push(0x30 >> bit & 1 == 1));
    for _ in 0..matches {
        (0..8).rev().for_each(|bit| push(0xc5 >> bit & 1 == 1));
        (0..5).for_each(|_| push(false));
    }
    (0..7).for_each(|_| push(false));
    bytes
}

/// A bomb takes time for what is read of it, and no more memory than any file.
#[test]
fn a_block_without_end_is_read_in_pieces() {
    let matches = 1_000_000;
    let size = 1 + 258 * matches as u64;
    let zeros = vec![0; size as usize];
    let packed = member(&one_block(matches), crc32fast::hash(&zeros), size, false);
    assert!(most_plain(packed.len() as u64) >= size);
    let passed = pass_in_memory(&packed, 5000, Builder::new(MIB, 1 << 20));
    assert_eq!((passed.damage, passed.index.size()), (None, size));
    let span = passed.index.span(size / 2).unwrap();
    assert_eq!(span.plain, 0..size);
    let mut cursor = Cursor::new(&span, &[]);
    let (mut inputs, mut pieces) = (0, 0);
    while !cursor.is_over() {
        match cursor.advance(MIB).unwrap() {
            Reached::Piece(_, piece) => pieces += usize::from(piece.len() as u64 <= MIB),
            Reached::Input => {
                let next = cursor.take_next(5000).unwrap();
                cursor.give(Bytes::copy_from_slice(&packed[next.start as usize..next.end as usize]));
                inputs += 1;
            }
        }
    }
    assert_eq!((inputs, pieces), (packed.len().div_ceil(5000), size.div_ceil(MIB) as usize));
}

/// A block that refers to what is before its member is wrong, but gives the same whether it is read from the start or
/// from a point.
#[test]
fn what_is_before_a_member_is_zero() {
    // A match of 3 at distance 1 to begin with: bits of the last block with fixed codes, lowest first.
    let blocks = [0b0000_0011u8, 0b0000_0010, 0b0000_0000, 0];
    let first = gzip(&noise(50_000, 3), USUAL);
    for length in [3u64, 4] {
        let packed = [&first[..], &member(&blocks, crc32fast::hash(&vec![0; length as usize]), length, false)].concat();
        let passed = pass_in_memory(&packed, 100, Builder::new(1000, 100_000));
        if passed.damage.is_none() {
            assert_eq!(read(&packed, &passed, 50_000..50_000 + length, 1000, 10), vec![0; length as usize]);
        } else {
            assert_eq!(passed.index.size(), 50_000);
        }
    }
}

#[test]
fn an_index_that_makes_no_sense_is_none() {
    let packed = gzip(&image(500_000, 4), USUAL);
    let length = packed.len() as u64;
    let index = pass_in_memory(&packed, 10_000, Builder::new(50_000, 1 << 20)).index;
    assert!(index.is_sound(length) && !index.is_sound(length - 1));
    let json = serde_json::to_value(&index).unwrap();
    let changed = |pointer: &str, value: u64| {
        let mut json = json.clone();
        *json.pointer_mut(pointer).unwrap() = value.into();
        serde_json::from_value::<Index>(json).unwrap().is_sound(length)
    };
    assert!(!changed("/size", 60_000) && !changed("/size", u64::MAX));
    for (pointer, value) in [
        ("/points/0/plain", 1),
        ("/points/1/plain", u64::MAX),
        ("/points/1/compressed", u64::MAX),
        ("/points/1/compressed", 0),
        ("/points/1/bits", 8),
        ("/points/1/window_end", u64::MAX),
    ] {
        assert!(!changed(pointer, value), "{pointer} = {value}");
    }
}

/// A folder with a file, and a cache.
struct Rig {
    folder: TempDir,
    plain: Vec<u8>,
}

impl Rig {
    fn new() -> Self {
        let (folder, plain) = (tempfile::tempdir().unwrap(), image(12 * MIB as usize, 5));
        std::fs::create_dir(folder.path().join("files")).unwrap();
        std::fs::write(folder.path().join("files/x.fits.gz"), gzip(&plain, USUAL)).unwrap();
        Self { folder, plain }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    async fn outer(&self) -> Object {
        let store = LocalStore::open(&self.path("files")).unwrap();
        let meta = store.head("x.fits.gz").await.unwrap();
        Object::of(Arc::new(store), meta)
    }

    /// As a mount has it, without a cache or with the one that all have.
    fn gunzip(&self, is_cached: bool) -> Arc<Gunzip> {
        let open = |cache: &Path| {
            let directory = Directory::open(cache, false).unwrap();
            let device = Device::start("a test".to_owned(), Duration::from_secs(60)).unwrap();
            let disk = DiskCache::open(directory.clone(), device, 1 << 30, 64 << 20, Arc::new(Metrics::new())).unwrap();
            let notes = Notes::open(directory.base(), 0o600, Box::new(disk.room()), "gunzip").unwrap();
            (disk, Arc::new(notes))
        };
        let (disk, notes) = is_cached.then(|| open(&self.path("cache"))).unzip();
        Gunzip::new(disk, notes, 64 << 20, Handle::current())
    }

    async fn check(&self, gunzip: &Arc<Gunzip>, outer: &Object) {
        let object = gunzip.prove(outer).await.unwrap();
        assert_eq!((object.size(), object.is_provisional, object.key()), (self.plain.len() as u64, false, "x.fits"));
        for range in [0..10, 5_000_000..7_500_000, 12 * MIB - 5..12 * MIB, 3_000_000..3_000_001] {
            let bytes = get(&object, range.clone()).await.unwrap();
            assert!(bytes == self.plain[range.start as usize..range.end as usize], "{range:?}");
        }
    }

    /// Files below the cache with this ending.
    fn cached(&self, ending: &str) -> Vec<std::path::PathBuf> {
        let mut folders = vec![self.path("cache")];
        let mut found = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if entry.is_dir() {
                    folders.push(entry);
                } else if entry.extension().is_some_and(|extension| extension == ending) {
                    found.push(entry);
                }
            }
        }
        found
    }
}

impl Gunzip {
    /// Waits until all that is kept is on disk.
    fn settle(&self) {
        if let Some(stored) = &self.stored {
            stored.disk.finish();
        }
    }
}

async fn get(object: &Object, range: Range<u64>) -> Result<Vec<u8>> {
    use futures::TryStreamExt;
    let chunks: Vec<Bytes> = object.get(range).await?.stream.try_collect().await?;
    Ok(chunks.concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_size_is_provisional_and_no_less_than_the_truth_until_a_pass_has_proved_it() {
    let rig = Rig::new();
    let (gunzip, outer) = (rig.gunzip(false), rig.outer().await);
    let before = gunzip.recall(&outer).await;
    assert!(before.is_provisional && before.size() >= rig.plain.len() as u64);
    rig.check(&gunzip, &outer).await;
    let after = gunzip.object(&outer);
    assert!(!after.is_provisional && after.size() == rig.plain.len() as u64 && !after.is_same(&before));
    assert_ne!(after.identity(), outer.identity());
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_wait_for_a_file_wait_for_one_pass() {
    let rig = Rig::new();
    let (gunzip, outer) = (rig.gunzip(false), rig.outer().await);
    let proved = futures::future::join_all((0..20).map(|_| gunzip.pass(&outer))).await;
    let known: Vec<_> = proved.into_iter().map(|known| Arc::as_ptr(&known.unwrap())).collect();
    assert!(known.iter().all(|other| *other == known[0]));
    assert!(gunzip.passing.lock().is_empty());
}

/// Regression: an index that was less wanted than those before it was dropped at once, and its file could not be opened.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_index_is_remembered_however_many_there_are() {
    let rig = Rig::new();
    let packed = gzip(&image(3 * MIB as usize, 6), USUAL);
    let gunzip = Gunzip::new(None, None, 1 << 20, Handle::current());
    let store: Arc<dyn Store> = Arc::new(LocalStore::open(&rig.path("files")).unwrap());
    let mut outers = Vec::new();
    for number in 0..40 {
        let name = format!("{number}.fits.gz");
        std::fs::write(rig.path("files").join(&name), &packed).unwrap();
        let outer = Object::of(store.clone(), store.head(&name).await.unwrap());
        gunzip.prove(&outer).await.unwrap();
        gunzip.known.run_pending_tasks();
        assert!(!gunzip.object(&outer).is_provisional, "{number}");
        outers.push(outer);
        // These are wanted again and again.
        outers.iter().take(10).for_each(|outer| drop(gunzip.object(outer)));
    }
    let remembered = outers.iter().filter(|outer| !gunzip.object(outer).is_provisional).count();
    assert!((1..40).contains(&remembered), "{remembered}: memory has a bound");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_on_disk_saves_the_pass() {
    let rig = Rig::new();
    let outer = rig.outer().await;
    let first = rig.gunzip(true);
    rig.check(&first, &outer).await;
    first.settle();
    drop(first);
    let second = rig.gunzip(true);
    let recalled = second.recall(&outer).await;
    assert!(!recalled.is_provisional && recalled.size() == rig.plain.len() as u64);
    // Its windows are on disk as well.
    let known = second.remembered(&outer).await.unwrap();
    let last = known.index.span(rig.plain.len() as u64 - 1).unwrap();
    assert!(last.number > 3 && !last.window.is_empty() && second.window(&known, &last).await.is_some());
    rig.check(&second, &outer).await;
    assert!(matches!(second.known.get(&outer.identity().hash()).unwrap().windows, Windows::Disk(_)), "no other pass");
}

/// Regression: what was kept of a file by one index was used with another, of a mount with other memory. That was a panic,
/// or a loop without end.
#[tokio::test(flavor = "multi_thread")]
async fn another_index_takes_nothing_from_the_places_of_the_one_before() {
    let rig = Rig::new();
    let outer = rig.outer().await;
    let (fine, coarse) = (rig.gunzip(false), Gunzip::new(None, None, 1 << 20, Handle::current()));
    let of_coarse = coarse.pass(&outer).await.unwrap();
    let object = fine.prove(&outer).await.unwrap();
    for number in 0.. {
        let Some(span) = fine.known_of(&outer).await.unwrap().index.span(number * 2 * MIB) else { break };
        // The first piece: its cursor stays in the span.
        get(&object, span.plain.start..span.plain.start + 1).await.unwrap();
    }
    get(&object, 0..6 * MIB).await.unwrap();
    assert!(of_coarse.index.bytes() < fine.known_of(&outer).await.unwrap().index.bytes());
    fine.known.insert(outer.identity().hash(), of_coarse);
    let read = tokio::time::timeout(Duration::from_secs(100), get(&object, 0..object.size())).await;
    assert!(read.expect("it comes to an end").unwrap() == rig.plain);
}

/// Regression: a GET began whether or not it could go on, so that archived files were opened and could not be read.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_fails_before_it_answers() {
    let rig = Rig::new();
    let (gunzip, outer) = (rig.gunzip(false), rig.outer().await);
    let object = gunzip.prove(&outer).await.unwrap();
    assert!(object.get(5..5).await.is_ok() && get(&object, 5..5).await.unwrap().is_empty());
    std::fs::write(rig.path("files/x.fits.gz"), "another").unwrap();
    let answer = object.get(5 * MIB..5 * MIB + 1).await;
    assert_eq!(answer.err().map(|error| error.kind), Some(ErrorKind::VersionChanged));
}

/// Regression: a panic, where the key that a list names `x.fits.gz` ends in letters of several bytes.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_may_end_otherwise_than_its_name() {
    let rig = Rig::new();
    let (gunzip, outer) = (rig.gunzip(false), rig.outer().await);
    for key in ["\u{e9}\u{e9}", "a\u{1f52d}", "x", ""] {
        let meta = Arc::new(ObjectMeta { key: key.to_owned(), ..ObjectMeta::clone(&outer.meta) });
        let inner = gunzip.object(&Object { meta, ..outer.clone() });
        assert!(key.starts_with(inner.key()), "{key}");
    }
}

/// The points, their windows, or both: what is damaged is not there, and there is another pass.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_index_is_made_anew() {
    for (ending, at) in [("note", 300), ("data", 100), ("data", 2 << 20), ("map", 4100)] {
        let rig = Rig::new();
        let outer = rig.outer().await;
        let first = rig.gunzip(true);
        rig.check(&first, &outer).await;
        first.settle();
        drop(first);
        let files = rig.cached(ending);
        assert!(!files.is_empty(), "{ending}");
        for path in files {
            let mut bytes = std::fs::read(&path).unwrap();
            let at = at.min(bytes.len() - 1);
            bytes[at..].iter_mut().for_each(|byte| *byte ^= 0x55);
            std::fs::write(&path, bytes).unwrap();
        }
        let second = rig.gunzip(true);
        rig.check(&second, &outer).await;
        second.settle();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_read_up_to_the_damage() {
    let rig = Rig::new();
    let packed = std::fs::read(rig.path("files/x.fits.gz")).unwrap();
    let mut second = packed.clone();
    second[packed.len() / 2] ^= 1;
    std::fs::write(rig.path("files/x.fits.gz"), [packed, second.clone()].concat()).unwrap();
    let (gunzip, outer, end) = (rig.gunzip(true), rig.outer().await, 12 * MIB);
    let object = gunzip.prove(&outer).await.unwrap();
    assert!(!object.is_provisional && object.size() > 2 * end);
    assert!(get(&object, end - 100..end).await.unwrap() == rig.plain[rig.plain.len() - 100..]);
    for range in [end..end + 1, end - 1..end + 1, 2 * end..2 * end + 1] {
        assert_eq!(get(&object, range).await.unwrap_err().kind, ErrorKind::Damaged);
    }
    gunzip.settle();
    assert!(rig.gunzip(true).recall(&outer).await.is_provisional, "another mount may be luckier");
    std::fs::write(rig.path("files/x.fits.gz"), second).unwrap();
    assert_eq!(gunzip.prove(&rig.outer().await).await.unwrap_err().kind, ErrorKind::Damaged);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_replaced_is_another_one() {
    let rig = Rig::new();
    let (gunzip, outer) = (rig.gunzip(true), rig.outer().await);
    rig.check(&gunzip, &outer).await;
    std::fs::write(rig.path("files/x.fits.gz"), gzip(b"short", USUAL)).unwrap();
    let now = rig.outer().await;
    assert!(gunzip.recall(&now).await.is_provisional);
    assert_eq!(gunzip.prove(&now).await.unwrap().size(), 5);
    // What is not kept of the old one cannot be had any more.
    assert_eq!(rig.gunzip(false).prove(&outer).await.unwrap_err().kind, ErrorKind::VersionChanged);
}
