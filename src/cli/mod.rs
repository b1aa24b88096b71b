//! The command line: parses, runs, and turns an error into one line and an exit status.

mod args;
mod cache;
mod check;
mod fstab;
mod layout;
mod log_file;
mod logging;
mod mount;
mod places;
mod restore;
mod status;
mod terminal;
mod time;
mod trace;
mod warm;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::cache::disk;
use crate::printable::{printable, printable_json, printable_lines};
use args::{Cli, Command};

/// The exit status for a command line that cannot be understood.
const USAGE: u8 = 2;

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let arguments = match fstab::translate(std::env::args_os().collect()) {
        Ok(arguments) => arguments,
        Err(error) => return fail(&error),
    };
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        // What it quotes may be a name that a shell put there.
        Err(error) if error.use_stderr() => {
            eprint!("{}", printable_lines(&error.to_string()));
            return ExitCode::from(USAGE);
        }
        Err(help) => help.exit(),
    };
    match run(cli, &arguments) {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

fn run(cli: Cli, arguments: &[OsString]) -> Result<ExitCode, String> {
    match cli.command {
        Command::Mount(args) => mount::run(args, arguments).map(|()| ExitCode::SUCCESS),
        Command::Unmount(args) => mount::unmount(&args.mountpoint).map(|()| ExitCode::SUCCESS),
        Command::Status(args) => status::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Trace(args) => trace::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Layout(args) => layout::run(args).map(|()| ExitCode::SUCCESS),
        Command::Warm(args) => warm::run(&args),
        Command::Restore(args) => restore::run(args),
        Command::Cache(args) => cache::run(args.command),
        Command::Check(args) => check::run(args),
        Command::Presets(args) => places::presets(&args).map(|()| ExitCode::SUCCESS),
        Command::Path(args) => places::path(&args).map(|()| ExitCode::SUCCESS),
        Command::Url(args) => places::url(&args).map(|()| ExitCode::SUCCESS),
    }
}

fn fail(error: &str) -> ExitCode {
    eprintln!("{}: {}", terminal::Style::for_stderr().red("fitsfs"), printable(error));
    ExitCode::FAILURE
}

/// Prints. A closed pipe is no error: its reader has seen enough.
fn print(text: &str) -> Result<(), String> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(format!("cannot print: {error}")),
        _ => Ok(()),
    }
}

/// A document as JSON, fit for a terminal.
fn json(document: &impl serde::Serialize) -> Result<String, String> {
    let text = serde_json::to_string_pretty(document).map_err(|error| error.to_string())?;
    Ok(printable_json(&text).into_owned())
}

/// Prints a document as JSON.
fn print_json(document: &impl serde::Serialize) -> Result<(), String> {
    print(&(json(document)? + "\n"))
}

/// Where the cache is, as it was said or by default, as an absolute path: a daemon in the background leaves the current
/// folder.
fn cache_place(given: Option<PathBuf>) -> Result<Option<PathBuf>, String> {
    let place = given.or_else(|| disk::default_place(environment));
    place.map(std::path::absolute).transpose().map_err(|error| format!("cannot find the cache directory: {error}"))
}

/// The environment, as the functions that resolve options want it.
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
