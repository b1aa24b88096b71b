//! Lists of products: the rows of a query, as the files that a mount shows. Pure, but for reading the list.
//!
//! - [`table`]: what formats have in common, columns and rows; [`columns`]: which columns say what
//! - [`layout`]: the paths of files
//! - [`read`]: a list as files. What cannot be used is left out and told, and hides nothing else

mod columns;
mod layout;
mod table;

use std::collections::{HashMap, HashSet};
use std::path::Path;

use xxhash_rust::xxh3::xxh3_128;

use self::columns::Columns;
pub use self::layout::Layout;
use crate::printable::printable;
use crate::tree::is_name;

/// The longest list that is read, in bytes: some ten million rows.
const MAX_LIST: u64 = 4 << 30;

/// A file of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its path in the mount.
    pub path: String,
    /// The URL of its object.
    pub url: String,
    /// Its length in bytes, if the list says it.
    pub size: Option<u64>,
}

/// What a list says.
#[derive(Clone, Debug, Default)]
pub struct Manifest {
    /// The files, by path.
    pub files: Vec<Listed>,
    /// How many rows are left out or have another path than they ask for.
    pub odd: usize,
    /// What is wrong with the first of them, in one line.
    pub first_odd: Option<String>,
}

/// Whether a word of the command line is meant as a list.
pub fn is_named(word: &str) -> bool {
    let ending = Path::new(word).extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    ["csv", "ecsv", "txt", "lst", "json", "vot", "votable", "xml"].contains(&ending.to_ascii_lowercase().as_str())
}

/// Reads a list of products. An error is one line with the cause and the remedy.
pub fn read(path: &Path, layout: Option<&Layout>) -> Result<Manifest, String> {
    let shown = path.display();
    let found = path.metadata().map_err(|error| format!("cannot read the list {shown}: {error}"))?;
    if found.len() > MAX_LIST {
        return Err(format!("the list {shown} has {} bytes; {MAX_LIST} are possible", found.len()));
    }
    let bytes = std::fs::read(path).map_err(|error| format!("cannot read the list {shown}: {error}"))?;
    parse(&bytes, layout).map_err(|error| format!("the list {shown}: {error}"))
}

/// The same of the bytes of a list.
fn parse(bytes: &[u8], layout: Option<&Layout>) -> Result<Manifest, String> {
    let table = table::parse(bytes)?;
    let columns = Columns::of(&table.names)?;
    let mut manifest = Manifest::default();
    let (mut taken, mut numbers, mut pairs) = (HashMap::new(), HashMap::new(), HashSet::new());
    for (number, row) in &table.rows {
        let placed = columns.url(row).and_then(|url| {
            let path = layout.map_or_else(|| Ok(columns.file_name(row, &url)), |layout| layout.path(&table.names, row));
            let path = path?;
            checked(&path)?;
            Ok((path, url))
        });
        let (path, url) = match placed {
            Ok(placed) => placed,
            Err(error) => {
                manifest.note(format!("row {number}: {error}"));
                continue;
            }
        };
        match taken.get(&path) {
            Some(_) if !pairs.insert(hash(&path, &url)) => continue,
            Some(_) => {
                let other = free(&path, &taken, &mut numbers);
                if let Err(error) = checked(&other) {
                    manifest.note(format!("row {number}: {error}"));
                    continue;
                }
                manifest.note(format!("row {number}: {path} is there already, so it is {other}"));
                manifest.files.push(Listed { path: other.clone(), url, size: columns.size(row) });
                taken.insert(other, ());
            }
            None => {
                pairs.insert(hash(&path, &url));
                manifest.files.push(Listed { path: path.clone(), url, size: columns.size(row) });
                taken.insert(path, ());
            }
        }
    }
    if manifest.files.is_empty() {
        let why = manifest.first_odd.unwrap_or_else(|| "it has no rows".to_owned());
        return Err(format!("no row names a file: {why}"));
    }
    manifest.files.sort_by(|a, b| a.path.cmp(&b.path));
    manifest.leave_out_files_that_are_folders();
    Ok(manifest)
}

impl Manifest {
    /// Something is wrong with a row.
    pub fn note(&mut self, what: String) {
        self.odd += 1;
        self.first_odd.get_or_insert_with(|| printable(&what).into_owned());
    }

    /// A path that is a file and a folder is the folder, which has more.
    fn leave_out_files_that_are_folders(&mut self) {
        let files = std::mem::take(&mut self.files);
        let paths: Vec<&str> = files.iter().map(|file| &*file.path).collect();
        let is_folder = |path: &str| {
            let below = format!("{path}/");
            paths.get(paths.partition_point(|other| **other < *below)).is_some_and(|other| other.starts_with(&below))
        };
        let folders: Vec<bool> = files.iter().map(|file| is_folder(&file.path)).collect();
        for (file, is_folder) in files.into_iter().zip(folders) {
            match is_folder {
                true => self.note(format!("{} is a folder as well, and is left out as a file", file.path)),
                false => self.files.push(file),
            }
        }
    }
}

/// Refuses what is no path below the root of the mount.
fn checked(path: &str) -> Result<(), String> {
    match path.split('/').all(is_name) {
        true => Ok(()),
        // It may be part of a URL, with what that is signed by.
        false => Err("its name is no path in the mount".to_owned()),
    }
}

/// A path and a URL: files of a list that are the same.
fn hash(path: &str, url: &str) -> u128 {
    xxh3_128(&[path.as_bytes(), b"\0", url.as_bytes()].concat())
}

/// A path beside one that is taken: `x.fits`, `x~2.fits`.
fn free(path: &str, taken: &HashMap<String, ()>, numbers: &mut HashMap<String, u64>) -> String {
    let number = numbers.entry(path.to_owned()).or_insert(2);
    let (folder, name) = crate::tree::split(path);
    let (stem, ending) = name.split_once('.').map_or((name, String::new()), |(stem, rest)| (stem, format!(".{rest}")));
    loop {
        let other = format!("{folder}{stem}~{number}{ending}");
        *number += 1;
        if !taken.contains_key(&other) {
            return other;
        }
    }
}

#[cfg(test)]
mod tests;
