//! Mounts of local folders, and of several sources.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use fitsfs_lab::{Fault, Kind};
use tempfile::TempDir;

use crate::support::*;

/// A folder with these files, each with its own path as its bytes.
fn folder(files: &[&str]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for file in files {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("local {file}")).unwrap();
    }
    folder
}

fn url(folder: &TempDir) -> String {
    format!("file://{}", folder.path().canonicalize().unwrap().display())
}

/// Mounts the bucket of the rig and more.
fn mount(rig: &Rig, more: &[&str], options: &[&str]) -> Output {
    let arguments = ["mount", "s3://archive"].iter().chain(more).copied().chain([rig.root_str()]);
    let endpoint = rig.lab.endpoint();
    let reach = ["--endpoint-url", &endpoint, "--no-sign-request", "--cache-size", "0"];
    fitsfs(&arguments.chain(reach).chain(options.iter().copied()).collect::<Vec<_>>())
}

fn names(path: &Path) -> BTreeSet<String> {
    fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_local_folder_reads_as_it_is() {
    let rig = Rig::unmounted(|_| {});
    let folder = folder(&["d/a.fits", "b"]);
    let large = pattern_at(7, 0, 9_000_000);
    fs::write(folder.path().join("d/large.fits"), &large).unwrap();
    let output = fitsfs(&["mount", &url(&folder), rig.root_str(), "--cache-size", "0"]);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!((names(&rig.root), names(&rig.path("d"))), (set(&["b", "d"]), set(&["a.fits", "large.fits"])));
    assert_eq!(sha256(rig.open("d/large.fits")), sha256(&large[..]));
    assert_eq!(fs::read(rig.path("b")).unwrap(), b"local b");
    let modified = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    assert_eq!(modified(&rig.path("b")), modified(&folder.path().join("b")));
}

/// A folder that is used today is mounted over itself, and its programs change nothing.
#[test]
fn a_folder_can_be_mounted_over_itself_but_not_within() {
    let rig = Rig::unmounted(|_| {});
    fs::create_dir_all(rig.path("d/below")).unwrap();
    fs::write(rig.path("d/a.fits"), "bytes").unwrap();
    let source = format!("file://{}", rig.root_str());
    let below = rig.path("d/below");
    let refused = fitsfs(&["mount", &source, below.to_str().unwrap(), "--cache-size", "0"]);
    assert!(!refused.status.success() && text(&refused).contains("mount elsewhere"), "{}", text(&refused));
    let output = fitsfs(&["mount", &source, rig.root_str(), "--cache-size", "0"]);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(fs::read(rig.path("d/a.fits")).unwrap(), b"bytes");
    assert_eq!(names(&rig.path("d")), set(&["a.fits", "below"]));
    assert!(fs::write(rig.path("d/a.fits"), "other").is_err(), "it is the mount");
}

#[test]
fn of_several_sources_the_first_wins_and_one_with_a_name_is_there() {
    let rig = Rig::unmounted(|lab| {
        lab.put(BUCKET, "both", pattern(1000, 1));
        lab.put(BUCKET, "d/bucket.fits", pattern(5 * MIB, 2));
    });
    let folder = folder(&["both", "d/local.fits", "e/x"]);
    let placed = format!("far/away={}", url(&folder));
    let output = mount(&rig, &[&url(&folder), &placed], &[]);
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains(&format!(" and {placed} are mounted")), "{}", text(&output));
    assert_eq!(names(&rig.root), set(&["both", "d", "e", "far"]));
    assert_eq!(names(&rig.path("d")), set(&["bucket.fits", "local.fits"]));
    assert_eq!(fs::read(rig.path("both")).unwrap(), pattern_at(1, 0, 1000));
    assert_eq!(sha256(rig.open("d/bucket.fits")), sha256_of_pattern(2, 5 * MIB));
    assert_eq!(fs::read(rig.path("d/local.fits")).unwrap(), b"local d/local.fits");
    assert_eq!(fs::read(rig.path("far/away/both")).unwrap(), b"local both");
    assert_eq!(names(&rig.path("far")), set(&["away"]));
    let sources = rig.status()["sources"].as_array().unwrap().len();
    assert_eq!((sources, rig.status()["failing_sources"].as_array().unwrap().len()), (3, 0));
}

/// Another file in the place of one that cannot be reached would be wrong data.
#[test]
fn where_a_source_is_down_no_other_takes_its_place() {
    let rig = Rig::unmounted(|lab| {
        lab.put(BUCKET, "a", pattern(1000, 1));
        lab.put(BUCKET, "late", pattern(1000, 2));
    });
    let folder = folder(&["late", "local"]);
    let output = mount(&rig, &[&url(&folder)], &["--metadata-ttl", "0s"]);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(fs::read(rig.path("local")).unwrap(), b"local local");
    rig.lab.fault(Fault::new(Kind::DropConnection));
    for name in ["late", "local"] {
        let failed = fs::read(rig.path(name)).unwrap_err();
        assert_eq!(failed.raw_os_error(), Some(libc::EIO), "{name}: {failed}");
    }
    assert_eq!(names(&rig.root), set(&["late", "local"]), "what the others have");
    let status = rig.status();
    assert_eq!(status["failing_sources"][0]["source"], "s3://archive", "{status:#}");
    rig.lab.clear_faults();
    assert_eq!(fs::read(rig.path("late")).unwrap(), pattern_at(2, 0, 1000));
    assert_eq!(fs::read(rig.path("local")).unwrap(), b"local local");
    assert!(rig.status()["failing_sources"].as_array().unwrap().is_empty());
}

/// What a preset says of its bucket is not what the environment says of others.
#[test]
fn public_archives_are_mounted_by_name() {
    let rig = Rig::unmounted(|lab| {
        lab.create_bucket("stpubdata");
        lab.put("stpubdata", "hst/public/j8pu/x.fits", pattern(100, 1));
    });
    let mount = |places: &[&str]| {
        let endpoint = rig.lab.endpoint();
        let mut command = Command::new(PROGRAM);
        command.arg("mount").args(places).args([rig.root_str(), "--endpoint-url", &endpoint, "--cache-size", "0"]);
        command.env("S3_ENDPOINT_URL", "http://127.0.0.1:1").env("AWS_REGION", "nowhere-1");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
    };
    let url = "s3://stpubdata/hst/public/j8pu/x.fits";
    for (places, path) in [(&["mast"][..], "hst/public/j8pu/x.fits"), (&["hst", "jwst"], "hst/j8pu/x.fits")] {
        rig.lab.put("stpubdata", "jwst/public/y.fits", pattern(100, 2));
        mount(places);
        assert_eq!(fs::read(rig.path(path)).unwrap(), pattern_at(1, 0, 100));
        let told = fitsfs(&["url", rig.path(path).to_str().unwrap()]);
        assert_eq!(text(&told).trim(), url);
        assert!(text(&fitsfs(&["path", url])).lines().any(|line| Path::new(line) == rig.path(path)));
        assert!(fitsfs(&["unmount", rig.root_str()]).status.success());
    }
    assert!(!fitsfs(&["path", "s3://elsewhere/x"]).status.success());
    assert!(!fitsfs(&["url", "/etc/passwd"]).status.success());
    assert!(text(&fitsfs(&["presets"])).contains("s3://nasa-irsa-spitzer"));
}

/// MAST's names of products say where these may be.
#[test]
fn a_product_of_mast_is_found_by_its_name() {
    let keys = [
        "hst/public/j8pu/j8pu0y010/j8pu0y010_drc.fits",
        "hst/public/ibg7/ibg705080/ibg705081_drz.fits",
        "jwst/public/jw02733/jw02733002001/jw02733002001_02101_00001_mirimage_cal.fits",
        "jwst/public/jw02727/L3/t/o002/jw02727-o002_t062_nircam_clear-f277w_i2d.fits",
        "mast/hlsp/tglc/s0014/x.fits",
    ];
    let rig = Rig::unmounted(|lab| {
        lab.create_bucket("stpubdata");
        lab.put_many("stpubdata", keys.iter().map(|key| (*key).to_owned()), pattern(100, 1));
    });
    let endpoint = rig.lab.endpoint();
    let places = ["mount", "mast", "own=s3://stpubdata/hst", rig.root_str(), "--endpoint-url", &endpoint];
    let path = |uri: &str| text(&fitsfs(&["path", uri])).trim().to_owned();
    let output = fitsfs(&[&places[..], &["--no-sign-request", "--cache-size", "0"]].concat());
    assert!(output.status.success(), "{}", text(&output));
    let below = |folder: &str| rig.path(folder).to_str().unwrap().to_owned();
    let uris = [
        "mast:HST/product/j8pu0y010_drc.fits",
        "mast:HST/product/ibg705081_drz.fits",
        "mast:JWST/product/jw02733002001_02101_00001_mirimage_cal.fits",
        "mast:JWST/product/jw02727-o002_t062_nircam_clear-f277w_i2d.fits",
        "mast:HLSP/tglc/s0014/x.fits",
    ];
    for (uri, key) in uris.iter().zip(keys) {
        let mut expected = vec![below(&format!("mast/{key}"))];
        expected.extend(key.strip_prefix("hst/").map(|key| below(&format!("own/{key}"))));
        // Other tests have mounts as well.
        let told = path(uri);
        let here: Vec<_> = told.lines().filter(|path| Path::new(path).starts_with(&rig.root)).collect();
        assert_eq!(here, expected, "{uri}: {told}");
    }
    for (uri, told) in [
        ("mast:HST/product/j8pu0y020_drc.fits", "is not where MAST's bucket has such files"),
        ("mast:GALEX/url/data/x.fits", "mount it by itself"),
    ] {
        assert!(path(uri).contains(told) && path(uri).lines().count() == 1, "{}", path(uri));
    }
}

/// Regression: what was listed while a source was down was read from the next one, without a look-up.
#[test]
fn what_was_listed_while_a_source_was_down_is_looked_up() {
    let rig = Rig::unmounted(|lab| {
        lab.put(BUCKET, "d/late", pattern(1000, 2));
        lab.put(BUCKET, "e/x", pattern(10, 3));
    });
    let folder = folder(&["d/late", "d/local"]);
    assert!(mount(&rig, &[&url(&folder)], &[]).status.success());
    rig.lab.fault(Fault::new(Kind::DropConnection));
    // With attributes, as `ls -l` does.
    let listed: Vec<_> = fs::read_dir(rig.path("d")).unwrap().map(|entry| entry.unwrap()).collect();
    assert_eq!(listed.len(), 2);
    listed.iter().for_each(|entry| drop(entry.metadata()));
    assert_eq!(fs::read(rig.path("d/late")).unwrap_err().raw_os_error(), Some(libc::EIO));
    rig.lab.clear_faults();
    assert_eq!(fs::read(rig.path("d/late")).unwrap(), pattern_at(2, 0, 1000));
    assert_eq!(fs::read(rig.path("d/local")).unwrap(), b"local d/local");
}

/// Regression: an empty file of one source was looked for in the others.
#[test]
fn empty_files_of_every_source_open() {
    let rig = Rig::unmounted(|lab| drop(lab.put(BUCKET, "of-bucket", pattern(0, 1))));
    let (one, two) = (folder(&[]), folder(&[]));
    fs::write(one.path().join("of-one"), "").unwrap();
    fs::write(two.path().join("of-two"), "").unwrap();
    assert!(mount(&rig, &[&url(&one), &url(&two)], &[]).status.success());
    for name in ["of-bucket", "of-one", "of-two"] {
        assert_eq!(fs::read(rig.path(name)).unwrap(), b"", "{name}");
    }
}

#[test]
fn a_source_that_cannot_be_opened_is_named() {
    let rig = Rig::unmounted(|_| {});
    let output = mount(&rig, &["file:///nowhere/at/all"], &[]);
    assert!(!output.status.success());
    assert!(text(&output).contains("file:///nowhere/at/all") && text(&output).contains("folder"), "{}", text(&output));
    assert_eq!(text(&output).trim().lines().count(), 1, "{}", text(&output));
    let output = mount(&rig, &["..=file:///tmp"], &[]);
    assert!(!output.status.success() && text(&output).contains("NAME=URL"), "{}", text(&output));
}

/// Regression: it was a folder with nothing in it.
#[test]
fn an_object_is_mounted_as_one_file() {
    for deny_list in [false, true] {
        let rig = Rig::unmounted(|lab| {
            lab.put(BUCKET, "d/x.fits", pattern(5000, 1));
            lab.put(BUCKET, "d/y", pattern(10, 2));
        });
        if deny_list {
            rig.lab.deny_list(BUCKET);
        }
        let output = rig.mount_command(&format!("s3://{BUCKET}/d/x.fits")).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        assert!(!text(&output).contains(';'), "nothing is odd about it: {}", text(&output));
        assert_eq!(names(&rig.root), set(&["x.fits"]));
        assert_eq!(fs::read(rig.path("x.fits")).unwrap(), pattern_at(1, 0, 5000));
        assert!(!rig.path("y").exists());
        let url = format!("s3://{BUCKET}/d/x.fits");
        assert!(text(&fitsfs(&["path", &url])).lines().any(|line| Path::new(line) == rig.path("x.fits")));
        assert_eq!(text(&fitsfs(&["url", rig.path("x.fits").to_str().unwrap()])).trim(), url);
    }
}

/// A file is found again without the network.
#[test]
fn one_file_is_there_offline() {
    let rig = Rig::unmounted(|lab| drop(lab.put(BUCKET, "d/x.fits", pattern(5000, 1))));
    let cache = rig.outside().join("cache").to_str().unwrap().to_owned();
    let endpoint = rig.lab.endpoint();
    let source = format!("s3://{BUCKET}/d/x.fits");
    let command = ["mount", &source, rig.root_str(), "--endpoint-url", &endpoint, "--no-sign-request"];
    let cached = ["--cache-dir", &cache];
    assert!(fitsfs(&[&command[..], &cached].concat()).status.success());
    assert_eq!(fs::read(rig.path("x.fits")).unwrap(), pattern_at(1, 0, 5000));
    assert!(fitsfs(&["unmount", rig.root_str()]).status.success());
    rig.lab.clear_log();
    let output = fitsfs(&[&command[..], &cached, &["--offline"]].concat());
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(fs::read(rig.path("x.fits")).unwrap(), pattern_at(1, 0, 5000));
    assert!(rig.lab.requests().is_empty(), "{:#?}", rig.lab.requests());
}
