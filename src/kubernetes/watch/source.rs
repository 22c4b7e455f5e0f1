//! The events of a watch, and what follows from them and from failures.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::stream::{BoxStream, StreamExt as _};
use kube::runtime::utils::Backoff as _;
use kube::runtime::watcher::{DefaultBackoff, Error, Event};
use tokio::time::{Instant, sleep_until};

use super::projection::{Projected, Projection};
use super::{Change, MAX_BACKOFF};
use crate::decision::{LookupError, LookupErrorKind};
use crate::kubernetes::error::watch_error;

/// A failure is logged if the watch did not fail for this time. A watch that keeps failing does so
/// more often: it is retried after [`MAX_BACKOFF`], and a request gives up after half a minute.
pub(super) const QUIET_PERIOD: Duration = Duration::from_mins(5);

pub(super) type Events<V> = BoxStream<'static, Result<Event<Projected<V>>, Error>>;

/// Starts a watch with a new list.
pub(super) type Start<V> = Box<dyn Fn() -> Events<V> + Send + Sync>;

/// Where the entries of a watch come from.
pub(super) struct Source<V> {
    /// What is watched, for the log.
    pub(super) subject: String,
    pub(super) start: Start<V>,
    pub(super) events: Events<V>,
    /// The last list was refused, so that the entries may be out of date.
    is_refused: bool,
    backoff: DefaultBackoff,
    /// Longest pause after a failure.
    pub(super) max_backoff: Duration,
    last_failure: Option<Instant>,
    pub(super) pause: Option<Pause>,
}

/// A pause after a failure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pause {
    pub(super) until: Instant,
    /// Start with a new list after it.
    pub(super) restart: bool,
}

impl<V: PartialEq> Source<V> {
    pub(super) fn new(subject: String, start: Start<V>) -> Self {
        Self {
            subject,
            events: start(),
            start,
            is_refused: false,
            backoff: DefaultBackoff::default(),
            max_backoff: MAX_BACKOFF,
            last_failure: None,
            pause: None,
        }
    }

    /// Waits for the next event or failure, which [`Self::apply`] takes. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Event<Projected<V>>, Error> {
        if let Some(Pause { until, restart }) = self.pause {
            sleep_until(until).await;
            self.pause = None;
            if restart {
                self.events = (self.start)();
            }
        }
        match self.events.next().await {
            Some(event) => event,
            // A watcher never ends.
            None => std::future::pending().await,
        }
    }

    /// Applies what came to the entries. Returns what changed, if anything did.
    pub(super) fn apply(
        &mut self,
        event: Result<Event<Projected<V>>, Error>,
        entries: &mut Projection<V>,
    ) -> Option<Change> {
        let event = match event {
            Ok(event) => event,
            Err(error) => return self.fail(&error),
        };
        let is_listed = matches!(event, Event::InitDone);
        // A list alone does not show that watching works again.
        if matches!(event, Event::Apply(_) | Event::Delete(_)) {
            self.backoff.reset();
        }
        let change = entries.apply(event);
        if is_listed && std::mem::take(&mut self.is_refused) {
            return Some(change.unwrap_or_else(|| Change::List(BTreeSet::new())));
        }
        change
    }

    fn fail(&mut self, error: &Error) -> Option<Change> {
        let now = Instant::now();
        let LookupError { kind, message } = watch_error(error);
        let is_forbidden = kind == LookupErrorKind::Forbidden;
        let is_list = matches!(error, Error::InitialListFailed(_));
        let is_newly_refused =
            is_forbidden && is_list && !std::mem::replace(&mut self.is_refused, true);
        let last = self.last_failure.replace(now);
        let subject = &self.subject;
        // The refusal changes what the users of this watch say, so it is logged at once.
        if is_newly_refused || is_new_failure(last, now) {
            tracing::warn!(error = message, "cannot watch {subject}");
        } else {
            tracing::debug!(error = message, "cannot watch {subject}");
        }
        let pause = self.backoff.next().unwrap_or(MAX_BACKOFF);
        self.pause = Some(Pause {
            until: now + pause.min(self.max_backoff),
            // A list may be allowed where a watch is not, and then replaces it.
            restart: is_forbidden,
        });
        is_newly_refused.then_some(Change::Refused)
    }

    /// Whether the last list was refused.
    pub(super) const fn is_refused(&self) -> bool {
        self.is_refused
    }
}

/// Returns whether a failure at `now` is to be logged, after the `last` one.
pub(super) fn is_new_failure(last: Option<Instant>, now: Instant) -> bool {
    last.is_none_or(|last| now.duration_since(last) > QUIET_PERIOD)
}
