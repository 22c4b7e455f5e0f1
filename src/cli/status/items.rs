//! What is in a bundle, certificate by certificate, and who names each.

use std::collections::{BTreeMap, BTreeSet};

use super::model::Item;
use crate::ca::certificate::{Certificate, Fingerprint};
use crate::kubernetes::report;

/// Who names a certificate, by its fingerprint.
pub(super) type Named = BTreeMap<String, Vec<String>>;

/// The certificates of a bundle, those that somebody names first.
pub(super) fn of(certificates: &[Certificate], named: &Named, public: &[Certificate]) -> Vec<Item> {
    let public: BTreeSet<Fingerprint> = public.iter().map(Certificate::fingerprint).collect();
    let items = certificates.iter().map(|one| {
        let certificate = report::Certificate::from(one);
        let from = named.get(&certificate.fingerprint);
        Item {
            from: from.cloned().unwrap_or_default(),
            public: public.contains(&one.fingerprint()),
            certificate,
        }
    });
    let mut items: Vec<_> = items.collect();
    items.sort_by_key(|item| (item.from.is_empty(), item.public));
    items
}

/// Who names what, as the report of the controllers has it.
pub(super) fn named(locations: &BTreeMap<String, report::Location>) -> Named {
    let mut named = Named::new();
    for (name, location) in locations {
        for certificate in &location.certificates {
            let from = named.entry(certificate.fingerprint.clone()).or_default();
            from.push(format!("BackupStorageLocation {name}"));
        }
    }
    named
}
