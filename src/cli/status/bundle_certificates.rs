//! What is in a bundle, certificate by certificate, and who names each.

use std::collections::{BTreeMap, BTreeSet};

use super::model::BundleCertificate;
use crate::ca::certificate::{Certificate, Fingerprint};
use crate::kubernetes::report;

/// Who names a certificate, by its fingerprint.
pub(super) type References = BTreeMap<String, Vec<String>>;

/// The certificates of a bundle, those that somebody names first.
pub(super) fn bundle_certificates(
    certificates: &[Certificate],
    references: &References,
    public: &[Certificate],
) -> Vec<BundleCertificate> {
    let public: BTreeSet<Fingerprint> = public.iter().map(Certificate::fingerprint).collect();
    let items = certificates.iter().map(|certificate| {
        let reported = report::Certificate::from(certificate);
        let from = references.get(&reported.fingerprint);
        BundleCertificate {
            from: from.cloned().unwrap_or_default(),
            public: public.contains(&certificate.fingerprint()),
            certificate: reported,
        }
    });
    let mut items: Vec<_> = items.collect();
    items.sort_by_key(|item| (item.from.is_empty(), item.public));
    items
}

/// Who names what, as the report of the controllers has it.
pub(super) fn references_in_report(locations: &BTreeMap<String, report::Location>) -> References {
    let mut references = References::new();
    for (name, location) in locations {
        for certificate in &location.certificates {
            let from = references
                .entry(certificate.fingerprint.clone())
                .or_default();
            from.push(format!("BackupStorageLocation {name}"));
        }
    }
    references
}
