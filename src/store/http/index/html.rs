//! Index pages for people: the links in them. What stands beside a link (rounded sizes, dates without a zone) is left to
//! people, since every server writes it differently.

use std::borrow::Cow;

use url::Url;

use super::{Entry, linked};

/// The entries of the page of a folder.
pub fn parse(folder: &Url, page: &[u8]) -> Vec<Entry> {
    let page = String::from_utf8_lossy(page);
    links(&page)
        .filter_map(|link| linked(folder, &unescaped(link)))
        .map(|(name, is_folder)| Entry { name, is_folder, told: None })
        .collect()
}

/// The values of `href` in the anchors of a page, as they are written.
fn links(page: &str) -> impl Iterator<Item = &str> {
    let mut rest = page;
    std::iter::from_fn(move || {
        loop {
            let tag = &rest[rest.find('<')? + 1..];
            rest = tag;
            if tag.get(..1).is_some_and(|name| name.eq_ignore_ascii_case("a"))
                && tag[1..].starts_with(|c: char| c.is_ascii_whitespace())
                && let Some((link, after)) = href(&tag[1..])
            {
                rest = after;
                return Some(link);
            }
        }
    })
}

/// The value of `href` among the attributes of a tag, and what follows.
fn href(attributes: &str) -> Option<(&str, &str)> {
    let mut rest = attributes.trim_start();
    loop {
        let end = rest.find(|c: char| c.is_ascii_whitespace() || matches!(c, '=' | '>' | '<'))?;
        let name = &rest[..end];
        rest = rest[end..].trim_start();
        let Some(after) = rest.strip_prefix('=') else {
            // An attribute without value, or the end of the tag.
            if rest.starts_with(['>', '<']) {
                return None;
            }
            continue;
        };
        let (value, after) = value(after.trim_start())?;
        rest = after.trim_start();
        if name.eq_ignore_ascii_case("href") {
            return Some((value, rest));
        }
    }
}

fn value(text: &str) -> Option<(&str, &str)> {
    match text.chars().next()? {
        quote @ ('"' | '\'') => text[1..].split_once(quote),
        _ => Some(text.split_at(text.find(|c: char| c.is_ascii_whitespace() || c == '>')?)),
    }
}

/// The text of an attribute, in which some characters are written as entities.
fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return text.into();
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        let known = rest.split_once(';').and_then(|(name, after)| Some((entity(&name[1..])?, after)));
        let (character, after) = known.unwrap_or(('&', &rest[1..]));
        plain.push(character);
        rest = after;
    }
    (plain + rest).into()
}

fn entity(name: &str) -> Option<char> {
    let code = |digits: &str, radix| u32::from_str_radix(digits, radix).ok().and_then(char::from_u32);
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => match name.strip_prefix("#x").or_else(|| name.strip_prefix("#X")) {
            Some(digits) => code(digits, 16),
            None => code(name.strip_prefix('#')?, 10),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(page: &str) -> Vec<String> {
        let folder = Url::parse("http://h/d/").unwrap();
        let entries = parse(&folder, page.as_bytes()).into_iter();
        entries.map(|entry| entry.name + if entry.is_folder { "/" } else { "" }).collect()
    }

    #[test]
    fn nginx() {
        let page = "<html>\r\n<head><title>Index of /d/</title></head>\r\n<body>\r\n<h1>Index of /d/</h1><hr><pre>\
            <a href=\"../\">../</a>\r\n<a href=\"sub/\">sub/</a>      29-Nov-2026 14:03       -\r\n\
            <a href=\"a%20b.fits\">a b.fits</a>     29-Nov-2026 14:03      5000\r\n</pre><hr></body>\r\n</html>";
        assert_eq!(names(page), ["sub/", "a b.fits"]);
    }

    #[test]
    fn apache() {
        let page = "<table><tr><th valign=\"top\"><img src=\"/icons/blank.gif\" alt=\"[ICO]\"></th>\
            <th><a href=\"?C=N;O=D\">Name</a></th><th><a href=\"?C=S;O=A\">Size</a></th></tr>\
            <tr><td><a href=\"/\">Parent Directory</a></td></tr>\
            <tr><td><a href=\"x.fits.gz\">x.fits.gz</a></td><td align=\"right\">4.9K</td></tr>\
            <tr><td><a href=\"a&amp;b.fits\">a&amp;b.fits</a></td><td>1.2G</td></tr></table>";
        assert_eq!(names(page), ["x.fits.gz", "a&b.fits"]);
    }

    #[test]
    fn anchors_as_people_write_them() {
        assert_eq!(names("<A class=x HREF=x.fits>"), ["x.fits"]);
        assert_eq!(names("<a\n title='>' href = 'y' >z</a>"), ["y"]);
        assert_eq!(names("<a href=\"&#x78;&#121;&z\">"), ["xy&z"]);
        assert_eq!(names("<abbr href=x><a name=y><area href=\"z\"><a disabled href=\"w\">"), ["w"]);
        assert!(names("<a").is_empty() && names("<a href=\"x").is_empty() && names("<a href").is_empty());
    }
}
