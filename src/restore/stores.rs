//! The stores of the objects that are to be restored: each is opened once, twice over: as what can be asked, and as what
//! restores.

use std::sync::Arc;

use crate::metrics::Metrics;
use crate::store::{self, Restorer, Result, Source, SourceUrl, StoreOptions};

/// A store that is open.
pub(super) struct Opened {
    url: SourceUrl,
    /// What is asked, with retries.
    pub(super) source: Source,
    /// What restores.
    pub(super) restorer: Box<dyn Restorer>,
}

/// The stores that are open.
pub(super) struct Stores<'a, Env> {
    options: &'a StoreOptions,
    env: Env,
    metrics: Arc<Metrics>,
    opened: Vec<Arc<Opened>>,
}

impl<'a, Env: Fn(&str) -> Option<String>> Stores<'a, Env> {
    pub(super) fn new(options: &'a StoreOptions, env: Env) -> Self {
        Self { options, env, metrics: Arc::new(Metrics::new()), opened: Vec::new() }
    }

    /// The store of a source.
    pub(super) async fn of(&mut self, url: &SourceUrl) -> Result<Arc<Opened>> {
        if let Some(opened) = self.opened.iter().find(|opened| opened.url.is_in_store_of(url)) {
            return Ok(opened.clone());
        }
        let options = url.resolve_options(self.options.clone(), &self.env)?;
        let restorer = store::restorer(url, &options).await?;
        let source = Source::new(store::open(url, &options).await?, &self.metrics);
        let opened = Arc::new(Opened { url: url.clone(), source, restorer });
        self.opened.push(opened.clone());
        Ok(opened)
    }
}
