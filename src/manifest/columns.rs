//! Which columns of a list say what: those of MAST, IRSA, HEASARC, and plain ones.

use serde_json::Value;

use super::table::URL;
use crate::mast;

/// Columns with URLs, the best first: a file in the cloud is read in place. `dataURI`, `productFilename` and `size` are those
/// of astroquery's `get_product_list`; `cloud_access` is IRSA's, `aws` and `access_url` are HEASARC's and the VO's.
const URLS: [&str; 11] = [
    "cloud_uri",
    "cloud_access",
    "s3_uri",
    "aws",
    "uri",
    URL,
    "dataURI",
    "dataURL",
    "data_url",
    "access_url",
    "location",
];

const FILE_NAMES: [&str; 4] = ["productFilename", "filename", "file_name", "name"];

const SIZES: [&str; 3] = ["size", "content_length", "bytes"];

/// The columns that count, by number.
#[derive(Debug)]
pub struct Columns {
    urls: Vec<usize>,
    file_name: Option<usize>,
    size: Option<usize>,
}

impl Columns {
    /// Finds them by name, in upper or lower case.
    pub fn of(names: &[String]) -> Result<Self, String> {
        let find = |wanted: &&str| names.iter().position(|name| name.eq_ignore_ascii_case(wanted));
        let urls: Vec<_> = URLS.iter().filter_map(find).collect();
        if urls.is_empty() {
            return Err(format!("no column has URLs; one of these would: {}", URLS.join(", ")));
        }
        Ok(Self { urls, file_name: FILE_NAMES.iter().find_map(find), size: SIZES.iter().find_map(find) })
    }

    /// The URL of the object of a row: that of the first column that has one.
    pub fn url(&self, row: &[String]) -> Result<String, String> {
        let cells = self.urls.iter().filter_map(|column| row.get(*column)).map(|cell| cell.trim());
        let mut urls = cells.filter(|cell| !cell.is_empty() && *cell != "--").map(url_of);
        let first = urls.next().unwrap_or_else(|| Err("it has no URL".to_owned()));
        first.or_else(|error| urls.find_map(Result::ok).ok_or(error))
    }

    /// The name that the file has where no layout says another: as the list has it, or as the URL ends.
    pub fn file_name(&self, row: &[String], url: &str) -> String {
        let listed = self.file_name.and_then(|column| row.get(column)).map(|name| name.trim());
        listed.filter(|name| !name.is_empty() && *name != "--").unwrap_or_else(|| name_in(url)).to_owned()
    }

    /// The length of the file in bytes.
    pub fn size(&self, row: &[String]) -> Option<u64> {
        row.get(self.size?)?.trim().parse().ok()
    }
}

/// The name at the end of a URL. That of a web server may have a query, which may hold a signature: the name is before
/// that, unless a program is asked for a file by it.
fn name_in(url: &str) -> &str {
    let (path, query) = match url.starts_with("http") {
        true => url.split_once('?').unwrap_or((url, "")),
        false => (url, ""),
    };
    let end = |text: &str| text.len() - text.rsplit(['/', ':', '=']).next().map_or(0, str::len);
    let of_path = &path[end(path)..];
    if of_path.contains('.') || query.is_empty() {
        return of_path;
    }
    let named = query.split('&').map(|part| &part[end(part)..]).find(|name| is_file_name(name));
    named.unwrap_or(of_path)
}

/// Whether a text ends as names of files do. Tokens have dots as well, but no short end.
fn is_file_name(text: &str) -> bool {
    let (stem, suffix) = text.rsplit_once('.').unwrap_or_default();
    !stem.is_empty() && (1..=8).contains(&suffix.len()) && suffix.chars().all(char::is_alphanumeric)
}

/// The URL that a cell holds, by itself, in JSON, or as a name that an archive has for it.
fn url_of(cell: &str) -> Result<String, String> {
    match cell {
        _ if cell.starts_with('{') => {
            in_cloud(cell).ok_or_else(|| "its cloud_access names no bucket and key".to_owned())
        }
        // Where it is in the bucket is a matter of asking, and products that are not public are not there.
        _ if mast::is_uri(cell) => Ok(mast::download_url(cell)),
        _ if cell.contains("://") => Ok(cell.to_owned()),
        _ => Err("it has no URL".to_owned()),
    }
}

/// IRSA's `{"aws": {"bucket_name": ..., "key": ...}}`.
fn in_cloud(cell: &str) -> Option<String> {
    let access: Value = serde_json::from_str(cell).ok()?;
    let aws = access.get("aws")?;
    let text = |name| aws.get(name).and_then(Value::as_str);
    Some(format!("s3://{}/{}", text("bucket_name")?, text("key")?.trim_start_matches('/')))
}
