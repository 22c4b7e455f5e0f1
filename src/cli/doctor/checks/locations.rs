//! What Velero says of its BackupStorageLocations.

use serde_json::Value;

use super::velero::{HAS_CA_CERT_REF, server_version};
use super::{CheckSubject, Diagnostic};
use crate::ca::references;
use crate::cli::doctor::cluster_snapshot::{ClusterSnapshot, Velero, text};
use crate::names::CA_SECRET_ANNOTATION;
use crate::velero::bsl::Bsl;
use crate::velero::text::single_line;

/// Most characters of Velero's message that are repeated.
const SHOWN: usize = 200;

pub(super) fn check(_: &ClusterSnapshot, velero: &Velero) -> Vec<Diagnostic> {
    let old = server_version(velero).is_some_and(|version| version < HAS_CA_CERT_REF);
    let one = |location| one(velero, location, old);
    velero.locations.iter().map(one).collect()
}

fn one(velero: &Velero, location: &Value, old: bool) -> Diagnostic {
    let namespace = &velero.namespace;
    let name = text(location, "/metadata/name");
    let of = CheckSubject::new(
        "location",
        format!("BackupStorageLocation {namespace}/{name}"),
    );
    let message = text(location, "/status/message");
    let shown = single_line(message, SHOWN);
    match text(location, "/status/phase") {
        "Available" => of.ok("Velero reports it Available"),
        "" => of.unknown("Velero has not reported on it yet"),
        phase if message.contains("x509") || message.contains("certificate") => {
            let said = format!("Velero reports it {phase}: {shown}");
            of.fail(said, cure(velero, location, name, old))
        }
        phase => of.warn(
            format!("Velero reports it {phase}: {shown}"),
            format!("kubectl -n {namespace} logs deployment/velero"),
        ),
    }
}

/// What mends a location whose certificate Velero does not accept.
fn cure(velero: &Velero, location: &Value, name: &str, old: bool) -> String {
    let namespace = &velero.namespace;
    let names_a_ca = parse(namespace, &location.to_string(), |sources| {
        !sources.is_empty()
    });
    if names_a_ca {
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

/// Reads a location, leniently: what cannot be read names no CA.
fn parse<T: Default>(
    namespace: &str,
    text: &str,
    of: impl FnOnce(&[references::CaReference<'_>]) -> T,
) -> T {
    let bsl = serde_json::from_str::<Bsl<'_>>(text);
    bsl.map_or_else(
        |_| T::default(),
        |bsl| of(&references::ca_references(namespace, &bsl)),
    )
}

/// Whether a location of `velero` has a CA source of which `is` holds.
pub(super) fn any_reference(
    velero: &Velero,
    is: impl Fn(&references::CaReference<'_>) -> bool,
) -> bool {
    velero.locations.iter().any(|location| {
        parse(&velero.namespace, &location.to_string(), |sources| {
            sources.iter().any(&is)
        })
    })
}
