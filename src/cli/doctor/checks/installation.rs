//! Checks whether velero-trust is installed and, if it is not, what an installation would meet.

use super::{CheckSubject, Diagnostic};
use crate::cli::advice::install;
use crate::cli::doctor::cluster_snapshot::{
    ClusterSnapshot, NamespaceState, VeleroNamespace, Webhook,
};
use crate::cli::doctor::grouping::listed;
use crate::kubernetes::bundle::is_ours;
use crate::names;

/// Most permissions that the user lacks and that are named.
const MAX_RIGHTS: usize = 5;

/// Checks that our Deployment exists. This comes first: if it does not, or if the namespace is wrong,
/// no other check of the installation tells anything.
pub(super) fn check(cluster: &ClusterSnapshot) -> Vec<Diagnostic> {
    let namespace = &cluster.namespace;
    let subject = || CheckSubject::new("server", format!("Deployment {namespace}/{}", names::APP));
    match &cluster.deployment {
        Err(why) => return vec![subject().unknown(why)],
        Ok(Some(_)) => return Vec::new(),
        Ok(None) => {}
    }
    if let Some(other) = cluster.other_installations.iter().flatten().next() {
        let message = format!(
            "{} is not installed in namespace {namespace}, but in {other}",
            names::APP
        );
        let doctor = format!("velero-trust doctor --namespace {other}");
        return vec![subject().fail(message, doctor)];
    }
    let app = names::APP;
    vec![match &cluster.own_namespace {
        Ok(NamespaceState::Terminating) => subject().fail(
            format!("{app} is not installed: namespace {namespace} is being deleted"),
            format!("wait until `kubectl get namespace {namespace}` no longer finds it, then install {app}"),
        ),
        Ok(NamespaceState::Absent) => subject().fail(
            format!("{app} is not installed: there is no namespace {namespace}"),
            install(namespace),
        ),
        Ok(NamespaceState::Present) | Err(_) => subject().fail(
            format!(
                "{app} is not installed in namespace {namespace}; --namespace is {app}'s own namespace"
            ),
            install(namespace),
        ),
    }]
}

/// Checks what an installation would meet, before there is one: the rights of the user, and what is
/// left of an earlier installation.
pub(super) fn check_before(cluster: &ClusterSnapshot) -> Vec<Diagnostic> {
    let is_elsewhere = matches!(&cluster.other_installations, Ok(others) if !others.is_empty());
    if !cluster.is_absent() || is_elsewhere {
        return Vec::new();
    }
    let mut diagnostics = vec![rights(cluster)];
    diagnostics.extend(webhooks(cluster));
    diagnostics.extend(bundles(cluster));
    diagnostics
}

fn rights(cluster: &ClusterSnapshot) -> Diagnostic {
    let subject = CheckSubject::new("rights", "you, to install velero-trust");
    match &cluster.missing_user_rights {
        Err(why) => subject.unknown(why),
        Ok(missing) if missing.is_empty() => subject.ok("you may apply the manifests"),
        Ok(missing) => subject.fail(
            format!("you may not {}", listed(missing, MAX_RIGHTS)),
            "let an administrator of the cluster install it, or ask for these rights",
        ),
    }
}

/// Webhooks that an earlier installation left behind. One with rules refuses every request that it
/// should judge, or lets it pass.
fn webhooks(cluster: &ClusterSnapshot) -> Vec<Diagnostic> {
    let left = cluster
        .own_webhooks()
        .filter(|webhook| !webhook.path.starts_with("https:"));
    let describe = |webhook: &Webhook| {
        let name = format!("{}, {}", webhook.configuration, webhook.name);
        let subject = CheckSubject::new("leftovers", name);
        match (webhook.has_rules, webhook.refuses_on_failure) {
            (true, true) => subject.fail(
                "it calls velero-trust, which is not there, so that what it should judge is refused",
                &webhook.delete,
            ),
            (true, false) => subject.warn(
                "it calls velero-trust, which is not there, so that what it should judge passes",
                &webhook.delete,
            ),
            (false, _) => subject.warn(
                "an earlier installation left it behind; it is sent nothing",
                &webhook.delete,
            ),
        }
    };
    left.map(describe).collect()
}

/// Bundles that an earlier installation left behind in Velero's namespaces.
fn bundles(cluster: &ClusterSnapshot) -> Vec<Diagnostic> {
    let namespaces = cluster.velero.iter().flatten();
    let left = namespaces
        .filter(|velero| matches!(&velero.bundle, Ok(Some(map)) if is_ours(&map.metadata)));
    let describe = |velero: &VeleroNamespace| {
        let name = format!("ConfigMap {}/{}", velero.namespace, names::BUNDLE);
        CheckSubject::new("leftovers", name).warn(
            "an earlier installation left it behind, and nobody keeps it up to date; an installation \
             takes it over",
            format!(
                "to go on without velero-trust, recreate the Pods that mount it, then run `kubectl -n {} \
                 delete configmap {}`",
                velero.namespace,
                names::BUNDLE
            ),
        )
    };
    left.map(describe).collect()
}
