//! What every store is asked: listing, archived objects, ranges, versions. What is a store's own it answers itself.

use std::time::Instant;

use futures::stream::TryStreamExt;

use super::{Check, Outcome};
use crate::store::{
    self, Capabilities, Diagnosis, ListPage, ListRequest, ObjectMeta, Question, Reached, Result, SourceUrl, Store,
    StoreError, StoreOptions,
};

/// The first bytes of an object: one FITS block.
const BLOCK: u64 = 2880;

/// The checks of a source, and what its store can do, as far as it can be asked.
pub(super) async fn checks(source: &SourceUrl, options: &StoreOptions) -> (Vec<Check>, Option<Capabilities>) {
    let mut diagnosis = match store::diagnose(source, options).await {
        Ok(diagnosis) => diagnosis,
        Err(error) => {
            return (vec![Check::fail("configuration", &error.message, source.remedy_of_options(&error))], None);
        }
    };
    let Reached { mut checks, answers } = diagnosis.reach().await;
    if !answers {
        return (checks, None);
    }
    checks.extend(ask(source, diagnosis.as_ref()).await);
    // Last, since the answers tell some of them.
    let capabilities = diagnosis.store().capabilities();
    checks.push(Check::ok("capabilities", capabilities.summary()));
    (checks, Some(capabilities))
}

async fn ask(source: &SourceUrl, diagnosis: &dyn Diagnosis) -> Vec<Check> {
    let mut checks = Vec::new();
    let listed = listed(source, diagnosis.store()).await;
    checks.extend(diagnosis.learnt());
    checks.push(listing(&listed, diagnosis));
    let Ok(page) = listed else { return checks };
    checks.extend(archive(&page, diagnosis.store().capabilities()));
    checks.push(history(diagnosis).await);
    if let Some(object) = page.objects.iter().find(|object| object.size > 0 && !object.is_archived()) {
        let ranges = ranges(diagnosis, object).await;
        let readable = ranges.outcome == Outcome::Ok;
        checks.push(ranges);
        if readable {
            checks.push(diagnosis.versions(object).await);
        }
    }
    checks
}

fn listing(listed: &Result<ListPage>, diagnosis: &dyn Diagnosis) -> Check {
    const NAME: &str = "listing";
    let error = match listed {
        Ok(page) if page.objects.is_empty() => {
            return Check::warn(NAME, "no key begins with the prefix", "check the prefix; case counts");
        }
        Ok(page) => {
            let more = if page.continuation.is_some() { " or more" } else { "" };
            return Check::ok(NAME, format!("{}{more} keys", page.objects.len()));
        }
        Err(error) => error,
    };
    Check::fail(NAME, &error.message, diagnosis.remedy(Question::Listing, error))
}

/// What a mount would show of the source: what is in a folder, or one object.
async fn listed(source: &SourceUrl, store: &dyn Store) -> Result<ListPage> {
    let one_object = async || {
        let object = store.head(source.key()?).await.ok()?;
        Some(ListPage { objects: vec![object], ..ListPage::default() })
    };
    if source.ends_like_file()
        && let Some(page) = one_object().await
    {
        return Ok(page);
    }
    let request = ListRequest { prefix: source.prefix.clone(), delimited: false, max_keys: 1000, continuation: None };
    let page = store.list(&request).await;
    match &page {
        Ok(ListPage { objects, prefixes, .. }) if objects.is_empty() && prefixes.is_empty() => {
            one_object().await.map_or(page, Ok)
        }
        _ => page,
    }
}

fn archive(page: &ListPage, capabilities: Capabilities) -> Option<Check> {
    let archived: Vec<_> = page.objects.iter().filter(|object| object.is_archived()).collect();
    let class = &archived.first()?.storage_class.as_ref()?.name;
    let finding = format!("{} of the first {} objects are archived ({class})", archived.len(), page.objects.len());
    let remedy = match capabilities.restore {
        Some(how) => format!("restore them before reading: {how}"),
        None => "restore them before reading".to_owned(),
    };
    Some(Check::warn("archive", finding, remedy))
}

/// Whether it can be mounted as it was.
async fn history(diagnosis: &dyn Diagnosis) -> Check {
    const NAME: &str = "history";
    match diagnosis.store().keeps_versions().await {
        Ok(Some(true)) => Check::ok(NAME, "versions are kept: --at mounts it as it was"),
        Ok(Some(false)) => Check::ok(NAME, "no versions are kept: --at cannot mount it as it was"),
        Ok(None) => Check::ok(NAME, "it does not tell whether versions are kept, which --at needs"),
        Err(error) => Check::warn(NAME, &error.message, "try again; if it persists, check the network"),
    }
}

async fn ranges(diagnosis: &dyn Diagnosis, object: &ObjectMeta) -> Check {
    const NAME: &str = "ranges";
    let start = Instant::now();
    let range = 0..object.size.min(BLOCK);
    let read = async {
        let chunks: Vec<_> = diagnosis.store().get(object, range.clone()).await?.stream.try_collect().await?;
        Ok::<_, StoreError>(chunks.concat())
    };
    match read.await {
        Ok(bytes) => {
            let what = if bytes.starts_with(b"SIMPLE  =") { "a FITS header" } else { "not a FITS header" };
            let ms = start.elapsed().as_millis();
            Check::ok(NAME, format!("the first {} bytes of {:?} in {ms} ms, {what}", bytes.len(), object.key))
        }
        Err(error) => Check::fail(NAME, &error.message, diagnosis.remedy(Question::Range, &error)),
    }
}
