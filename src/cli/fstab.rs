//! `mount.fitsfs SOURCE MOUNTPOINT [-o OPTIONS]`, as mount(8) calls it for /etc/fstab, in the terms of `fitsfs mount`.
//!
//! mount(8) runs `mount.fitsfs` for the type `fitsfs` and `mount.fuse.fitsfs` for `fuse.fitsfs`; the `mount.fuse3` of
//! libfuse runs `fitsfs SOURCE MOUNTPOINT -o OPTIONS` where neither exists.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use clap::{Arg, Args, Command};

use super::args::MountArgs;
use crate::{config, manifest, presets};

/// Options of mount(8) that are not for us, or say what is so anyway. It adds `rw` unless `ro` is given.
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

/// The arguments of `fitsfs`, translated if mount(8) has called.
pub fn translate(arguments: Vec<OsString>) -> Result<Vec<OsString>, String> {
    let program = arguments.first().map(|program| Path::new(program).file_name().unwrap_or_default().to_owned());
    let called_as_helper = program.as_deref().is_some_and(|name| name == "mount.fitsfs" || name == "mount.fuse.fitsfs");
    let called_by_libfuse = arguments.get(1).and_then(|first| first.to_str()).is_some_and(is_source)
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

/// Whether a word is a source, and not a command of `fitsfs`.
fn is_source(word: &str) -> bool {
    word.contains("://")
        || presets::named(word).is_some()
        || manifest::is_named(word)
        || config::is_file_of_sources(word)
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
    let long = name.replace('_', "-");
    let all = options_of_mount();
    match (all.iter().find(|ours| ours.long == long), value) {
        (Some(Ours { takes_value: false, .. }), None) => Ok(Some(format!("--{long}").into())),
        (Some(Ours { takes_value: true, .. }), Some(value)) => Ok(Some(format!("--{long}={value}").into())),
        (Some(Ours { takes_value: false, .. }), Some(_)) => Err(format!("the mount option {name} takes no value")),
        (Some(Ours { takes_value: true, .. }), None) => {
            Err(format!("the mount option {name} needs a value: {name}=..."))
        }
        (None, _) if IGNORED.contains(&name) || name.starts_with("x-") || name.starts_with("comment") => Ok(None),
        (None, _) => Err(format!("unknown mount option {name}; known: {}", known(&all))),
    }
}

/// An option of `fitsfs mount`.
struct Ours {
    /// Its name without the dashes before it.
    long: String,
    takes_value: bool,
}

/// The options of `fitsfs mount`, as they are declared there. In /etc/fstab `_` and `-` mean the same.
fn options_of_mount() -> Vec<Ours> {
    let command = MountArgs::augment_args(Command::new("mount"));
    // What is hidden the program tells itself.
    let shown = command.get_arguments().filter(|argument| !argument.is_hide_set());
    let ours = |argument: &Arg| {
        let long = argument.get_long()?.to_owned();
        Some(Ours { long, takes_value: argument.get_action().takes_values() })
    };
    shown.filter_map(ours).collect()
}

fn known(all: &[Ours]) -> String {
    let shown = |ours: &Ours| ours.long.replace('-', "_") + if ours.takes_value { "=" } else { "" };
    all.iter().map(shown).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use clap::parser::ValueSource;

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
        for source in ["mast", "/etc/fitsfs/sources.toml", "/data/products.csv"] {
            let expected = ["fitsfs", "mount", source, "/mnt", "--offline"];
            assert_eq!(translated(&["fitsfs", source, "/mnt", "-o", "ro,offline"]).unwrap(), expected);
        }
    }

    #[test]
    fn our_own_command_line_is_left_alone() {
        let own = ["fitsfs", "mount", "s3://b/p", "/mnt"];
        assert_eq!(translated(&own).unwrap(), own);
    }

    /// Each alone, as some exclude others, with a value that it takes.
    #[test]
    fn every_option_of_mount_is_one_of_fstab() {
        let mount = || MountArgs::augment_args(Command::new("mount"));
        let mut checked = 0;
        for argument in mount().get_arguments().filter(|argument| !argument.is_hide_set()) {
            let Some(long) = argument.get_long() else { continue };
            let values: &[&str] = if argument.get_action().takes_values() {
                &["=7", "=60s", "=/d", "=http://h", "={a}", "=2020-01-31"]
            } else {
                &[""]
            };
            for name in [long.to_owned(), long.replace('-', "_")] {
                let is_given = |value: &&str| {
                    let line = ["mount.fitsfs", "s3://b", "/mnt", "-o", &format!("ro,{name}{value}")];
                    let command_line = translated(&line).unwrap();
                    let matches = mount().try_get_matches_from(&command_line[1..]);
                    matches.is_ok_and(|m| m.value_source(argument.get_id().as_str()) == Some(ValueSource::CommandLine))
                };
                assert!(values.iter().any(is_given), "{name} in /etc/fstab does not become --{long}");
                checked += 1;
            }
            assert!(!IGNORED.contains(&long), "{long} is a word of mount(8) as well");
        }
        assert!(checked >= 2 * 18, "{checked} options: they are looked for in the wrong place");
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let refused = |option: &str| translated(&["mount.fitsfs", "s3://b", "/mnt", "-o", option]).unwrap_err();
        assert!(refused("offline=1").contains("offline takes no value"));
        assert!(refused("cache_dir").contains("cache_dir needs a value"));
        assert!(refused("log_file=/x").contains("unknown"), "it is hidden");
        assert!(refused("rubbish").contains("cache_shared, ") && refused("rubbish").contains("cache_dir=, "));
        assert!(translated(&["mount.fitsfs", "s3://b", "/mnt", "-o", "secret=x"]).unwrap_err().contains("secret"));
    }
}
