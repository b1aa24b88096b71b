//! What is in a folder, by what a server shows of it. Pure: bytes in, names out.
//!
//! A page is written by others, and may be anything. It can name what is directly in its folder and nothing else; names
//! are those that can be names of files. What it says of sizes and times is a claim, which [`super::listing`] checks.

mod dav;
mod html;
mod json;

use percent_encoding::percent_decode_str;
use url::Url;

use super::root::decoded;
use super::version::Told;

pub use dav::{PROPFIND, parse as parse_dav};
pub use html::parse as parse_html;
pub use json::parse as parse_json;

/// The way in which a server lists its folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Index {
    /// Entries with exact sizes and times.
    Json,
    /// The same, and entity tags with most servers.
    Dav,
    /// Links. What is beside them is for people.
    Html,
}

impl Index {
    /// For people.
    pub fn summary(self) -> &'static str {
        match self {
            Self::Json => "JSON, with exact sizes",
            Self::Dav => "WebDAV (PROPFIND), with exact sizes",
            Self::Html => "HTML: each file listed costs a HEAD, since sizes there are rounded",
        }
    }
}

/// What is directly in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Without a slash.
    pub name: String,
    pub is_folder: bool,
    /// What the index claims of it; none if that is only for people.
    pub told: Option<Told>,
}

/// The name directly below a folder that a link stands for, and whether it is a folder.
fn linked(folder: &Url, link: &str) -> Option<(String, bool)> {
    let url = folder.join(link.trim()).ok()?;
    if url.origin() != folder.origin() || url.query().is_some() {
        return None;
    }
    // Servers escape other characters of a path than we do.
    let mut segments = url.path().split('/');
    let above = folder.path().strip_suffix('/')?.split('/');
    for segment in above {
        if !percent_decode_str(segments.next()?).eq(percent_decode_str(segment)) {
            return None;
        }
    }
    let name = decoded(segments.next()?)?;
    match (segments.next(), segments.next()) {
        (None, _) => Some((name, false)),
        (Some(""), None) => Some((name, true)),
        (Some(_), _) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::root::is_name;
    use super::*;

    fn folder() -> Url {
        Url::parse("https://a.org/d%20e/").unwrap()
    }

    #[test]
    fn links_below_the_folder_are_names() {
        for (link, name, is_folder) in [
            ("x.fits", "x.fits", false),
            ("./x.fits", "x.fits", false),
            ("sub/", "sub", true),
            ("/d%20e/x", "x", false),
            ("https://a.org/d%20e/x", "x", false),
            ("//a.org/d%20e/%C3%A9%20+", "é +", false),
            ("%3Fq=1&r%23f", "?q=1&r#f", false),
            ("a\\b", "", false),
            ("x#top", "x", false),
            ("/%64%20e/x", "x", false),
        ] {
            let expected = (!name.is_empty()).then(|| (name.to_owned(), is_folder));
            assert_eq!(linked(&folder(), link), expected, "{link}");
        }
    }

    #[test]
    fn links_to_elsewhere_are_none() {
        for link in [
            "",
            ".",
            "..",
            "../",
            "../x",
            "/",
            "/x",
            "//b.org/d%20e/x",
            "http://a.org/d%20e/x",
            "?C=N;O=D",
            "x?C=N",
            "sub/x",
            "sub//",
            "%2e%2e/",
            "a%2Fb",
            "%00",
            "%FF",
            "mailto:x@y",
            "javascript:x",
            "https://a.org:444/d%20e/x",
        ] {
            assert_eq!(linked(&folder(), link), None, "{link}");
        }
    }

    proptest! {
        /// Whatever a page says, names are names.
        #[test]
        fn hostile_pages_name_nothing_but_names(
            parts in proptest::collection::vec(
                prop_oneof![
                    Just("<a href=\"".to_owned()), Just("<A HREF='".to_owned()), Just("\">".to_owned()),
                    Just("</a>".to_owned()), Just("../".to_owned()), Just("&amp;".to_owned()), Just("&#".to_owned()),
                    Just("%2F".to_owned()), Just("%00".to_owned()), Just("<a ".to_owned()), Just("href=".to_owned()),
                    Just("[{\"name\":\"".to_owned()), Just("\",\"size\":".to_owned()), Just("}]".to_owned()),
                    Just("<D:response xmlns:D=\"DAV:\"><D:href>".to_owned()), Just("</D:href>".to_owned()),
                    "\\PC{0,8}", "[a-z/.%<>&\"']{0,12}",
                ],
                0..24,
            ),
        ) {
            let page = parts.concat();
            let mut entries = parse_html(&folder(), page.as_bytes());
            entries.extend(parse_json(page.as_bytes()).unwrap_or_default());
            entries.extend(parse_dav(&folder(), page.as_bytes()).unwrap_or_default());
            for entry in entries {
                prop_assert!(is_name(&entry.name), "{:?}", entry.name);
            }
        }

        #[test]
        fn any_bytes_are_read_to_their_end(page in proptest::collection::vec(any::<u8>(), 0..200)) {
            parse_html(&folder(), &page);
            let _ = (parse_json(&page), parse_dav(&folder(), &page));
        }
    }
}
