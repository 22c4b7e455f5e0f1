//! Velero's Restores as the API server has them.

use kube::api::{ApiResource, GroupVersionKind};

/// Returns the API resource of Restores.
pub fn resource() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("velero.io", "v1", "Restore"))
}
