//! Columns and rows: CSV, ECSV, VOTable, JSON, and lines of URLs.

use serde_json::Value;

use crate::mast;

/// A table of texts. A cell that is missing is empty.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// The names of the columns, as they are written.
    pub names: Vec<String>,
    /// The rows, each with its number: of a text that of its line, else its place, counted from 1.
    pub rows: Vec<(u64, Vec<String>)>,
}

/// The most elements and texts of an XML document: some million rows.
const MAX_NODES: u32 = 100_000_000;

/// The name of the only column of a list of URLs.
pub const URL: &str = "url";

/// Reads a table of whichever format.
pub fn parse(bytes: &[u8]) -> Result<Table, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim_start().starts_with("# %ECSV") {
        return separated(text, ecsv_delimiter(text));
    }
    let mut lines = text.lines().map(str::trim);
    match lines.find(|line| !line.is_empty() && !line.starts_with('#')).unwrap_or_default() {
        "" => Err("it is empty".to_owned()),
        first if first.starts_with(['[', '{']) => json(text),
        first if first.starts_with('<') => votable(text),
        first if first.contains("://") || mast::is_uri(first) => Ok(urls(text)),
        first => separated(text, if first.contains('\t') { b'\t' } else { b',' }),
    }
}

/// A URL each line; lines that begin with `#` are comments.
fn urls(text: &str) -> Table {
    let lines = text.lines().map(str::trim).zip(1..).filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
    Table { names: vec![URL.to_owned()], rows: lines.map(|(line, number)| (number, vec![line.to_owned()])).collect() }
}

/// A row of names, then values. Lines that begin with `#` are comments: the header of ECSV (Astropy APE 6).
fn separated(text: &str, delimiter: u8) -> Result<Table, String> {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .comment(Some(b'#'))
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let names = reader.headers().map_err(|error| error.to_string())?.iter().map(str::to_owned).collect();
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| error.to_string())?;
        let number = record.position().map_or(0, csv::Position::line);
        rows.push((number, record.iter().map(str::to_owned).collect()));
    }
    Ok(Table { names, rows })
}

/// The first table of a VOTable document (IVOA VOTable 1.4), with its cells as text.
fn votable(text: &str) -> Result<Table, String> {
    let options = roxmltree::ParsingOptions { nodes_limit: MAX_NODES, ..Default::default() };
    let document = roxmltree::Document::parse_with_options(text, options).map_err(|error| error.to_string())?;
    let named = |node: &roxmltree::Node<'_, '_>, name: &str| node.tag_name().name() == name;
    let mut tables = document.descendants().filter(|node| named(node, "TABLE"));
    let table = tables.next().ok_or("it is XML without a TABLE")?;
    let fields = table.children().filter(|node| named(node, "FIELD"));
    let names = fields.map(|field| field.attribute("name").unwrap_or_default().to_owned()).collect();
    let Some(data) = table.descendants().find(|node| named(node, "TABLEDATA")) else {
        return Err("its table is not TABLEDATA: save it as that, or as CSV or ECSV".to_owned());
    };
    let cells = |row: roxmltree::Node<'_, '_>| {
        let cells = row.children().filter(|node| named(node, "TD"));
        cells.map(|cell| cell.text().unwrap_or_default().trim().to_owned()).collect()
    };
    let rows = data.children().filter(|node| named(node, "TR")).map(cells).zip(1..).map(|(row, number)| (number, row));
    Ok(Table { names, rows: rows.collect() })
}

/// The delimiter that the header of an ECSV file names; a space where it names none.
fn ecsv_delimiter(text: &str) -> u8 {
    let header = text.lines().take_while(|line| line.starts_with('#'));
    match header.filter(|line| line.contains("delimiter:")).any(|line| line.contains(',')) {
        true => b',',
        false => b' ',
    }
}

/// A list of URLs or of objects with the same fields, or an object of columns.
fn json(text: &str) -> Result<Table, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
    match value {
        Value::Array(rows) => Ok(of_rows(&rows)),
        Value::Object(columns) => of_columns(&columns),
        _ => Err("a list in JSON is an array of URLs or of objects".to_owned()),
    }
}

fn of_rows(rows: &[Value]) -> Table {
    let mut names: Vec<String> = Vec::new();
    for name in rows.iter().filter_map(Value::as_object).flat_map(serde_json::Map::keys) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    if names.is_empty() {
        names.push(URL.to_owned());
    }
    let cells = |row: &Value| match row {
        Value::Object(fields) => names.iter().map(|name| fields.get(name).map_or_else(String::new, cell)).collect(),
        other => vec![cell(other)],
    };
    let rows = rows.iter().map(cells).zip(1..).map(|(row, number)| (number, row)).collect();
    Table { names, rows }
}

fn of_columns(columns: &serde_json::Map<String, Value>) -> Result<Table, String> {
    let lists: Option<Vec<_>> = columns.iter().map(|(name, cells)| Some((name, cells.as_array()?))).collect();
    let Some(lists) = lists else {
        return Err("a table in JSON is an object of arrays, one for each column".to_owned());
    };
    let height = lists.iter().map(|(_, cells)| cells.len()).max().unwrap_or(0);
    let row = |n: usize| lists.iter().map(|(_, cells)| cells.get(n).map_or_else(String::new, cell)).collect();
    Ok(Table {
        names: lists.iter().map(|(name, _)| (*name).clone()).collect(),
        rows: (0..height).map(|n| (n as u64 + 1, row(n))).collect(),
    })
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
