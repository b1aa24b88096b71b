//! Which mount a path is in, found without touching a mount whose daemon may be gone.

use std::path::{Component, Path, PathBuf};

use crate::mount::mountinfo::Mount;
use crate::mount::point;

/// A path without symbolic links above its last component, and the mount of fitsfs that it is in. `mounts` are all
/// mounts, whatever their type.
pub fn of(path: &Path, mounts: &[Mount]) -> Result<(PathBuf, PathBuf), String> {
    let absolute = std::path::absolute(path).map_err(|error| format!("{}: {error}", path.display()))?;
    // What lies in a mount as it is written is not looked at yet.
    let lies_there = mount_of(&absolute, mounts).is_some() && !absolute.components().any(|c| c == Component::ParentDir);
    let place = if lies_there { absolute } else { point::resolve(path)? };
    match mount_of(&place, mounts) {
        Some(mount) => Ok((place, mount.mountpoint.clone())),
        None => Err(format!(
            "{} is not in a mount of fitsfs: mount its bucket with fitsfs mount; fitsfs status lists what is mounted",
            path.display()
        )),
    }
}

/// The innermost mount that a path is in, the last one that was made there, if it is ours.
fn mount_of<'a>(path: &Path, mounts: &'a [Mount]) -> Option<&'a Mount> {
    let around = mounts.iter().filter(|mount| path.starts_with(&mount.mountpoint));
    around.max_by_key(|mount| mount.mountpoint.components().count()).filter(|mount| mount.is_fitsfs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(mountpoint: &str, fstype: &str) -> Mount {
        Mount { mountpoint: mountpoint.into(), minor: 0, fstype: fstype.into(), source: String::new() }
    }

    #[test]
    fn the_innermost_mount_counts() {
        let ours = crate::mount::mountinfo::FSTYPE;
        let mounts = [mount("/", "ext4"), mount("/x-m", ours), mount("/x-m/t", "tmpfs"), mount("/x-m/t/n", ours)];
        let found = |path: &str| of(Path::new(path), &mounts).map(|(_, mount)| mount.display().to_string());
        assert_eq!(found("/x-m/a/b.fits").as_deref(), Ok("/x-m"));
        assert_eq!(found("/x-m").as_deref(), Ok("/x-m"));
        assert_eq!(found("/x-m/t/n/a").as_deref(), Ok("/x-m/t/n"));
        for outside in ["/x-m/t/a", "/x-mm", "/x-n/a"] {
            assert!(found(outside).unwrap_err().contains("fitsfs mount"), "{outside}");
        }
    }
}
