//! Faults: what goes wrong, for which requests, how often. Data plus a seed, so that a run can be repeated.

use std::time::Duration;

use crate::content::mix;
use crate::op::Op;

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An error answer with this HTTP status and S3 error code.
    Status(u16, String),
    /// The connection is closed after so many bytes of the body, of which the headers promised all. Shorter bodies are
    /// whole.
    CutBodyAfter(u64),
    /// A well-formed answer of half the body: Content-Range claims all of it, Content-Length is what is sent.
    TruncateBody,
    /// Another range than asked for, with a Content-Range that says so.
    WrongContentRange,
    /// 200 and the whole object, whatever the range.
    IgnoreRange,
    /// The current version, whatever If-Match says.
    IgnoreIfMatch,
    /// 200 and a web page, as a captive portal answers.
    HtmlInsteadOfXml,
    /// Headers, then silence for so long, then the connection is closed.
    Stall(Duration),
    /// So much longer to the first byte.
    Delay(Duration),
    /// Headers, then one byte of the body each time that so long has passed.
    Drip(Duration),
    /// 503 SlowDown with this `Retry-After`.
    RetryAfter(String),
    /// The connection is closed without an answer; the request took effect all the same.
    DropConnection,
    /// No ETag: in the entries of a listing, or in the headers of an object.
    MissingEtag,
    /// The body compressed though nobody asked for it, with `Content-Encoding: gzip`.
    GzipEncoding,
    /// Weak entity tags (`W/"x"`): in the entries of a listing, or in the headers of an object, which If-Match then never
    /// matches.
    WeakEtag,
    /// Keys of a listing as they are, with control characters that XML does not allow, whatever `encoding-type` asks for.
    RawKeys,
    /// A listing that begins again with each page, and gives the same continuation token each time.
    RepeatToken,
    /// Pages of a listing without entries, each with another continuation token.
    EmptyPages,
    /// A listing of as many entries as there are, whatever `max-keys` asks for.
    IgnoreMaxKeys,
    /// An object with headers that are none: this in place of its Last-Modified, and numbers and dates that cannot be read.
    OddHeaders(String),
    /// So many more bytes (spaces) at the end of a document or an error.
    Padding(u64),
}

impl Kind {
    /// HTTP 503 SlowDown, as S3 throttles.
    pub fn slow_down() -> Kind {
        Kind::Status(503, "SlowDown".into())
    }

    /// HTTP 500 InternalError.
    pub fn internal_error() -> Kind {
        Kind::Status(500, "InternalError".into())
    }

    /// HTTP 403 AccessDenied.
    pub fn access_denied() -> Kind {
        Kind::Status(403, "AccessDenied".into())
    }

    /// HTTP 404 NoSuchKey.
    pub fn not_found() -> Kind {
        Kind::Status(404, "NoSuchKey".into())
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Kind::Status(..) => "status",
            Kind::CutBodyAfter(_) => "cut_body_after",
            Kind::TruncateBody => "truncate_body",
            Kind::WrongContentRange => "wrong_content_range",
            Kind::IgnoreRange => "ignore_range",
            Kind::IgnoreIfMatch => "ignore_if_match",
            Kind::HtmlInsteadOfXml => "html_instead_of_xml",
            Kind::Stall(_) => "stall",
            Kind::Delay(_) => "delay",
            Kind::Drip(_) => "drip",
            Kind::RetryAfter(_) => "retry_after",
            Kind::DropConnection => "drop_connection",
            Kind::MissingEtag => "missing_etag",
            Kind::GzipEncoding => "gzip_encoding",
            Kind::WeakEtag => "weak_etag",
            Kind::RawKeys => "raw_keys",
            Kind::RepeatToken => "repeat_token",
            Kind::EmptyPages => "empty_pages",
            Kind::IgnoreMaxKeys => "ignore_max_keys",
            Kind::OddHeaders(_) => "odd_headers",
            Kind::Padding(_) => "padding",
        }
    }
}

/// A fault and the requests that it strikes. Of several that match one request the first put strikes.
#[derive(Clone, Debug)]
pub struct Fault {
    /// What goes wrong.
    pub kind: Kind,
    /// Only these operations; empty for all.
    pub ops: Vec<Op>,
    /// Only this bucket.
    pub bucket: Option<String>,
    /// Only keys (of listings: prefixes) that begin so.
    pub prefix: String,
    /// Let the first so many matching requests pass.
    pub skip: u64,
    /// Strike at most so often.
    pub times: Option<u64>,
    /// Strike with this probability, decided by the seed and the number of the matching request.
    pub probability: f64,
    /// Seed of the probability.
    pub seed: u64,
    /// It is there for requests that must not be needed, and tests something where none comes.
    pub is_spare: bool,
}

impl Fault {
    /// Strikes every request; narrow it with the methods below.
    pub fn new(kind: Kind) -> Fault {
        let (ops, bucket, prefix) = (Vec::new(), None, String::new());
        Fault { kind, ops, bucket, prefix, skip: 0, times: None, probability: 1.0, seed: 0, is_spare: false }
    }

    /// Only this operation (may be said several times).
    pub fn on(mut self, op: Op) -> Fault {
        self.ops.push(op);
        self
    }

    /// Only this bucket.
    pub fn bucket(mut self, bucket: &str) -> Fault {
        self.bucket = Some(bucket.into());
        self
    }

    /// Only keys that begin so.
    pub fn prefix(mut self, prefix: &str) -> Fault {
        self.prefix = prefix.into();
        self
    }

    /// Let the first so many pass.
    pub fn skip(mut self, n: u64) -> Fault {
        self.skip = n;
        self
    }

    /// Strike at most so often.
    pub fn times(mut self, n: u64) -> Fault {
        self.times = Some(n);
        self
    }

    /// What is tested should need none of these requests: it is no failure if this strikes nowhere.
    pub fn spare(mut self) -> Fault {
        self.is_spare = true;
        self
    }

    /// Strike at random, the same way for the same seed and order of requests.
    pub fn probability(mut self, probability: f64, seed: u64) -> Fault {
        (self.probability, self.seed) = (probability, seed);
        self
    }

    fn matches(&self, op: Op, bucket: &str, key: &str) -> bool {
        (self.ops.is_empty() || self.ops.contains(&op))
            && self.bucket.as_deref().is_none_or(|b| b == bucket)
            && key.starts_with(&self.prefix)
    }

    /// The dice for the n-th matching request.
    fn falls(&self, n: u64) -> bool {
        (mix(mix(self.seed) ^ n) >> 11) as f64 / (1u64 << 53) as f64 <= self.probability && self.probability > 0.0
    }
}

/// The faults in force, with how often each matched and struck; and those that were there before.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    active: Vec<(Fault, u64, u64)>,
    removed: Vec<(Fault, u64, u64)>,
}

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault) {
        self.active.push((fault, 0, 0));
    }

    pub(crate) fn clear(&mut self) {
        self.removed.append(&mut self.active);
    }

    /// What has struck nowhere: of faults that differ only in place and number one is enough, and chance may spare all.
    pub(crate) fn idle(&self) -> Vec<Fault> {
        let all = || self.removed.iter().chain(&self.active);
        let alike = |one: &Fault, other: &Fault| (&one.kind, &one.ops) == (&other.kind, &other.ops);
        let struck = |fault: &Fault| all().any(|(other, _, struck)| *struck > 0 && alike(fault, other));
        let certain = all().map(|(fault, ..)| fault).filter(|fault| fault.probability >= 1.0 && !fault.is_spare);
        certain.filter(|fault| !struck(fault)).cloned().collect()
    }

    /// What strikes this request.
    pub(crate) fn strike(&mut self, op: Op, bucket: &str, key: &str) -> Option<Kind> {
        for (fault, matched, struck) in &mut self.active {
            if !fault.matches(op, bucket, key) {
                continue;
            }
            let n = *matched;
            *matched += 1;
            if n >= fault.skip && fault.times.is_none_or(|times| *struck < times) && fault.falls(n) {
                *struck += 1;
                return Some(fault.kind.clone());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strikes_what_it_names() {
        let mut faults = Faults::default();
        faults.add(Fault::new(Kind::TruncateBody).on(Op::GetObject).prefix("a/").skip(1).times(2));
        let mut strike = |op, key| faults.strike(op, "b", key).is_some();
        assert!(!strike(Op::HeadObject, "a/x"), "another operation");
        assert!(!strike(Op::GetObject, "b/x"), "another key");
        let struck: Vec<bool> = (0..5).map(|_| strike(Op::GetObject, "a/x")).collect();
        assert_eq!(struck, [false, true, true, false, false]);
    }

    #[test]
    fn what_struck_nowhere_is_told_also_after_it_was_removed() {
        let mut faults = Faults::default();
        let kinds = [Kind::TruncateBody, Kind::IgnoreRange, Kind::MissingEtag];
        ["a/", "b/"].iter().for_each(|place| faults.add(Fault::new(kinds[0].clone()).prefix(place)));
        faults.add(Fault::new(kinds[1].clone()).prefix("b/"));
        faults.strike(Op::GetObject, "bucket", "a/x");
        let idle = |faults: &Faults| faults.idle().into_iter().map(|fault| fault.kind).collect::<Vec<_>>();
        assert_eq!(idle(&faults), kinds[1..2]);
        faults.clear();
        faults.add(Fault::new(kinds[2].clone()).prefix("c/"));
        faults.add(Fault::new(kinds[0].clone()).on(Op::HeadObject).probability(0.01, 1));
        assert_eq!(idle(&faults), kinds[1..]);
    }

    #[test]
    fn probability_repeats_with_its_seed() {
        let run = |seed| {
            let mut faults = Faults::default();
            faults.add(Fault::new(Kind::DropConnection).probability(0.25, seed));
            (0..1000).map(|_| faults.strike(Op::GetObject, "b", "k").is_some()).collect::<Vec<_>>()
        };
        let struck = run(1).iter().filter(|struck| **struck).count();
        assert!((200..300).contains(&struck), "{struck} of 1000");
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }
}
