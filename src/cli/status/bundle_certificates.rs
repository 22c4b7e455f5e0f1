//! The certificates of a bundle, each with the objects that reference it.

use std::collections::{BTreeMap, BTreeSet};

use super::model::BundleCertificate;
use crate::ca::certificate::{Certificate, Fingerprint};
use crate::kubernetes::report;

/// The objects that reference each certificate, keyed by its fingerprint.
pub(super) type References = BTreeMap<String, Vec<String>>;

/// Returns the certificates of a bundle. Those that something references come first, public roots
/// that nothing references come last.
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
            retained_until: None,
            public: public.contains(&certificate.fingerprint()),
            certificate: reported,
        }
    });
    let mut items: Vec<_> = items.collect();
    items.sort_by_key(|item| (item.from.is_empty(), item.public));
    items
}

/// Returns the references in the report of the controllers.
pub(super) fn references_in_report(report: &report::NamespaceReport) -> References {
    let locations = report.locations.iter();
    let locations = locations.map(|(name, location)| {
        let owner = format!("BackupStorageLocation {name}");
        (owner, &location.certificates)
    });
    let extra = report.extra_cas.iter();
    let extra = extra.map(|extra| (extra.source.clone(), &extra.certificates));
    let mut references = References::new();
    for (owner, certificates) in locations.chain(extra) {
        for certificate in certificates {
            let from = references.entry(certificate.fingerprint.clone());
            from.or_default().push(owner.clone());
        }
    }
    references
}

/// Sets the end of the retention of those `items` that are `retained`.
pub(super) fn set_retention(items: &mut [BundleCertificate], retained: &[report::RetainedCa]) {
    for item in items {
        let mut retained = retained.iter();
        let found =
            retained.find(|one| one.certificate.fingerprint == item.certificate.fingerprint);
        item.retained_until = found.map(|one| one.until.clone());
    }
}
