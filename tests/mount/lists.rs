//! Mounts of lists of products.

use std::fs;
use std::path::Path;
use std::process::Output;

use fitsfs_lab::Op;

use crate::support::*;

fn mount(rig: &Rig, name: &str, list: &str, options: &[&str]) -> Output {
    let path = rig.outside().join(name);
    fs::write(&path, list).unwrap();
    let endpoint = rig.lab.endpoint();
    let arguments = ["mount", path.to_str().unwrap(), rig.root_str(), "--endpoint-url", &endpoint, "--no-sign-request"];
    let cache: &[&str] = if options.contains(&"--cache-dir") { &[] } else { &["--cache-size", "0"] };
    fitsfs(&[&arguments[..], cache, options].concat())
}

fn names(path: &Path) -> Vec<String> {
    let names = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

#[test]
fn the_products_of_a_query_are_a_tree() {
    let rig = Rig::unmounted(|lab| {
        lab.put(BUCKET, "hst/a/a_drc.fits", pattern(3 * MIB, 1));
        lab.put(BUCKET, "hst/b/b_drc.fits", pattern(5000, 2));
        lab.put(BUCKET, "other", pattern(10, 3));
    });
    let list = "obs_id,uri,productFilename,size\n\
                a,s3://archive/hst/a/a_drc.fits,a_drc.fits,3145728\n\
                b,s3://archive/hst/b/b_drc.fits,b_drc.fits,\n\
                c,s3://archive/hst/c/gone.fits,gone.fits,100\n";
    let output = mount(&rig, "products.csv", list, &["--layout", "{obs_id}/{productFilename}"]);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(
        (names(&rig.root), names(&rig.path("a"))),
        (vec!["a".into(), "b".into(), "c".into()], vec!["a_drc.fits".into()])
    );
    assert_eq!(fs::metadata(rig.path("a/a_drc.fits")).unwrap().len(), 3 * MIB);
    assert_eq!(rig.lab.requests().len(), 0, "the list says all of it");
    assert_eq!(fs::metadata(rig.path("b/b_drc.fits")).unwrap().len(), 5000, "the store says it");
    assert_eq!(sha256(rig.open("a/a_drc.fits")), sha256_of_pattern(1, 3 * MIB));
    assert_eq!(sha256(rig.open("b/b_drc.fits")), sha256_of_pattern(2, 5000));
    assert_eq!(fs::read(rig.path("c/gone.fits")).unwrap_err().raw_os_error(), Some(libc::ENOENT));
    assert!(!rig.path("other").exists());
    assert_eq!(rig.lab.count(|request| request.op.is_list()), 0, "no permission to list is needed");
    let url = fitsfs(&["url", rig.path("a/a_drc.fits").to_str().unwrap()]);
    assert_eq!(text(&url).trim(), "s3://archive/hst/a/a_drc.fits");
}

/// The list is a claim. What the store says counts before a byte is read.
#[test]
fn sizes_that_are_wrong_change_no_byte() {
    ["60s", "0s"].into_iter().for_each(check_wrong_sizes);
}

fn check_wrong_sizes(ttl: &str) {
    let rig = Rig::unmounted(|lab| {
        lab.put(BUCKET, "long.fits", pattern(2 * MIB, 1));
        lab.put(BUCKET, "short.fits", pattern(100, 2));
    });
    let list = "url,size\ns3://archive/long.fits,10\ns3://archive/short.fits,999999\n";
    assert!(mount(&rig, "list.csv", list, &["--metadata-ttl", ttl]).status.success());
    let listed: Vec<_> =
        fs::read_dir(&rig.root).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).collect();
    assert_eq!(listed.iter().sum::<u64>(), 10 + 999_999, "as listed");
    for (name, seed, size) in [("long.fits", 1, 2 * MIB), ("short.fits", 2, 100)] {
        let file = rig.open(name);
        assert_eq!(file.metadata().unwrap().len(), size);
        assert_eq!(sha256(file), sha256_of_pattern(seed, size));
        assert_eq!(fs::metadata(rig.path(name)).unwrap().len(), size, "it is known now");
    }
}

/// Regression: which version a head was of was not remembered.
#[test]
fn files_of_a_list_that_were_read_are_there_offline() {
    let rig = Rig::unmounted(|lab| drop(lab.put(BUCKET, "d/x.fits", pattern(2 * MIB, 1))));
    let cache = rig.outside().join("cache").to_str().unwrap().to_owned();
    let options = ["--cache-dir", &cache, "--cache-size", "1GiB"];
    assert!(mount(&rig, "list.txt", "s3://archive/d/x.fits\n", &options).status.success());
    assert_eq!(sha256(rig.open("x.fits")), sha256_of_pattern(1, 2 * MIB));
    assert!(fitsfs(&["unmount", rig.root_str()]).status.success());
    rig.lab.clear_log();
    let output = mount(&rig, "list.txt", "s3://archive/d/x.fits\n", &[&options[..], &["--offline"]].concat());
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(sha256(rig.open("x.fits")), sha256_of_pattern(1, 2 * MIB));
    assert!(rig.lab.requests().is_empty());
}

/// A file costs the round of its head, as a file of a bucket does.
#[test]
fn a_file_of_a_list_is_opened_in_one_round() {
    let rig = Rig::unmounted(|lab| {
        drop(lab.put(BUCKET, "d/x.fits", fits(&[("SIMPLE  = T", 100), ("XTENSION= 'IMAGE   '", 50_000)])))
    });
    assert!(mount(&rig, "list.txt", "s3://archive/d/x.fits\n", &[]).status.success());
    rig.settle();
    read_at(&rig.open("x.fits"), 0, 2880).unwrap();
    rig.rest();
    let asked = |op: Op| rig.lab.count(|request| request.op == op);
    assert_eq!((asked(Op::HeadObject), rig.lists()), (0, 0), "{:#?}", rig.lab.requests());
    assert!(rig.gets().0 <= 2, "{:#?}", rig.lab.requests());
}

#[test]
fn rows_that_cannot_be_used_are_told_and_hide_no_other() {
    let rig = Rig::unmounted(|lab| drop(lab.put(BUCKET, "x", pattern(10, 1))));
    let list = "url,filename\ns3://archive/x,x\nfile:///etc/shadow,shadow\ns3://archive/x,../../etc/x\nhttp://169.254.169.254/latest,meta\n";
    let output = mount(&rig, "list.csv", list, &[]);
    assert!(output.status.success() && text(&output).contains("3 rows"), "{}", text(&output));
    assert_eq!(names(&rig.root), ["x"]);
    assert!(fitsfs(&["unmount", rig.root_str()]).status.success());
    for (list, reason) in [("a,b\n1,2\n", "no column has URLs"), ("url\nfile:///etc/shadow\n", "no row names a file")] {
        let output = mount(&rig, "list.csv", list, &[]);
        assert!(!output.status.success() && text(&output).contains(reason), "{}", text(&output));
        assert_eq!(text(&output).trim().lines().count(), 1, "{}", text(&output));
    }
    let output = fitsfs(&["mount", "/nowhere/list.csv", rig.root_str()]);
    assert!(text(&output).contains("/nowhere/list.csv"), "{}", text(&output));
}

#[test]
fn a_list_names_local_files_if_the_command_line_lets_it() {
    let rig = Rig::unmounted(|lab| {
        lab.put(BUCKET, "a.fits", pattern(5000, 1));
    });
    let local = rig.outside().join("b.fits");
    let bytes = vec![7; 7000];
    fs::write(&local, &bytes).unwrap();
    let list = format!("url\ns3://archive/a.fits\nfile://{}\n", local.display());
    let refused = mount(&rig, "products.csv", &list, &[]);
    assert!(refused.status.success() && text(&refused).contains("--local-lists"), "{}", text(&refused));
    assert_eq!(names(&rig.root), ["a.fits"]);
    assert!(fitsfs(&["unmount", rig.root_str()]).status.success());
    let allowed = mount(&rig, "products.csv", &list, &["--local-lists"]);
    assert!(allowed.status.success(), "{}", text(&allowed));
    assert_eq!(names(&rig.root), ["a.fits", "b.fits"]);
    assert_eq!(fs::read(rig.path("b.fits")).unwrap(), bytes);
}

#[test]
fn a_list_of_a_hundred_thousand_products_is_mounted_and_listed() {
    use std::fmt::Write;
    let rig = Rig::unmounted(|_| {});
    let mut list = "obs_id,url,size\n".to_owned();
    for n in 0..100_000 {
        writeln!(list, "o{:03},s3://archive/d/{n:06}.fits,{n}", n % 100).unwrap();
    }
    let output = mount(&rig, "list.csv", &list, &["--layout", "{obs_id}/{size}.fits"]);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!((names(&rig.root).len(), names(&rig.path("o007")).len()), (100, 1000));
    assert_eq!(fs::metadata(rig.path("o007/99907.fits")).unwrap().len(), 99_907);
    assert!(rig.lab.requests().is_empty());
}
