//! `fitsfs layout`: the HDU map of a FITS file or the blocks of an ASDF file, wherever it is.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use tokio::runtime::Runtime;

use super::args::LayoutArgs;
use crate::fits::{Chain, Layout, Need, render};
use crate::metrics::Metrics;
use crate::printable::{printable_json, printable_lines};
use crate::store::{self, ObjectMeta, Source, SourceUrl, Store, StoreOptions};

/// Prints the HDU map.
pub fn run(args: LayoutArgs) -> Result<(), String> {
    let is_url = args.file.contains("://");
    let layout = if is_url { of_url(&args.file, args.s3.options())? } else { of_path(&args.file)? };
    if !layout.is_known() {
        return Err(format!("{} is not a FITS or ASDF file: it does not begin with a header of either", args.file));
    }
    if args.json {
        let (path, url) = if is_url { (None, Some(&*args.file)) } else { (Some(&*args.file), None) };
        let document = render::json(&layout, path, url).map_err(|error| error.to_string())?;
        super::print(&(printable_json(&document) + "\n"))
    } else {
        super::print(&printable_lines(&render::table(&layout)))
    }
}

/// A runtime for one command.
pub fn runtime() -> Result<Runtime, String> {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
    built.map_err(|error| format!("cannot start: {error}"))
}

fn of_path(path: &str) -> Result<Layout, String> {
    let failed = |error: std::io::Error| format!("{path}: {error}");
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(format!("{path} is not a file"));
    }
    let mut chain = Chain::new(metadata.len());
    while let Need::Bytes { offset, len } = chain.need() {
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut bytes, offset).map_err(failed)?;
        chain.feed(offset, &bytes);
    }
    Ok(chain.into_layout())
}

fn of_url(url: &str, options: StoreOptions) -> Result<Layout, String> {
    let walked = runtime()?.block_on(async {
        let (source, key) = SourceUrl::parse_object(url)?;
        let opened = store::open(&source, &source.resolve_options(options, super::environment)?).await?;
        let source = Source::new(opened, &Arc::new(Metrics::new()));
        walk(&*source.store, &key).await
    });
    walked.map_err(|error| error.to_string())
}

async fn walk(store: &dyn Store, key: &str) -> store::Result<Layout> {
    let object = store.head(key).await?;
    let mut chain = Chain::new(object.size);
    while let Need::Bytes { offset, len } = chain.need() {
        let bytes = fetch(store, &object, offset..offset + len).await?;
        chain.feed(offset, &bytes);
    }
    Ok(chain.into_layout())
}

async fn fetch(store: &dyn Store, object: &ObjectMeta, range: std::ops::Range<u64>) -> store::Result<Bytes> {
    let body = store.get(object, range).await?;
    let parts = body.stream.try_fold(BytesMut::new(), |mut all, part| async move {
        all.extend_from_slice(&part);
        Ok(all)
    });
    Ok(parts.await?.freeze())
}
