//! The gzip format without compression: stored blocks, which every decoder reads.

use std::io;

use hyper::header;

use crate::reply::{Payload, Reply};

/// The most that is wrapped; a test of a misplaced encoding needs no more.
const MAX: u64 = 64 << 20;

/// Replaces the payload by its gzip and says so in Content-Encoding.
pub(crate) async fn compress(reply: &mut Reply) -> io::Result<()> {
    if reply.payload.len() > MAX {
        return Err(io::Error::other("the gzip fault takes bodies of up to 64 MiB"));
    }
    let plain = match &reply.payload {
        Payload::Bytes(bytes) => bytes.clone(),
        Payload::Span { reader, offset, len } => reader.read(*offset, *len as usize).await?,
    };
    reply.payload = Payload::Bytes(encode(&plain).into());
    reply.header(header::CONTENT_ENCODING, "gzip");
    Ok(())
}

fn encode(plain: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let blocks: Vec<&[u8]> = if plain.is_empty() { vec![&[]] } else { plain.chunks(0xffff).collect() };
    for (i, block) in blocks.iter().enumerate() {
        let len = block.len() as u16;
        out.push(u8::from(i + 1 == blocks.len()));
        out.extend(len.to_le_bytes());
        out.extend((!len).to_le_bytes());
        out.extend_from_slice(block);
    }
    out.extend(crc32(plain).to_le_bytes());
    out.extend((plain.len() as u32).to_le_bytes());
    out
}

fn crc32(bytes: &[u8]) -> u32 {
    let table: [u32; 256] = std::array::from_fn(|byte| {
        (0..8).fold(byte as u32, |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
    });
    !bytes.iter().fold(!0, |crc, byte| table[((crc ^ u32::from(*byte)) & 0xff) as usize] ^ (crc >> 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_of_the_check_string() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
