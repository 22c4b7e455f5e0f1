//! Which namespaces are shown.

use std::collections::BTreeSet;

use anyhow::{anyhow, bail};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{ListParams, PartialObjectMeta};
use kube::{Api, Client, Error, ResourceExt as _};

use crate::cli::cluster::cannot;
use crate::kubernetes::{location, report};
use crate::names;

/// The Velero namespaces: those that were `asked` for; else all that hold a BSL, carry our label or
/// are reported on in `ours`.
///
/// # Errors
/// When one that was asked for is not there.
pub(in crate::cli) async fn namespaces(
    client: &Client,
    ours: &str,
    asked: &[String],
) -> anyhow::Result<Vec<String>> {
    if asked.is_empty() {
        return found(client, ours).await;
    }
    let asked: BTreeSet<_> = asked.iter().cloned().collect();
    for namespace in &asked {
        require(client, namespace).await?;
    }
    Ok(asked.into_iter().collect())
}

/// Why nothing can be said of `namespace`, which was asked for.
pub(in crate::cli) fn nothing_in(namespace: &str) -> anyhow::Error {
    anyhow!(
        "namespace {namespace} holds nothing of Velero: no BackupStorageLocation, no Pod, no \
         Deployment and no DaemonSet; is that its name?"
    )
}

async fn require(client: &Client, namespace: &str) -> anyhow::Result<()> {
    let namespaces = Api::<Namespace>::all(client.clone());
    match namespaces.get_metadata_opt(namespace).await {
        Ok(Some(_)) => Ok(()),
        Ok(None) => bail!(
            "there is no namespace {namespace}; `kubectl get backupstoragelocations -A` shows where \
             Velero is"
        ),
        // Who may not read it may be right all the same.
        Err(Error::Api(status)) if status.code == 403 => Ok(()),
        Err(error) => Err(cannot("read", &format!("namespace {namespace}"), &error)),
    }
}

async fn found(client: &Client, ours: &str) -> anyhow::Result<Vec<String>> {
    let mut found = BTreeSet::new();
    let locations = location::everywhere(client.clone());
    match locations.list_metadata(&ListParams::default()).await {
        Ok(list) => found.extend(list.items.iter().filter_map(PartialObjectMeta::namespace)),
        Err(error) => {
            let is_refused = matches!(&error, Error::Api(status) if status.code == 403);
            let error = cannot("list", "BackupStorageLocations", &error);
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
    // Both only add to what the BSLs say; who may not read them is not stopped.
    if let Ok(list) = namespaces.list_metadata(&labelled).await {
        found.extend(list.items.iter().map(PartialObjectMeta::name_any));
    }
    let maps = Api::<ConfigMap>::namespaced(client.clone(), ours);
    if let Ok(list) = maps.list_metadata(&ListParams::default()).await {
        let names = list.items.iter().map(PartialObjectMeta::name_any);
        found.extend(names.filter_map(|name| report::namespace_of(&name).map(str::to_owned)));
    }
    Ok(found.into_iter().collect())
}
