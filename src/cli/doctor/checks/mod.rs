//! The checks, one file per topic. They are pure functions of the snapshot.

mod bundle;
mod coverage;
mod locations;
mod proxy;
mod rights;
mod server;
mod velero;
mod version;
mod webhooks;

use super::cluster_snapshot::{ClusterSnapshot, VeleroNamespace};
use super::diagnostic::{CheckSubject, Diagnostic};
use crate::cli::IN_EXCLUDED_NAMESPACE;
use crate::names::EXCLUDED_NAMESPACE;

/// Time before the expiry of a certificate at which the warning begins, in seconds: 30 days, as in
/// the rules for BSLs (VT022).
const EXPIRY_WARNING_SECONDS: i64 = 30 * 24 * 60 * 60;

/// Checks of the installation.
const INSTALLATION_CHECKS: [fn(&ClusterSnapshot) -> Vec<Diagnostic>; 6] = [
    server::check,
    webhooks::check_installations,
    webhooks::check,
    webhooks::check_states,
    webhooks::check_certificate,
    rights::check_installation,
];

/// Checks of each Velero namespace.
const NAMESPACE_CHECKS: [fn(&ClusterSnapshot, &VeleroNamespace) -> Vec<Diagnostic>; 6] = [
    rights::check,
    bundle::check,
    velero::check,
    coverage::check,
    proxy::check,
    locations::check,
];

/// Runs all checks. Returns their results in the order of the output.
pub(super) fn run_all(cluster: &ClusterSnapshot) -> Vec<Diagnostic> {
    let mut diagnostics: Vec<_> = INSTALLATION_CHECKS
        .iter()
        .flat_map(|check| check(cluster))
        .collect();
    diagnostics.extend(namespaces(cluster));
    for velero in cluster.velero.iter().flatten() {
        diagnostics.extend(
            NAMESPACE_CHECKS
                .iter()
                .flat_map(|check| check(cluster, velero)),
        );
    }
    diagnostics.extend(bundle::check_others(cluster));
    diagnostics
}

/// Checks that there are Velero namespaces, and that all of them could be found.
fn namespaces(cluster: &ClusterSnapshot) -> Vec<Diagnostic> {
    let subject = || CheckSubject::new("namespaces", "Velero namespaces");
    let mut diagnostics = vec![match &cluster.velero {
        Err(why) => subject().unknown(why),
        Ok(all) if all.is_empty() => subject().warn(
            "there is no BackupStorageLocation, so no bundle is published",
            "velero backup-location create --help",
        ),
        Ok(all) => {
            let names: Vec<_> = all.iter().map(|velero| &*velero.namespace).collect();
            subject().ok(names.join(", "))
        }
    }];
    let mut all = cluster.velero.iter().flatten();
    if all
        .clone()
        .any(|velero| velero.namespace == EXCLUDED_NAMESPACE)
    {
        diagnostics.push(subject().warn(IN_EXCLUDED_NAMESPACE.0, IN_EXCLUDED_NAMESPACE.1));
    }
    if all.any(|velero| velero.namespace == cluster.namespace) {
        diagnostics.push(subject().warn(
            format!(
                "{} is velero-trust's own and Velero's: whoever may write a ConfigMap or Secret \
                 there can add CAs to the bundle of every namespace",
                cluster.namespace
            ),
            "install velero-trust in a namespace of its own",
        ));
    }
    if let Err(why) = &cluster.labelled {
        let labelled = format!(
            "namespaces labelled {}",
            crate::names::VELERO_NAMESPACE_LABEL
        );
        diagnostics.push(CheckSubject::new("namespaces", labelled).unknown(why));
    }
    diagnostics
}

/// Returns `expires in n days` or `expired n days ago`. Both times are in seconds since 1970.
fn describe_expiry(now: i64, then: i64) -> String {
    let days = (then - now) / (24 * 60 * 60);
    if then < now {
        format!("expired {} days ago", -days)
    } else {
        format!("expires in {days} days")
    }
}

#[cfg(test)]
mod tests;
