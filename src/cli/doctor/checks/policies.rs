//! Checks the admission policies.

use super::{CheckSubject, Diagnostic};
use crate::cli::advice::{apply_manifest, replace_policies};
use crate::cli::doctor::cluster_snapshot::ClusterSnapshot;
use crate::names;

const AS_SHIPPED: &str = "are those of the manifests";

/// Checks that the policies are those of the manifests, and that they take our account for ours.
pub(super) fn check(cluster: &ClusterSnapshot) -> Vec<Diagnostic> {
    let subject = CheckSubject::new("policies", "admission policies");
    let policies = match &cluster.policies {
        Err(why) => return vec![subject.unknown(why)],
        Ok(policies) => policies,
    };
    if !policies.not_as_shipped.is_empty() {
        let missing = policies.not_as_shipped.join(", ");
        let message = format!("not there, or not as in the manifests: {missing}");
        let fix = if policies.not_as_shipped.len() == policies.shipped {
            apply_manifest(&cluster.namespace, "policies.yaml")
        } else {
            replace_policies()
        };
        return vec![subject.fail(message, fix)];
    }
    if cluster.deployment.is_err() {
        // Which account it has is not known.
        return vec![subject.ok(AS_SHIPPED)];
    }
    let fix = apply_manifest(&cluster.namespace, "rbac.yaml");
    let account = format!("{}/{}", cluster.namespace, cluster.account());
    let others = policies.accounts.iter().filter(|one| **one != account);
    let others: Vec<_> = others.map(String::as_str).collect();
    vec![if others.len() == policies.accounts.len() {
        let message = format!(
            "they do not know ServiceAccount {account}: ClusterRoleBinding {} does not name it",
            names::APP
        );
        subject.fail(message, fix)
    } else if others.is_empty() {
        subject.ok(AS_SHIPPED)
    } else {
        let message = format!(
            "ClusterRoleBinding {} names {} as well, whom they let write records",
            names::APP,
            others.join(", ")
        );
        subject.warn(message, fix)
    }]
}
