//! FITS as far as a file system needs it: where the HDUs of a file are, and how programs will walk through their data.
//!
//! A FITS file is a chain (FITS Standard 4.0, 3.1): each HDU is a header and a data unit, both whole blocks of 2,880 bytes, and
//! only the header tells how long the data unit is and so where the next header begins. This module follows the chain without
//! doing any I/O: [`Chain`] says which bytes it needs, is fed with bytes, and ends up as a [`Layout`].
//!
//! | concept | file | FITS Standard 4.0 |
//! |---|---|---|
//! | a card: keyword and value | [`card`] | 4.1, 4.2 |
//! | a header: the structural keywords, up to END | [`header`] | 4.4.1, 3.1 |
//! | the type of an HDU | [`kind`] | 3.3, 6, 7 |
//! | an HDU: offsets, data size, geometry | [`hdu`] | 4.4.1 (eq. 1, 2), 6.1.1 (eq. 4), 7.1 to 7.3 |
//! | heap and tiles of a table | [`table`] | 7.3.5, 10.1 |
//! | the HDUs of a file and how it ends | [`layout`] | 3.1, 3.5 |
//! | the walk along the chain, and where the headers behind it are expected | [`chain`], `repeat` | 3.1 |
//! | the index of the HDUs in files of Rubin | [`index`] | - |
//! | the same for ASDF files, whose blocks are told as HDUs | [`asdf`] | - |
//! | the choice between the two, by the first bytes of a file | [`walk`] | - |
//! | text and JSON for people and scripts | [`render`] | - |
//!
//! Invariants:
//! - everything is pure: bytes in, values out; nothing fails or panics on any input, memory and work are bounded;
//! - offsets and lengths are in bytes, the offsets from the start of the file;
//! - a damaged file is never judged: what its good headers say stays usable, and [`Tail`] says where it goes wrong;
//! - offsets, data spans, names and versions are those of astropy's `HDUList.fileinfo`, the oracle of the tests (compressed
//!   images appear as the binary tables that they are);
//! - what is learned here decides speed only, never the bytes that a reader gets.
//!
//! Known departures from astropy, all of them in headers that break the standard:
//! - an END card with other bytes behind it ends the header at once; astropy reads on to the next proper END card first, and
//!   takes the headers on the way for a part of this one if it finds it;
//! - where a wrong or missing keyword makes data come to stand where a header should be, the walk ends; astropy may find the
//!   next END card and go on;
//! - an HDU of negative size ends the walk, as does a logical value for a number, which astropy takes for 0 or 1.

pub mod asdf;
pub mod card;
pub mod chain;
pub mod hdu;
pub mod header;
pub mod index;
pub mod kind;
pub mod layout;
mod name;
pub mod render;
mod repeat;
pub mod table;
pub mod walk;

#[cfg(test)]
pub(crate) mod testing;

pub use chain::Need;
pub use hdu::Hdu;
pub use kind::HduKind;
pub use layout::{Layout, Tail};
pub use name::is_fits_name;
pub use walk::Chain;
