//! Ongoing rollouts.

use k8s_openapi::jiff::Timestamp;
use kube::api::DynamicObject;
use serde_json::Value;

use crate::injection::coverage::{BundleSummary, State};
use crate::kubernetes::workloads::{Kind, RESTARTED_AT, RunningPod, is_complete, is_observed};

/// A rollout that was started by a restart and is still replacing Pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct OngoingRollout {
    /// The value of the annotation [`RESTARTED_AT`] of the workload.
    pub(in crate::cli) restarted_at: String,
}

impl OngoingRollout {
    /// Reads the ongoing rollout of a workload. Returns `None` if it is complete, if it exceeded
    /// its deadline, or if the workload was never restarted.
    pub(in crate::cli) fn read(kind: Kind, workload: &DynamicObject) -> Option<Self> {
        let annotations = workload
            .data
            .pointer("/spec/template/metadata/annotations")?;
        let restarted_at = annotations.get(RESTARTED_AT)?.as_str()?.to_owned();
        let is_ongoing = !is_complete(kind, workload) && !deadline_exceeded(workload);
        is_ongoing.then_some(Self { restarted_at })
    }

    /// Returns whether this rollout replaces `pod` with one that does not need a restart for the
    /// same reason. It does if this restart did not create `pod` itself and, for a stale Pod, if
    /// the restart is not older than the newest certificate.
    pub(in crate::cli) fn resolves(&self, pod: &RunningPod, bundle: BundleSummary) -> bool {
        let state = pod.coverage.state(bundle);
        let is_old = pod.restarted_at.as_deref() != Some(&*self.restarted_at);
        let at: Option<Timestamp> = self.restarted_at.parse().ok();
        let at = at.map(Timestamp::as_second);
        is_old && (state != State::Stale || at.is_some() && at >= bundle.last_added)
    }
}

/// Returns whether the rollout exceeded its progress deadline, after which `kubectl rollout status`
/// gives up.
fn deadline_exceeded(workload: &DynamicObject) -> bool {
    let is_seen = is_observed(workload);
    let conditions = workload.data.pointer("/status/conditions");
    let mut conditions = conditions.and_then(Value::as_array).into_iter().flatten();
    let exceeded = |condition: &Value| {
        condition
            .get("reason")
            .is_some_and(|reason| reason == "ProgressDeadlineExceeded")
    };
    is_seen && conditions.any(exceeded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_a_restart_that_goes_on_is_under_way() {
        let read = |status: Value, annotations: Value| {
            let object = json!({"metadata": {"name": "w", "generation": 2},
                "spec": {"replicas": 1, "template": {"metadata": {"annotations": annotations}}},
                "status": status});
            OngoingRollout::read(Kind::Deployment, &serde_json::from_value(object).unwrap())
        };
        let restarted = || json!({RESTARTED_AT: "2026-01-01T00:00:00Z"});
        let slow = || json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 1});
        assert!(read(slow(), restarted()).is_some());
        assert!(read(json!({"observedGeneration": 1}), restarted()).is_some());
        assert!(read(slow(), Value::Null).is_none(), "not a restart");
        let through = json!({"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1,
            "availableReplicas": 1});
        assert!(read(through, restarted()).is_none());
        let mut late = slow();
        late["conditions"] = json!([{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]);
        assert!(
            read(late.clone(), restarted()).is_none(),
            "it goes on no more"
        );
        late["observedGeneration"] = json!(1);
        assert!(read(late, restarted()).is_some(), "that was the one before");
    }
}
