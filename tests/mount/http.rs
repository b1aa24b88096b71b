//! A mount of a web server: bytes, names and what is told of it.

use std::fs::{self, File};
use std::process::Command;

use tempfile::TempDir;

use crate::support::{NO_CACHE, PROGRAM, fitsfs, pattern_at, sha256, text};
use crate::web_server::{Server, nginx};

const SIZE: usize = 5_000_000;

/// A mount that ends with the test.
struct Mount(TempDir);

impl Mount {
    fn of(source: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let mut command = Command::new(PROGRAM);
        command.args(["mount", source]).arg(dir.path().join("mnt")).args(NO_CACHE);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        Self(dir)
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join("mnt").join(name)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new(PROGRAM).arg("unmount").arg(self.path("")).output();
    }
}

fn filled(location: &str) -> Option<(Server, Vec<u8>)> {
    let server = nginx("", location)?;
    let bytes = pattern_at(1, 0, SIZE);
    server.folder.write("d/sub/a b.fits", &bytes).unwrap();
    server.folder.write("d/empty", b"").unwrap();
    server.folder.write("secret.fits", &bytes).unwrap();
    Some((server, bytes))
}

fn names(mount: &Mount, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(mount.path(folder)).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn files_of_a_web_server_have_its_bytes() {
    // With sizes, with links only, and without ranges.
    for location in ["autoindex on; autoindex_format json;", "autoindex on;", "autoindex on; max_ranges 0;"] {
        let Some((server, bytes)) = filled(location) else { return };
        let mount = Mount::of(&format!("{}/d/", server.url()));
        assert_eq!(
            (names(&mount, ""), names(&mount, "sub")),
            (vec!["empty".into(), "sub".into()], vec!["a b.fits".into()])
        );
        assert_eq!(fs::metadata(mount.path("sub/a b.fits")).unwrap().len(), SIZE as u64, "{location}");
        assert_eq!(sha256(File::open(mount.path("sub/a b.fits")).unwrap()), sha256(&bytes[..]), "{location}");
        assert_eq!(fs::read(mount.path("empty")).unwrap(), b"");
        // What is beside the folder, what the server would decode once more, and what would be a query.
        for name in ["../secret.fits", "none", "sub/a%20b.fits", "sub/a b.fits?x=y"] {
            assert!(File::open(mount.path(name)).is_err(), "{name}");
        }
    }
}

#[test]
fn a_url_with_a_query_is_mounted_as_its_file() {
    let Some((server, bytes)) = filled("autoindex on;") else { return };
    let mount = Mount::of(&format!("{}/d/sub/a%20b.fits?uri=mast:HST/product/x_drc.fits&sig=hunter2", server.url()));
    assert_eq!(names(&mount, ""), ["a b.fits"]);
    assert_eq!(sha256(File::open(mount.path("a b.fits")).unwrap()), sha256(&bytes[..]));
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let status = text(&fitsfs(&["status", mount.path("").to_str().unwrap(), "--json"]));
    assert!(!mounts.contains("hunter2") && !status.contains("hunter2"), "{status}");
}

#[test]
fn a_check_says_what_the_server_can() {
    for (location, index, versions) in [
        ("autoindex on; autoindex_format json;", "JSON, with exact sizes", "ranges work"),
        ("autoindex on; max_ranges 0;", "HTML: each file listed costs a HEAD", "the server ignores ranges"),
    ] {
        let Some((server, _)) = filled(location) else { return };
        let told = text(&fitsfs(&["check", &format!("{}/d/", server.url())]));
        assert!(told.contains(index) && told.contains(versions), "{told}");
    }
}
