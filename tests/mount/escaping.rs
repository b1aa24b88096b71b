//! Keys may hold anything; what steers a terminal or forges a line of a log is shown escaped.

use std::fs;
use std::process::Command;

use fitsfs_lab::{Fault, Kind, Lab, Op};

use crate::support::{BUCKET, PROGRAM, Rig, eventually, fitsfs, text};

const KEY: &str = "d/a\n2026-01-01T00:00:00Z ERROR forged\x1b]0;title\x07\u{9b}2J.fits";

fn harmful(text: &str) -> Option<char> {
    text.chars().find(|c| c.is_control() && *c != '\n')
}

#[test]
fn keys_forge_no_lines_of_the_log_and_steer_no_terminal() {
    let rig = Rig::of_lab(Lab::builder(), |lab| drop(lab.put(BUCKET, KEY, "bytes")));
    let cache = rig.outside().join("cache");
    rig.mount(&["--log", "debug", "--cache-dir", cache.to_str().expect("UTF-8")]);
    rig.lab.fault(Fault::new(Kind::access_denied()).on(Op::GetObject));
    fs::read(rig.path(KEY)).expect_err("it may not be read");
    eventually("the log tells of it", || fs::read_to_string(rig.log_file()).expect("a log").contains("forged"));
    let log = fs::read_to_string(rig.log_file()).expect("a log");
    assert_eq!(harmful(&log), None, "{log}");
    assert_eq!(log.lines().find(|line| line.contains("forged") && !line.contains("\\n")), None);
    let path = rig.path(KEY);
    let warmed = text(&fitsfs(&["warm", path.to_str().expect("UTF-8")]));
    assert!(warmed.contains("forged") && harmful(&warmed).is_none(), "{warmed:?}");
    rig.lab.clear_faults();
    fs::read(&path).expect("it can be read");
    for command in [&["cache", "list", "--cache-dir"][..], &["cache", "verify", "--cache-dir"], &["layout"]] {
        let place = if command[0] == "layout" { &path } else { &cache };
        let shown = text(&Command::new(PROGRAM).args(command).arg(place).output().expect("run fitsfs"));
        assert_eq!(harmful(&shown), None, "{command:?}: {shown:?}");
    }
    let usage = text(&Command::new(PROGRAM).args(["warm", "--\x1b[2J"]).output().expect("run fitsfs"));
    assert_eq!(harmful(&usage), None, "{usage:?}");
}
