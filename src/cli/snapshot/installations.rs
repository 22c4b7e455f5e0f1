//! Other installations of velero-trust in the cluster.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

use crate::kubernetes::error;
use crate::kubernetes::registered_webhooks::own_label;

/// Returns the namespaces in which another installation than that in `own` runs.
///
/// # Errors
/// Why it is not known.
pub(in crate::cli) async fn other_installations(
    client: &Client,
    own: &str,
) -> Result<Vec<String>, String> {
    let params = ListParams::default().labels(&own_label());
    let deployments = Api::<Deployment>::all(client.clone());
    let all = deployments.list_metadata(&params).await;
    let all = all.map_err(|error| error::lookup_error(&error).message)?;
    let namespaces = all.iter().filter_map(ResourceExt::namespace);
    let others: BTreeSet<_> = namespaces.filter(|namespace| namespace != own).collect();
    Ok(others.into_iter().collect())
}
