//! A file of sources, in TOML: what does not fit a command line. Pure, but for reading the file.
//!
//! It is read by hand, and not by a derived deserializer: every mistake is told in one line, with the number of its line,
//! and no value that might be a secret is repeated.

use std::borrow::Cow;
use std::fmt::Display;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::entry::{Entry, What};
use crate::manifest;
use crate::presets;
use crate::store::{Result, SourceUrl, StoreError};
use crate::tree::is_name;

/// The longest file that is read, in bytes: more than 64 sources need by far.
const MAX_FILE: u64 = 1 << 20;

/// How alike an unknown key and a known one are where one is taken for the other (Jaro-Winkler, from 0 to 1), as clap has it.
const ALIKE: f64 = 0.7;

/// What a source is, one of them.
const KINDS: [&str; 3] = ["url", "preset", "list"];

/// What else may be said of a source, and of which sources: by the scheme of their URL, or by the key that names them.
const OPTIONS: [(&str, &[&str]); 10] = [
    ("name", &["s3", "az", "gs", "https", "http", "file", "preset", "list"]),
    ("endpoint-url", &["s3", "az", "gs", "preset", "list"]),
    ("region", &["s3", "list"]),
    ("profile", &["s3", "list"]),
    ("env-prefix", &["s3", "az", "gs", "https", "http", "list"]),
    ("no-sign-request", &["s3", "az", "gs", "list"]),
    ("requester-pays", &["s3", "gs", "list"]),
    ("path-style", &["s3", "preset", "list"]),
    ("virtual-host-style", &["s3", "preset", "list"]),
    ("layout", &["list"]),
];

/// Words of which keys and parameters consist that hold a secret.
const SECRET: [&str; 7] = ["key", "secret", "passw", "token", "sig", "sas", "credential"];

/// Whether a word of the command line is meant as a file of sources.
pub fn is_named(word: &str) -> bool {
    !word.contains("://") && Path::new(word).extension().is_some_and(|ending| ending.eq_ignore_ascii_case("toml"))
}

/// Reads a file of sources. An error is one line with the file, the line, the cause and the remedy.
pub fn read(path: &Path) -> Result<Vec<Entry>> {
    let shown = path.display();
    let failed = |why: &dyn Display| StoreError::invalid(format!("cannot read {shown}: {why}"));
    let found = path.metadata().map_err(|error| failed(&error))?;
    if !found.is_file() {
        return Err(failed(&"it is no file"));
    }
    if found.len() > MAX_FILE {
        return Err(failed(&format!("it has {} bytes; {MAX_FILE} are possible", found.len())));
    }
    let bytes = std::fs::read(path).map_err(|error| failed(&error))?;
    let text = String::from_utf8(bytes).map_err(|_| failed(&"it is not UTF-8 text"))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let entries = parse(&text, folder).map_err(|Mistake { line, what }| {
        StoreError::invalid(match line {
            Some(line) => format!("{shown}, line {line}: {what}"),
            None => format!("{shown}: {what}"),
        })
    })?;
    Ok(entries.into_iter().map(|(line, entry)| entry.of(format!("{shown}, line {line}"))).collect())
}

/// What is wrong with a file.
#[derive(Debug, PartialEq, Eq)]
struct Mistake {
    line: Option<usize>,
    what: String,
}

/// A text with its lines.
struct Lines<'a>(&'a str);

impl Lines<'_> {
    fn of(&self, span: Range<usize>) -> usize {
        self.0.bytes().take(span.start).filter(|byte| *byte == b'\n').count() + 1
    }

    fn mistake(&self, at: Range<usize>, what: impl Into<String>) -> Mistake {
        Mistake { line: Some(self.of(at)), what: what.into() }
    }
}

/// The sources of a text, each with its line. Paths in it are relative to a folder.
fn parse(text: &str, folder: &Path) -> std::result::Result<Vec<(usize, Entry)>, Mistake> {
    let lines = Lines(text);
    let document = DeTable::parse(text).map_err(|error| Mistake {
        line: error.span().map(|span| lines.of(span)),
        what: format!("it is no TOML: {}", error.message().lines().next().unwrap_or_default()),
    })?;
    let mut entries = Vec::new();
    for (key, value) in document.get_ref() {
        if key.get_ref() != "sources" {
            return Err(lines.mistake(key.span(), unknown(key.get_ref(), &["sources"])));
        }
        let DeValue::Array(tables) = value.get_ref() else {
            return Err(lines.mistake(key.span(), "sources are several: each begins with [[sources]]"));
        };
        for table in tables.iter() {
            let DeValue::Table(fields) = table.get_ref() else {
                return Err(lines.mistake(table.span(), "a source is a table: [[sources]], then url = \"s3://bucket\""));
            };
            entries.push((lines.of(table.span()), entry(&lines, table.span(), fields, folder)?));
        }
    }
    match entries.is_empty() {
        true => {
            Err(Mistake { line: None, what: "it names no source: [[sources]], then url = \"s3://bucket\"".to_owned() })
        }
        false => Ok(entries),
    }
}

/// One source.
fn entry<'a>(
    lines: &'a Lines<'a>,
    at: Range<usize>,
    fields: &'a DeTable<'a>,
    folder: &Path,
) -> std::result::Result<Entry, Mistake> {
    let known: Vec<_> = KINDS.into_iter().chain(OPTIONS.map(|(name, _)| name)).collect();
    if let Some(key) = fields.keys().find(|key| !known.contains(&key.get_ref().as_ref())) {
        return Err(lines.mistake(key.span(), unknown(key.get_ref(), &known)));
    }
    let mut kinds = fields.iter().filter(|(key, _)| KINDS.contains(&key.get_ref().as_ref()));
    let (kind, named) =
        kinds.next().ok_or_else(|| lines.mistake(at.clone(), "a source has a url, a preset or a list"))?;
    if let Some((other, _)) = kinds.next() {
        let what =
            format!("a source is one thing: a {kind} or a {other}", kind = kind.get_ref(), other = other.get_ref());
        return Err(lines.mistake(other.span(), what));
    }
    let field = |key: &'a Spanned<Cow<'a, str>>, value| Field { lines, key: key.get_ref(), value };
    let named = field(kind, named);
    let (what, kind) = what(named.key, named.text()?, folder).map_err(|what| named.wrong(&what))?;
    let mut entry = Entry::new(what);
    for (key, value) in fields {
        if OPTIONS.iter().any(|(name, of)| name == key.get_ref() && !of.contains(&kind)) {
            return Err(lines.mistake(key.span(), format!("{} is no option of this source ({kind})", key.get_ref())));
        }
        set(&mut entry, &field(key, value))?;
    }
    if entry.profile.is_some() && entry.env_prefix.is_some() {
        return Err(lines.mistake(at, "profile and env-prefix both name credentials: leave out one of them"));
    }
    Ok(entry)
}

/// What a source is, and in a word.
fn what(kind: &str, value: &str, folder: &Path) -> std::result::Result<(What, &'static str), String> {
    match kind {
        "preset" => match presets::named(value) {
            Some(preset) => Ok((What::Preset(preset), "preset")),
            None => Err("no preset of that name: fitsfs presets lists them".to_owned()),
        },
        "list" if value.contains("://") || !manifest::is_named(value) => {
            Err("a list is a file of this machine, such as products.csv".to_owned())
        }
        "list" => Ok((What::List(folder.join(value)), "list")),
        _ if has_secret(value) => Err("the URL is signed, and a secret has no place in this file".to_owned()),
        _ if !value.contains("://") => {
            Err("a url has a scheme, such as s3://bucket; an archive is a preset".to_owned())
        }
        _ => match SourceUrl::parse(value) {
            Ok(url) => {
                let kind = url.kind();
                Ok((What::Url(url), kind))
            }
            Err(error) => Err(error.message),
        },
    }
}

/// A key of a source, and its value.
struct Field<'a> {
    lines: &'a Lines<'a>,
    key: &'a str,
    value: &'a Spanned<DeValue<'a>>,
}

impl<'a> Field<'a> {
    fn wrong(&self, what: &str) -> Mistake {
        self.lines.mistake(self.value.span(), what)
    }

    fn text(&self) -> std::result::Result<&'a str, Mistake> {
        match self.value.get_ref() {
            DeValue::String(text) if text.is_empty() => Err(self.wrong(&format!("{} is empty", self.key))),
            DeValue::String(text) => Ok(text.as_ref()),
            _ => Err(self.wrong(&format!("{} is a text in quotes", self.key))),
        }
    }

    fn flag(&self) -> std::result::Result<bool, Mistake> {
        match self.value.get_ref() {
            DeValue::Boolean(flag) => Ok(*flag),
            _ => Err(self.wrong(&format!("{} is true or false", self.key))),
        }
    }
}

/// Sets an option of a source.
fn set(entry: &mut Entry, field: &Field<'_>) -> std::result::Result<(), Mistake> {
    match field.key {
        "name" => match field.text()?.trim_end_matches('/') {
            name if name.split('/').all(is_name) => entry.at = Some(format!("{name}/")),
            _ => return Err(field.wrong("name is a path in the mount, such as calibration or far/away")),
        },
        "endpoint-url" => entry.endpoint_url = Some(field.text()?.to_owned()),
        "region" => entry.region = Some(field.text()?.to_owned()),
        "profile" => entry.profile = Some(field.text()?.to_owned()),
        "env-prefix" => match field.text()? {
            prefix if is_prefix(prefix) => entry.env_prefix = Some(prefix.to_owned()),
            _ => return Err(field.wrong("env-prefix is what names of variables begin with, such as CALIBRATION_")),
        },
        "no-sign-request" => entry.no_sign_request = Some(field.flag()?),
        "requester-pays" => entry.requester_pays = Some(field.flag()?),
        "path-style" | "virtual-host-style" => {
            let is_path = field.key == "path-style";
            match (field.flag()?, entry.path_style) {
                (true, Some(other)) if other != is_path => {
                    return Err(
                        field.wrong("path-style and virtual-host-style exclude each other: leave out one of them")
                    );
                }
                (true, _) => entry.path_style = Some(is_path),
                (false, _) => {}
            }
        }
        "layout" => {
            let layout = field.text()?.parse().map_err(|error: String| field.wrong(&format!("layout: {error}")))?;
            entry.layout = Some(layout);
        }
        // It is no option, but what the source is.
        _ => {}
    }
    Ok(())
}

/// What to say of a key that there is not.
fn unknown(key: &str, known: &[&str]) -> String {
    let words = key.to_ascii_lowercase();
    if SECRET.iter().any(|word| words.contains(word)) {
        return format!(
            "{key} is a secret, which has no place in this file: name a profile, or an env-prefix of variables"
        );
    }
    let likeness = |name: &str| strsim::jaro_winkler(&words.replace('_', "-"), name);
    let nearest = known.iter().map(|name| (likeness(name), name)).max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((alike, name)) if alike > ALIKE => format!("unknown key {key}; did you mean {name}?"),
        _ => format!("unknown key {key}; known: {}", known.join(", ")),
    }
}

/// Whether the query of a URL has a parameter that holds a secret.
fn has_secret(url: &str) -> bool {
    let is_web = url.to_ascii_lowercase().starts_with("http");
    let Some((_, query)) = url.split_once('?').filter(|_| is_web) else { return false };
    let names = query.split('&').map(|pair| pair.split('=').next().unwrap_or_default().to_ascii_lowercase());
    names.into_iter().any(|name| SECRET.iter().any(|word| name.contains(word)))
}

fn is_prefix(text: &str) -> bool {
    let is_of_names = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    text.starts_with(|c: char| c.is_ascii_uppercase()) && text.ends_with('_') && text.chars().all(is_of_names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> std::result::Result<Vec<(usize, Entry)>, String> {
        parse(text, Path::new("/etc/fitsfs")).map_err(|Mistake { line, what }| format!("{}: {what}", line.unwrap_or(0)))
    }

    #[test]
    fn each_table_is_a_source_with_options_of_its_own() {
        let text = "# comment\n[[sources]]\nurl = \"s3://own/reduced\"\nregion = \"eu-central-1\"\nprofile = 'me'\n\n\
                    [[sources]]\nname = \"far/away/\"\nlist = \"lists/products.csv\"\nlayout = \"{a}/{b}\"\n\
                    path-style = true\n[[sources]]\npreset = \"mast\"\n";
        let entries = parsed(text).unwrap();
        assert_eq!(entries.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 7, 12]);
        let (own, list) = (&entries[0].1, &entries[1].1);
        assert_eq!((own.region.as_deref(), own.profile.as_deref()), (Some("eu-central-1"), Some("me")));
        assert!(matches!(&list.what, What::List(path) if path == Path::new("/etc/fitsfs/lists/products.csv")));
        assert_eq!((list.at.as_deref(), list.path_style), (Some("far/away/"), Some(true)));
        let inline = "sources = [{ url = \"s3://one\" },\n{ url = \"gs://two\" }]";
        assert_eq!(parsed(inline).unwrap().iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn every_option_can_be_set() {
        for (name, of) in OPTIONS {
            let what = if of.contains(&"s3") { "url = \"s3://bucket\"" } else { "list = \"a.csv\"" };
            let value = match name {
                "no-sign-request" | "requester-pays" | "path-style" | "virtual-host-style" => "true",
                "env-prefix" => "\"A_\"",
                _ => "\"{a}\"",
            };
            let text = format!("[[sources]]\n{what}\n{name} = {value}");
            let (_, entry) = parsed(&text).unwrap_or_else(|error| panic!("{name}: {error}")).remove(0);
            let (_, plain) = parsed(&format!("[[sources]]\n{what}")).unwrap().remove(0);
            assert_ne!(entry, plain, "{name}");
        }
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        let source = "[[sources]]\nurl = \"s3://bucket\"\n";
        for (text, told) in [
            ("", "0: it names no source"),
            ("sources = []", "0: it names no source"),
            ("[[sources]]\nurl = s3://b", "2: it is no TOML"),
            ("[[sources]]\nurl = 's3://b1'\nurl = 's3://b2'", "3: it is no TOML: duplicate key"),
            ("[[source]]\nurl = 's3://b'", "1: unknown key source; did you mean sources?"),
            ("[sources]\nurl = 's3://b'", "1: sources are several"),
            ("memory = '1GiB'\n", "1: unknown key memory; known: sources"),
            (&format!("{source}regoin = 'x'"), "3: unknown key regoin; did you mean region?"),
            (&format!("{source}endpoint_url = 'x'"), "3: unknown key endpoint_url; did you mean endpoint-url?"),
            (&format!("{source}colour = 'x'"), "3: unknown key colour; known: url, preset"),
            (&format!("{source}\nno-sign-request = 'yes'"), "4: no-sign-request is true or false"),
            (&format!("{source}region = 7"), "3: region is a text in quotes"),
            (&format!("{source}region = ''"), "3: region is empty"),
            (&format!("{source}name = '../x'"), "3: name is a path in the mount"),
            (&format!("{source}layout = '{{a}}'"), "3: layout is no option of this source (s3)"),
            (&format!("{source}preset = 'mast'"), "a source is one thing"),
            (&format!("{source}profile = 'a'\nenv-prefix = 'A_'"), "1: profile and env-prefix"),
            (&format!("{source}path-style = true\nvirtual-host-style = true"), "4: path-style and virtual-host-style"),
            ("[[sources]]\nname = 'x'", "1: a source has a url, a preset or a list"),
            ("[[sources]]\npreset = 'most'", "2: no preset of that name"),
            ("[[sources]]\npreset = 'mast'\nregion = 'x'", "3: region is no option of this source (preset)"),
            ("[[sources]]\nlist = 'https://h/a.csv'", "2: a list is a file of this machine"),
            ("[[sources]]\nlist = 'a.csv'\nlayout = 'a'", "3: layout: it names no column"),
            ("[[sources]]\nurl = 'mast'", "2: a url has a scheme"),
            ("[[sources]]\nurl = 'ftp://h/'", "2: unknown scheme"),
            ("[[sources]]\nurl = 'az://acc/con'\nregion = 'x'", "3: region is no option of this source (az)"),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.contains(told) && !error.contains('\n'), "{text}: {error}");
        }
    }

    #[test]
    fn secrets_are_refused_and_not_repeated() {
        let source = "[[sources]]\nurl = \"s3://bucket\"\n";
        for text in [
            "access-key-id = 'hunter2'",
            "aws_secret_access_key = 'hunter2'",
            "sas-token = 'hunter2'",
            "password = 'hunter2'",
            "env-prefix = 'hunter2'",
            "env-prefix = 'AKIAHUNTER2'",
            "region = 'hunter2",
            "region = hunter2",
            "hunter2",
            "no-sign-request = 'hunter2'",
            "path-style = 'hunter2'",
        ] {
            let error = parsed(&format!("{source}{text}")).unwrap_err();
            assert!(error.starts_with("3: ") && !error.to_ascii_lowercase().contains("hunter2"), "{text}: {error}");
        }
        for url in [
            "https://h/x.fits?X-Amz-Signature=hunter2",
            "https://h/x.fits?sv=1&sig=hunter2",
            "s3://AKIA:hunter2@bucket",
            "https://me:hunter2@h/",
        ] {
            let error = parsed(&format!("[[sources]]\nurl = '{url}'")).unwrap_err();
            assert!(error.starts_with("2: ") && !error.contains("hunter2"), "{url}: {error}");
        }
        let mast = "https://mast.stsci.edu/api/v0.1/Download/file/?uri=mast:HST/product/x.fits";
        assert!(parsed(&format!("[[sources]]\nurl = '{mast}'")).is_ok());
    }
}
