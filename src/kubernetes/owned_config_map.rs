//! ConfigMaps in the namespace of velero-trust, which hold what must survive a restart.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams};

use super::bundle::KEEP_ANNOTATIONS;
use crate::names;

/// Selects the ConfigMaps that [`apply`] wrote.
pub const SELECTOR: &str = "app.kubernetes.io/managed-by=velero-trust";

/// The labels of every ConfigMap that [`apply`] writes. Velero leaves it out of its backups.
const LABELS: [(&str, &str); 2] = [
    ("app.kubernetes.io/managed-by", names::APP),
    ("velero.io/exclude-from-backup", "true"),
];

/// Applies a ConfigMap and returns its new resourceVersion. With a `version` the write fails with
/// 409 if the ConfigMap has another one. GitOps tools leave the ConfigMap alone.
pub async fn apply(
    config_maps: &Api<ConfigMap>,
    name: &str,
    data: BTreeMap<String, String>,
    version: Option<String>,
) -> kube::Result<Option<String>> {
    let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    let map = ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            annotations: Some(KEEP_ANNOTATIONS.map(owned).into()),
            labels: Some(LABELS.map(owned).into()),
            resource_version: version,
            ..ObjectMeta::default()
        },
        data: Some(data),
        ..ConfigMap::default()
    };
    let params = PatchParams::apply(names::FIELD_MANAGER).force();
    let written = config_maps
        .patch(name, &params, &Patch::Apply(&map))
        .await?;
    Ok(written.metadata.resource_version)
}

/// Deletes a ConfigMap. One that does not exist is not an error.
pub async fn delete(
    config_maps: &Api<ConfigMap>,
    name: &str,
    params: &DeleteParams,
) -> kube::Result<()> {
    match config_maps.delete(name, params).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        deleted => deleted.map(drop),
    }
}
