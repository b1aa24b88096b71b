//! Readers that go forward through data: found among interleaved reads, and with as much readahead as they have earned.
//!
//! A stream is read ahead in steps, each a multiple of what it has read so far: a reader that goes from memory to memory
//! reaches the end of a step within a millisecond of its arrival, so the number of steps is the number of round trips
//! that it waits for, while the last step is what it may waste. Where a stream begins tells how far it is likely to
//! go: at the start of a data unit programs mostly read all of it. Streams that left most of a step unread make the
//! file cautious.

use std::ops::Range;

/// So many interleaved readers are told apart; more are rare (threads of one program), and each costs a few words.
const MAX_STREAMS: usize = 16;

/// A read belongs to a stream if it begins at most this far beyond what was planned for it, or behind where it stands.
/// Once the stream has read some, by more: the copying of large memory maps goes backwards within a megabyte (`memcpy`
/// of the C library).
const SLACK: u64 = 64 << 10;
const CHUNK: u64 = 5 << 18;

/// A stream gets readahead once it has read this much in several reads in a row, if nothing else speaks for it.
const PROOF: u64 = 32 << 10;

/// The first step of a reader that begins at the start of a data unit.
pub const UNIT_START: u64 = 1 << 20;

/// What was planned grows by this factor with each step, as long as it is small or the reader is likely to go on to the
/// end of its data unit.
const GROWTH: u64 = 8;

/// From these sizes on bytes begin to cost more than round trips: the factors, in quarters.
const GROWN: [(u64, u64); 2] = [(2 << 20, 13), (6 << 20, 8)];

/// Streams with this much readahead go on evenly: whenever so much more may be planned, it is. Longer steps would
/// leave the network idle between them.
const EVEN: u64 = 16 << 20;
const EVEN_STEP: u64 = 8 << 20;

/// The smallest step worth a request of its own.
const MIN_STEP: u64 = 64 << 10;

/// More caution than this does not help: without proof there is no readahead anyway.
const MAX_CAUTION: u32 = 4;

#[derive(Debug, Clone)]
struct Stream {
    id: u64,
    start: u64,
    next: u64,
    /// The end of the first read: what was read backwards is between `start` and here.
    origin: u64,
    /// The last reads that touch one another, and the longest that such ones have been.
    run: Range<u64>,
    longest: u64,
    /// The last read left out some of the file, and may have been there by chance.
    doubted: bool,
    /// All up to here has been read or planned.
    ahead: u64,
    /// All from here on has been read or planned: below `start` for a reader that goes backwards.
    behind: u64,
    /// Began at the start of a data unit.
    to_the_end: bool,
    /// The length of the last step.
    step: u64,
    /// Bytes planned ahead of the reader in all.
    planned: u64,
    reads: u64,
    touched: u64,
}

/// The next step of a stream.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// Names the stream in [`Streams::note_planned`].
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
    pub step: Option<Step>,
    /// Data that was fetched ahead for readers that have gone elsewhere.
    pub abandoned: Vec<Range<u64>>,
}

/// The forward readers of one object.
#[derive(Debug)]
pub struct Streams {
    streams: Vec<Stream>,
    /// Steps that were mostly left unread, less those that were used.
    caution: u32,
    max_ahead: u64,
    ticks: u64,
}

impl Streams {
    /// No streams yet; each is read ahead by at most `max_ahead` bytes.
    pub fn new(max_ahead: u64) -> Self {
        Self { streams: Vec::new(), caution: 0, max_ahead, ticks: 0 }
    }

    /// From now on each stream is read ahead by at most `max_ahead` bytes.
    pub fn bound(&mut self, max_ahead: u64) {
        self.max_ahead = max_ahead;
    }

    /// Whether streams have left their readahead unread: places that only hint at more are not to be trusted.
    pub fn is_cautious(&self) -> bool {
        self.caution > 0
    }

    /// Whether a read goes on where a stream stands, or is in what was planned for it.
    pub fn continues(&self, read: &Range<u64>) -> bool {
        self.streams.iter().any(|s| s.accepts(read) && read.start <= s.next.max(s.ahead))
    }

    /// Whether a read goes on in a stream that has been seen to read `length` bytes without leaving any out.
    pub fn reads_all(&self, read: &Range<u64>, length: u64) -> bool {
        self.streams.iter().any(|s| s.accepts(read) && s.longest >= length)
    }

    /// Takes note of a read. One that no stream expects begins a stream, with a first step of `first` bytes if the
    /// place speaks for it; not if its bytes are `held`: then it fills a hole that the kernel has made in what a
    /// stream has passed.
    pub fn advance(&mut self, read: &Range<u64>, held: bool, first: u64) -> Advance {
        self.ticks += 1;
        let index = self.streams.iter().position(|s| s.accepts(read));
        let mut abandoned = Vec::new();
        let index = match index {
            Some(index) => index,
            None if held => return Advance::default(),
            None => {
                abandoned = self.begin(read, first >= UNIT_START);
                self.streams.len() - 1
            }
        };
        let stream = &mut self.streams[index];
        stream.touched = self.ticks;
        stream.reads += 1;
        let confirmed = stream.confirm(read);
        if read.start < stream.start {
            return Advance { step: stream.go_back(read, self.max_ahead), abandoned };
        }
        stream.next = stream.next.max(read.end);
        if read.start <= stream.ahead {
            stream.ahead = stream.ahead.max(read.end);
        }
        Advance { step: if confirmed { self.next_step(index, first) } else { None }, abandoned }
    }

    /// `range` is going to be fetched for a stream.
    pub fn note_planned(&mut self, id: u64, range: &Range<u64>) {
        let Some(stream) = self.streams.iter_mut().find(|s| s.id == id) else { return };
        stream.planned += range.end - range.start;
        if range.end > stream.ahead {
            stream.step = range.end - stream.ahead;
            stream.ahead = range.end;
        }
        stream.behind = stream.behind.min(range.start);
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

    /// What is to be fetched for a stream now, if a step is due; `first` is the length of its first one.
    fn next_step(&self, index: usize, first: u64) -> Option<Step> {
        let stream = &self.streams[index];
        let run = stream.next - stream.start;
        let so_far = stream.ahead.saturating_sub(stream.start);
        let target = if stream.planned > 0 && so_far >= EVEN {
            let target = if stream.to_the_end { run + self.max_ahead } else { 2 * run };
            let more = target.min(run + self.max_ahead).saturating_sub(so_far);
            if more < EVEN_STEP.min(self.max_ahead / 4) {
                return None;
            }
            target
        } else if stream.planned > 0 {
            if stream.ahead.saturating_sub(stream.next) > stream.step / 4 {
                return None;
            }
            self.grown(so_far, stream.to_the_end)
        } else {
            // The larger of hint and proof counts: a small hint must not keep a long run from being followed.
            let proof = if run >= PROOF && stream.reads > 1 { self.grown(run, stream.to_the_end) } else { 0 };
            match first.max(proof) {
                0 => return None,
                target => target.max(run),
            }
        };
        let end = (stream.start + target).min(stream.next + self.max_ahead);
        let step = Step { id: stream.id, stream: stream.start..stream.next, range: stream.ahead..end };
        (step.range.start + MIN_STEP <= step.range.end).then_some(step)
    }

    /// Up to how far from its start a stream is read ahead next, which was so far read ahead by `so_far`.
    fn grown(&self, so_far: u64, to_the_end: bool) -> u64 {
        let late = GROWN.iter().rev().find(|(size, _)| so_far >= *size && !to_the_end).map(|(_, quarters)| *quarters);
        let quarters = late.unwrap_or(4 * GROWTH) >> self.caution.min(2);
        so_far / 4 * quarters.max(6)
    }

    fn begin(&mut self, read: &Range<u64>, to_the_end: bool) -> Vec<Range<u64>> {
        let mut abandoned = Vec::new();
        if self.streams.len() >= MAX_STREAMS
            && let Some(oldest) = (0..self.streams.len()).min_by_key(|i| self.streams[*i].touched)
        {
            let stream = self.streams.swap_remove(oldest);
            abandoned.extend(self.end(&stream));
        }
        let (start, next) = (read.start, read.end);
        let (id, touched) = (self.ticks, self.ticks);
        self.streams.push(Stream {
            id,
            start,
            next,
            origin: next,
            run: read.clone(),
            longest: next - start,
            doubted: false,
            ahead: next,
            behind: start,
            to_the_end,
            step: 0,
            planned: 0,
            reads: 0,
            touched,
        });
        abandoned
    }

    /// Learns from a stream that is over; returns what was planned and not read.
    fn end(&mut self, stream: &Stream) -> Option<Range<u64>> {
        let unused = stream.ahead.saturating_sub(stream.next);
        if unused > stream.planned / 2 {
            self.caution = (self.caution + 1).min(MAX_CAUTION);
        } else if stream.planned > 0 {
            self.caution = self.caution.saturating_sub(1);
        }
        (unused > 0).then_some(stream.next..stream.ahead)
    }
}

impl Stream {
    /// Whether a read goes on from here: it begins near where the stream stands, or in what was fetched ahead (what
    /// stands in the page cache is read without the daemon's knowledge). Or it ends where the stream began.
    fn accepts(&self, read: &Range<u64>) -> bool {
        let slack = if self.next - self.start >= CHUNK / 2 { CHUNK } else { SLACK };
        let reached = self.next.max(self.ahead);
        let forward = read.start + slack >= self.next && read.start <= reached + slack && read.end > self.start;
        let backward = read.start < self.start && read.end + SLACK >= self.behind && read.end <= self.start + SLACK;
        forward || backward
    }

    /// Takes note of a read, and tells whether it confirms that the stream goes on: it is near the last ones, or in what was
    /// planned, or the second in a row that leaves out some of the file. The first may be there by chance.
    fn confirm(&mut self, read: &Range<u64>) -> bool {
        let is_near = |run: &Range<u64>, slack| read.start <= run.end + slack && run.start <= read.end + slack;
        let leaves_out = !is_near(&self.run, SLACK) && read.start > self.ahead + SLACK;
        self.run = match is_near(&self.run, 0) {
            true => self.run.start.min(read.start)..self.run.end.max(read.end),
            false => read.clone(),
        };
        self.longest = self.longest.max(self.run.end - self.run.start);
        let was_doubted = std::mem::replace(&mut self.doubted, leaves_out);
        !leaves_out || was_doubted
    }

    /// The stream is read backwards, by a program or by the copying of a large memory map. What it has read forwards
    /// does not speak for going on backwards.
    fn go_back(&mut self, read: &Range<u64>, max_ahead: u64) -> Option<Step> {
        let contiguous = read.end >= self.behind;
        self.start = read.start;
        if contiguous {
            self.behind = self.behind.min(self.start);
        }
        let run = self.origin - self.start;
        let left = self.start.saturating_sub(self.behind);
        if run < PROOF || self.reads < 2 || left > run / 4 {
            return None;
        }
        let range = self.start.saturating_sub((run * GROWTH / 2).min(max_ahead))..self.behind;
        let step = Step { id: self.id, stream: self.start..self.next, range };
        (step.range.start + MIN_STEP <= step.range.end).then_some(step)
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
        let step = streams.advance(&range, false, 0).step?;
        streams.note_planned(step.id, &step.range);
        Some(step.range)
    }

    #[test]
    fn the_second_window_in_a_row_earns_readahead_that_grows() {
        let mut streams = Streams::new(64 << 20);
        assert_eq!(read(&mut streams, window(100)), None);
        let first = read(&mut streams, window(101)).expect("two windows in a row");
        assert_eq!(first, window(102).start..window(100).start + GROWTH * 2 * WINDOW);
        let (mut at, mut last) = (first.start, 0);
        for _ in 0..200 {
            if let Some(ahead) = read(&mut streams, at..at + WINDOW) {
                assert!(ahead.end - ahead.start <= 64 << 20);
                last = ahead.end;
            }
            at += WINDOW;
        }
        assert!(last - at >= 20 << 20, "a long stream is read ahead by tens of megabytes");
    }

    #[test]
    fn a_reader_that_leaves_out_a_little_each_time_gets_readahead_all_the_same() {
        let mut streams = Streams::new(64 << 20);
        for n in 0..20 {
            read(&mut streams, window(n));
        }
        let (mut surprises, mut planned) = (0, window(19).end);
        for n in 0..500 {
            let at = window(20).start + n * (WINDOW + (100 << 10));
            surprises += u32::from(at + WINDOW > planned);
            planned = planned.max(read(&mut streams, at..at + WINDOW).map_or(0, |ahead| ahead.end));
        }
        assert!(surprises < 20, "{surprises} of 500 reads were beyond what was planned");
    }

    #[test]
    fn interleaved_readers_are_told_apart() {
        let mut streams = Streams::new(64 << 20);
        let mut steps = [0; 4];
        for step in 0..8 {
            for reader in 0..4u64 {
                steps[reader as usize] += read(&mut streams, window(reader * 10_000 + step)).is_some() as u32;
            }
        }
        assert!(steps.iter().all(|n| *n > 0), "{steps:?}");
    }

    #[test]
    fn wasted_readahead_becomes_small() {
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
            assert_eq!(streams.advance(&window(hole), true, 0), Advance::default());
        }
        assert_eq!(streams.streams.len(), 1);
    }

    #[test]
    fn closing_before_readahead_is_used_makes_the_next_step_smaller() {
        let mut streams = Streams::new(64 << 20);
        read(&mut streams, window(0));
        read(&mut streams, window(1)).unwrap();
        streams.clear();
        assert_eq!((streams.streams.len(), streams.caution), (0, 1));
    }

    #[test]
    fn the_start_of_a_data_unit_earns_readahead_at_once() {
        let mut streams = Streams::new(64 << 20);
        let step = streams.advance(&window(0), false, UNIT_START).step.expect("a first step");
        assert_eq!(step.range, window(1).start..UNIT_START);
        streams.note_planned(step.id, &step.range);
        let next = read(&mut streams, window(7)).expect("the next step");
        assert_eq!(next, UNIT_START..GROWTH * UNIT_START);
    }

    #[test]
    fn a_small_hint_does_not_keep_a_long_run_from_being_followed() {
        let mut streams = Streams::new(64 << 20);
        let (mut at, mut waits) = (window(1000).start, 0);
        let mut ahead = at;
        while at < window(1100).start {
            waits += u32::from(at >= ahead);
            ahead = ahead.max(at + 4096);
            let hint = 16 * 2560;
            if let Some(step) = streams.advance(&(at..at + 4096), false, hint).step {
                streams.note_planned(step.id, &step.range);
                ahead = ahead.max(step.range.end);
            }
            at += 4096;
        }
        assert!(waits < 24, "{waits} waits for 12.8 MB page by page");
    }

    #[test]
    fn readahead_of_a_reader_that_goes_backwards_goes_backwards() {
        let mut streams = Streams::new(64 << 20);
        let mut below = None;
        for n in (90..=100).rev() {
            below = below.or(read(&mut streams, window(n)));
        }
        let below = below.expect("readahead below");
        assert!(below.end <= window(100).start && below.start < below.end, "{below:?}");
    }

    #[test]
    fn one_read_before_the_start_of_a_long_stream_gets_little_readahead() {
        let mut streams = Streams::new(64 << 20);
        for n in 100..200 {
            read(&mut streams, window(n));
        }
        let back = window(100).start - 8192..window(100).start - 4096;
        let ahead = read(&mut streams, back).map_or(0, |ahead| ahead.end - ahead.start);
        assert!(ahead <= GROWTH * WINDOW, "{ahead} bytes");
    }

    #[test]
    fn megabytes_that_are_copied_backwards_are_one_stream() {
        let mut streams = Streams::new(64 << 20);
        let (mut planned, mut beyond) = (0, 0);
        for chunk in 0..32u64 {
            for n in (0..8).rev() {
                let ahead = read(&mut streams, window(8 * chunk + n));
                planned += ahead.as_ref().map_or(0, |ahead| ahead.end - ahead.start);
                beyond = beyond.max(ahead.map_or(0, |ahead| ahead.end));
            }
        }
        assert_eq!(streams.streams.len(), 1);
        assert!(planned > 16 << 20 && beyond > window(8 * 32).start, "{planned} bytes up to {beyond}");
    }

    proptest! {
        #[test]
        fn readahead_is_bounded(first in 0u64..2 << 20, reads in proptest::collection::vec((0u64..1 << 34, 1u64..1 << 20), 1..200)) {
            let mut streams = Streams::new(16 << 20);
            for (start, len) in reads {
                let advance = streams.advance(&(start..start + len), false, first);
                if let Some(step) = advance.step {
                    prop_assert!(step.range.start < step.range.end);
                    prop_assert!(step.range.end <= step.stream.end + (16 << 20));
                    prop_assert!(step.range.start + (16 << 20) >= step.stream.start);
                    streams.note_planned(step.id, &step.range);
                }
            }
        }
    }
}
