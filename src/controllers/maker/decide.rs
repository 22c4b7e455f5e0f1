//! What a new bundle is beside what was there and what is remembered.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::ConfigMap;

use crate::ca::certificate::{Certificate, Fingerprint};
use crate::ca::keeping::{Kept, Memory, Owner, Share};
use crate::ca::pem;
use crate::ca::survey::Surveyed;
use crate::kubernetes::bundle;

/// Whether there is a location whose CA is not known now and never was.
pub(super) fn lacks_unknown(memory: &Memory, surveyed: &BTreeMap<String, Surveyed>) -> bool {
    let unknown = surveyed
        .iter()
        .filter(|(_, location)| !location.contribution.report.unknowns.is_empty());
    let shares = unknown.map(|(name, _)| (Owner::Location(name.clone()), Share::default()));
    memory.lacks(&shares.collect())
}

/// Whether `kept` has a certificate that the bundle before had not: the one that this process
/// published, or else the one that is there, unless somebody edited it.
pub(super) fn adds(
    kept: &Kept,
    published: &[Certificate],
    live: Option<&ConfigMap>,
    memory: &Memory,
) -> bool {
    let live = live.filter(|live| bundle::is_as_published(live));
    let live = live.and_then(bundle::text);
    let before: BTreeSet<Fingerprint> = if !published.is_empty() {
        published.iter().map(Certificate::fingerprint).collect()
    } else if let Some(live) = live {
        if live == kept.bundle.text {
            return false;
        }
        let live = pem::read(live.as_bytes()).certificates;
        live.iter().map(Certificate::fingerprint).collect()
    } else {
        // Made for the first time, or again after it was gone.
        return memory.last_added.is_none();
    };
    let mut now = kept.certificates.iter();
    now.any(|certificate| !before.contains(&certificate.fingerprint()))
}
