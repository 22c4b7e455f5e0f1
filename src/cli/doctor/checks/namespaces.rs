//! Checks that there are Velero namespaces, and that all of them could be found.

use super::{CheckSubject, Diagnostic};
use crate::cli::IN_EXCLUDED_NAMESPACE;
use crate::cli::doctor::cluster_snapshot::ClusterSnapshot;
use crate::names::VELERO_NAMESPACE_LABEL;

/// Runs the check.
pub(super) fn check(cluster: &ClusterSnapshot) -> Vec<Diagnostic> {
    let subject = || CheckSubject::new("namespaces", "Velero namespaces");
    let mut diagnostics = vec![match &cluster.velero {
        Err(why) => subject().unknown(why),
        Ok(all) if all.is_empty() => subject().fail(
            "there is no BackupStorageLocation, so no bundle is published",
            "velero backup-location create --help",
        ),
        Ok(all) => {
            let names: Vec<_> = all.iter().map(|velero| &*velero.namespace).collect();
            subject().ok(names.join(", "))
        }
    }];
    let mut all = cluster.velero.iter().flatten();
    if all.clone().any(|velero| velero.is_excluded) {
        diagnostics.push(subject().fail(IN_EXCLUDED_NAMESPACE.0, IN_EXCLUDED_NAMESPACE.1));
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
        let labelled = format!("namespaces labelled {VELERO_NAMESPACE_LABEL}");
        diagnostics.push(CheckSubject::new("namespaces", labelled).unknown(why));
    }
    diagnostics
}
