//! Checks which Pods of a Velero namespace run without the current bundle.

use super::{CheckSubject, Diagnostic};
use crate::cli::doctor::cluster_snapshot::{ClusterSnapshot, VeleroNamespace};
use crate::cli::snapshot::NamespaceSnapshot;
use crate::injection::coverage::State;

pub(super) fn check(_: &ClusterSnapshot, velero: &VeleroNamespace) -> Vec<Diagnostic> {
    let namespace = &velero.namespace;
    let subject = CheckSubject::new("coverage", format!("Pods in namespace {namespace}"));
    let snapshot = match &velero.snapshot {
        Err(why) => return vec![subject.unknown(why)],
        Ok(snapshot) => snapshot,
    };
    let wanted = snapshot.tally().wanted();
    let groups = [
        (
            [State::Uninjected, State::Stale],
            "run without the bundle or with an old one",
        ),
        ([State::Conflicting; 2], "keep the bundle out"),
    ];
    // The command prints the restarts, and the problems that a restart does not fix.
    let fix = format!("velero-trust rollout --velero-namespace {namespace}");
    let mut diagnostics = Vec::new();
    for (states, problem) in groups {
        let pods = pods(snapshot, states);
        if let Some(first) = pods.first() {
            let message = format!("{} of {wanted} {problem}, such as {first}", pods.len());
            diagnostics.push(subject.clone().fail(message, &fix));
        }
    }
    for (workload, template) in &snapshot.templates {
        if snapshot.state(&template.coverage) == State::Conflicting {
            let why = template.coverage.why(snapshot.bundle_summary());
            let message = format!("{workload} keeps the bundle out: {why}");
            diagnostics.push(subject.clone().fail(message, "change what makes its Pods"));
        }
    }
    if diagnostics.is_empty() && wanted > 0 {
        diagnostics.push(subject.ok(format!("{wanted} of {wanted} carry the bundle")));
    }
    diagnostics
}

/// Returns the Pods in one of these states, each with the reason.
fn pods(snapshot: &NamespaceSnapshot, states: [State; 2]) -> Vec<String> {
    let pods = snapshot
        .pods
        .iter()
        .map(|(name, pod)| (name, &pod.coverage));
    let pods = pods.filter(|(_, coverage)| states.contains(&snapshot.state(coverage)));
    pods.map(|(name, coverage)| format!("{name}: {}", coverage.why(snapshot.bundle_summary())))
        .collect()
}
