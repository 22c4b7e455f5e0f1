//! Compares a new bundle with the stored one and with the memory.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::ConfigMap;

use crate::ca::certificate::{Certificate, Fingerprint};
use crate::ca::evaluation::EvaluatedLocation;
use crate::ca::merged_bundle::{Contribution, Memory, MergedBundle, Owner};
use crate::ca::pem;
use crate::kubernetes::bundle;

/// Returns whether the CA of a location is not known now and never was.
pub(super) fn has_unknown_location(
    memory: &Memory,
    evaluated: &BTreeMap<String, EvaluatedLocation>,
) -> bool {
    let unknown = evaluated
        .iter()
        .filter(|(_, location)| location.is_unknown());
    let contributions =
        unknown.map(|(name, _)| (Owner::Location(name.clone()), Contribution::default()));
    memory.lacks(&contributions.collect())
}

/// Returns the certificates of `merged` that the bundle did not have before; `None` if it had all. The
/// bundle before is the one that this process published, or else the stored one unless somebody edited
/// it. The set is empty for the first bundle.
pub(super) fn added_certificates(
    merged: &MergedBundle,
    published: &[Certificate],
    live: Option<&ConfigMap>,
    memory: &Memory,
) -> Option<BTreeSet<Fingerprint>> {
    let live = live.filter(|live| bundle::is_as_published(live));
    let live = live.and_then(bundle::text);
    let before: BTreeSet<Fingerprint> = if !published.is_empty() {
        published.iter().map(Certificate::fingerprint).collect()
    } else if let Some(live) = live {
        if live == merged.bundle.text {
            return None;
        }
        let live = pem::read(live.as_bytes()).certificates;
        live.iter().map(Certificate::fingerprint).collect()
    } else {
        // There was no bundle yet, or it was deleted.
        return memory.is_unpublished().then(BTreeSet::new);
    };
    let now = merged.certificates.iter().map(Certificate::fingerprint);
    let added: BTreeSet<_> = now.filter(|one| !before.contains(one)).collect();
    (!added.is_empty()).then_some(added)
}
