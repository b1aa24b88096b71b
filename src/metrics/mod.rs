//! Every number that `fitsfs status` shows, named in one place.
