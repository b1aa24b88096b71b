//! The XML documents that S3 answers with.

use std::fmt::Write;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::bucket::Listed;
use crate::clock::iso8601;
use crate::error::Refusal;
use crate::listing::{Page, VersionsPage};

const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";
/// What `encoding-type=url` leaves as it is.
const URL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/').remove(b'*');

/// A document under construction.
struct Document {
    text: String,
    root: &'static str,
}

impl Document {
    fn new(root: &'static str) -> Document {
        let text = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{root} xmlns=\"{NAMESPACE}\">");
        Document { text, root }
    }

    fn element(&mut self, name: &str, value: impl AsRef<str>) {
        let _ = write!(self.text, "<{name}>");
        escape(value.as_ref(), &mut self.text);
        let _ = write!(self.text, "</{name}>");
    }

    fn group(&mut self, name: &str, fill: impl FnOnce(&mut Document)) {
        let _ = write!(self.text, "<{name}>");
        fill(self);
        let _ = write!(self.text, "</{name}>");
    }

    fn finish(mut self) -> String {
        let _ = write!(self.text, "</{}>", self.root);
        self.text
    }
}

pub(crate) fn escape(value: &str, out: &mut String) {
    for c in value.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_ascii_control() => {
                let _ = write!(out, "&#x{:X};", c as u32);
            }
            c => out.push(c),
        }
    }
}

/// An error.
pub(crate) fn error(refusal: &Refusal, resource: &str, request_id: &str) -> String {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>");
    let fixed = [("Code", refusal.code.as_str()), ("Message", refusal.message.as_str())];
    let more = refusal.elements.iter().map(|(name, value)| (*name, value.as_str()));
    let last = [("Resource", resource), ("RequestId", request_id)];
    for (name, value) in fixed.into_iter().chain(more).chain(last) {
        let _ = write!(text, "<{name}>");
        escape(value, &mut text);
        let _ = write!(text, "</{name}>");
    }
    text + "</Error>"
}

/// What the answer to a listing repeats of the request, and where the next page begins.
#[derive(Debug, Default)]
pub(crate) struct ListingHead {
    pub bucket: String,
    pub prefix: String,
    pub delimiter: String,
    pub max_keys: usize,
    pub url_encoded: bool,
    /// Of version 1 the marker, of version 2 start-after.
    pub after: Option<String>,
    /// Version 2, with the token of the request.
    pub version_2: bool,
    pub token: Option<String>,
    /// NextMarker or NextContinuationToken.
    pub next: Option<String>,
    pub etags: Etags,
    pub with_owner: bool,
    /// Keys are written with the control characters that XML does not allow.
    pub raw: bool,
}

/// How the entries of a listing name versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Etags {
    #[default]
    Strong,
    Weak,
    Missing,
}

impl ListingHead {
    fn name(&self, text: &str) -> String {
        if self.url_encoded { utf8_percent_encode(text, URL).to_string() } else { text.to_owned() }
    }
}

/// A page of a listing of either version.
pub(crate) fn listing(head: &ListingHead, page: &Page) -> String {
    let mut doc = Document::new("ListBucketResult");
    doc.element("Name", &head.bucket);
    doc.element("Prefix", head.name(&head.prefix));
    if !head.delimiter.is_empty() {
        doc.element("Delimiter", head.name(&head.delimiter));
    }
    doc.element("MaxKeys", head.max_keys.to_string());
    if head.url_encoded {
        doc.element("EncodingType", "url");
    }
    doc.element("IsTruncated", (page.next.is_some() || head.next.is_some()).to_string());
    if head.version_2 {
        doc.element("KeyCount", page.len().to_string());
        for (name, value) in [("ContinuationToken", &head.token), ("NextContinuationToken", &head.next)] {
            value.iter().for_each(|value| doc.element(name, value));
        }
        head.after.iter().for_each(|after| doc.element("StartAfter", head.name(after)));
    } else {
        doc.element("Marker", head.name(head.after.as_deref().unwrap_or_default()));
        head.next.iter().for_each(|next| doc.element("NextMarker", head.name(next)));
    }
    contents(&mut doc, head, page);
    doc.finish()
}

fn contents(doc: &mut Document, head: &ListingHead, page: &Page) {
    for (key, object) in &page.objects {
        doc.group("Contents", |doc| {
            match head.raw {
                true => doc.text += &format!("<Key>{key}</Key>"),
                false => doc.element("Key", head.name(key)),
            }
            let Listed { size, last_modified } = &object.listed;
            doc.element("LastModified", last_modified.clone().unwrap_or_else(|| iso8601(object.last_modified)));
            match head.etags {
                Etags::Strong => doc.element("ETag", &object.etag),
                Etags::Weak => doc.element("ETag", format!("W/{}", object.etag)),
                Etags::Missing => {}
            }
            doc.element("Size", size.clone().unwrap_or_else(|| object.len.to_string()));
            doc.element("StorageClass", &object.storage_class);
            if head.with_owner {
                doc.group("Owner", owner);
            }
        });
    }
    for group in &page.common_prefixes {
        doc.group("CommonPrefixes", |doc| doc.element("Prefix", head.name(group)));
    }
}

fn owner(doc: &mut Document) {
    doc.element("ID", "lab");
    doc.element("DisplayName", "lab");
}

/// Where a bucket is; us-east-1 is the empty string.
pub(crate) fn location(region: &str) -> String {
    let mut doc = Document::new("LocationConstraint");
    if region != "us-east-1" {
        escape(region, &mut doc.text);
    }
    doc.finish()
}

/// A page of a listing of versions.
pub(crate) fn versions(head: &ListingHead, page: &VersionsPage) -> String {
    let mut doc = Document::new("ListVersionsResult");
    doc.element("Name", &head.bucket);
    doc.element("Prefix", head.name(&head.prefix));
    doc.element("MaxKeys", head.max_keys.to_string());
    if head.url_encoded {
        doc.element("EncodingType", "url");
    }
    doc.element("IsTruncated", page.next.is_some().to_string());
    if let Some((key, id)) = &page.next {
        doc.element("NextKeyMarker", head.name(key));
        id.iter().for_each(|id| doc.element("NextVersionIdMarker", id));
    }
    for (key, past, is_latest) in &page.versions {
        doc.group(if past.object.is_some() { "Version" } else { "DeleteMarker" }, |doc| {
            doc.element("Key", head.name(key));
            doc.element("VersionId", &past.id);
            doc.element("IsLatest", is_latest.to_string());
            doc.element("LastModified", iso8601(past.time));
            if let Some(object) = &past.object {
                doc.element("ETag", &object.etag);
                doc.element("Size", object.len.to_string());
                doc.element("StorageClass", &object.storage_class);
            }
            doc.group("Owner", owner);
        });
    }
    for group in &page.common_prefixes {
        doc.group("CommonPrefixes", |doc| doc.element("Prefix", head.name(group)));
    }
    doc.finish()
}

/// Whether a bucket keeps versions; of one that never did nothing is said.
pub(crate) fn versioning(keeps_versions: bool) -> String {
    let mut doc = Document::new("VersioningConfiguration");
    if keeps_versions {
        doc.element("Status", "Enabled");
    }
    doc.finish()
}

/// All buckets.
pub(crate) fn buckets(names: &[String]) -> String {
    let mut doc = Document::new("ListAllMyBucketsResult");
    doc.group("Owner", owner);
    doc.group("Buckets", |doc| {
        for name in names {
            doc.group("Bucket", |doc| {
                doc.element("Name", name);
                doc.element("CreationDate", "2026-01-01T00:00:00.000Z");
            });
        }
    });
    doc.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_xml_cannot_carry() {
        let mut out = String::new();
        escape("a<b>&\"c\"\r\u{1}é", &mut out);
        assert_eq!(out, "a&lt;b&gt;&amp;&quot;c&quot;&#xD;&#x1;é");
    }
}
