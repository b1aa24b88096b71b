//! Any sequence of operations on a mount gives what a model of the bucket in memory gives.
//!
//! An inode number stands for one version. A handle reads the version of its number; where that version is no longer
//! the bucket's, a read gives its bytes or ESTALE.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::{SystemTime, UNIX_EPOCH};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use crate::map::{Map, PAGE};
use crate::support::*;

/// So many sequences are tried, and so many shorter ones where one fails, each in a folder of its own.
const CASES: u32 = 150;
const SHORTER_CASES: u32 = 300;

/// The objects of a case.
const NAMES: [&str; 8] =
    ["mef.fits", "cut.fits", "broken.fits", "huge.fits", "tiny", "empty.fits", "long.fits", "plain.dat"];

#[derive(Clone, Debug)]
enum Operation {
    Open {
        name: usize,
    },
    Close {
        handle: usize,
    },
    /// Of `len` bytes at a fraction of the size.
    Read {
        handle: usize,
        at: f64,
        len: usize,
    },
    Map {
        handle: usize,
        at: f64,
        len: usize,
    },
    /// On from the last read.
    Next {
        handle: usize,
        len: usize,
    },
    Replace {
        name: usize,
        len: usize,
    },
}

fn operation() -> impl Strategy<Value = Operation> {
    let (name, handle) = (0..NAMES.len(), 0usize..8);
    let len = prop_oneof![4 => 1usize..5_000, 3 => 1usize..200_000, 1 => 200_000usize..2_000_000];
    let at = prop_oneof![4 => 0.0..1.02f64, 1 => Just(0.0), 1 => 0.98..1.0f64];
    prop_oneof![
        4 => name.clone().prop_map(|name| Operation::Open { name }),
        1 => handle.clone().prop_map(|handle| Operation::Close { handle }),
        8 => (handle.clone(), at.clone(), len.clone()).prop_map(|(handle, at, len)| Operation::Read { handle, at, len }),
        4 => (handle.clone(), at, len.clone()).prop_map(|(handle, at, len)| Operation::Map { handle, at, len }),
        8 => (handle, len).prop_map(|(handle, len)| Operation::Next { handle, len }),
        1 => (name, 0usize..400_000).prop_map(|(name, len)| Operation::Replace { name, len }),
    ]
}

/// What the objects of a case begin with.
fn content(name: &str) -> Vec<u8> {
    let mef = || fits(&[("SIMPLE  = T", 3_000), ("XTENSION= 'IMAGE   '", 900_000), ("XTENSION= 'IMAGE   '", 400_000)]);
    match name {
        "mef.fits" => mef(),
        "cut.fits" => mef()[..700_001].to_vec(),
        "broken.fits" => [&mef()[..2880 + 1440], &pattern_at(1, 0, 600_000)[..]].concat(),
        // Claims more data than there is.
        "huge.fits" => {
            let mut file = mef();
            let card = format!("{:<80}", "NAXIS1  = 9000000000000000000");
            file[3 * 80..4 * 80].copy_from_slice(card.as_bytes());
            file
        }
        "tiny" => vec![7; 3],
        "empty.fits" => Vec::new(),
        "long.fits" => fits(&[("SIMPLE  = T", 5_000_000)]),
        _ => pattern_at(2, 0, 1_500_000),
    }
}

struct Handle {
    file: File,
    name: usize,
    version: usize,
    position: u64,
}

/// A bucket in memory beside one that is mounted.
struct Model<'a> {
    rig: &'a Rig,
    folder: String,
    /// All versions of each object; the last is the bucket's.
    versions: Vec<Vec<Vec<u8>>>,
    by_inode: HashMap<u64, (usize, usize)>,
    handles: Vec<Handle>,
}

impl<'a> Model<'a> {
    fn new(rig: &'a Rig, folder: String, contents: &[Vec<u8>]) -> Self {
        let versions = contents.iter().map(|content| vec![content.clone()]).collect();
        Self { rig, folder, versions, by_inode: HashMap::new(), handles: Vec::new() }
    }

    fn apply(&mut self, operation: &Operation) {
        match *operation {
            Operation::Open { name } => self.open(name),
            Operation::Close { handle } if handle < self.handles.len() => drop(self.handles.swap_remove(handle)),
            Operation::Read { handle, at, len } if handle < self.handles.len() => {
                let offset = (at * self.truth(handle).len() as f64) as u64;
                self.read(handle, offset, len);
            }
            Operation::Next { handle, len } if handle < self.handles.len() => {
                self.read(handle, self.handles[handle].position, len);
            }
            Operation::Map { handle, at, len } if handle < self.handles.len() => self.map(handle, at, len),
            Operation::Replace { name, len } => {
                let bytes = pattern_at(len as u64 + 17 * self.versions[name].len() as u64, 0, len);
                self.rig.lab.put(BUCKET, &format!("{}/{}", self.folder, NAMES[name]), bytes.clone());
                self.versions[name].push(bytes);
            }
            _ => {}
        }
    }

    fn open(&mut self, name: usize) {
        let file = self.rig.open(&format!("{}/{}", self.folder, NAMES[name]));
        let metadata = file.metadata().unwrap();
        // A name may be remembered for its time to live, so it need not be the newest.
        let of_size = |bytes: &Vec<u8>| bytes.len() as u64 == metadata.len();
        let newest = self.versions[name].iter().rposition(of_size);
        let newest = newest.unwrap_or_else(|| panic!("no version of {} has {} bytes", NAMES[name], metadata.len()));
        let (known, version) = *self.by_inode.entry(metadata.ino()).or_insert((name, newest));
        assert_eq!(
            (known, self.versions[name][version].len() as u64),
            (name, metadata.len()),
            "what a number stands for"
        );
        self.handles.push(Handle { file, name, version, position: 0 });
    }

    fn truth(&self, handle: usize) -> &[u8] {
        let Handle { name, version, .. } = self.handles[handle];
        &self.versions[name][version]
    }

    fn is_current(&self, handle: usize) -> bool {
        let Handle { name, version, .. } = self.handles[handle];
        self.versions[name][version] == *self.versions[name].last().expect("there is a first version")
    }

    fn read(&mut self, handle: usize, offset: u64, len: usize) {
        let mut bytes = vec![0xEE; len];
        let truth = self.truth(handle);
        let from = truth.len().min(offset as usize);
        let expected = &truth[from..truth.len().min(from + len)];
        let (mut got, mut stale) = (0, false);
        while got < len && !stale {
            match self.handles[handle].file.read_at(&mut bytes[got..], offset + got as u64) {
                Ok(0) => break,
                Ok(n) => got += n,
                Err(error) => {
                    assert_eq!(error.raw_os_error(), Some(libc::ESTALE), "{error}");
                    assert!(!self.is_current(handle), "{} is not stale", NAMES[self.handles[handle].name]);
                    stale = true;
                }
            }
        }
        let same = bytes[..got] == expected[..got.min(expected.len())] && (stale || got == expected.len());
        assert!(same, "{} bytes at {offset} of {}", expected.len(), NAMES[self.handles[handle].name]);
        self.handles[handle].position = offset + got as u64;
    }

    /// Mappings of what was replaced may kill this process: not tried.
    fn map(&mut self, handle: usize, at: f64, len: usize) {
        let truth = self.truth(handle);
        let start = (at.min(1.0) * truth.len() as f64) as usize / PAGE * PAGE;
        let len = len.min(truth.len() - start.min(truth.len()));
        if len > 0 && self.is_current(handle) {
            let map = Map::shared(&self.handles[handle].file, start as u64, len);
            assert!(
                map.bytes() == &truth[start..start + len],
                "mapped at {start} of {}",
                NAMES[self.handles[handle].name]
            );
        }
    }
}

#[test]
fn any_sequence_of_operations_agrees_with_the_model() {
    let given = std::env::var("PROPTEST_RNG_SEED").ok().and_then(|seed| seed.parse().ok());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("now is after 1970");
    let seed: u64 = given.unwrap_or(now.as_nanos() as u64);
    let config = Config {
        cases: CASES,
        max_shrink_iters: SHORTER_CASES,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..Config::default()
    };
    let contents: Vec<_> = NAMES.iter().map(|name| content(name)).collect();
    let rig = Rig::with(&["--memory", "8MiB"], |lab| {
        for (name, content) in NAMES.iter().zip(&contents) {
            let keys = (0..=CASES + SHORTER_CASES).map(|case| format!("case-{case}/{name}"));
            lab.put_many(BUCKET, keys, content.clone());
        }
    });
    let cases = std::cell::Cell::new(0u32);
    let outcome = TestRunner::new(config).run(&proptest::collection::vec(operation(), 1..60), |operations| {
        cases.set(cases.get() + 1);
        let mut model = Model::new(&rig, format!("case-{}", cases.get()), &contents);
        operations.iter().for_each(|operation| model.apply(operation));
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("PROPTEST_RNG_SEED={seed} repeats it: {failure}");
    }
}
