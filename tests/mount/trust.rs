//! What other users can do to a mount: neither forge what it reads, nor keep it waiting.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{BUCKET, PROGRAM, Rig, eventually, forget_pages, text};

static CONTENT: [u8; 100_000] = [7; 100_000];

fn rig() -> Rig {
    Rig::unmounted(|lab| drop(lab.put(BUCKET, "d/a.fits", CONTENT.to_vec())))
}

fn files_below(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.map(|path| if path.is_dir() { files_below(&path) } else { 1 }).sum()
}

#[test]
fn a_cache_below_a_folder_that_others_can_write_is_refused() {
    let rig = rig();
    let open = rig.outside().join("open");
    fs::create_dir_all(open.join("mine")).expect("make folders");
    fs::set_permissions(&open, Permissions::from_mode(0o777)).expect("let others in");
    let cache = open.join("mine/cache");
    let output = rig.try_mount(&["--cache-dir", cache.to_str().expect("UTF-8")]);
    assert!(!output.status.success() && text(&output).contains("which can be written by others"), "{}", text(&output));
}

#[test]
fn a_cache_that_is_swapped_under_a_mount_is_not_the_one_it_reads() {
    let rig = rig();
    let (above, aside) = (rig.outside().join("above"), rig.outside().join("aside"));
    let cache = above.join("cache");
    fs::create_dir(&above).expect("make a folder");
    rig.mount(&["--cache-dir", cache.to_str().expect("UTF-8")]);
    assert_eq!(fs::read(rig.path("d/a.fits")).expect("it can be read"), CONTENT);
    eventually("it is on disk", || rig.status()["disk_bytes_written"].as_u64() >= Some(CONTENT.len() as u64));
    fs::rename(&above, &aside).expect("swap");
    fs::create_dir_all(&cache).expect("put another one there");
    rig.lab.put(BUCKET, "d/b.fits", CONTENT.to_vec());
    forget_pages(&rig.open("d/a.fits"));
    rig.lab.clear_log();
    assert_eq!(fs::read(rig.path("d/a.fits")).expect("it can be read"), CONTENT);
    assert_eq!(fs::read(rig.path("d/b.fits")).expect("it can be read"), CONTENT);
    rig.settle();
    assert_eq!(files_below(&cache), 0, "nothing is written where others may have put something");
}

#[test]
fn a_pipe_in_the_place_of_a_cached_file_keeps_nobody() {
    let rig = rig();
    let cache = rig.outside().join("cache");
    let options = ["--cache-dir", cache.to_str().expect("UTF-8")];
    rig.mount(&options);
    assert_eq!(fs::read(rig.path("d/a.fits")).expect("it can be read"), CONTENT);
    assert!(Command::new(PROGRAM).args(["unmount", rig.root_str()]).status().expect("run fitsfs").success());
    let maps = Command::new("find").arg(&cache).args(["-type", "f"]).output().expect("run find");
    let files: Vec<_> = text(&maps).lines().map(str::to_owned).collect();
    assert!(files.iter().any(|file| file.ends_with(".map")), "{files:?}");
    for file in &files {
        fs::remove_file(file).expect("remove it");
        assert!(Command::new("mkfifo").arg(file).status().expect("run mkfifo").success());
    }
    let began = Instant::now();
    rig.mount(&options);
    assert_eq!(fs::read(rig.path("d/a.fits")).expect("it can be read"), CONTENT);
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

/// Where there is no XDG_RUNTIME_DIR, sockets are in a folder in /tmp, which anyone can make first.
#[test]
fn a_folder_for_sockets_that_another_user_made_first_hangs_nothing() {
    const USER: u32 = 54321;
    let rig = rig();
    let folder = Path::new("/tmp").join(format!("fitsfs-{USER}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).expect("make it first");
    fs::set_permissions(&folder, Permissions::from_mode(0o755)).expect("let the user in");
    fs::set_permissions(rig.outside(), Permissions::from_mode(0o755)).expect("let the user in");
    let mountpoint = rig.outside().join("theirs");
    fs::create_dir(&mountpoint).expect("make a mountpoint");
    chown(&mountpoint, Some(USER), Some(USER)).expect("give it to the user");
    let socket = folder.join(fitsfs::control::name_of(&mountpoint)).with_extension("sock");
    let listener = UnixListener::bind(&socket).expect("listen");
    fs::set_permissions(&socket, Permissions::from_mode(0o777)).expect("let the user connect");
    rustix::net::listen(&listener, 0).expect("take one and no more");
    let _first = UnixStream::connect(&socket).expect("be that one");
    let mut mount = Command::new(PROGRAM);
    mount.args(["mount", &format!("s3://{BUCKET}"), mountpoint.to_str().expect("UTF-8"), "--foreground"]);
    mount.args(["--no-sign-request", "--cache-size", "0", "--endpoint-url", &rig.lab.endpoint()]);
    mount.env_remove("XDG_RUNTIME_DIR").env("HOME", rig.outside()).current_dir("/").uid(USER).gid(USER);
    let mut mount = mount.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("run fitsfs");
    // It may mount, or not be allowed to: in either case it asks the store first, and waits for nobody who listens there.
    let began = Instant::now();
    let goes_on = || !rig.lab.requests().is_empty();
    while !goes_on() && mount.try_wait().expect("ask for it").is_none() && began.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let (went_on, ended) = (goes_on(), mount.try_wait().expect("ask for it"));
    let _ = mount.kill();
    let _ = mount.wait();
    let _ = fs::remove_dir_all(&folder);
    assert!(went_on, "it waits for another user, or has ended before: {ended:?}");
}
