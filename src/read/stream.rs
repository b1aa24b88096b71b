//! Readers that go forward through data: found among interleaved reads, and led by as much as they have earned.
//!
//! A reader that keeps going is led by a multiple of what it has read in one go. The multiple adapts to the file:
//! it halves when a stream ends with more fetched ahead than was used, and grows while streams use what they get, so
//! random reads that happen to touch twice cost little.

use std::ops::Range;

/// So many interleaved readers are told apart; more are rare (threads of one program), and each costs a few words.
const MAX_STREAMS: usize = 16;

/// A read belongs to a stream if it begins at most this far behind or beyond where the stream stands: the kernel's
/// readahead window, by which page faults reach back and forth.
const SLACK: u64 = 128 << 10;

/// A stream is led once it has read this much in one go: two readahead windows.
const PROOF: u64 = 256 << 10;

/// The lead as a multiple of what was read: bounds and start.
const MIN_GAIN: u64 = 1;
const FIRST_GAIN: u64 = 4;
const MAX_GAIN: u64 = 8;

/// The smallest step worth a request of its own.
const MIN_STEP: u64 = 256 << 10;

#[derive(Debug, Clone)]
struct Stream {
    id: u64,
    start: u64,
    next: u64,
    /// Fetching has been planned up to here.
    ahead: u64,
    /// Bytes read out of what was fetched ahead.
    used: u64,
    touched: u64,
}

/// What to fetch for a stream.
#[derive(Debug, PartialEq, Eq)]
pub struct Lead {
    /// Names the stream in [`Streams::led`].
    pub id: u64,
    /// What the stream has read.
    pub stream: Range<u64>,
    /// What comes next.
    pub range: Range<u64>,
}

/// What follows from one read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Advance {
    /// Data to fetch ahead.
    pub lead: Option<Lead>,
    /// Data that was fetched ahead for readers that have gone elsewhere.
    pub abandoned: Vec<Range<u64>>,
}

/// The forward readers of one object.
#[derive(Debug)]
pub struct Streams {
    streams: Vec<Stream>,
    gain: u64,
    max_ahead: u64,
    ticks: u64,
}

impl Streams {
    /// No streams yet; one may be led by at most `max_ahead` bytes.
    pub fn new(max_ahead: u64) -> Self {
        Self { streams: Vec::new(), gain: FIRST_GAIN, max_ahead, ticks: 0 }
    }

    /// Takes note of a read. One that no stream expects begins a stream, unless its bytes are `held`: then it fills a
    /// hole that the kernel has made in what a stream has passed.
    pub fn advance(&mut self, read: &Range<u64>, held: bool) -> Advance {
        self.ticks += 1;
        let Some(index) = self.streams.iter().position(|s| s.accepts(read)) else {
            if held {
                return Advance::default();
            }
            return Advance { lead: None, abandoned: self.begin(read) };
        };
        let stream = &mut self.streams[index];
        stream.touched = self.ticks;
        if read.start < stream.ahead && read.end > stream.next {
            stream.used += read.end.min(stream.ahead) - stream.next.min(stream.ahead);
            if stream.used >= PROOF {
                self.gain = (self.gain * 2).min(MAX_GAIN);
            }
        }
        stream.next = stream.next.max(read.end);
        stream.ahead = stream.ahead.max(stream.next);
        Advance { lead: self.lead(index), abandoned: Vec::new() }
    }

    /// Fetching has been planned up to `end` for a stream.
    pub fn led(&mut self, id: u64, end: u64) {
        if let Some(stream) = self.streams.iter_mut().find(|s| s.id == id) {
            stream.ahead = stream.ahead.max(end);
        }
    }

    /// `range` will not be fetched after all.
    pub fn cut(&mut self, range: &Range<u64>) {
        for stream in self.streams.iter_mut().filter(|s| s.ahead > range.start && s.next <= range.start) {
            stream.ahead = range.start;
        }
    }

    /// Ends all streams, and learns from them.
    pub fn clear(&mut self) {
        for stream in std::mem::take(&mut self.streams) {
            self.end(&stream);
        }
    }

    fn lead(&self, index: usize) -> Option<Lead> {
        let stream = &self.streams[index];
        let run = stream.next - stream.start;
        if run < PROOF {
            return None;
        }
        let target = (run * self.gain).min(self.max_ahead);
        let planned = stream.ahead - stream.next;
        if planned >= target / 2 || target - planned < MIN_STEP {
            return None;
        }
        Some(Lead { id: stream.id, stream: stream.start..stream.next, range: stream.ahead..stream.next + target })
    }

    fn begin(&mut self, read: &Range<u64>) -> Vec<Range<u64>> {
        let mut abandoned = Vec::new();
        if self.streams.len() >= MAX_STREAMS
            && let Some(oldest) = (0..self.streams.len()).min_by_key(|i| self.streams[*i].touched)
        {
            let stream = self.streams.swap_remove(oldest);
            abandoned.extend(self.end(&stream));
        }
        let (start, next) = (read.start, read.end);
        self.streams.push(Stream { id: self.ticks, start, next, ahead: next, used: 0, touched: self.ticks });
        abandoned
    }

    /// Learns from a stream that is over; returns what was planned and not read.
    fn end(&mut self, stream: &Stream) -> Option<Range<u64>> {
        let unused = stream.ahead - stream.next;
        if unused > stream.used {
            self.gain = (self.gain / 2).max(MIN_GAIN);
        }
        (unused > 0).then_some(stream.next..stream.ahead)
    }
}

impl Stream {
    /// Whether a read goes on from here: it begins near where the stream stands, or in what was fetched ahead (what
    /// stands in the page cache is read without the daemon's knowledge).
    fn accepts(&self, read: &Range<u64>) -> bool {
        read.start + SLACK >= self.next && read.start <= self.ahead + SLACK && read.end > self.start
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WINDOW: u64 = 128 << 10;

    fn window(n: u64) -> Range<u64> {
        n * WINDOW..(n + 1) * WINDOW
    }

    fn read(streams: &mut Streams, range: Range<u64>) -> Option<Range<u64>> {
        let lead = streams.advance(&range, false).lead?;
        streams.led(lead.id, lead.range.end);
        Some(lead.range)
    }

    #[test]
    fn the_second_window_in_a_row_earns_a_lead_that_grows() {
        let mut streams = Streams::new(64 << 20);
        assert_eq!(read(&mut streams, window(100)), None);
        let first = read(&mut streams, window(101)).expect("two windows in a row");
        assert_eq!(first, window(102).start..window(102).start + FIRST_GAIN * PROOF);
        let (mut at, mut last) = (first.start, 0);
        for _ in 0..200 {
            if let Some(lead) = read(&mut streams, at..at + WINDOW) {
                assert!(lead.end - lead.start <= 64 << 20);
                last = lead.end;
            }
            at += WINDOW;
        }
        assert!(last - at >= 20 << 20, "a long stream is led by tens of megabytes");
    }

    #[test]
    fn interleaved_readers_are_told_apart() {
        let mut streams = Streams::new(64 << 20);
        let mut led = [0; 4];
        for step in 0..8 {
            for reader in 0..4u64 {
                led[reader as usize] += read(&mut streams, window(reader * 10_000 + step)).is_some() as u32;
            }
        }
        assert!(led.iter().all(|n| *n > 0), "{led:?}");
    }

    #[test]
    fn wasted_leads_become_small() {
        let mut streams = Streams::new(64 << 20);
        let mut planned = 0;
        for n in 0..400u64 {
            let place = n * 7919 % 1000 * 100;
            for k in 0..2 {
                planned += read(&mut streams, window(place + k)).map_or(0, |r| r.end - r.start);
            }
        }
        let asked = 400 * 2 * WINDOW;
        assert!(planned < asked * 3 / 2, "planned {planned} bytes ahead of {asked} read");
    }

    #[test]
    fn a_hole_behind_a_stream_begins_no_other() {
        let mut streams = Streams::new(64 << 20);
        read(&mut streams, window(0));
        read(&mut streams, window(1));
        read(&mut streams, window(9));
        for hole in 2..8 {
            assert_eq!(streams.advance(&window(hole), true), Advance::default());
        }
        assert_eq!(streams.streams.len(), 1);
    }

    #[test]
    fn closing_before_a_lead_is_used_makes_the_next_one_smaller() {
        let mut streams = Streams::new(64 << 20);
        read(&mut streams, window(0));
        read(&mut streams, window(1)).unwrap();
        streams.clear();
        assert_eq!((streams.streams.len(), streams.gain), (0, FIRST_GAIN / 2));
    }

    proptest! {
        #[test]
        fn a_lead_is_bounded_and_begins_where_the_last_ended(reads in proptest::collection::vec((0u64..1 << 34, 1u64..1 << 20), 1..200)) {
            let mut streams = Streams::new(16 << 20);
            for (start, len) in reads {
                let advance = streams.advance(&(start..start + len), false);
                if let Some(lead) = advance.lead {
                    prop_assert!(lead.range.end - lead.stream.end <= 16 << 20);
                    prop_assert!(lead.range.start >= lead.stream.end && lead.range.start < lead.range.end);
                    streams.led(lead.id, lead.range.end);
                }
            }
        }
    }
}
