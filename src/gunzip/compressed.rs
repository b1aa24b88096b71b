//! The compressed bytes of a file: from the cache on disk where it has them, else from the store, and then kept.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;

use crate::cache::disk::{DiskCache, Fetched};
use crate::cache::{Origin, Segment, blocks_around};
use crate::store::{Object, Result};

/// Where compressed bytes are kept.
#[derive(Debug)]
pub struct Compressed(pub Option<Arc<DiskCache>>);

impl Compressed {
    /// The bytes `range` of an object, which are kept with the blocks around them.
    pub async fn get(&self, object: &Object, range: Range<u64>) -> Result<Bytes> {
        let blocks = blocks_around(&range, object.size());
        let bytes = match &self.0 {
            Some(disk) => cached(disk, object, blocks.clone()).await?,
            None => fetch(object, blocks.clone()).await?,
        };
        Ok(bytes.slice((range.start - blocks.start) as usize..(range.end - blocks.start) as usize))
    }
}

async fn cached(disk: &Arc<DiskCache>, object: &Object, range: Range<u64>) -> Result<Bytes> {
    let files = if disk.is_off() { None } else { disk.object(object.identity()).await };
    let Some(files) = files else { return fetch(object, range).await };
    if let Some(bytes) = disk.read(&files, range.clone()).await {
        return Ok(bytes);
    }
    let bytes = fetch(object, range.clone()).await?;
    let segment = Segment::new(range.clone(), Origin::Demand, None);
    segment.append(bytes.clone());
    disk.keep(Fetched { object: files, segment: Arc::new(segment), range, headers: Vec::new(), claim: None });
    Ok(bytes)
}

async fn fetch(object: &Object, range: Range<u64>) -> Result<Bytes> {
    let mut body = object.get(range.clone()).await?;
    let mut bytes = BytesMut::with_capacity((range.end - range.start) as usize);
    // The stream yields exactly the range, or fails.
    while let Some(chunk) = body.stream.try_next().await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}
