//! Lists as archives give them.

use proptest::prelude::*;

use super::*;

fn files(text: &str, layout: Option<&str>) -> Vec<(String, String, Option<u64>)> {
    let layout = layout.map(|layout| layout.parse().unwrap());
    let manifest = parse(text.as_bytes(), layout.as_ref()).unwrap();
    manifest.files.into_iter().map(|file| (file.path, file.url, file.size)).collect()
}

fn file(path: &str, url: &str, size: Option<u64>) -> (String, String, Option<u64>) {
    (path.to_owned(), url.to_owned(), size)
}

#[test]
fn lists_of_all_kinds_are_read() {
    let uris = "# from get_cloud_uris\ns3://b/d/x.fits\n\ns3://b/d/y.fits\n";
    let expected = [file("x.fits", "s3://b/d/x.fits", None), file("y.fits", "s3://b/d/y.fits", None)];
    assert_eq!(files(uris, None), expected);
    assert_eq!(files(r#"["s3://b/d/x.fits", "s3://b/d/y.fits"]"#, None), expected);
    assert_eq!(files(r#"[{"url": "s3://b/d/x.fits"}, {"url": "s3://b/d/y.fits"}]"#, None), expected);
    assert_eq!(files(r#"{"url": ["s3://b/d/x.fits", "s3://b/d/y.fits"]}"#, None), expected);
    let products = "obsID,obs_id,dataURI,productFilename,size\n1,j8pu0y010,mast:HST/product/x.fits,x.fits,2880\n";
    let mast = "https://mast.stsci.edu/api/v0.1/Download/file/?uri=mast:HST/product/x.fits";
    assert_eq!(files(products, None), [file("x.fits", mast, Some(2880))]);
    assert_eq!(files(products, Some("{obs_id}/{productFilename}")), [file("j8pu0y010/x.fits", mast, Some(2880))]);
    let signed = "https://h/d/x.fits?X-Amz-Signature=hunter2.hunter2\n";
    assert_eq!(files(signed, None)[0].0, "x.fits");
    assert_eq!(files("mast:HST/product/y.fits\n", None)[0].0, "y.fits");
    let irsa = "oid,cloud_access,access_url\n1,\"{\"\"aws\"\": {\"\"bucket_name\"\": \"\"b\"\", \"\"key\"\": \"\"k/z.fits\"\", \
                \"\"region\"\": \"\"us-west-2\"\"}}\",https://irsa/z\n2,,https://irsa/w.fits\n";
    assert_eq!(
        files(irsa, None),
        [file("w.fits", "https://irsa/w.fits", None), file("z.fits", "s3://b/k/z.fits", None)]
    );
    let ecsv = "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: uri, datatype: string}\n# schema: astropy-2.0\nuri size\n\
                s3://b/x.fits 5\n\"s3://b/y z.fits\" 6\n";
    assert_eq!(
        files(ecsv, None),
        [file("x.fits", "s3://b/x.fits", Some(5)), file("y z.fits", "s3://b/y z.fits", Some(6))]
    );
    let votable = "<?xml version='1.0'?><VOTABLE xmlns='http://www.ivoa.net/xml/VOTable/v1.3'><RESOURCE><TABLE>\
                   <FIELD name='oid' datatype='long'/><FIELD name='access_url' datatype='char'/><DATA><TABLEDATA>\
                   <TR><TD>1</TD><TD>s3://b/a&amp;b.fits</TD></TR></TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>";
    assert_eq!(files(votable, None), [file("a&b.fits", "s3://b/a&b.fits", None)]);
    let ecsv = "# %ECSV 1.0\n# ---\n# delimiter: ','\nuri,size\ns3://b/x.fits,5\n";
    assert_eq!(files(ecsv, None), [file("x.fits", "s3://b/x.fits", Some(5))]);
}

#[test]
fn what_is_wrong_with_rows_is_told_and_hides_no_other() {
    let text = "url,name\ns3://b/x,good\n,none\ns3://b/y,../etc\ns3://b/z,/abs\ns3://b/v,good\ns3://b/x,good\ns3://b/w,good/in\n";
    let manifest = parse(text.as_bytes(), None).unwrap();
    let paths: Vec<_> = manifest.files.iter().map(|file| &*file.path).collect();
    // The file `good` is a folder as well.
    assert_eq!(paths, ["good/in", "good~2"]);
    assert_eq!((manifest.odd, manifest.first_odd.as_deref()), (5, Some("row 3: it has no URL")));
}

#[test]
fn a_list_of_nothing_is_refused_with_the_reason() {
    for (text, reason) in [
        ("", "empty"),
        ("a,b\n1,2\n", "no column has URLs"),
        ("url\n", "no rows"),
        ("url\nx\n", "no URL"),
        ("[1, 2]", "no URL"),
        ("[", "no JSON"),
        ("<VOTABLE/>", "without a TABLE"),
        ("<VOTABLE><TABLE><FIELD name='url'/></TABLE></VOTABLE>", "TABLEDATA"),
        ("<VOTABLE>", "root"),
        ("\u{0}", "no column"),
    ] {
        let error = parse(text.as_bytes(), None).unwrap_err();
        assert!(error.contains(reason), "{text:?}: {error}");
    }
    assert!(parse(b"\xff\xfe", None).unwrap_err().contains("UTF-8"));
    let layout: Layout = "{nothing}/x".parse().unwrap();
    assert!(parse(b"url\ns3://b/x\n", Some(&layout)).unwrap_err().contains("no column nothing"));
    assert!(["{", "{}", "x"].iter().all(|bad| bad.parse::<Layout>().is_err()));
}

/// Regression: each further file of a name began to count anew.
#[test]
fn many_files_of_one_name_are_numbered() {
    let mut text = "url,name\n".to_owned();
    (0..20_000).for_each(|n| text += &format!("s3://b/{n},x.fits\n"));
    // One again, and one whose number would make it too long.
    text += "s3://b/7,x.fits\n";
    let manifest = parse(text.as_bytes(), None).unwrap();
    assert_eq!(manifest.files.len(), 20_000);
    assert!(manifest.files.iter().any(|file| file.path == "x~20000.fits"));
    let long = "y".repeat(255);
    let manifest = parse(format!("url,name\ns3://b/1,{long}\ns3://b/2,{long}\n").as_bytes(), None).unwrap();
    assert_eq!((manifest.files.len(), manifest.odd), (1, 1));
}

proptest! {
    /// No list leads out of the mount, has a path twice, or makes the program panic.
    #[test]
    fn any_text_makes_paths_of_its_own_or_an_error(text in "((url|name|size|s3://b/|\\.\\./|x|/|,|\\{|\\}|\"|\n|#|\\PC){0,12}\n?){0,6}") {
        if let Ok(manifest) = parse(text.as_bytes(), None) {
            let mut paths: Vec<_> = manifest.files.iter().map(|file| file.path.clone()).collect();
            prop_assert!(paths.iter().all(|path| path.split('/').all(is_name)));
            prop_assert!(paths.is_sorted());
            paths.dedup();
            prop_assert_eq!(paths.len(), manifest.files.len());
        }
    }
}
