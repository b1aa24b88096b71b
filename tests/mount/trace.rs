//! `fitsfs trace` tells what the server saw.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;

use fitsfs_lab::Op;
use serde_json::Value;

use crate::support::*;

/// An image of 24 MiB between an empty primary HDU and a small image.
fn image() -> Vec<u8> {
    fits(&[("SIMPLE  = T", 0), ("XTENSION= 'IMAGE   '", 24 << 20), ("XTENSION= 'IMAGE   '", 4000)])
}

/// Waits until nothing is under way any more.
fn rest(rig: &Rig) {
    eventually("nothing is under way", || rig.status()["in_flight"] == 0);
}

fn refused(arguments: &[&str], because: &str) {
    let output = fitsfs(&[&["trace"], arguments].concat());
    assert!(!output.status.success());
    let text = text(&output);
    assert!(text.trim().lines().count() == 1 && text.contains(because), "{text}");
}

#[test]
fn the_bytes_by_decision_are_those_of_the_server() {
    let rig = Rig::new(|lab| drop(lab.put(BUCKET, "d/a.fits", image())));
    let file = rig.open("d/a.fits");
    read_at(&file, 0, 2880).unwrap();
    (0..64).for_each(|n| drop(read_at(&file, 10_000 + n * (64 << 10), 64 << 10).unwrap()));
    read_at(&file, 20 << 20, 4096).unwrap();
    // What is under way when the last program closes the file is given up, in the middle of what the server sends.
    rest(&rig);
    drop(file);
    let closed = || !trace(&[rig.root_str()])["files"][0]["closed_us"].as_array().unwrap().is_empty();
    eventually("the file is closed", closed);
    let trace = trace(&[rig.root_str(), "--json"]);
    let found = &trace["files"][0];
    let summary = &found["summary"];
    let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("no number: {value}"));
    let shares = summary["by_decision"].as_object().unwrap();
    let sums = |field: &str| shares.values().map(|share| number(&share[field])).sum::<u64>();
    let (gets, _) = rig.gets();
    assert_eq!(sums("fetches"), gets as u64);
    assert_eq!(number(&summary["fetched_bytes"]), sums("bytes"));
    // The trace tells of the answer that came first where a request was hedged.
    let gets = rig.lab.requests().into_iter().filter(|request| request.op == Op::GetObject);
    let (bytes, hedged) = (gets.map(|request| request.bytes).sum(), rig.hedged());
    assert!(sums("bytes") == bytes || hedged > 0 && sums("bytes") < bytes);
    assert!(number(&shares["demand"]["bytes"]) > 0 && number(&shares["sequential"]["bytes"]) > 1 << 20);
    // The kernel asks for nothing that was put into its page cache, such as the head.
    let reads = found["reads"].as_array().unwrap();
    let has = |at: u64| reads.iter().any(|read| number(&read["start"]) <= at && at < number(&read["end"]));
    let pushed = found["pushes"].as_array().unwrap().iter().any(|push| number(&push["start"]) == 0);
    assert!((has(0) || pushed) && has(20 << 20));
    assert_eq!(reads.len() as u64, number(&rig.status()["reads"]));
    assert!(reads.iter().any(|read| read["waited"] == true) && reads.iter().all(|read| read["failed"] == false));
    assert_eq!(found["hdus"].as_array().unwrap().len(), 3);
    assert_eq!(found["layout_complete"], true);
    assert_eq!(found["url"], format!("s3://{BUCKET}/d/a.fits"));
    assert_eq!(found["path"], format!("{}/d/a.fits", rig.root_str()));
    assert_eq!((found["opened_us"].as_array().unwrap().len(), found["closed_us"].as_array().unwrap().len()), (1, 1));
}

#[test]
fn paths_choose_files_and_clear_begins_anew() {
    let rig = Rig::new(|lab| {
        for key in ["a.fits", "d/b.fits", "d/c.fits"] {
            lab.put(BUCKET, key, pattern(100_000, 1));
        }
    });
    for key in ["a.fits", "d/b.fits", "d/c.fits"] {
        fs::read(rig.path(key)).unwrap();
    }
    rest(&rig);
    let names = |arguments: &[&str]| -> Vec<String> {
        let trace = trace(arguments);
        let paths = trace["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap().to_owned());
        paths.map(|path| path.strip_prefix(rig.root_str()).unwrap().to_owned()).collect()
    };
    let folder = rig.path("d");
    assert_eq!(names(&[folder.to_str().unwrap()]), ["/d/b.fits", "/d/c.fits"]);
    assert_eq!(names(&[rig.root_str(), "d/c.fits", "a.fits"]), ["/a.fits", "/d/c.fits"]);
    // Without `--json` in a pipe, and once more with what is then forgotten.
    assert_eq!(names(&[rig.root_str(), "--clear"]), ["/a.fits", "/d/b.fits", "/d/c.fits"]);
    assert_eq!(names(&[rig.root_str()]), Vec::<String>::new());
    fs::File::open(rig.path("a.fits")).unwrap();
    assert_eq!(names(&[rig.root_str()]), ["/a.fits"]);
}

#[test]
fn the_picture_is_well_formed_whatever_a_key_holds() {
    let key = "d/<a & \"b\">\u{1b}[31m'c'.fits";
    let rig = Rig::new(|lab| drop(lab.put(BUCKET, key, image())));
    read_at(&rig.open(key), 8000, 100_000).unwrap();
    rest(&rig);
    let file = rig.outside().join("out.svg");
    let output = fitsfs(&["trace", rig.root_str(), "--svg", file.to_str().unwrap()]);
    assert!(output.status.success() && output.stdout.is_empty(), "{}", text(&output));
    let picture = fs::read_to_string(file).unwrap();
    let document = roxmltree::Document::parse(&picture).unwrap();
    let shown = |node: roxmltree::Node<'_, '_>| node.text().is_some_and(|text| text.contains("<a & \"b\">\\u{1b}[31m"));
    assert!(document.descendants().any(shown));
    assert!(!picture.contains(&rig.lab.endpoint()));
    let to_pipe = fitsfs(&["trace", rig.root_str(), "--svg", "-"]);
    assert!(to_pipe.stdout.starts_with(b"<svg ") && to_pipe.stdout.ends_with(b"</svg>\n"));
}

#[test]
fn what_cannot_be_traced_is_an_error_in_one_line() {
    let rig = Rig::unmounted(|lab| drop(lab.put(BUCKET, "a", "x")));
    refused(&[rig.root_str()], "is not in a mount of fitsfs");
    rig.mount(&[]);
    fs::read(rig.path("a")).unwrap();
    refused(&[rig.root_str(), "--svg", "/proc/none/x.svg", "--clear"], "cannot write /proc/none/x.svg");
    assert_eq!(trace(&[rig.root_str()])["files"].as_array().unwrap().len(), 1, "nothing was cleared");
}

/// A client that connects and says nothing must not keep others from being answered, nor the mount from ending.
#[test]
fn silent_clients_do_no_harm() {
    let rig = Rig::new(|_| ());
    let socket = std::path::Path::new("/run/fitsfs").join(fitsfs::control::name_of(&rig.root)).with_extension("sock");
    let mut silent: Vec<_> = (0..20).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    silent[0].write_all(b"stat").unwrap();
    assert_eq!(rig.status()["mountpoint"], rig.root_str());
    assert_eq!(trace(&[rig.root_str()])["mountpoint"], rig.root_str());
}
