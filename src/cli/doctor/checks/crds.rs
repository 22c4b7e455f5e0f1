//! Checks Velero's CRDs.

use super::velero::{FIRST_WITH_CA_CERT_REF, server_version};
use super::{CheckSubject, Diagnostic};
use crate::cli::doctor::cluster_snapshot::ClusterSnapshot;
use crate::names::CA_SECRET_ANNOTATION;

/// The command of Velero's documentation that installs the CRDs of the version of the velero command.
const APPLY_CRDS: &str = "with the velero command of the server's version, run \
                          `velero install --crds-only --dry-run -o yaml | kubectl apply -f -`";

pub(super) fn check(cluster: &ClusterSnapshot) -> Vec<Diagnostic> {
    let subject = CheckSubject::new("crds", "Velero's CRDs");
    let crds = match &cluster.crds {
        Err(why) => return vec![subject.unknown(why)],
        Ok(crds) => crds,
    };
    if crds.are_absent() {
        return vec![subject.warn(
            "there are none: Velero is not installed in the cluster",
            "install Velero by its chart, or see `velero install --help`",
        )];
    }
    if !crds.missing.is_empty() {
        let message = format!("the cluster lacks {}", crds.missing.join(", "));
        return vec![subject.fail(message, APPLY_CRDS)];
    }
    if crds.has_ca_cert_ref {
        return vec![subject.ok("a BackupStorageLocation can have a caCertRef")];
    }
    let (major, minor) = FIRST_WITH_CA_CERT_REF;
    let dropped = format!(
        "the API server drops spec.objectStorage.caCertRef of BackupStorageLocations without a word, \
         because the CRDs are of Velero before {major}.{minor}"
    );
    let servers = cluster.velero.iter().flatten().filter_map(server_version);
    vec![match servers.max() {
        Some(newest) if newest >= FIRST_WITH_CA_CERT_REF => {
            subject.fail(format!("{dropped}, and the server is not"), APPLY_CRDS)
        }
        // Nothing is wrong: this version of Velero has no such field.
        Some(_) => subject.ok(dropped),
        None => subject.warn(
            dropped,
            format!("name CAs by the annotation {CA_SECRET_ANNOTATION}, or upgrade Velero"),
        ),
    }]
}
