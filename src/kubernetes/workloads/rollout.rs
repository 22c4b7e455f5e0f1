//! Whether the controller of a workload has replaced its Pods.

use kube::api::DynamicObject;
use serde_json::Value;

use super::Kind;

/// Returns whether a rollout is complete, by the rules of `kubectl rollout status`.
pub fn is_complete(kind: Kind, object: &DynamicObject) -> bool {
    let number = |pointer: &str| {
        let number = object.data.pointer(pointer);
        number.and_then(Value::as_i64).unwrap_or_default()
    };
    if !is_observed(object) {
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

/// Returns whether a Deployment is rolled out and has an available Pod. The rollout alone is not enough:
/// it stays complete when all Pods fail later.
pub fn is_rolled_out(deployment: &DynamicObject) -> bool {
    let available = deployment.data.pointer("/status/availableReplicas");
    is_complete(Kind::Deployment, deployment) && available.and_then(Value::as_i64) > Some(0)
}

/// Returns whether the status belongs to the current generation of the spec.
pub fn is_observed(workload: &DynamicObject) -> bool {
    let seen = workload.data.pointer("/status/observedGeneration");
    let seen = seen.and_then(Value::as_i64).unwrap_or_default();
    seen >= workload.metadata.generation.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_rollout_is_through_when_all_its_pods_are_new_and_available() {
        let through = |kind, status: Value| {
            let object = json!({"metadata": {"name": "w", "generation": 2},
                "spec": {"replicas": 1}, "status": status});
            is_complete(kind, &serde_json::from_value(object).unwrap())
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
