//! Watches: the one way in which controllers follow objects.
//!
//! A [`Watch`] keeps a projection of the objects: a compact value for each, which is either known
//! or not known. An entry changes only when its value does. Every watch has the same policy for
//! failures: it keeps what was known, logs the failure once, and tries again with a backoff of at
//! most [`MAX_BACKOFF`]. A connection that went silent is no failure: it is given up after 45 seconds
//! at the latest, and the watch goes on from the last version.

mod list_watch;
mod projection;
mod timing;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Debug};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{BoxStream, StreamExt as _};
use kube::runtime::utils::Backoff as _;
use kube::runtime::watcher::{Config, DefaultBackoff, Error, Event};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep_until};

use self::list_watch::{ListWatch, Project};
use self::projection::{Projected, Projection};
use self::timing::Timing;
use super::error::watch_error;
use crate::decision::{Key, LookupError, LookupErrorKind};
use crate::shared_quota::SharedQuota;

/// Longest pause before a watch that failed is tried again.
pub const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// A failure is logged if the watch did not fail for this time. A watch that keeps failing does so
/// more often: it is retried after [`MAX_BACKOFF`], and a request gives up after half a minute.
const QUIET_PERIOD: Duration = Duration::from_mins(5);

/// Most objects of one namespace that a watch keeps, if nothing else is said. An entry has some
/// hundred bytes.
const MAX_PER_NAMESPACE: usize = 10_000;

type Events<V> = BoxStream<'static, Result<Event<Projected<V>>, Error>>;

/// A watch of some objects, each reduced to a value `V`. It makes progress while
/// [`changed`](Self::changed) is awaited; it has no task of its own.
pub struct Watch<V> {
    /// What is watched, for the log.
    subject: String,
    /// Starts the watch with a new list.
    start: Box<dyn Fn() -> Events<V> + Send + Sync>,
    events: Events<V>,
    projection: Projection<V>,
    /// The last list was refused, so that the entries may be out of date.
    is_refused: bool,
    backoff: DefaultBackoff,
    last_failure: Option<Instant>,
    pause: Option<Pause>,
}

/// A pause after a failure.
#[derive(Clone, Copy, Debug)]
struct Pause {
    until: Instant,
    /// Start with a new list after it.
    restart: bool,
}

/// What changed in a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// This entry was added, changed or removed.
    Entry(Key),
    /// A list is complete. These entries differ from before; none if the list is the first one and
    /// empty, or the first one after a refused list.
    List(BTreeSet<Key>),
    /// The API server refuses even to list the objects. The entries stay as they were last known.
    Refused,
}

impl<V: PartialEq + Send + 'static> Watch<V> {
    /// Watches the objects of `api` that the selectors of `config` select. `subject` names them in
    /// the log. An object for which `project` returns `None` counts as absent.
    pub fn new<K>(
        api: Api<K>,
        config: Config,
        subject: impl Into<String>,
        project: impl Fn(K) -> Option<V> + Send + Sync + 'static,
    ) -> Self
    where
        K: Resource + Clone + DeserializeOwned + Send + Sync + 'static,
    {
        let subject = subject.into();
        let name = subject.clone();
        Self::of_text(api, config, subject, move |text| {
            let Ok(object) = serde_json::from_str(text) else {
                // The text of the error may quote the object.
                tracing::warn!("one of the {name} cannot be read, and is left out");
                return None;
            };
            project(object)
        })
    }

    /// As [`new`](Self::new), with the JSON text of each object. What `project` does not read of it
    /// needs no memory: an object of 1.5 MiB can need a hundred times as much as a tree of values.
    pub fn of_text<K>(
        api: Api<K>,
        config: Config,
        subject: impl Into<String>,
        project: impl Fn(&str) -> Option<V> + Send + Sync + 'static,
    ) -> Self
    where
        K: Resource + Clone + Send + Sync + 'static,
    {
        let project: Arc<Project<V>> = Arc::new(project);
        let start = move || {
            let project = Arc::clone(&project);
            ListWatch::new(api.clone(), &config, Timing::DEFAULT, project)
                .events()
                .boxed()
        };
        Self::from_events(subject, Box::new(start))
    }

    /// Keeps at most `max` objects of each namespace, instead of [`MAX_PER_NAMESPACE`]. Call this
    /// before the first [`changed`](Self::changed).
    #[must_use]
    pub fn with_max_per_namespace(mut self, max: usize) -> Self {
        self.projection = Projection::new(max);
        self
    }

    /// Bounds the memory of all entries by `quota`, too, where `size` returns the bytes of a value.
    /// Call this before the first [`changed`](Self::changed), and after
    /// [`with_max_per_namespace`](Self::with_max_per_namespace).
    #[must_use]
    pub fn with_quota(mut self, quota: SharedQuota, size: fn(&V) -> usize) -> Self {
        self.projection = self.projection.with_quota(quota, size);
        self
    }

    fn from_events(
        subject: impl Into<String>,
        start: Box<dyn Fn() -> Events<V> + Send + Sync>,
    ) -> Self {
        Self {
            subject: subject.into(),
            events: start(),
            start,
            projection: Projection::new(MAX_PER_NAMESPACE),
            is_refused: false,
            backoff: DefaultBackoff::default(),
            last_failure: None,
            pause: None,
        }
    }

    /// Waits until something changes. Cancel safe: no change is lost if the future is dropped.
    pub async fn changed(&mut self) -> Change {
        loop {
            if let Some(Pause { until, restart }) = self.pause {
                sleep_until(until).await;
                self.pause = None;
                if restart {
                    self.events = (self.start)();
                }
            }
            let change = match self.events.next().await {
                // A watcher never ends.
                None => std::future::pending().await,
                Some(Ok(event)) => self.apply(event),
                Some(Err(error)) => self.fail(&error),
            };
            if let Some(change) = change {
                return change;
            }
        }
    }

    fn apply(&mut self, event: Event<Projected<V>>) -> Option<Change> {
        let is_listed = matches!(event, Event::InitDone);
        // A list alone does not show that watching works again.
        if matches!(event, Event::Apply(_) | Event::Delete(_)) {
            self.backoff.reset();
        }
        let change = self.projection.apply(event);
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
        let pause = self.backoff.next().unwrap_or(MAX_BACKOFF).min(MAX_BACKOFF);
        self.pause = Some(Pause {
            until: now + pause,
            // A list may be allowed where a watch is not, and then replaces it.
            restart: is_forbidden,
        });
        is_newly_refused.then_some(Change::Refused)
    }

    /// Returns the entries as they were last known; `None` until there was a complete list.
    pub const fn last_known(&self) -> Option<&BTreeMap<Key, V>> {
        self.projection.entries()
    }

    /// Returns the entries; `None` until there was a complete list, and while a list is refused.
    pub fn current(&self) -> Option<&BTreeMap<Key, V>> {
        self.last_known().filter(|_| !self.is_refused)
    }
}

impl<V> Debug for Watch<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}

/// Returns whether a failure at `now` is to be logged, after the `last` one.
fn is_new_failure(last: Option<Instant>, now: Instant) -> bool {
    last.is_none_or(|last| now.duration_since(last) > QUIET_PERIOD)
}

#[cfg(test)]
mod tests;
