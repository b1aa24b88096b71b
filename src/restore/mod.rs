//! Restoring archived files: what `fitsfs restore` does.
//!
//! - [`target`]: the objects that are meant, by paths in mounts or by URLs
//! - [`stores`]: the stores that they are in
//! - [`wait`]: until they can be read
//!
//! The command sends the requests, and no daemon does. To restore costs money and takes a permission that reading does
//! not: so a mount can run with credentials that only read, nothing that a program does in it can order anything, and
//! each order is in the name of the user that runs the command. A wait of two days does not depend on the mount either. The price is that the
//! command must be told what the mount was told, such as an endpoint. So that an order never goes to another store of the
//! same name, the store that the mount has (an attribute of each file) is compared with the one that the options lead to.

mod stores;
mod target;
mod wait;

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use futures::StreamExt;
use serde::Serialize;

use self::stores::Opened;
use self::target::Target;
use crate::store::{ArchiveState, RestoreOrder, Result, StoreOptions, rfc3339};

/// Objects that are asked about or ordered at once: a tenth of what one prefix of S3 takes in a second, at 50 ms each.
const JOBS: usize = 32;

/// How often an order is sent again where the store could not take it, and how long to wait before, at first.
const MAX_REPEATS: u32 = 5;
const REPEAT_AFTER: Duration = Duration::from_millis(500);

/// What is wanted.
#[derive(Debug)]
pub struct Task {
    /// Files and folders in mounts, and URLs: of objects, or with a final `/` of all that is below.
    pub places: Vec<String>,
    /// How to reach the stores.
    pub options: StoreOptions,
    /// What is asked of them.
    pub order: RestoreOrder,
    /// Whether to wait until all can be read.
    pub wait: bool,
}

/// How far a file is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// It is in no archive.
    Readable,
    /// It can be read.
    Restored {
        /// In UTC, where it can only be read until then.
        #[serde(skip_serializing_if = "Option::is_none")]
        until: Option<String>,
    },
    /// It cannot be read yet.
    Restoring,
    /// It cannot be restored, or not be asked about.
    Failed {
        /// Why.
        error: String,
    },
}

impl State {
    fn of(state: Option<ArchiveState>) -> Self {
        match state {
            None => Self::Readable,
            Some(ArchiveState::Restored(until)) => Self::Restored { until: until.map(rfc3339) },
            // It was ordered: what the store tells may be from before.
            Some(ArchiveState::Archived | ArchiveState::Restoring) => Self::Restoring,
        }
    }
}

/// A file whose state is known or has changed.
#[derive(Clone, Debug, Serialize)]
pub struct Event<'a> {
    /// Its path, if it was found by one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<&'a PathBuf>,
    /// Where it is, as far as that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<&'a str>,
    /// How far it is.
    #[serde(flatten)]
    pub state: &'a State,
}

/// Hears what happens.
pub trait Observer {
    /// So many files were found.
    fn found(&self, files: usize);
    /// How far one of them is.
    fn told(&self, event: &Event<'_>);
}

/// Restores what is wanted, and waits for it if that is wanted. Everything is told to the observer.
pub async fn run(task: &Task, env: impl Fn(&str) -> Option<String>, observer: &impl Observer) {
    let found = target::find(&task.places, &task.options, env).await;
    observer.found(found.targets.len() + found.failed.len());
    for (path, url, error) in &found.failed {
        let state = State::Failed { error: error.clone() };
        observer.told(&Event { path: path.as_ref(), url: url.as_deref(), state: &state });
    }
    let ordered = each(&found.targets, |target| order(target, task.order));
    let mut pending = Vec::new();
    let mut ordered = std::pin::pin!(ordered);
    while let Some((target, state)) = ordered.next().await {
        let state = state.unwrap_or_else(|error| State::Failed { error: error.message });
        observer.told(&target.event(&state));
        if state == State::Restoring {
            pending.push(target);
        }
    }
    if task.wait {
        wait::until_read(pending, observer).await;
    }
}

/// Does something with each of some targets, several at once.
fn each<'a, T, Done: Future<Output = T> + 'a>(
    targets: impl IntoIterator<Item = &'a Target, IntoIter: 'a>,
    mut work: impl FnMut(&'a Target) -> Done + 'a,
) -> impl futures::Stream<Item = (&'a Target, T)> + 'a {
    let working = targets.into_iter().map(move |target| {
        let done = work(target);
        async move { (target, done.await) }
    });
    futures::stream::iter(working).buffer_unordered(JOBS)
}

/// Has one object restored, unless that is not needed.
async fn order(target: &Target, order: RestoreOrder) -> Result<State> {
    let Target { opened, object, .. } = target;
    match opened.source.store.archive(object).await? {
        None => Ok(State::Readable),
        Some(ArchiveState::Restoring) => Ok(State::Restoring),
        // A copy that expires is kept for longer if that is said.
        state @ Some(ArchiveState::Restored(_)) if order.days.is_none() => Ok(State::of(state)),
        Some(ArchiveState::Restored(_)) => {
            send(opened, target, order).await?;
            Ok(State::of(opened.source.store.archive(object).await?))
        }
        Some(ArchiveState::Archived) => {
            send(opened, target, order).await?;
            Ok(State::Restoring)
        }
    }
}

async fn send(opened: &Opened, target: &Target, order: RestoreOrder) -> Result<()> {
    let mut pause = REPEAT_AFTER;
    for _ in 0..MAX_REPEATS {
        match opened.restorer.restore(&target.object, order).await {
            Err(error) if error.kind.is_transient() => {
                tokio::time::sleep(error.retry_after.unwrap_or_default().max(pause)).await;
            }
            answer => return answer,
        }
        pause *= 2;
    }
    opened.restorer.restore(&target.object, order).await
}
