//! Watches: the one way in which controllers follow objects.
//!
//! A [`Watch`] keeps a projection of the objects: a compact value for each, which is either known
//! or not known. An entry changes only when its value does. Every watch has the same policy for
//! failures: it keeps what was known, logs the failure once, and tries again with a backoff of at
//! most [`MAX_BACKOFF`]. A connection that went silent is no failure: it is given up after 45 seconds
//! at the latest, and the watch goes on from the last version.

mod list_watch;
mod projection;
mod shared;
mod source;
mod timing;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Debug};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::StreamExt as _;
use kube::runtime::watcher::Config;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

use self::list_watch::{ListWatch, Project};
use self::projection::Projection;
use self::source::{Source, Start};
use self::timing::Timing;
use crate::decision::Key;
use crate::shared_quota::SharedQuota;

pub use shared::{Entries, SharedChange, SharedWatch};

/// Longest pause before a watch that failed is tried again.
pub const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// Most objects of one namespace that a watch keeps, if nothing else is said. An entry has some
/// hundred bytes.
const MAX_PER_NAMESPACE: usize = 10_000;

/// A watch of some objects, each reduced to a value `V`. It makes progress while
/// [`changed`](Self::changed) is awaited; it has no task of its own.
pub struct Watch<V> {
    source: Source<V>,
    entries: Projection<V>,
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
        self.entries = Projection::new(max);
        self
    }

    /// Bounds the memory of all entries by `quota`, too, where `size` returns the bytes of a value.
    /// Call this before the first [`changed`](Self::changed), and after
    /// [`with_max_per_namespace`](Self::with_max_per_namespace).
    #[must_use]
    pub fn with_quota(mut self, quota: SharedQuota, size: fn(&V) -> usize) -> Self {
        self.entries = self.entries.with_quota(quota, size);
        self
    }

    /// Pauses for at most `max` after a failure, instead of [`MAX_BACKOFF`]: for what a replica cannot be ready
    /// without.
    #[must_use]
    pub const fn with_max_backoff(mut self, max: Duration) -> Self {
        self.source.max_backoff = max;
        self
    }

    fn from_events(subject: impl Into<String>, start: Start<V>) -> Self {
        Self {
            source: Source::new(subject.into(), start),
            entries: Projection::new(MAX_PER_NAMESPACE),
        }
    }

    /// Waits until something changes. Cancel safe: no change is lost if the future is dropped.
    pub async fn changed(&mut self) -> Change {
        loop {
            let event = self.source.next().await;
            if let Some(change) = self.source.apply(event, &mut self.entries) {
                return change;
            }
        }
    }

    /// Returns the entries as they were last known; `None` until there was a complete list.
    pub const fn last_known(&self) -> Option<&BTreeMap<Key, V>> {
        self.entries.last_known()
    }

    /// Returns the entries; `None` until there was a complete list, and while a list is refused.
    pub fn current(&self) -> Option<&BTreeMap<Key, V>> {
        self.last_known().filter(|_| !self.source.is_refused())
    }
}

impl<V> Debug for Watch<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("subject", &self.source.subject)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
