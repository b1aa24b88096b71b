//! What fitsfs has decided in one case: shows the reason of a loss.

use std::collections::HashMap;
use std::fmt::{self, Display};
use std::ops::Range;

use fitsfs::metrics::Pace;
use fitsfs::read::{Decision, Planned};

use crate::file::File;
use crate::run::ReadId;

/// So many ranges of a decision are shown.
const SHOWN: usize = 4;

/// The READs of a case and what followed from them.
#[derive(Debug, Default)]
pub struct Log {
    lines: Vec<(f64, Option<ReadId>, String)>,
    waited: HashMap<ReadId, f64>,
}

impl Log {
    pub(super) fn read(
        &mut self,
        now: f64,
        file: &File,
        read: ReadId,
        range: &Range<u64>,
        held: bool,
        decision: &Decision,
    ) {
        let held = if held { " held" } else { "" };
        let extended = decision.demand.start < range.start || decision.demand.end > range.end;
        let demand =
            if extended && held.is_empty() { format!(", demand {}", Of(&decision.demand)) } else { String::new() };
        let line = format!("READ {} {}{held}{demand}{}", place(file, range.start), Of(range), ahead(&decision.ahead));
        let cancelled: String = decision.abandoned.iter().map(|range| format!(", cancels {}", Of(range))).collect();
        self.lines.push((now, Some(read), line + &cancelled));
    }

    pub(super) fn planned(&mut self, now: f64, file: &File, why: &str, planned: &[Planned], pace: &Pace) {
        let at = planned.first().map_or(0, |planned| planned.range.start);
        let pace = format!("{:.0} ms, {:.0} MB/s", pace.latency * 1e3, pace.bandwidth / 1e6);
        self.lines.push((now, None, format!("{why} {}{} ({pace})", place(file, at), ahead(planned))));
    }

    pub(super) fn waited(&mut self, read: ReadId, seconds: f64) {
        self.waited.insert(read, seconds);
    }
}

impl Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for (now, read, line) in &self.lines {
            let waited = read.and_then(|read| self.waited.get(&read));
            let waited = waited.map_or(String::new(), |seconds| format!("{:.1} ms", seconds * 1e3));
            writeln!(f, "{now:>9.4} {waited:>10}  {line}")?;
        }
        Ok(())
    }
}

/// Where in the file an offset is.
fn place(file: &File, offset: u64) -> String {
    let n = file.hdus.partition_point(|hdu| hdu.header.start <= offset);
    match n.checked_sub(1).map(|n| (n, &file.hdus[n])) {
        Some((n, hdu)) if offset < hdu.header.end => format!("[header {n}]"),
        Some((n, hdu)) => format!("[{n} +{}]", offset - hdu.data.start),
        None => "[]".to_owned(),
    }
}

fn ahead(planned: &[Planned]) -> String {
    let bytes: u64 = planned.iter().map(|planned| planned.range.end - planned.range.start).sum();
    let shown: String = planned.iter().take(SHOWN).map(|p| format!(" {:?} {}", p.origin, Of(&p.range))).collect();
    match planned.len() {
        0 => String::new(),
        1 => format!(", ahead{shown}"),
        count => format!(", ahead {count} ranges, {} KiB:{shown}", bytes >> 10),
    }
}

/// A range, as its start and its length.
struct Of<'a>(&'a Range<u64>);

impl Display for Of<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let length = self.0.end - self.0.start;
        match length {
            0..1_048_576 => write!(f, "{}+{:.0}K", self.0.start, length as f64 / 1024.0),
            _ => write!(f, "{}+{:.1}M", self.0.start, length as f64 / 1_048_576.0),
        }
    }
}
