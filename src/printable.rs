//! Text of others, made fit for a terminal and a log. Keys may hold anything: a line feed that forges a line of a log,
//! an escape sequence that a terminal obeys, marks that turn the direction in which text is shown.

use std::borrow::Cow;

/// The text in one line, in which such characters are escaped as Rust writes them. What was escaped stays as it is.
pub fn printable(text: &str) -> Cow<'_, str> {
    escape(text, is_harmful)
}

/// The same of text of several lines.
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    escape(text, |c| c != '\n' && is_harmful(c))
}

/// A JSON document, which has such characters in its strings only: escaped as JSON has them.
pub fn printable_json(document: &str) -> Cow<'_, str> {
    let is_meant = |c: char| c != '\n' && is_harmful(c);
    if !document.contains(is_meant) {
        return Cow::Borrowed(document);
    }
    // All of them are in the first plane of Unicode, so that four digits are enough.
    let escaped = |c: char| if is_meant(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    Cow::Owned(document.chars().map(escaped).collect())
}

fn escape(text: &str, is_meant: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_meant) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_meant(c) { escaped.extend(c.escape_default()) } else { escaped.push(c) }
    }
    Cow::Owned(escaped)
}

/// Controls (C0, DEL, C1), separators of lines, and marks of direction.
fn is_harmful(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns || matches!(c, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_or_forges_a_line_is_escaped_once() {
        let key = "a\n2026 ERROR b\x1b]0;c\x07\u{9b}2J\u{202e}d é\\n.fits";
        let shown = printable(key);
        assert_eq!(shown, "a\\n2026 ERROR b\\u{1b}]0;c\\u{7}\\u{9b}2J\\u{202e}d é\\n.fits");
        assert_eq!(printable(&shown), shown);
        assert!(matches!(printable("plain é"), Cow::Borrowed(_)));
        assert_eq!(printable_lines("a\nb\r\x7f"), "a\nb\\r\\u{7f}");
    }

    #[test]
    fn a_json_document_stays_what_it_says() {
        let value = serde_json::json!({ "key": "a\n\u{9b}\u{7f}\u{202e}b" });
        let text = serde_json::to_string_pretty(&value).unwrap();
        let shown = printable_json(&text);
        assert!(!shown.contains(|c| c != '\n' && is_harmful(c)), "{shown:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }
}
