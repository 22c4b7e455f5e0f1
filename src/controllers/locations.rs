//! The BackupStorageLocations of the cluster, as far as the controllers depend on them.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::Client;
use kube::runtime::watcher::Config;

use crate::kubernetes::location::{self, LocationEntry};
use crate::kubernetes::watch::Watch;
use crate::shared_quota::SharedQuota;

/// Most BSLs of a namespace that are kept. An entry has some hundred bytes, and 8 KiB at the most.
const MAX_LOCATIONS: usize = 2000;

/// Memory for the BSLs of a namespace that are always kept: about ninety of them.
const GUARANTEED_BYTES: usize = 256 << 10;

/// Memory for the BSLs of all namespaces.
const TOTAL_BYTES: usize = 48 << 20;

/// The BSLs of a namespace by name, shared with the watch.
pub(super) type Locations = Arc<BTreeMap<String, Arc<LocationEntry>>>;

/// A watch of all BSLs.
pub(super) type LocationWatch = Watch<Arc<LocationEntry>>;

/// Watches all BSLs. Velero writes the status of every BSL once a minute, which changes no entry.
pub(super) fn watch_locations(client: Client) -> LocationWatch {
    let all = location::everywhere(client);
    let subject = "BackupStorageLocations";
    Watch::of_text(all, Config::default(), subject, |bsl| {
        Some(Arc::new(LocationEntry::from_json(bsl)))
    })
    .with_max_per_namespace(MAX_LOCATIONS)
    .with_quota(SharedQuota::new(GUARANTEED_BYTES, TOTAL_BYTES), |entry| {
        entry.memory
    })
}

/// Returns the BSLs of `namespace`.
pub(super) fn locations_in(watch: &LocationWatch, namespace: &str) -> Locations {
    let all = watch.last_known().into_iter().flatten();
    let selected = all.filter(|(key, _)| key.namespace == namespace);
    let selected = selected.map(|(key, bsl)| (key.name.clone(), Arc::clone(bsl)));
    Arc::new(selected.collect())
}
