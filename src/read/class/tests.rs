use proptest::prelude::*;

use super::*;

fn likeness(a: &str, b: &str) -> Option<usize> {
    Class::of(a).likeness(&Class::of(b))
}

/// Products of one type that archives keep far from each other, and how like each other they are.
const SAME: [(&str, &str, usize); 21] = [
    ("hst/public/j8pu/j8pu0y010/j8pu0y010_drc.fits", "hst/public/j9l9/j9l9a2020/j9l9a2020_drc.fits", 1),
    ("hst/public/j8pu/j8pu0y010/j8pu0y010_drc.fits", "hst/public/jcdm/jcdm32zzq/jcdm32zzq_drc.fits", 1),
    ("hst/public/o6d8/o6d8b4bcq/o6d8b4bcq_x1d.fits", "hst/public/oaaa/oaaa01020/oaaa01020_x1d.fits", 1),
    (
        "jwst/public/jw01783/jw01783004007/jw01783004007_02101_00004_nrcalong_rate.fits",
        "jwst/public/jw02739/jw02739001001/jw02739001001_02105_00001_nrcalong_rate.fits",
        0,
    ),
    (
        "jwst/public/jw01783/L3/t/jw01783-o004_t008_nircam_clear-f200w_i2d.fits",
        "jwst/public/jw01783/L3/t/jw01783-o005_t008_nircam_clear-f444w_i2d.fits",
        0,
    ),
    (
        "jwst/public/jw01783/L3/t/jw01783-o004_t008_nircam_clear-f200w_i2d.fits",
        "jwst/public/jw01783/L3/t/jw01783-o004_t008_nircam_clear-f335m_i2d.fits",
        1,
    ),
    (
        "tess/public/tid/s0007/0000/0002/7895/6474/tess2019006130736-s0007-0000000278956474-0131-s_lc.fits",
        "tess/public/tid/s0061/0000/0000/1234/5678/tess2023018032328-s0061-0000000012345678-0250-s_lc.fits",
        0,
    ),
    (
        "kepler/lightcurves/0081/008191672/kplr008191672-2013011073258_slc.fits",
        "kepler/lightcurves/0119/011904151/kplr011904151-2009131105131_slc.fits",
        0,
    ),
    (
        "dr17/sdss/spectro/redux/26/spectra/4055/spec-4055-55359-0596.fits",
        "dr17/sdss/spectro/redux/103/spectra/7338/spec-7338-56669-0001.fits",
        0,
    ),
    (
        "dr17/eboss/photoObj/frames/301/1000/1/frame-r-001000-1-0027.fits.bz2",
        "dr17/eboss/photoObj/frames/301/94/6/frame-r-000094-6-0100.fits.bz2",
        0,
    ),
    ("healpix/main/dark/100/10024/coadd-main-dark-10024.fits", "healpix/main/dark/7/733/coadd-main-dark-733.fits", 0),
    (
        "dp1/visit_image/20241102/r/r_03/2024110200101/visit_image_LSSTComCam_r_r_03_2024110200101_R22_S11_run.fits",
        "dp1/visit_image/20241209/r/r_03/2024120900212/visit_image_LSSTComCam_r_r_03_2024120900212_R22_S02_run.fits",
        0,
    ),
    (
        "cutouts/3f2504e0-4f89-11d3-9a0c-0305e82c3301/image.fits",
        "cutouts/a5d1b2c3-0000-41d4-8716-446655440000/image.fits",
        0,
    ),
    ("cutouts/3f2504e0-4f89-11d3-9a0c-0305e82c3301.fits", "cutouts/a5d1b2c3-0000-41d4-8716-446655440000.fits", 0),
    ("blobs/0f3a9c1d2e4b5a69.fits", "blobs/deadbeef00112233.fits", 0),
    ("decam/c4d_130901_031805_oow_g_v1.fits.fz", "decam/c4d_140102_010203_oow_g_v2.fits.fz", 0),
    ("acis/1/acisf00001N004_evt2.fits", "acis/212/acisf00212N001_evt2.fits", 0),
    ("xmm/0123700101/pps/P0123700101M1S001MIEVLI0000.FTZ", "xmm/0402560201/pps/P0402560201M2S002MIEVLI0000.FTZ", 0),
    (
        "q1/mer/EUC_MER_BGSUB-MOSAIC-VIS_TILE101158277-49A0A2_20240124T225515.567093Z_00.00.fits",
        "q1/mer/EUC_MER_BGSUB-MOSAIC-VIS_TILE102018211-ACBD03_20241018T142710.276838Z_00.00.fits",
        1,
    ),
    ("targets/vega_spec.fits", "targets/sirius_spec.fits", 2),
    ("tic-1.fits", "tic-2.fits", 0),
];

/// Products of different types, near each other.
const DIFFERENT: [(&str, &str); 9] = [
    ("j8pu/j8pu0y010/j8pu0y010_drc.fits", "j8pu/j8pu0y010/j8pu0y010_drz.fits"),
    ("j8pu/j8pu0y010/j8pu0y010_drc.fits", "j8pu/j8pu0y010/j8pu0y010_drc.txt"),
    ("o6d8/o6d8b4bcq/o6d8b4bcq_x1d.fits", "o6d8/o6d8b4bcq/o6d8b4bcq_x2d.fits"),
    ("jw01/jw01001_02101_00001_nrs1_s2d.fits", "jw01/jw01001_02101_00001_nrs1_s3d.fits"),
    ("jw01/jw01001_02101_00001_nrs1_x1d.fits", "jw01/jw01001_02101_00001_nrs1_x1dints.fits"),
    ("jw01/jw01783_02101_00001_nrca1_rate.fits", "jw01/jw01783_02101_00001_nrca1_rateints.fits"),
    ("raw/sector1/image_7.fits", "calibrated/sector1/image_7.fits"),
    ("tess2019006130736-s0007-1-0131-s_lc.fits", "tess2019006130736-s0007-1-0131-s_tp.fits"),
    ("c4d_130901_031805_ooi_g_v1.fits.fz", "c4d_130901_031805_ooi_g_v1.fits"),
];

#[test]
fn products_of_a_type_are_of_one_class_in_whatever_folders() {
    for (a, b, level) in SAME {
        assert_eq!(likeness(a, b), Some(level), "{:?}\n{:?}", Class::of(a), Class::of(b));
    }
}

#[test]
fn products_of_other_types_are_of_another_class() {
    for (a, b) in DIFFERENT {
        assert_eq!(likeness(a, b), None, "{:?}\n{:?}", Class::of(a), Class::of(b));
    }
}

#[test]
fn what_differs_within_a_class_is_told_apart_by_the_closer_pattern() {
    let events = "xmm/1/P0123700101M1S001MIEVLI0000.FTZ";
    assert_eq!(likeness(events, "xmm/1/P0123700101M1S001IMAGE_8000.FTZ"), None);
    let (long, short) = ("jw1/jw1_1_nrcalong_rate.fits", "jw1/jw1_1_nrcblong_rate.fits");
    assert_eq!(likeness(long, short), Some(2), "another detector, of the same layout");
}

/// Parts of keys as archives have them, and anything else.
fn keys() -> impl Strategy<Value = String> {
    prop_oneof!["([a-z0-9]{1,9}/){0,4}[a-zA-Z0-9_.-]{1,30}(_[a-z]{2,5})?\\.fits", ".{0,60}", "[0-9a-f-]{30,40}\\.fits"]
}

/// Regression: a letter and a long number, all of hexadecimal digits, were taken for a checksum.
#[test]
fn a_letter_and_a_long_number_are_no_checksum() {
    let key = |n: u64| format!("obs/p0/d{n}/d{n}_{n}_aa.fits");
    assert_eq!(likeness(&key(1_000_000), &key(0)), Some(0));
}

proptest! {
    #[test]
    fn other_numbers_make_no_other_class(folder in 0u32..100_000, n in 0u64..1 << 40, m in 0u64..1 << 40, suffix in "[a-z]{2,6}") {
        let key = |n: u64| format!("obs/p{folder}/d{n}/d{n}_{n}_{suffix}.fits");
        prop_assert_eq!(likeness(&key(n), &key(m)), Some(0));
    }

    #[test]
    fn other_identifiers_make_no_other_class(a in "[a-z]{3}[0-9][a-z0-9]{5}", b in "[a-z]{3}[0-9][a-z0-9]{5}", suffix in "[a-z]{3}") {
        let key = |id: &str| format!("hst/public/{}/{id}/{id}_{suffix}.fits", &id[..4]);
        prop_assert!(likeness(&key(&a), &key(&b)).is_some_and(|level| level <= 1), "{:?}", Class::of(&key(&a)));
    }

    #[test]
    fn another_suffix_or_ending_makes_another_class(id in "[a-z0-9]{1,12}", a in "[a-z]{1,6}", b in "[a-z]{1,6}", ending in "[a-z]{1,5}") {
        prop_assume!(a != b && ending != "fits");
        let key = |suffix: &str, ending: &str| format!("p/{id}/{id}_{suffix}.{ending}");
        prop_assert_eq!(likeness(&key(&a, "fits"), &key(&b, "fits")), None);
        prop_assert_eq!(likeness(&key(&a, "fits"), &key(&a, &ending)), None);
    }

    #[test]
    fn any_key_has_a_class_that_is_not_much_longer(key in keys()) {
        let class = Class::of(&key);
        prop_assert!(class.0.iter().all(|pattern| pattern.len() <= 2 * key.len() + 1), "{:?}", class);
        prop_assert_eq!(class.likeness(&Class::of(&key)), Some(0));
        prop_assert!((0..LEVELS).all(|level| class.has(&key, level)));
    }
}
