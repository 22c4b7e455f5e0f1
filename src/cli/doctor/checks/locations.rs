//! Checks the status that Velero reports for its BackupStorageLocations.

use super::velero::{FIRST_WITH_CA_CERT_REF, install_velero, server_version, server_workload};
use super::{CheckSubject, Diagnostic};
use crate::ca::references;
use crate::cli::doctor::cluster_snapshot::{ClusterSnapshot, VeleroNamespace};
use crate::cli::doctor::diagnostic::Level;
use crate::cli::status::{FIX_SEPARATOR, report_problems};
use crate::names::CA_SECRET_ANNOTATION;
use crate::velero::bsl::Bsl;
use crate::velero::text::{or_empty, single_line_with_end};

/// Maximum length of Velero's message in the output, in characters.
const MAX_MESSAGE_CHARS: usize = 400;

pub(super) fn check(cluster: &ClusterSnapshot, velero: &VeleroNamespace) -> Vec<Diagnostic> {
    let lacks_ca_cert_ref =
        server_version(velero).is_some_and(|version| version < FIRST_WITH_CA_CERT_REF);
    let check = |bsl| {
        let mut found = check_reported(cluster, velero, bsl);
        let phase = check_phase(velero, bsl, lacks_ca_cert_ref);
        if found.is_empty() || phase.level != Level::Ok {
            found.insert(0, phase);
        }
        found
    };
    velero.locations.iter().flat_map(check).collect()
}

fn subject(velero: &VeleroNamespace, bsl: &Bsl<'_>) -> CheckSubject {
    let name = format!("BackupStorageLocation {}/{}", velero.namespace, bsl.name());
    CheckSubject::new("location", name)
}

/// Returns the problems of a location that the controllers report, as `status` shows them.
fn check_reported(
    cluster: &ClusterSnapshot,
    velero: &VeleroNamespace,
    bsl: &Bsl<'_>,
) -> Vec<Diagnostic> {
    let report = velero.report.as_ref().ok();
    let Some(report) = report.and_then(|report| report.locations.get(bsl.name())) else {
        return Vec::new();
    };
    let problems = report_problems(bsl.name(), report, cluster.time(), &mut Vec::new());
    let status = format!(
        "velero-trust status --velero-namespace {}",
        velero.namespace
    );
    let fail = |problem: String| {
        let (message, fix) = problem
            .split_once(FIX_SEPARATOR)
            .unwrap_or((&problem, &status));
        subject(velero, bsl).fail(message, fix)
    };
    problems.into_iter().map(fail).collect()
}

/// Checks the phase that Velero reports.
fn check_phase(velero: &VeleroNamespace, bsl: &Bsl<'_>, lacks_ca_cert_ref: bool) -> Diagnostic {
    let namespace = &velero.namespace;
    let subject = subject(velero, bsl);
    let status_message = or_empty(bsl.status.message.as_ref());
    let shown = single_line_with_end(status_message, MAX_MESSAGE_CHARS);
    match bsl.phase() {
        _ if bsl.is_available() => subject.ok("Velero reports it Available"),
        "" => subject.unknown("Velero has not reported on it yet"),
        phase if status_message.contains("x509") || status_message.contains("certificate") => {
            let message = format!("Velero reports it {phase}: {shown}");
            subject.fail(message, certificate_fix(velero, bsl, lacks_ca_cert_ref))
        }
        phase => subject.fail(
            format!("Velero reports it {phase}: {shown}"),
            server_workload(velero).map_or_else(
                || install_velero(namespace),
                |server| format!("kubectl -n {namespace} logs {server}"),
            ),
        ),
    }
}

/// Returns the fix for a location whose certificate Velero does not accept.
fn certificate_fix(velero: &VeleroNamespace, bsl: &Bsl<'_>, lacks_ca_cert_ref: bool) -> String {
    let namespace = &velero.namespace;
    let name = bsl.name();
    if !references::ca_references(namespace, bsl).is_empty() {
        return server_workload(velero).map_or_else(
            || install_velero(namespace),
            |server| {
                format!(
                    "`kubectl -n {namespace} rollout restart {server}`; where that does not help, the CA \
                     is not that of the endpoint"
                )
            },
        );
    }
    let reason = if lacks_ca_cert_ref {
        " (this Velero has no caCertRef)"
    } else {
        ""
    };
    format!(
        "put the CA into a Secret there, and name it{reason}: `kubectl -n {namespace} annotate \
         backupstoragelocation {name} {CA_SECRET_ANNOTATION}=SECRET/KEY`"
    )
}
