//! A trace as a picture: a panel to a file, self-contained, for light and dark screens.
//!
//! From the top, a panel has the HDUs of the file, lanes of what was read, fetched and put into the page cache, and all
//! of it once more against time, downwards. The horizontal axis is the same throughout ([`Scale`]).

mod canvas;

use std::collections::HashSet;
use std::ops::Range;

use self::canvas::{Canvas, Font};
use super::scale::{PartKind, Scale};
use super::summary::union;
use super::time::TimeAxis;
use super::{Fetch, FileTrace, Moment, Outcome, Read, Trace, clean, count, decision, size, span};
use crate::cache::Origin;

/// The picture's width, in pixels.
const WIDTH: f64 = 1000.0;

/// Room for the labels of lanes and of the time axis, and at the other side.
const LEFT: f64 = 82.0;
const RIGHT: f64 = 16.0;

/// The width of the axes.
const AXIS: f64 = WIDTH - LEFT - RIGHT;

/// Heights of the HDU bar, of a lane with its distance to the next, and of the time axis.
const BAR: f64 = 32.0;
const LANE: f64 = 10.0;
const LANE_STEP: f64 = 14.0;
const PLOT: f64 = 180.0;

/// So many fetches of a file tell their details when pointed at; more would make large files of pictures.
const MAX_DETAILS: usize = 500;

/// Draws a trace.
pub fn render(trace: &Trace) -> String {
    let mut canvas = Canvas::new(WIDTH);
    title(&mut canvas, trace);
    let (shown, others) = trace.shown();
    if !shown.is_empty() {
        legend(&mut canvas, trace);
    }
    for file in shown {
        panel(&mut canvas, &trace.name_of(file), file, trace.now_us);
    }
    if let Some((files, sums)) = others {
        canvas.y += 26.0;
        let files = count(files as u64, "other file");
        let line = format!("and {files} with less traffic: {}; {}", sums.read(), sums.fetched());
        canvas.text(RIGHT, canvas.y, Font::SMALL, "dim", &line);
    }
    canvas.y += 18.0;
    canvas.finish(&format!("fitsfs trace of {}", trace.subject()))
}

fn title(canvas: &mut Canvas, trace: &Trace) {
    let total = trace.total();
    canvas.y = 28.0;
    canvas.text(RIGHT, canvas.y, Font::TITLE, "", &Font::TITLE.fit(&trace.subject(), WIDTH - 2.0 * RIGHT));
    let files = count(trace.files.len() as u64, "file");
    let mut lines = vec![if trace.files.is_empty() {
        "nothing was read or fetched since the mount was made, or the trace was cleared".to_owned()
    } else {
        let (read, fetched, unused) = (total.read(), total.fetched(), size(total.unused_bytes));
        format!("{files} in {}: {read}; {fetched}, {unused} unused", span(total.duration()))
    }];
    if trace.dropped_events > 0 {
        lines.push(format!("{} before these are not kept any more", count(trace.dropped_events, "event")));
    }
    for line in lines {
        canvas.y += 19.0;
        canvas.text(RIGHT, canvas.y, Font::SMALL, "dim", &Font::SMALL.fit(&line, WIDTH - 2.0 * RIGHT));
    }
}

/// What colours and marks mean: two rows, or more where they do not fit.
fn legend(canvas: &mut Canvas, trace: &Trace) {
    let seen: HashSet<Origin> = trace.files.iter().flat_map(|file| &file.fetches).map(|fetch| fetch.decision).collect();
    canvas.y += 24.0;
    let mut x = RIGHT;
    for origin in decision::DECISIONS.iter().copied().filter(|origin| seen.contains(origin)) {
        let label = format!("{}: {}", decision::name(origin), decision::meaning(origin));
        let at = canvas.legend_place(&mut x, RIGHT, &label);
        canvas.rect(at, canvas.y - 9.0, 14.0, 9.0, &fill(origin), None);
    }
    canvas.y += 18.0;
    x = RIGHT;
    let at = canvas.legend_place(&mut x, RIGHT, "pale: waiting for the first byte");
    canvas.rect(at, canvas.y - 9.0, 14.0, 4.5, "class=\"ink\" opacity=\"0.3\"", None);
    canvas.rect(at, canvas.y - 4.5, 14.0, 4.5, "class=\"ink\" opacity=\"0.8\"", None);
    let at = canvas.legend_place(&mut x, RIGHT, "READ that waited");
    mark_wait(canvas, at + 7.0, canvas.y - 12.0..canvas.y - 2.5);
    let at = canvas.legend_place(&mut x, RIGHT, "READ answered at once");
    mark_hit(canvas, at + 7.0, canvas.y - 4.5);
    let mut fetches = trace.files.iter().flat_map(|file| &file.fetches);
    if fetches.any(|fetch| fetch.outcome != Outcome::Done) {
        let at = canvas.legend_place(&mut x, RIGHT, "not completed");
        let style = "class=\"hollow\" stroke-dasharray=\"3 2\"";
        canvas.rect(at, canvas.y - 9.0, 14.0, 9.0, style, None);
    }
    if trace.files.iter().flat_map(|file| &file.fetches).any(Fetch::is_from_disk) {
        let at = canvas.legend_place(&mut x, RIGHT, "in the cache on disk");
        canvas.rect(at, canvas.y - 9.0, 14.0, 9.0, "class=\"hollow\"", None);
    }
    for (class, label) in [("header", "header"), ("data", "data unit")] {
        let at = canvas.legend_place(&mut x, RIGHT, label);
        canvas.rect(at, canvas.y - 9.0, 14.0, 9.0, &format!("class=\"{class}\""), None);
    }
}

fn panel(canvas: &mut Canvas, name: &str, file: &FileTrace, now: u64) {
    let read = union(file.reads.iter().map(|read| read.start..read.end));
    let scale = Scale::new(file.size, &file.hdus, &read, AXIS);
    canvas.y += 22.0;
    canvas.line(RIGHT, canvas.y, WIDTH - RIGHT, canvas.y, "class=\"rule\"");
    canvas.y += 22.0;
    let what = format!("{}, {}", size(file.size), hdus(file));
    let room = WIDTH - 3.0 * RIGHT - Font::SMALL.width(&what);
    canvas.text(RIGHT, canvas.y, Font::NAME, "", &Font::NAME.fit_middle(name, room));
    canvas.text_end(WIDTH - RIGHT, canvas.y, Font::SMALL, "dim", &what);
    let sums = &file.summary;
    let shares: Vec<_> = sums.shares().map(|(name, share)| format!("{name} {}", size(share.bytes))).collect();
    let mishaps = sums.mishaps().map(|mishaps| format!(" ({mishaps})")).unwrap_or_default();
    let pushed = match sums.pushed_bytes {
        0 => String::new(),
        bytes => format!("; {} into the page cache", size(bytes)),
    };
    let (time, after) = (span(sums.duration()), span(sums.first_us));
    let lines = [
        format!("{}{pushed}; in {time}, from {after} after the mount on", sums.read()),
        format!("{}{mishaps}: {}; {} unused", sums.fetched(), shares.join(", "), size(sums.unused_bytes)),
    ];
    for line in lines {
        canvas.y += 16.0;
        canvas.text(RIGHT, canvas.y, Font::SMALL, "dim", &Font::SMALL.fit(&line, WIDTH - 2.0 * RIGHT));
    }
    canvas.y += 10.0;
    hdu_bar(canvas, file, &scale);
    canvas.y += BAR + 6.0;
    lanes(canvas, file, &scale);
    canvas.y += 4.0;
    plot(canvas, file, &scale, now);
}

fn hdus(file: &FileTrace) -> String {
    match (file.hdus.len() as u64, file.layout_complete) {
        (0, true) => "not FITS".to_owned(),
        (0, false) => "HDUs not known".to_owned(),
        (n, true) => count(n, "HDU"),
        (n, false) => format!("{n} HDUs as far as read"),
    }
}

/// The parts of the file, with the names and shapes of the HDUs where there is room.
fn hdu_bar(canvas: &mut Canvas, file: &FileTrace, scale: &Scale) {
    let top = canvas.y;
    canvas.text_end(LEFT - 8.0, top + 20.0, Font::SMALL, "dim", "HDUs");
    if scale.parts().len() as f64 > AXIS / 2.0 {
        canvas.rect(LEFT, top, AXIS, BAR, "class=\"data\"", None);
        let label = format!("{}: too many to draw them one by one", count(file.hdus.len() as u64, "HDU"));
        return canvas.text(LEFT + 8.0, top + 20.0, Font::SMALL, "", &label);
    }
    for part in scale.parts() {
        let (x, width) = (LEFT + part.x.start, part.x.end - part.x.start);
        let bytes = size(part.bytes.end - part.bytes.start);
        let hdu = |index: usize| {
            let name = file.hdus[index].name.as_deref().map(clean).unwrap_or_default();
            let number = index.to_string();
            if name.is_empty() { (number.clone(), number) } else { (name, number) }
        };
        match part.kind {
            PartKind::Header(index) => {
                let detail = format!("header of HDU {index} {}, {bytes}", hdu(index).0);
                canvas.rect(x, top, width, BAR, "class=\"header\"", Some(&detail));
                let number = index.to_string();
                if file.hdus[index].data_offset >= file.hdus[index].end && Font::SMALL.width(&number) + 4.0 <= width {
                    canvas.text_middle(x + width / 2.0, top + 20.0, Font::SMALL, "on-header", &number);
                }
            }
            PartKind::Data(index) => {
                let (name, number) = hdu(index);
                let shape = clean(&file.hdus[index].shape);
                let detail = format!("data of HDU {index} {name}: {shape}, {bytes}");
                canvas.rect(x, top, width, BAR, "class=\"data\"", Some(&detail));
                label(canvas, x..x + width, top, [&name, &number], &shape);
            }
            PartKind::Unknown => {
                let why = if file.hdus.is_empty() { "no HDUs" } else { "no HDU known" };
                canvas.rect(x, top, width, BAR, "class=\"unknown\"", Some(&format!("{why} here, {bytes}")));
                label(canvas, x..x + width, top, [why, "?"], &bytes);
            }
        }
        canvas.line(x, top, x, top + BAR, "class=\"edge\"");
    }
}

/// The longest of two names that fits a part, and below it what else there is to say, if that fits as well.
fn label(canvas: &mut Canvas, x: Range<f64>, top: f64, names: [&str; 2], more: &str) {
    let room = x.end - x.start - 6.0;
    let middle = (x.start + x.end) / 2.0;
    let Some(name) = names.into_iter().find(|name| Font::SMALL.width(name) <= room) else { return };
    let beside = Font::TINY.width(more) <= room && more != "-";
    canvas.text_middle(middle, top + if beside { 14.0 } else { 20.0 }, Font::SMALL, "", name);
    if beside {
        canvas.text_middle(middle, top + 26.0, Font::TINY, "dim", more);
    }
}

/// What was read, what was fetched and what was put into the page cache, at any time.
fn lanes(canvas: &mut Canvas, file: &FileTrace, scale: &Scale) {
    lane_name(canvas, "read");
    let pieces = union(file.reads.iter().map(|read| read.start..read.end));
    strips(canvas, scale, pieces.into_iter(), "class=\"ink\"");
    canvas.y += LANE_STEP;
    lane_name(canvas, "fetched");
    for origin in decision::DECISIONS {
        let of_it = file.fetches.iter().filter(|fetch| fetch.decision == *origin).map(Fetch::arrived);
        strips(canvas, scale, union(of_it).into_iter(), &fill(*origin));
    }
    canvas.y += LANE_STEP;
    if !file.pushes.is_empty() {
        lane_name(canvas, "page cache");
        let pieces = union(file.pushes.iter().map(|push| push.start..push.end));
        strips(canvas, scale, pieces.into_iter(), "class=\"pushed\"");
        canvas.y += LANE_STEP;
    }
}

fn lane_name(canvas: &mut Canvas, name: &str) {
    canvas.text_end(LEFT - 8.0, canvas.y + 9.0, Font::SMALL, "dim", name);
    canvas.rect(LEFT, canvas.y, AXIS, LANE, "class=\"lane\"", None);
}

/// Sorted pieces of a lane; those that would be drawn on top of each other become one.
fn strips(canvas: &mut Canvas, scale: &Scale, pieces: impl Iterator<Item = Range<u64>>, style: &str) {
    let mut pending: Option<(f64, f64)> = None;
    let mut draw = |(start, end): (f64, f64)| canvas.rect(LEFT + start, canvas.y, end - start, LANE, style, None);
    for piece in pieces {
        let (start, end) = breadth(scale, piece);
        pending = match pending {
            Some((from, to)) if start <= to + 0.2 => Some((from, to.max(end))),
            Some(done) => {
                draw(done);
                Some((start, end))
            }
            None => Some((start, end)),
        };
    }
    pending.into_iter().for_each(draw);
}

/// From where to where bytes are drawn: never too narrow to be seen, nor beyond the axis.
fn breadth(scale: &Scale, bytes: Range<u64>) -> (f64, f64) {
    const LEAST: f64 = 2.0;
    let (start, end) = (scale.position(bytes.start), scale.position(bytes.end));
    let start = start.min(AXIS - LEAST);
    (start, end.max(start + LEAST).min(AXIS))
}

/// Fetches and READs against time.
fn plot(canvas: &mut Canvas, file: &FileTrace, scale: &Scale, now: u64) {
    let fetches = file.fetches.iter().map(|fetch| fetch.decided_us..fetch.end_or(now));
    let reads = file.reads.iter().map(|read| read.asked_us..read.answered_us);
    let axis = TimeAxis::new(fetches.chain(reads), PLOT);
    let top = canvas.y;
    let bottom = top + PLOT + 4.0;
    canvas.rect(LEFT, top, AXIS, bottom - top, "class=\"plot\"", None);
    columns(canvas, scale, top..bottom);
    // What happens in the first and the last moment is drawn within the frame.
    canvas.y = top + 2.0;
    time_labels(canvas, &axis);
    for (index, fetch) in file.fetches.iter().enumerate() {
        draw_fetch(canvas, scale, &axis, fetch, now, index < MAX_DETAILS);
    }
    let mut drawn = HashSet::new();
    for read in &file.reads {
        draw_read(canvas, scale, &axis, read, &mut drawn);
    }
    canvas.y = bottom;
}

/// Where the headers are, faintly, and where HDUs begin.
fn columns(canvas: &mut Canvas, scale: &Scale, y: Range<f64>) {
    if scale.parts().len() as f64 > AXIS / 2.0 {
        return;
    }
    for part in scale.parts().iter().filter(|part| matches!(part.kind, PartKind::Header(_))) {
        let width = part.x.end - part.x.start;
        canvas.rect(LEFT + part.x.start, y.start, width, y.end - y.start, "class=\"column\"", None);
    }
}

fn time_labels(canvas: &mut Canvas, axis: &TimeAxis) {
    for (after, y) in axis.ticks() {
        let y = canvas.y + y;
        let label = if after == 0 { "0".to_owned() } else { span_exactly(after) };
        canvas.text_end(LEFT - 8.0, y + 4.0, Font::TINY, "dim", &label);
        canvas.line(LEFT - 4.0, y, LEFT, y, "class=\"tick\"");
    }
    for idle in axis.idle() {
        let (start, end) = (canvas.y + idle.y.start, canvas.y + idle.y.end);
        canvas.rect(LEFT, start, AXIS, end - start, "class=\"idle\"", None);
        let label = format!("{} of nothing", span(idle.time.end - idle.time.start));
        canvas.text_middle(LEFT + AXIS / 2.0, (start + end) / 2.0 + 3.5, Font::TINY, "dim", &label);
    }
}

/// A round time, without digits that say nothing.
fn span_exactly(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} us"),
        1_000..1_000_000 => format!("{} ms", micros as f64 / 1e3),
        _ => format!("{} s", micros as f64 / 1e6),
    }
}

/// A thin line while it waited to be sent, pale until the first byte, then full; an outline if it brought nothing.
fn draw_fetch(canvas: &mut Canvas, scale: &Scale, axis: &TimeAxis, fetch: &Fetch, now: u64, detailed: bool) {
    let (start, end) = breadth(scale, fetch.start..fetch.end);
    let (x, width) = (LEFT + start, end - start);
    let at = |time: u64| canvas.y + axis.position(time);
    let ended = fetch.end_or(now);
    let sent = fetch.sent_us.map_or(ended, Moment::get);
    let first = fetch.first_byte_us.map_or(ended, Moment::get);
    let [decided, sent, first, ended] = [fetch.decided_us, sent, first, ended].map(at);
    let colour = decision::colour(fetch.decision);
    let detail = detailed.then(|| detail(fetch, now));
    if sent - decided > 1.0 && !fetch.is_from_disk() {
        let style = format!("stroke=\"{colour}\" stroke-dasharray=\"1 2\"");
        canvas.line(x + width / 2.0, decided, x + width / 2.0, sent, &style);
    }
    let high = (ended - sent).max(2.0);
    if fetch.outcome == Outcome::Done && fetch.is_from_disk() {
        let style = format!("fill=\"{colour}\" fill-opacity=\"0.12\" stroke=\"{colour}\"");
        canvas.rect(x, decided, width, (ended - decided).max(2.0), &style, detail.as_deref());
    } else if fetch.outcome == Outcome::Done {
        let pale = (first - sent).min(high);
        canvas.rect(x, sent, width, pale, &format!("fill=\"{colour}\" opacity=\"0.3\""), detail.as_deref());
        canvas.rect(x, sent + pale, width, (high - pale).max(2.0), &fill(fetch.decision), detail.as_deref());
    } else {
        let style = format!("fill=\"{colour}\" fill-opacity=\"0.12\" stroke=\"{colour}\" stroke-dasharray=\"3 2\"");
        canvas.rect(x, sent, width, high, &style, detail.as_deref());
    }
}

fn detail(fetch: &Fetch, now: u64) -> String {
    let outcome = match fetch.outcome {
        Outcome::UnderWay => ", under way",
        Outcome::Done if fetch.is_from_disk() => ", in the cache on disk",
        Outcome::Done => "",
        Outcome::Failed => ", failed",
        Outcome::Cancelled => ", cancelled",
    };
    let long = span(fetch.end_or(now).saturating_sub(fetch.decided_us));
    let length = size(fetch.end.saturating_sub(fetch.start));
    let name = decision::name(fetch.decision);
    format!("{name}: bytes {} to {}, {length} in {long}{outcome}", fetch.start, fetch.end)
}

fn draw_read(canvas: &mut Canvas, scale: &Scale, axis: &TimeAxis, read: &Read, drawn: &mut HashSet<(bool, i64, i64)>) {
    let (start, end) = breadth(scale, read.start..read.end);
    let x = LEFT + (start + end) / 2.0;
    let (asked, answered) = (canvas.y + axis.position(read.asked_us), canvas.y + axis.position(read.answered_us));
    // What would come to lie in the same place is drawn once.
    if drawn.insert((read.waited, (x * 2.0) as i64, (answered * 2.0) as i64)) {
        match read.waited {
            true => mark_wait(canvas, x, asked..answered),
            false => mark_hit(canvas, x, answered),
        }
    }
}

fn mark_wait(canvas: &mut Canvas, x: f64, y: Range<f64>) {
    canvas.line(x, y.start, x, y.end, "class=\"wait\"");
    canvas.dot(x, y.end, 2.4, "class=\"ink halo\"");
}

fn mark_hit(canvas: &mut Canvas, x: f64, y: f64) {
    canvas.dot(x, y, 1.9, "class=\"hit\"");
}

fn fill(origin: Origin) -> String {
    format!("fill=\"{}\"", decision::colour(origin))
}
