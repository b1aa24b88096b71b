//! One 80-byte card: its keyword and its value.
//!
//! A header is a run of cards (FITS Standard 4.0, 4.1). This file reads one card at a time and is tolerant on purpose: it
//! accepts what the common readers accept (lower-case keywords, values outside their fixed columns, blanks inside numbers,
//! `D` exponents), and it gives no value at all rather than a wrong one.
//!
//! Invariants: nothing here fails or panics, whatever the bytes; text comes out as printable ASCII, with `?` for the rest.

/// Length of a card in bytes (FITS Standard 4.0, 4.1).
pub const CARD_LEN: usize = 80;

/// Length of the keyword field in bytes (FITS Standard 4.0, 4.1.2.1).
const KEYWORD_LEN: usize = 8;

/// A keyword of at most eight characters, upper case, padded with blanks (FITS Standard 4.0, 4.1.2.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Keyword([u8; KEYWORD_LEN]);

impl Keyword {
    /// The keyword spelled by `text`: trimmed, upper case; only the first eight bytes count.
    pub fn new(text: &str) -> Self {
        Self::from_bytes(text.as_bytes())
    }

    /// The keyword `stem` followed by the number `n`, such as `NAXIS3` (FITS Standard 4.0, 4.1.2.1); none if it is longer
    /// than a keyword can be.
    pub fn indexed(stem: &str, n: usize) -> Option<Self> {
        let text = format!("{stem}{n}");
        (text.len() <= KEYWORD_LEN).then(|| Self::new(&text))
    }

    fn from_bytes(field: &[u8]) -> Self {
        let mut keyword = [b' '; KEYWORD_LEN];
        for (to, from) in keyword.iter_mut().zip(field.trim_ascii()) {
            *to = from.to_ascii_uppercase();
        }
        Self(keyword)
    }

    /// The keyword without its padding.
    pub fn as_str(&self) -> &str {
        str::from_utf8(self.0.trim_ascii_end()).unwrap_or_default()
    }
}

impl std::fmt::Debug for Keyword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The value of a keyword (FITS Standard 4.0, 4.2). Complex numbers are not kept: no structural keyword has one.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `T` or `F` (4.2.2).
    Logical(bool),
    /// An integer that fits 64 bits (4.2.3); a wider one is a [`Value::Float`].
    Integer(i64),
    /// A finite real number (4.2.4).
    Float(f64),
    /// A character string (4.2.1): doubled quotes undone, trailing blanks dropped since they carry no meaning.
    Text(String),
}

/// What a card is, as far as the structure of a file is concerned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Card<'a> {
    /// The end of the header (FITS Standard 4.0, 4.4.1.1).
    End,
    /// A keyword with a value indicator; the field is what follows the indicator.
    Valued(Keyword, &'a [u8]),
    /// `CONTINUE`: the next piece of a long string (FITS Standard 4.0, 4.2.1.2).
    Continue(&'a [u8]),
    /// Commentary (4.4.2.4), `HIERARCH`, and anything that is not a card: never structural.
    Other,
}

impl<'a> Card<'a> {
    /// Reads the card in `image`, normally [`CARD_LEN`] bytes.
    ///
    /// The value indicator is `= ` in bytes 9 and 10 (4.1.2.2). One that stands earlier is taken as well; a `HIERARCH` card
    /// has its own later, so that `HIERARCH NAXIS1 = 5` never passes for `NAXIS1`.
    pub fn parse(image: &'a [u8]) -> Self {
        if is_end(image) {
            return Self::End;
        }
        let (keyword, rest) = image.split_at(image.len().min(KEYWORD_LEN));
        if let Some(field) = rest.strip_prefix(b"= ") {
            return Self::Valued(Keyword::from_bytes(keyword), field);
        }
        if keyword.eq_ignore_ascii_case(b"CONTINUE") {
            return Self::Continue(rest);
        }
        match keyword.windows(2).position(|pair| pair == b"= ") {
            Some(at) if at > 0 => Self::Valued(Keyword::from_bytes(&keyword[..at]), &image[at + 2..]),
            _ => Self::Other,
        }
    }
}

/// Whether `image` ends a header: `END`, and nothing that would make it a longer keyword. Writers leave all sorts of bytes
/// behind it instead of the 77 blanks of the standard.
fn is_end(image: &[u8]) -> bool {
    let continues = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"_-".contains(byte);
    image.strip_prefix(b"END").is_some_and(|rest| !rest.first().is_some_and(continues))
}

/// Whether the keyword field of `image` is text, as that of every real card is. Data taken for a header soon is not.
pub fn has_text_keyword(image: &[u8]) -> bool {
    image.iter().take(KEYWORD_LEN).all(|byte| (0x20..0x7f).contains(byte))
}

/// The value in `field`, the bytes behind the value indicator; none if it is undefined or unreadable.
pub fn value(field: &[u8]) -> Option<Value> {
    let field = field.trim_ascii_start();
    if field.first() == Some(&b'\'') {
        return text(field).map(Value::Text);
    }
    let token = field.split(|&byte| byte == b'/').next()?.trim_ascii_end();
    match token {
        b"T" => Some(Value::Logical(true)),
        b"F" => Some(Value::Logical(false)),
        _ => number(token),
    }
}

/// The string that `field` begins with, if it is closed.
///
/// A quote that is neither doubled nor followed by a blank, a slash or the end is taken as part of the string: writers
/// forget to double it.
pub fn text(field: &[u8]) -> Option<String> {
    let mut rest = field.trim_ascii_start().strip_prefix(b"'")?;
    let mut out = String::new();
    loop {
        match rest {
            [] => return None,
            [b'\'', b'\'', after @ ..] => {
                out.push('\'');
                rest = after;
            }
            [b'\''] | [b'\'', b' ' | b'/' | 0, ..] => {
                out.truncate(out.trim_end_matches(' ').len());
                return Some(out);
            }
            [byte, after @ ..] => {
                out.push(if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '?' });
                rest = after;
            }
        }
    }
}

/// An integer or a real number (FITS Standard 4.0, 4.2.3 and 4.2.4). Blanks are accepted where astropy accepts them, behind
/// the sign and around the exponent letter, and nowhere else: `1 3` is no number.
fn number(token: &[u8]) -> Option<Value> {
    let (sign, digits) = match token.split_first()? {
        (b'-', rest) => ("-", rest.trim_ascii_start()),
        (b'+', rest) => ("", rest.trim_ascii_start()),
        _ => ("", token),
    };
    let exponent_at = digits.iter().position(|byte| b"dDeE".contains(byte));
    let (mantissa, exponent) = digits.split_at(exponent_at.unwrap_or(digits.len()));
    let mantissa = str::from_utf8(mantissa.trim_ascii_end()).ok()?;
    if !mantissa.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    if let (true, Ok(integer)) = (exponent.is_empty(), format!("{sign}{mantissa}").parse()) {
        return Some(Value::Integer(integer));
    }
    let exponent = str::from_utf8(exponent.get(1..).unwrap_or_default()).ok()?.replace(' ', "");
    let scaled =
        if exponent_at.is_some() { format!("{sign}{mantissa}E{exponent}") } else { format!("{sign}{mantissa}") };
    scaled.parse().ok().filter(|float: &f64| float.is_finite()).map(Value::Float)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn card(text: &str) -> Vec<u8> {
        let mut image = text.as_bytes().to_vec();
        image.resize(CARD_LEN, b' ');
        image
    }

    fn parsed(text: &str) -> Option<(String, Option<Value>)> {
        match Card::parse(&card(text)) {
            Card::Valued(keyword, field) => Some((keyword.as_str().to_owned(), value(field))),
            _ => None,
        }
    }

    #[test]
    fn values_of_every_type() {
        for (text, expected) in [
            ("SIMPLE  =                    T / conforms", Some(Value::Logical(true))),
            ("GROUPS  =F", None),
            ("GROUPS  = F/no", Some(Value::Logical(false))),
            ("NAXIS   =                    2", Some(Value::Integer(2))),
            ("NAXIS   = +0012 / comment", Some(Value::Integer(12))),
            ("BZERO   = - 3", Some(Value::Integer(-3))),
            ("BZERO   = 9223372036854775808", Some(Value::Float(9_223_372_036_854_775_808.0))),
            ("BSCALE  = 1.5D-3 / scale", Some(Value::Float(1.5e-3))),
            ("BSCALE  = 2.e2", Some(Value::Float(200.0))),
            ("BSCALE  = - 1.5 E + 2 / blanks", Some(Value::Float(-150.0))),
            ("BSCALE  = .5", Some(Value::Float(0.5))),
            ("BSCALE  = 1E999", None),
            ("BSCALE  = 1E", None),
            ("BSCALE  = .", None),
            ("BSCALE  = --1", None),
            ("BSCALE  = inf", None),
            ("GCOUNT  = 1   3", None),
            ("GCOUNT  = 1 X", None),
            ("BSCALE  = (1.0, 2.0)", None),
            ("BLANK   =", None),
            ("BLANK   = / undefined", None),
        ] {
            let found = parsed(text).and_then(|(_, value)| value);
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn strings_undo_doubled_quotes_and_drop_trailing_blanks() {
        for (text, expected) in [
            ("EXTNAME = 'SCI     '           / name", Some("SCI")),
            ("EXTNAME = '  lead'", Some("  lead")),
            ("EXTNAME = 'O''Brien'/x", Some("O'Brien")),
            ("EXTNAME = 'it's' / a quote nobody doubled", Some("it's")),
            ("EXTNAME = ''", Some("")),
            ("EXTNAME = 'a / b'", Some("a / b")),
            ("EXTNAME = 'open", None),
        ] {
            let found = parsed(text).and_then(|(_, value)| value);
            assert_eq!(found, expected.map(|text| Value::Text(text.to_owned())), "{text}");
        }
        assert_eq!(text(b"'na\xefve'"), Some("na?ve".to_owned()));
    }

    #[test]
    fn keywords_are_found_where_writers_put_them() {
        assert_eq!(parsed("naxis1  = 7").map(|found| found.0), Some("NAXIS1".to_owned()));
        assert_eq!(parsed("NAXIS= 7"), Some(("NAXIS".to_owned(), Some(Value::Integer(7)))));
        assert_eq!(parsed("HIERARCH NAXIS1 = 5"), None);
        assert_eq!(parsed("COMMENT NAXIS1 = 5"), None);
        assert_eq!(parsed("        NAXIS1 = 5"), None);
        assert!(matches!(Card::parse(&card("CONTINUE  'more'")), Card::Continue(_)));
    }

    #[test]
    fn end_is_not_the_beginning_of_a_longer_keyword() {
        for text in ["END", "END     / rest", "END\0"] {
            assert_eq!(Card::parse(&card(text)), Card::End, "{text:?}");
        }
        for text in ["ENDER   = 1", "END-1", "END_X", "END2    = 2", " END"] {
            assert_ne!(Card::parse(&card(text)), Card::End, "{text:?}");
        }
        assert_eq!(Card::parse(b"END"), Card::End);
    }

    proptest! {
        #[test]
        fn any_bytes_make_a_card(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Card::Valued(keyword, field) = Card::parse(&bytes) {
                let _ = (keyword.as_str(), value(field));
            }
            let _ = (value(&bytes), text(&bytes), has_text_keyword(&bytes));
        }

        #[test]
        fn strings_survive_the_way_they_are_written(name in "[ -~]{0,60}") {
            let written = format!("'{}'", name.replace('\'', "''"));
            prop_assert_eq!(text(written.as_bytes()), Some(name.trim_end_matches(' ').to_owned()));
        }

        #[test]
        fn integers_survive_the_way_they_are_written(number: i64) {
            prop_assert_eq!(value(format!("{number:>20} / n").as_bytes()), Some(Value::Integer(number)));
        }
    }
}
