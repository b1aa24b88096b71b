//! What the network did for each file: recorded by the daemon, shown by `fitsfs trace`.
//!
//! - [`Journal`]: the record, a ring in memory, written to where things happen
//! - [`Trace`]: its content at one moment, by file; as JSON the answer of the daemon and the output of `--json`
//! - [`text`] and [`svg`]: the same for people; [`scale`] and [`time`] are the axes of the picture
//! - [`decision`]: names and colours of the decisions to fetch
//!
//! All times are microseconds since the mount was made, all ranges bytes of the object.

mod decision;
mod journal;
mod scale;
mod summary;
pub mod svg;
pub mod text;
mod time;

use std::num::NonZeroU64;
use std::ops::Range;

use serde::{Deserialize, Serialize};

pub use journal::{Fetching, Journal};
pub use summary::{Share, Summary, Waited};

use crate::cache::Origin;
use crate::fits::{Hdu, Layout, Tail, render};
use crate::metrics::Cause;
use crate::printable::printable;

/// Files that are shown one by one, those with the most traffic; more make neither a page nor a picture.
const MAX_SHOWN: usize = 12;

/// A moment, in microseconds since the mount; never 0, so that an optional one takes no more room.
pub type Moment = NonZeroU64;

/// What happened in a mount since it was made, or since the trace was cleared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// Version of the program that serves the mount.
    pub version: String,
    /// URLs of the sources.
    pub sources: Vec<String>,
    /// Where the mount is.
    pub mountpoint: String,
    /// When it was made, in seconds since 1970: the zero of all times here.
    pub mounted_unix_seconds: f64,
    /// When this was asked for, in microseconds since the mount.
    pub now_us: u64,
    /// Older events that there was no room for, or whose files are not remembered any more.
    pub dropped_events: u64,
    /// The files, in the order of their first events.
    pub files: Vec<FileTrace>,
}

/// What happened to one version of an object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FileTrace {
    /// Where it is in the mount.
    pub path: String,
    /// Where it is in the store.
    pub url: String,
    /// Its size in bytes.
    pub size: u64,
    /// The HDUs as far as their headers have arrived.
    pub hdus: Vec<HduMark>,
    /// Whether these are all.
    pub layout_complete: bool,
    /// The sums of what follows.
    pub summary: Summary,
    /// When programs opened it, while none had it open; microseconds since the mount.
    pub opened_us: Vec<u64>,
    /// When the last program closed it.
    pub closed_us: Vec<u64>,
    /// READ requests of the kernel, in the order of their answers.
    pub reads: Vec<Read>,
    /// READs that waited for the store, in the order of their answers.
    #[serde(default)]
    pub waits: Vec<LateRead>,
    /// Fetches, in the order of the decisions.
    pub fetches: Vec<Fetch>,
    /// What was put into the kernel's page cache, where programs read it without a READ.
    pub pushes: Vec<Push>,
}

/// Where an HDU is, in bytes from the start of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HduMark {
    /// `EXTNAME`, if it has one.
    pub name: Option<String>,
    /// Shape and element type for people; `-` without data.
    pub shape: String,
    /// Where the header begins.
    pub header_offset: u64,
    /// Where the data begins.
    pub data_offset: u64,
    /// Where the padding ends.
    pub end: u64,
}

/// A READ request of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    /// First byte.
    pub start: u64,
    /// Behind the last byte.
    pub end: u64,
    /// When it came, in microseconds since the mount.
    pub asked_us: u64,
    /// When it was answered.
    pub answered_us: u64,
    /// Whether its bytes had yet to arrive when it came.
    pub waited: bool,
    /// Whether it was answered with an error.
    pub failed: bool,
}

/// A READ whose bytes had yet to come from the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateRead {
    /// First byte.
    pub start: u64,
    /// Behind the last byte.
    pub end: u64,
    /// How it was seen by what decides about fetching.
    pub cause: Cause,
    /// When it had its bytes, in microseconds since the mount.
    pub ended_us: u64,
    /// How long it had waited by then, in microseconds.
    pub waited_us: u64,
}

/// A fetch: one range GET, unless it was cancelled before it was sent or all of it was on disk; repetitions of a GET that
/// failed count as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    /// First byte asked for.
    pub start: u64,
    /// Behind the last one.
    pub end: u64,
    /// Which decision caused it.
    pub decision: Origin,
    /// When it was decided, in microseconds since the mount.
    pub decided_us: u64,
    /// When it had the memory and the slot that it needed, and was sent.
    pub sent_us: Option<Moment>,
    /// When the first byte arrived.
    pub first_byte_us: Option<Moment>,
    /// When it ended.
    pub ended_us: Option<Moment>,
    /// Bytes that arrived from the store.
    pub bytes: u64,
    /// Bytes that the cache on disk had.
    pub disk_bytes: u64,
    /// How it ended.
    pub outcome: Outcome,
}

impl Fetch {
    /// When it ended, or `now` if it is under way.
    fn end_or(&self, now: u64) -> u64 {
        self.ended_us.map_or(now, Moment::get)
    }

    /// The bytes that arrived, which come in order.
    fn arrived(&self) -> Range<u64> {
        self.start..self.start.saturating_add(self.bytes).saturating_add(self.disk_bytes)
    }

    /// Whether all of it was on disk.
    fn is_from_disk(&self) -> bool {
        self.disk_bytes > 0 && self.bytes == 0
    }
}

/// How a fetch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It has not.
    UnderWay,
    /// All bytes arrived.
    Done,
    /// It failed, after all repetitions.
    Failed,
    /// No reader was expected to want it any more.
    Cancelled,
}

/// Data put into the kernel's page cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Push {
    /// First byte.
    pub start: u64,
    /// Behind the last byte.
    pub end: u64,
    /// When, in microseconds since the mount.
    pub at_us: u64,
}

/// What a file is called, and what is known of its structure.
#[derive(Clone, Debug, Default)]
pub struct FileFacts {
    /// The path in the mount.
    pub path: String,
    /// The URL in the store.
    pub url: String,
    /// Size in bytes.
    pub size: u64,
    /// Its HDUs.
    pub hdus: Vec<HduMark>,
    /// Whether these are all.
    pub layout_complete: bool,
}

impl FileFacts {
    /// The facts of a file of that layout.
    pub fn new(path: String, url: String, layout: &Layout) -> Self {
        let layout_complete = !matches!(layout.tail, Tail::Unread { .. });
        let hdus = layout.hdus.iter().map(HduMark::of).collect();
        Self { path, url, size: layout.file_size, hdus, layout_complete }
    }
}

impl HduMark {
    fn of(hdu: &Hdu) -> Self {
        Self {
            name: hdu.name.clone(),
            shape: render::shape(hdu),
            header_offset: hdu.header_offset,
            data_offset: hdu.data_offset,
            end: hdu.end(),
        }
    }
}

impl FileTrace {
    fn new(facts: FileFacts) -> Self {
        let FileFacts { path, url, size, hdus, layout_complete } = facts;
        Self { path, url, size, hdus, layout_complete, ..Self::default() }
    }
}

impl Trace {
    /// Leaves only files at or below one of these paths.
    pub fn retain(&mut self, paths: &[String]) {
        let below = |path: &str, place: &str| {
            path.strip_prefix(place.trim_end_matches('/')).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.files.retain(|file| paths.iter().any(|place| below(&file.path, place)));
    }

    /// The sums of all files.
    pub fn total(&self) -> Summary {
        Summary::total(&self.files)
    }

    /// The files to show one by one, in the order of their first events, and the sums of the others, if there are any.
    fn shown(&self) -> (Vec<&FileTrace>, Option<(usize, Summary)>) {
        let mut order: Vec<_> = (0..self.files.len()).collect();
        order.sort_by_key(|index| std::cmp::Reverse(self.files[*index].summary.traffic()));
        let rest = order.split_off(order.len().min(MAX_SHOWN));
        order.sort_unstable();
        let shown = order.into_iter().map(|index| &self.files[index]).collect();
        let others =
            (!rest.is_empty()).then(|| (rest.len(), Summary::total(rest.iter().map(|index| &self.files[*index]))));
        (shown, others)
    }

    /// What is at the top of page and picture: which mount this is.
    fn subject(&self) -> String {
        clean(&format!("{} at {}", self.sources.join(", "), self.mountpoint))
    }

    /// The path of a file within the mount, for display.
    fn name_of(&self, file: &FileTrace) -> String {
        let within = file.path.strip_prefix(&self.mountpoint).unwrap_or(&file.path);
        clean(within.trim_start_matches('/'))
    }
}

/// Text for display: a key may hold anything, and must neither steer a terminal nor break a picture.
fn clean(text: &str) -> String {
    // Not allowed in XML 1.0 (section 2.2), not even escaped.
    printable(text).replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}")
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().si().to_string()
}

/// A time span for people.
fn span(micros: u64) -> String {
    match micros {
        0..10_000 => format!("{:.1} ms", micros as f64 / 1e3),
        10_000..1_000_000 => format!("{} ms", micros / 1000),
        1_000_000..100_000_000 => format!("{:.2} s", micros as f64 / 1e6),
        _ => format!("{} s", micros / 1_000_000),
    }
}

/// `1 GET`, `2 GETs`.
fn count(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests;
