//! The part of a file before its blocks: header line, comments and tree (ASDF Standard 1.6.0, "Low-level file layout",
//! "Header", "Comments" and "Tree"), and what the tree says of the arrays in the blocks.
//!
//! [`Parser`] takes the part in pieces of any size and keeps no bytes but a line, so that a tree of megabytes costs one pass
//! however often its bytes had to be asked for. It is no YAML parser: it looks for the nodes of arrays, in the block and in
//! the flow style in which ASDF libraries write them (ASDF Standard 1.6.0, "ndarray"). A tree that is written in other ways
//! gives fewer arrays, which is less speed and nothing else.
//!
//! Invariants: nothing here fails or panics on any bytes; memory is bounded by [`MAX_ARRAYS`], [`MAX_DEPTH`] and
//! [`MAX_LINE`], work by [`MAX_TREE_LEN`]; the result does not depend on how the bytes were cut into pieces.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::index;

/// The longest tree that is read, in bytes. Trees of the Roman telescope have 0.05 to 0.4 MB; one with its arrays written
/// in text can have many.
pub const MAX_TREE_LEN: u64 = 64 << 20;

/// So much of a line is read, in bytes; the longer ones hold numbers of arrays in text. It is also the most that one array's
/// node in flow style may have.
pub const MAX_LINE: usize = 4096;

/// So many arrays are remembered: a hundred times what files have, some 3 MB.
pub const MAX_ARRAYS: usize = 10_000;

/// Nodes that are nested deeper do not count for the names of arrays.
const MAX_DEPTH: usize = 64;

/// The most axes that an array can have: those of numpy.
const MAX_AXES: usize = 64;

/// The longest name of an array that is shown, in characters.
const MAX_NAME: usize = 200;

/// The source of an array that is in the last block, which is then a streamed one ("ndarray", `source`).
pub const LAST: i64 = -1;

/// What the tag of an array has in it, with the version behind it, whichever way the tag is written.
const NDARRAY_TAG: &str = "core/ndarray-";

/// An array as the tree describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Array {
    /// The type of an element in the words of the standard, such as `float32`; `ascii[9]` and `ucs4[9]` for strings of nine
    /// characters; `record` for a structure.
    pub datatype: String,
    /// Its axes, the contiguous one last.
    pub shape: Vec<u64>,
}

impl Array {
    /// Bits of an element, negative for floating point and complex numbers as with `BITPIX`; none for records.
    pub fn bitpix(&self) -> Option<i64> {
        bitpix(&self.datatype)
    }

    /// Bytes of all elements; none for records, or if that is more than any file has.
    pub fn len(&self) -> Option<u64> {
        let element = self.bitpix()?.unsigned_abs() / 8;
        self.shape.iter().try_fold(element, |len, axis| len.checked_mul(*axis))
    }

    /// Whether the array has no elements, or none of a known size.
    pub fn is_empty(&self) -> bool {
        self.len().unwrap_or(0) == 0
    }
}

fn bitpix(datatype: &str) -> Option<i64> {
    let characters = |text: &str| text.strip_suffix(']')?.parse::<i64>().ok().filter(|n| (1..1 << 20).contains(n));
    Some(match datatype {
        "int8" | "uint8" | "bool8" => 8,
        "int16" | "uint16" => 16,
        "int32" | "uint32" => 32,
        "int64" | "uint64" => 64,
        "float16" => -16,
        "float32" => -32,
        "float64" | "complex64" => -64,
        "complex128" => -128,
        _ => match datatype.split_once('[')? {
            ("ascii", count) => 8 * characters(count)?,
            ("ucs4", count) => 32 * characters(count)?,
            _ => return None,
        },
    })
}

/// The node of an array.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// The keys on the way to the node, such as `roman.data`.
    pub name: String,
    datatype: String,
    /// None stands for `*`: as many as there are data for (ASDF Standard 1.6.0, "Streamed block").
    shape: Option<Vec<Option<u64>>>,
    /// Number of its block, [`LAST`] for the last one.
    source: Option<i64>,
    /// Whether the array is not simply the whole block, in its order.
    pub is_view: bool,
}

impl Node {
    /// The array, if its block has `data_len` bytes uncompressed.
    pub fn array(&self, data_len: u64) -> Array {
        let axes = self.shape.as_deref().unwrap_or_default();
        let known = Array { datatype: self.datatype.clone(), shape: axes.iter().filter_map(|axis| *axis).collect() };
        let open = known.len().and_then(|len| data_len.checked_div(len)).unwrap_or(0);
        let shape = axes.iter().map(|axis| axis.unwrap_or(open)).collect();
        Array { shape, ..known }
    }

    /// Takes a field of the node.
    fn set(&mut self, key: &str, value: &str) {
        let value = value.trim();
        match key.trim_matches(['\'', '"']) {
            "source" => self.source = value.parse().ok(),
            "datatype" => self.datatype = datatype(value),
            "shape" => self.shape = shape(value),
            "offset" => self.is_view |= value != "0",
            "strides" => self.is_view = true,
            _ => {}
        }
    }

    /// Whether it says more of a block than `other` does.
    fn outranks(&self, other: &Self) -> bool {
        let size = |node: &Self| node.array(0).len();
        (!self.is_view, size(self)) > (!other.is_view, size(other))
    }
}

/// The value of `datatype`: a name, a string type such as `[ascii, 9]`, or the fields of a record.
fn datatype(value: &str) -> String {
    if let Some((kind, count)) = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')?.split_once(',')) {
        let found = format!("{}[{}]", kind.trim(), count.trim());
        return if bitpix(&found).is_some() { found } else { "record".to_owned() };
    }
    let known = bitpix(value).is_some() && !value.contains('[');
    if known { value.to_owned() } else { "record".to_owned() }
}

/// The value of `shape`, such as `[2048, 2048]`.
fn shape(value: &str) -> Option<Vec<Option<u64>>> {
    let axes = value.strip_prefix('[')?.strip_suffix(']')?.trim();
    if axes.is_empty() {
        return Some(Vec::new());
    }
    let axes: Vec<_> = axes.split(',').take(MAX_AXES + 1).map(axis).collect::<Option<_>>()?;
    (axes.len() <= MAX_AXES).then_some(axes)
}

fn axis(text: &str) -> Option<Option<u64>> {
    let text = text.trim();
    if text.trim_matches(['\'', '"']) == "*" { Some(None) } else { text.parse().ok().map(Some) }
}

/// The part of a file before its blocks, in the making.
#[derive(Clone, Debug, Default)]
pub struct Parser {
    scanned: u64,
    /// The beginning of the line that is not complete yet.
    line: Vec<u8>,
    line_start: u64,
    in_tree: bool,
    arrays: Arrays,
}

impl Parser {
    /// Bytes read so far. The next piece has to begin there.
    pub fn scanned(&self) -> u64 {
        self.scanned
    }

    /// Takes the next piece, of a file of `file_size` bytes. Gives the offset where the tree ends once it was met: behind the
    /// line `...`, or where the comments end in a file without a tree.
    pub fn push(&mut self, piece: &[u8], file_size: u64) -> Option<u64> {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            let room = MAX_LINE.saturating_sub(self.line.len()).min(part.len());
            self.line.extend_from_slice(&part[..room]);
            self.scanned = self.scanned.saturating_add(part.len() as u64);
            if !self.in_tree && !is_comment(&self.line) {
                return Some(self.line_start);
            }
            if part.ends_with(b"\n") || self.scanned >= file_size {
                let line = std::mem::take(&mut self.line);
                let end = self.take_line(without_newline(&line), file_size);
                self.line_start = self.scanned;
                if end.is_some() {
                    self.arrays.close();
                    return end;
                }
            }
        }
        None
    }

    /// The arrays of the tree.
    pub fn into_nodes(self) -> BTreeMap<i64, Node> {
        self.arrays.found
    }

    fn take_line(&mut self, line: &[u8], file_size: u64) -> Option<u64> {
        if self.in_tree {
            if line == b"..." {
                return Some(self.scanned);
            }
            self.arrays.take_line(&String::from_utf8_lossy(line));
        } else if line.starts_with(b"%YAML") {
            self.in_tree = true;
        } else if line.starts_with(b"%") || line.starts_with(index::MARKER) {
            return Some(self.line_start);
        } else if self.scanned >= file_size {
            return Some(self.scanned);
        }
        None
    }
}

/// The line without its end, which is the one of Unix or of Windows ("Tree").
fn without_newline(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").map_or(line, |line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// Whether a line before the tree can be a comment, the beginning of the tree, or empty.
fn is_comment(line: &[u8]) -> bool {
    line.first().is_none_or(|byte| b"#%\r\n".contains(byte))
}

/// The arrays of a tree, found line by line.
#[derive(Clone, Debug, Default)]
struct Arrays {
    found: BTreeMap<i64, Node>,
    /// The nodes around the current line with their indentations.
    path: Vec<(usize, Step)>,
    /// The array that is being read.
    open: Option<Open>,
    /// A literal text whose lines are indented more than this is being skipped.
    literal: Option<usize>,
}

#[derive(Clone, Debug)]
enum Step {
    Key(String),
    Item(u64),
}

#[derive(Clone, Debug, Default)]
struct Open {
    node: Node,
    /// The fields are indented more than this.
    indent: usize,
    /// The indentation of the fields.
    fields: Option<usize>,
    /// The field that was named last.
    field: String,
    /// A value in flow style that goes on in the next line: of the field, or of the node if `is_flow`.
    pending: String,
    is_flow: bool,
    /// How much of the node in flow style was looked through, and how deep in its braces and brackets that left us.
    seen: (usize, i32),
}

impl Arrays {
    fn take_line(&mut self, line: &str) {
        let content = line.trim_start_matches(' ');
        let indent = line.len() - content.len();
        if self.literal.is_some_and(|key| content.is_empty() || indent > key) {
            return;
        }
        self.literal = None;
        if content.is_empty() || content.starts_with('#') {
            return;
        }
        match &mut self.open {
            Some(open) if open.is_flow || !open.pending.is_empty() || indent > open.indent => {
                if open.take_line(indent, content) {
                    self.close();
                }
            }
            _ => {
                self.close();
                self.step(indent, content);
            }
        }
    }

    /// Ends the array that is being read.
    fn close(&mut self) {
        let Some(Open { node, .. }) = self.open.take() else { return };
        let (Some(source), Some(_), false) = (node.source, &node.shape, node.datatype.is_empty()) else { return };
        let has_room = self.found.len() < MAX_ARRAYS;
        match self.found.get_mut(&source) {
            Some(known) if node.outranks(known) => *known = node,
            None if has_room => drop(self.found.insert(source, node)),
            _ => {}
        }
    }

    /// Goes to the node of a line that belongs to no array.
    fn step(&mut self, mut indent: usize, mut content: &str) {
        let mut parent = indent;
        while let Some(item) = content.strip_prefix('-').filter(|rest| rest.is_empty() || rest.starts_with(' ')) {
            self.item(indent);
            parent = indent;
            content = item.trim_start();
            indent += 1 + item.len() - content.len();
        }
        let value = match key(content) {
            Some((name, value)) => {
                self.path.retain(|(outer, _)| *outer < indent);
                self.push(indent, Step::Key(name.to_owned()));
                parent = indent;
                value.trim()
            }
            None => content,
        };
        if value.starts_with(['|', '>']) {
            self.literal = Some(parent);
        } else if let Some(at) = value.find(NDARRAY_TAG) {
            let fields = value[at..].split_once(' ').map_or("", |(_, rest)| rest.trim());
            self.begin(parent, fields);
        }
    }

    fn item(&mut self, indent: usize) {
        self.path.retain(|(outer, _)| *outer <= indent);
        match self.path.last_mut() {
            Some((outer, Step::Item(number))) if *outer == indent => *number += 1,
            _ => self.push(indent, Step::Item(0)),
        }
    }

    fn push(&mut self, indent: usize, step: Step) {
        if self.path.len() < MAX_DEPTH {
            self.path.push((indent, step));
        }
    }

    /// Begins with an array whose node stands at `indent`; `fields` is what follows its tag in the line.
    fn begin(&mut self, indent: usize, fields: &str) {
        let mut open = Open { node: Node { name: self.name(), ..Node::default() }, indent, ..Open::default() };
        open.is_flow = fields.starts_with('{');
        let is_complete = open.is_flow && open.take_flow(fields);
        // Behind a bracket there are numbers and no fields.
        if !fields.starts_with('[') {
            self.open = Some(open);
        }
        if is_complete {
            self.close();
        }
    }

    /// The keys and numbers on the way to the current node, as printable ASCII.
    fn name(&self) -> String {
        let steps: Vec<String> = self.path.iter().map(|(_, step)| step.to_string()).collect();
        let clean = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
        steps.join(".").chars().take(MAX_NAME).map(clean).collect()
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Key(name) => f.write_str(name),
            Self::Item(number) => write!(f, "{number}"),
        }
    }
}

impl Open {
    /// Takes a line of the array's node. Returns whether it was the last one for certain.
    fn take_line(&mut self, indent: usize, content: &str) -> bool {
        if self.is_flow {
            return self.take_flow(content);
        }
        if !self.pending.is_empty() {
            self.take_value(content);
        } else if let Some(item) = content.strip_prefix("- ") {
            self.take_item(item);
        } else if let Some((name, value)) = key(content)
            && *self.fields.get_or_insert(indent) == indent
        {
            name.clone_into(&mut self.field);
            self.take_value(value.trim());
        }
        false
    }

    /// Takes the value of a field, or its next line.
    fn take_value(&mut self, value: &str) {
        append(&mut self.pending, value);
        let is_open = self.pending.starts_with('[') && !self.pending.ends_with(']');
        if !is_open || self.pending.len() >= MAX_LINE {
            let value = std::mem::take(&mut self.pending);
            self.node.set(&self.field, &value);
        }
    }

    /// Takes an item of a field whose value is a sequence in block style.
    fn take_item(&mut self, item: &str) {
        match self.field.as_str() {
            "shape" => {
                let axes = self.node.shape.get_or_insert_default();
                match axis(item) {
                    Some(axis) if axes.len() < MAX_AXES => axes.push(axis),
                    _ => self.field.clear(),
                }
            }
            "datatype" => "record".clone_into(&mut self.node.datatype),
            _ => {}
        }
    }

    /// Takes a line of a node in flow style. Returns whether the node is complete, or longer than any.
    fn take_flow(&mut self, text: &str) -> bool {
        append(&mut self.pending, text);
        let Some(end) = self.closing_brace() else { return self.pending.len() >= MAX_LINE };
        for field in split_flow(&self.pending[1..end]) {
            if let Some((name, value)) = field.split_once(':') {
                self.node.set(name.trim(), value);
            }
        }
        true
    }

    /// Where the brace that the node begins with is closed. Goes on where it came to with the line before.
    fn closing_brace(&mut self) -> Option<usize> {
        let (from, mut depth) = self.seen;
        for (at, c) in (from..).zip(self.pending[from..].bytes()) {
            depth += nesting(char::from(c));
            if depth <= 0 {
                return Some(at);
            }
        }
        self.seen = (self.pending.len(), depth);
        None
    }
}

fn append(text: &mut String, more: &str) {
    if !text.is_empty() {
        text.push(' ');
    }
    text.push_str(more);
}

/// The key and the value of a line of a mapping. Keys with quotes in them are none.
fn key(content: &str) -> Option<(&str, &str)> {
    if content.starts_with(['{', '[', '!', '&']) {
        return None;
    }
    if let Some(quote) = content.chars().next().filter(|c| matches!(c, '\'' | '"')) {
        let (name, rest) = content[1..].split_once(quote)?;
        return Some((name, rest.strip_prefix(':')?));
    }
    content.split_once(": ").or_else(|| Some((content.strip_suffix(':')?, "")))
}

/// How much deeper in braces and brackets a character leads.
fn nesting(c: char) -> i32 {
    match c {
        '{' | '[' => 1,
        '}' | ']' => -1,
        _ => 0,
    }
}

/// How deep in braces and brackets each character of `text` leaves us.
fn depths(text: &str) -> impl Iterator<Item = (usize, char, i32)> {
    text.char_indices().scan(0_i32, |depth, (at, c)| {
        *depth += nesting(c);
        Some((at, c, *depth))
    })
}

/// The parts of `text` between commas that are in no brackets.
fn split_flow(text: &str) -> Vec<&str> {
    let commas = depths(text).filter(|(_, c, depth)| *c == ',' && *depth == 0).map(|(at, _, _)| at);
    let mut start = 0;
    let mut parts: Vec<&str> = Vec::new();
    for at in commas {
        parts.push(&text[start..at]);
        start = at + 1;
    }
    parts.push(&text[start..]);
    parts
}

#[cfg(test)]
mod tests;
