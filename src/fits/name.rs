//! Which file names announce FITS or ASDF.

/// Endings of names that FITS files go by; `.fz` is a tile-compressed one (still FITS). And the one of ASDF files, which are
/// walked in the same way.
const ENDINGS: [&str; 6] = [".fits", ".fit", ".fts", ".fz", ".ffz", ".asdf"];

/// Whether a key or path is named as FITS files are, or ASDF files. A hint only: what counts is the content.
pub fn is_fits_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ENDINGS.iter().any(|ending| name.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_decide() {
        assert!(is_fits_name("jwst/public/x_rate.fits") && is_fits_name("M31.FIT") && is_fits_name("a.fits.fz"));
        assert!(is_fits_name("roman/public/r0000101001001001001_0001_wfi01_cal.asdf"));
        assert!(!is_fits_name("a.fits.gz") && !is_fits_name("fits") && !is_fits_name("a.txt"));
    }
}
