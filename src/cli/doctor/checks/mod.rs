//! The checks, one file per topic. They are pure functions of the snapshot.

mod activation;
mod bundle;
mod causes;
mod coverage;
mod crds;
mod identity;
mod installation;
mod ledger;
mod locations;
mod namespaces;
mod policies;
mod proxy;
mod rights;
mod server;
mod velero;
mod version;
mod webhooks;

use self::causes::Prerequisite::{self, Certificate, Installed, PodWebhook, Running, Velero};
use super::cluster_snapshot::{ClusterSnapshot, VeleroNamespace};
use super::diagnostic::{CheckSubject, Diagnostic};

/// Time before the expiry of a certificate at which the warning begins, in seconds: 30 days, as in
/// the rules for BSLs (VT022).
const EXPIRY_WARNING_SECONDS: i64 = 30 * 24 * 60 * 60;

/// A check, and what it depends on.
struct Check<F> {
    /// The name of its diagnostics.
    name: &'static str,
    needs: &'static [Prerequisite],
    run: F,
}

const fn check<F>(name: &'static str, needs: &'static [Prerequisite], run: F) -> Check<F> {
    Check { name, needs, run }
}

type InstallationCheck = Check<fn(&ClusterSnapshot) -> Vec<Diagnostic>>;

/// Checks of the installation.
const INSTALLATION_CHECKS: [InstallationCheck; 16] = [
    check("server", &[], installation::check),
    check("kubernetes", &[], server::check_kubernetes),
    check("server", &[Installed, Certificate], server::check_replicas),
    check("image", &[Installed], server::check_template),
    check("installations", &[Installed], webhooks::check_installations),
    check("webhooks", &[Installed, Certificate], webhooks::check),
    check(
        "leader",
        &[Installed, Certificate, Running],
        server::check_leader,
    ),
    check(
        "activation",
        &[Installed, Certificate, Running],
        activation::check,
    ),
    check("certificate", &[Installed], webhooks::check_certificate),
    check("policies", &[Installed], policies::check),
    check("rights", &[Installed], rights::check_installation),
    check("rights", &[], installation::check_before),
    check("crds", &[], crds::check),
    check("records", &[Installed], ledger::check),
    check("namespaces", &[Velero], namespaces::check),
    check("bundle", &[], bundle::check_others),
];

type NamespaceCheck = Check<fn(&ClusterSnapshot, &VeleroNamespace) -> Vec<Diagnostic>>;

/// Checks of each Velero namespace.
const NAMESPACE_CHECKS: [NamespaceCheck; 8] = [
    check("rights", &[Installed], rights::check),
    check("bundle", &[Installed, Certificate, Running], bundle::check),
    check("velero", &[], velero::check),
    check(
        "coverage",
        &[Installed, Certificate, Running, PodWebhook],
        coverage::check,
    ),
    check("proxy", &[], proxy::check),
    check("location", &[], locations::check),
    check("bucket", &[Installed], ledger::check_buckets),
    check("repository", &[], ledger::check_repositories),
];

/// Runs all checks but those whose prerequisites are not met. Returns their results in the order of
/// the output.
pub(super) fn run_all(cluster: &ClusterSnapshot) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    for check in &INSTALLATION_CHECKS {
        diagnostics.extend(run(cluster, check, |run| run(cluster)));
    }
    let all = cluster.velero.iter().flatten();
    for velero in all.filter(|velero| !velero.is_excluded) {
        for check in &NAMESPACE_CHECKS {
            diagnostics.extend(run(cluster, check, |run| run(cluster, velero)));
        }
    }
    diagnostics
}

/// Runs `check`, or returns that it is not run because of the first prerequisite that is not met.
fn run<F>(
    cluster: &ClusterSnapshot,
    check: &Check<F>,
    run: impl FnOnce(&F) -> Vec<Diagnostic>,
) -> Vec<Diagnostic> {
    let mut unmet = check.needs.iter().filter_map(|need| need.unmet(cluster));
    match unmet.next() {
        Some(why) => vec![CheckSubject::new(check.name, check.name).skipped(&why)],
        None => run(&check.run),
    }
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
