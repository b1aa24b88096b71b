//! MAST's names of its products, `mast:HST/product/j8pu0y010_drc.fits`, and where they are in its public bucket. Pure.
//!
//! MAST does not promise where a product is; its service `path_lookup` tells, one by one. What is here are the rules that its
//! keys show, of each collection: astroquery's `mast/fpl.py` (HST, TESS) and the keys that its tests, lightkurve's and
//! jdaviz's have (PS1, Kepler, K2, JWST, HLSP). So a key is where a product may be, and whether it is there has to be
//! asked.

use crate::tree::is_name;

/// The bucket that the keys are in.
pub const BUCKET: &str = "s3://stpubdata";

/// Where MAST gives any of its products, by its URI.
const DOWNLOAD: &str = "https://mast.stsci.edu/api/v0.1/Download/file/?uri=";

/// What the last character of a folder of HST can be. It is not always that of the name of the file: an association has
/// the files of its members.
const ENDS: &str = "0123456789abcdefghijklmnopqrstuvwxyz";

/// Whether a word is such a name.
pub fn is_uri(word: &str) -> bool {
    word.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("mast:"))
}

/// The URL that MAST gives a product by. Some need a token.
pub fn download_url(uri: &str) -> String {
    format!("{DOWNLOAD}{uri}")
}

/// The keys that a product may have, the likeliest first; none of one whose collection has no rule.
pub fn keys(uri: &str) -> Vec<String> {
    let Some((collection, rest)) = uri.get(5..).filter(|_| is_uri(uri)).and_then(|path| path.split_once('/')) else {
        return Vec::new();
    };
    let file = rest.rsplit('/').next().unwrap_or_default();
    let found = match collection.to_ascii_lowercase().as_str() {
        "hst" => of_hst(rest, file),
        "jwst" => of_jwst(file),
        "tess" => of_tess(file).into_iter().collect(),
        "ps1" => of_ps1(file).into_iter().collect(),
        "hlsp" => vec![format!("mast/hlsp/{rest}")],
        "kepler" => of_url(rest, "missions/kepler/", "kepler/public/").into_iter().collect(),
        "k2" => of_url(rest, "missions/k2/", "k2/public/").into_iter().collect(),
        _ => Vec::new(),
    };
    found.into_iter().filter(|key| key.split('/').all(is_name)).collect()
}

/// `product/FILE` or `product/DATASET/FILE`: below the first four characters of the dataset, and the dataset.
fn of_hst(rest: &str, file: &str) -> Vec<String> {
    let named = rest.strip_prefix("product/").and_then(|below| below.split_once('/')).map(|(dataset, _)| dataset);
    let dataset = named.unwrap_or_else(|| file.split('_').next().unwrap_or_default()).to_ascii_lowercase();
    let (Some(visit), Some(stem)) = (dataset.get(..4), dataset.get(..8)) else { return Vec::new() };
    if dataset.len() != 9 {
        return Vec::new();
    }
    let others = ENDS.chars().map(|end| format!("{stem}{end}")).filter(|other| *other != dataset);
    let folders = [dataset.clone()].into_iter().chain(others);
    folders.map(|folder| format!("hst/public/{visit}/{folder}/{file}")).collect()
}

/// `jw02733002001_02101_...` is in the folder of its visit, and `jw02733-o001_t001_...` of its association.
fn of_jwst(file: &str) -> Vec<String> {
    let first = file.split('_').next().unwrap_or_default();
    let Some(program) = first.get(..7).filter(|program| program.starts_with("jw")) else { return Vec::new() };
    match first[7..].strip_prefix('-') {
        Some(association) => {
            let products = format!("jwst/public/{program}/L3/t");
            vec![format!("{products}/{association}/{file}"), format!("{products}/{file}")]
        }
        None => vec![format!("jwst/public/{program}/{first}/{file}")],
    }
}

/// Light curves and pixels are by target, full images by time, cubes in one folder.
fn of_tess(file: &str) -> Option<String> {
    let part = |from: usize, to: usize| file.get(from..to);
    let ends = |endings: &[&str]| endings.iter().any(|ending| file.ends_with(ending));
    let target = |sector: &str, from: usize| {
        let quarters: Option<Vec<_>> = (0..4).map(|n| part(from + 4 * n, from + 4 * n + 4)).collect();
        Some(format!("tess/public/tid/{sector}/{}/{file}", quarters?.join("/")))
    };
    if ends(&["-cube.fits"]) {
        Some(format!("tess/public/mast/{file}"))
    } else if ends(&["tp.fits", "lc.fits"]) {
        // tess2018206045859-s0001-0000000206409997-0120-s_tp.fits
        target(part(18, 23)?, 24)
    } else if ends(&["_dvs.pdf", "_dvr.pdf", "_dvr.xml", "_dvt.fits"]) {
        // tess2018206190142-s0001-s0001-0000000349518145-01-00106_dvs.pdf
        target(part(24, 29)?, 30)
    } else if ends(&["ffir.fits", "ffic.fits", "col.fits", "cbv.fits"]) {
        // tess2018229142941-s0001-4-3-0120-s_ffic.fits
        let (sector, year, day, chip) = (part(18, 23)?, part(4, 8)?, part(8, 11)?, part(24, 27)?);
        Some(format!("tess/public/ffi/{sector}/{year}/{day}/{chip}/{file}"))
    } else {
        None
    }
}

/// `rings.v3.skycell.1334.061.stk.r.unconv.exp.fits`
fn of_ps1(file: &str) -> Option<String> {
    let (tessellation, cell) = file.split_once(".skycell.")?;
    let mut numbers = cell.split('.');
    let (projection, cell) = (numbers.next()?, numbers.next()?);
    Some(format!("panstarrs/ps1/public/{tessellation}.skycell/{projection}/{cell}/{file}"))
}

/// `url/missions/kepler/lightcurves/...`: the path that the product had on the archive's web server.
fn of_url(rest: &str, server: &str, bucket: &str) -> Option<String> {
    let path = rest.strip_prefix("url/")?.strip_prefix(server)?;
    Some(format!("{bucket}{}", path.replace("//", "/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys that exist, by others' accounts of them.
    #[test]
    fn products_are_where_the_archive_has_them() {
        for (uri, key) in [
            ("mast:HST/product/u24r0102t_c1f.fits", "hst/public/u24r/u24r0102t/u24r0102t_c1f.fits"),
            ("mast:HST/product/j8pu0y010/j8pu0y010_drc.fits", "hst/public/j8pu/j8pu0y010/j8pu0y010_drc.fits"),
            (
                "mast:JWST/product/jw02733002001_02101_00001_mirimage_cal.fits",
                "jwst/public/jw02733/jw02733002001/jw02733002001_02101_00001_mirimage_cal.fits",
            ),
            (
                "mast:JWST/product/jw02727-o002_t062_nircam_clear-f277w_i2d.fits",
                "jwst/public/jw02727/L3/t/o002/jw02727-o002_t062_nircam_clear-f277w_i2d.fits",
            ),
            (
                "mast:TESS/product/tess2019226182529-s0015-0000000375422201-0151-s_lc.fits",
                "tess/public/tid/s0015/0000/0003/7542/2201/tess2019226182529-s0015-0000000375422201-0151-s_lc.fits",
            ),
            (
                "mast:TESS/product/tess2019142115932-s0012-2-1-0144-s_ffic.fits",
                "tess/public/ffi/s0012/2019/142/2-1/tess2019142115932-s0012-2-1-0144-s_ffic.fits",
            ),
            ("mast:TESS/product/tess-s0038-2-2-cube.fits", "tess/public/mast/tess-s0038-2-2-cube.fits"),
            (
                "mast:PS1/product/rings.v3.skycell.1334.061.stk.r.unconv.exp.fits",
                "panstarrs/ps1/public/rings.v3.skycell/1334/061/rings.v3.skycell.1334.061.stk.r.unconv.exp.fits",
            ),
            (
                "mast:KEPLER/url/missions/kepler/target_pixel_files/0082/008264588/kplr008264588-2009131105131_lpd-targ.fits.gz",
                "kepler/public/target_pixel_files/0082/008264588/kplr008264588-2009131105131_lpd-targ.fits.gz",
            ),
            (
                "mast:K2/url/missions/k2/lightcurves/c3/206000000/89000/ktwo206089508-c03_llc.fits",
                "k2/public/lightcurves/c3/206000000/89000/ktwo206089508-c03_llc.fits",
            ),
            (
                "mast:HLSP/tglc/s0014/cam2-ccd4/0020/hlsp_tglc_tess_ffi_gaiaid-20_llc.fits",
                "mast/hlsp/tglc/s0014/cam2-ccd4/0020/hlsp_tglc_tess_ffi_gaiaid-20_llc.fits",
            ),
        ] {
            assert_eq!(keys(uri).first().map(String::as_str), Some(key), "{uri}");
            assert!(is_uri(uri) && download_url(uri).ends_with(uri));
        }
    }

    /// `ibg705081_drz.fits` is below `ibg705080`.
    #[test]
    fn a_folder_of_hst_may_end_differently() {
        let keys = keys("mast:HST/product/ibg705081_drz.fits");
        assert_eq!(keys.len(), 36);
        assert!(keys.contains(&"hst/public/ibg7/ibg705080/ibg705081_drz.fits".to_owned()));
    }

    #[test]
    fn what_has_no_rule_has_no_key() {
        for uri in [
            "mast:",
            "mast:HST",
            "mast:HST/product/",
            "mast:HST/product/short_x.fits",
            "mast:HST/product/é234567é9_x.fits",
            "mast:JWST/product/é_x.fits",
            "mast:TESS/product/é_lc.fits",
            "mast:HLSP/../../etc/shadow",
            "mast:HLSP//x",
            "mast:GALEX/url/data/x.fits",
            "s3://stpubdata/x",
        ] {
            assert!(keys(uri).is_empty(), "{uri}: {:?}", keys(uri));
        }
    }
}
