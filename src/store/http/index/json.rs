//! Index pages for programs: those of nginx (`autoindex_format json`) and of Caddy (`file_server browse`).

use serde::Deserialize;
use serde_json::Value;

use super::Entry;
use crate::store::http::root::is_name;
use crate::store::http::version::{Told, http_date, is_strong, iso_date};

/// An entry, with the fields of either server.
#[derive(Deserialize)]
struct Row {
    name: String,
    /// nginx: `file`, `directory` or `other`.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Caddy.
    is_dir: Option<bool>,
    size: Option<u64>,
    /// nginx, as in HTTP.
    mtime: Option<String>,
    /// Caddy, as in ISO 8601.
    mod_time: Option<String>,
    etag: Option<String>,
}

/// The entries of a page; none if it is not one. An entry that is none is left out.
pub fn parse(page: &[u8]) -> Option<Vec<Entry>> {
    let rows: Vec<Value> = serde_json::from_str(&String::from_utf8_lossy(page)).ok()?;
    Some(rows.into_iter().filter_map(|row| entry(serde_json::from_value(row).ok()?)).collect())
}

fn entry(row: Row) -> Option<Entry> {
    let is_folder = match (row.kind.as_deref(), row.is_dir) {
        (Some("directory"), _) | (None, Some(true)) => true,
        (Some("file"), _) | (None, Some(false)) => false,
        _ => return None,
    };
    // Caddy ends the names of folders with a slash.
    let name = if is_folder { row.name.strip_suffix('/').unwrap_or(&row.name) } else { &row.name };
    let modified = row.mtime.as_deref().and_then(http_date).or_else(|| row.mod_time.as_deref().and_then(iso_date));
    let etag = row.etag.filter(|tag| is_strong(tag));
    let told = Told { size: row.size, modified, etag, date: None };
    // A character that stands for bytes that are no text names nothing.
    let is_known = is_name(name) && !name.contains(char::REPLACEMENT_CHARACTER);
    is_known.then(|| Entry { name: name.to_owned(), is_folder, told: (!is_folder).then_some(told) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nginx_and_caddy() {
        let nginx = br#"[
{ "name":"sub", "type":"directory", "mtime":"Sun, 06 Nov 1994 08:49:37 GMT" },
{ "name":"x.fits", "type":"file", "mtime":"Sun, 06 Nov 1994 08:49:37 GMT", "size":5000 }
]"#;
        let caddy = br#"[{"name":"sub/","size":4096,"url":"./sub/","mod_time":"1994-11-06T08:49:37Z","is_dir":true},
{"name":"x.fits","size":5000,"url":"./x.fits","mod_time":"1994-11-06T08:49:37.5+00:00","is_dir":false}]"#;
        let entries = parse(nginx).unwrap();
        assert_eq!(parse(caddy).unwrap(), entries);
        assert_eq!((entries[0].name.as_str(), entries[0].is_folder), ("sub", true));
        let told = entries[1].told.clone().unwrap();
        assert_eq!((told.size, told.modified), (Some(5000), http_date("Sun, 06 Nov 1994 08:49:37 GMT")));
    }

    #[test]
    fn what_is_no_entry_is_left_out() {
        let page =
            br#"[1, {}, {"name":"../x","type":"file"}, {"name":"a/b","type":"file"}, {"name":"s","type":"other"},
            {"name":"-1","type":"file","size":-1}, {"name":"x","type":"file"}]"#;
        let names: Vec<_> = parse(page).unwrap().into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["x"]);
        assert!(parse(b"{\"name\":\"x\"}").is_none() && parse(b"<html>").is_none());
    }
}
