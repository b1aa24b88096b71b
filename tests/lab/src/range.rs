//! The Range header.

/// What a Range header asks of an object of a known size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Span {
    /// No range, or one that is ignored as HTTP allows: malformed, of another unit, or of several parts.
    Whole,
    /// First and last byte.
    Part(u64, u64),
    /// 416.
    Unsatisfiable,
}

/// Parses a Range header against the size of the object.
pub(crate) fn parse(header: Option<&str>, size: u64) -> Span {
    let Some((first, last)) = header.and_then(|h| h.trim().strip_prefix("bytes=")?.split_once('-')) else {
        return Span::Whole;
    };
    match (first.trim(), last.trim()) {
        ("", suffix) => match number(suffix) {
            Some(n) if n > 0 && size > 0 => Span::Part(size.saturating_sub(n), size - 1),
            Some(_) => Span::Unsatisfiable,
            None => Span::Whole,
        },
        (first, last) => match (number(first), number(last)) {
            (Some(first), None) if last.is_empty() => clip(first, u64::MAX, size),
            (Some(first), Some(last)) if first <= last => clip(first, last, size),
            _ => Span::Whole,
        },
    }
}

fn clip(first: u64, last: u64, size: u64) -> Span {
    if first >= size { Span::Unsatisfiable } else { Span::Part(first, last.min(size - 1)) }
}

/// Digits only: `+5` is no number here. More digits than fit are a very large number.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_ten_bytes() {
        use Span::*;
        for (header, expected) in [
            ("bytes=0-0", Part(0, 0)),
            ("bytes=2-5", Part(2, 5)),
            ("bytes=2-", Part(2, 9)),
            ("bytes=2-99", Part(2, 9)),
            ("bytes=9-9", Part(9, 9)),
            ("bytes=0-99999999999999999999999", Part(0, 9)),
            ("bytes=-3", Part(7, 9)),
            ("bytes=-10", Part(0, 9)),
            ("bytes=-11", Part(0, 9)),
            (" bytes=1-2 ", Part(1, 2)),
            ("bytes=10-", Unsatisfiable),
            ("bytes=10-12", Unsatisfiable),
            ("bytes=99999999999999999999999-", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            ("bytes=5-2", Whole),
            ("bytes=0-1,4-5", Whole),
            ("bytes=-", Whole),
            ("bytes=a-b", Whole),
            ("bytes=+1-2", Whole),
            ("bytes", Whole),
            ("items=0-1", Whole),
            ("", Whole),
        ] {
            assert_eq!(parse(Some(header), 10), expected, "{header:?}");
        }
    }

    #[test]
    fn an_empty_object_has_no_range() {
        for header in ["bytes=0-", "bytes=0-0", "bytes=-1"] {
            assert_eq!(parse(Some(header), 0), Span::Unsatisfiable, "{header}");
        }
        assert_eq!(parse(None, 0), Span::Whole);
    }
}
