//! Plans the restarts in a Velero namespace, and finds what a restart does not fix.

use std::collections::BTreeMap;

use crate::cli::snapshot::NamespaceSnapshot;
use crate::injection::coverage::State;
use crate::kubernetes::workloads::{RunningPod, Workload};
use crate::velero::pod_kind::PodKind;

/// The restarts and the remaining problems in one namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) namespace: String,
    /// Backups and Restores that a restart would interrupt.
    pub(super) in_progress: Vec<String>,
    /// The restarts to perform.
    pub(super) restarts: Vec<Restart>,
    /// The workloads with an ongoing restart that fixes all their Pods.
    pub(super) ongoing: Vec<Workload>,
    /// What a restart does not fix.
    pub(super) remaining: Vec<Remaining>,
}

/// A restart that fixes at least one Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Restart {
    pub(super) workload: Workload,
    pub(super) reasons: Vec<String>,
}

/// Something that a restart does not fix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remaining {
    pub(super) text: String,
    /// Whether somebody has to act: it neither resolves by itself nor was it configured on purpose.
    pub(super) needs_attention: bool,
}

impl Plan {
    /// Plans the restarts for `snapshot`, where `in_progress` lists what Velero is processing.
    pub(super) fn of(snapshot: &NamespaceSnapshot, in_progress: Vec<String>) -> Self {
        let mut plan = Self {
            namespace: snapshot.namespace.clone(),
            in_progress,
            ..Self::default()
        };
        let mut affected = BTreeMap::<&Workload, Vec<(&str, &RunningPod)>>::new();
        for (name, pod) in &snapshot.pods {
            let state = snapshot.state(&pod.coverage);
            if !matches!(state, State::Uninjected | State::Stale) {
                continue;
            }
            match &pod.workload {
                Some(workload) => affected.entry(workload).or_default().push((name, pod)),
                None => plan.remaining.push(standalone_pod(name, pod)),
            }
        }
        for (workload, template) in &snapshot.templates {
            let state = snapshot.state(&template.coverage);
            if matches!(state, State::Conflicting | State::OptedOut) {
                // A new Pod would lack the same.
                affected.remove(workload);
                let why = template.coverage.why(snapshot.bundle_summary());
                plan.remaining.push(Remaining {
                    text: format!(
                        "{workload} needs a change of the template first, {state}: {why}"
                    ),
                    needs_attention: state == State::Conflicting,
                });
            }
        }
        for (workload, pods) in affected {
            if let Some(text) = blocked(snapshot, workload, &pods) {
                plan.remaining.push(Remaining {
                    text,
                    needs_attention: true,
                });
            } else if let Some(text) = already_restarting(snapshot, workload, &pods) {
                plan.ongoing.push(workload.clone());
                plan.remaining.push(Remaining {
                    text,
                    needs_attention: false,
                });
            } else {
                plan.restarts.push(Restart {
                    workload: workload.clone(),
                    reasons: reasons(snapshot, &pods),
                });
            }
        }
        plan
    }

    /// Returns a workload that was restarted and that needs a restart in the plan `after` that as well:
    /// its new Pods lack the bundle.
    pub(super) fn still_lacking<'p>(&'p self, after: &Self) -> Option<&'p Workload> {
        let restarted = self.restarts.iter().map(|restart| &restart.workload);
        let mut restarted = restarted.chain(&self.ongoing);
        restarted.find(|workload| {
            let mut lacking = after.restarts.iter().map(|restart| &restart.workload);
            lacking.any(|lacking| lacking == *workload)
        })
    }

    /// Returns whether somebody has to act, given whether the restarts were performed.
    pub(super) fn needs_attention(&self, restarted: bool) -> bool {
        let remaining = self.remaining.iter().any(|it| it.needs_attention);
        remaining || !restarted && !self.restarts.is_empty()
    }
}

/// Returns why a restart of `workload` would have no effect, if so.
fn blocked(
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

/// Returns why another restart of `workload` is not needed, if an ongoing one fixes all `pods`.
fn already_restarting(
    snapshot: &NamespaceSnapshot,
    workload: &Workload,
    pods: &[(&str, &RunningPod)],
) -> Option<String> {
    let ongoing = snapshot.ongoing.get(workload)?;
    let facts = snapshot.bundle_summary();
    let resolved = pods.iter().all(|(_, pod)| ongoing.resolves(pod, facts));
    resolved.then(|| {
        format!(
            "rollout under way: {workload}, restarted at {}, still replaces {}; `kubectl -n {} \
             rollout status {workload}` waits for it",
            ongoing.restarted_at,
            names(pods),
            snapshot.namespace
        )
    })
}

/// Returns why `pods` need a restart, with one line per reason.
fn reasons(snapshot: &NamespaceSnapshot, pods: &[(&str, &RunningPod)]) -> Vec<String> {
    let mut by_reason = BTreeMap::<String, Vec<&str>>::new();
    for (name, pod) in pods {
        let why = pod.coverage.why(snapshot.bundle_summary());
        by_reason.entry(why).or_default().push(name);
    }
    let by_reason = by_reason.into_iter();
    by_reason
        .map(|(reason, pods)| format!("{}: {reason}", pods.join(", ")))
        .collect()
}

fn names(pods: &[(&str, &RunningPod)]) -> String {
    let names: Vec<_> = pods.iter().map(|(name, _)| *name).collect();
    names.join(", ")
}

/// Describes a Pod that no workload recreates.
fn standalone_pod(name: &str, pod: &RunningPod) -> Remaining {
    let is_temporary = matches!(
        pod.coverage.kind,
        Some(
            PodKind::DataMoverBackup
                | PodKind::DataMoverRestore
                | PodKind::PodVolumeBackup
                | PodKind::PodVolumeRestore
                | PodKind::Maintenance
        )
    );
    Remaining {
        text: if is_temporary {
            format!("{name} was made by Velero for one task and ends by itself")
        } else {
            format!("{name} was made by nothing that can be restarted; make it again")
        },
        needs_attention: !is_temporary,
    }
}

#[cfg(test)]
mod tests;
