//! A simulator: programs that read FITS files, played in virtual time on fitsfs's planner and on plain policies.
//!
//! A seed is a case: a network ([`network`]), a file ([`layouts`]) and a program ([`programs`]). [`run`] plays the program:
//! threads, page cache, READs. The READs are answered by a mount: [`fitsfs`] with the planner that is shipped, or one of the
//! plain [`policies`]. [`case`] compares them, [`report`] says how the comparison went by family, [`draw`] draws it.
//!
//! Nothing in it sleeps or asks for the time of day, so a case is the same on every machine.

pub mod case;
pub mod draw;
pub mod file;
pub mod fitsfs;
pub mod kernel;
pub mod kinds;
pub mod layouts;
pub mod network;
pub mod pages;
pub mod policies;
pub mod programs;
pub mod report;
pub mod rng;
pub mod run;
