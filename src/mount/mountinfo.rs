//! The mounts of this process, as `/proc/self/mountinfo` has them (`proc_pid_mountinfo(5)`). Reading it never touches
//! a mounted filesystem, and so never hangs.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The type that the kernel shows for our mounts.
pub const FSTYPE: &str = "fuse.fitsfs";

/// A mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where it is.
    pub mountpoint: PathBuf,
    /// The minor number of its device, which is the number of its FUSE connection.
    pub minor: u32,
    /// The type of the filesystem.
    pub fstype: String,
    /// What is mounted.
    pub source: String,
}

impl Mount {
    /// Whether it is one of ours.
    pub fn is_fitsfs(&self) -> bool {
        self.fstype == FSTYPE
    }
}

/// All mounts, in the order in which they were made.
pub fn mounts() -> io::Result<Vec<Mount>> {
    Ok(parse(&std::fs::read("/proc/self/mountinfo")?))
}

/// The mount that is visible at a path: the last one made there.
pub fn mount_at(mountpoint: &Path) -> io::Result<Option<Mount>> {
    Ok(mounts()?.into_iter().rfind(|mount| mount.mountpoint == mountpoint))
}

fn parse(text: &[u8]) -> Vec<Mount> {
    text.split(|byte| *byte == b'\n').filter_map(parse_line).collect()
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`
fn parse_line(line: &[u8]) -> Option<Mount> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let separator = fields.iter().position(|field| *field == b"-")?;
    let text = |field: &[u8]| String::from_utf8_lossy(&unescape(field)).into_owned();
    Some(Mount {
        mountpoint: PathBuf::from(OsString::from_vec(unescape(fields.get(4)?))),
        minor: text(fields.get(2)?).split_once(':')?.1.parse().ok()?,
        fstype: text(fields.get(separator + 1)?),
        source: text(fields.get(separator + 2)?),
    })
}

/// Spaces, tabs, newlines and backslashes are written as `\` and three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        let code = match rest {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] => {
                Some((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'))
            }
            _ => None,
        };
        plain.push(code.unwrap_or(*first));
        rest = if code.is_some() { &rest[4..] } else { tail };
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_optional_fields_and_escapes() {
        let text = b"36 35 98:0 / /mnt\\040two rw,noatime shared:1 master:2 - fuse.fitsfs s3://b/p rw\n\
                     37 35 0:4 / /proc rw - proc proc rw\nnonsense\n";
        let mounts = parse(text);
        assert_eq!(mounts.len(), 2);
        assert_eq!(mounts[0].mountpoint, Path::new("/mnt two"));
        assert!(mounts[0].is_fitsfs() && !mounts[1].is_fitsfs());
        assert_eq!((&*mounts[0].source, mounts[1].minor), ("s3://b/p", 4));
    }
}
