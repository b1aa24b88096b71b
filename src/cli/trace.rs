//! `fitsfs trace`: what was read and fetched of which file, as text, JSON or a picture.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use super::args::TraceArgs;
use super::status::{no_answer, ours};
use super::terminal::Style;
use crate::control;
use crate::mount::point;
use crate::trace::{svg, text};

/// Shows what happened in a mount.
pub fn run(args: &TraceArgs) -> Result<(), String> {
    let (mountpoint, paths) = places(&args.places, &ours()?)?;
    let target = args.svg.as_deref().map(Target::open).transpose()?;
    let mut trace = control::trace(&mountpoint, args.clear).map_err(|error| no_trace(&mountpoint, &error))?;
    if !paths.is_empty() {
        trace.retain(&paths);
    }
    let drawn = target.is_some();
    if let Some(target) = target {
        target.write(&svg::render(&trace))?;
    }
    if args.json || !drawn && !io::stdout().is_terminal() {
        super::print_json(&trace)
    } else if !drawn {
        let style = Style::for_stdout();
        super::print(&text::render(&trace, |heading| style.bold(heading)))
    } else {
        Ok(())
    }
}

/// The mount that is meant, of `mounts`, and the absolute paths of the files and folders in it: the first place is a
/// mountpoint or lies in a mount; the others may also be relative to that.
fn places(given: &[PathBuf], mounts: &[PathBuf]) -> Result<(PathBuf, Vec<String>), String> {
    let Some((first, others)) = given.split_first() else {
        return match mounts {
            [only] => Ok((only.clone(), Vec::new())),
            [] => Err("no mounts; make one: fitsfs mount s3://bucket/prefix MOUNTPOINT".to_owned()),
            several => {
                let names: Vec<_> = several.iter().map(|mount| mount.display().to_string()).collect();
                Err(format!("several mounts: name one of {}", names.join(", ")))
            }
        };
    };
    let of = |place: &Path| {
        mounts.iter().filter(|mount| place.starts_with(mount)).max_by_key(|mount| mount.as_os_str().len())
    };
    let first_path = point::resolve(first)?;
    let Some(mount) = of(&first_path) else {
        return Err(format!("{} is not in a mount of fitsfs; fitsfs status lists what is", first.display()));
    };
    let mut paths = Vec::new();
    if first_path != *mount {
        paths.push(first_path);
    }
    for other in others {
        let path = point::resolve(other)?;
        match of(&path) {
            Some(its) if its == mount => paths.push(path),
            None if other.is_relative() => paths.push(mount.join(other)),
            _ => {
                return Err(format!(
                    "{} is not in the mount at {}: ask for one mount at a time",
                    other.display(),
                    mount.display()
                ));
            }
        }
    }
    Ok((mount.clone(), paths.iter().map(|path| path.to_string_lossy().into_owned()).collect()))
}

fn no_trace(mountpoint: &Path, error: &io::Error) -> String {
    let shown = mountpoint.display();
    match error.kind() {
        io::ErrorKind::InvalidData => format!(
            "the daemon of {shown} is of another version and keeps no trace that this one understands ({error}); \
             mount anew: fitsfs unmount {shown}, then fitsfs mount"
        ),
        _ => no_answer(mountpoint, error),
    }
}

/// Where the picture goes. It is opened before the daemon is asked, so that nothing is cleared that cannot be written.
struct Target {
    name: String,
    out: Box<dyn Write>,
}

impl Target {
    fn open(path: &Path) -> Result<Self, String> {
        let name = path.display().to_string();
        if path == Path::new("-") {
            return Ok(Self { name, out: Box::new(io::stdout()) });
        }
        match std::fs::File::create(path) {
            Ok(file) => Ok(Self { name, out: Box::new(file) }),
            Err(error) => Err(cannot_write(&name, &error)),
        }
    }

    fn write(mut self, picture: &str) -> Result<(), String> {
        let written = self.out.write_all(picture.as_bytes()).and_then(|()| self.out.flush());
        written.map_err(|error| cannot_write(&self.name, &error))
    }
}

fn cannot_write(name: &str, error: &io::Error) -> String {
    format!("cannot write {name}: {error}; name a file in a folder that you may write: --svg FILE")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(given: &[&str], mounts: &[&str]) -> Result<(PathBuf, Vec<String>), String> {
        let paths = |list: &[&str]| list.iter().map(PathBuf::from).collect::<Vec<_>>();
        places(&paths(given), &paths(mounts))
    }

    #[test]
    fn the_first_place_tells_the_mount() {
        let found =
            |mount: &str, paths: &[&str]| Ok((PathBuf::from(mount), paths.iter().map(|p| (*p).to_owned()).collect()));
        assert_eq!(asked(&[], &["/x-m"]), found("/x-m", &[]));
        assert_eq!(asked(&["/x-m"], &["/x-m", "/x-n"]), found("/x-m", &[]));
        assert_eq!(asked(&["/x-m/a.fits"], &["/x-m", "/x-n"]), found("/x-m", &["/x-m/a.fits"]));
        assert_eq!(asked(&["/x-m", "a/b.fits", "/x-m/c"], &["/x-m"]), found("/x-m", &["/x-m/a/b.fits", "/x-m/c"]));
        assert_eq!(asked(&["/x-m/inner/a"], &["/x-m", "/x-m/inner"]), found("/x-m/inner", &["/x-m/inner/a"]));
    }

    #[test]
    fn places_that_are_not_clear_are_refused() {
        assert!(asked(&[], &[]).unwrap_err().contains("no mounts"));
        assert!(asked(&[], &["/x-m", "/x-n"]).unwrap_err().contains("/x-m, /x-n"));
        assert!(asked(&["/x-elsewhere"], &["/x-m"]).unwrap_err().contains("is not in a mount of fitsfs"));
        assert!(asked(&["/x-m", "/x-n/a"], &["/x-m", "/x-n"]).unwrap_err().contains("one mount at a time"));
    }
}
