//! Reading object versions: decide ([`Planner`]), fetch ([`Reader`]), hand to the kernel ahead of time ([`Pusher`]).
//!
//! ```text
//!  READ -> Planner: what to fetch for it, what ahead, what to cancel
//!       -> Reader:  gaps become segments, a GET each; waits until the bytes of the READ have arrived
//!       -> Pusher:  completed segments that no READ asked for go into the kernel's page cache
//!       -> Planner: how long the READ has waited; whether a region is fetched whole for that
//! ```
//!
//! # How a decision is made
//!
//! 1. **Patterns propose.** Each is a pure file that turns READs and the geometry of the data into ranges: `headers` (the
//!    chain), `compressed` and `tiles`, `heap`, `stride` (rows, planes, and the shape of the last cutout at a new place),
//!    `ascent` (places here and there), `stream` (forwards and backwards), `replay` (what was read of other files of the `class`).
//! 2. **Locality adds to it.** A READ that no pattern has foreseen brings some of what lies behind it: as much as takes a
//!    sixteenth of the round trip that it waits anyway. What is left of a file that one connection transfers within a
//!    round trip is fetched at once.
//! 3. **Waiting decides in the end.** `regions` adds up how long READs have waited, in nested regions from 64 KiB to the
//!    whole file. A region in which they have waited as long as all of it takes is fetched whole, whatever the pattern: no
//!    program takes much longer than twice the better of fetching what it asks for and reading on.
//!
//! What counts as long is measured: latency and bandwidth ([`crate::metrics::Pace`]). How right a pattern was shows in the
//! READs that still come: what is pushed into the page cache is read unseen, so some pages are left to be asked for, at
//! the start of each part of a stream, in the second, third, fifth, ninth row of a cutout (probes), and in what is replayed.
//!
//! A new pattern is a file, a field of the [`Planner`], and a line in `planner/follow.rs`.
//!
//! # Rules
//!
//! A segment's first bytes are not pushed: the READ that asks for them shows that the reader has come so far, which is
//! what the planner needs to fetch further ahead. They are answered from memory.
//!
//! Lock order: a file's core, then the list of idle segments and what it calls in `cache`. A second core is
//! never waited for while one is held, nor a core while the list is held, and no lock is held across an await.

mod ascent;
mod backlog;
mod class;
mod classes;
mod compressed;
mod failures;
mod file;
mod fill;
mod headers;
mod heap;
mod idle;
mod looked_up;
mod on_disk;
mod parts;
mod place;
mod planned;
mod planner;
mod pusher;
mod ranges;
mod reader;
mod regions;
mod replay;
mod slots;
mod stream;
mod stride;
mod tiles;

pub use backlog::Backlog;
pub use class::Class;
pub use file::{FileState, MAX_KEPT, Unanswered};
pub use fill::PUSH;
pub use headers::Sibling;
pub use idle::MAX_LOOKS;
pub use looked_up::{HEAD, Head};
pub use parts::{MAX_PART, MIN_PART, parts};
pub use planned::Planned;
pub use planner::{Decision, Given, Planner};
pub use pusher::{PageCache, Pusher, SENTINEL};
pub use reader::{HEAD_PATIENCE, LEFT_BEHIND, MAX_LEFT_BEHIND, Reader, ReaderConfig};
pub use regions::Wait;
pub use slots::{SMALL, SMALL_SLOTS, prefetch_slots};
pub use stride::PAGE;
