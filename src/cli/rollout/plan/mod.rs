//! What to restart in a Velero namespace, and what a restart would not mend.

use std::collections::BTreeMap;

use crate::cli::snapshot::NamespaceSnapshot;
use crate::injection::coverage::State;
use crate::kubernetes::workloads::{RunningPod, Workload};
use crate::velero::pod_kind::PodKind;

/// What is to be done in one namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) namespace: String,
    /// Backups and Restores that a restart would disturb.
    pub(super) at_work: Vec<String>,
    /// The restarts.
    pub(super) restarts: Vec<Restart>,
    /// The workloads whose last restart is under way, and mends all their Pods.
    pub(super) under_way: Vec<Workload>,
    /// What a restart does not mend.
    pub(super) left: Vec<Left>,
}

/// A restart that would mend something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Restart {
    pub(super) workload: Workload,
    pub(super) why: Vec<String>,
}

/// Something that a restart does not mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) text: String,
    /// It does not pass by itself, and nobody wished it.
    pub(super) needs_a_person: bool,
}

impl Plan {
    /// What `live` needs, while Velero is `at_work` on this.
    pub(super) fn of(snapshot: &NamespaceSnapshot, at_work: Vec<String>) -> Self {
        let mut plan = Self {
            namespace: snapshot.namespace.clone(),
            at_work,
            ..Self::default()
        };
        let mut lacking = BTreeMap::<&Workload, Vec<(&str, &RunningPod)>>::new();
        for (name, pod) in &snapshot.pods {
            let state = snapshot.state(&pod.coverage);
            if !matches!(state, State::Uninjected | State::Stale) {
                continue;
            }
            match &pod.workload {
                Some(workload) => lacking.entry(workload).or_default().push((name, pod)),
                None => plan.left.push(alone(name, pod)),
            }
        }
        for (workload, template) in &snapshot.templates {
            let state = snapshot.state(&template.coverage);
            if matches!(state, State::Conflicting | State::OptedOut) {
                // Whatever its Pods lack, a new one would be no better.
                lacking.remove(workload);
                let why = template.coverage.why(snapshot.facts());
                plan.left.push(Left {
                    text: format!(
                        "{workload} needs a change of the template first, {state}: {why}"
                    ),
                    needs_a_person: state == State::Conflicting,
                });
            }
        }
        for (workload, pods) in lacking {
            if let Some(text) = stuck(snapshot, workload, &pods) {
                plan.left.push(Left {
                    text,
                    needs_a_person: true,
                });
            } else if let Some(text) = under_way(snapshot, workload, &pods) {
                plan.under_way.push(workload.clone());
                plan.left.push(Left {
                    text,
                    needs_a_person: false,
                });
            } else {
                plan.restarts.push(Restart {
                    workload: workload.clone(),
                    why: why(snapshot, &pods),
                });
            }
        }
        plan
    }

    /// Whether there is anything left for a person, when `restarted` tells that the restarts were
    /// done.
    pub(super) fn needs_a_person(&self, restarted: bool) -> bool {
        let left = self.left.iter().any(|left| left.needs_a_person);
        left || !restarted && !self.restarts.is_empty()
    }
}

/// Why a restart of `workload` would do nothing.
fn stuck(
    snapshot: &NamespaceSnapshot,
    workload: &Workload,
    pods: &[(&str, &RunningPod)],
) -> Option<String> {
    let Some(template) = snapshot.templates.get(workload) else {
        return Some(format!("{workload}, which made {}, is gone", names(pods)));
    };
    if template.paused {
        return Some(format!(
            "{workload} is paused; resume it, then restart it: {}",
            names(pods)
        ));
    }
    template.on_delete.then(|| {
        format!(
            "{workload} replaces no Pod by itself (OnDelete); delete {}",
            names(pods)
        )
    })
}

/// Why another restart of `workload` would only begin it again.
fn under_way(
    snapshot: &NamespaceSnapshot,
    workload: &Workload,
    pods: &[(&str, &RunningPod)],
) -> Option<String> {
    let under_way = snapshot.under_way.get(workload)?;
    let facts = snapshot.facts();
    let mended = pods.iter().all(|(_, pod)| under_way.mends(pod, facts));
    mended.then(|| {
        format!(
            "rollout under way: {workload}, restarted at {}, still replaces {}; `kubectl -n {} \
             rollout status {workload}` waits for it",
            under_way.restarted_at,
            names(pods),
            snapshot.namespace
        )
    })
}

/// Why its Pods need a restart, a line for each reason.
fn why(snapshot: &NamespaceSnapshot, pods: &[(&str, &RunningPod)]) -> Vec<String> {
    let mut reasons = BTreeMap::<String, Vec<&str>>::new();
    for (name, pod) in pods {
        let why = pod.coverage.why(snapshot.facts());
        reasons.entry(why).or_default().push(name);
    }
    let reasons = reasons.into_iter();
    reasons
        .map(|(reason, pods)| format!("{}: {reason}", pods.join(", ")))
        .collect()
}

fn names(pods: &[(&str, &RunningPod)]) -> String {
    let names: Vec<_> = pods.iter().map(|(name, _)| *name).collect();
    names.join(", ")
}

/// A Pod that no workload makes again.
fn alone(name: &str, pod: &RunningPod) -> Left {
    let spawned = matches!(
        pod.coverage.kind,
        Some(
            PodKind::DataMoverBackup
                | PodKind::DataMoverRestore
                | PodKind::PodVolumeBackup
                | PodKind::PodVolumeRestore
                | PodKind::Maintenance
        )
    );
    Left {
        text: if spawned {
            format!("{name} was made by Velero for one task and ends by itself")
        } else {
            format!("{name} was made by nothing that can be restarted; make it again")
        },
        needs_a_person: !spawned,
    }
}

#[cfg(test)]
mod tests;
