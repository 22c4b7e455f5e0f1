//! Buckets that stay open between two requests for them.
//!
//! To open one means to parse the merged bundle, to connect and to shake hands, and may mean to ask for
//! the region and for an identity. What a store is made of is read each time all the same, so that a
//! change counts at once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::connector::Trust;
use super::credentials::{Fingerprint, StoredCredentials};
use super::location::{BundleVersion, DescribedLocation, LocationError, Locations, OpenLocation};
use super::recent::Recent;
use super::settings::BucketSettings;
use super::store::Store;
use crate::decision::Key;

/// Most stores that stay open. Each may need a MiB: the roots of a namespace, and some connections.
const MAX_STORES: usize = 16;

/// Opens the buckets of BackupStorageLocations, and keeps them open for a while.
pub struct OpenStores {
    locations: Locations,
    idle: Duration,
    kept: Arc<Mutex<Kept>>,
}

/// What a store was opened with.
#[derive(Clone, PartialEq, Eq)]
struct Inputs {
    settings: BucketSettings,
    bundle: BundleVersion,
    credentials: Fingerprint,
}

#[derive(Clone)]
struct Opened {
    inputs: Inputs,
    store: Store,
    trust: Trust,
}

struct Kept {
    /// By the namespace and the name of the BackupStorageLocation.
    stores: Recent<Key, Opened>,
    /// Whether a task closes those that are idle.
    is_watched: bool,
}

impl OpenStores {
    /// Opens what `locations` opens. A store that nobody asks for stays open for the time `idle`, and for
    /// twice of it at most.
    pub fn new(locations: Locations, idle: Duration) -> Self {
        Self {
            locations,
            idle,
            kept: Arc::new(Mutex::new(Kept {
                stores: Recent::new(MAX_STORES, idle),
                is_watched: false,
            })),
        }
    }

    /// Returns what opens those that are not open.
    pub const fn locations(&self) -> &Locations {
        &self.locations
    }

    /// Returns the open bucket of a BackupStorageLocation; `None` if there is none of this name. The store
    /// is one that was opened before if the BackupStorageLocation, the credentials and the merged bundle are
    /// at this moment what they were then.
    pub async fn open(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<OpenLocation>, LocationError> {
        let key = Key::new(namespace, name);
        let kept = self.kept().stores.get(&key, Instant::now()).cloned();
        let Some((described, bundle, stored)) = self.inputs(&key, kept.as_ref()).await? else {
            return Ok(None);
        };
        let inputs = Inputs {
            settings: described.settings.clone(),
            bundle,
            credentials: stored.fingerprint(),
        };
        if let Some(opened) = kept.filter(|opened| opened.inputs == inputs) {
            return Ok(Some(described.open(opened.store)));
        }
        let (trust, bundle) = match self.trust(namespace, &inputs.bundle) {
            Some(trust) => (trust, inputs.bundle),
            None => self.locations.trust(namespace).await?,
        };
        let store = self
            .locations
            .store(&described, stored, trust.clone())
            .await?;
        let opened = Opened {
            inputs: Inputs { bundle, ..inputs },
            store: store.clone(),
            trust,
        };
        self.keep(key, opened);
        Ok(Some(described.open(store)))
    }

    /// Reads what the bucket of a BackupStorageLocation is opened with: all at once if the location says what
    /// it said when it was opened.
    async fn inputs(
        &self,
        key: &Key,
        kept: Option<&Opened>,
    ) -> Result<Option<(DescribedLocation, BundleVersion, StoredCredentials)>, LocationError> {
        let Key { namespace, name } = key;
        let credentials = |settings| self.locations.stored_credentials(name, settings);
        let early = async {
            match kept {
                Some(opened) => Some(credentials(&opened.inputs.settings).await),
                None => None,
            }
        };
        let (described, bundle, early) = tokio::join!(
            self.locations.describe(namespace, name),
            self.locations.bundle_version(namespace),
            early,
        );
        let Some(described) = described? else {
            return Ok(None);
        };
        let is_same = kept.is_some_and(|opened| opened.inputs.settings == described.settings);
        let stored = match early.filter(|_| is_same) {
            Some(stored) => stored?,
            None => credentials(&described.settings).await?,
        };
        Ok(Some((described, bundle?, stored)))
    }

    /// Closes the store of a BackupStorageLocation, because it may be of no use any more: its bucket may be
    /// in another region than it was, or its host may have another address.
    pub fn close(&self, location: &Key) {
        self.kept().stores.remove(location);
    }

    /// Returns the roots of another location of the namespace, if they are of this version of the bundle.
    fn trust(&self, namespace: &str, bundle: &BundleVersion) -> Option<Trust> {
        let kept = self.kept();
        let mut same = kept
            .stores
            .iter()
            .filter(|(key, opened)| key.namespace == namespace && opened.inputs.bundle == *bundle);
        same.next().map(|(_, opened)| opened.trust.clone())
    }

    fn keep(&self, key: Key, opened: Opened) {
        let mut kept = self.kept();
        kept.stores.insert(key, opened, Instant::now());
        if !kept.is_watched {
            kept.is_watched = true;
            tokio::spawn(close_idle(Arc::downgrade(&self.kept), self.idle));
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        lock(&self.kept)
    }
}

/// Closes stores that are idle, until there are none.
async fn close_idle(kept: Weak<Mutex<Kept>>, idle: Duration) {
    loop {
        sleep(idle).await;
        let Some(kept) = kept.upgrade() else {
            return;
        };
        let mut kept = lock(&kept);
        kept.stores.remove_idle(Instant::now());
        if kept.stores.is_empty() {
            kept.is_watched = false;
            return;
        }
    }
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}
