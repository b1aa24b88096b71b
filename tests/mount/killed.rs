//! A program that is killed while it waits for the store is gone at once, and nothing else notices.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fitsfs_lab::{Fault, Kind, Op};

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

/// Far beyond all that a test waits for.
const NEVER: Duration = Duration::from_secs(600);

/// Prints the result of an operation.
fn program(operation: &str, root: &Path) -> Child {
    let script = format!("import mmap, os, sys; root = sys.argv[1]; path = root + '/d/a.fits'; print({operation})");
    let python = std::env::var("FITSFS_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut command = Command::new(python);
    command.args(["-c", &script]).arg(root).stdout(Stdio::piped()).spawn().expect("run Python")
}

/// The state of a process: `D` while it cannot be interrupted.
fn state(child: &Child) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).ok()?;
    stat.rsplit(')').next()?.trim().chars().next()
}

#[test]
fn a_killed_program_is_gone_whatever_it_waits_for() {
    for (name, operation) in OPERATIONS {
        let product = Product::new(7).image(&[4_096, 2_048]).image(&[4_096, 2_048]);
        let rig = Rig::new(|lab| {
            product.put(lab, "d/a.fits");
            product.put(lab, "d/c.fits");
            lab.put(BUCKET, "e/b", pattern(MIB, 2));
            lab.put(BUCKET, "g/x", pattern(MIB, 3));
        });
        // The names on the way are known, and the head of one file.
        names(&rig.path("d")).unwrap();
        rig.open("d/a.fits");
        let other = rig.open("e/b");
        assert_eq!(read_at(&other, 0, 4096).unwrap(), pattern_at(2, 0, 4096));
        rig.settle();
        ["d/", "g"].into_iter().for_each(|prefix| rig.lab.fault(Fault::new(Kind::Delay(NEVER)).prefix(prefix)));
        let mut child = program(operation, &rig.root);
        eventually(&format!("{name}: the program waits"), || {
            let waits = state(&child).is_some_and(|state| "DS".contains(state));
            waits && rig.status()["in_flight"].as_u64() > Some(0)
        });
        let killed = Instant::now();
        child.kill().unwrap();
        assert!(!child.wait().unwrap().success());
        // Without a look at the program it waits for the deadline of the request: 10 s or more.
        assert!(killed.elapsed() < Duration::from_secs(5), "{name}: {:?}", killed.elapsed());
        assert_eq!(read_at(&other, MIB - 4096, 4096).unwrap(), pattern_at(2, MIB - 4096, 4096), "{name}");
        rig.lab.clear_faults();
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
