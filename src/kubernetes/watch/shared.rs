//! A watch that several reconcilers follow, as they follow a shared informer in Go.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use kube::runtime::watcher::Event;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::projection::{Projected, Projection};
use super::{Change, Watch};
use crate::decision::Key;

/// Most changes that wait for a reconciler. One that is further behind is told [`SharedChange::Any`].
const MAX_BEHIND: usize = 256;

/// A watch whose entries are kept once for all that follow it. They may be newer than the change that was told last.
pub struct SharedWatch<V> {
    entries: Arc<RwLock<Projection<V>>>,
    changes: broadcast::Receiver<SharedChange<V>>,
}

/// What changed in a [`SharedWatch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SharedChange<V> {
    /// An entry had one of these values and has the other; `None` if it was absent, or is.
    Entry {
        /// The value before.
        before: Option<V>,
        /// The value now.
        now: Option<V>,
    },
    /// Any entries may have changed: a list is complete, or too many did at once.
    Any,
}

/// The entries of a [`SharedWatch`]. While this is held, they stay as they are.
pub struct Entries<'a, V>(RwLockReadGuard<'a, Projection<V>>);

impl<V: PartialEq> Entries<'_, V> {
    /// Returns the entries as they were last known; `None` until there was a complete list.
    pub fn last_known(&self) -> Option<&BTreeMap<Key, V>> {
        self.0.last_known()
    }
}

impl<V: Clone + PartialEq + Send + Sync + 'static> Watch<V> {
    /// Shares this watch. It makes progress while the work is awaited, which never ends.
    pub fn share(self) -> (SharedWatch<V>, impl Future<Output = ()> + Send) {
        let Self {
            mut source,
            entries,
        } = self;
        let (sender, changes) = broadcast::channel(MAX_BEHIND);
        let entries = Arc::new(RwLock::new(entries));
        let shared = SharedWatch {
            entries: Arc::clone(&entries),
            changes,
        };
        let work = async move {
            loop {
                let event = source.next().await;
                let change = {
                    let mut entries = entries.write().unwrap_or_else(PoisonError::into_inner);
                    let before = event.as_ref().ok().and_then(key);
                    let before = before.and_then(|key| entries.last_known()?.get(key).cloned());
                    let change = source.apply(event, &mut entries);
                    change.and_then(|change| SharedChange::new(change, before, &entries))
                };
                // It fails if nobody follows.
                let _ = change.map(|change| sender.send(change));
            }
        };
        (shared, work)
    }
}

/// Returns the key of the object that an event changes.
fn key<V>(event: &Event<Projected<V>>) -> Option<&Key> {
    match event {
        Event::Apply((key, _)) | Event::Delete((key, _)) => Some(key),
        Event::Init | Event::InitApply(_) | Event::InitDone => None,
    }
}

impl<V: Clone + PartialEq> SharedChange<V> {
    /// Returns what is told of `change`, before which its entry had a value.
    fn new(change: Change, before: Option<V>, entries: &Projection<V>) -> Option<Self> {
        match change {
            Change::Entry(key) => {
                let now = entries.last_known().and_then(|all| all.get(&key).cloned());
                Some(Self::Entry { before, now })
            }
            Change::List(_) => Some(Self::Any),
            Change::Refused => None,
        }
    }
}

impl<V: Clone + PartialEq> SharedWatch<V> {
    /// Returns this watch for another reconciler, which is told what changes from now on. Call this before the watch
    /// begins, or it is not told of the first list.
    #[must_use]
    pub fn subscribe(&self) -> Self {
        Self {
            entries: Arc::clone(&self.entries),
            changes: self.changes.resubscribe(),
        }
    }

    /// Waits until something changes. Cancel safe: no change is lost if the future is dropped.
    pub async fn changed(&mut self) -> SharedChange<V> {
        match self.changes.recv().await {
            Ok(change) => change,
            Err(RecvError::Lagged(_)) => SharedChange::Any,
            // Its work was dropped, so that nothing changes any more.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }

    /// Returns the entries.
    pub fn entries(&self) -> Entries<'_, V> {
        Entries(self.entries.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<V> Debug for SharedWatch<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedWatch").finish_non_exhaustive()
    }
}
