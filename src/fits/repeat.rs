//! What the HDUs of a file so far say about the lengths of those to come: products repeat a few kinds of HDU, all alike
//! or in turns (science, error, quality, and again).
//!
//! The guess is that after HDUs as long as the last ones comes what came after such HDUs before. This is the prediction by
//! the longest matching context known from data compression, with one continuation for each context.

use super::hdu::Hdu;
use super::header::BLOCK_LEN;

/// So many of the last HDUs are searched for what is like now, which bounds the work.
const HISTORY: usize = 128;

/// So many HDUs back are compared. Longer matches than that tell nothing more.
const CONTEXT: usize = 16;

/// Lengths of consecutive HDUs in bytes.
#[derive(Clone, Copy, Debug)]
struct Lengths {
    header: u64,
    span: u64,
}

/// A sequence of HDUs that goes on by what it was like before.
#[derive(Debug)]
pub(super) struct Repetition {
    past: Vec<Lengths>,
    /// The header length of an HDU like none before.
    short: u64,
}

impl Repetition {
    /// The sequence that begins with `hdus`, all of a file so far.
    pub fn after(hdus: &[Hdu]) -> Self {
        let lengths = |hdu: &Hdu| Lengths { header: hdu.header_len(), span: hdu.data_span };
        // The first extension of an observation often carries more cards than the others. Too short is the better side
        // to err on, since a range covers what follows its offset.
        let short = match hdus.get(1..) {
            Some([.., before, last]) => before.header_len().min(last.header_len()),
            _ => BLOCK_LEN,
        };
        Self { past: hdus[hdus.len().saturating_sub(HISTORY)..].iter().map(lengths).collect(), short }
    }

    /// The one that mostly followed what is most like the last HDUs; if nothing is, the most frequent one with data. The
    /// later of two that are as good.
    fn following(&self) -> Option<Lengths> {
        let like_now = |at: usize| {
            let before = self.past[..at].iter().rev().take(CONTEXT);
            before.zip(self.past.iter().rev()).take_while(|(then, now)| then.span == now.span).count()
        };
        let alike: Vec<(usize, usize)> = (1..self.past.len()).map(|at| (like_now(at), at)).collect();
        let most = alike.iter().map(|(alike, _)| *alike).max().filter(|most| *most > 0);
        let candidates: Vec<Lengths> = match most {
            Some(most) => alike.iter().filter(|(alike, _)| *alike == most).map(|(_, at)| self.again(*at)).collect(),
            None => {
                self.past.iter().filter(|hdu| hdu.span > 0).map(|hdu| Lengths { header: self.short, ..*hdu }).collect()
            }
        };
        let frequency = |hdu: &&Lengths| candidates.iter().filter(|other| other.span == hdu.span).count();
        candidates.iter().max_by_key(frequency).copied()
    }

    /// What an HDU like number `at` is like.
    fn again(&self, at: usize) -> Lengths {
        let header = if at == 1 { self.short } else { self.past[at].header };
        Lengths { header, ..self.past[at] }
    }
}

impl Iterator for Repetition {
    type Item = u64;

    /// How long the next HDU is, in bytes.
    fn next(&mut self) -> Option<u64> {
        let next = self.following()?;
        self.past.push(next);
        Some(next.header.saturating_add(next.span))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes after HDUs with headers of one block and data of so many blocks, in blocks of data.
    fn after(spans: &[u64], n: usize) -> Vec<u64> {
        let past = spans.iter().map(|span| Lengths { header: BLOCK_LEN, span: span * BLOCK_LEN }).collect();
        Repetition { past, short: BLOCK_LEN }.take(n).map(|length| length / BLOCK_LEN - 1).collect()
    }

    #[test]
    fn equal_hdus_go_on() {
        assert_eq!(after(&[0, 7], 3), [7, 7, 7]);
        assert_eq!(after(&[0, 7, 7, 7], 3), [7, 7, 7]);
        assert!(after(&[0], 3).is_empty());
    }

    #[test]
    fn hdus_in_turns_go_on_in_turns() {
        assert_eq!(after(&[0, 7, 7, 2, 7, 7], 4), [2, 7, 7, 2]);
        assert_eq!(after(&[0, 5, 6, 7, 5], 5), [6, 7, 5, 6, 7]);
    }

    #[test]
    fn after_one_that_is_like_no_other_come_the_usual_ones() {
        assert_eq!(after(&[0, 7, 7, 7, 3], 2), [7, 7]);
        assert_eq!(after(&[0, 7, 3], 1), [3]);
    }
}
