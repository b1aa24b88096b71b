//! The command line: parses, runs, and turns an error into one line and an exit status.

mod args;
mod check;
mod fstab;
mod layout;
mod logging;
mod mount;
mod status;
mod terminal;
mod trace;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let arguments = match fstab::translate(std::env::args_os().collect()) {
        Ok(arguments) => arguments,
        Err(error) => return fail(&error),
    };
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
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
        Command::Check(args) => check::run(args),
    }
}

fn fail(error: &str) -> ExitCode {
    eprintln!("{}: {error}", terminal::Style::for_stderr().red("fitsfs"));
    ExitCode::FAILURE
}

/// The environment, as the functions that resolve options want it.
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
