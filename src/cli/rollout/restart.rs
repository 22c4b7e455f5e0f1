//! Restarts a workload and waits for its rollout.

use std::time::Duration;

use anyhow::bail;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{DynamicObject, Patch, PatchParams};
use serde_json::json;

use crate::cli::cluster::api_error;
use crate::cli::wait::{self, WaitError};
use crate::kubernetes::workloads::{RESTARTED_AT, Workload, is_complete};

/// The field manager of a restart.
const FIELD_MANAGER: &str = "velero-trust-rollout";

/// Restarts `workload` as kubectl does: a changed template makes its controller replace the Pods.
pub(in crate::cli) async fn restart(
    client: &Client,
    namespace: &str,
    workload: &Workload,
    now: Timestamp,
) -> anyhow::Result<()> {
    // kubectl writes whole seconds.
    let now = Timestamp::from_second(now.as_second())?;
    let annotations = json!({RESTARTED_AT: now.to_string()});
    let patch = json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let workloads = workload.kind.api(client.clone(), namespace);
    workloads
        .patch(&workload.name, &params, &Patch::Strategic(patch))
        .await
        .map_err(|error| api_error("restart", &format!("{workload} in {namespace}"), &error))?;
    Ok(())
}

/// Waits until all Pods of `workload` are new and available.
///
/// # Errors
/// If that takes longer than `timeout`, or if the workload cannot be watched.
pub(in crate::cli) async fn wait_until_complete(
    client: &Client,
    namespace: &str,
    workload: &Workload,
    timeout: Duration,
) -> anyhow::Result<()> {
    let kind = workload.kind;
    let through = move |object: Option<&DynamicObject>| {
        object.is_some_and(|object| is_complete(kind, object))
    };
    match wait::until(client, namespace, workload, through, timeout).await {
        Ok(()) => Ok(()),
        Err(WaitError::Timeout(why)) => bail!(
            "{workload} is not through after {} s{}; see `kubectl -n {namespace} rollout status \
             {workload}`",
            timeout.as_secs(),
            wait::because(&why)
        ),
        Err(error) => Err(error.into()),
    }
}
