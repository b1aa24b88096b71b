//! Mounts come up, are told apart, and go away.

use std::fs;

use crate::support::*;

#[test]
fn the_mount_table_names_the_type_and_the_source() {
    let rig = Rig::new(|_| ());
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = table.lines().find(|line| line.contains(rig.root_str())).expect("the mount is in the table");
    assert!(line.contains(" - fuse.fitsfs s3://archive "), "{line}");
    let output = fitsfs(&["unmount", rig.root_str()]);
    assert!(output.status.success(), "{}", text(&output));
    assert!(!rig.is_mounted());
}
