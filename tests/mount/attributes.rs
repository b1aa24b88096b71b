//! Extended attributes: for who asks by name, and no burden to programs that copy files.

use std::fs;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use fitsfs_lab::{Content, Op, Shape};

use crate::support::*;

/// A FITS file of many HDUs without data.
fn many_hdus(count: usize) -> Vec<u8> {
    let block = |first: &str| {
        let cards = [first, "BITPIX  =                    8", "NAXIS   =                    0", "END"];
        let mut block: Vec<u8> = cards.iter().flat_map(|card| format!("{card:<80}").into_bytes()).collect();
        block.resize(2880, b' ');
        block
    };
    let extension = block("XTENSION= 'IMAGE   '").repeat(count - 1);
    [block("SIMPLE  =                    T"), extension].concat()
}

fn python(script: &str, arguments: &[&str]) -> Child {
    Command::new("python3").args(["-c", script]).args(arguments).spawn().unwrap()
}

#[test]
fn copies_of_files_carry_no_generated_attributes() {
    let rig = Rig::new(|lab| {
        lab.put(BUCKET, "d/few.fits", many_hdus(3));
        lab.put(BUCKET, "d/hundreds.fits", many_hdus(600));
    });
    let copies = rig.outside().join("copies");
    let script = r"
import os, shutil, sys
root, copies = sys.argv[1:]
shutil.copytree(root + '/d', copies)
for name in ('few.fits', 'hundreds.fits'):
    path = root + '/d/' + name
    assert os.listxattr(path) == [], os.listxattr(path)
    assert os.getxattr(path, 'user.fitsfs.url').endswith(name.encode())
    shutil.copy2(path, copies + '/again-' + name)
    assert not [name for name in os.listxattr(copies + '/' + name) if 'fitsfs' in name]
";
    let copied = python(script, &[rig.root_str(), copies.to_str().unwrap()]).wait().unwrap();
    assert!(copied.success());
    let preserved = copies.join("preserved");
    let cp = Command::new("cp").arg("--preserve=all").arg(rig.path("d/hundreds.fits")).arg(&preserved).status();
    assert!(cp.unwrap().success());
    assert_eq!(fs::read(preserved).unwrap(), many_hdus(600));
}

#[test]
fn a_layout_without_end_is_given_up_and_that_is_remembered() {
    let size = 2880 * 100_000;
    let rig = Rig::unmounted(|_| ());
    let path = rig.outside().join("many.fits");
    fs::write(&path, many_hdus(100_000)).unwrap();
    rig.lab.put(BUCKET, "d/many.fits", Content::File(path));
    rig.mount(&[]);
    let script = r"
import errno, os, sys
for _ in range(3):
    try: os.getxattr(sys.argv[1], 'user.fitsfs.layout')
    except OSError as error: assert error.errno == errno.E2BIG, error
    else: sys.exit('a value')
";
    let path = rig.path("d/many.fits");
    let asked = || assert!(python(script, &[path.to_str().unwrap()]).wait().unwrap().success());
    asked();
    let (gets, bytes) = rig.gets();
    // As far as the headers are walked, and once more what a reader of them is led by.
    assert!(gets < 500 && bytes < size / 2, "{gets} GETs, {bytes} bytes");
    rig.settle();
    asked();
    assert_eq!(rig.gets().0, 0, "it is known to be too long");
}

#[test]
fn a_layout_is_remembered_and_ends_with_its_reader() {
    let file = many_hdus(40_000);
    let rig = Rig::new(|lab| {
        lab.put(BUCKET, "d/many.fits", file);
        lab.put(BUCKET, "d/other", pattern(20 * MIB, 1));
    });
    rig.lab.shape(Shape::latency(Duration::from_millis(150)));
    let script = "import os, sys; os.getxattr(sys.argv[1], 'user.fitsfs.layout')";
    let mut reader = python(script, &[rig.path("d/many.fits").to_str().unwrap()]);
    eventually("it walks", || rig.gets().0 > 3);
    let killed = Instant::now();
    reader.kill().unwrap();
    reader.wait().unwrap();
    assert!(killed.elapsed() < Duration::from_secs(2), "took {:?}", killed.elapsed());
    rig.settle();
    // Requests that come later; a walk that went on would send its own between them.
    assert_eq!(sha256(rig.open("d/other")), sha256_of_pattern(1, 20 * MIB));
    let walked = rig.lab.count(|request| request.op == Op::GetObject && request.key == "d/many.fits");
    assert_eq!(walked, 0, "nobody waits for it any more");
}
