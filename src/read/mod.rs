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

mod compressed;
mod file;
mod fill;
mod headers;
mod heap;
mod idle;
mod kinds;
mod looked_up;
mod parts;
mod planner;
mod pusher;
mod reader;
mod stream;
mod stride;
mod tiles;

pub use file::{FileState, Unanswered};
pub use headers::Sibling;
pub use looked_up::{HEAD, Head};
pub use planner::{Decision, Planned, Planner};
pub use pusher::{PageCache, Pusher};
pub use reader::{Reader, ReaderConfig};
pub use stride::PAGE;
