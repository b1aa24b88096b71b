//! fitsfs: object stores as local directories of FITS files.

pub mod fits;
