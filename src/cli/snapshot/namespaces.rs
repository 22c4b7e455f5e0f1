//! Selection of the Velero namespaces.

use std::collections::BTreeSet;

use anyhow::{anyhow, bail};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{ListParams, PartialObjectMeta};
use kube::{Api, Client, Error, ResourceExt as _};

use crate::cli::cluster::api_error;
use crate::kubernetes::{location, owned_config_map, report};
use crate::names;

/// Returns the `requested` namespaces or, if there are none, all namespaces that have a BSL, carry
/// the label of a Velero namespace, or have a report in `own_namespace`.
///
/// # Errors
/// If a requested namespace does not exist, or if the BSLs cannot be listed.
pub(in crate::cli) async fn find_namespaces(
    client: &Client,
    own_namespace: &str,
    requested: &[String],
) -> anyhow::Result<Vec<String>> {
    if requested.is_empty() {
        return discover(client, own_namespace).await;
    }
    let requested: BTreeSet<_> = requested.iter().cloned().collect();
    for namespace in &requested {
        require_exists(client, namespace).await?;
    }
    Ok(requested.into_iter().collect())
}

/// Returns the error for a requested namespace that has nothing of Velero.
pub(in crate::cli) fn nothing_found(namespace: &str) -> anyhow::Error {
    anyhow!(
        "namespace {namespace} holds nothing of Velero: no BackupStorageLocation, no Pod, no \
         Deployment and no DaemonSet; is the name correct?"
    )
}

/// Fails if the namespace does not exist. One that the user may not read may exist.
pub(in crate::cli) async fn require_exists(client: &Client, namespace: &str) -> anyhow::Result<()> {
    let namespaces = Api::<Namespace>::all(client.clone());
    match namespaces.get_metadata_opt(namespace).await {
        Ok(Some(_)) => Ok(()),
        Ok(None) => bail!(
            "there is no namespace {namespace}; `kubectl get backupstoragelocations -A` shows where \
             Velero is"
        ),
        // The namespace may well exist, but the user may not read it.
        Err(Error::Api(status)) if status.code == 403 => Ok(()),
        Err(error) => Err(api_error("read", &format!("namespace {namespace}"), &error)),
    }
}

async fn discover(client: &Client, own_namespace: &str) -> anyhow::Result<Vec<String>> {
    let mut found = BTreeSet::new();
    let locations = location::everywhere(client.clone());
    match locations.list_metadata(&ListParams::default()).await {
        Ok(list) => found.extend(list.items.iter().filter_map(PartialObjectMeta::namespace)),
        Err(error) => {
            let is_refused = matches!(&error, Error::Api(status) if status.code == 403);
            let error = api_error("list", "BackupStorageLocations", &error);
            return Err(if is_refused {
                error.context("name the namespace of Velero with --velero-namespace")
            } else {
                error
            });
        }
    }
    let labelled = format!("{}=true", names::VELERO_NAMESPACE_LABEL);
    let labelled = ListParams::default().labels(&labelled);
    let namespaces = Api::<Namespace>::all(client.clone());
    // The labels and the reports only add namespaces. A user who may not read them can go on.
    if let Ok(list) = namespaces.list_metadata(&labelled).await {
        found.extend(list.items.iter().map(PartialObjectMeta::name_any));
    }
    let config_maps = Api::<ConfigMap>::namespaced(client.clone(), own_namespace);
    if let Ok(list) = config_maps.list_metadata(&ListParams::default()).await {
        let ours = list.items.iter();
        let ours = ours.filter(|map| owned_config_map::restored_by(&map.metadata).is_none());
        let names = ours.map(PartialObjectMeta::name_any);
        found.extend(names.filter_map(|name| report::namespace_of(&name).map(str::to_owned)));
    }
    Ok(found.into_iter().collect())
}
