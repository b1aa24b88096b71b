//! A header: the cards that decide where the next header is and how the data between them are laid out.
//!
//! [`Parser`] takes a header in pieces of any size, reads every card once and keeps the structural keywords only, so that a
//! header of 10,000 cards costs one pass however often its bytes had to be asked for. [`parse`] does the same for a
//! header that is at hand.
//!
//! Invariants:
//! - memory is bounded: structural keywords only, each once, strings of at most [`MAX_TEXT`] bytes;
//! - work is bounded: [`MAX_HEADER_LEN`], and a run of [`MAX_DARK_CARDS`] cards that are not text ends the attempt;
//! - where a keyword is repeated (the standard forbids it, 4.1.2.1) the last one counts for the layout and the first one for
//!   the name and version, which is what astropy makes of such a file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::card::{self, CARD_LEN, Card, Keyword, Value};

/// Headers and data units come in blocks of 2,880 bytes (FITS Standard 4.0, 3.1).
pub const BLOCK_LEN: u64 = 2880;

/// The longest header that is read, in bytes: 840,000 cards. The longest real ones have some 10,000 (0.8 MB); beyond this
/// the END card is lost and what is being read is data.
pub const MAX_HEADER_LEN: u64 = 64 << 20;

/// So many cards in a row whose keyword field is not text, one block of them, are data: the END card is missing. Headers
/// may carry bytes that are not ASCII in comments, but never in all keywords of a block.
pub const MAX_DARK_CARDS: u32 = 36;

/// The longest string that is kept, in bytes: enough for a name continued over a dozen cards.
pub const MAX_TEXT: usize = 1024;

/// NAXIS, TFIELDS and the numbers of their indexed keywords end here (FITS Standard 4.0, 4.4.1.1 and 7.3.1).
pub const MAX_INDEX: usize = 999;

const XTENSION: &[u8; 8] = b"XTENSION";

/// Keywords that are kept without a number behind them.
const PLAIN: [&str; 21] = [
    "BITPIX", "NAXIS", "PCOUNT", "GCOUNT", "GROUPS", "EXTNAME", "EXTVER", "EXTLEVEL", "BZERO", "BSCALE", "BLANK",
    "TFIELDS", "THEAP", "ZIMAGE", "ZBITPIX", "ZNAXIS", "ZCMPTYPE", "INDXADDR", "INDXSIZE", "JSONADDR", "JSONSIZE",
];

/// Keywords that are kept with a number from 1 to [`MAX_INDEX`] behind them.
const INDEXED: [&str; 5] = ["NAXIS", "TFORM", "TTYPE", "ZNAXIS", "ZTILE"];

/// Why a header cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum HeaderError {
    /// The bytes begin with neither `SIMPLE` nor `XTENSION` (FITS Standard 4.0, 4.4.1).
    #[error("no header begins here")]
    NotAHeader,
    /// No END card: data, or the end of the file, comes first (4.4.1.1).
    #[error("the header has no END card")]
    MissingEnd,
    /// The last block of the header goes beyond the end of the file (3.1).
    #[error("the file ends inside the header")]
    CutShort,
    /// The keyword is mandatory and missing, or its value is not an integer (4.4.1).
    #[error("{0} is missing or not an integer")]
    Unusable(String),
    /// The value of the keyword is not allowed (4.4.1).
    #[error("{0} is out of range")]
    OutOfRange(String),
    /// The data unit would end beyond what a file offset can express.
    #[error("the data unit is larger than any file")]
    TooLarge,
    /// The headers of the file have more bytes in all than are read.
    #[error("too many HDUs: their headers have more than {0} bytes")]
    TooManyHdus(u64),
    /// The tree of an ASDF file has no line `...` (ASDF Standard 1.6.0, "Low-level file layout", "Tree").
    #[error("the tree has no end marker")]
    EndlessTree,
    /// An ASDF file has more blocks than are read.
    #[error("too many blocks: more than {0}")]
    TooManyBlocks(u64),
}

/// What kind of HDU the first card announces (FITS Standard 4.0, 4.4.1.1 and 4.4.1.2).
#[derive(Clone, Debug, PartialEq)]
pub enum Signature {
    /// `SIMPLE`, with its value.
    Simple(bool),
    /// `XTENSION`, with its value.
    Extension(String),
}

/// The structural keywords of one header.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    signature: Signature,
    /// None stands for a value that is undefined or unreadable.
    values: BTreeMap<Keyword, Option<Value>>,
}

/// What [`parse`] made of some bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum Parsed {
    /// A whole header, and its length in bytes: a multiple of [`BLOCK_LEN`].
    Complete(Header, u64),
    /// The END card is not among the bytes; the header has at least so many.
    NeedMore(u64),
    /// The bytes are not a header.
    Malformed(HeaderError),
}

/// Whether a header of an extension begins here, as far as the first bytes tell. This is the test that a guessed offset
/// has to pass.
pub fn is_extension_start(bytes: &[u8]) -> bool {
    bytes.starts_with(XTENSION)
}

/// Parses the header that `bytes` begins with.
pub fn parse(bytes: &[u8]) -> Parsed {
    let mut parser = Parser::default();
    match parser.push(bytes) {
        Ok(Some((header, len))) => Parsed::Complete(header, len),
        Ok(None) => Parsed::NeedMore(parser.scanned.saturating_add(1).next_multiple_of(BLOCK_LEN)),
        Err(error) => Parsed::Malformed(error),
    }
}

/// A header in the making.
#[derive(Clone, Debug, Default)]
pub struct Parser {
    signature: Option<Signature>,
    values: BTreeMap<Keyword, Option<Value>>,
    scanned: u64,
    dark: u32,
    name_goes_on: bool,
}

impl Parser {
    /// Bytes of the header read so far, always whole cards. The next piece has to begin there.
    pub fn scanned(&self) -> u64 {
        self.scanned
    }

    /// Takes the next piece of the header. Gives the header and its length in bytes once the END card was met, leaving the
    /// parser empty. Bytes at the end of the piece that are no whole card are not used; see [`Parser::scanned`].
    pub fn push(&mut self, piece: &[u8]) -> Result<Option<(Header, u64)>, HeaderError> {
        for image in piece.chunks_exact(CARD_LEN) {
            self.scanned = self.scanned.saturating_add(CARD_LEN as u64);
            if self.scanned > MAX_HEADER_LEN {
                return Err(HeaderError::MissingEnd);
            }
            let Some(signature) = &self.signature else {
                self.signature = Some(signature(image).ok_or(HeaderError::NotAHeader)?);
                continue;
            };
            if Card::parse(image) == Card::End {
                let (signature, scanned) = (signature.clone(), self.scanned);
                let values = std::mem::take(self).values;
                return Ok(Some((Header { signature, values }, scanned.next_multiple_of(BLOCK_LEN))));
            }
            self.card(image)?;
        }
        Ok(None)
    }

    /// Takes a card that is neither the first nor the last.
    fn card(&mut self, image: &[u8]) -> Result<(), HeaderError> {
        self.dark = if card::has_text_keyword(image) { 0 } else { self.dark + 1 };
        if self.dark >= MAX_DARK_CARDS {
            return Err(HeaderError::MissingEnd);
        }
        let card = Card::parse(image);
        let goes_on = std::mem::take(&mut self.name_goes_on);
        match card {
            Card::Valued(keyword, field) if is_structural(keyword) => self.keep(keyword, field),
            Card::Continue(field) if goes_on => self.continue_name(field),
            _ => {}
        }
        Ok(())
    }

    fn keep(&mut self, keyword: Keyword, field: &[u8]) {
        if keyword.as_str().starts_with("EXT") && self.values.contains_key(&keyword) {
            return;
        }
        self.name_goes_on = keyword.as_str() == "EXTNAME";
        self.values.insert(keyword, card::value(field));
    }

    /// Appends a `CONTINUE` card to the name: the ampersand that announces it goes (FITS Standard 4.0, 4.2.1.2).
    fn continue_name(&mut self, field: &[u8]) {
        let more = card::text(field);
        if let (Some(Some(Value::Text(name))), Some(more)) = (self.values.get_mut(&Keyword::new("EXTNAME")), more) {
            name.truncate(name.strip_suffix('&').unwrap_or(name).len());
            // Both are ASCII, so that the cut cannot fall inside a character.
            name.push_str(&more);
            name.truncate(MAX_TEXT);
            self.name_goes_on = true;
        }
    }
}

/// What the first card announces, if it is the first card of a header. Like astropy this accepts `SIMPLE` with its value in
/// any column.
fn signature(image: &[u8]) -> Option<Signature> {
    if let Some(rest) = image.strip_prefix(b"SIMPLE") {
        let value = rest.trim_ascii_start().strip_prefix(b"=")?.trim_ascii_start();
        return match value.first()? {
            b'T' => Some(Signature::Simple(true)),
            b'F' => Some(Signature::Simple(false)),
            _ => None,
        };
    }
    let field = image.strip_prefix(XTENSION)?.strip_prefix(b"=")?;
    card::text(field).map(Signature::Extension)
}

fn is_structural(keyword: Keyword) -> bool {
    let text = keyword.as_str();
    let stem = text.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = &text[stem.len()..];
    if number.is_empty() {
        return PLAIN.contains(&text);
    }
    let in_range = |n: usize| (1..=MAX_INDEX).contains(&n);
    INDEXED.contains(&stem) && !number.starts_with('0') && number.parse().is_ok_and(in_range)
}

impl Header {
    /// What the first card announces.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Whether `keyword` is structural and present, be its value readable or not.
    pub fn has(&self, keyword: &str) -> bool {
        self.values.contains_key(&Keyword::new(keyword))
    }

    /// The value of `keyword` if it is structural, present and readable.
    pub fn value(&self, keyword: &str) -> Option<&Value> {
        self.values.get(&Keyword::new(keyword))?.as_ref()
    }

    fn indexed(&self, stem: &str, n: usize) -> Option<&Value> {
        self.values.get(&Keyword::indexed(stem, n)?)?.as_ref()
    }

    /// Whether `keyword` is `T`.
    pub fn is_true(&self, keyword: &str) -> bool {
        self.value(keyword) == Some(&Value::Logical(true))
    }

    /// The integer value of `keyword`.
    pub fn integer(&self, keyword: &str) -> Option<i64> {
        self.value(keyword).and_then(as_integer)
    }

    /// The integer value of the keyword `stem` with the number `n`, such as `NAXIS` and 2.
    pub fn indexed_integer(&self, stem: &str, n: usize) -> Option<i64> {
        self.indexed(stem, n).and_then(as_integer)
    }

    /// The value of `keyword` as a real number.
    pub fn float(&self, keyword: &str) -> Option<f64> {
        match self.value(keyword)? {
            Value::Integer(integer) => Some(*integer as f64),
            Value::Float(float) => Some(*float),
            _ => None,
        }
    }

    /// The string value of `keyword`.
    pub fn text(&self, keyword: &str) -> Option<&str> {
        self.value(keyword).and_then(as_text)
    }

    /// The string value of the keyword `stem` with the number `n`, such as `TFORM` and 1.
    pub fn indexed_text(&self, stem: &str, n: usize) -> Option<&str> {
        self.indexed(stem, n).and_then(as_text)
    }

    /// The name of the HDU (`EXTNAME`, FITS Standard 4.0, 4.4.2.1), spelled as in the file; none if it is empty.
    pub fn name(&self) -> Option<String> {
        let name = match self.value("EXTNAME")? {
            Value::Text(text) => text.clone(),
            Value::Logical(true) => "True".to_owned(),
            Value::Logical(false) => "False".to_owned(),
            Value::Integer(integer) => integer.to_string(),
            Value::Float(float) => float.to_string(),
        };
        (!name.is_empty()).then_some(name)
    }
}

/// Integers only, but for a real number that is a small integer: some writers give sizes so.
fn as_integer(value: &Value) -> Option<i64> {
    match value {
        Value::Integer(integer) => Some(*integer),
        Value::Float(float) if float.fract() == 0.0 && float.abs() < 1e15 => Some(*float as i64),
        _ => None,
    }
}

fn as_text(value: &Value) -> Option<&str> {
    match value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fits::testing::header_bytes;

    fn complete(bytes: &[u8]) -> (Header, u64) {
        match parse(bytes) {
            Parsed::Complete(header, len) => (header, len),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn keeps_structural_keywords_only() {
        let bytes = header_bytes(&[
            "SIMPLE  = T",
            "BITPIX  = -32",
            "NAXIS   = 2",
            "NAXIS1  = 30",
            "NAXIS2  = 20",
            "OBSERVER= 'Hubble'",
            "HIERARCH NAXIS1 = 5",
            "NAXIS0  = 1",
            "NAXIS01 = 1",
        ]);
        let (header, len) = complete(&bytes);
        assert_eq!((len, header.values.len()), (2880, 4));
        assert_eq!(header.signature(), &Signature::Simple(true));
        assert_eq!(header.indexed_integer("NAXIS", 1), Some(30));
        assert_eq!(header.integer("OBSERVER"), None);
    }

    #[test]
    fn long_headers_end_at_a_block_boundary() {
        let mut cards = vec!["XTENSION= 'IMAGE   '".to_owned()];
        cards.extend((0..10_000).map(|n| format!("KEY{n:<5}= {n}")));
        let bytes = header_bytes(&cards);
        let (_, len) = complete(&bytes);
        assert_eq!(len, (10_002_u64 * 80).next_multiple_of(2880));
        assert_eq!(parse(&bytes[..2880]), Parsed::NeedMore(5760));
        assert_eq!(parse(&[]), Parsed::NeedMore(2880));
    }

    #[test]
    fn a_name_goes_on_over_continue_cards() {
        let bytes = header_bytes(&[
            "XTENSION= 'IMAGE'",
            "EXTNAME = 'A long &'",
            "CONTINUE  'name, &' / and a comment",
            "CONTINUE  'at last'",
            "OBJECT  = 'x&'",
            "CONTINUE  'not of the name'",
        ]);
        assert_eq!(complete(&bytes).0.name().as_deref(), Some("A long name, at last"));
    }

    #[test]
    fn repeated_keywords_count_as_in_astropy() {
        let bytes = header_bytes(&[
            "XTENSION= 'IMAGE'",
            "NAXIS1  = 1",
            "NAXIS1  = 2",
            "EXTNAME = 'FIRST'",
            "EXTNAME = 'SECOND'",
        ]);
        let (header, _) = complete(&bytes);
        assert_eq!((header.indexed_integer("NAXIS", 1), header.name().as_deref()), (Some(2), Some("FIRST")));
    }

    #[test]
    fn only_simple_and_xtension_begin_a_header() {
        assert_eq!(parse(&[b'x'; 80]), Parsed::Malformed(HeaderError::NotAHeader));
        assert_eq!(parse(&header_bytes(&["BITPIX  = 8"])), Parsed::Malformed(HeaderError::NotAHeader));
        assert_eq!(complete(&header_bytes(&["SIMPLE=F"])).0.signature(), &Signature::Simple(false));
        assert_eq!(
            complete(&header_bytes(&["XTENSION= 'HDRLET  '"])).0.signature(),
            &Signature::Extension("HDRLET".to_owned())
        );
    }

    #[test]
    fn data_in_place_of_end_is_noticed_within_two_blocks() {
        let mut bytes = header_bytes(&["SIMPLE  = T"]);
        bytes[80..160].fill(b' ');
        bytes.extend([0; 2880]);
        assert_eq!(parse(&bytes), Parsed::Malformed(HeaderError::MissingEnd));
    }

    #[test]
    fn a_header_without_end_is_malformed() {
        let bytes = vec![b' '; usize::try_from(MAX_HEADER_LEN).unwrap()];
        let mut parser = Parser::default();
        assert_eq!(parser.push(&header_bytes(&["SIMPLE  = T"])[..80]), Ok(None));
        assert_eq!(parser.push(&bytes), Err(HeaderError::MissingEnd));
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_parsed(bytes in prop::collection::vec(any::<u8>(), 0..6000), signed: bool) {
            let head = if signed { header_bytes(&["SIMPLE  = T"])[..80].to_vec() } else { Vec::new() };
            if let Parsed::Complete(_, len) = parse(&[head, bytes].concat()) {
                prop_assert_eq!(len % BLOCK_LEN, 0);
            }
        }

        #[test]
        fn pieces_make_the_same_header(cut in 0_usize..5760) {
            let cards: Vec<_> = std::iter::once("SIMPLE  = T".to_owned())
                .chain((1..60).map(|n| format!("NAXIS{n:<3}= {n}")))
                .collect();
            let bytes = header_bytes(&cards);
            let mut parser = Parser::default();
            prop_assert!(parser.push(&bytes[..cut]).unwrap().is_none_or(|_| cut >= 61 * 80));
            if parser.scanned() > 0 {
                let rest = usize::try_from(parser.scanned()).unwrap();
                prop_assert_eq!(parser.push(&bytes[rest..]).unwrap(), Some(complete(&bytes)));
            }
        }
    }
}
