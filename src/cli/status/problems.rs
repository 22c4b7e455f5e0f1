//! What of a status needs a person.

use std::collections::BTreeSet;

use k8s_openapi::jiff::Timestamp;

use super::model::{BundleState, Leader, LeaderState, Location, Namespace, Source, StatusReport};
use crate::ca::bundle_issue::{BundleIssue, STAYS};
use crate::ca::rules;
use crate::injection::coverage::State;
use crate::names::BUNDLE;

/// Fills in what needs a person.
pub(super) fn judge(status: &mut StatusReport, now: Timestamp) {
    if status.source == Source::Cluster {
        status.problems.extend(of_leader(&status.leader));
    }
    if status.namespaces.is_empty() {
        let none = "no namespace holds a BackupStorageLocation; name one with --velero-namespace";
        status.problems.push(none.to_owned());
    }
    for namespace in &mut status.namespaces {
        namespace.problems = of_namespace(namespace, now);
    }
    let mut namespaces = status.namespaces.iter();
    status.clean =
        status.problems.is_empty() && namespaces.all(|namespace| namespace.problems.is_empty());
}

fn of_leader(leader: &Leader) -> Option<String> {
    match leader.state {
        LeaderState::Leading => None,
        LeaderState::Stale => Some(
            "the leader of velero-trust has not renewed its Lease; are its Pods running?"
                .to_owned(),
        ),
        LeaderState::Absent => Some(leader.message.clone().unwrap_or_else(|| {
            "nobody leads velero-trust: no bundle is merged, nothing is audited".to_owned()
        })),
        LeaderState::Unknown => {
            let why = leader.message.as_deref().unwrap_or_default();
            Some(format!("who leads velero-trust is not known: {why}"))
        }
    }
}

/// Whether there is nothing of Velero, and no bundle of ours.
pub(super) fn is_bare(namespace: &Namespace) -> bool {
    namespace.locations.is_empty()
        && namespace.pods.items.is_empty()
        && namespace.templates.is_empty()
        && matches!(namespace.bundle.state, BundleState::Absent)
}

fn of_namespace(namespace: &Namespace, now: Timestamp) -> Vec<String> {
    if is_bare(namespace) {
        return vec!["holds nothing of Velero".to_owned()];
    }
    let mut problems = Vec::new();
    match namespace.bundle.state {
        BundleState::Published | BundleState::Computed => {}
        BundleState::Absent => problems.extend(of_absent(&namespace.issues)),
        BundleState::Foreign => problems.push(BundleIssue::NotOwned.to_string()),
    }
    if let Some(why) = &namespace.bundle.held {
        problems.push(format!("held: {why}"));
    }
    if let Some(why) = &namespace.no_report {
        problems.push(format!("no report of the controllers: {why}"));
    }
    let mut issues: BTreeSet<_> = namespace.issues.iter().cloned().collect();
    for problem in &problems {
        issues.remove(problem);
    }
    let mut of_locations = Vec::new();
    for location in &namespace.locations {
        of_locations.extend(of_location(location, now, &mut issues));
    }
    problems.extend(issues);
    problems.extend(of_locations);
    problems.extend(of_pods(namespace));
    problems
}

/// A complaint that says why is enough.
fn of_absent(issues: &[String]) -> Option<String> {
    let told = issues.iter().any(|said| said.contains(BUNDLE));
    (!told).then(|| format!("ConfigMap {BUNDLE} is not there"))
}

/// Takes out of `complaints` what a finding says better.
fn of_location(location: &Location, now: Timestamp, issues: &mut BTreeSet<String>) -> Vec<String> {
    let mut problems = Vec::new();
    let Some(report) = &location.report else {
        return problems;
    };
    let denials = report.findings.iter();
    let mut expired = false;
    for finding in denials.filter(|finding| finding.severity == "deny") {
        let left_out = BundleIssue::LeftOut {
            location: location.name.clone(),
            path: finding.path.clone(),
        };
        let stays = if issues.remove(&left_out.to_string()) {
            format!("; {STAYS}")
        } else {
            String::new()
        };
        expired |= rules::find(&finding.rule).is_some_and(|rule| rule.covers_expiry);
        problems.push(format!(
            "{}: {}; {}{stays} [{}]",
            finding.path, finding.message, finding.fix, finding.rule
        ));
    }
    for certificate in &report.certificates {
        let expiry: Option<Timestamp> = certificate.not_after.parse().ok();
        if !expired && expiry.is_some_and(|expiry| expiry < now) {
            problems.push(format!(
                "the certificate {} expired at {}",
                certificate.subject, certificate.not_after
            ));
        }
    }
    for endpoint in &report.endpoints {
        if endpoint.state == "untrusted" {
            let mut said = format!("{}: {}", endpoint.url, endpoint.message);
            if !endpoint.fix.is_empty() {
                said = format!("{said}; {}", endpoint.fix);
            }
            problems.push(said);
        }
    }
    let named = |problem| format!("BackupStorageLocation {}: {problem}", location.name);
    problems.into_iter().map(named).collect()
}

fn of_pods(namespace: &Namespace) -> Vec<String> {
    let mut problems = Vec::new();
    let in_state = |state: State| {
        let items = namespace.pods.items.iter();
        items.filter(|pod| pod.state == state.as_str()).count()
    };
    let restarts = in_state(State::Uninjected) + in_state(State::Stale);
    if restarts > 0 {
        problems.push(format!(
            "{restarts} of {} Pods without the bundle or with an old one; `velero-trust rollout \
             --velero-namespace {}` shows what to restart",
            namespace.pods.wanted, namespace.name
        ));
    }
    let conflicting = State::Conflicting.as_str();
    for template in &namespace.templates {
        if template.state == conflicting {
            problems.push(format!("{}: {}", template.name, template.why));
        }
    }
    let pods = in_state(State::Conflicting);
    if pods > 0 {
        problems.push(format!(
            "{pods} of {} Pods keep the bundle out; change what makes them",
            namespace.pods.wanted
        ));
    }
    problems
}
