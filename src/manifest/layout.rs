//! The paths of files, made of columns: `{obs_id}/{productFilename}`.

use std::fmt;
use std::str::FromStr;

/// A pattern of paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Column(String),
}

impl FromStr for Layout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once('{') {
            let (column, after) = after.split_once('}').ok_or("a { without its }")?;
            if column.is_empty() {
                return Err("a column has a name: {obs_id}".to_owned());
            }
            parts.extend((!before.is_empty()).then(|| Part::Text(before.to_owned())));
            parts.push(Part::Column(column.to_owned()));
            rest = after;
        }
        parts.extend((!rest.is_empty()).then(|| Part::Text(rest.to_owned())));
        match parts.iter().any(|part| matches!(part, Part::Column(_))) {
            true => Ok(Self(parts)),
            false => Err("it names no column: {obs_id}/{productFilename}".to_owned()),
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::Column(column) => write!(f, "{{{column}}}"),
        })
    }
}

impl Layout {
    /// The path of a row. What a column holds is one component: a slash in it becomes `_`.
    pub fn path(&self, names: &[String], row: &[String]) -> Result<String, String> {
        let mut path = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => path.push_str(text),
                Part::Column(column) => {
                    let found = names.iter().position(|name| name.eq_ignore_ascii_case(column));
                    let index = found.ok_or_else(|| format!("there is no column {column}"))?;
                    let cell = row.get(index).map(|cell| cell.trim()).filter(|cell| !cell.is_empty());
                    path.push_str(&cell.ok_or_else(|| format!("the column {column} is empty"))?.replace('/', "_"));
                }
            }
        }
        Ok(path)
    }
}
