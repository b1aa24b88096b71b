//! `mount.fitsfs SOURCE MOUNTPOINT [-o OPTIONS]`, as mount(8) calls it for /etc/fstab, in the terms of `fitsfs mount`.
//!
//! mount(8) runs `mount.fitsfs` for the type `fitsfs` and `mount.fuse.fitsfs` for `fuse.fitsfs`; the `mount.fuse3` of
//! libfuse runs `fitsfs SOURCE MOUNTPOINT -o OPTIONS` where neither exists.

use std::ffi::{OsStr, OsString};
use std::path::Path;

/// Options of mount(8) that are not for us, or say what is so anyway. It says `rw` wherever nobody has said `ro`.
const IGNORED: [&str; 23] = [
    "defaults",
    "ro",
    "rw",
    "auto",
    "noauto",
    "user",
    "nouser",
    "users",
    "owner",
    "nofail",
    "_netdev",
    "dev",
    "nodev",
    "suid",
    "nosuid",
    "exec",
    "noexec",
    "atime",
    "noatime",
    "relatime",
    "async",
    "nodiratime",
    "fsname",
];

/// Our options that stand alone, and those with a value. In /etc/fstab `_` and `-` mean the same.
const FLAGS: [&str; 7] =
    ["allow-other", "offline", "no-sign-request", "requester-pays", "path-style", "virtual-host-style", "read-only"];
const VALUES: [&str; 11] = [
    "cache-dir",
    "cache-size",
    "endpoint-url",
    "region",
    "profile",
    "memory",
    "metadata-ttl",
    "uid",
    "gid",
    "umask",
    "log",
];

/// The arguments of `fitsfs`, translated if mount(8) has called.
pub fn translate(arguments: Vec<OsString>) -> Result<Vec<OsString>, String> {
    let program = arguments.first().map(|program| Path::new(program).file_name().unwrap_or_default().to_owned());
    let called_as_helper = program.as_deref().is_some_and(|name| name == "mount.fitsfs" || name == "mount.fuse.fitsfs");
    let called_by_libfuse =
        arguments.get(1).is_some_and(|first| first.as_encoded_bytes().windows(3).any(|w| w == b"://"))
            && arguments.iter().any(|argument| argument == "-o");
    if !called_as_helper && !called_by_libfuse {
        return Ok(arguments);
    }
    let mut translated = vec![OsString::from("fitsfs"), OsString::from("mount")];
    let mut rest = arguments.into_iter().skip(1);
    while let Some(argument) = rest.next() {
        match argument.to_str() {
            Some("-o") => translated.extend(options(&rest.next().unwrap_or_default())?),
            Some("-s" | "-f" | "-n" | "-v" | "-w" | "-r") => {}
            Some("-t") => drop(rest.next()),
            _ => translated.push(argument),
        }
    }
    Ok(translated)
}

fn options(list: &OsStr) -> Result<Vec<OsString>, String> {
    let list = list.to_str().ok_or("the mount options are not UTF-8")?;
    list.split(',')
        .filter(|option| !option.is_empty())
        .filter_map(|option| translate_option(option).transpose())
        .collect()
}

fn translate_option(option: &str) -> Result<Option<OsString>, String> {
    let (name, value) = option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)));
    let ours = name.replace('_', "-");
    match value {
        None if FLAGS.contains(&ours.as_str()) => Ok(Some(format!("--{ours}").into())),
        Some(value) if VALUES.contains(&ours.as_str()) => Ok(Some(format!("--{ours}={value}").into())),
        _ if IGNORED.contains(&name) || name.starts_with("x-") || name.starts_with("comment") => Ok(None),
        _ => Err(format!("unknown mount option {name}; known: {}, {}", FLAGS.join(", "), VALUES.join("=, "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(arguments: &[&str]) -> Result<Vec<String>, String> {
        let arguments = arguments.iter().map(OsString::from).collect();
        translate(arguments).map(|list| list.into_iter().map(|a| a.into_string().unwrap()).collect())
    }

    #[test]
    fn fstab_lines_become_mount_commands() {
        let expected = ["fitsfs", "mount", "s3://b/p", "/mnt", "--allow-other", "--endpoint-url=http://h:1"];
        let options = "rw,_netdev,nofail,allow_other,endpoint_url=http://h:1,x-systemd.automount";
        assert_eq!(translated(&["/sbin/mount.fitsfs", "s3://b/p", "/mnt", "-o", options]).unwrap(), expected);
        assert_eq!(translated(&["mount.fuse.fitsfs", "s3://b/p", "/mnt", "-n", "-o", options]).unwrap(), expected);
        assert_eq!(translated(&["fitsfs", "s3://b/p", "/mnt", "-o", options]).unwrap(), expected);
    }

    #[test]
    fn our_own_command_line_is_left_alone() {
        let own = ["fitsfs", "mount", "s3://b/p", "/mnt"];
        assert_eq!(translated(&own).unwrap(), own);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        assert!(translated(&["mount.fitsfs", "s3://b", "/mnt", "-o", "secret=x"]).unwrap_err().contains("secret"));
    }
}
