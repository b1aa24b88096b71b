//! `fitsfs check`.

use std::process::ExitCode;

use super::args::CheckArgs;
use super::terminal::Style;
use crate::check::CheckReport;
use crate::printable::printable;

/// Prints the report; fails if a check does. Of several sources it is a list of reports.
pub fn run(args: CheckArgs) -> Result<ExitCode, String> {
    let runtime = super::layout::runtime()?;
    let reports = runtime.block_on(CheckReport::run(&args.source, &args.s3.options(), super::environment));
    match &reports[..] {
        [one] if args.json => super::print_json(one)?,
        all if args.json => super::print_json(&all)?,
        all => {
            let style = Style::for_stdout();
            for report in all {
                if let Some(source) = report.source.as_ref().filter(|_| all.len() > 1) {
                    super::print(&format!("{}\n", style.bold(&printable(source))))?;
                }
                super::print(&report.render(style.is_colour()))?;
            }
        }
    }
    let failed = reports.iter().any(CheckReport::failed);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
