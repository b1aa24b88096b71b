//! Which compressed files show what is in them: those whose names without `.gz` are names of FITS or ASDF files.

use crate::fits::is_fits_name;

/// The endings of compressed files. The second belongs to names in capitals, `M31.FIT.GZ`.
const ENDINGS: [&str; 2] = [".gz", ".GZ"];

/// Their length.
pub const ENDING: usize = 3;

/// The name that what is in a compressed file is shown by; none if it is not shown.
pub fn unpacked(name: &str) -> Option<&str> {
    let (inner, ending) = name.split_at_checked(name.len().checked_sub(ENDING)?)?;
    (is_fits_name(inner) && endings(inner).contains(&ending)).then_some(inner)
}

/// The names of the compressed files that may be shown by this one.
pub fn packed(name: &str) -> impl Iterator<Item = String> + '_ {
    let endings = if is_fits_name(name) { endings(name) } else { &[] };
    endings.iter().map(move |ending| format!("{name}{ending}"))
}

fn endings(inner: &str) -> &'static [&'static str] {
    let ending = inner.rsplit('.').next().unwrap_or_default();
    if ending.contains(|c: char| c.is_ascii_lowercase()) { &ENDINGS[..1] } else { &ENDINGS }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_shown_without_its_ending() {
        assert_eq!(unpacked("a.fits.gz"), Some("a.fits"));
        assert_eq!(unpacked("M31.FIT.GZ"), Some("M31.FIT"));
        assert_eq!(unpacked("M31.FIT.gz"), Some("M31.FIT"));
        assert_eq!(unpacked("r1.asdf.gz"), Some("r1.asdf"));
        for other in ["a.txt.gz", "a.fits", "a.fits.GZ", "gz", ".gz", "é.gz", "a.fits.gz.gz", "a.tar.gz"] {
            assert_eq!(unpacked(other), None, "{other}");
        }
    }

    #[test]
    fn both_directions_are_the_same() {
        for name in ["a.fits", "A.FITS", "b.Fits", "x.fz", "c.txt", "d"] {
            for packed in packed(name) {
                assert_eq!(unpacked(&packed), Some(name));
            }
        }
        assert_eq!(packed("A.FITS").collect::<Vec<_>>(), ["A.FITS.gz", "A.FITS.GZ"]);
        assert_eq!(packed("c.txt").count() + packed("d").count(), 0);
    }
}
