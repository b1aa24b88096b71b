//! Mounts of files of sources: each source by its own endpoint, with credentials of its own.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use fitsfs_lab::Lab;

use crate::support::*;

const PAGE: &str = include_str!("../../docs/sources.md");

/// A server that lets in one key only, with a bucket.
fn private(id: &str, bucket: &str, files: &[&str]) -> Lab {
    let lab = Lab::builder().credentials(id, "secret of it").start().unwrap();
    lab.create_bucket(bucket);
    for (seed, file) in files.iter().enumerate() {
        lab.put(bucket, file, pattern(5000, seed as u64));
    }
    lab
}

/// `fitsfs` with a profile for one server, and with variables for another and for none of them.
fn run(rig: &Rig, arguments: &[&str]) -> Output {
    let profiles = rig.outside().join("credentials");
    let secrets = "[observatory]\naws_access_key_id = AKIDOBSERVATORY\naws_secret_access_key = secret of it\n";
    fs::write(&profiles, secrets).unwrap();
    let mut command = Command::new(PROGRAM);
    command.args(arguments).env("AWS_SHARED_CREDENTIALS_FILE", &profiles).env("AWS_CONFIG_FILE", "/dev/null");
    command.env("CALIBRATION_AWS_ACCESS_KEY_ID", "AKIDCALIBRATION");
    command.env("CALIBRATION_AWS_SECRET_ACCESS_KEY", "secret of it");
    command.env("AWS_ACCESS_KEY_ID", "AKIDOFNOBODY").env("AWS_SECRET_ACCESS_KEY", "hunter2");
    command.env("AWS_EC2_METADATA_DISABLED", "true");
    command.output().unwrap()
}

fn write(rig: &Rig, text: &str) -> String {
    let path = rig.outside().join("sources.toml");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn mount(rig: &Rig, file: &str) -> Output {
    run(rig, &["mount", file, rig.root_str(), "--cache-size", "0"])
}

fn sorted(path: &Path) -> Vec<String> {
    let mut names = names(path).unwrap();
    names.sort();
    names
}

/// The example of the documentation, with servers in the place of those that it names.
#[test]
fn the_documented_file_mounts_each_source_with_its_own_endpoint_and_credentials() {
    let rig = Rig::unmounted(|lab| {
        lab.create_bucket("stpubdata");
        lab.put("stpubdata", "hst/public/j8pu/x.fits", pattern(100, 9));
    });
    let observatory = private("AKIDOBSERVATORY", "reduced", &["2026/night1/a.fits", "2025/b.fits"]);
    let calibration = private("AKIDCALIBRATION", "calibration", &["bias.fits", "flat.fits"]);
    let example = PAGE.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let mut toml = example.to_owned();
    for (url, lab) in [
        ("https://s3.observatory.example", &observatory),
        ("https://minio.example.org:9000", &calibration),
        ("https://mirror.example.org", &rig.lab),
    ] {
        assert!(toml.contains(url), "{url} is not in the example");
        toml = toml.replace(url, &lab.endpoint());
    }
    let file = write(&rig, &toml);
    fs::write(
        rig.outside().join("products.csv"),
        "obs_id,uri,productFilename,size\no1,s3://stpubdata/hst/y.fits,y.fits,2880\n",
    )
    .unwrap();
    let output = mount(&rig, &file);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(sorted(&rig.root), ["calibration", "mast", "night1", "query"]);
    assert_eq!(fs::read(rig.path("night1/a.fits")).unwrap(), pattern_at(0, 0, 5000));
    assert_eq!(fs::read(rig.path("calibration/flat.fits")).unwrap(), pattern_at(1, 0, 5000));
    assert_eq!(fs::read(rig.path("mast/hst/public/j8pu/x.fits")).unwrap(), pattern_at(9, 0, 100));
    assert_eq!(fs::metadata(rig.path("query/o1/y.fits")).unwrap().len(), 2880);
    // Each server has seen its own key alone.
    for (lab, status) in [(&observatory, 200..300), (&calibration, 200..300)] {
        assert!(lab.count(|request| !status.contains(&request.status)) == 0, "{:#?}", lab.requests());
    }
    let url = "s3://calibration/flat.fits";
    let path = fitsfs(&["path", url]);
    assert_eq!(text(&path).trim(), rig.path("calibration/flat.fits").to_str().unwrap());
    let checked = run(&rig, &["check", &file]);
    let report = text(&checked);
    for source in ["s3://reduced/2026/", "s3://calibration", "s3://stpubdata", "products.csv"] {
        assert!(report.contains(source), "{report}");
    }
    assert!(report.contains("key id ...TORY") && report.contains("1 files"), "{report}");
}

/// What a line of the command says of all sources, a source may say otherwise.
#[test]
fn a_source_of_a_file_goes_before_the_command_line() {
    let rig = Rig::unmounted(|lab| drop(lab.put(BUCKET, "a", pattern(10, 1))));
    let calibration = private("AKIDCALIBRATION", "calibration", &["flat.fits"]);
    let toml = format!(
        "[[sources]]\nurl = \"s3://{BUCKET}\"\n\n[[sources]]\nurl = \"s3://calibration\"\nname = \"cal\"\n\
         endpoint-url = \"{}\"\nenv-prefix = \"CALIBRATION_\"\n",
        calibration.endpoint()
    );
    let file = write(&rig, &toml);
    let endpoint = rig.lab.endpoint();
    let options = ["--endpoint-url", &endpoint, "--no-sign-request", "--cache-size", "0"];
    let output = run(&rig, &[&["mount", &file, rig.root_str()], &options[..]].concat());
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(sorted(&rig.root), ["a", "cal"]);
    assert_eq!(fs::read(rig.path("cal/flat.fits")).unwrap(), pattern_at(0, 0, 5000));
}

/// One line, with the file and the line in it, and no secret.
#[test]
fn a_file_with_a_mistake_is_refused_in_one_line() {
    let rig = Rig::unmounted(|_| {});
    let source = "[[sources]]\nurl = \"s3://archive\"\n";
    for (toml, line, what) in [
        ("url = \"s3://archive", 1, "no TOML"),
        (&format!("{source}regoin = \"x\"\n"), 3, "did you mean region?"),
        (&format!("{source}secret-access-key = \"hunter2\"\n"), 3, "env-prefix"),
        (&format!("{source}path-style = \"hunter2\"\n"), 3, "true or false"),
        (&format!("{source}endpoint-url = \"http://me:hunter2@h\"\n"), 1, "must not hold credentials"),
        (&format!("{source}\n{source}env-prefix = \"NOWHERE_\"\n"), 4, "NOWHERE_AWS_ACCESS_KEY_ID is not set"),
        ("[[sources]]\npreset = \"most\"\n", 2, "fitsfs presets"),
        ("[[sources]]\nurl = \"az://acc/con\"\nenv-prefix = \"NOWHERE_\"\n", 1, "prefix NOWHERE_"),
    ] {
        let file = write(&rig, toml);
        for command in [&["mount", &file, rig.root_str()][..], &["check", &file]] {
            let output = run(&rig, command);
            let told = text(&output);
            assert!(!output.status.success() && told.contains(&format!("{file}, line {line}: ")), "{toml}: {told}");
            assert!(told.contains(what) && !told.contains("hunter2"), "{toml}: {told}");
            assert!(command[0] == "check" || told.trim().lines().count() == 1, "{told}");
        }
    }
    for (file, what) in [("/nowhere/sources.toml", "No such file"), ("at=/nowhere/x.toml", "No such file")] {
        let told = text(&mount(&rig, file));
        assert!(told.contains(file) && told.contains(what) && told.trim().lines().count() == 1, "{told}");
    }
}

/// Of the stores of a list some may need no variables.
#[test]
fn the_variables_of_a_list_are_those_of_the_stores_that_have_some() {
    let rig = Rig::unmounted(|_| {});
    let calibration = private("AKIDCALIBRATION", "calibration", &["flat.fits"]);
    let list = "url\ns3://calibration/flat.fits\nhttps://archive.example.org/x.fits\n";
    fs::write(rig.outside().join("products.csv"), list).unwrap();
    let endpoint = calibration.endpoint();
    let toml =
        format!("[[sources]]\nlist = \"products.csv\"\nendpoint-url = \"{endpoint}\"\nenv-prefix = \"CALIBRATION_\"\n");
    let output = mount(&rig, &write(&rig, &toml));
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(fs::read(rig.path("flat.fits")).unwrap(), pattern_at(0, 0, 5000));
}

/// As mount(8) calls it for a line of /etc/fstab.
#[test]
fn a_file_of_sources_is_a_device_of_fstab() {
    let rig = Rig::unmounted(|lab| drop(lab.put(BUCKET, "a", pattern(10, 1))));
    let endpoint = rig.lab.endpoint();
    let file = write(&rig, &format!("[[sources]]\nurl = \"s3://{BUCKET}\"\nendpoint-url = \"{endpoint}\"\n"));
    let output = fitsfs(&[&file, rig.root_str(), "-o", "ro,_netdev,no_sign_request,cache_size=0"]);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(sorted(&rig.root), ["a"]);
}

/// Regression: an archive was asked with the credentials of the environment, and in the region of the user's own buckets.
#[test]
fn a_check_asks_a_public_archive_as_its_mount_does() {
    let rig = Rig::unmounted(|_| {});
    let archive = private("AKIDOBSERVATORY", "stpubdata", &["x.fits"]);
    archive.public("stpubdata");
    let endpoint = archive.endpoint();
    let output = run(&rig, &["check", "mast", "--endpoint-url", &endpoint]);
    assert!(text(&output).contains("the first 1 keys") || text(&output).contains("ok    listing"), "{}", text(&output));
    assert_eq!(archive.count(|request| request.status == 403), 0, "{:#?}", archive.requests());
}
