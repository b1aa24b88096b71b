//! Page and picture of a trace that is made up.

use proptest::prelude::*;

use super::*;

const KIB: u64 = 1 << 10;

fn mark(name: &str, header_offset: u64, data_offset: u64, end: u64) -> HduMark {
    HduMark { name: Some(name.to_owned()), shape: "(5, 6) float32".to_owned(), header_offset, data_offset, end }
}

fn fetch(range: Range<u64>, decision: Origin, sent: u64, outcome: Outcome) -> Fetch {
    let ended_us = if outcome == Outcome::UnderWay { None } else { Moment::new(sent + 40_000) };
    Fetch {
        start: range.start,
        end: range.end,
        decision,
        decided_us: sent,
        sent_us: Moment::new(sent),
        first_byte_us: Moment::new(sent + 30_000),
        ended_us,
        bytes: if outcome == Outcome::Done { range.end - range.start } else { 0 },
        disk_bytes: 0,
        outcome,
    }
}

/// A file whose header was read and of whose data some was, under a name of one's choice.
fn file(name: &str) -> FileTrace {
    let read = |start: u64, asked_us: u64, waited| Read {
        start,
        end: start + 4 * KIB,
        asked_us,
        answered_us: asked_us + 41_000,
        waited,
        failed: false,
    };
    let mut file = FileTrace {
        path: format!("/mnt/{name}"),
        url: format!("s3://bucket/{name}"),
        size: 10 << 20,
        hdus: vec![mark("PRIMARY", 0, 2880, 2880), mark(name, 2880, 5760, 9 << 20)],
        reads: vec![read(0, 1000, true), read(KIB << 12, 50_000_000, false)],
        fetches: vec![
            fetch(0..64 * KIB, Origin::Demand, 1000, Outcome::Done),
            fetch(9 << 20..(9 << 20) + 16 * KIB, Origin::Chain, 41_000, Outcome::Failed),
            fetch(KIB << 12..KIB << 13, Origin::Sequential, 50_000_000, Outcome::UnderWay),
        ],
        waits: vec![LateRead { start: 0, end: 4 * KIB, cause: Cause::Header, ended_us: 42_000, waited_us: 40_000 }],
        pushes: vec![Push { start: 5000, end: 6000, at_us: 45_000 }],
        ..FileTrace::default()
    };
    file.summary = Summary::of(&file, 60_000_000);
    file
}

fn trace(files: Vec<FileTrace>) -> Trace {
    Trace {
        sources: vec!["s3://bucket".to_owned()],
        mountpoint: "/mnt".to_owned(),
        now_us: 60_000_000,
        files,
        ..Trace::default()
    }
}

#[test]
fn the_page_tells_what_each_file_cost() {
    let text = text::render(&trace(vec![file("a.fits")]), str::to_owned);
    for line in [
        "s3://bucket at /mnt: 1 file in 60.00 s",
        "a.fits",
        "  file       10.5 MB, 2 HDUs: PRIMARY a.fits (as far as read)",
        "  read       2 READs of 8.2 kB, 1 waited 41 ms together",
        "  waits      1 header 40 ms",
        "  fetched    3 GETs of 65.5 kB in 3 rounds",
        "             demand         1 GET   65.5 kB",
        "             1 failed",
        "  page cache 1.0 kB put there ahead of the program",
    ] {
        assert!(text.lines().any(|l| l == line), "{line:?} is not in:\n{text}");
    }
}

#[test]
fn long_waits_are_told_with_what_spares_them() {
    let mut slow = file("slow.fits");
    let wait = LateRead { start: 0, end: KIB, cause: Cause::Unforeseen, ended_us: 2_000_000, waited_us: 800_000 };
    slow.waits.extend([wait, wait]);
    slow.summary = Summary::of(&slow, 60_000_000);
    let text = text::render(&trace(vec![file("a.fits"), slow]), str::to_owned);
    assert!(text.contains("  waits      2 unforeseen 1.60 s, 1 header 40 ms\n"), "{text}");
    assert_eq!(text.matches("fitsfs warm /mnt/slow.fits").count(), 1, "{text}");
    assert!(!text.contains("fitsfs warm /mnt/a.fits"));
}

#[test]
fn a_trace_of_nothing_says_so() {
    assert!(text::render(&trace(vec![]), str::to_owned).contains("nothing was read"));
    let picture = svg::render(&trace(vec![]));
    assert!(roxmltree::Document::parse(&picture).is_ok() && picture.contains("nothing was read"));
}

#[test]
fn of_many_files_those_with_most_traffic_are_shown() {
    let mut files: Vec<_> = (0..30).map(|n| file(&format!("file-{n:02}"))).collect();
    for (index, file) in files.iter_mut().enumerate() {
        file.summary.fetched_bytes += (index as u64 * 7 % 30) << 20;
    }
    files[29].summary.fetched_bytes = 1 << 40;
    let trace = trace(files);
    let (shown, others) = trace.shown();
    assert_eq!((shown.len(), others.as_ref().map(|(n, _)| *n)), (MAX_SHOWN, Some(18)));
    assert!(shown.windows(2).all(|pair| pair[0].path < pair[1].path), "in the order of their first events");
    let text = text::render(&trace, str::to_owned);
    assert!(text.contains("file-29") && text.contains("18 other files with less traffic"));
    assert!(svg::render(&trace).contains("and 18 other files with less traffic"));
}

#[test]
fn paths_choose_files() {
    let choose = |places: &[&str]| {
        let mut trace = trace(["a/b.fits", "a/bc.fits", "d.fits"].map(file).to_vec());
        trace.retain(&places.iter().map(|place| (*place).to_owned()).collect::<Vec<_>>());
        trace.files.iter().map(|file| file.path.clone()).collect::<Vec<_>>()
    };
    assert_eq!(choose(&["/mnt/a/b.fits"]), ["/mnt/a/b.fits"]);
    assert_eq!(choose(&["/mnt/a/"]), ["/mnt/a/b.fits", "/mnt/a/bc.fits"]);
    assert_eq!(choose(&["/mnt/a/b"]), Vec::<String>::new());
}

#[test]
fn a_trace_survives_json() {
    let trace = trace(vec![file("a.fits")]);
    let json = serde_json::to_string(&trace).unwrap();
    assert_eq!(serde_json::from_str::<Trace>(&json).unwrap(), trace);
}

/// The names of all fields in it.
fn names(value: &serde_json::Value) -> Vec<String> {
    match value {
        serde_json::Value::Object(fields) => {
            fields.iter().flat_map(|(name, value)| [vec![name.clone()], names(value)].concat()).collect()
        }
        serde_json::Value::Array(values) => values.iter().flat_map(names).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn the_fields_and_the_decisions_are_documented() {
    let page = include_str!("../../docs/trace.md");
    let decisions = decision::DECISIONS.iter().map(|origin| decision::name(*origin).to_owned());
    for name in names(&serde_json::to_value(trace(vec![file("a.fits")])).unwrap()).into_iter().chain(decisions) {
        assert!(page.contains(&format!("`{name}`")), "{name} is not documented");
    }
}

/// The attribute of an element as a number.
fn number(node: roxmltree::Node<'_, '_>, name: &str) -> f64 {
    node.attribute(name).and_then(|value| value.parse().ok()).unwrap_or(0.0)
}

#[test]
fn nothing_is_drawn_outside_of_the_picture_and_no_texts_overlap() {
    let long = "x".repeat(300);
    let names = ["a.fits", &*long, "星雲/星雲.fits"];
    let mut files = names.map(file).to_vec();
    for hdus in [0, 30, 200, 5000] {
        let step = (10 << 20) / (hdus + 1);
        let mark = |n: u64| mark(&format!("HDU-{n}"), n * step, n * step + 500, (n + 1) * step);
        files.push(FileTrace { hdus: (0..hdus).map(mark).collect(), ..file(&format!("{hdus}.fits")) });
    }
    files.push(FileTrace { path: "/mnt/empty".to_owned(), opened_us: vec![5], ..FileTrace::default() });
    let picture = svg::render(&trace(files));
    let document = roxmltree::Document::parse(&picture).unwrap();
    let height = number(document.root_element(), "height");
    let mut texts: Vec<(f64, f64, f64)> = Vec::new();
    for node in document.descendants() {
        let (x, y) = (number(node, "x"), number(node, "y"));
        let (right, bottom) = (x + number(node, "width"), y + number(node, "height"));
        assert!(x >= 0.0 && right <= 1000.1 && y >= 0.0 && bottom <= height, "{node:?}");
        let Some(text) = node.text().filter(|_| node.has_tag_name("text")) else { continue };
        let wide = text.chars().map(|c| if c.is_ascii() { 0.6 } else { 1.2 }).sum::<f64>() * number(node, "font-size");
        let left = match node.attribute("text-anchor") {
            Some("end") => x - wide,
            Some(_) => x - wide / 2.0,
            None => x,
        };
        assert!(left >= 0.0 && left + wide <= 1000.0, "{text:?} from {left} to {}", left + wide);
        let beside = |t: &(f64, f64, f64)| (t.2 - y).abs() > 8.0 || t.1 <= left || t.0 >= left + wide;
        assert!(texts.iter().all(beside), "{text:?} lies on another text");
        texts.push((left, left + wide, y));
    }
    assert!(texts.len() > 30);
}

proptest! {
    #[test]
    fn any_key_gives_a_picture_and_a_page(name in any::<String>(), mountpoint in any::<String>()) {
        let trace = Trace { mountpoint, ..trace(vec![file(&name)]) };
        let picture = svg::render(&trace);
        prop_assert!(roxmltree::Document::parse(&picture).is_ok(), "{}", picture);
        let text = text::render(&trace, str::to_owned);
        prop_assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
    }
}
