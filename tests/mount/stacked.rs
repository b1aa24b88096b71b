//! A mount beside other file systems: what lies over it, what is copied out of it, and a log that cannot be written.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::Command;

use crate::support::*;

const SIZE: u64 = 3 * MIB + 5;

fn rig() -> Rig {
    Rig::with(&["--metadata-ttl", "0s"], |lab| drop(lab.put(BUCKET, "d/a.fits", pattern(SIZE, 1))))
}

/// An overlay of a mount, with an empty folder as the other layer.
struct Overlay(PathBuf);

impl Overlay {
    fn of(rig: &Rig) -> Option<Self> {
        let (place, other) = (rig.outside().join("overlay"), rig.outside().join("other"));
        [&place, &other].iter().for_each(|folder| fs::create_dir_all(folder).unwrap());
        let layers = format!("lowerdir={}:{}", other.display(), rig.root_str());
        let mut mount = Command::new("mount");
        let output = mount.args(["-t", "overlay", "overlay", "-o", &layers]).arg(&place).output().unwrap();
        if !output.status.success() {
            fitsfs_lab::untested("this process may not mount an overlay");
        }
        output.status.success().then_some(Self(place))
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

/// What docs/semantics.md says of overlays.
#[test]
fn a_replaced_object_is_stale_in_an_overlay_until_that_is_mounted_anew() {
    let rig = rig();
    let Some(overlay) = Overlay::of(&rig) else { return };
    let path = overlay.0.join("d/a.fits");
    assert_eq!(sha256(File::open(&path).unwrap()), sha256_of_pattern(1, SIZE));
    rig.lab.put(BUCKET, "d/a.fits", pattern(SIZE + 1, 2));
    assert_eq!(sha256(rig.open("d/a.fits")), sha256_of_pattern(2, SIZE + 1));
    assert_eq!(fs::metadata(&path).unwrap_err().raw_os_error(), Some(libc::ESTALE));
    drop(overlay);
    let overlay = Overlay::of(&rig).unwrap();
    assert_eq!(sha256(File::open(overlay.0.join("d/a.fits")).unwrap()), sha256_of_pattern(2, SIZE + 1));
}

/// What docs/semantics.md says of copies by the kernel.
#[test]
fn copies_by_the_kernel_to_another_file_system_are_refused_and_programs_copy_themselves() {
    let rig = rig();
    let (from, copy) = (rig.open("d/a.fits"), rig.outside().join("copy"));
    let to = File::create(&copy).unwrap();
    let (here, there) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: both descriptors are open; without offsets nothing is written to this process.
    let copied = unsafe { libc::copy_file_range(from.as_raw_fd(), here, to.as_raw_fd(), there, 1000, 0) };
    assert_eq!((copied, std::io::Error::last_os_error().raw_os_error()), (-1, Some(libc::EXDEV)));
    assert_eq!(fs::copy(rig.path("d/a.fits"), &copy).unwrap(), SIZE);
    assert_eq!(sha256(File::open(&copy).unwrap()), sha256_of_pattern(1, SIZE));
}

#[test]
fn a_log_that_cannot_be_written_hides_no_reason_and_no_file() {
    let rig = Rig::unmounted(|lab| drop(lab.put(BUCKET, "d/a.fits", pattern(SIZE, 1))));
    fs::create_dir_all(rig.log_file().parent().unwrap()).unwrap();
    std::os::unix::fs::symlink("/dev/full", rig.log_file()).unwrap();
    rig.lab.fault(fitsfs_lab::Fault::new(fitsfs_lab::Kind::internal_error()).times(2));
    let refused = rig.mount_command("s3://no-such-bucket").output().unwrap();
    let told = text(&refused);
    assert!(!refused.status.success() && told.starts_with("fitsfs: cannot mount s3://no-such-bucket: "), "{told}");
    rig.mount(&["--log", "debug"]);
    assert_eq!(sha256(rig.open("d/a.fits")), sha256_of_pattern(1, SIZE));
}
