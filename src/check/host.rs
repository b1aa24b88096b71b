//! Whether this machine can mount: the FUSE device, the helper that mounts for users, and its configuration.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::Check;

/// What the judgement needs to know of the machine.
#[derive(Debug)]
pub(super) struct Facts {
    root: bool,
    device: io::Result<()>,
    helper: Option<String>,
    allow_other: bool,
}

impl Facts {
    pub(super) fn gather() -> Self {
        let root = rustix::process::geteuid().as_raw() == 0;
        Self {
            root,
            device: File::options().read(true).write(true).open("/dev/fuse").map(drop),
            helper: find_helper(&std::env::var("PATH").unwrap_or_default()),
            allow_other: fs::read_to_string("/etc/fuse.conf").is_ok_and(|text| allows_other(&text)),
        }
    }
}

pub(super) fn checks(facts: &Facts) -> Vec<Check> {
    let mut checks = vec![device(&facts.device)];
    // Root mounts by itself and may let others in; other users need the helper and its permission.
    if !facts.root {
        checks.push(helper(facts.helper.as_deref()));
        checks.push(allow_other(facts.allow_other));
    }
    checks
}

fn device(opened: &io::Result<()>) -> Check {
    const NAME: &str = "/dev/fuse";
    match opened.as_ref().map_err(io::Error::kind) {
        Ok(()) => Check::ok(NAME, "can be opened"),
        Err(io::ErrorKind::NotFound) => {
            Check::fail(NAME, "does not exist", "modprobe fuse; in a container add --device /dev/fuse")
        }
        Err(io::ErrorKind::PermissionDenied) => {
            let remedy = "chmod 666 /dev/fuse; in a container add --device /dev/fuse --cap-add SYS_ADMIN";
            Check::fail(NAME, "exists, but may not be opened", remedy)
        }
        Err(other) => Check::fail(NAME, format!("cannot be opened: {other}"), "load the fuse module of the kernel"),
    }
}

fn helper(found: Option<&str>) -> Check {
    const NAME: &str = "fusermount3";
    match found {
        Some(path) => Check::ok(NAME, path),
        None => Check::fail(NAME, "not on the PATH; only root can mount without it", "install the package fuse3"),
    }
}

fn allow_other(allowed: bool) -> Check {
    const NAME: &str = "allow_other";
    if allowed {
        Check::ok(NAME, "allowed by /etc/fuse.conf")
    } else {
        let remedy = "add the line user_allow_other to /etc/fuse.conf if other users shall read the mount";
        Check::warn(NAME, "--allow-other is not allowed to users", remedy)
    }
}

fn find_helper(path: &str) -> Option<String> {
    let candidates = path.split(':').filter(|dir| !dir.is_empty()).map(|dir| Path::new(dir).join("fusermount3"));
    candidates.into_iter().find(|file| file.is_file()).map(|file| file.display().to_string())
}

/// fuse.conf(5): one option a line, `#` begins a comment.
fn allows_other(conf: &str) -> bool {
    conf.lines().any(|line| line.split('#').next().unwrap_or_default().trim() == "user_allow_other")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Outcome;

    fn outcomes(facts: &Facts) -> Vec<(&'static str, Outcome)> {
        checks(facts).iter().map(|check| (check.name, check.outcome)).collect()
    }

    #[test]
    fn root_needs_the_device_only() {
        let facts = Facts { root: true, device: Ok(()), helper: None, allow_other: false };
        assert_eq!(outcomes(&facts), [("/dev/fuse", Outcome::Ok)]);
    }

    #[test]
    fn users_need_the_helper_and_may_miss_allow_other() {
        let device = Err(io::ErrorKind::PermissionDenied.into());
        let facts = Facts { root: false, device, helper: None, allow_other: false };
        assert_eq!(
            outcomes(&facts),
            [("/dev/fuse", Outcome::Fail), ("fusermount3", Outcome::Fail), ("allow_other", Outcome::Warn)]
        );
    }

    #[test]
    fn fuse_conf_counts_without_its_comments() {
        assert!(allows_other("# options\n user_allow_other # yes\n"));
        assert!(!allows_other("#user_allow_other\nmount_max = 10\n"));
    }
}
