//! Goes through a span from its start, piece by piece: what is asked for next is mostly what follows.

use std::ops::Range;

use bytes::Bytes;

use super::Damage;
use super::index::Span;
use super::inflate::Inflater;

/// A place in a span.
pub struct Cursor {
    inflater: Inflater,
    span: Span,
    /// Compressed bytes that were not asked for yet.
    compressed: Range<u64>,
    /// Input that was not consumed.
    input: Bytes,
    /// What of the piece it is in was decompressed, and perhaps a little of the next one.
    given: Vec<u8>,
    /// Where that begins.
    at: u64,
}

/// What a cursor comes to.
pub enum Reached {
    /// A piece, from this offset on.
    Piece(u64, Bytes),
    /// The end of its input.
    Input,
}

impl Cursor {
    /// At the start of a span, with the window of that.
    pub fn new(span: &Span, window: &[u8]) -> Self {
        Self {
            inflater: Inflater::at(span.restart, window),
            span: span.clone(),
            compressed: span.compressed.clone(),
            input: Bytes::new(),
            given: Vec::new(),
            at: span.plain.start,
        }
    }

    /// Where the next piece begins.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Whether it is in this span: another pass may have found others.
    pub fn is_in(&self, span: &Span) -> bool {
        self.span == *span
    }

    /// The compressed bytes that it needs next, at most so many. None at the end of the span.
    pub fn take_next(&mut self, most: u64) -> Option<Range<u64>> {
        let start = self.compressed.start;
        self.compressed.start = self.compressed.end.min(start.saturating_add(most));
        (start < self.compressed.start).then_some(start..self.compressed.start)
    }

    /// These are they.
    pub fn give(&mut self, input: Bytes) {
        self.input = input;
    }

    /// Decompresses up to the end of the piece, as far as the input goes.
    pub fn advance(&mut self, piece: u64) -> Result<Reached, Damage> {
        let wanted = piece.min(self.span.plain.end - self.at) as usize;
        while self.given.len() < wanted {
            let step = self.inflater.step(&self.input)?;
            let is_idle = step.consumed == 0 && step.plain.is_empty() && !step.is_restart;
            self.given.extend_from_slice(step.plain);
            let consumed = step.consumed;
            self.input = self.input.slice(consumed..);
            if self.input.is_empty() && is_idle {
                return Ok(Reached::Input);
            }
        }
        let rest = self.given.split_off(wanted);
        let bytes = std::mem::replace(&mut self.given, rest);
        let at = self.at;
        self.at += wanted as u64;
        Ok(Reached::Piece(at, bytes.into()))
    }

    /// Whether it is at the end of the span.
    pub fn is_over(&self) -> bool {
        self.at >= self.span.plain.end
    }
}
