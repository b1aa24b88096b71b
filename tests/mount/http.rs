//! A mount of a web server: bytes, names and what is told of it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use tempfile::TempDir;

use crate::support::{NO_CACHE, PROGRAM, fits, fitsfs, pattern_at, sha256, text};
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

/// Regression: it was taken for a folder, which had nothing in it.
#[test]
fn a_url_without_a_slash_is_a_file_or_a_folder_as_the_server_says() {
    for location in ["autoindex on; autoindex_format json;", "autoindex on;", "autoindex off;"] {
        let Some((server, bytes)) = filled(location) else { return };
        server.folder.write("d/plain", &bytes[..1000]).unwrap();
        let (one, plain) = (format!("{}/d/sub/a%20b.fits", server.url()), format!("{}/d/plain", server.url()));
        let mount = Mount::of(&one);
        assert_eq!(names(&mount, ""), ["a b.fits"], "{location}");
        assert_eq!(fs::metadata(mount.path("a b.fits")).unwrap().len(), SIZE as u64);
        assert_eq!(sha256(File::open(mount.path("a b.fits")).unwrap()), sha256(&bytes[..]));
        assert!(File::open(mount.path("other.fits")).is_err());
        let told = text(&fitsfs(&["url", mount.path("a b.fits").to_str().unwrap()]));
        assert_eq!(told.trim(), one);
        let path = text(&fitsfs(&["path", told.trim()]));
        assert!(path.lines().any(|line| line == mount.path("a b.fits").to_str().unwrap()), "{path}");
        assert!(text(&fitsfs(&["check", &one])).contains("the first 2880 bytes of"), "{location}");
        let mount = Mount::of(&plain);
        assert_eq!(names(&mount, ""), ["plain"], "{location}");
        assert_eq!(fs::read(mount.path("plain")).unwrap(), &bytes[..1000]);
        let path = text(&fitsfs(&["path", &plain]));
        assert!(path.lines().any(|line| line == mount.path("plain").to_str().unwrap()), "{path}");
        if location != "autoindex off;" {
            // The server redirects to the same with a slash.
            assert_eq!(names(&Mount::of(&format!("{}/d/sub", server.url())), ""), ["a b.fits"], "{location}");
        }
    }
}

/// Regression: the two ways to name a file by its URL differed.
#[test]
fn a_file_is_mounted_by_the_url_that_its_layout_is_shown_by() {
    let Some((server, _)) = filled("autoindex on;") else { return };
    server.folder.write("d/x.fits", &fits(&[("SIMPLE  = T", 100)])).unwrap();
    let url = format!("{}/d/x.fits", server.url());
    let layout = fitsfs(&["layout", &url]);
    assert!(layout.status.success() && text(&layout).contains("PRIMARY"), "{}", text(&layout));
    let mount = Mount::of(&url);
    let here = fitsfs(&["layout", mount.path("x.fits").to_str().unwrap()]);
    assert_eq!(text(&here), text(&layout));
}

/// A server that answers the same with a slash at the end and without it. It ends with the test program.
fn careless_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| drop(answer_carelessly(stream))));
    url
}

fn answer_carelessly(mut stream: TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().unwrap_or(Ok(String::new()))?;
    let head: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let (method, path) = first.split_once(' ').unwrap_or_default();
    let index = b"<a href=\"/data/x.fits\">x.fits</a>".to_vec();
    let (kind, body) = match path.split(' ').next().unwrap_or_default().trim_end_matches('/') {
        "/data" => ("text/html", index),
        "/data/x.fits" | "/data/plain" => ("application/octet-stream", pattern_at(3, 0, 1000)),
        _ => return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
    };
    let range = head.iter().find_map(|line| line.to_ascii_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
    let range = range.as_deref().and_then(|range| range.split_once('-')).filter(|_| method == "GET");
    let total = body.len();
    let (status, part, told) = match range {
        Some((first, last)) => {
            let (first, last) = (first.parse().unwrap_or(0), last.parse().unwrap_or(total).min(total - 1));
            ("206 Partial Content", first..last + 1, format!("Content-Range: bytes {first}-{last}/{total}\r\n"))
        }
        None => ("200 OK", 0..total, String::new()),
    };
    let date = "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nDate: Mon, 07 Nov 1994 00:00:00 GMT";
    let length = part.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{date}\r\n{told}Content-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    if method == "HEAD" { Ok(()) } else { stream.write_all(&body[part]) }
}

/// Without a redirection only what is there tells a folder from a file.
#[test]
fn an_index_without_a_redirection_is_a_folder_and_a_file_with_a_slash_is_none() {
    let url = careless_server();
    for (path, name) in [("/data", "x.fits"), ("/data/x.fits", "x.fits"), ("/data/plain", "plain")] {
        let mount = Mount::of(&format!("{url}{path}"));
        assert_eq!(names(&mount, ""), [name], "{path}");
        assert_eq!(fs::read(mount.path(name)).unwrap(), pattern_at(3, 0, 1000), "{path}");
    }
}
