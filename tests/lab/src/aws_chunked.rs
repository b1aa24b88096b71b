//! The `aws-chunked` encoding, in which the AWS SDKs send bodies with a checksum behind them.

use bytes::{Bytes, BytesMut};
use hyper::StatusCode;

use crate::error::Refusal;
use crate::op::Call;

/// The body of an upload, unwrapped if it came in chunks. Neither their signatures nor the checksum are checked.
pub(crate) fn unwrap(call: &Call, body: Bytes) -> Result<Bytes, Refusal> {
    let chunked = call.header("x-amz-content-sha256").is_some_and(|hash| hash.starts_with("STREAMING-"));
    if !chunked {
        return Ok(body);
    }
    decode(&body).ok_or_else(|| {
        Refusal::new(StatusCode::BAD_REQUEST, "IncompleteBody", "The request body terminated unexpectedly")
    })
}

/// `SIZE[;extension]\r\n`, so many bytes, `\r\n`, and again until a size of zero.
fn decode(mut rest: &[u8]) -> Option<Bytes> {
    let mut plain = BytesMut::with_capacity(rest.len());
    loop {
        let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
        let line = std::str::from_utf8(&rest[..end]).ok()?;
        let size = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
        rest = &rest[end + 2..];
        if size == 0 {
            return Some(plain.freeze());
        }
        let (chunk, behind) = rest.split_at_checked(size)?;
        plain.extend_from_slice(chunk);
        rest = behind.strip_prefix(b"\r\n")?;
    }
}
