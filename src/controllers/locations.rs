//! The BackupStorageLocations of the cluster, as far as the controllers depend on them.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::api::DynamicObject;
use kube::runtime::watcher::Config;
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};

use crate::kubernetes::location;
use crate::kubernetes::watch::Watch;
use crate::names::PREFIX;

/// The BSLs of a namespace by name, each as the JSON of a smaller BSL.
pub(super) type Locations = Arc<BTreeMap<String, String>>;

/// A watch of all BSLs.
pub(super) type LocationWatch = Watch<String>;

/// Watches all BSLs. Velero writes the status of every BSL once a minute, which changes no entry.
pub(super) fn watch_locations(client: Client) -> LocationWatch {
    let all = location::everywhere(client);
    let subject = "BackupStorageLocations";
    Watch::new(all, Config::default(), subject, |bsl| Some(project(&bsl)))
}

/// Returns the BSLs of `namespace`.
pub(super) fn locations_in(watch: &LocationWatch, namespace: &str) -> Locations {
    let all = watch.last_known().into_iter().flatten();
    let selected = all.filter(|(key, _)| key.namespace == namespace);
    let selected = selected.map(|(key, bsl)| (key.name.clone(), bsl.clone()));
    Arc::new(selected.collect())
}

/// Returns the part of a BSL that matters: what the rules read, and the phase that Velero reports.
fn project(bsl: &DynamicObject) -> String {
    let field = |pointer| bsl.data.pointer(pointer).cloned().unwrap_or(Value::Null);
    let annotations = bsl.annotations().iter();
    let ours: BTreeMap<_, _> = annotations
        .filter(|(key, _)| key.starts_with(PREFIX))
        .collect();
    json!({
        "metadata": {"name": bsl.metadata.name, "uid": bsl.metadata.uid, "annotations": ours},
        "spec": {
            "provider": field("/spec/provider"),
            "config": field("/spec/config"),
            "objectStorage": field("/spec/objectStorage"),
            "credential": field("/spec/credential"),
        },
        "status": {"phase": field("/status/phase")},
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bsl(ca: &str, phase: &str, synced: &str) -> String {
        let bsl = json!({
            "apiVersion": "velero.io/v1",
            "kind": "BackupStorageLocation",
            "metadata": {"name": "default", "namespace": "velero", "annotations": {
                "velero-trust.io/ca-secret": ca, "kubectl": synced,
            }},
            "spec": {"objectStorage": {"bucket": "b", "caCert": ca}, "accessMode": synced},
            "status": {"phase": phase, "lastSyncedTime": synced},
        });
        project(&serde_json::from_value(bsl).unwrap())
    }

    #[test]
    fn only_what_matters_to_the_bundle_is_in_the_value() {
        let value = bsl("x", "Available", "1");
        assert_eq!(bsl("x", "Available", "2"), value);
        assert_ne!(bsl("y", "Available", "1"), value);
        assert_ne!(bsl("x", "Unavailable", "1"), value);
    }
}
