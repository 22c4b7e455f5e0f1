//! Restarting a workload, and waiting until it is through.

use std::time::Duration;

use anyhow::{Context as _, bail};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::runtime::wait::await_condition;
use serde_json::{Value, json};

use crate::cli::cluster::cannot;
use crate::kubernetes::workloads::{Kind, Workload};

/// The annotation that `kubectl rollout restart` sets (`pkg/polymorphichelpers/objectrestarter.go`).
/// kube's own `Api::restart` sets another, which no other tool knows.
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// Who restarted it, in the managed fields.
const FIELD_MANAGER: &str = "velero-trust-rollout";

/// Restarts `workload` as kubectl does: another template makes other Pods.
pub(super) async fn restart(
    client: &Client,
    namespace: &str,
    workload: &Workload,
    now: Timestamp,
) -> anyhow::Result<()> {
    // In whole seconds, as kubectl writes it.
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
        .map_err(|error| cannot("restart", &format!("{workload} in {namespace}"), &error))?;
    Ok(())
}

/// Waits until all Pods of `workload` are new and available.
pub(super) async fn finish(
    client: &Client,
    namespace: &str,
    workload: &Workload,
    longest: Duration,
) -> anyhow::Result<()> {
    let workloads = workload.kind.api(client.clone(), namespace);
    let kind = workload.kind;
    let through =
        move |object: Option<&DynamicObject>| object.is_some_and(|object| is_through(kind, object));
    let wait = await_condition(workloads, &workload.name, through);
    match tokio::time::timeout(longest, wait).await {
        Ok(done) => done
            .map(drop)
            .with_context(|| format!("cannot watch {workload}")),
        Err(_) => bail!(
            "{workload} is not through after {} s; see `kubectl -n {namespace} rollout status \
             {workload}`",
            longest.as_secs()
        ),
    }
}

/// As `kubectl rollout status` sees it.
fn is_through(kind: Kind, object: &DynamicObject) -> bool {
    let number = |pointer: &str| {
        let number = object.data.pointer(pointer);
        number.and_then(Value::as_i64).unwrap_or_default()
    };
    let generation = object.metadata.generation.unwrap_or_default();
    if number("/status/observedGeneration") < generation {
        return false;
    }
    match kind {
        Kind::Deployment => {
            let wanted = number("/spec/replicas");
            number("/status/updatedReplicas") >= wanted
                && number("/status/replicas") <= number("/status/updatedReplicas")
                && number("/status/availableReplicas") >= wanted
        }
        Kind::DaemonSet => {
            let wanted = number("/status/desiredNumberScheduled");
            number("/status/updatedNumberScheduled") >= wanted
                && number("/status/numberAvailable") >= wanted
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollout_is_through_when_all_its_pods_are_new_and_available() {
        let through = |kind, status: Value| {
            let object = json!({"metadata": {"name": "w", "generation": 2},
                "spec": {"replicas": 1}, "status": status});
            is_through(kind, &serde_json::from_value(object).unwrap())
        };
        let deployment = |observed, replicas, updated, available| {
            through(
                Kind::Deployment,
                json!({"observedGeneration": observed, "replicas": replicas,
                    "updatedReplicas": updated, "availableReplicas": available}),
            )
        };
        assert!(deployment(2, 1, 1, 1));
        assert!(!deployment(1, 1, 1, 1), "not seen yet");
        assert!(!deployment(2, 2, 1, 1), "the old one is still there");
        assert!(!deployment(2, 1, 1, 0), "the new one is not ready");
        let daemon_set = |updated, available| {
            through(
                Kind::DaemonSet,
                json!({"observedGeneration": 2, "desiredNumberScheduled": 2,
                    "updatedNumberScheduled": updated, "numberAvailable": available}),
            )
        };
        assert!(daemon_set(2, 2));
        assert!(!daemon_set(1, 2));
        assert!(!daemon_set(2, 1));
    }
}
