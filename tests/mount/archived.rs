//! Archived files: what is told of them, and `fitsfs restore`.

use std::fs;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fitsfs_lab::{Lab, Op};
use serde_json::Value;

use crate::support::*;

const CREDENTIALS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "AKIDLAB"), ("AWS_SECRET_ACCESS_KEY", "secret")];

/// 2030-01-01T00:00:00Z.
const UNTIL: u64 = 1_893_456_000;

fn until() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(UNTIL)
}

/// A file in a class of the archive, one in a tier of Intelligent-Tiering, and one that can be read.
fn rig() -> Rig {
    Rig::of_lab(Lab::builder().credentials(CREDENTIALS[0].1, CREDENTIALS[1].1), |lab| {
        lab.public(BUCKET);
        for (seed, key) in ["d/cold.fits", "d/tier.fits", "d/warm.fits"].into_iter().enumerate() {
            lab.put(BUCKET, key, pattern(MIB, seed as u64));
        }
        lab.set_storage_class(BUCKET, "d/cold.fits", "DEEP_ARCHIVE");
        lab.set_archive_status(BUCKET, "d/tier.fits", "ARCHIVE_ACCESS");
    })
}

fn mounted() -> Rig {
    let rig = rig();
    rig.mount(&["--metadata-ttl", "1s"]);
    rig
}

/// `fitsfs restore` with the credentials of the lab.
fn restore(rig: &Rig, arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("restore").args(arguments).args(["--endpoint-url", &rig.lab.endpoint()]).envs(CREDENTIALS);
    command.env("AWS_EC2_METADATA_DISABLED", "true").stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The lines of JSON that it printed.
fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// The last state of each file, by its name.
fn states(output: &Output) -> Vec<(String, String)> {
    let mut states = std::collections::BTreeMap::new();
    for line in lines(output) {
        let url = line["url"].as_str().unwrap_or_default();
        states.insert(url.rsplit('/').next().unwrap().to_owned(), line["state"].as_str().unwrap().to_owned());
    }
    states.into_iter().collect()
}

fn attribute(rig: &Rig, key: &str) -> Option<String> {
    attribute_of(rig, key, "archive")
}

fn attribute_of(rig: &Rig, key: &str, name: &str) -> Option<String> {
    let mut value = [0; 256];
    let length = rustix::fs::getxattr(rig.path(key), format!("user.fitsfs.{name}"), &mut value[..]).ok()?;
    Some(String::from_utf8_lossy(&value[..length]).into_owned())
}

fn errno(result: std::io::Result<Vec<u8>>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

#[test]
fn an_attribute_tells_how_far_an_archived_file_is_from_being_read() {
    let rig = mounted();
    assert_eq!(attribute(&rig, "d/cold.fits").as_deref(), Some("archived"));
    assert_eq!(attribute(&rig, "d/tier.fits").as_deref(), Some("archived"));
    rig.settle();
    assert_eq!(attribute(&rig, "d/warm.fits"), None);
    assert_eq!(rig.lab.requests().len(), 0, "the class of a file that can be read is known");
    let ordered = restore(&rig, &[rig.path("d/cold.fits").to_str().unwrap()]).output().unwrap();
    assert!(ordered.status.success(), "{}", text(&ordered));
    assert_eq!(attribute(&rig, "d/cold.fits").as_deref(), Some("restoring"));
    rig.lab.finish_restore(BUCKET, "d/cold.fits", until());
    assert_eq!(attribute(&rig, "d/cold.fits").as_deref(), Some("restored until 2030-01-01T00:00:00Z"));
}

#[test]
fn reading_an_archived_file_fails_at_once_and_restores_nothing() {
    let rig = mounted();
    for key in ["d/cold.fits", "d/tier.fits"] {
        for _ in 0..3 {
            assert_eq!(errno(fs::read(rig.path(key))), Some(libc::ENODATA), "{key}");
        }
        // Once a read was refused, opening is, whether listings tell or not.
        assert_eq!(fs::File::open(rig.path(key)).unwrap_err().raw_os_error(), Some(libc::ENODATA), "{key}");
    }
    let log = fs::read_to_string(rig.log_file()).unwrap();
    assert!(log.contains("fitsfs restore makes it readable"), "{log}");
    assert_eq!(rig.lab.count(|request| request.op == Op::RestoreObject), 0);
}

#[test]
fn a_folder_is_restored_waited_for_and_read_without_a_new_mount() {
    let rig = mounted();
    for key in ["d/cold.fits", "d/tier.fits"] {
        assert_eq!(errno(fs::read(rig.path(key))), Some(libc::ENODATA));
    }
    let folder = rig.path("d");
    let waiting = restore(&rig, &["--wait", "--tier", "bulk", folder.to_str().unwrap()]).spawn().unwrap();
    rig.lab.wait_for(2, |request| request.op == Op::RestoreObject && request.status == 202);
    let asked = |key| rig.lab.restore_request(BUCKET, key).unwrap();
    assert!(asked("d/cold.fits").contains("<Days>7</Days>") && asked("d/cold.fits").contains("<Tier>Bulk</Tier>"));
    assert!(!asked("d/tier.fits").contains("Days") && asked("d/tier.fits").contains("<Tier>Bulk</Tier>"));
    for key in ["d/cold.fits", "d/tier.fits"] {
        rig.lab.finish_restore(BUCKET, key, until());
    }
    let waited = waiting.wait_with_output().unwrap();
    assert!(waited.status.success(), "{}", text(&waited));
    let expected = [("cold.fits", "restored"), ("tier.fits", "readable"), ("warm.fits", "readable")];
    assert_eq!(states(&waited), expected.map(|(name, state)| (name.to_owned(), state.to_owned())));
    let told = lines(&waited);
    let cold = told.iter().rfind(|line| line["state"] == "restored").unwrap();
    assert_eq!(cold["until"], "2030-01-01T00:00:00Z");
    assert_eq!(cold["path"], rig.path("d/cold.fits").to_str().unwrap());
    for (seed, key) in [(0, "d/cold.fits"), (1, "d/tier.fits")] {
        eventually("a restored file can be read", || fs::read(rig.path(key)).is_ok());
        assert_eq!(fs::read(rig.path(key)).unwrap(), pattern_at(seed, 0, MIB as usize));
    }
}

#[test]
fn objects_are_restored_by_url_and_once() {
    let rig = rig();
    let url = format!("s3://{BUCKET}/d/cold.fits");
    for _ in 0..2 {
        let ordered = restore(&rig, &[&url, "--days", "30"]).output().unwrap();
        assert!(ordered.status.success(), "{}", text(&ordered));
        assert_eq!(states(&ordered), [("cold.fits".to_owned(), "restoring".to_owned())]);
    }
    assert!(rig.lab.restore_request(BUCKET, "d/cold.fits").unwrap().contains("<Days>30</Days>"));
    assert_eq!(rig.lab.count(|request| request.op == Op::RestoreObject), 1, "it is known to be under way");
    rig.lab.finish_restore(BUCKET, "d/cold.fits", until());
    // Without a number of days there is nothing to ask for; with one the copy is kept for longer.
    for (options, orders) in [(&[][..], 1), (&["--days", "60"][..], 2)] {
        let all = format!("s3://{BUCKET}/d/");
        let again = restore(&rig, &[&[&*all], options].concat()).output().unwrap();
        assert_eq!(states(&again)[0], ("cold.fits".to_owned(), "restored".to_owned()), "{}", text(&again));
        let ordered = |request: &fitsfs_lab::Request| request.op == Op::RestoreObject && request.key == "d/cold.fits";
        assert_eq!(rig.lab.count(ordered), orders);
    }
}

#[test]
fn what_cannot_be_restored_is_told_in_a_line() {
    let rig = mounted();
    let cold = rig.path("d/cold.fits");
    let failing = |arguments: &[&str], why: &str| {
        let output = restore(&rig, arguments).output().unwrap();
        assert!(!output.status.success() && text(&output).contains(why), "{arguments:?}: {}", text(&output));
    };
    failing(&[cold.to_str().unwrap(), "--no-sign-request"], "never anonymous");
    failing(&["gs://bucket/key"], "can be read at once");
    failing(&["https://example.org/d/a.fits"], "can be read at once");
    failing(&["file:///etc/"], "can be read at once");
    failing(&["/etc/hostname"], "not in a mount of fitsfs");
    failing(&[&format!("s3://{BUCKET}/no-such-key")], "404");
    failing(&[&format!("s3://{BUCKET}/d/tier.fits"), "--days", "3"], "leave out --days");
    // The same name at another endpoint is another bucket.
    let other = Lab::builder().anonymous().start().unwrap();
    let mut command = Command::new(PROGRAM);
    command.arg("restore").arg(&cold).args(["--endpoint-url", &other.endpoint()]).envs(CREDENTIALS);
    let refused = text(&command.output().unwrap());
    assert!(refused.contains("give it the options of the mount"), "{refused}");
    assert_eq!(other.requests().len(), 0, "nothing was asked there");
    assert_eq!(rig.lab.count(|request| request.op == Op::RestoreObject), 0);
}

#[test]
fn a_wait_that_is_interrupted_ends_with_a_line() {
    let rig = rig();
    let waiting = restore(&rig, &["--wait", &format!("s3://{BUCKET}/d/cold.fits")]).spawn().unwrap();
    // Asked about again: it waits.
    rig.lab.wait_for(3, |request| request.op == Op::HeadObject && request.done);
    rustix::process::kill_process(rustix::process::Pid::from_child(&waiting), rustix::process::Signal::INT).unwrap();
    let ended = waiting.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(1), "{}", text(&ended));
    assert!(text(&ended).contains("interrupted; 1 file is still being restored"), "{}", text(&ended));
}

/// Regression: a file of which only a size was known, by its URL or in a list, was told to be in no archive.
#[test]
fn what_no_listing_has_told_of_is_asked_about() {
    let url = format!("s3://{BUCKET}/d/cold.fits");
    for is_listed in [false, true] {
        let rig = rig();
        let list = rig.outside().join("list.csv");
        fs::write(&list, format!("url,size\n{url},{MIB}\n")).unwrap();
        let source = if is_listed { list.to_str().unwrap() } else { &url };
        let mounted = rig.mount_command(source).output().unwrap();
        assert!(mounted.status.success(), "{}", text(&mounted));
        assert_eq!(fs::metadata(rig.path("cold.fits")).unwrap().len(), MIB);
        assert_eq!(attribute(&rig, "cold.fits").as_deref(), Some("archived"), "{source}");
        assert_eq!(attribute_of(&rig, "cold.fits", "storage_class").as_deref(), Some("DEEP_ARCHIVE"), "{source}");
        assert!(attribute_of(&rig, "cold.fits", "etag").is_some(), "{source}");
    }
}

/// Regression: of a file that is mounted by its URL as it was, the version of today was restored.
#[test]
fn the_version_of_a_file_as_it_was_is_told() {
    let rig = rig();
    rig.lab.keep_versions(BUCKET);
    let written = |seconds: u64| UNIX_EPOCH + Duration::from_secs(1_600_000_000 + seconds);
    rig.lab.put_at(BUCKET, "d/old.fits", pattern(MIB, 7), written(0));
    rig.lab.put_at(BUCKET, "d/old.fits", pattern(MIB, 8), written(60));
    let version_in = |source: &str, path: &str| {
        let mounted = rig.mount_command(source).args(["--at", "2020-09-13T12:26:50Z"]).output().unwrap();
        assert!(mounted.status.success(), "{}", text(&mounted));
        let version = attribute_of(&rig, path, "version");
        assert!(fitsfs(&["unmount", rig.root_str()]).status.success());
        version
    };
    let in_folder = version_in(&format!("s3://{BUCKET}/d/"), "old.fits");
    assert!(in_folder.is_some());
    assert_eq!(version_in(&format!("s3://{BUCKET}/d/old.fits"), "old.fits"), in_folder);
}

/// Regression: what is in a compressed file is in no store of its own, and was refused as that of another endpoint.
#[test]
fn what_is_in_an_archived_gzip_file_is_restored_with_it() {
    let rig = rig();
    rig.lab.put(BUCKET, "gz/x.fits.gz", pattern(MIB, 5));
    rig.lab.set_storage_class(BUCKET, "gz/x.fits.gz", "GLACIER");
    rig.mount(&["--gunzip"]);
    assert_eq!(names(&rig.path("gz")).unwrap().len(), 2);
    for (place, state) in [("gz", "restoring"), ("gz/x.fits", "restoring")] {
        let ordered = restore(&rig, &[rig.path(place).to_str().unwrap()]).output().unwrap();
        assert!(ordered.status.success(), "{place}: {}", text(&ordered));
        assert_eq!(states(&ordered), [("x.fits.gz".to_owned(), state.to_owned())], "{place}");
        assert_eq!(lines(&ordered).len(), 1, "it is one object: {}", text(&ordered));
    }
    assert_eq!(rig.lab.count(|request| request.op == Op::RestoreObject), 1);
}
