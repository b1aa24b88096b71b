//! A program that is killed while it waits for the store is gone at once, and nothing else notices.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fitsfs_lab::{Fault, Kind, Lab, Op};

use crate::hanging::HangingDisk;
use crate::prefetch::Product;
use crate::support::*;

/// Operations of Python programs on a path.
const OPERATIONS: [(&str, &str); 6] = [
    ("lookup", "os.stat(root + '/g/x')"),
    ("readdir", "os.listdir(root + '/g')"),
    ("getxattr", "os.getxattr(root + '/d/c.fits', 'user.fitsfs.layout')"),
    ("read", "os.pread(os.open(path, os.O_RDONLY), 4096, 40 << 20)"),
    ("direct read", "os.preadv(os.open(path, os.O_RDONLY | os.O_DIRECT), [mmap.mmap(-1, 4096)], 50 << 20)"),
    ("page fault", "mmap.mmap(os.open(path, os.O_RDONLY), 0, prot=mmap.PROT_READ)[60 << 20]"),
];

/// Operations that wait for nothing for long.
const ANSWERED: [(&str, &str); 3] =
    [("getattr", "os.stat(path)"), ("open", "os.open(path, os.O_RDONLY)"), ("statfs", "os.statvfs(path)")];

/// How long a killed program may take to go: the daemon looks at it every 0.4 s, on a machine that may be busy.
const GONE: Duration = Duration::from_secs(3);

/// Far beyond all that a test waits for.
const NEVER: Duration = Duration::from_secs(600);

/// Prints the result of an operation, which it has begun.
fn program(operation: &str, root: &Path) -> Child {
    let script = format!(
        "import mmap, os, sys; root = sys.argv[1]; path = root + '/d/a.fits'\nprint('begun', file=sys.stderr, flush=True)\nprint({operation})"
    );
    let python = std::env::var("FITSFS_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut command = Command::new(python);
    command.args(["-c", &script]).arg(root).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("run Python");
    let mut begun = [0; "begun\n".len()];
    child.stderr.as_mut().expect("it is a pipe").read_exact(&mut begun).expect("Python begins");
    child
}

/// The state of a process: `D` while it cannot be interrupted.
fn state(child: &Child) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).ok()?;
    stat.rsplit(')').next()?.trim().chars().next()
}

/// What the operations are about begins so; another file does not.
const STALLED: [&str; 2] = ["d/", "g"];

fn put_files(lab: &Lab) {
    let product = Product::new(7).image(&[4_096, 2_048]).image(&[4_096, 2_048]);
    product.put(lab, "d/a.fits");
    product.put(lab, "d/c.fits");
    lab.put(BUCKET, "e/b", pattern(MIB, 2));
    lab.put(BUCKET, "g/x", pattern(MIB, 3));
}

/// Makes the names on the way known, and the head of one file. Returns another file, of which the rest is not known.
fn acquaint(rig: &Rig) -> File {
    names(&rig.path("d")).unwrap();
    rig.open("d/a.fits");
    let other = rig.open("e/b");
    assert_eq!(read_at(&other, 0, 4096).unwrap(), pattern_at(2, 0, 4096));
    rig.settle();
    other
}

#[test]
fn a_killed_program_is_gone_whatever_it_waits_for() {
    for (name, operation) in OPERATIONS {
        let rig = Rig::new(put_files);
        let other = acquaint(&rig);
        STALLED.into_iter().for_each(|prefix| rig.lab.fault(Fault::new(Kind::Delay(NEVER)).prefix(prefix)));
        let mut child = program(operation, &rig.root);
        eventually(&format!("{name}: the program waits"), || {
            let waits = state(&child).is_some_and(|state| "DS".contains(state));
            waits && rig.status()["in_flight"].as_u64() > Some(0)
        });
        let killed = Instant::now();
        child.kill().unwrap();
        assert!(!child.wait().unwrap().success());
        // Without a look at the program it waits for the deadline of the request: 10 s or more.
        assert!(killed.elapsed() < GONE, "{name}: {:?}", killed.elapsed());
        assert_eq!(read_at(&other, MIB - 4096, 4096).unwrap(), pattern_at(2, MIB - 4096, 4096), "{name}");
        rig.lab.clear_faults();
    }
}

/// The disk of the cache hangs, and for one prefix the store as well: programs that wait for the one and then for the
/// other.
#[test]
fn a_killed_program_is_gone_while_the_cache_disk_hangs() {
    for (name, operation) in OPERATIONS.into_iter().chain(ANSWERED) {
        let disk = HangingDisk::new();
        let rig = Rig::unmounted(put_files);
        rig.mount(&["--cache-dir", disk.path().join("cache").to_str().unwrap()]);
        let other = acquaint(&rig);
        // Some are killed before the store is asked.
        STALLED.into_iter().for_each(|prefix| rig.lab.fault(Fault::new(Kind::Delay(NEVER)).prefix(prefix).spare()));
        disk.hang();
        let mut child = program(operation, &rig.root);
        let is_answered = ANSWERED.iter().any(|(answered, _)| *answered == name);
        if is_answered {
            within(Duration::from_secs(20), name, move || assert!(child.wait().unwrap().success(), "{name}"));
        } else {
            eventually(&format!("{name}: the program waits"), || {
                let waits = state(&child).is_some_and(|state| "DS".contains(state));
                waits && (disk.is_waited_for() || rig.status()["in_flight"].as_u64() > Some(0))
            });
            let killed = Instant::now();
            child.kill().unwrap();
            within(GONE, name, move || assert!(!child.wait().unwrap().success()));
            eprintln!("{name}: gone after {:?}", killed.elapsed());
        }
        let end = within(Duration::from_secs(20), "another file", move || read_at(&other, MIB - 4096, 4096).unwrap());
        assert_eq!(end, pattern_at(2, MIB - 4096, 4096), "{name}");
        rig.lab.clear_faults();
    }
}

#[test]
fn what_waits_for_nothing_is_answered_by_a_store_that_never_does() {
    for (name, operation) in ANSWERED {
        let rig = Rig::new(|lab| drop(lab.put(BUCKET, "d/a.fits", pattern(64 * MIB, 1))));
        names(&rig.path("d")).unwrap();
        std::fs::metadata(rig.path("d/a.fits")).unwrap();
        rig.settle();
        rig.lab.fault(Fault::new(Kind::Delay(NEVER)).spare());
        let mut child = program(operation, &rig.root);
        within(Duration::from_secs(20), name, move || assert!(child.wait().unwrap().success(), "{name}"));
    }
}

#[test]
fn a_program_that_waits_for_the_same_page_as_a_killed_one_gets_it() {
    for (name, operation) in [("read", OPERATIONS[3].1), ("page fault", OPERATIONS[5].1)] {
        let rig = Rig::new(|lab| drop(lab.put(BUCKET, "d/a.fits", pattern(64 * MIB, 1))));
        rig.open("d/a.fits");
        rig.settle();
        // The first GET is late by so much that the kill comes before its answer; hedges are late as well.
        rig.lab.fault(Fault::new(Kind::Delay(Duration::from_secs(3))).on(Op::GetObject).times(3));
        let mut first = program(operation, &rig.root);
        rig.lab.wait_for(1, |request| request.op == Op::GetObject);
        let second = program(operation, &rig.root);
        eventually("the second program waits", || state(&second) == Some('D'));
        first.kill().unwrap();
        first.wait().unwrap();
        let output = second.wait_with_output().unwrap();
        assert!(output.status.success(), "{name}: {}", text(&output));
        if name == "page fault" {
            let shown = String::from_utf8(output.stdout).unwrap();
            assert_eq!(shown.trim(), pattern_at(1, 60 * MIB, 1)[0].to_string());
        }
    }
}
