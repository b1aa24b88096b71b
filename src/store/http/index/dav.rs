//! WebDAV: the answer to a PROPFIND of depth 1 (RFC 4918, 9.1).

use roxmltree::{Document, Node};
use url::Url;

use super::{Entry, linked};
use crate::store::http::version::{Told, http_date, is_strong};

/// The properties that are asked for.
pub const PROPFIND: &str = concat!(
    r#"<?xml version="1.0" encoding="utf-8"?><propfind xmlns="DAV:"><prop>"#,
    "<resourcetype/><getcontentlength/><getlastmodified/><getetag/></prop></propfind>"
);

const DAV: &str = "DAV:";

/// The entries of an answer; none if it is not one.
pub fn parse(folder: &Url, page: &[u8]) -> Option<Vec<Entry>> {
    let text = std::str::from_utf8(page).ok()?;
    let document = Document::parse(text).ok()?;
    let root = document.root_element();
    root.has_tag_name((DAV, "multistatus"))
        .then(|| root.children().filter(is("response")).filter_map(|response| entry(folder, response)).collect())
}

fn entry(folder: &Url, response: Node<'_, '_>) -> Option<Entry> {
    let href = response.children().find(is("href"))?.text()?;
    // Of those that it does not have, a server says so under another status.
    let properties = response.children().filter(is("propstat")).find(is_found)?.children().find(is("prop"))?;
    let text = |name| properties.children().find(is(name)).and_then(|property| property.text()).map(str::trim);
    let is_collection = properties
        .children()
        .find(is("resourcetype"))
        .is_some_and(|kind| kind.children().any(|k| is("collection")(&k)));
    let (name, has_slash) = linked(folder, href)?;
    let is_folder = is_collection || has_slash;
    let told = Told {
        size: text("getcontentlength").and_then(|size| size.parse().ok()),
        modified: text("getlastmodified").and_then(http_date),
        etag: text("getetag").filter(|tag| is_strong(tag)).map(str::to_owned),
        date: None,
    };
    Some(Entry { name, is_folder, told: (!is_folder).then_some(told) })
}

fn is(name: &'static str) -> impl Fn(&Node<'_, '_>) -> bool {
    move |node| node.has_tag_name((DAV, name))
}

fn is_found(propstat: &Node<'_, '_>) -> bool {
    let status = propstat.children().find(is("status")).and_then(|status| status.text()).unwrap_or_default();
    status.split_ascii_whitespace().nth(1) == Some("200")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apache_and_nginx() {
        let page = r#"<?xml version="1.0" encoding="utf-8"?>
<D:multistatus xmlns:D="DAV:" xmlns:ns0="DAV:">
<D:response xmlns:lp1="DAV:"><D:href>/d/</D:href><D:propstat><D:prop><lp1:resourcetype><D:collection/></lp1:resourcetype>
</D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>
<D:response xmlns:lp1="DAV:"><D:href>/d/a%20b.fits</D:href><D:propstat><D:prop><lp1:resourcetype/>
<lp1:getcontentlength>5000</lp1:getcontentlength><lp1:getlastmodified>Sun, 06 Nov 1994 08:49:37 GMT</lp1:getlastmodified>
<lp1:getetag>"1388-a"</lp1:getetag></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>
<D:response><D:href>/d/sub</D:href><D:propstat><D:prop><D:resourcetype><D:collection/></D:resourcetype></D:prop>
<D:status>HTTP/1.1 200 OK</D:status></D:propstat><D:propstat><D:prop><D:getetag/></D:prop>
<D:status>HTTP/1.1 404 Not Found</D:status></D:propstat></D:response>
<D:response><D:href>/etc/shadow</D:href><D:propstat><D:prop/><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>
</D:multistatus>"#;
        let entries = parse(&Url::parse("http://h/d/").unwrap(), page.as_bytes()).unwrap();
        assert_eq!(entries.len(), 2, "{entries:?}");
        let told = entries[0].told.clone().unwrap();
        assert_eq!((entries[0].name.as_str(), told.size), ("a b.fits", Some(5000)));
        assert_eq!(
            (told.etag.as_deref(), told.modified),
            (Some("\"1388-a\""), http_date("Sun, 06 Nov 1994 08:49:37 GMT"))
        );
        assert!(entries[1].is_folder && entries[1].name == "sub");
    }

    #[test]
    fn entities_are_not_expanded() {
        let page = "<!DOCTYPE x [<!ENTITY a \"aaaa\">]><multistatus xmlns=\"DAV:\">&a;</multistatus>";
        assert!(parse(&Url::parse("http://h/d/").unwrap(), page.as_bytes()).is_none());
    }
}
