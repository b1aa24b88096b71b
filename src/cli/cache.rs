//! `fitsfs cache`: what is kept on disk, shown, checked and cleared.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressStyle};

use super::args::{CacheClearArgs, CacheCommand, CacheListArgs, CachePlace, CacheVerifyArgs};
use super::terminal::Style;
use crate::cache::disk::catalog::{self, Cleared, Damage, Listed, Patterns, Verified};
use crate::cache::disk::{Directory, Unfit};
use crate::printable::printable;

/// Does what is asked; fails if something was damaged.
pub fn run(command: CacheCommand) -> Result<ExitCode, String> {
    match command {
        CacheCommand::List(args) => list(args).map(|()| ExitCode::SUCCESS),
        CacheCommand::Verify(args) => verify(args),
        CacheCommand::Clear(args) => clear(args).map(|()| ExitCode::SUCCESS),
    }
}

fn open(place: CachePlace) -> Result<Directory, String> {
    let place = super::cache_place(place.cache_dir)?.ok_or("there is no place for a cache: name it (--cache-dir)")?;
    match Directory::find(&place) {
        Ok(Some(directory)) => Ok(directory),
        Ok(None) => Err(format!(
            "there is no cache in {}: name its directory (--cache-dir); fitsfs status shows those of mounts",
            place.display()
        )),
        Err(Unfit::Untrusted(why) | Unfit::Unusable(why)) => Err(why),
    }
}

fn failed(directory: &Directory) -> impl Fn(std::io::Error) -> String {
    let place = directory.root().display().to_string();
    move |error| format!("cannot use the cache in {place}: {error}; does it belong to you, and is the disk well?")
}

fn list(args: CacheListArgs) -> Result<(), String> {
    let directory = open(args.place)?;
    let list = catalog::list(&directory, &Patterns(args.patterns)).map_err(failed(&directory))?;
    if args.json || !std::io::stdout().is_terminal() {
        return super::print_json(&list);
    }
    super::print(&table(&list, SystemTime::now(), &directory.root().display().to_string(), Style::for_stdout()))
}

fn table(list: &[Listed], now: SystemTime, place: &str, style: Style) -> String {
    let heading = format!("{:>9} {:>9} {:>5}  {:<9} {:>5}  FILE", "SIZE", "THERE", "SHARE", "USED", "OPENS");
    let mut text = style.bold(&heading) + "\n";
    for file in list {
        // An empty file is there as a whole.
        let share = (file.bytes * 100).checked_div(file.size).unwrap_or(100);
        let share_of = format!("{share:>4}%");
        text += &format!(
            "{:>9} {:>9} {}  {:<9} {:>5}  {}{}\n",
            size(file.size),
            size(file.bytes),
            if share == 100 { style.green(&share_of) } else { share_of },
            age(file.last_used_ms, now),
            file.opens,
            url(&file.store, &file.key),
            if file.open { style.bold("  open") } else { String::new() },
        );
    }
    let bytes = list.iter().map(|file| file.bytes).sum();
    text + &format!("{} with {} in {}\n", files(list.len() as u64), style.bold(&size(bytes)), printable(place))
}

fn verify(args: CacheVerifyArgs) -> Result<ExitCode, String> {
    let directory = open(args.place)?;
    let bar = match std::io::stderr().is_terminal() {
        true => {
            let list = catalog::list(&directory, &Patterns::default()).map_err(failed(&directory))?;
            progress(list.iter().map(|file| file.bytes).sum())
        }
        false => ProgressBar::hidden(),
    };
    let verified = catalog::verify(&directory, |bytes| bar.set_position(bytes)).map_err(failed(&directory))?;
    bar.finish_and_clear();
    let json = args.json || !std::io::stdout().is_terminal();
    match json {
        true => super::print_json(&verified)?,
        false => super::print(&report(&verified, Style::for_stdout()))?,
    }
    Ok(if verified.damage.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn progress(bytes: u64) -> ProgressBar {
    let template = "{decimal_bytes}/{decimal_total_bytes} {wide_bar} {decimal_bytes_per_sec}, {eta} left";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(bytes).with_style(style)
}

fn report(verified: &Verified, style: Style) -> String {
    let line = |damage: &Damage| match damage {
        Damage::Pages { store, key, pages } => format!("{}: {pages} damaged pages forgotten\n", url(store, key)),
        Damage::Map { path } => format!("{}: a damaged map, forgotten with all that it told of\n", shown(path)),
    };
    let lines: String = verified.damage.iter().map(line).collect();
    let checked = format!("{} with {} checked", files(verified.files), size(verified.bytes));
    let outcome = match verified.damage.len() {
        0 => style.green("all is well"),
        damaged => {
            style.red(&format!("{damaged} damaged: repaired by forgetting, and fetched again when it is wanted"))
        }
    };
    format!("{lines}{checked}: {outcome}\n")
}

fn clear(args: CacheClearArgs) -> Result<(), String> {
    let directory = open(args.place)?;
    match catalog::clear(&directory, &Patterns(args.patterns)).map_err(failed(&directory))? {
        Some(cleared) => super::print(&told(&cleared)),
        None => Err("another process is making room in the cache: try again in a moment".to_owned()),
    }
}

fn told(cleared: &Cleared) -> String {
    let in_use = match (cleared.in_use, cleared.left) {
        (0, _) => String::new(),
        (open, 0) => format!("; {} in use, emptied", files(open)),
        (open, left) => format!("; {} in use, emptied but for {}", files(open), size(left)),
    };
    format!("{} removed, {} free by that{in_use}\n", files(cleared.files), size(cleared.bytes))
}

fn url(store: &str, key: &str) -> String {
    printable(&format!("{}/{key}", store.trim_end_matches('/'))).into_owned()
}

fn shown(path: &Path) -> String {
    printable(&path.to_string_lossy()).into_owned()
}

fn files(count: u64) -> String {
    format!("{count} file{}", if count == 1 { "" } else { "s" })
}

fn size(bytes: u64) -> String {
    ByteSize(bytes).display().si().to_string()
}

/// How long ago something was, in its largest unit.
fn age(ms: u64, now: SystemTime) -> String {
    let then = UNIX_EPOCH + Duration::from_millis(ms);
    let seconds = now.duration_since(then).unwrap_or_default().as_secs();
    let units = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    match units.into_iter().find(|(unit, _)| seconds >= *unit) {
        _ if ms == 0 => "-".to_owned(),
        Some((unit, name)) => format!("{} {name} ago", seconds / unit),
        None => "now".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(key: &str, size: u64, bytes: u64, last_used_ms: u64, open: bool) -> Listed {
        Listed { store: "s3://bucket".into(), key: key.into(), size, bytes, last_used_ms, opens: 3, open }
    }

    #[test]
    fn the_table_is_aligned_and_has_a_total() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let list = [
            listed("a.fits", 12_300_000, 12_300_000, 999_940_000, true),
            listed("b.fits", 2_000, 500, 0, false),
            listed("empty", 0, 0, 999_999_900, false),
        ];
        let table = table(&list, now, "/cache", Style::for_stdout());
        let expected = "     SIZE     THERE SHARE  USED      OPENS  FILE\n  \
                        12.3 MB   12.3 MB  100%  1 min ago     3  s3://bucket/a.fits  open\n   \
                        2.0 kB     500 B   25%  -             3  s3://bucket/b.fits\n      \
                        0 B       0 B  100%  now           3  s3://bucket/empty\n\
                        3 files with 12.3 MB in /cache\n";
        assert_eq!(table, expected);
    }

    #[test]
    fn keys_do_not_steer_the_terminal() {
        let list = [listed("a\n\x1b]0;b\x07.fits", 1, 1, 0, false)];
        let table = table(&list, UNIX_EPOCH, "/cache", Style::for_stdout());
        assert!(table.contains("s3://bucket/a\\n\\u{1b}]0;b\\u{7}.fits\n"), "{table:?}");
        let damage = vec![Damage::Pages { store: "s3://bucket".into(), key: "a\rb".into(), pages: 1 }];
        let report = report(&Verified { damage, ..Verified::default() }, Style::for_stdout());
        assert!(report.contains("s3://bucket/a\\rb: 1 damaged"), "{report:?}");
    }

    #[test]
    fn what_was_cleared_is_told() {
        let cleared = Cleared { files: 1, bytes: 5_000, in_use: 2, left: 0 };
        assert_eq!(told(&cleared), "1 file removed, 5.0 kB free by that; 2 files in use, emptied\n");
        let told = told(&Cleared { left: 4_096, ..cleared });
        assert!(told.ends_with("; 2 files in use, emptied but for 4.1 kB\n"), "{told}");
    }
}
