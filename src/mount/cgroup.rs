//! How much memory the control group of this process allows: `cgroups(7)`, version 2 and version 1.

use std::path::{Path, PathBuf};

/// Where the hierarchies are mounted by convention.
const ROOT: &str = "/sys/fs/cgroup";

/// The smallest memory limit of this process's control group and those above it, in bytes; none without a limit.
pub fn memory_limit() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    limit_files(&groups)
        .iter()
        .filter_map(|file| std::fs::read_to_string(file).ok()?.trim().parse::<u64>().ok())
        .filter(|limit| *limit < UNLIMITED)
        .min()
}

/// How much memory this process takes, in bytes: `statm` of `proc_pid_statm(5)`, resident pages. 0 where it cannot be told.
pub fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or_default();
    pages * rustix::param::page_size() as u64
}

/// Version 1 writes "no limit" as the largest multiple of a page in a signed number; no machine has half as much.
const UNLIMITED: u64 = i64::MAX as u64 / 2;

/// The files that hold the limits, from `/proc/self/cgroup`: lines of `hierarchy:controllers:path`.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else { continue };
        let (root, file) = match controllers {
            "" => (PathBuf::from(ROOT), "memory.max"),
            list if list.split(',').any(|name| name == "memory") => {
                (Path::new(ROOT).join("memory"), "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let leaf = root.join(path.trim_start_matches('/'));
        files.extend(leaf.ancestors().take_while(|folder| folder.starts_with(&root)).map(|folder| folder.join(file)));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_takes_memory() {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        let told = line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10;
        // Other tests run beside this one.
        assert!((told / 2..told * 2).contains(&resident()), "{} and {told}", resident());
    }

    #[test]
    fn limits_stand_in_the_group_and_above_it() {
        let files = limit_files("4:memory:/a/b\n3:cpu,cpuacct:/x\n0::/c\n");
        let expected = [
            "/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/c/memory.max",
            "/sys/fs/cgroup/memory.max",
        ];
        assert_eq!(files, expected.map(PathBuf::from));
    }
}
