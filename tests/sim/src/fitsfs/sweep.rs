//! Which files a program that goes through a folder will open next: what `src/fs/sweep.rs` decides, for files whose numbers
//! are their places in the listing.

/// As there: so many files are expected at most, and steps of up to so many are recognised.
const MAX_AHEAD: usize = 32;
const MAX_STEP: usize = 16;

/// A program that goes through the files.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    last: Option<usize>,
    step: isize,
    repeated: u32,
}

impl Sweep {
    /// A file of `count` is opened: those that will be opened next, in that order.
    pub fn opened(&mut self, file: usize, count: usize) -> Vec<usize> {
        if self.last == Some(file) {
            return Vec::new();
        }
        let Some(last) = self.last.replace(file) else { return Vec::new() };
        let step = file as isize - last as isize;
        let step = if step.unsigned_abs() <= MAX_STEP { step } else { 0 };
        self.repeated = if step == self.step { (self.repeated + 1).min(8) } else { 0 };
        self.step = step;
        if step == 0 || (step.abs() > 1 && self.repeated == 0) {
            return Vec::new();
        }
        let ahead = (2_usize << self.repeated).min(MAX_AHEAD) as isize;
        let next = (1..=ahead).map(|n| file as isize + n * step);
        next.take_while(|next| (0..count as isize).contains(next)).map(|next| next as usize).collect()
    }
}
