//! Reads which identity of a cloud the ServiceAccount of velero-trust has, as far as the API server knows.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::api::ListParams;
use kube::{Api, Client};

use super::access::Account;
use super::cluster_snapshot::Read;
use crate::kubernetes::error::lookup_error;
use crate::kubernetes::registered_webhooks::own_label;

/// Most Pods that are read.
const MAX_PODS: u32 = 20;

/// What the API server knows of the identity.
#[derive(Clone, Debug, Default)]
pub(super) struct CloudIdentity {
    /// The annotations of the ServiceAccount.
    pub(super) annotations: BTreeMap<String, String>,
    /// The variables of each running Pod, which the webhook of a cloud sets.
    pub(super) pods: Vec<BTreeMap<String, String>>,
}

/// Reads it, for the ServiceAccount of the installation.
pub(super) async fn read(client: &Client, account: &Account) -> Read<CloudIdentity> {
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), &account.namespace);
    let pods = Api::<Pod>::namespaced(client.clone(), &account.namespace);
    let params = ListParams::default().labels(&own_label()).limit(MAX_PODS);
    let (account, pods) = tokio::join!(accounts.get_opt(&account.name), pods.list(&params));
    let unread = |error: kube::Error| lookup_error(&error).message;
    let account = account.map_err(unread)?;
    let annotations = account.and_then(|account| account.metadata.annotations);
    Ok(CloudIdentity {
        annotations: annotations.unwrap_or_default(),
        pods: pods.map_err(unread)?.items.iter().map(variables).collect(),
    })
}

fn variables(pod: &Pod) -> BTreeMap<String, String> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let variables = containers.flat_map(|container| container.env.iter().flatten());
    let set = variables.filter_map(|one| Some((one.name.clone(), one.value.clone()?)));
    set.filter(|(_, value)| !value.is_empty()).collect()
}
