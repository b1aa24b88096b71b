//! Layouts as programs ask for them by an extended attribute: within bounds, and remembered.
//!
//! A file can have any number of HDUs, and a value that is too long for the kernel is asked for all the same: to learn
//! how long it is, or by `fitsfs warm`, so that the headers are fetched.

use std::sync::Arc;
use std::time::Duration;

use super::error::{Errno, Result};
use crate::fits;
use crate::read::{FileState, Reader};

/// As long as a program is left waiting. What was walked stays in memory, so that the next call comes further.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is remembered of layouts, in bytes, and for how long: what is asked for is mostly asked for twice, first for
/// its length.
const MAX_REMEMBERED: u64 = 8 << 20;
const REMEMBERED_FOR: Duration = Duration::from_secs(600);

/// What one takes beside its text.
const OVERHEAD: usize = 200;

/// The layouts of files, by the number of their inodes.
#[derive(Debug)]
pub struct Layouts(moka::future::Cache<u64, Rendered>);

/// A layout as JSON; none of a file that has too many headers.
type Rendered = Option<Arc<[u8]>>;

impl Default for Layouts {
    fn default() -> Self {
        let weight = |layout: &Rendered| OVERHEAD + layout.as_ref().map_or(0, |json| json.len());
        let cache = moka::future::Cache::builder()
            .max_capacity(MAX_REMEMBERED)
            .weigher(move |_, layout| u32::try_from(weight(layout)).unwrap_or(u32::MAX))
            .time_to_live(REMEMBERED_FOR);
        Self(cache.build())
    }
}

impl Layouts {
    /// The layout of a file, which is at `url`. However many ask for it, it is walked once; when all have gone the walk
    /// ends.
    pub async fn of(&self, reader: &Arc<Reader>, file: &Arc<FileState>, ino: u64, url: &str) -> Result<Arc<[u8]>> {
        let walk = async {
            let walked = tokio::time::timeout(PATIENCE, reader.layout(file)).await;
            let walked = walked.map_err(|_| Errno::ETIMEDOUT)?;
            let layout = walked.map_err(|error| Errno::of_read(&error))?;
            let json = layout.map(|layout| fits::render::json(&layout, None, Some(url)));
            json.transpose().map_err(|_| Errno::EINVAL).map(|json| json.map(|json| json.into_bytes().into()))
        };
        let layout = self.0.try_get_with(ino, walk).await.map_err(|errno: Arc<Errno>| *errno)?;
        layout.ok_or(Errno::E2BIG)
    }
}
