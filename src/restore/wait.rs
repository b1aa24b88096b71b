//! Waiting until objects can be read: they are asked about in rounds, with growing pauses.

use std::time::Duration;

use futures::StreamExt;

use super::target::Target;
use super::{Observer, State, each};

/// The first pause. Expedited restores take from a minute on, but what has been ordered before may be there at once.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause: of the hours that the usual restore takes, it adds little, and a HEAD of ten thousand objects that
/// often costs a cent an hour.
const MAX_PAUSE: Duration = Duration::from_secs(300);

/// Pauses grow by a half: a wait is at most half as long again as what is waited for takes.
fn longer(pause: Duration) -> Duration {
    (pause + pause / 2).min(MAX_PAUSE)
}

/// Waits until all of the targets can be read, or cannot be asked about any more.
pub(super) async fn until_read(mut pending: Vec<&Target>, observer: &impl Observer) {
    let mut pause = FIRST_PAUSE;
    while !pending.is_empty() {
        tokio::time::sleep(pause).await;
        pause = longer(pause);
        let mut left = Vec::new();
        {
            let asked = each(pending, |target| target.opened.source.store.archive(&target.object));
            let mut asked = std::pin::pin!(asked);
            while let Some((target, state)) = asked.next().await {
                let state = match state {
                    Ok(state) => State::of(state),
                    // A network that is gone for a while does not end a wait of hours.
                    Err(error) if error.kind.is_transient() => State::Restoring,
                    Err(error) => State::Failed { error: error.message },
                };
                match state {
                    State::Restoring => left.push(target),
                    state => observer.told(&target.event(&state)),
                }
            }
        }
        pending = left;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound() {
        let pauses: Vec<_> = std::iter::successors(Some(FIRST_PAUSE), |pause| Some(longer(*pause))).take(30).collect();
        assert!(pauses.is_sorted());
        assert_eq!(pauses.last(), Some(&MAX_PAUSE));
    }
}
