//! What Velero says of its BackupStorageLocations.

use super::velero::{HAS_CA_CERT_REF, server_version};
use super::{CheckSubject, Diagnostic};
use crate::ca::references;
use crate::cli::doctor::cluster_snapshot::{ClusterSnapshot, Velero};
use crate::names::CA_SECRET_ANNOTATION;
use crate::velero::bsl::Bsl;
use crate::velero::text::{or_empty, single_line};

/// Most characters of Velero's message that are repeated.
const SHOWN: usize = 200;

pub(super) fn check(_: &ClusterSnapshot, velero: &Velero) -> Vec<Diagnostic> {
    let old = server_version(velero).is_some_and(|version| version < HAS_CA_CERT_REF);
    let one = |location| one(velero, location, old);
    velero.locations.iter().map(one).collect()
}

fn one(velero: &Velero, bsl: &Bsl<'_>, old: bool) -> Diagnostic {
    let namespace = &velero.namespace;
    let name = bsl.name();
    let of = CheckSubject::new(
        "location",
        format!("BackupStorageLocation {namespace}/{name}"),
    );
    let message = or_empty(bsl.status.message.as_ref());
    let shown = single_line(message, SHOWN);
    match bsl.phase() {
        _ if bsl.is_available() => of.ok("Velero reports it Available"),
        "" => of.unknown("Velero has not reported on it yet"),
        phase if message.contains("x509") || message.contains("certificate") => {
            let said = format!("Velero reports it {phase}: {shown}");
            of.fail(said, cure(velero, bsl, old))
        }
        phase => of.warn(
            format!("Velero reports it {phase}: {shown}"),
            format!("kubectl -n {namespace} logs deployment/velero"),
        ),
    }
}

/// Returns what to do about a location whose certificate Velero does not accept.
fn cure(velero: &Velero, bsl: &Bsl<'_>, old: bool) -> String {
    let namespace = &velero.namespace;
    let name = bsl.name();
    if !references::ca_references(namespace, bsl).is_empty() {
        return format!(
            "kubectl -n {namespace} rollout restart deployment/velero; where that does not help, \
             the CA is not that of the endpoint"
        );
    }
    let why = if old {
        " (this Velero has no caCertRef)"
    } else {
        ""
    };
    format!(
        "kubectl -n {namespace} annotate backupstoragelocation {name} \
         {CA_SECRET_ANNOTATION}=SECRET/KEY{why}"
    )
}

/// Whether a location of `velero` has a CA reference for which `is` holds.
pub(super) fn any_reference(
    velero: &Velero,
    is: impl Fn(&references::CaReference<'_>) -> bool,
) -> bool {
    velero.locations.iter().any(|bsl| {
        let references = references::ca_references(&velero.namespace, bsl);
        references.iter().any(&is)
    })
}
