//! Elements of an XML document that no reader of the whole takes, because some of them make no sense: each is read by
//! itself. Pure.

/// The text of an element, if it is UTF-8 without characters and references that XML does not allow.
pub(in crate::store) fn text(inner: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(inner).ok()?;
    let allowed = |c: char| !c.is_control() || matches!(c, '\t' | '\n' | '\r');
    let mut parts = text.split('&');
    let mut whole = parts.next()?.to_owned();
    for part in parts {
        let (reference, rest) = part.split_once(';')?;
        whole.push(referenced(reference)?);
        whole.push_str(rest);
    }
    text.chars().all(allowed).then_some(whole)
}

/// The character that a reference (`&amp;`, `&#38;`, `&#x26;`) stands for.
fn referenced(reference: &str) -> Option<char> {
    let number = |digits: &str, radix| u32::from_str_radix(digits, radix).ok().and_then(char::from_u32);
    match reference {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        other => match other.strip_prefix("#x") {
            Some(digits) => number(digits, 16),
            None => number(other.strip_prefix('#')?, 10),
        },
    }
}

/// Elements one after the other, with what is within; those within them are not looked at. It ends at what is not
/// whole.
pub(in crate::store) struct Elements<'a>(pub(in crate::store) &'a [u8]);

impl<'a> Iterator for Elements<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let opened = &self.0[position(self.0, b"<")? + 1..];
            let end = position(opened, b">")?;
            let (tag, rest) = (&opened[..end], &opened[end + 1..]);
            self.0 = rest;
            match tag.first()? {
                // A declaration or a comment.
                b'?' | b'!' => continue,
                b'/' => return None,
                _ => {}
            }
            let name = tag.split(|byte| byte.is_ascii_whitespace() || *byte == b'/').next()?;
            if tag.ends_with(b"/") {
                return Some((name, b""));
            }
            let closing = [b"</", name, b">"].concat();
            let inner = position(rest, &closing)?;
            self.0 = &rest[inner + closing.len()..];
            return Some((name, &rest[..inner]));
        }
    }
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
