//! Reading object versions: decide ([`Planner`]), fetch ([`Reader`]), hand to the kernel ahead of time ([`Pusher`]).
//!
//! ```text
//!  READ -> Planner: what to fetch for it, what ahead, what to give up
//!       -> Reader:  gaps become segments, a GET each; waits until the bytes of the READ have arrived
//!       -> Pusher:  completed segments that no READ asked for go into the kernel's page cache
//! ```
//!
//! A segment's first bytes are not pushed: the READ that asks for them shows that the reader has come so far, which is
//! what the planner needs to lead it further. They are answered from memory.
//!
//! Lock order: a file's core, then the list of idle segments and what it calls in `cache`. Nobody waits for a second
//! core while holding one, nor for a core while holding the list, and no lock is held across an await.

mod backlog;
mod class;
mod classes;
mod compressed;
mod file;
mod fill;
mod headers;
mod heap;
mod idle;
mod looked_up;
mod parts;
mod planner;
mod pusher;
mod ranges;
mod reader;
mod regions;
mod replay;
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
pub use planner::{Decision, Planned, Planner};
pub use pusher::{PageCache, Pusher, SENTINEL};
pub use reader::{
    HEAD_PATIENCE, LEFT_BEHIND, MAX_LEFT_BEHIND, PREFETCH_SLOTS, Reader, ReaderConfig, SMALL, SMALL_SLOTS,
};
pub use regions::Wait;
pub use stride::PAGE;
