//! BackupStorageLocations, as the API server gives them.

use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use serde_json::Value;

/// The kind of BackupStorageLocations.
pub fn resource() -> ApiResource {
    let kind = GroupVersionKind::gvk("velero.io", "v1", "BackupStorageLocation");
    ApiResource::from_gvk(&kind)
}

/// Those of the cluster.
pub fn everywhere(client: Client) -> Api<DynamicObject> {
    Api::all_with(client, &resource())
}

/// Those of `namespace`.
pub fn in_namespace(client: &Client, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &resource())
}

/// Whether Velero could reach the store when it last tried.
pub fn is_available(bsl: &DynamicObject) -> bool {
    bsl.data.pointer("/status/phase").and_then(Value::as_str) == Some("Available")
}
