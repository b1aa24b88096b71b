//! The command line on real mounts: what users and scripts rely on besides the bytes.

#[path = "mount/support.rs"]
#[allow(dead_code, reason = "shared with the tests of mounts")]
mod support;

use support::{Rig, fitsfs, text};

/// The line of the mount table for a mountpoint.
fn mount_entry(rig: &Rig) -> Option<String> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").expect("a mount table");
    table.lines().find(|line| line.split(' ').nth(4) == Some(rig.root_str())).map(str::to_owned)
}

/// The type tells our mounts from others': without it nothing is found, healed or unmounted.
#[test]
fn a_mount_has_our_type_and_is_found_and_taken_away_by_it() {
    let rig = Rig::new(|lab| drop(lab.put(support::BUCKET, "a.fits", "x")));
    let entry = mount_entry(&rig).expect("a mount");
    assert!(entry.contains(" - fuse.fitsfs s3://archive "), "{entry}");
    assert!(text(&fitsfs(&["status", "--json"])).contains(rig.root_str()));
    let unmounted = fitsfs(&["unmount", rig.root_str()]);
    assert!(unmounted.status.success(), "{}", text(&unmounted));
    assert_eq!(mount_entry(&rig), None);
}
