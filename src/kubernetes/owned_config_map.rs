//! ConfigMaps in the namespace of velero-trust, which hold what must survive a restart.

use std::collections::BTreeMap;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, Preconditions};
use kube::{Api, Client};

use super::keep;
use crate::names;
use crate::velero::restore::RESTORE_LABEL;

/// Selects the ConfigMaps that were written here.
pub const SELECTOR: &str = "app.kubernetes.io/managed-by=velero-trust";

/// Returns the name of the Restore that made an object; `None` if none did. What Velero restored is
/// not believed: whoever can forge a backup decides what is in it.
pub fn restored_by(metadata: &ObjectMeta) -> Option<&str> {
    let labels = metadata.labels.as_ref()?;
    labels.get(RESTORE_LABEL).map(String::as_str)
}

/// Applies a ConfigMap and returns its new resourceVersion. With a `version` the write fails with
/// 409 if the ConfigMap has another one. GitOps tools leave the ConfigMap alone. One that
/// [Velero restored](restored_by) is deleted and created anew, so that nothing of it stays.
pub async fn apply(
    config_maps: &Api<ConfigMap>,
    name: &str,
    data: BTreeMap<String, String>,
    version: Option<String>,
) -> kube::Result<Option<String>> {
    let map = config_map(name, data.clone(), version);
    let params = PatchParams::apply(names::FIELD_MANAGER).force();
    let written = config_maps
        .patch(name, &params, &Patch::Apply(&map))
        .await?;
    let version = written.metadata.resource_version.clone();
    if restored_by(&written.metadata).is_none() {
        return Ok(version);
    }
    let only_this = version.as_deref().map(unchanged).unwrap_or_default();
    delete(config_maps, name, &only_this).await?;
    create(config_maps, name, data).await
}

/// Reads the ConfigMap `name` in namespace `own`, with the Lease that tells which replica leads.
pub async fn read_with_lease(
    client: &Client,
    own: &str,
    name: &str,
) -> kube::Result<(Option<ConfigMap>, Option<Lease>)> {
    let config_maps = Api::<ConfigMap>::namespaced(client.clone(), own);
    let leases = Api::<Lease>::namespaced(client.clone(), own);
    tokio::try_join!(config_maps.get_opt(name), leases.get_opt(names::APP))
}

/// Returns what is in a ConfigMap that the replica that leads wrote: it has the identity of that replica
/// under `holder_key`, and Velero did not restore it.
pub fn of_leader(
    map: ConfigMap,
    lease: Lease,
    holder_key: &str,
) -> Option<BTreeMap<String, String>> {
    if restored_by(&map.metadata).is_some() {
        return None;
    }
    let data = map.data?;
    let leader = lease.spec?.holder_identity?;
    (data.get(holder_key) == Some(&leader)).then_some(data)
}

/// Returns the parameters that delete an object only if it still has this resourceVersion.
pub fn unchanged(version: &str) -> DeleteParams {
    DeleteParams {
        preconditions: Some(Preconditions {
            resource_version: Some(version.to_owned()),
            uid: None,
        }),
        ..DeleteParams::default()
    }
}

/// Creates a ConfigMap and returns its resourceVersion. Fails with 409 if there is one already.
pub async fn create(
    config_maps: &Api<ConfigMap>,
    name: &str,
    data: BTreeMap<String, String>,
) -> kube::Result<Option<String>> {
    let map = config_map(name, data, None);
    let created = config_maps.create(&keep::create_params(), &map).await?;
    Ok(created.metadata.resource_version)
}

fn config_map(name: &str, data: BTreeMap<String, String>, version: Option<String>) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            resource_version: version,
            ..keep::metadata()
        },
        data: Some(data),
        ..ConfigMap::default()
    }
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
