//! The documents as tests: what they promise of options, variables and messages is what the program has, and the
//! sessions that they show give what they show.

#[path = "mount/support.rs"]
#[allow(dead_code, reason = "made for the tests of mounts")]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use support::{BUCKET, PROGRAM, Rig, fitsfs, text};

const CONFIGURATION: &str = include_str!("../docs/configuration.md");
const SEMANTICS: &str = include_str!("../docs/semantics.md");
const TROUBLESHOOTING: &str = include_str!("../docs/troubleshooting.md");

/// The cells of the rows of the tables below a heading, up to the next one.
fn rows(page: &'static str, heading: &str) -> Vec<Vec<&'static str>> {
    let below = page.split(&format!("{heading}\n")).nth(1).unwrap_or_else(|| panic!("no heading {heading}"));
    let section = below.split("\n## ").next().expect("a section");
    let cells = |row: &'static str| row.trim_matches('|').split(" |").map(str::trim).collect();
    section.lines().filter(|line| line.starts_with("| `")).map(cells).collect()
}

/// Without backticks.
fn bare(cell: &str) -> &str {
    cell.trim_matches('`')
}

/// An option with its value's name, and its default.
type Options = BTreeMap<String, String>;

/// The options that `fitsfs COMMAND --help` lists.
fn listed(command: &str) -> Options {
    let mut help = Command::new(PROGRAM);
    let help = help.args(command.split(' ')).arg("--help").env("COLUMNS", "100").output().expect("run fitsfs");
    let help = String::from_utf8(help.stdout).expect("help in UTF-8");
    let joined = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut options = Options::new();
    for entry in joined.split(" --").skip(1) {
        let mut words = entry.split(' ');
        let name = words.next().unwrap_or_default();
        let value = words.next().and_then(|word| word.strip_prefix('<')?.strip_suffix('>'));
        let default = entry.split("[default: ").nth(1).and_then(|rest| rest.split(']').next()).unwrap_or_default();
        // The description of an option may name another one.
        let is_option = help.lines().any(|line| {
            let line = line.trim_start();
            line.starts_with(&format!("--{name}")) || line.starts_with(&format!("-h, --{name}"))
        });
        if is_option && name != "help" {
            let name = value.map_or_else(|| format!("--{name}"), |value| format!("--{name} {value}"));
            options.insert(name, default.to_owned());
        }
    }
    options
}

/// The commands that a text names in backticks.
fn commands(text: &str) -> BTreeSet<String> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter_map(|word| word.strip_prefix("fitsfs ")).map(str::to_owned).collect()
}

/// The options of each command, from the tables of options. Each option has one row, in one of them.
fn documented() -> BTreeMap<String, Options> {
    const S3: &str = "`fitsfs mount` `fitsfs layout` `fitsfs check` `fitsfs restore`";
    let mut seen = BTreeSet::new();
    let mut documented: BTreeMap<String, Options> = BTreeMap::new();
    for (heading, common) in [("mount", "`fitsfs mount`"), ("S3", S3), ("the other commands", "")] {
        for row in rows(CONFIGURATION, &format!("## Options of {heading}")) {
            let (option, default) = match common {
                "" => (bare(row[0]), ""),
                _ => (bare(row[0]), bare(row[1])),
            };
            let name = option.split(' ').next().unwrap_or_default();
            assert!(seen.insert(name.to_owned()), "{name} is documented twice");
            let further = if common.is_empty() { row[1] } else { row[2].split("Also of ").nth(1).unwrap_or_default() };
            for command in &commands(common) {
                documented.entry(command.clone()).or_default().insert(option.to_owned(), default.to_owned());
            }
            for command in commands(further) {
                documented.entry(command).or_default().insert(option.to_owned(), String::new());
            }
        }
    }
    documented
}

#[test]
fn the_options_of_each_command_are_those_documented_and_each_once() {
    let documented = documented();
    let all = [
        "mount",
        "unmount",
        "status",
        "trace",
        "layout",
        "warm",
        "restore",
        "cache list",
        "cache verify",
        "cache clear",
        "check",
        "presets",
        "path",
        "url",
    ];
    for command in all {
        assert_eq!(listed(command), documented.get(command).cloned().unwrap_or_default(), "fitsfs {command}");
    }
    let unknown: Vec<_> = documented.keys().filter(|command| !all.contains(&command.as_str())).collect();
    assert!(unknown.is_empty(), "options of commands that there are not: {unknown:?}");
}

/// The text of the program, with the line continuations of its strings joined.
fn source() -> String {
    fn collect(folder: &Path, into: &mut String) {
        for entry in std::fs::read_dir(folder).expect("a folder of the source") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                collect(&path, into);
            } else {
                into.push_str(&std::fs::read_to_string(path).expect("a source file"));
            }
        }
    }
    let mut text = String::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut text);
    let pieces: Vec<_> = text.split("\\\n").collect();
    pieces[..1].iter().copied().chain(pieces[1..].iter().map(|piece| piece.trim_start())).collect()
}

/// Variables of the AWS tools are read by the SDK; all others have to be in the source.
#[test]
fn the_variables_are_those_documented() {
    let documented: BTreeSet<_> = rows(CONFIGURATION, "## Environment").iter().map(|row| bare(row[0])).collect();
    let source = source();
    let by_libraries = |name: &str| name.starts_with("AWS_") || name == "HTTPS_PROXY" || name == "NOTIFY_SOCKET";
    for name in &documented {
        assert!(by_libraries(name) || source.contains(name), "{name} is documented, and not in the source");
    }
    let help = text(&fitsfs(&["mount", "--help"]));
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for names in help.split("[env: ").skip(1) {
        for name in names.split(']').next().unwrap_or_default().split(", ") {
            assert!(documented.contains(name), "{name} is in the help, and not documented");
        }
    }
}

/// Options in the examples of all pages and files for installation.
#[test]
fn the_examples_use_options_that_exist() {
    let known: BTreeSet<String> =
        listed("mount").into_keys().map(|name| name.split(' ').next().unwrap_or_default().to_owned()).collect();
    let pages = [
        include_str!("../README.md"),
        include_str!("../docker/Dockerfile"),
        include_str!("../docker/README.md"),
        include_str!("../docker/try"),
        include_str!("../systemd/README.md"),
        include_str!("../systemd/fitsfs@.service"),
        include_str!("../systemd/mast.conf"),
    ];
    let mut checked = 0;
    for line in pages.iter().flat_map(|page| page.lines()) {
        let used = ["fitsfs mount", "FITSFS_OPTIONS="].iter().find_map(|start| line.split(start).nth(1));
        for option in used.unwrap_or_default().split([' ', '=', '`', ',']).filter(|word| word.starts_with("--")) {
            assert!(known.contains(option), "{option} in: {line}");
            checked += 1;
        }
    }
    assert!(checked >= 8, "{checked} options: the examples are gone");
}

/// In a message, `…` stands for what differs; what is between has to be in the source.
#[test]
fn the_messages_are_those_of_the_program() {
    let source = source();
    let codes = ["SignatureDoesNotMatch", "RequestTimeTooSkewed", "NoSuchBucket"];
    for row in rows(TROUBLESHOOTING, "## Mounting fails") {
        for piece in bare(row[0]).split('…').flat_map(|piece| piece.split(": ")) {
            let of_store = codes.iter().any(|code| piece.ends_with(code));
            let literal = piece.trim_matches(|c: char| !c.is_ascii_alphanumeric());
            assert!(of_store || source.contains(literal), "{piece:?} of {row:?} is not in the source");
        }
    }
}

/// An image of 50 x 40 pixels, or a header without data, or text: whatever has this size.
fn content(key: &str, size: usize) -> Vec<u8> {
    if !key.ends_with(".fits") {
        return vec![b'x'; size];
    }
    let axes = if size > 2880 { "NAXIS=2 NAXIS1=50 NAXIS2=40" } else { "NAXIS=0" };
    let cards = format!("SIMPLE=T BITPIX=16 {axes} END");
    let card = |card: &str| match card.split_once('=') {
        Some((name, value)) => format!("{:<80}", format!("{name:<8}= {value:>20}")),
        None => format!("{card:<80}"),
    };
    let mut bytes = format!("{:<2880}", cards.split(' ').map(card).collect::<String>()).into_bytes();
    bytes.resize(size, 0);
    bytes
}

#[test]
fn the_sessions_give_what_they_show() {
    let rig = Rig::new(|lab| {
        for row in rows(SEMANTICS, "# What programs see") {
            let (key, size) = (bare(row[0]), row[1].parse().expect("a size"));
            lab.put(BUCKET, key, content(key, size));
        }
    });
    let program = Path::new(PROGRAM).parent().expect("a folder");
    let path = format!("{}:{}", program.display(), std::env::var("PATH").expect("a PATH"));
    let blocks = SEMANTICS.split("```console\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    let mut run = 0;
    for step in blocks.flat_map(|block| block.split("$ ").skip(1)) {
        let (command, expected) = step.split_once('\n').expect("a command and a line end");
        let mut bash = Command::new("bash");
        bash.args(["-c", command]).current_dir(&rig.root).env("PATH", &path).env("LC_ALL", "C.UTF-8");
        assert_eq!(text(&bash.output().expect("run bash")), expected, "$ {command}");
        run += 1;
    }
    assert!(run >= 8, "{run} commands: the page has lost its sessions");
}
