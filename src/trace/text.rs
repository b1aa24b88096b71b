//! A trace for people, as text: what each file cost, and for what.

use std::fmt::Write;

use super::{FileTrace, Share, Summary, Trace, clean, count, size, span};

/// From so many microseconds on the waits for one file are worth a line.
const LONG_WAIT_US: u64 = 1_000_000;

/// The trace as text, several lines to a file. `heading` marks headings.
pub fn render(trace: &Trace, heading: impl Fn(&str) -> String) -> String {
    let total = trace.total();
    let mut out = format!("{}: {}", heading(&trace.subject()), count(trace.files.len() as u64, "file"));
    if trace.files.is_empty() {
        out.push_str("; nothing was read or fetched since the mount was made, or the trace was cleared\n");
        return out;
    }
    let unused = size(total.unused_bytes);
    let (reads, fetched, time) = (total.read(), total.fetched(), span(total.duration()));
    // Writing to a string cannot fail.
    let _ = writeln!(out, " in {time}\n  {reads}\n  {fetched}, {unused} of them unused");
    if trace.dropped_events > 0 {
        let _ = writeln!(out, "  {} before these are not kept any more", count(trace.dropped_events, "event"));
    }
    let (shown, others) = trace.shown();
    for file in shown {
        let _ = writeln!(out, "\n{}", heading(&trace.name_of(file)));
        describe(&mut out, file);
    }
    if let Some((files, sums)) = others {
        let _ = writeln!(out, "\n{}", heading(&format!("{} with less traffic", count(files as u64, "other file"))));
        sums_of(&mut out, &sums);
    }
    out
}

fn describe(out: &mut String, file: &FileTrace) {
    row(out, "file", &format!("{}, {}", size(file.size), hdus(file)));
    let sums = &file.summary;
    row(out, "time", &format!("from {} after the mount on, for {}", span(sums.first_us), span(sums.duration())));
    sums_of(out, sums);
    if sums.by_cause.values().map(|waited| waited.us).sum::<u64>() >= LONG_WAIT_US {
        row(out, "remedy", &format!("fitsfs warm {}, before the program", clean(&file.path)));
    }
}

fn sums_of(out: &mut String, sums: &Summary) {
    row(out, "read", &sums.read());
    if let Some(waits) = sums.waits() {
        row(out, "waits", &waits);
    }
    row(out, "fetched", &sums.fetched());
    for (name, Share { fetches, bytes }) in sums.shares() {
        row(out, "", &format!("{name:<10} {:>9} {:>9}", count(*fetches, "GET"), size(*bytes)));
    }
    if let Some(mishaps) = sums.mishaps() {
        row(out, "", &mishaps);
    }
    if sums.disk_bytes > 0 {
        row(out, "disk", &format!("{} were in the cache", size(sums.disk_bytes)));
    }
    if sums.pushed_bytes > 0 {
        row(out, "page cache", &format!("{} put there ahead of the program", size(sums.pushed_bytes)));
    }
    row(out, "unused", &size(sums.unused_bytes));
}

fn row(out: &mut String, name: &str, value: &str) {
    let _ = writeln!(out, "  {name:<11}{value}");
}

/// `10 HDUs: PRIMARY SCI ERR`, as far as they are known.
fn hdus(file: &FileTrace) -> String {
    const MAX_NAMES: usize = 12;
    if file.hdus.is_empty() {
        return if file.layout_complete { "not FITS" } else { "HDUs not known" }.to_owned();
    }
    let name = |(index, hdu): (usize, &super::HduMark)| match &hdu.name {
        Some(name) => clean(name),
        None => index.to_string(),
    };
    let mut names: Vec<_> = file.hdus.iter().enumerate().take(MAX_NAMES).map(name).collect();
    if file.hdus.len() > MAX_NAMES {
        names.push("...".to_owned());
    }
    let more = if file.layout_complete { "" } else { " (as far as read)" };
    format!("{}: {}{more}", count(file.hdus.len() as u64, "HDU"), names.join(" "))
}
