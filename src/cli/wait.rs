//! Waits for a workload, and says meanwhile what it waits for.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};
use kube::api::{DynamicObject, ListParams};
use kube::runtime::wait::{Condition, await_condition};
use kube::{Api, Client, ResourceExt as _};
use serde_json::Value;

use super::eprint_line;
use crate::kubernetes::error;
use crate::kubernetes::workloads::Workload;

/// Time between two looks at the Pods.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Why a wait ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum WaitError {
    /// The condition does not hold in time.
    #[error("{0}")]
    Timeout(String),
    /// The workload cannot be watched.
    #[error("cannot watch {workload}: {why}")]
    Watch {
        /// The workload.
        workload: Workload,
        /// One sentence.
        why: String,
    },
}

/// Waits until `condition` holds for `workload`. Prints to standard error what is missing, and why,
/// whenever that changes.
///
/// # Errors
/// If that takes longer than `timeout`, the error says what is missing then; it may be empty. Or if
/// the workload cannot be watched.
pub(super) async fn until(
    client: &Client,
    namespace: &str,
    workload: &Workload,
    condition: impl Condition<DynamicObject>,
    timeout: Duration,
) -> Result<(), WaitError> {
    let workloads = workload.kind.api(client.clone(), namespace);
    let holds = await_condition(workloads, &workload.name, condition);
    let holds = tokio::time::timeout(timeout, holds);
    let mut holds = std::pin::pin!(holds);
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    let mut said = String::new();
    loop {
        tokio::select! {
            done = &mut holds => return match done {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) => Err(WaitError::Watch {
                    workload: workload.clone(),
                    why: error::wait_error(&error).message,
                }),
                Err(_) => Err(WaitError::Timeout(said)),
            },
            _ = looks.tick() => {
                let missing = missing(client, namespace, workload).await;
                if !missing.is_empty() && missing != said {
                    eprint_line(&format!("velero-trust: waiting for {workload}: {missing}"));
                    said = missing;
                }
            }
        }
    }
}

/// Returns the end of a sentence about a wait that took too long because of `why`.
pub(super) fn because(why: &str) -> String {
    if why.is_empty() {
        String::new()
    } else {
        format!(" ({why})")
    }
}

/// Returns what `workload` lacks. What cannot be read is left out.
async fn missing(client: &Client, namespace: &str, workload: &Workload) -> String {
    let workloads = workload.kind.api(client.clone(), namespace);
    let Ok(object) = workloads.get(&workload.name).await else {
        return String::new();
    };
    let labels = object.data.pointer("/spec/selector/matchLabels");
    let labels: BTreeMap<String, String> = labels
        .and_then(|labels| serde_json::from_value(labels.clone()).ok())
        .unwrap_or_default();
    let selector: Vec<_> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    let params = ListParams::default().labels(&selector.join(","));
    let pods = pods.list(&params).await.map(|list| list.items);
    describe(&object, &pods.unwrap_or_default())
}

/// Returns why a workload is not complete: the first reason among its `pods` that says more than
/// that they are starting, or the condition of the workload.
fn describe(workload: &DynamicObject, pods: &[Pod]) -> String {
    let living = pods
        .iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_none());
    let mut reasons: Vec<_> = living
        .filter_map(|pod| Some((reason(pod.status.as_ref()?)?, pod.name_any())))
        .collect();
    // A Pod that fails says more than one that is starting.
    reasons.sort();
    match reasons.first() {
        Some((reason, pod)) => format!("Pod {pod}: {}", reason.text),
        None => failed_condition(workload).unwrap_or_default(),
    }
}

/// Why a Pod is not ready. Those that need a person come first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Reason {
    is_starting: bool,
    text: String,
}

fn reason(status: &PodStatus) -> Option<Reason> {
    let failing = |text| {
        Some(Reason {
            is_starting: false,
            text,
        })
    };
    let conditions = status.conditions.iter().flatten();
    let mut false_conditions = conditions.filter(|condition| condition.status == "False");
    let unscheduled = false_conditions
        .clone()
        .find(|it| it.type_ == "PodScheduled");
    if let Some(condition) = unscheduled {
        let why = condition.reason.as_deref().unwrap_or("not scheduled");
        return failing(sentence(why, condition.message.as_deref()));
    }
    let init = status.init_container_statuses.iter().flatten();
    let containers = init.chain(status.container_statuses.iter().flatten());
    if let Some(waiting) = containers.filter_map(waiting_reason).min() {
        return Some(waiting);
    }
    false_conditions
        .find(|it| it.type_ == "Ready")
        .map(|_| Reason {
            is_starting: true,
            text: "not ready yet".to_owned(),
        })
}

fn waiting_reason(container: &ContainerStatus) -> Option<Reason> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let why = waiting.reason.as_deref().unwrap_or("waiting");
    let mut text = sentence(why, waiting.message.as_deref());
    let last = container
        .last_state
        .as_ref()
        .and_then(|state| state.terminated.as_ref());
    if let Some(last) = last {
        text = format!("{text} (ended with code {})", last.exit_code);
    }
    Some(Reason {
        is_starting: ["ContainerCreating", "PodInitializing"].contains(&why),
        text,
    })
}

fn sentence(reason: &str, message: Option<&str>) -> String {
    match message {
        Some(message) if !message.is_empty() => format!("{reason}: {message}"),
        _ => reason.to_owned(),
    }
}

/// Returns why the controller of a workload cannot create its Pods, such as a quota.
fn failed_condition(workload: &DynamicObject) -> Option<String> {
    let conditions = workload.data.pointer("/status/conditions")?.as_array()?;
    let text = |condition: &Value, field| condition.get(field)?.as_str().map(str::to_owned);
    let mut conditions = conditions.iter();
    let failed = conditions.find(|condition| {
        text(condition, "type").as_deref() == Some("ReplicaFailure")
            && text(condition, "status").as_deref() == Some("True")
    })?;
    Some(sentence(
        &text(failed, "reason").unwrap_or_default(),
        text(failed, "message").as_deref(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn workload(status: &Value) -> DynamicObject {
        let object = json!({"metadata": {"name": "velero-trust"}, "status": status});
        serde_json::from_value(object).unwrap()
    }

    fn pod(name: &str, status: &Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": name}, "status": status})).unwrap()
    }

    fn waiting(reason: &str, message: &str) -> Value {
        json!({"containerStatuses": [{
            "name": "velero-trust", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": reason, "message": message}},
        }]})
    }

    #[test]
    fn the_reason_of_a_pod_that_fails_comes_first() {
        let starting = pod("a", &waiting("ContainerCreating", ""));
        let message = "Back-off pulling image \"registry.example.com/velero-trust:0.1.0\"";
        let failing = pod("b", &waiting("ImagePullBackOff", message));
        let described = describe(&workload(&json!({})), &[starting.clone(), failing]);
        assert_eq!(described, format!("Pod b: ImagePullBackOff: {message}"));
        let described = describe(&workload(&json!({})), &[starting]);
        assert_eq!(described, "Pod a: ContainerCreating");
    }

    #[test]
    fn a_crash_has_its_exit_code() {
        let mut status = waiting(
            "CrashLoopBackOff",
            "back-off 10s restarting failed container",
        );
        status["containerStatuses"][0]["lastState"] = json!({"terminated": {"exitCode": 2}});
        assert_eq!(
            describe(&workload(&json!({})), &[pod("a", &status)]),
            "Pod a: CrashLoopBackOff: back-off 10s restarting failed container (ended with code 2)"
        );
    }

    #[test]
    fn a_pod_without_a_node_and_a_workload_without_pods_say_why() {
        let unscheduled = json!({"conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/3 nodes are available",
        }]});
        assert_eq!(
            describe(&workload(&json!({})), &[pod("a", &unscheduled)]),
            "Pod a: Unschedulable: 0/3 nodes are available"
        );
        let refused = json!({"conditions": [{
            "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
            "message": "exceeded quota: pods",
        }]});
        assert_eq!(
            describe(&workload(&refused), &[]),
            "FailedCreate: exceeded quota: pods"
        );
        let ready = json!({"conditions": [{"type": "Ready", "status": "True"}]});
        assert_eq!(describe(&workload(&json!({})), &[pod("a", &ready)]), "");
    }
}
