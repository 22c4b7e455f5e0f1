//! Finds the problems of a status that need attention.

use std::collections::BTreeSet;

use k8s_openapi::jiff::Timestamp;

use super::model::{
    BundleState, FIX_SEPARATOR, Location, Namespace, ServingCertificateState, Source, StatusReport,
};
use super::{policies, records, render};
use crate::admission::webhook_state::{WebhookState, WebhookStatus};
use crate::ca::bundle_issue::{BundleIssue, PREVIOUS_CAS_STAY};
use crate::ca::rules;
use crate::cli::IN_EXCLUDED_NAMESPACE;
use crate::cli::advice::Selection;
use crate::cli::snapshot::activation_problem;
use crate::decision::Severity;
use crate::injection::coverage::State;
use crate::kubernetes::report::{self, EndpointState, Issue};
use crate::names::BUNDLE;

/// Sets the problems of `status`, and whether it is clean.
pub(super) fn find_problems(status: &mut StatusReport, now: Timestamp) {
    if status.source == Source::Cluster {
        status.problems.extend(status.leader.problem());
        let activation = status.activation.as_ref().and_then(activation_problem);
        let activation = activation.map(|(problem, fix)| format!("{problem}{FIX_SEPARATOR}{fix}"));
        status.problems.extend(activation);
        let inactive = status.webhooks.iter().filter(|one| one.is_problem());
        let text = |one: &WebhookStatus| format!("{}{FIX_SEPARATOR}{}", one.message, one.fix);
        status.problems.extend(inactive.map(text));
        status.problems.extend(certificate_problem(status));
        let policies = status.policies.iter();
        status
            .problems
            .extend(policies.filter_map(policies::problem));
        let records = status.records.iter();
        status.problems.extend(records.flat_map(records::problems));
    }
    if status.namespaces.is_empty() {
        let problem =
            "no namespace holds a BackupStorageLocation; name one with --velero-namespace";
        status.problems.push(problem.to_owned());
    }
    for namespace in &mut status.namespaces {
        namespace.problems = namespace_problems(namespace, now);
    }
    let mut namespaces = status.namespaces.iter();
    status.clean =
        status.problems.is_empty() && namespaces.all(|namespace| namespace.problems.is_empty());
}

/// Returns the problem that the serving certificate expires, unless a webhook has that problem.
fn certificate_problem(status: &StatusReport) -> Option<String> {
    let certificate = status.serving_certificate.as_ref()?;
    let is_told = |one: &WebhookStatus| one.state == WebhookState::CertificateExpired;
    let verb = match certificate.state {
        ServingCertificateState::ExpiresSoon => "expires",
        ServingCertificateState::Expired if !status.webhooks.iter().any(is_told) => "expired",
        _ => return None,
    };
    let (until, fix) = (certificate.not_after?, certificate.message.as_deref()?);
    Some(format!(
        "the serving certificate {verb} at {until}{FIX_SEPARATOR}{fix}"
    ))
}

/// Adds the options that select the cluster to the commands in all problems and their fixes.
pub(super) fn select_cluster(status: &mut StatusReport, selection: Selection<'_>) {
    let namespaces = status.namespaces.iter_mut();
    let problems = namespaces.flat_map(|namespace| &mut namespace.problems);
    for problem in problems.chain(&mut status.problems) {
        *problem = match problem.split_once(FIX_SEPARATOR) {
            Some((text, fix)) => {
                let text = selection.apply_to_message(text);
                format!("{text}{FIX_SEPARATOR}{}", selection.apply(fix))
            }
            None => selection.apply_to_message(problem),
        };
    }
    for issue in status.namespaces.iter_mut().flat_map(|one| &mut one.issues) {
        issue.message = selection.apply_to_message(&issue.message);
    }
    for webhook in &mut status.webhooks {
        webhook.fix = selection.apply(&webhook.fix);
    }
}

/// Whether the namespace contains nothing of Velero, and no bundle.
pub(super) fn is_empty(namespace: &Namespace) -> bool {
    namespace.locations.is_empty()
        && namespace.pods.items.is_empty()
        && namespace.templates.is_empty()
        && matches!(namespace.bundle.state, BundleState::Absent)
}

fn namespace_problems(namespace: &Namespace, now: Timestamp) -> Vec<String> {
    if is_empty(namespace) {
        return vec!["holds nothing of Velero".to_owned()];
    }
    if namespace.is_excluded {
        let (problem, fix) = IN_EXCLUDED_NAMESPACE;
        return vec![format!("{problem}{FIX_SEPARATOR}{fix}")];
    }
    let mut problems = Vec::new();
    let mut issues: Vec<_> = namespace.issues.iter().collect();
    match namespace.bundle.state {
        BundleState::Published | BundleState::Computed => {}
        BundleState::Absent => problems.extend(absent_bundle_problem(&issues)),
        BundleState::Foreign => {
            let not_owned = BundleIssue::NotOwned;
            remove_issue(&mut issues, &not_owned);
            problems.push(not_owned.to_string());
        }
    }
    if let Some(why) = &namespace.bundle.held {
        problems.push(format!("held: {why}"));
    }
    if let Some(why) = &namespace.no_report {
        problems.push(format!("no report of the controllers: {why}"));
    }
    if let Some(live) = namespace.live.filter(|live| live.is_asked && !live.is_done) {
        problems.push(format!(
            "the leader did not probe the endpoints within {} s of the request, so what is shown of them is \
             older{FIX_SEPARATOR}LEADER shows whether there is one; its log says why it does not",
            live.seconds
        ));
    }
    let mut location_problems = Vec::new();
    for location in &namespace.locations {
        location_problems.extend(find_location_problems(
            &namespace.name,
            location,
            now,
            &mut issues,
        ));
    }
    let messages: BTreeSet<_> = issues.iter().map(|issue| &issue.message).collect();
    problems.extend(messages.into_iter().cloned());
    problems.extend(location_problems);
    problems.extend(pod_problems(namespace));
    let backups = namespace.backups.iter();
    problems.extend(backups.flat_map(records::unreadable));
    problems
}

/// Returns the problem that there is no bundle; `None` if one of the `issues` explains why.
fn absent_bundle_problem(issues: &[&Issue]) -> Option<String> {
    let mut bundle_issues = issues.iter().filter_map(|issue| issue.bundle());
    let is_explained = bundle_issues.any(BundleIssue::concerns_config_map);
    (!is_explained).then(|| format!("ConfigMap {BUNDLE} is not there"))
}

/// Removes `issue` from `issues`. Returns whether `issues` contained it.
fn remove_issue(issues: &mut Vec<&Issue>, issue: &BundleIssue) -> bool {
    let before = issues.len();
    issues.retain(|other| other.bundle() != Some(issue));
    issues.len() < before
}

/// Returns the problems of a location. Removes the `issues` that a finding explains in more detail.
fn find_location_problems(
    namespace: &str,
    location: &Location,
    now: Timestamp,
    issues: &mut Vec<&Issue>,
) -> Vec<String> {
    let mut problems = Vec::new();
    if location.phase.as_deref() == Some("Unavailable") {
        problems.push(format!(
            "Velero reports it Unavailable, so no backup to it can be made or \
             restored{FIX_SEPARATOR}kubectl -n {namespace} get backupstoragelocation {} -o \
             jsonpath='{{.status.message}}'",
            location.name
        ));
    }
    if let Some(report) = &location.report {
        problems.extend(report_problems(&location.name, report, now, issues));
    }
    let with_name = |problem| format!("BackupStorageLocation {}: {problem}", location.name);
    problems.into_iter().map(with_name).collect()
}

/// Returns the problems in the `report` on the location of this name. Removes the `issues` that a
/// finding explains in more detail.
pub(in crate::cli) fn report_problems(
    name: &str,
    report: &report::Location,
    now: Timestamp,
    issues: &mut Vec<&Issue>,
) -> Vec<String> {
    let mut problems = Vec::new();
    let denials = report.findings.iter();
    let mut covers_expiry = false;
    for finding in denials.filter(|finding| finding.severity == Severity::Deny) {
        let left_out = BundleIssue::LeftOut {
            location: name.to_owned(),
            path: finding.path.clone(),
        };
        let retention_note = if remove_issue(issues, &left_out) {
            format!("; {PREVIOUS_CAS_STAY}")
        } else {
            String::new()
        };
        covers_expiry |= rules::find(&finding.rule).is_some_and(|rule| rule.covers_expiry);
        problems.push(format!(
            "{}: {}{retention_note} [{}]{FIX_SEPARATOR}{}",
            finding.path, finding.message, finding.rule, finding.fix
        ));
    }
    for certificate in &report.certificates {
        let expiry: Option<Timestamp> = certificate.not_after.parse().ok();
        if !covers_expiry && expiry.is_some_and(|expiry| expiry < now) {
            problems.push(format!(
                "the certificate {} expired at {}",
                certificate.subject, certificate.not_after
            ));
        }
    }
    for endpoint in &report.endpoints {
        if endpoint.state == EndpointState::Untrusted {
            let age = render::age(endpoint, now);
            let age = age.map_or_else(String::new, |age| format!(" (probed {age})"));
            let mut problem = format!("{}: {}{age}", endpoint.url, endpoint.message);
            if !endpoint.fix.is_empty() {
                problem = format!("{problem}{FIX_SEPARATOR}{}", endpoint.fix);
            }
            problems.push(problem);
        }
    }
    problems
}

fn pod_problems(namespace: &Namespace) -> Vec<String> {
    let mut problems = Vec::new();
    let in_state = |state: State| {
        let items = namespace.pods.items.iter();
        items.filter(|pod| pod.state == state).count()
    };
    let restarts = in_state(State::Uninjected) + in_state(State::Stale);
    if restarts > 0 {
        problems.push(format!(
            "{restarts} of {} Pods without the bundle or with an old one{FIX_SEPARATOR}velero-trust \
             rollout --velero-namespace {}",
            namespace.pods.wanted, namespace.name
        ));
    }
    for template in &namespace.templates {
        if template.state == State::Conflicting {
            problems.push(format!("{}: {}", template.name, template.message));
        }
    }
    let conflicts = in_state(State::Conflicting);
    if conflicts > 0 {
        problems.push(format!(
            "{conflicts} of {} Pods keep the bundle out{FIX_SEPARATOR}change what makes them",
            namespace.pods.wanted
        ));
    }
    problems
}
