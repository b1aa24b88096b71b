//! `fitsfs check`.

use std::process::ExitCode;

use super::args::CheckArgs;
use super::terminal::Style;
use crate::check::CheckReport;

/// Prints the report; fails if a check does.
pub fn run(args: CheckArgs) -> Result<ExitCode, String> {
    let runtime = super::layout::runtime()?;
    let report = runtime.block_on(CheckReport::run(&args.source, args.s3.options(), super::environment));
    if args.json {
        super::print_json(&report)?;
    } else {
        super::print(&report.render(Style::for_stdout().is_colour()))?;
    }
    Ok(if report.failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
