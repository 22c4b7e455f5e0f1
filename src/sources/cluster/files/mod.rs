//! What the buckets of backups list.

mod late;

use std::time::Duration;

use kube::Client;
use tokio::time::{Instant, timeout_at};

use self::late::LateLocations;
use super::super::bucket_error::lookup_error;
use crate::bucket::{
    Action, BucketSettings, ErrorKind, LocationError, Locations, OpenStores, Timing,
};
use crate::ca::endpoint::DeniedAddresses;
use crate::decision::{Key, ListedFiles, LookupError, LookupErrorKind};
use crate::dial::Proxies;
use crate::velero::naming::is_name;

/// How long is waited for a bucket.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// Longest time for one list, with all that it takes to open the bucket.
    list: Duration,
    /// A bucket that had less time than this is not called late.
    fair: Duration,
    /// How long a location that was late is left alone.
    pause: Duration,
    /// How long is waited for the store. Less than for the list, so that the error tells what was waited
    /// for.
    timing: Timing,
    /// How long a bucket that nobody asks for stays open, at least.
    idle: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            // The API server waits 5 s for the answer about a Restore that begins.
            list: Duration::from_secs(3),
            fair: Duration::from_secs(1),
            pause: Duration::from_secs(15),
            timing: Timing {
                connect: Duration::from_secs(2),
                head: Duration::from_millis(2_500),
                piece: Duration::from_millis(2_500),
                pauses: [Duration::from_millis(100), Duration::from_millis(500)],
            },
            idle: Duration::from_mins(2),
        }
    }
}

/// Whether a list counts as authentic, so that the same list means the same bytes: whoever writes some
/// buckets can choose all that they list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListingTrust {
    /// Where the store is known not to let a writer choose: AWS itself.
    #[default]
    Auto,
    /// Never.
    Never,
    /// Always.
    Always,
}

impl ListingTrust {
    fn is_authentic(self, settings: &BucketSettings) -> bool {
        match self {
            Self::Auto => settings.is_verified_aws(),
            Self::Never => false,
            Self::Always => true,
        }
    }
}

/// Lists the files of backups. No file is read.
pub struct BackupFiles {
    stores: OpenStores,
    trust: ListingTrust,
    patience: Patience,
    late: LateLocations,
}

impl BackupFiles {
    /// Creates a source for the BackupStorageLocations in the cluster of `client`. No address in `denied`
    /// is dialled.
    pub fn new(
        client: Client,
        denied: DeniedAddresses,
        proxies: Proxies,
        trust: ListingTrust,
    ) -> Self {
        Self::with_patience(client, denied, proxies, trust, Patience::default())
    }

    fn with_patience(
        client: Client,
        denied: DeniedAddresses,
        proxies: Proxies,
        trust: ListingTrust,
        patience: Patience,
    ) -> Self {
        let locations = Locations {
            client,
            denied,
            proxies,
            timing: patience.timing,
        };
        Self {
            stores: OpenStores::new(locations, patience.idle),
            trust,
            patience,
            late: LateLocations::default(),
        }
    }

    /// Lists the files of `backup` in the bucket of `location` once, by `deadline` and within
    /// 3 s; `None` if there is no such location. A location that did not answer in time is not asked again
    /// for a while.
    pub(super) async fn list(
        &self,
        backup: &Key,
        location: &str,
        deadline: Instant,
    ) -> Result<Option<ListedFiles>, LookupError> {
        // It is a part of the URL of a request.
        if !is_name(location) {
            return Ok(None);
        }
        let key = Key::new(&backup.namespace, location);
        let began = Instant::now();
        if let Some(error) = self.late.get(&key, began) {
            return Err(error);
        }
        let until = deadline.min(began + self.patience.list);
        let mut action = Action::Open;
        let listed = timeout_at(until, self.list_once(backup, location, &mut action)).await;
        let listed = if let Ok(listed) = listed {
            listed.map_err(|error| lookup_error(&error))
        } else {
            Err(lookup_error(&ErrorKind::Late.during(action).into()))
        };
        if listed.is_err() {
            self.stores.close(&key);
        }
        if let Err(error) = &listed
            && error.kind == LookupErrorKind::Timeout
            && until >= began + self.patience.fair
        {
            self.late
                .insert(key, error, self.patience.pause, Instant::now());
        }
        listed
    }

    /// Sets `action` to what is waited for.
    async fn list_once(
        &self,
        backup: &Key,
        location: &str,
        action: &mut Action,
    ) -> Result<Option<ListedFiles>, LocationError> {
        let opened = self.stores.open(&backup.namespace, location).await?;
        let Some(opened) = opened else {
            return Ok(None);
        };
        *action = Action::List {
            backup: backup.name.clone(),
        };
        let listing = opened.store.list(&backup.name).await?;
        Ok(Some(ListedFiles {
            is_authentic: self.trust.is_authentic(opened.store.settings()),
            location: opened.signed,
            listing: listing.digest(&backup.name),
        }))
    }
}

#[cfg(test)]
mod tests;
